/* bench/image_raw.c: see image_raw.h. */
#include "bench/image_raw.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>

#define PIECE (1u << 20)
#define DEPTH 8u

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

/* bytes NULL: reads into a buffer for each piece in flight. */
static void walk(int fd, const uint8_t *bytes, uint64_t bytes_count)
{
    struct io_uring ring;
    uint8_t *buffers[DEPTH];
    uint32_t in_flight = 0;
    uint64_t at = 0;
    check(io_uring_queue_init(DEPTH, &ring, 0) == 0, "io_uring");
    for (uint32_t i = 0; i < DEPTH; i++)
        check((buffers[i] = aligned_alloc(4096, PIECE)) != NULL, "memory");
    uint8_t *idle[DEPTH];
    for (uint32_t i = 0; i < DEPTH; i++)
        idle[i] = buffers[i];
    while (at < bytes_count || in_flight > 0) {
        for (; at < bytes_count && in_flight < DEPTH; at += PIECE, in_flight++) {
            const uint32_t n = (uint32_t)(bytes_count - at < PIECE ? bytes_count - at : PIECE);
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
            uint8_t *buffer = idle[DEPTH - 1 - in_flight];
            if (bytes != NULL)
                io_uring_prep_write(sqe, fd, bytes + at, n, at);
            else
                io_uring_prep_read(sqe, fd, buffer, n, at);
            io_uring_sqe_set_data(sqe, buffer);
        }
        struct io_uring_cqe *cqe;
        check(io_uring_submit_and_wait(&ring, 1) >= 0 && io_uring_peek_cqe(&ring, &cqe) == 0,
              "io_uring");
        check(cqe->res > 0, "raw I/O");
        in_flight--;
        idle[DEPTH - 1 - in_flight] = io_uring_cqe_get_data(cqe);
        io_uring_cqe_seen(&ring, cqe);
    }
    for (uint32_t i = 0; i < DEPTH; i++)
        free(buffers[i]);
    io_uring_queue_exit(&ring);
}

double image_raw_write(const char *path, const uint8_t *bytes, uint64_t bytes_count)
{
    unlink(path);
    const double begun = now_s();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0640);
    check(fd >= 0, path);
    walk(fd, bytes, bytes_count);
    check(fdatasync(fd) == 0, "fdatasync");
    close(fd);
    return now_s() - begun;
}

double image_raw_read(const char *path, uint64_t bytes_count)
{
    const double begun = now_s();
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    check(fd >= 0, path);
    walk(fd, NULL, bytes_count);
    close(fd);
    return now_s() - begun;
}
