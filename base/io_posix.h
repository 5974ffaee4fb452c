/* base/io_posix.h: what the production backends share below the seam: how one operation is cut into
 * system calls, and how their results add up. Both backends give the same results because both come
 * from here (J7). */
#pragma once

#include "base/io_backend.h"

/* One transfer never asks the kernel for more (its own limit is 2 GiB - 4 KiB). A multiple of
 * BATON_IO_UNIT. */
#define BATON_IO_PART_BYTES_MAX (UINT64_C(1) << 30)

/* The next part of a READ, WRITE or WRITE_DURABLE that has moved op->done_bytes so far. */
typedef struct {
    void *address;
    uint32_t bytes;
    uint64_t offset;
} baton_io_part;
baton_io_part baton_io_op_part(const baton_io_op *op);

/* r is what the kernel said to the last call (a count or -errno). False: op goes on with
 * baton_io_op_continue and one more call; true: its result is baton_io_op_result. */
bool baton_io_op_is_final(const baton_io_op *op, int64_t r);
void baton_io_op_continue(baton_io_op *op, int64_t r);
int64_t baton_io_op_result(const baton_io_op *op, int64_t r);

/* O_* of BATON_IO_*; always O_CLOEXEC. */
int baton_io_open_flags(uint32_t open_flags);
#define BATON_IO_FILE_MODE 0640
