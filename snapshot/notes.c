/* snapshot/notes.c: small files beside a snapshot that are no part of it: a pin, and when it was
 * last found good. The page: docs/format/snapshot.md, "Notes beside a snapshot". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/catalogue.h"

#define NOTE_BYTES     54u /* root, space, 20 digits, line feed */
#define NOTE_DIGEST_AT (BATON_DIGEST_TEXT_BYTES - 1)
#define RIGHTS         "check the directory and its rights"

static int refuse(int status, const char *what, const char *path, baton_error *error)
{
    baton_error_set(error, status, what, NULL,
                    baton_io_is_full_disk(status) ? "make room on its disk" : RIGHTS);
    baton_error_at(error, path, UINT64_MAX);
    return status;
}

static int exists(baton_io *io, const char *path)
{
    baton_io_file file;
    int r = baton_io_file_open(io, path, BATON_IO_FOR_READ, &file);
    if (r == 0)
        baton_io_file_close(io, file);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static int path_of(char path[BATON_SNAPSHOT_PATH_BYTES], const char *directory, uint64_t seq,
                   uint64_t epoch, baton_snapshot_name kind, baton_error *error)
{
    int r = baton_snapshot_path(path, directory, seq, epoch, kind);
    if (r < 0)
        baton_error_set(error, r, "name a snapshot's file", "its path is too long",
                        "use a directory with a shorter path");
    return r;
}

/* ---- pins ---- */

int baton_snapshot_is_pinned(baton_io *io, const char *directory, uint64_t seq, uint64_t epoch)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_snapshot_path(path, directory, seq, epoch, BATON_NAME_PIN);
    return r < 0 ? r : exists(io, path);
}

int baton_snapshot_pin_with(baton_io *io, const char *directory, uint64_t seq, uint64_t epoch,
                            baton_error *error)
{
    static const char *const what = "pin a snapshot";
    char pin[BATON_SNAPSHOT_PATH_BYTES];
    char manifest[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    int r = path_of(manifest, directory, seq, epoch, BATON_NAME_MANIFEST, error);
    if (r == 0)
        r = path_of(pin, directory, seq, epoch, BATON_NAME_PIN, error);
    if (r < 0)
        return r;
    r = baton_io_file_open(io, pin, BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN, &file);
    if (r == 0) {
        baton_io_file_close(io, file);
        r = baton_io_directory_sync(io, directory);
    }
    if (r < 0)
        return refuse(r, what, pin, error);
    /* Looked for after the pin is there: a service that pruned meanwhile is told of, not missed. It
     * looks for the pin right before it unlinks the manifest. */
    r = exists(io, manifest);
    if (r > 0)
        return 0;
    if (r < 0) /* nobody knows: it may have been pinned before, so the pin stays */
        return refuse(r, what, pin, error);
    if (baton_io_unlink(io, pin) < 0)
        return refuse(-EIO, what, pin, error);
    baton_error_set(error, BATON_E_NOT_FOUND, what, "there is none of that seq and epoch",
                    "baton snapshot ls shows what is there");
    baton_error_at(error, manifest, UINT64_MAX);
    return BATON_E_NOT_FOUND;
}

int baton_snapshot_unpin_with(baton_io *io, const char *directory, uint64_t seq, uint64_t epoch,
                              baton_error *error)
{
    char pin[BATON_SNAPSHOT_PATH_BYTES];
    int r = path_of(pin, directory, seq, epoch, BATON_NAME_PIN, error);
    if (r < 0)
        return r;
    r = baton_io_unlink(io, pin);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = baton_io_directory_sync(io, directory);
    return r < 0 ? refuse(r, "unpin a snapshot", pin, error) : 0;
}

/* ---- verified ---- */

/* One number has one spelling, and the line feed stands last: a torn note is none. */
static bool note_parse(const char *note, baton_digest root, uint64_t *ret_wall_ns)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    uint64_t wall_ns = 0;
    baton_digest_text(root, text);
    if (memcmp(note, text, NOTE_DIGEST_AT) != 0 || note[NOTE_DIGEST_AT] != ' ' ||
        note[NOTE_BYTES - 1] != '\n')
        return false;
    for (uint32_t i = NOTE_DIGEST_AT + 1; i < NOTE_BYTES - 1; i++) {
        if (note[i] < '0' || note[i] > '9' || __builtin_mul_overflow(wall_ns, 10u, &wall_ns) ||
            __builtin_add_overflow(wall_ns, (uint64_t)(note[i] - '0'), &wall_ns))
            return false;
    }
    *ret_wall_ns = wall_ns;
    return true;
}

uint64_t baton_snapshot_verified_read(baton_io *io, const char *directory,
                                      const baton_snapshot_info *info)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    char note[NOTE_BYTES + 1];
    uint64_t wall_ns = 0;
    baton_io_file file;
    if (baton_snapshot_path(path, directory, info->seq, info->epoch, BATON_NAME_VERIFIED) < 0 ||
        baton_io_file_open(io, path, BATON_IO_FOR_READ, &file) < 0)
        return 0;
    const int64_t n = baton_io_file_read(io, file, note, sizeof(note), 0);
    baton_io_file_close(io, file);
    return n == NOTE_BYTES && note_parse(note, info->root, &wall_ns) ? wall_ns : 0;
}

/* Not flushed: a note that a power cut takes, or tears, costs a verification. */
static int note_write(baton_io *io, const char *path, const char note[NOTE_BYTES])
{
    baton_io_file file;
    int r = baton_io_file_open(io, path, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &file);
    if (r < 0)
        return r;
    r = baton_io_file_write(io, file, note, NOTE_BYTES, 0);
    baton_io_file_close(io, file);
    if (r < 0) {
        const int gone = baton_io_unlink(io, path);
        (void)gone; /* half a note is none */
    }
    return r;
}

int baton_snapshot_note_verified_with(baton_io *io, const char *directory,
                                      const baton_snapshot_listed *listed, uint64_t wall_ns,
                                      baton_error *error)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    char root[BATON_DIGEST_TEXT_BYTES];
    char note[NOTE_BYTES + 1];
    int r =
        path_of(path, directory, listed->info.seq, listed->info.epoch, BATON_NAME_VERIFIED, error);
    if (r < 0)
        return r;
    r = baton_io_unlink(io, path);
    if (r == -ENOENT)
        r = 0;
    if (r == 0 && wall_ns != 0) {
        snprintf(note, sizeof(note), "%s %020" PRIu64 "\n",
                 baton_digest_text(listed->info.root, root), wall_ns);
        r = note_write(io, path, note);
    }
    return r < 0 ? refuse(r, "note a verification", path, error) : 0;
}

/* ---- the public calls ---- */

static int open_io(baton_io **ret_io, baton_error *error)
{
    return baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS, .ops_max = 1}, ret_io,
                         error);
}

int baton_snapshot_pin(const char *directory, uint64_t seq, uint64_t epoch, baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_pin_with(io, directory, seq, epoch, error);
    baton_io_close(io);
    return r;
}

int baton_snapshot_unpin(const char *directory, uint64_t seq, uint64_t epoch, baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_unpin_with(io, directory, seq, epoch, error);
    baton_io_close(io);
    return r;
}

int baton_snapshot_note_verified(const char *directory, const baton_snapshot_listed *listed,
                                 uint64_t wall_ns, baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_note_verified_with(io, directory, listed, wall_ns, error);
    baton_io_close(io);
    return r;
}
