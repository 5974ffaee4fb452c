#include "bench/raw.h"

enum { RAW_ENTRY_BYTES = 256, RAW_ENTRY_STEP = 272 }; /* as they stand in a batch */

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bench/common.h"
#include "bench/raw_private.h"

enum { ZERO_STEP_BYTES = 1 << 20, ALIGNMENT_BYTES = 4096 };

typedef struct {
    uint8_t *buffer;
    uint32_t bytes;
    uint64_t tag;
    bool failed; /* the write that its flush follows did */
} raw_slot;

struct raw_device {
    raw_options options;
    char path[512];
    int fd;
    uint64_t offset;
    uint8_t *memory;
    raw_slot slots[RAW_DEPTH_MAX];
    uint32_t free_slots[RAW_DEPTH_MAX];
    uint32_t free_count;
    uint32_t queued;
    struct io_uring ring;
    bool ring_ready;
    bool watching; /* another descriptor's poll is in the ring */
    raw_pool *pool;
};

/* ---- the file ---- */

/* The extents must have been written, at final size, for a durable write to touch nothing but
 * data (J3). */
static int zero_file(int fd, uint64_t file_bytes)
{
    void *zeros;
    if (posix_memalign(&zeros, ALIGNMENT_BYTES, ZERO_STEP_BYTES) != 0)
        return -ENOMEM;
    memset(zeros, 0, ZERO_STEP_BYTES);
    int r = 0;
    for (uint64_t offset = 0; offset < file_bytes && r == 0; offset += ZERO_STEP_BYTES)
        if (pwrite(fd, zeros, ZERO_STEP_BYTES, (off_t)offset) != ZERO_STEP_BYTES)
            r = errno ? -errno : -EIO;
    free(zeros);
    return r;
}

static int file_make(raw_device *raw)
{
    const raw_options *options = &raw->options;
    int r = 0;
    raw->fd = open(options->path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (raw->fd < 0)
        return -errno;
    snprintf(raw->path, sizeof(raw->path), "%s", options->path);
    if (options->file == RAW_ALLOCATED)
        r = posix_fallocate(raw->fd, 0, (off_t)options->file_bytes) == 0 ? 0 : -ENOSPC;
    else if (options->file == RAW_WRITTEN_BEFORE)
        r = zero_file(raw->fd, options->file_bytes);
    if (r == 0 && fsync(raw->fd) < 0)
        r = -errno;
    return r;
}

/* ---- open and close ---- */

static int ring_open(raw_device *raw)
{
    /* Who spins needs completions to come by themselves. */
    struct io_uring_params params = {.flags = raw->options.spins ? 0
                                                                 : IORING_SETUP_SINGLE_ISSUER |
                                                                       IORING_SETUP_DEFER_TASKRUN |
                                                                       IORING_SETUP_TASKRUN_FLAG};
    int r = io_uring_queue_init_params(2 * RAW_DEPTH_MAX, &raw->ring, &params);
    if (r < 0)
        return r;
    raw->ring_ready = true;
    if (raw->options.unregistered)
        return 0;
    size_t bytes = (size_t)raw->options.write_bytes_max * raw->options.depth_max;
    struct iovec vector = {.iov_base = raw->memory, .iov_len = bytes};
    r = io_uring_register_buffers(&raw->ring, &vector, 1);
    if (r == 0)
        r = io_uring_register_files(&raw->ring, &raw->fd, 1);
    if (r == 0)
        r = io_uring_register_ring_fd(&raw->ring) == 1 ? 0 : -EIO;
    return r;
}

int raw_open(const raw_options *options, raw_device **ret_raw)
{
    raw_device *raw = calloc(1, sizeof(*raw));
    if (!raw)
        return -ENOMEM;
    raw->options = *options;
    raw->fd = -1;
    size_t bytes = (size_t)options->write_bytes_max * options->depth_max;
    int r = posix_memalign((void **)&raw->memory, 2 << 20, bytes) == 0 ? 0 : -ENOMEM;
    if (r < 0)
        goto fail;
    (void)madvise(raw->memory, bytes, MADV_HUGEPAGE); /* in few pieces to the device */
    memset(raw->memory, 0x5a, bytes);
    for (uint32_t i = 0; i < options->depth_max; i++) {
        raw->slots[i].buffer = raw->memory + (size_t)i * options->write_bytes_max;
        raw->free_slots[raw->free_count++] = i;
    }
    r = file_make(raw);
    if (r == 0 && !options->threads)
        r = ring_open(raw);
    else if (r == 0 && options->depth_max > 1)
        r = raw_pool_open(options->depth_max, &raw->pool);
    if (r < 0)
        goto fail;
    *ret_raw = raw;
    return 0;

fail:
    raw_close(raw);
    return r;
}

void raw_close(raw_device *raw)
{
    if (!raw)
        return;
    raw_pool_close(raw->pool);
    if (raw->ring_ready)
        io_uring_queue_exit(&raw->ring);
    if (raw->fd >= 0)
        close(raw->fd);
    if (raw->path[0])
        unlink(raw->path);
    free(raw->memory);
    free(raw);
}

/* ---- writing ---- */

uint32_t raw_in_flight(const raw_device *raw)
{
    return raw->options.depth_max - raw->free_count;
}

void raw_rewind(raw_device *raw)
{
    raw->offset = 0;
}

static uint64_t next_offset(raw_device *raw, uint32_t write_bytes)
{
    if (raw->offset + write_bytes > raw->options.file_bytes && raw->options.file != RAW_GROWS)
        raw->offset = 0;
    uint64_t offset = raw->offset;
    raw->offset += write_bytes;
    return offset;
}

/* user_data: the slot, and whether this completion ends it. */
static void ring_queue(raw_device *raw, uint32_t slot, uint64_t offset)
{
    const raw_options *options = &raw->options;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);
    int fd = options->unregistered ? raw->fd : 0;
    uint8_t file_flag = options->unregistered ? 0 : (uint8_t)IOSQE_FIXED_FILE;
    if (options->unregistered)
        io_uring_prep_write(sqe, fd, raw->slots[slot].buffer, raw->slots[slot].bytes, offset);
    else
        io_uring_prep_write_fixed(sqe, fd, raw->slots[slot].buffer, raw->slots[slot].bytes, offset,
                                  0);
    sqe->flags = (uint8_t)(sqe->flags | file_flag);
    if (!options->flush_after) {
        sqe->rw_flags = RWF_DSYNC;
        io_uring_sqe_set_data64(sqe, slot << 1 | 1);
        return;
    }
    sqe->flags |= IOSQE_IO_LINK;
    io_uring_sqe_set_data64(sqe, slot << 1);
    sqe = io_uring_get_sqe(&raw->ring);
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    sqe->flags = (uint8_t)(sqe->flags | file_flag);
    io_uring_sqe_set_data64(sqe, slot << 1 | 1);
}

void raw_fill(raw_device *raw, uint32_t write_bytes)
{
    static uint8_t entry[RAW_ENTRY_BYTES];
    if (raw->free_count == 0)
        return;
    uint8_t *buffer = raw->slots[raw->free_slots[raw->free_count - 1]].buffer;
    entry[0]++;
    for (uint32_t at = 0; at + sizeof(entry) <= write_bytes; at += RAW_ENTRY_STEP)
        memcpy(buffer + at, entry, sizeof(entry));
}

int raw_submit(raw_device *raw, uint32_t write_bytes, uint64_t tag)
{
    if (raw->free_count == 0)
        return -EBUSY;
    uint32_t slot = raw->free_slots[--raw->free_count];
    raw->slots[slot].bytes = write_bytes;
    raw->slots[slot].tag = tag;
    raw->slots[slot].failed = false;
    uint64_t offset = next_offset(raw, write_bytes);
    if (raw->pool) {
        raw_job job = {.slot = slot,
                       .fd = raw->fd,
                       .buffer = raw->slots[slot].buffer,
                       .bytes = write_bytes,
                       .offset = offset};
        raw_pool_submit(raw->pool, &job);
        return 0;
    }
    ring_queue(raw, slot, offset);
    return 0;
}

void raw_watch(raw_device *raw, int fd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    io_uring_sqe_set_data64(sqe, RAW_READABLE);
    raw->watching = true;
}

static int ring_turn(raw_device *raw, uint64_t timeout_ns)
{
    const bool idle = raw_in_flight(raw) == 0 && !raw->watching;
    struct io_uring *ring = &raw->ring;
    struct io_uring_cqe *cqe = NULL;
    int r = 0;
    if (timeout_ns == 0 || idle || io_uring_cq_ready(ring) > 0) {
        if (io_uring_sq_ready(ring) > 0)
            r = io_uring_submit(ring);
    } else if (raw->options.spins) {
        r = io_uring_submit(ring);
        while (r >= 0 && io_uring_peek_cqe(ring, &cqe) == -EAGAIN)
            ;
    } else if (timeout_ns == UINT64_MAX) {
        r = io_uring_submit_and_wait(ring, 1);
    } else {
        struct __kernel_timespec limit = {.tv_sec = (long long)(timeout_ns / UINT64_C(1000000000)),
                                          .tv_nsec =
                                              (long long)(timeout_ns % UINT64_C(1000000000))};
        r = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, NULL);
    }
    return r < 0 && r != -ETIME && r != -EINTR ? r : 0;
}

int raw_turn(raw_device *raw, uint64_t timeout_ns)
{
    if (!raw->pool)
        return ring_turn(raw, timeout_ns);
    if (timeout_ns > 0 && raw_in_flight(raw) > 0)
        raw_pool_wait(raw->pool, timeout_ns);
    return 0;
}

static int give_back(raw_device *raw, uint32_t slot, bool failed, int64_t result, uint64_t *ret_tag)
{
    raw->free_slots[raw->free_count++] = slot;
    *ret_tag = raw->slots[slot].tag;
    if (failed)
        return result < 0 ? (int)result : -EIO;
    return 1;
}

static int ring_reap(raw_device *raw, uint64_t *ret_tag)
{
    struct io_uring_cqe *cqe;
    if (io_uring_cq_ready(&raw->ring) == 0 &&
        (IO_URING_READ_ONCE(*raw->ring.sq.kflags) & IORING_SQ_TASKRUN) != 0)
        (void)io_uring_get_events(&raw->ring);
    while (io_uring_cq_ready(&raw->ring) > 0) {
        int r = io_uring_peek_cqe(&raw->ring, &cqe);
        if (r < 0)
            return r;
        if (cqe->user_data == RAW_READABLE) {
            io_uring_cqe_seen(&raw->ring, cqe);
            raw->watching = false;
            *ret_tag = RAW_READABLE;
            return 1;
        }
        uint32_t slot = (uint32_t)(cqe->user_data >> 1);
        bool last = (cqe->user_data & 1) != 0;
        bool is_flush = last && raw->options.flush_after;
        int64_t result = cqe->res;
        bool failed = is_flush ? result < 0 : result != raw->slots[slot].bytes;
        io_uring_cqe_seen(&raw->ring, cqe);
        raw->slots[slot].failed |= failed;
        if (last)
            return give_back(raw, slot, raw->slots[slot].failed, result, ret_tag);
    }
    return 0;
}

int raw_reap(raw_device *raw, uint64_t *ret_tag)
{
    uint32_t slot;
    int64_t result;
    if (!raw->pool)
        return ring_reap(raw, ret_tag);
    if (!raw_pool_reap(raw->pool, &slot, &result))
        return 0;
    return give_back(raw, slot, result != raw->slots[slot].bytes, result, ret_tag);
}

static int write_posix(raw_device *raw, uint32_t write_bytes)
{
    struct iovec vector = {.iov_base = raw->memory, .iov_len = write_bytes};
    off_t offset = (off_t)next_offset(raw, write_bytes);
    ssize_t written = pwritev2(raw->fd, &vector, 1, offset, RWF_DSYNC);
    if (written < 0)
        return -errno;
    return written == write_bytes ? 0 : -EIO;
}

int64_t raw_write(raw_device *raw, uint32_t write_bytes)
{
    uint64_t tag;
    int64_t begin = bench_now_ns();
    if (raw->options.threads) {
        int r = write_posix(raw, write_bytes);
        return r < 0 ? r : bench_now_ns() - begin;
    }
    int r = raw_submit(raw, write_bytes, 0);
    while (r == 0) {
        r = raw_turn(raw, UINT64_MAX);
        if (r == 0)
            r = raw_reap(raw, &tag);
    }
    return r < 0 ? r : bench_now_ns() - begin;
}
