/* journal/recent.h: the newest acknowledged batches in memory that the writer shares with readers
 * in other processes: a part of HINT. A reader at the tail takes them from here and not from the
 * device (J11). A ring of bytes, and where in it each of the last batches begins.
 *
 * What stands here proves nothing: a reader checks the bytes of a batch as if they came from the
 * disk, and where they do not fit, or are not there any more, the disk decides. */
#pragma once

#include <stdatomic.h>

#include "journal/format.h"

#define BATON_RECENT_BYTES (128u << 10)
#define BATON_RECENT_SLOTS 512u
/* Larger batches stay on the disk: the copy is made before every acknowledgement, 1 us at this
 * size beside the 90 us of the fastest durable write; and a reader gets as much with one read. */
#define BATON_RECENT_BATCH_BYTES_MAX (16u << 10)

typedef struct {
    _Atomic uint64_t begun; /* bytes that were ever put, with those of a put under way */
    _Atomic uint64_t slots[BATON_RECENT_SLOTS]; /* of batch n, at n % slots: `begun` before it */
    _Atomic uint64_t words[BATON_RECENT_BYTES / sizeof(uint64_t)];
} baton_recent;

/* A new writer: nothing that stood there is given out any more. Touches all of it, so that no page
 * fault stands before an acknowledgement. */
void baton_recent_clear(baton_recent *recent);
/* One writer thread. No system call. batch: sealed and durable, at this offset of segment index. */
void baton_recent_put(baton_recent *recent, const baton_batch_header *batch, uint64_t index,
                      uint64_t offset);
/* The batch of this number, if it stands there as the one at offset of segment index: as on the
 * disk, its size in bytes, at most BATON_RECENT_BATCH_BYTES_MAX. 0: it does not. */
uint32_t baton_recent_get(const baton_recent *recent, uint64_t batch, uint64_t index,
                          uint64_t offset, void *ret_bytes);
