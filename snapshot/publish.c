/* snapshot/publish.c: a packed snapshot onto the disk, complete or absent (S1).
 *
 *   CLEAR_CHUNKS -> OPEN_CHUNKS -> WRITE_CHUNKS -> SYNC_CHUNKS      N.chunks.partial, durable
 *        ^__________ no O_DIRECT ______|                |
 *   CLEAR_MANIFEST -> OPEN_MANIFEST -> WRITE_MANIFEST -> SYNC_MANIFEST   N.manifest.partial, durable
 *        |
 *   RENAME_CHUNKS -> SYNC_PARENT -> SYNC_NAMES -> HOLD -> RENAME_MANIFEST -> SYNC_PUBLISHED -> DONE
 *
 *   any but HOLD and DONE, on an error -> FAILING (waits for what is in flight, removes) -> FAILED
 *
 * | step            | file operation              | next when it succeeded                        |
 * |-----------------|-----------------------------|-----------------------------------------------|
 * | CLEAR_*         | unlink the partial file     | OPEN_* (no such file is fine)                 |
 * | OPEN_*          | create it, new inode        | WRITE_*; -EINVAL with O_DIRECT: CLEAR_* again |
 * | WRITE_*         | writes, several in flight   | SYNC_* when all are done                      |
 * | SYNC_*          | fdatasync, then close       | CLEAR_MANIFEST; RENAME_CHUNKS                 |
 * | RENAME_CHUNKS   | rename to the final name    | SYNC_PARENT                                   |
 * | SYNC_PARENT     | fsync of what it is in      | SYNC_NAMES                                    |
 * | SYNC_NAMES      | fsync of the directory      | HOLD                                          |
 * | HOLD            | none                        | RENAME_MANIFEST, when the caller allows it    |
 * | RENAME_MANIFEST | rename: now it exists       | SYNC_PUBLISHED                                |
 * | SYNC_PUBLISHED  | fsync of the directory      | DONE                                          |
 *
 * The directory may be new, made by this process or by one that died before it could flush its
 * name, so what it stands in is flushed too, every time: nothing on the disk tells.
 *
 * The chunks' name is durable before the manifest gets its own: a file system may keep one of
 * two renames. A partial file is a new inode: direct writes of a killed process may still land
 * in the old one (J10). Once the manifest has its name nothing is removed: after a failed flush
 * it is there as a whole or not at all, and an unlink could leave half. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/names.h"
#include "snapshot/writer.h"

#define WRITES_AHEAD 4u /* of a slab each */

typedef enum {
    STEP_CLEAR_CHUNKS,
    STEP_OPEN_CHUNKS,
    STEP_WRITE_CHUNKS,
    STEP_SYNC_CHUNKS,
    STEP_CLEAR_MANIFEST,
    STEP_OPEN_MANIFEST,
    STEP_WRITE_MANIFEST,
    STEP_SYNC_MANIFEST,
    STEP_RENAME_CHUNKS,
    STEP_SYNC_PARENT,
    STEP_SYNC_NAMES,
    STEP_HOLD,
    STEP_RENAME_MANIFEST,
    STEP_SYNC_PUBLISHED,
    STEP_DONE,
    STEP_FAILING,
    STEP_FAILED,
} publish_step;

struct baton_snapshot_publisher {
    baton_io *io;
    baton_snapshot_writer *writer;
    baton_io_file directory;
    baton_io_file parent; /* of the directory */
    baton_io_file file;   /* the partial one that is open */
    char chunks[BATON_SNAPSHOT_PATH_BYTES];
    char chunks_partial[BATON_SNAPSHOT_PATH_BYTES];
    char manifest[BATON_SNAPSHOT_PATH_BYTES];
    char manifest_partial[BATON_SNAPSHOT_PATH_BYTES];

    publish_step step;
    bool direct;
    bool renaming;  /* RENAME_MANIFEST was submitted */
    bool submitted; /* the step's operation is in flight; WRITE_CHUNKS counts by in_flight alone */
    baton_io_op op; /* of all steps but WRITE_CHUNKS */
    baton_io_op writes[WRITES_AHEAD];
    uint32_t in_flight; /* of op and writes */
    uint32_t next_slab;
    uint64_t next_offset;
    uint64_t write_begun_ns;
    baton_error error; /* of FAILING and FAILED */
};

static void set_step(baton_snapshot_publisher *publisher, publish_step step)
{
    publisher->step = step;
    publisher->submitted = false;
}

/* ---- failing ---- */

static void fail(baton_snapshot_publisher *publisher, int status, const char *path, uint64_t offset)
{
    if (publisher->step == STEP_FAILING)
        return; /* the first reason counts */
    const bool full = baton_io_is_full_disk(status);
    baton_error_set(&publisher->error, full ? BATON_E_NO_SPACE : status, "write a snapshot", NULL,
                    full ? "free space on its file system; nothing of it is left there"
                         : "check the directory's rights and the disk");
    baton_error_at(&publisher->error, path, offset);
    /* After its rename it exists; removing half of it would be worse than an answer that is too
     * pessimistic. */
    set_step(publisher, publisher->step == STEP_SYNC_PUBLISHED ? STEP_FAILED : STEP_FAILING);
}

static void close_file(baton_snapshot_publisher *publisher)
{
    baton_io_file_close(publisher->io, publisher->file);
    publisher->file = BATON_IO_NO_FILE;
}

/* Nothing of ours is in flight. What can't be removed is a leftover for prune. */
static void remove_unpublished(baton_snapshot_publisher *publisher)
{
    close_file(publisher);
    int r = baton_io_unlink(publisher->io, publisher->manifest_partial);
    if (publisher->renaming && r < 0)
        return; /* the failed rename may have happened: then the chunks are needed */
    r = baton_io_unlink(publisher->io, publisher->chunks_partial);
    r = baton_io_unlink(publisher->io, publisher->chunks);
    (void)r;
}

/* ---- submitting ---- */

static int submit(baton_snapshot_publisher *publisher, baton_io_op *op)
{
    int r = baton_io_submit(publisher->io, op);
    if (r == 0)
        publisher->in_flight++;
    return r;
}

/* As many as there is room for: 0 also when that is none for now. */
static int submit_chunks(baton_snapshot_publisher *publisher)
{
    const baton_snapshot_writer *writer = publisher->writer;
    for (uint32_t i = 0; i < WRITES_AHEAD && publisher->next_slab < writer->slabs_count; i++) {
        baton_io_op *op = &publisher->writes[i];
        const baton_snapshot_slab *slab = &writer->slabs[publisher->next_slab];
        if (op->in_flight)
            continue;
        *op = (baton_io_op){
            .kind = BATON_IO_WRITE,
            .file = publisher->file,
            .buffer = slab->bytes,
            .bytes = slab->used,
            .offset = publisher->next_offset,
        };
        int r = submit(publisher, op);
        if (r == BATON_E_FULL && publisher->in_flight > 0)
            return 0;
        if (r < 0)
            return r;
        publisher->next_slab++;
        publisher->next_offset += slab->used;
    }
    return 0;
}

static baton_io_op op_of(const baton_snapshot_publisher *publisher)
{
    const uint32_t create = BATON_IO_FOR_WRITE | BATON_IO_CREATE;
    const uint32_t create_chunks = create | (publisher->direct ? BATON_IO_DIRECT : 0);
    switch (publisher->step) {
    case STEP_CLEAR_CHUNKS:
        return (baton_io_op){.kind = BATON_IO_UNLINK, .path = publisher->chunks_partial};
    case STEP_OPEN_CHUNKS:
        return (baton_io_op){
            .kind = BATON_IO_OPEN, .path = publisher->chunks_partial, .open_flags = create_chunks};
    case STEP_CLEAR_MANIFEST:
        return (baton_io_op){.kind = BATON_IO_UNLINK, .path = publisher->manifest_partial};
    case STEP_OPEN_MANIFEST:
        return (baton_io_op){
            .kind = BATON_IO_OPEN, .path = publisher->manifest_partial, .open_flags = create};
    case STEP_WRITE_MANIFEST:
        return (baton_io_op){.kind = BATON_IO_WRITE,
                             .file = publisher->file,
                             .buffer = publisher->writer->manifest_file,
                             .bytes = publisher->writer->manifest_file_bytes};
    case STEP_SYNC_CHUNKS:
    case STEP_SYNC_MANIFEST:
        return (baton_io_op){.kind = BATON_IO_SYNC_DATA, .file = publisher->file};
    case STEP_RENAME_CHUNKS:
        return (baton_io_op){.kind = BATON_IO_RENAME,
                             .path = publisher->chunks_partial,
                             .path_to = publisher->chunks};
    case STEP_RENAME_MANIFEST:
        return (baton_io_op){.kind = BATON_IO_RENAME,
                             .path = publisher->manifest_partial,
                             .path_to = publisher->manifest};
    case STEP_SYNC_PARENT:
        return (baton_io_op){.kind = BATON_IO_SYNC, .file = publisher->parent};
    case STEP_SYNC_NAMES:
    case STEP_SYNC_PUBLISHED:
        return (baton_io_op){.kind = BATON_IO_SYNC, .file = publisher->directory};
    case STEP_WRITE_CHUNKS:
    case STEP_HOLD:
    case STEP_DONE:
    case STEP_FAILING:
    case STEP_FAILED:
        break;
    }
    baton_assert(!"a step without an operation");
    return (baton_io_op){0};
}

/* Which file a failure of this step is about. */
static const char *path_of(const baton_snapshot_publisher *publisher)
{
    if (publisher->step <= STEP_SYNC_CHUNKS)
        return publisher->chunks_partial;
    if (publisher->step <= STEP_SYNC_MANIFEST)
        return publisher->manifest_partial;
    return publisher->step <= STEP_SYNC_NAMES ? publisher->chunks : publisher->manifest;
}

/* ---- what an operation's end leads to ---- */

static void opened(baton_snapshot_publisher *publisher, int64_t result)
{
    if (result == -EINVAL && publisher->step == STEP_OPEN_CHUNKS && publisher->direct) {
        publisher->direct = false; /* no direct I/O here; the attempt may have created the file */
        set_step(publisher, STEP_CLEAR_CHUNKS);
        return;
    }
    if (result < 0) {
        fail(publisher, (int)result, path_of(publisher), UINT64_MAX);
        return;
    }
    publisher->file = (baton_io_file)result;
    publisher->write_begun_ns = baton_clock_monotonic_ns(baton_io_clock(publisher->io));
    set_step(publisher,
             publisher->step == STEP_OPEN_CHUNKS ? STEP_WRITE_CHUNKS : STEP_WRITE_MANIFEST);
}

static void chunks_synced(baton_snapshot_publisher *publisher)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_io_clock(publisher->io));
    baton_chunk_device_measured(publisher->next_offset, now_ns - publisher->write_begun_ns);
    close_file(publisher);
    set_step(publisher, STEP_CLEAR_MANIFEST);
}

static void step_done(baton_snapshot_publisher *publisher, int64_t result)
{
    const bool is_open =
        publisher->step == STEP_OPEN_CHUNKS || publisher->step == STEP_OPEN_MANIFEST;
    const bool is_clear =
        publisher->step == STEP_CLEAR_CHUNKS || publisher->step == STEP_CLEAR_MANIFEST;
    if (is_open) {
        opened(publisher, result);
        return;
    }
    if (publisher->step == STEP_WRITE_MANIFEST && result >= 0 &&
        (uint64_t)result != publisher->op.bytes)
        result = -EIO;
    if (result < 0 && !(is_clear && result == -ENOENT)) {
        fail(publisher, (int)result, path_of(publisher), UINT64_MAX);
        return;
    }
    if (publisher->step == STEP_SYNC_CHUNKS) {
        chunks_synced(publisher);
        return;
    }
    if (publisher->step == STEP_SYNC_MANIFEST)
        close_file(publisher);
    set_step(publisher, (publish_step)(publisher->step + 1)); /* they stand in their order */
}

static void reap(baton_snapshot_publisher *publisher)
{
    for (baton_io_op *op = baton_io_reap(publisher->io); op != NULL;
         op = baton_io_reap(publisher->io)) {
        publisher->in_flight--;
        if (publisher->step == STEP_FAILING) {
            if (op->kind == BATON_IO_OPEN && op->result >= 0)
                publisher->file = (baton_io_file)op->result;
            continue;
        }
        if (op == &publisher->op) {
            step_done(publisher, op->result);
            continue;
        }
        const int64_t result =
            op->result >= 0 && (uint64_t)op->result != op->bytes ? -EIO : op->result;
        if (result < 0)
            fail(publisher, (int)result, publisher->chunks_partial, op->offset);
    }
}

/* ---- the public calls ---- */

static void advance(baton_snapshot_publisher *publisher, bool may_publish)
{
    int r = 0;
    if (publisher->step == STEP_WRITE_CHUNKS) {
        r = submit_chunks(publisher);
        if (r == 0 && publisher->in_flight == 0)
            set_step(publisher, STEP_SYNC_CHUNKS);
        if (BATON_BREAK(NO_CHUNKS_FLUSH) && publisher->step == STEP_SYNC_CHUNKS)
            chunks_synced(publisher);
    }
    while (BATON_BREAK(NO_NAMES_FLUSH) &&
           (publisher->step == STEP_SYNC_PARENT || publisher->step == STEP_SYNC_NAMES ||
            publisher->step == STEP_SYNC_PUBLISHED))
        set_step(publisher, (publish_step)(publisher->step + 1));
    if (publisher->step == STEP_HOLD && may_publish)
        set_step(publisher, STEP_RENAME_MANIFEST);
    if (r == 0 && publisher->step != STEP_WRITE_CHUNKS && publisher->step != STEP_HOLD &&
        publisher->step < STEP_DONE && !publisher->submitted) {
        publisher->op = op_of(publisher);
        r = submit(publisher, &publisher->op);
        publisher->submitted = r == 0;
        if (r == 0 && publisher->step == STEP_RENAME_MANIFEST)
            publisher->renaming = true;
    }
    if (r == 0)
        r = baton_io_enter(publisher->io);
    if (r < 0 && r != -EINTR && r != -EAGAIN &&
        r != -EBUSY) /* these three: entered at the next step */
        fail(publisher, r, path_of(publisher), UINT64_MAX);
    if (publisher->step == STEP_FAILING && publisher->in_flight == 0) {
        remove_unpublished(publisher);
        set_step(publisher, STEP_FAILED);
    }
}

int baton_snapshot_publish_step(baton_snapshot_publisher *publisher, bool may_publish,
                                baton_error *error)
{
    if (publisher->step != STEP_DONE && publisher->step != STEP_FAILED) {
        reap(publisher);
        if (publisher->step != STEP_DONE && publisher->step != STEP_FAILED)
            advance(publisher, may_publish);
    }
    if (publisher->step == STEP_DONE)
        return 0;
    if (publisher->step != STEP_FAILED)
        return BATON_E_AGAIN;
    if (error != NULL)
        *error = publisher->error;
    return publisher->error.status;
}

int baton_snapshot_directory_open(baton_io *io, const char *directory, baton_io_file *ret_file)
{
    int r = baton_io_directory_make(io, directory);
    if (r == 0)
        r = baton_io_file_open(io, directory, BATON_IO_FOR_READ | BATON_IO_DIRECTORY, ret_file);
    return r;
}

/* The directory, made when it is new, and the one it is in: both open for their flushes. */
static int open_directories(baton_snapshot_publisher *publisher, const char *directory)
{
    char parent[BATON_SNAPSHOT_PATH_BYTES + 4];
    snprintf(parent, sizeof(parent), "%s/..", directory);
    int r = baton_snapshot_directory_open(publisher->io, directory, &publisher->directory);
    if (r == 0)
        r = baton_io_file_open(publisher->io, parent, BATON_IO_FOR_READ | BATON_IO_DIRECTORY,
                               &publisher->parent);
    return r;
}

static int check_absent(baton_snapshot_publisher *publisher)
{
    baton_io_file file;
    int r = baton_io_file_open(publisher->io, publisher->manifest, BATON_IO_FOR_READ, &file);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    baton_io_file_close(publisher->io, file);
    return -EEXIST;
}

static int make_paths(baton_snapshot_publisher *publisher, const char *directory,
                      const baton_snapshot_info *info)
{
    const uint64_t seq = info->seq;
    const uint64_t epoch = info->epoch;
    int r = baton_snapshot_path(publisher->chunks, directory, seq, epoch, BATON_NAME_CHUNKS);
    if (r == 0)
        r = baton_snapshot_path(publisher->chunks_partial, directory, seq, epoch,
                                BATON_NAME_CHUNKS_PARTIAL);
    if (r == 0)
        r = baton_snapshot_path(publisher->manifest, directory, seq, epoch, BATON_NAME_MANIFEST);
    if (r == 0)
        r = baton_snapshot_path(publisher->manifest_partial, directory, seq, epoch,
                                BATON_NAME_MANIFEST_PARTIAL);
    return r;
}

static void refuse_to_begin(const baton_snapshot_publisher *publisher, int r, const char *directory,
                            baton_error *error)
{
    baton_error_set(error, r, "write a snapshot",
                    r == -EEXIST ? "one of this seq and epoch is there already" : NULL,
                    r == -EEXIST            ? "nothing: it holds the same state"
                    : r == BATON_E_NO_SPACE ? "free space on its file system"
                                            : "check the directory's rights and its disk");
    baton_error_at(error, publisher->manifest[0] != '\0' ? publisher->manifest : directory,
                   UINT64_MAX);
}

int baton_snapshot_publish_begin_at(baton_io *io, const char *directory,
                                    baton_snapshot_writer *writer, const baton_snapshot_info *info,
                                    const char *chunks_written,
                                    baton_snapshot_publisher **ret_publisher, baton_error *error)
{
    baton_snapshot_publisher *publisher = calloc(1, sizeof(*publisher));
    if (publisher == NULL) {
        baton_snapshot_writer_destroy(writer);
        return baton_error_set(error, -ENOMEM, "write a snapshot", NULL, "free memory");
    }
    *publisher = (baton_snapshot_publisher){
        .io = io,
        .writer = writer,
        .directory = BATON_IO_NO_FILE,
        .parent = BATON_IO_NO_FILE,
        .file = BATON_IO_NO_FILE,
        .step = STEP_FAILED, /* until all is well: nothing to remove */
        .direct = true,
    };
    int r = writer->finished && writer->error == 0 &&
                    baton_digest_equal(writer->manifest.info.root, info->root)
                ? 0
                : BATON_E_INVALID;
    if (r == 0)
        r = make_paths(publisher, directory, &writer->manifest.info);
    if (r == 0)
        r = open_directories(publisher, directory);
    if (r == 0)
        r = check_absent(publisher);
    if (r < 0) {
        r = baton_io_is_full_disk(r) ? BATON_E_NO_SPACE : r;
        refuse_to_begin(publisher, r, directory, error);
        baton_snapshot_publish_end(publisher);
        return r;
    }
    if (chunks_written != NULL)
        snprintf(publisher->chunks_partial, sizeof(publisher->chunks_partial), "%s",
                 chunks_written);
    set_step(publisher, chunks_written != NULL ? STEP_CLEAR_MANIFEST : STEP_CLEAR_CHUNKS);
    *ret_publisher = publisher;
    return 0;
}

int baton_snapshot_publish_begin(baton_io *io, const char *directory, baton_snapshot_writer *writer,
                                 const baton_snapshot_info *info,
                                 baton_snapshot_publisher **ret_publisher, baton_error *error)
{
    return baton_snapshot_publish_begin_at(io, directory, writer, info, NULL, ret_publisher, error);
}

void baton_snapshot_publish_end(baton_snapshot_publisher *publisher)
{
    if (publisher == NULL)
        return;
    if (publisher->step < STEP_SYNC_PUBLISHED && !publisher->renaming)
        set_step(publisher, STEP_FAILING);
    while (publisher->in_flight > 0) {
        int r = baton_io_wait(publisher->io, UINT64_MAX);
        baton_assert(r == 0 || r == -EINTR);
        reap(publisher);
    }
    if (publisher->step == STEP_FAILING)
        remove_unpublished(publisher);
    baton_io_file_close(publisher->io, publisher->file);
    baton_io_file_close(publisher->io, publisher->parent);
    baton_io_file_close(publisher->io, publisher->directory);
    baton_snapshot_writer_destroy(publisher->writer);
    free(publisher);
}

int baton_snapshot_publish(baton_io *io, const char *directory, baton_snapshot_writer *writer,
                           const baton_snapshot_info *info, baton_error *error)
{
    baton_snapshot_publisher *publisher = NULL;
    int r = baton_snapshot_publish_begin(io, directory, writer, info, &publisher, error);
    if (r < 0)
        return r;
    do {
        r = baton_snapshot_publish_step(publisher, true, error);
        if (r == BATON_E_AGAIN && baton_io_in_flight(io) > 0) {
            int waited = baton_io_wait(io, UINT64_MAX);
            (void)waited; /* an interruption, or what the next step will find */
        }
    } while (r == BATON_E_AGAIN);
    baton_snapshot_publish_end(publisher);
    return r;
}
