/* journal/cursor.c: a ring of 1 MiB chunks, filled ahead in file order. A stretch that runs over
 * the ring's end is made contiguous by copying its front into the room before the ring: at most one
 * copy of one stretch for each turn of the ring. */
#include "journal/cursor.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"

#define RING_BYTES   ((uint64_t)BATON_CURSOR_CHUNKS * BATON_CURSOR_CHUNK_BYTES)
#define MEMORY_BYTES (BATON_CURSOR_STRETCH_MAX + RING_BYTES)
#define HUGE_BYTES   (UINT64_C(2) << 20)

int baton_cursor_init(baton_cursor *cursor, baton_io *io)
{
    void *memory;

    *cursor = (baton_cursor){.io = io, .now.file = BATON_IO_NO_FILE, .next.file = BATON_IO_NO_FILE};
    /* The kernel pins what a direct read fills page by page: twice as fast over huge ones, which
     * fresh memory gets for sure, and an allocator's may not. */
    memory = mmap(NULL, MEMORY_BYTES + HUGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(memory, MEMORY_BYTES + HUGE_BYTES, MADV_HUGEPAGE);
    cursor->mapped = memory;
    cursor->memory = (uint8_t *)memory + (HUGE_BYTES - (uintptr_t)memory % HUGE_BYTES);
    cursor->ring = cursor->memory + BATON_CURSOR_STRETCH_MAX;
    return 0;
}

/* Take in finished reads; sleep for one when none is. */
static int cursor_reap(baton_cursor *cursor)
{
    for (;;) {
        int r = baton_io_enter(cursor->io);
        if (r < 0 && r != -EINTR)
            return r;
        bool any = false;
        for (baton_io_op *op; (op = baton_io_reap(cursor->io)) != NULL; any = true) {
            baton_assert(op >= cursor->ops && op < cursor->ops + BATON_CURSOR_CHUNKS);
            cursor->finished[op - cursor->ops] = true;
            cursor->in_flight--;
        }
        if (any)
            return 0;
        r = baton_io_wait(cursor->io, UINT64_MAX);
        if (r < 0 && r != -EINTR && r != BATON_E_TIMEOUT)
            return r;
    }
}

int baton_cursor_stop(baton_cursor *cursor)
{
    while (cursor->in_flight > 0) {
        int r = cursor_reap(cursor);
        if (r < 0)
            return r;
    }
    cursor->now.file = cursor->next.file = BATON_IO_NO_FILE;
    cursor->now.limit = cursor->position;
    return 0;
}

void baton_cursor_fini(baton_cursor *cursor)
{
    /* The kernel owns the buffers of what is in flight: without its answer they are never freed. */
    if (cursor->mapped != NULL && baton_cursor_stop(cursor) == 0)
        munmap(cursor->mapped, MEMORY_BYTES + HUGE_BYTES);
    *cursor = (baton_cursor){.now.file = BATON_IO_NO_FILE, .next.file = BATON_IO_NO_FILE};
}

void baton_cursor_follow(baton_cursor *cursor, baton_io_file file, uint64_t offset, uint64_t limit)
{
    baton_assert(offset % BATON_IO_UNIT == 0 && limit % BATON_IO_UNIT == 0);
    baton_assert(cursor->next.file == BATON_IO_NO_FILE && file != BATON_IO_NO_FILE);
    cursor->next = (baton_cursor_run){.file = file,
                                      .base = offset,
                                      .limit = limit > offset ? limit : offset,
                                      .first = UINT64_MAX}; /* read_ahead knows when it begins */
}

/* The reads have gone on to the file that is wanted: only what is still under way of the one before
 * is waited for. */
static int go_on(baton_cursor *cursor)
{
    for (uint64_t chunk = cursor->loaded; chunk < cursor->next.first; chunk++) {
        while (!cursor->finished[chunk % BATON_CURSOR_CHUNKS]) {
            int r = cursor_reap(cursor);
            if (r < 0)
                return r;
        }
    }
    cursor->now = cursor->next;
    cursor->loaded = cursor->now.first;
    return 0;
}

int baton_cursor_seek(baton_cursor *cursor, baton_io_file file, uint64_t offset, uint64_t limit)
{
    baton_assert(offset % BATON_IO_UNIT == 0 && limit % BATON_IO_UNIT == 0);
    const baton_cursor_run *next = &cursor->next;
    limit = limit > offset ? limit : offset;
    bool begun = file == next->file && offset == next->base && limit == next->limit &&
                 next->first != UINT64_MAX;
    int r = begun ? go_on(cursor) : baton_cursor_stop(cursor);
    if (r < 0)
        return r;
    if (!begun) {
        cursor->now = (baton_cursor_run){.file = file, .base = offset, .limit = limit};
        cursor->submitted = cursor->loaded = 0;
    }
    cursor->next.file = BATON_IO_NO_FILE;
    cursor->position = offset;
    cursor->failure = 0;
    return 0;
}

static uint64_t chunk_offset(const baton_cursor_run *run, uint64_t chunk)
{
    return run->base + (chunk - run->first) * BATON_CURSOR_CHUNK_BYTES;
}

/* The run that the next read belongs to, or NULL. */
static const baton_cursor_run *to_read(baton_cursor *cursor)
{
    if (cursor->next.file != BATON_IO_NO_FILE && cursor->submitted >= cursor->next.first)
        return chunk_offset(&cursor->next, cursor->submitted) < cursor->next.limit ? &cursor->next
                                                                                   : NULL;
    if (chunk_offset(&cursor->now, cursor->submitted) < cursor->now.limit)
        return &cursor->now;
    if (cursor->next.file == BATON_IO_NO_FILE || cursor->next.base >= cursor->next.limit)
        return NULL;
    cursor->next.first = cursor->submitted;
    return &cursor->next;
}

/* Keep reads in flight, into chunks that nobody looks at. */
static int read_ahead(baton_cursor *cursor)
{
    const uint64_t oldest =
        cursor->now.first + (cursor->position - cursor->now.base) / BATON_CURSOR_CHUNK_BYTES;
    const baton_cursor_run *run;

    while (cursor->in_flight < BATON_CURSOR_READS_MAX &&
           cursor->submitted < oldest + BATON_CURSOR_CHUNKS && (run = to_read(cursor)) != NULL) {
        uint32_t slot = (uint32_t)(cursor->submitted % BATON_CURSOR_CHUNKS);
        uint64_t offset = chunk_offset(run, cursor->submitted);
        uint64_t bytes = run->limit - offset;
        if (bytes > BATON_CURSOR_CHUNK_BYTES)
            bytes = BATON_CURSOR_CHUNK_BYTES;
        cursor->ops[slot] = (baton_io_op){.kind = BATON_IO_READ,
                                          .file = run->file,
                                          .buffer = cursor->ring + slot * BATON_CURSOR_CHUNK_BYTES,
                                          .bytes = bytes,
                                          .offset = offset};
        cursor->finished[slot] = false;
        int r = baton_io_submit(cursor->io, &cursor->ops[slot]);
        if (r == BATON_E_FULL && cursor->in_flight > 0)
            return 0;
        if (r < 0)
            return r;
        cursor->in_flight++;
        cursor->submitted++;
    }
    return 0;
}

/* Move `loaded` over finished chunks, in file order. */
static void take_in(baton_cursor *cursor)
{
    bool reads_next = cursor->next.file != BATON_IO_NO_FILE && cursor->next.first != UINT64_MAX;
    uint64_t end = reads_next ? cursor->next.first : cursor->submitted;

    while (cursor->loaded < end) {
        uint32_t slot = (uint32_t)(cursor->loaded % BATON_CURSOR_CHUNKS);
        const baton_io_op *op = &cursor->ops[slot];
        if (!cursor->finished[slot])
            return;
        if (op->result < 0) {
            if (cursor->failure == 0) {
                cursor->failure = (int)op->result;
                cursor->failure_offset = op->offset;
            }
            return;
        }
        if ((uint64_t)op->result < op->bytes) { /* the end of the file; a part of a unit is none */
            uint64_t whole = op->offset + (uint64_t)op->result / BATON_IO_UNIT * BATON_IO_UNIT;
            if (cursor->now.limit > whole)
                cursor->now.limit = whole;
        }
        cursor->loaded++;
    }
}

int baton_cursor_peek(baton_cursor *cursor, uint64_t bytes, const void **ret_bytes,
                      uint64_t *ret_available)
{
    baton_assert(bytes % BATON_IO_UNIT == 0 && bytes <= BATON_CURSOR_STRETCH_MAX);

    for (;;) {
        take_in(cursor);
        uint64_t end = cursor->position + bytes < cursor->now.limit ? cursor->position + bytes
                                                                    : cursor->now.limit;
        if (cursor->position >= end || end <= chunk_offset(&cursor->now, cursor->loaded))
            break;
        if (cursor->failure < 0)
            return cursor->failure;
        int r = read_ahead(cursor);
        if (r == 0 && cursor->in_flight > 0)
            r = cursor_reap(cursor);
        if (r < 0)
            return r;
    }

    int r = read_ahead(cursor); /* and hand it over now: it runs while the caller works */
    if (r == 0)
        r = baton_io_enter(cursor->io);
    if (r < 0 && r != -EINTR)
        return r;

    uint64_t left = cursor->now.limit > cursor->position ? cursor->now.limit - cursor->position : 0;
    uint64_t available = bytes < left ? bytes : left;
    uint64_t at =
        (cursor->now.first * BATON_CURSOR_CHUNK_BYTES + cursor->position - cursor->now.base) %
        RING_BYTES;
    *ret_available = available;
    *ret_bytes = cursor->ring + at;
    if (at + available > RING_BYTES) {
        uint64_t front = RING_BYTES - at;
        memcpy(cursor->ring - front, cursor->ring + at, front);
        *ret_bytes = cursor->ring - front;
    }
    return 0;
}

void baton_cursor_skip(baton_cursor *cursor, uint64_t bytes)
{
    baton_assert(cursor->position + bytes <= cursor->now.limit);
    cursor->position += bytes;
    if (baton_cursor_untouched(cursor))
        cursor->now.base = cursor->position;
}
