/* snapshot/image_pipe.c: see image_pipe.h. */
#include "snapshot/image_pipe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/writer.h"

static_assert((uint64_t)BATON_IMAGE_SLOTS_MAX * BATON_IMAGE_CHUNK_BYTES + (8u << 20) <= (64u << 20),
              "memory beside the state: 64 MiB, lists of pages aside");

/* ---- copying live pages ---- */

/* Pages change under the copy, by design: whatever it catches is copied again, because the writer's
 * fault marked the page. That is no C program's memcpy; the instruction says exactly what is meant,
 * and sanitizers don't look into it. */
#if defined(__x86_64__)
static void copy_live(void *to, const void *from, size_t bytes)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}
#else
static void copy_live(void *to, const void *from, size_t bytes)
{
    uint64_t *words = to;
    const volatile uint64_t *live = from;
    for (size_t i = 0; i < bytes / sizeof(*words); i++)
        words[i] = live[i];
}
#endif

uint32_t baton_image_slot_gather(baton_image_slot *slot, const uint8_t *base, uint32_t page_bytes,
                                 baton_page_run run)
{
    const uint32_t room = BATON_IMAGE_CHUNK_BYTES / page_bytes - slot->pages_count;
    const uint32_t count = run.pages_count < room ? run.pages_count : room;
    if (count == 0)
        return 0;
    copy_live(slot->bytes + (size_t)slot->pages_count * page_bytes,
              base + (size_t)run.first_page * page_bytes, (size_t)count * page_bytes);
    baton_page_run *last = slot->runs_count > 0 ? &slot->runs[slot->runs_count - 1] : NULL;
    if (last != NULL && last->first_page + last->pages_count == run.first_page)
        last->pages_count += count;
    else
        slot->runs[slot->runs_count++] = (baton_page_run){run.first_page, count};
    slot->pages_count += count;
    return count;
}

uint32_t baton_image_slot_gather_back(baton_image_slot *slot, const uint8_t *base,
                                      uint32_t page_bytes, baton_page_run run)
{
    const uint32_t room = BATON_IMAGE_CHUNK_BYTES / page_bytes - slot->pages_count;
    const uint32_t count = run.pages_count < room ? run.pages_count : room;
    if (count == 0)
        return 0;
    const uint32_t first_page = run.first_page + run.pages_count - count;
    copy_live(slot->bytes + (size_t)(room - count) * page_bytes,
              base + (size_t)first_page * page_bytes, (size_t)count * page_bytes);
    baton_page_run *lowest = &slot->runs[BATON_SLOT_PAGES_MAX - slot->runs_count];
    if (slot->runs_count > 0 && first_page + count == lowest->first_page) {
        lowest->first_page = first_page;
        lowest->pages_count += count;
    } else {
        *--lowest = (baton_page_run){first_page, count};
        slot->runs_count++;
    }
    slot->pages_count += count;
    return count;
}

void baton_image_slot_turn(baton_image_slot *slot, uint32_t page_bytes)
{
    const size_t bytes = (size_t)slot->pages_count * page_bytes;
    memmove(slot->runs, slot->runs + BATON_SLOT_PAGES_MAX - slot->runs_count,
            slot->runs_count * sizeof(*slot->runs));
    if (bytes < BATON_IMAGE_CHUNK_BYTES)
        memmove(slot->bytes, slot->bytes + BATON_IMAGE_CHUNK_BYTES - bytes, bytes);
}

/* ---- life ---- */

static int create_file(baton_image_pipe *pipe)
{
    const uint32_t flags = BATON_IO_FOR_WRITE | BATON_IO_CREATE;
    int r = baton_io_unlink(pipe->io, pipe->path); /* a new inode (J10) */
    if (r < 0 && r != -ENOENT)
        return r;
    r = baton_io_file_open(pipe->io, pipe->path, flags | BATON_IO_DIRECT, &pipe->file);
    if (r == -EINVAL) { /* no direct I/O here; the attempt may have created the file */
        r = baton_io_unlink(pipe->io, pipe->path);
        if (r == 0 || r == -ENOENT)
            r = baton_io_file_open(pipe->io, pipe->path, flags, &pipe->file);
    }
    pipe->created = r == 0;
    return r;
}

int baton_image_pipe_open(baton_image_pipe *pipe, const baton_image_pipe_options *options,
                          baton_error *error)
{
    baton_io_options io_options = options->io;
    baton_io_file directory = BATON_IO_NO_FILE;
    pipe->file = BATON_IO_NO_FILE;
    pipe->manifest.chunk_bytes = BATON_IMAGE_CHUNK_BYTES;
    snprintf(pipe->path, sizeof(pipe->path), "%s", options->path);
    baton_assert(options->slots_count >= BATON_IMAGE_SLOTS_MIN &&
                 options->slots_count <= BATON_IMAGE_SLOTS_MAX);
    pipe->slots_count = options->slots_count;
    io_options.ops_max = options->slots_count;
    io_options.region_bytes = (uint64_t)options->slots_count * BATON_IMAGE_CHUNK_BYTES;
    int r = baton_io_open(&io_options, &pipe->io, error);
    if (r < 0)
        return pipe->failed = r;
    for (uint32_t i = 0; i < pipe->slots_count; i++) {
        pipe->slots[i].bytes = baton_io_region_take(pipe->io, BATON_IMAGE_CHUNK_BYTES);
        baton_assert(pipe->slots[i].bytes != NULL);
    }
    r = baton_chunk_encoder_init(&pipe->encoder, options->compress, BATON_IMAGE_CHUNK_BYTES, 0,
                                 options->io.clock);
    if (r == 0)
        r = baton_snapshot_directory_open(pipe->io, options->directory, &directory);
    if (r == 0)
        r = create_file(pipe);
    baton_io_file_close(pipe->io, directory);
    if (r == 0)
        return 0;
    pipe->failed = r;
    pipe->failed_offset = UINT64_MAX;
    return baton_image_pipe_error(pipe, error);
}

int baton_image_pipe_error(const baton_image_pipe *pipe, baton_error *error)
{
    const bool full = baton_io_is_full_disk(pipe->failed);
    const int status = full ? BATON_E_NO_SPACE : pipe->failed;
    baton_error_set(error, status, "write an image", NULL,
                    full ? "free space on its file system; nothing of it is left there"
                         : "check the directory's rights and the disk");
    baton_error_at(error, pipe->path, pipe->failed_offset);
    return status;
}

void baton_image_pipe_close(baton_image_pipe *pipe, bool discard)
{
    if (pipe->io == NULL)
        return;
    int r = baton_image_pipe_drain(pipe); /* the kernel still owns the buffers */
    baton_io_file_close(pipe->io, pipe->file);
    if (discard && pipe->created)
        r = baton_io_unlink(pipe->io, pipe->path);
    (void)r; /* what can't be removed is a leftover for prune */
    baton_io_close(pipe->io);
    baton_chunk_encoder_fini(&pipe->encoder);
    pipe->io = NULL;
    pipe->file = BATON_IO_NO_FILE;
}

void baton_image_pipe_fini(baton_image_pipe *pipe)
{
    baton_assert(pipe->io == NULL);
    baton_snapshot_manifest_free(&pipe->manifest);
}

/* ---- writing ---- */

static void pipe_fail(baton_image_pipe *pipe, int status, uint64_t offset)
{
    if (pipe->failed != 0)
        return; /* the first reason counts */
    pipe->failed = status;
    pipe->failed_offset = offset;
}

void baton_image_pipe_reap(baton_image_pipe *pipe)
{
    for (baton_io_op *op = baton_io_reap(pipe->io); op != NULL; op = baton_io_reap(pipe->io)) {
        pipe->in_flight--;
        if (op->result < 0)
            pipe_fail(pipe, (int)op->result, op->offset);
        else if ((uint64_t)op->result != op->bytes)
            pipe_fail(pipe, -EIO, op->offset);
    }
}

static int wait_one(baton_image_pipe *pipe)
{
    int r = baton_io_wait(pipe->io, UINT64_MAX);
    baton_image_pipe_reap(pipe);
    return r < 0 && r != -EINTR && r != BATON_E_TIMEOUT ? r : 0;
}

int baton_image_pipe_wait_slot(baton_image_pipe *pipe, const baton_image_slot *slot)
{
    baton_image_pipe_reap(pipe);
    while (slot->op.in_flight) {
        int r = wait_one(pipe);
        if (r < 0)
            pipe_fail(pipe, r, UINT64_MAX);
    }
    return pipe->failed;
}

int baton_image_pipe_drain(baton_image_pipe *pipe)
{
    while (pipe->in_flight > 0) {
        int r = wait_one(pipe);
        if (r < 0)
            pipe_fail(pipe, r, UINT64_MAX);
    }
    return pipe->failed;
}

static int make_room(baton_image_pipe *pipe, uint32_t runs_count)
{
    baton_snapshot_manifest *manifest = &pipe->manifest;
    if (manifest->info.chunks_count == BATON_SNAPSHOT_CHUNKS_MAX)
        return BATON_E_TOO_LARGE;
    if (manifest->info.chunks_count == pipe->chunks_room) {
        const uint32_t room = pipe->chunks_room > 0 ? 2 * pipe->chunks_room : 256;
        void *chunks = realloc(manifest->chunks, room * sizeof(*manifest->chunks));
        if (chunks != NULL)
            manifest->chunks = chunks;
        void *pages = realloc(manifest->pages, room * sizeof(*manifest->pages));
        if (pages != NULL)
            manifest->pages = pages;
        if (chunks == NULL || pages == NULL)
            return -ENOMEM;
        pipe->chunks_room = room;
    }
    if (manifest->runs_count + runs_count > pipe->runs_room) {
        const uint64_t room = 2 * pipe->runs_room + BATON_SLOT_PAGES_MAX;
        void *runs = realloc(manifest->runs, room * sizeof(*manifest->runs));
        if (runs == NULL)
            return -ENOMEM;
        manifest->runs = runs;
        pipe->runs_room = room;
    }
    return 0;
}

/* The slot's bytes as they will stand on disk; returns their padded length. */
static uint64_t encode(baton_image_pipe *pipe, baton_image_slot *slot, uint32_t raw_bytes,
                       baton_snapshot_chunk *chunk)
{
    const uint8_t *stored;
    baton_chunk_encode(&pipe->encoder, slot->bytes, raw_bytes, chunk, &stored);
    const uint64_t padded = baton_snapshot_padded(chunk->stored_bytes);
    if (stored != slot->bytes) {
        memcpy(slot->bytes, stored, chunk->stored_bytes);
        memset(slot->bytes + chunk->stored_bytes, 0, padded - chunk->stored_bytes);
    }
    chunk->digest = baton_digest_of(slot->bytes, padded);
    return padded;
}

static void list_chunk(baton_image_pipe *pipe, const baton_image_slot *slot, uint32_t round,
                       const baton_snapshot_chunk *chunk)
{
    baton_snapshot_manifest *manifest = &pipe->manifest;
    manifest->chunks[manifest->info.chunks_count] = *chunk;
    manifest->pages[manifest->info.chunks_count] = (baton_chunk_pages){
        .round = round, .runs_first = manifest->runs_count, .runs_count = slot->runs_count};
    memcpy(manifest->runs + manifest->runs_count, slot->runs,
           slot->runs_count * sizeof(*slot->runs));
    manifest->runs_count += slot->runs_count;
    manifest->info.chunks_count++;
    manifest->info.raw_bytes += chunk->raw_bytes;
    manifest->info.stored_bytes += baton_snapshot_padded(chunk->stored_bytes);
    manifest->pages_count = manifest->info.chunks_count;
}

int baton_image_pipe_commit(baton_image_pipe *pipe, baton_image_slot *slot, uint32_t round,
                            uint32_t page_bytes)
{
    baton_snapshot_chunk chunk = {.offset = pipe->manifest.info.stored_bytes};
    baton_assert(slot->pages_count > 0 && !slot->op.in_flight);
    while (pipe->failed == 0 && pipe->in_flight >= BATON_IMAGE_AHEAD) {
        int r = wait_one(pipe);
        if (r < 0)
            pipe_fail(pipe, r, UINT64_MAX);
    }
    int r = pipe->failed != 0 ? pipe->failed : make_room(pipe, slot->runs_count);
    if (r == 0) {
        const uint64_t padded = encode(pipe, slot, slot->pages_count * page_bytes, &chunk);
        slot->op = (baton_io_op){.kind = BATON_IO_WRITE,
                                 .file = pipe->file,
                                 .buffer = slot->bytes,
                                 .bytes = padded,
                                 .offset = chunk.offset};
        r = baton_io_submit(pipe->io, &slot->op);
    }
    if (r == 0) {
        pipe->in_flight++;
        list_chunk(pipe, slot, round, &chunk);
        r = baton_io_enter(pipe->io);
        if (r == -EINTR || r == -EAGAIN || r == -EBUSY)
            r = 0; /* entered with the next one, or by a wait */
    }
    if (r < 0)
        pipe_fail(pipe, r, chunk.offset);
    return pipe->failed;
}

int baton_image_pipe_flush(baton_image_pipe *pipe)
{
    int r = baton_image_pipe_drain(pipe);
    if (r < 0)
        return r;
    if (BATON_BREAK(NO_IMAGE_FLUSH))
        return 0;
    baton_io_op sync = {.kind = BATON_IO_SYNC_DATA, .file = pipe->file};
    r = (int)baton_io_run(pipe->io, &sync);
    if (r < 0)
        pipe_fail(pipe, r, UINT64_MAX);
    return pipe->failed;
}
