/* journal/cursor.h: reads one file from front to back in large aligned pieces, several in flight,
 * and hands out any stretch of it as contiguous bytes. When it is told which file comes next, the
 * reads go on there without a pause. Knows nothing of the format.
 *
 * Memory: 12 MiB from init to fini, however large the file. Threads: that of its baton_io, on which
 * nothing else may be in flight between seek and fini. */
#pragma once

#include <stdint.h>

#include "base/io.h"

#define BATON_CURSOR_CHUNK_BYTES (1u << 20) /* one read */
#define BATON_CURSOR_CHUNKS      8u         /* in memory */
#define BATON_CURSOR_READS_MAX   6u         /* in flight: the other two are being looked at */
#define BATON_CURSOR_STRETCH_MAX (4u << 20) /* largest stretch handed out */

/* A stretch of one file, in chunks from `first` on. */
typedef struct {
    baton_io_file file;
    uint64_t base;  /* file offset of chunk `first` */
    uint64_t limit; /* nothing at or after it is read; lowered to the end of the file when met */
    uint64_t first;
} baton_cursor_run;

typedef struct {
    baton_io *io;
    void *mapped;
    uint8_t *memory; /* inside it, aligned: a stretch's room, then the ring of chunks */
    uint8_t *ring;
    baton_cursor_run now;
    baton_cursor_run next; /* file BATON_IO_NO_FILE: none */
    uint64_t position;     /* in `now`: file offset of the next byte handed out */
    uint64_t submitted; /* chunks, from the cursor's first on; those from next.first on are its */
    uint64_t loaded;    /* chunks of `now`, contiguous */
    uint32_t in_flight;
    int failure; /* of the first read that failed, at failure_offset */
    uint64_t failure_offset;
    baton_io_op ops[BATON_CURSOR_CHUNKS];
    bool finished[BATON_CURSOR_CHUNKS];
} baton_cursor;

BATON_MUST_USE int baton_cursor_init(baton_cursor *cursor, baton_io *io);
void baton_cursor_fini(baton_cursor *cursor); /* of zeroes is fine */
/* Go to offset of file and read ahead up to limit (both multiples of BATON_IO_UNIT). What was
 * handed out before is gone. The file stays the caller's and must outlive the next seek or fini. */
BATON_MUST_USE int baton_cursor_seek(baton_cursor *cursor, baton_io_file file, uint64_t offset,
                                     uint64_t limit);
/* What the next seek will be for, unless it is for something else. The file must outlive that seek,
 * or stop. */
void baton_cursor_follow(baton_cursor *cursor, baton_io_file file, uint64_t offset, uint64_t limit);
/* Wait for reads in flight and forget the files, so that the caller may close them. */
BATON_MUST_USE int baton_cursor_stop(baton_cursor *cursor);
/* The next bytes (a multiple of BATON_IO_UNIT, at most BATON_CURSOR_STRETCH_MAX); *ret_available is
 * less only at the limit or the end of the file. Valid until the next call. 0 or -errno. */
BATON_MUST_USE int baton_cursor_peek(baton_cursor *cursor, uint64_t bytes, const void **ret_bytes,
                                     uint64_t *ret_available);
/* Nothing was read since the last seek. */
static inline bool baton_cursor_untouched(const baton_cursor *cursor)
{
    return cursor->submitted == 0;
}
/* Step over bytes that were peeked, or that the caller had from elsewhere while the cursor was
 * untouched: then they are not read at all. */
void baton_cursor_skip(baton_cursor *cursor, uint64_t bytes);
