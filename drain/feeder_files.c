/* drain/feeder_files.c: a snapshot of the active's for a standby that has nothing yet. Its files stay
 * open, so one that is pruned meanwhile is sent to its end. */
#include "drain/feeder_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/names.h"
#include "snapshot/store.h"

#define PIECE_MEMORY (sizeof(baton_peer_piece) + BATON_PEER_PIECE_BYTES)

/* Rows before pages, since pages are for a build with the same layout only. What an increment adds to the standby
 * asks for by itself. */
static const baton_snapshot_listed *choose(const baton_feeder_options *options,
                                           const baton_peer_fetch *wanted,
                                           const baton_snapshot_listed *list, uint32_t count)
{
    const baton_snapshot_listed *image = NULL;
    baton_digest root;
    memcpy(root.bytes, wanted->root, sizeof(root.bytes));
    const bool reads_images =
        memcmp(wanted->layout, options->fingerprint.layout, sizeof(wanted->layout)) == 0;
    for (uint32_t i = 0; i < count; i++) {
        const baton_snapshot_info *info = &list[i].info;
        if (list[i].status != 0 || !baton_digest_equal(info->journal_id, options->journal_id))
            continue;
        if (!baton_digest_is_zero(root)) {
            if (baton_digest_equal(root, info->root))
                return &list[i];
            continue;
        }
        if (strcmp(info->form, "portable") == 0)
            return &list[i];
        if (image == NULL && reads_images)
            image = &list[i];
    }
    return image;
}

static int open_file(const char *directory, const baton_snapshot_info *info,
                     baton_snapshot_name kind, int *ret_fd, uint64_t *ret_bytes)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    struct stat there;
    int r = baton_snapshot_path(path, directory, info->seq, info->epoch, kind);
    if (r < 0)
        return r;
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0 || fstat(*ret_fd, &there) < 0)
        return -errno;
    *ret_bytes = (uint64_t)there.st_size;
    return 0;
}

static int open_files(feeder_peer *peer, const char *directory, const baton_snapshot_info *info,
                      baton_peer_snapshot *ret_body, baton_error *error)
{
    peer_files *files = &peer->files;
    files->offset = 0;
    if (files->buffer == NULL)
        files->buffer = malloc(PIECE_MEMORY);
    int r = files->buffer == NULL ? -ENOMEM : 0;
    if (r == 0)
        r = open_file(directory, info, BATON_NAME_CHUNKS, &files->chunks_fd, &files->chunks_bytes);
    if (r == 0)
        r = open_file(directory, info, BATON_NAME_MANIFEST, &files->manifest_fd,
                      &files->manifest_bytes);
    if (r < 0) {
        baton_feeder_files_close(peer);
        return baton_error_set(error, r, "send a snapshot", NULL, "connect again");
    }
    ret_body->seq = baton_le64_put(info->seq);
    ret_body->epoch = baton_le64_put(info->epoch);
    memcpy(ret_body->root, info->root.bytes, sizeof(ret_body->root));
    ret_body->manifest_bytes = baton_le64_put(files->manifest_bytes);
    ret_body->chunks_bytes = baton_le64_put(files->chunks_bytes);
    return 0;
}

int baton_feeder_files_open(feeder_peer *peer, const baton_peer_fetch *wanted,
                            baton_peer_snapshot *ret_body, baton_error *error)
{
    char directory[BATON_SNAPSHOTS_PATH_BYTES];
    const baton_feeder_options *options = &peer->feeder->options;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    *ret_body = (baton_peer_snapshot){.seq = baton_le64_put(0)};
    baton_feeder_files_close(peer);
    int r = baton_snapshots_path(directory, sizeof(directory), options->place->directory);
    if (r < 0)
        return baton_error_set(error, r, "send a snapshot", NULL, NULL);
    r = baton_snapshot_list(directory, &list, &count, error);
    if (r < 0)
        return r;
    const baton_snapshot_listed *chosen = choose(options, wanted, list, count);
    if (chosen != NULL)
        r = open_files(peer, directory, &chosen->info, ret_body, error);
    free(list);
    return r;
}

int baton_feeder_files_next(feeder_peer *peer, uint32_t *ret_bytes)
{
    peer_files *files = &peer->files;
    baton_peer_piece *piece = (baton_peer_piece *)files->buffer;
    *ret_bytes = 0;
    if (files->chunks_fd >= 0 && files->offset == files->chunks_bytes) {
        close(files->chunks_fd);
        files->chunks_fd = -1;
        files->offset = 0;
    }
    const bool chunks = files->chunks_fd >= 0;
    const uint64_t of = chunks ? files->chunks_bytes : files->manifest_bytes;
    if (files->manifest_fd < 0 || files->offset == of) {
        baton_feeder_files_close(peer);
        return 0;
    }
    const uint64_t left = of - files->offset;
    const size_t wanted = left < BATON_PEER_PIECE_BYTES ? (size_t)left : BATON_PEER_PIECE_BYTES;
    const ssize_t n = pread(chunks ? files->chunks_fd : files->manifest_fd, piece + 1, wanted,
                            (off_t)files->offset);
    if (n <= 0)
        return n < 0 ? -errno : -EIO;
    *piece = (baton_peer_piece){.offset = baton_le64_put(files->offset),
                                .bytes = baton_le32_put((uint32_t)n),
                                .of_manifest = baton_le32_put(chunks ? 0 : 1)};
    const uint32_t padding = (uint32_t)(-n & 7);
    memset((uint8_t *)(piece + 1) + n, 0, padding);
    files->offset += (uint64_t)n;
    *ret_bytes = (uint32_t)sizeof(*piece) + (uint32_t)n + padding;
    return 0;
}

void baton_feeder_files_close(feeder_peer *peer)
{
    if (peer->files.chunks_fd >= 0)
        close(peer->files.chunks_fd);
    if (peer->files.manifest_fd >= 0)
        close(peer->files.manifest_fd);
    peer->files.chunks_fd = peer->files.manifest_fd = -1;
}
