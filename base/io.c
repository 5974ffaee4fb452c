/* base/io.c: the part of the seam that is the same whatever stands behind it: choosing the backend,
 * the region, the count of operations in flight. */
#include "base/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/io_backend.h"

#define OPS_DEFAULT     64u
#define OPS_LIMIT       1024u
#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)

struct baton_io {
    const baton_io_backend *backend;
    void *self; /* the backend's */
    const baton_clock *clock;
    uint32_t ops_max;
    uint32_t in_flight;
    char *region;
    bool region_is_lent;
    uint64_t region_bytes;
    uint64_t region_used;
    char fallback_reason[256];
};

/* ---- open ---- */

static uint64_t huge_padded(uint64_t bytes)
{
    return (bytes + HUGE_PAGE_BYTES - 1) & ~(HUGE_PAGE_BYTES - 1);
}

/* aligned_alloc, so that in a program that uses jemalloc the region is jemalloc's; written once, so
 * that no page fault is left for the hot path. */
void *baton_io_region_make(uint64_t bytes)
{
    bytes = huge_padded(bytes);
    void *region = aligned_alloc(HUGE_PAGE_BYTES, bytes);
    if (region == NULL)
        return NULL;
    /* A wish: a kernel without huge pages refuses it. */
    (void)madvise(region, bytes, MADV_HUGEPAGE);
    memset(region, 0, bytes);
    return region;
}

static int region_allocate(baton_io *io, const baton_io_options *options, baton_error *error)
{
    const uint64_t bytes = options->region_bytes;
    if (bytes == 0)
        return 0;
    if (bytes > UINT64_MAX - HUGE_PAGE_BYTES)
        return baton_error_set(error, BATON_E_INVALID, "open the I/O region", "its size overflows",
                               "ask for less buffer memory");
    io->region_is_lent = options->region != NULL;
    io->region = io->region_is_lent ? options->region : baton_io_region_make(bytes);
    if (io->region == NULL)
        return baton_error_setf(error, -ENOMEM, "open the I/O region",
                                "free memory, or ask for less buffer memory",
                                "no memory for %llu bytes", (unsigned long long)huge_padded(bytes));
    io->region_bytes = huge_padded(bytes);
    /* A child never uses it, and a fork would copy what is registered at once, not when written. */
    if (!io->region_is_lent)
        (void)madvise(io->region, io->region_bytes, MADV_DONTFORK);
    return 0;
}

static void fallback_explain(baton_io *io, int r)
{
    static const char *const rest = "the thread backend is used instead";
    char *text = io->fallback_reason;
    const size_t size = sizeof(io->fallback_reason);

    if (r == -EPERM || r == -ENOSYS || r == -EACCES)
        snprintf(text, size,
                 "io_uring is denied (%s): most likely a container's seccomp profile, or "
                 "kernel.io_uring_disabled; %s",
                 baton_status_name(r), rest);
    else if (r == -ENOMEM)
        snprintf(text, size,
                 "io_uring has no memory (%s): most likely RLIMIT_MEMLOCK or the memory cgroup; %s",
                 baton_status_name(r), rest);
    else
        snprintf(text, size, "io_uring cannot be set up (%s: %s); %s", baton_status_name(r),
                 baton_status_text(r), rest);
}

static int backend_open(baton_io *io, const baton_io_backend *backend,
                        const baton_io_options *options, baton_error *error)
{
    int r = backend->open(options, io->region, io->region_bytes, &io->self, error);
    if (r < 0)
        return r;
    io->backend = backend;
    return 0;
}

static int backend_choose(baton_io *io, const baton_io_options *options, baton_error *error)
{
    if (options->custom != NULL)
        return backend_open(io, options->custom, options, error);

    int r;
    switch (options->choice) {
    case BATON_IO_URING:
        return backend_open(io, &baton_io_backend_uring, options, error);
    case BATON_IO_THREADS:
        return backend_open(io, &baton_io_backend_threads, options, error);
    case BATON_IO_AUTO:
        r = backend_open(io, &baton_io_backend_uring, options, NULL);
        if (r == 0)
            return 0;
        fallback_explain(io, r);
        return backend_open(io, &baton_io_backend_threads, options, error);
    }
    return baton_error_set(error, BATON_E_INVALID, "open I/O", "unknown backend",
                           "choose auto, uring or threads");
}

int baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error)
{
    baton_io_options asked = *options;
    if (asked.ops_max == 0)
        asked.ops_max = OPS_DEFAULT;
    if (asked.ops_max > OPS_LIMIT)
        return baton_error_setf(error, BATON_E_INVALID, "open I/O", "ask for fewer",
                                "%u operations in flight are more than %u", asked.ops_max,
                                OPS_LIMIT);
    if (asked.clock == NULL)
        asked.clock = baton_clock_system();

    baton_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return baton_error_set(error, -ENOMEM, "open I/O", NULL, "free memory");
    io->clock = asked.clock;
    io->ops_max = asked.ops_max;

    int r = region_allocate(io, &asked, error);
    if (r < 0)
        goto fail;
    r = backend_choose(io, &asked, error);
    if (r < 0)
        goto fail;
    *ret_io = io;
    return 0;

fail:
    baton_io_close(io);
    return r;
}

void baton_io_close(baton_io *io)
{
    if (io == NULL)
        return;
    if (io->backend != NULL) {
        /* The kernel owns the buffers of what is in flight: nothing may be freed before it is
         * back. */
        while (io->in_flight > 0) {
            int r = io->backend->wait(io->self, UINT64_MAX);
            baton_assert(r == 0 || r == -EINTR);
            while (baton_io_reap(io) != NULL)
                continue;
        }
        io->backend->close(io->self);
    }
    if (!io->region_is_lent && io->region != NULL) {
        /* Its memory is anybody's from here on, and a child's, too. */
        (void)madvise(io->region, io->region_bytes, MADV_DOFORK);
        free(io->region);
    }
    free(io);
}

const char *baton_io_backend_name(const baton_io *io)
{
    return io->backend->name;
}

bool baton_io_is_custom(const baton_io *io)
{
    return io->backend != &baton_io_backend_uring && io->backend != &baton_io_backend_threads;
}

const char *baton_io_fallback_reason(const baton_io *io)
{
    return io->fallback_reason;
}

const baton_clock *baton_io_clock(const baton_io *io)
{
    return io->clock;
}

/* ---- region ---- */

void *baton_io_region(const baton_io *io, uint64_t *ret_bytes)
{
    *ret_bytes = io->region_bytes;
    return io->region;
}

void *baton_io_region_take(baton_io *io, uint64_t bytes)
{
    const uint64_t left = io->region_bytes - io->region_used;
    if (bytes > left)
        return NULL;
    /* Still fits: what is left is a multiple of the unit too. */
    bytes = (bytes + BATON_IO_UNIT - 1) & ~(uint64_t)(BATON_IO_UNIT - 1);
    void *taken = io->region + io->region_used;
    io->region_used += bytes;
    return taken;
}

/* ---- without blocking ---- */

int baton_io_submit(baton_io *io, baton_io_op *op)
{
    baton_assert(!op->in_flight);
    if (io->in_flight == io->ops_max)
        return BATON_E_FULL;
    op->next = NULL;
    op->done_bytes = 0;
    int r = io->backend->submit(io->self, op);
    if (r < 0)
        return r;
    op->in_flight = true;
    io->in_flight++;
    return 0;
}

int baton_io_enter(baton_io *io)
{
    return io->backend->enter(io->self);
}

baton_io_op *baton_io_reap(baton_io *io)
{
    baton_io_op *op = io->backend->reap(io->self);
    if (op == NULL)
        return NULL;
    baton_assert(op->in_flight && io->in_flight > 0);
    op->in_flight = false;
    io->in_flight--;
    return op;
}

int baton_io_wait(baton_io *io, uint64_t timeout_ns)
{
    if (io->in_flight == 0)
        return BATON_E_TIMEOUT;
    return io->backend->wait(io->self, timeout_ns);
}

uint32_t baton_io_in_flight(const baton_io *io)
{
    return io->in_flight;
}

int baton_io_event_fd(const baton_io *io)
{
    return io->backend->event_fd(io->self);
}

/* ---- blocking ---- */

int64_t baton_io_run(baton_io *io, baton_io_op *op)
{
    baton_assert(!op->in_flight);
    op->done_bytes = 0;
    op->result = io->backend->run(io->self, op);
    return op->result;
}

int baton_io_file_open(baton_io *io, const char *path, uint32_t open_flags, baton_io_file *ret_file)
{
    baton_io_op op = {.kind = BATON_IO_OPEN, .path = path, .open_flags = open_flags};
    int64_t r = baton_io_run(io, &op);
    if (r < 0)
        return (int)r;
    *ret_file = (baton_io_file)r;
    return 0;
}

void baton_io_file_close(baton_io *io, baton_io_file file)
{
    baton_io_op op = {.kind = BATON_IO_CLOSE, .file = file};
    if (file == BATON_IO_NO_FILE)
        return;
    int64_t r = baton_io_run(io, &op);
    baton_assert(r != -EBADF); /* closed twice: the number may be somebody else's file by now */
}

int64_t baton_io_file_read(baton_io *io, baton_io_file file, void *buffer, uint64_t bytes,
                           uint64_t offset)
{
    baton_io_op op = {
        .kind = BATON_IO_READ, .file = file, .buffer = buffer, .bytes = bytes, .offset = offset};
    return baton_io_run(io, &op);
}

int baton_io_file_write(baton_io *io, baton_io_file file, const void *buffer, uint64_t bytes,
                        uint64_t offset)
{
    baton_io_op op = {.kind = BATON_IO_WRITE,
                      .file = file,
                      .buffer = (void *)(uintptr_t)buffer, /* only read */
                      .bytes = bytes,
                      .offset = offset};
    int64_t r = baton_io_run(io, &op);
    return r < 0 ? (int)r : 0;
}

int baton_io_file_sync(baton_io *io, baton_io_file file)
{
    baton_io_op op = {.kind = BATON_IO_SYNC, .file = file};
    return (int)baton_io_run(io, &op);
}

int baton_io_directory_sync(baton_io *io, const char *path)
{
    baton_io_file directory = BATON_IO_NO_FILE;
    int r = baton_io_file_open(io, path, BATON_IO_FOR_READ | BATON_IO_DIRECTORY, &directory);
    if (r < 0)
        return r;
    r = baton_io_file_sync(io, directory);
    baton_io_file_close(io, directory);
    return r;
}

int baton_io_rename(baton_io *io, const char *path, const char *path_to)
{
    baton_io_op op = {.kind = BATON_IO_RENAME, .path = path, .path_to = path_to};
    return (int)baton_io_run(io, &op);
}

int baton_io_unlink(baton_io *io, const char *path)
{
    baton_io_op op = {.kind = BATON_IO_UNLINK, .path = path};
    return (int)baton_io_run(io, &op);
}

int baton_io_file_size(baton_io *io, baton_io_file file, uint64_t *ret_bytes)
{
    return io->backend->file_size(io->self, file, ret_bytes);
}

int baton_io_directory_make(baton_io *io, const char *path)
{
    return io->backend->directory_make(io->self, path);
}

int baton_io_directory_list(baton_io *io, const char *path, baton_io_visit visit, void *context)
{
    return io->backend->directory_list(io->self, path, visit, context);
}

int baton_io_file_lock(baton_io *io, baton_io_file file)
{
    return io->backend->file_lock(io->self, file);
}

int baton_io_file_is_locked(baton_io *io, baton_io_file file)
{
    return io->backend->file_is_locked(io->self, file);
}

int baton_io_file_hold(baton_io *io, baton_io_file file)
{
    return io->backend->file_hold(io->self, file);
}

void baton_io_file_register(baton_io *io, baton_io_file file)
{
    io->backend->file_register(io->self, file);
}

int baton_io_map(baton_io *io, baton_io_file file, uint64_t bytes, bool writable,
                 void **ret_address)
{
    return io->backend->map(io->self, file, bytes, writable, ret_address);
}

void baton_io_unmap(baton_io *io, void *address, uint64_t bytes)
{
    io->backend->unmap(io->self, address, bytes);
}

int baton_io_probe_directory(baton_io *io, const char *path, baton_io_probe *ret_probe)
{
    return io->backend->probe_directory(io->self, path, ret_probe);
}
