/* bench/image_raw.c: see image_raw.h. */
#include "bench/image_raw.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <liburing.h>

#include "bench/common.h"

#define PIECE (1u << 20)
#define DEPTH 8u

typedef struct {
    const image_raw *job;
    int fd;
    bool writes;
    uint8_t *buffers; /* DEPTH pieces, for reads without memory; or NULL */
} walk;

static void check(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static uint32_t piece_bytes(const walk *self, uint64_t at)
{
    const uint64_t left = self->job->bytes - at;
    return (uint32_t)(left < PIECE ? left : PIECE);
}

static uint8_t *piece_memory(const walk *self, uint64_t at, uint32_t buffer)
{
    if (self->buffers != NULL)
        return self->buffers + (size_t)buffer * PIECE;
    return self->job->memory + at % self->job->memory_bytes;
}

static void submit(const walk *self, struct io_uring *ring, uint64_t at, uint32_t buffer)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    uint8_t *memory = piece_memory(self, at, buffer);
    const uint32_t bytes = piece_bytes(self, at);
    if (self->writes)
        io_uring_prep_write(sqe, self->fd, memory, bytes, at);
    else
        io_uring_prep_read(sqe, self->fd, memory, bytes, at);
    io_uring_sqe_set_data64(sqe, (uint64_t)bytes << 32 | buffer);
}

static void walk_uring(const walk *self)
{
    struct io_uring ring;
    uint32_t idle[DEPTH];
    uint32_t idle_count = DEPTH;
    uint64_t at = 0;
    check(io_uring_queue_init(DEPTH, &ring, 0) == 0, "io_uring");
    for (uint32_t i = 0; i < DEPTH; i++)
        idle[i] = i;
    while (at < self->job->bytes || idle_count < DEPTH) {
        for (; at < self->job->bytes && idle_count > 0; at += PIECE)
            submit(self, &ring, at, idle[--idle_count]);
        struct io_uring_cqe *cqe;
        check(io_uring_submit_and_wait(&ring, 1) >= 0, "io_uring");
        while (io_uring_peek_cqe(&ring, &cqe) == 0) {
            check(cqe->res == (int)(cqe->user_data >> 32), "raw I/O");
            idle[idle_count++] = (uint32_t)cqe->user_data;
            io_uring_cqe_seen(&ring, cqe);
        }
    }
    io_uring_queue_exit(&ring);
}

typedef struct {
    const walk *walk;
    _Atomic uint64_t *next;
    uint32_t buffer;
} walker;

static void *walk_one(void *context)
{
    const walker *self = context;
    const walk *all = self->walk;
    for (;;) {
        const uint64_t at = atomic_fetch_add(self->next, PIECE);
        if (at >= all->job->bytes)
            return NULL;
        uint8_t *memory = piece_memory(all, at, self->buffer);
        const uint32_t bytes = piece_bytes(all, at);
        const ssize_t done = all->writes ? pwrite(all->fd, memory, bytes, (off_t)at)
                                         : pread(all->fd, memory, bytes, (off_t)at);
        check(done == (ssize_t)bytes, "raw I/O");
    }
}

static void walk_threads(const walk *self)
{
    _Atomic uint64_t next = 0;
    pthread_t threads[DEPTH];
    walker walkers[DEPTH];
    for (uint32_t i = 0; i < DEPTH; i++) {
        walkers[i] = (walker){.walk = self, .next = &next, .buffer = i};
        check(pthread_create(&threads[i], NULL, walk_one, &walkers[i]) == 0, "threads");
    }
    for (uint32_t i = 0; i < DEPTH; i++)
        pthread_join(threads[i], NULL);
}

static void walk_all(const walk *self)
{
    if (self->job->threads)
        walk_threads(self);
    else
        walk_uring(self);
}

int64_t image_raw_write(const image_raw *job)
{
    unlink(job->path);
    const int64_t begun_ns = bench_now_ns();
    const int fd = open(job->path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0640);
    check(fd >= 0, job->path);
    walk_all(&(walk){.job = job, .fd = fd, .writes = true});
    check(fdatasync(fd) == 0, "fdatasync");
    close(fd);
    return bench_now_ns() - begun_ns;
}

int64_t image_raw_read(const image_raw *job)
{
    walk all = {.job = job};
    if (job->memory == NULL) {
        check(posix_memalign((void **)&all.buffers, 2u << 20, DEPTH * PIECE) == 0, "memory");
        memset(all.buffers, 1, DEPTH * PIECE);
    }
    const int64_t begun_ns = bench_now_ns();
    all.fd = open(job->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    check(all.fd >= 0, job->path);
    walk_all(&all);
    close(all.fd);
    const int64_t taken_ns = bench_now_ns() - begun_ns;
    free(all.buffers);
    return taken_ns;
}
