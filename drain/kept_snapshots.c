/* drain/kept_snapshots.c: see kept_snapshots.h. */
#include "drain/kept_snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drain/place.h"
#include "snapshot/names.h"

static const char *const what_take = "take a snapshot into the standby's directory";

int baton_kept_write(int fd, const void *bytes, size_t count, uint64_t offset)
{
    const uint8_t *at = bytes;
    while (count > 0) {
        const ssize_t n = pwrite(fd, at, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        count -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* Its name is flushed also when it was there: nothing on the disk tells whether that was done. */
static int make_directory(const char *directory)
{
    char parent[BATON_SNAPSHOT_PATH_BYTES + 4];
    const int n = snprintf(parent, sizeof(parent), "%s/..", directory);
    if (n < 0 || (size_t)n >= sizeof(parent))
        return -ENAMETOOLONG;
    return mkdir(directory, 0777) < 0 && errno != EEXIST ? -errno : baton_directory_flush(parent);
}

static int take_file(const char *directory, uint64_t seq, uint64_t epoch, bool manifest,
                     baton_kept_fill fill, void *context, baton_error *error)
{
    char partial[BATON_SNAPSHOT_PATH_BYTES], path[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_snapshot_path(partial, directory, seq, epoch,
                                manifest ? BATON_NAME_MANIFEST_PARTIAL : BATON_NAME_CHUNKS_PARTIAL);
    if (r == 0)
        r = baton_snapshot_path(path, directory, seq, epoch,
                                manifest ? BATON_NAME_MANIFEST : BATON_NAME_CHUNKS);
    const int fd = r < 0 ? -1 : open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (r < 0 || fd < 0)
        return baton_error_set(error, r < 0 ? r : -errno, what_take, NULL,
                               "give --dir a path that can be written");
    r = fill(context, fd, manifest, error);
    if (r == 0 && fsync(fd) < 0)
        r = baton_error_set(error, -errno, what_take, NULL, "look at the disk");
    close(fd);
    if (r == 0) {
        r = rename(partial, path) < 0 ? -errno : baton_directory_flush(directory);
        if (r < 0)
            baton_error_set(error, r, what_take, NULL, "look at the disk");
    }
    if (r < 0)
        (void)unlink(partial);
    return r;
}

static void remove_file(const char *directory, uint64_t seq, uint64_t epoch,
                        baton_snapshot_name kind)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    if (baton_snapshot_path(path, directory, seq, epoch, kind) == 0)
        (void)unlink(path);
}

int baton_kept_take(const char *directory, uint64_t seq, uint64_t epoch, baton_kept_fill fill,
                    void *context, baton_error *error)
{
    int r = make_directory(directory);
    if (r < 0)
        return baton_error_set(error, r, what_take, NULL, "give --dir a path that can be written");
    r = take_file(directory, seq, epoch, false, fill, context, error);
    if (r < 0)
        return r;
    r = take_file(directory, seq, epoch, true, fill, context, error);
    if (r < 0)
        remove_file(directory, seq, epoch, BATON_NAME_CHUNKS);
    return r;
}

static bool find_file(const char *directory, uint64_t seq, uint64_t epoch, baton_snapshot_name kind,
                      struct stat *ret_found)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    return baton_snapshot_path(path, directory, seq, epoch, kind) == 0 &&
           stat(path, ret_found) == 0;
}

/* Without a manifest they are what is left of a copy that was given up: of whatever bytes. */
static bool has_other_chunks(const char *from, const char *directory, uint64_t seq, uint64_t epoch)
{
    struct stat theirs, here, manifest;
    return find_file(directory, seq, epoch, BATON_NAME_CHUNKS, &here) &&
           !find_file(directory, seq, epoch, BATON_NAME_MANIFEST, &manifest) &&
           find_file(from, seq, epoch, BATON_NAME_CHUNKS, &theirs) &&
           (theirs.st_ino != here.st_ino || theirs.st_dev != here.st_dev);
}

static int link_file(const char *from, const char *to, uint64_t seq, uint64_t epoch,
                     baton_snapshot_name kind)
{
    char source[BATON_SNAPSHOT_PATH_BYTES], path[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_snapshot_path(source, from, seq, epoch, kind);
    if (r == 0)
        r = baton_snapshot_path(path, to, seq, epoch, kind);
    if (r == 0 && link(source, path) < 0 && errno != EEXIST)
        r = -errno;
    return r < 0 ? r : baton_directory_flush(to);
}

int baton_kept_link(const char *from, const char *directory, uint64_t seq, uint64_t epoch)
{
    int r = make_directory(directory);
    if (r == 0 && has_other_chunks(from, directory, seq, epoch))
        remove_file(directory, seq, epoch, BATON_NAME_CHUNKS);
    if (r == 0)
        r = link_file(from, directory, seq, epoch, BATON_NAME_CHUNKS);
    return r < 0 ? r : link_file(from, directory, seq, epoch, BATON_NAME_MANIFEST);
}

void baton_kept_give_up(const char *directory, uint64_t seq, uint64_t epoch)
{
    remove_file(directory, seq, epoch, BATON_NAME_MANIFEST);
}

/* 1: it is listed; its chunks are judged when they are loaded. */
static int find(const char *directory, baton_digest root, baton_snapshot_listed *ret_listed,
                baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list(directory, &list, &count, error);
    for (uint32_t i = 0; i < count && r == 0; i++)
        if (list[i].status == 0 && baton_digest_equal(list[i].info.root, root)) {
            *ret_listed = list[i];
            r = 1;
        }
    free(list);
    return r;
}

bool baton_kept_is_listed(const char *directory, baton_digest root)
{
    baton_snapshot_listed listed;
    return find(directory, root, &listed, NULL) == 1;
}

static int checked(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    baton_pace *pace = context;
    pace->progress.of = all_bytes;
    return baton_pace_moved(pace, done_bytes - pace->progress.done);
}

int baton_kept_is_good(const char *directory, baton_digest root, baton_pace *pace,
                       baton_error *error)
{
    baton_snapshot_listed listed;
    int r = find(directory, root, &listed, error);
    if (r != 1)
        return r;
    baton_pace_begin(pace, "checking", listed.info.seq, listed.info.raw_bytes);
    r = baton_snapshot_verify_while(directory, &listed, checked, pace, error);
    return r < 0 && r == pace->stopped ? r : r == 0;
}

baton_digest baton_kept_parent(const char *directory, baton_digest root)
{
    baton_snapshot_listed listed;
    return find(directory, root, &listed, NULL) == 1 ? listed.info.parent : (baton_digest){{0}};
}
