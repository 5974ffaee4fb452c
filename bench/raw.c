#include "bench/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ZERO_STEP_BYTES = 1 << 20, ALIGNMENT_BYTES = 4096 };

struct raw_device {
    char path[256];
    int fd;
    uint64_t file_bytes;
    uint64_t offset;
    uint32_t write_bytes;
    bool uring;
    bool ring_ready;
    struct io_uring ring;
    void *buffer;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

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
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    free(zeros);
    return r;
}

static int ring_open(raw_device *raw)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int r = io_uring_queue_init_params(8, &raw->ring, &params);
    if (r < 0)
        return r;
    raw->ring_ready = true;
    struct iovec vector = {.iov_base = raw->buffer, .iov_len = raw->write_bytes};
    r = io_uring_register_buffers(&raw->ring, &vector, 1);
    if (r == 0)
        r = io_uring_register_files(&raw->ring, &raw->fd, 1);
    if (r == 0)
        r = io_uring_register_ring_fd(&raw->ring) == 1 ? 0 : -EIO;
    return r;
}

int raw_open(const char *path, uint64_t file_bytes, uint32_t write_bytes, bool uring,
             raw_device **ret_raw)
{
    raw_device *raw = calloc(1, sizeof(*raw));
    if (!raw)
        return -ENOMEM;
    raw->fd = -1;
    raw->file_bytes = file_bytes;
    raw->write_bytes = write_bytes;
    raw->uring = uring;

    int r = posix_memalign(&raw->buffer, ALIGNMENT_BYTES, write_bytes) == 0 ? 0 : -ENOMEM;
    if (r < 0)
        goto fail;
    memset(raw->buffer, 0x5a, write_bytes);
    raw->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (raw->fd < 0) {
        r = -errno;
        goto fail;
    }
    snprintf(raw->path, sizeof(raw->path), "%s", path);
    r = zero_file(raw->fd, file_bytes);
    if (r == 0 && uring)
        r = ring_open(raw);
    if (r < 0)
        goto fail;
    *ret_raw = raw;
    return 0;

fail:
    raw_close(raw);
    return r;
}

static int64_t write_uring(raw_device *raw)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);
    io_uring_prep_write_fixed(sqe, 0, raw->buffer, raw->write_bytes, raw->offset, 0);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->rw_flags = RWF_DSYNC;
    struct io_uring_cqe *cqe;
    int r = io_uring_submit_and_wait(&raw->ring, 1);
    if (r < 0)
        return r;
    r = io_uring_peek_cqe(&raw->ring, &cqe);
    if (r < 0)
        return r;
    int64_t written = cqe->res;
    io_uring_cqe_seen(&raw->ring, cqe);
    return written;
}

static int64_t write_posix(raw_device *raw)
{
    struct iovec vector = {.iov_base = raw->buffer, .iov_len = raw->write_bytes};
    ssize_t written = pwritev2(raw->fd, &vector, 1, (off_t)raw->offset, RWF_DSYNC);
    return written < 0 ? -errno : written;
}

int64_t raw_write(raw_device *raw)
{
    int64_t begin = now_ns();
    int64_t written = raw->uring ? write_uring(raw) : write_posix(raw);
    if (written != raw->write_bytes)
        return written < 0 ? written : -EIO;
    raw->offset = (raw->offset + raw->write_bytes) % raw->file_bytes;
    return now_ns() - begin;
}

void raw_close(raw_device *raw)
{
    if (!raw)
        return;
    if (raw->ring_ready)
        io_uring_queue_exit(&raw->ring);
    if (raw->fd >= 0)
        close(raw->fd);
    if (raw->path[0])
        unlink(raw->path);
    free(raw->buffer);
    free(raw);
}
