/* tests/support/io_fault.c: see io_fault.h. */
#include "tests/support/io_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

#define FLIGHT_MAX 1024u

typedef struct {
    baton_io_op *op;
    bool entered;
    bool held;
} flight;

struct io_fault {
    /* counts */
    uint64_t done;
    uint64_t done_kind[BATON_IO_KINDS];

    /* rules */
    uint64_t fail_n;
    int fail_error;
    baton_io_kind fail_kind;
    uint64_t fail_kind_left;
    int fail_kind_error;
    baton_io_kind fail_all_kind;
    int fail_all_error;
    uint64_t tear_n;
    uint64_t tear_bytes;
    uint64_t crash_after;
    io_fault_decide decide;
    void *decide_context;

    /* order */
    io_fault_order order;
    uint64_t random;
    uint32_t gather;
    bool hold[BATON_IO_KINDS];

    /* in flight, oldest first */
    flight flights[FLIGHT_MAX];
    uint32_t flights_count;
    bool waited; /* a wait asked for one: gathering is over until it was reaped */
    int event_fd;
    bool signalled;
};

io_fault *io_fault_new(void)
{
    io_fault *fault = calloc(1, sizeof(*fault));
    baton_assert(fault != NULL);
    fault->crash_after = UINT64_MAX;
    fault->event_fd = -1;
    return fault;
}

void io_fault_free(io_fault *fault)
{
    free(fault);
}

uint64_t io_fault_count(const io_fault *fault)
{
    return fault->done;
}

uint64_t io_fault_count_kind(const io_fault *fault, baton_io_kind kind)
{
    return fault->done_kind[kind];
}

void io_fault_fail(io_fault *fault, uint64_t n, int error)
{
    fault->fail_n = n;
    fault->fail_error = error;
}

void io_fault_fail_kind(io_fault *fault, baton_io_kind kind, uint64_t n, int error)
{
    fault->fail_kind = kind;
    fault->fail_kind_left = n;
    fault->fail_kind_error = error;
}

void io_fault_fail_all(io_fault *fault, baton_io_kind kind, int error)
{
    fault->fail_all_kind = kind;
    fault->fail_all_error = error;
}

void io_fault_tear(io_fault *fault, uint64_t n, uint64_t bytes)
{
    fault->tear_n = n;
    fault->tear_bytes = bytes;
}

void io_fault_crash_after(io_fault *fault, uint64_t n)
{
    fault->crash_after = n;
}

bool io_fault_crashed(const io_fault *fault)
{
    return fault->done >= fault->crash_after;
}

void io_fault_set_decide(io_fault *fault, io_fault_decide decide, void *context)
{
    fault->decide = decide;
    fault->decide_context = context;
}

/* ---- doing one ---- */

/* The first bytes of a write, by another open of the same file: a torn write respects no
 * alignment. */
static void land_part(const baton_io_op *op, uint64_t bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", op->file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    baton_assert(fd >= 0);
    if (bytes > op->bytes)
        bytes = op->bytes;
    ssize_t n = pwrite(fd, op->buffer, bytes, (off_t)op->offset);
    baton_assert(n == (ssize_t)bytes);
    int r = fdatasync(fd);
    baton_assert(r == 0);
    close(fd);
}

/* Gives the operation its number and what the rules say: 0 or -errno. op is NULL for
 * directory_make. */
static int judge(io_fault *fault, const baton_io_op *op)
{
    if (io_fault_crashed(fault))
        return -EIO;
    const uint64_t n = ++fault->done;
    if (op != NULL)
        fault->done_kind[op->kind]++;
    if (n == fault->fail_n)
        return -fault->fail_error;
    if (op != NULL && op->kind == fault->fail_kind && fault->fail_kind_left > 0 &&
        --fault->fail_kind_left == 0)
        return -fault->fail_kind_error;
    if (fault->fail_all_error != 0 && (fault->fail_all_kind == IO_FAULT_ANY_KIND ||
                                       (op != NULL && op->kind == fault->fail_all_kind)))
        return -fault->fail_all_error;
    if (fault->decide != NULL)
        return fault->decide(fault->decide_context, n, op);
    return 0;
}

static int64_t fault_run(void *self, baton_io_op *op)
{
    io_fault *fault = self;
    if (op->kind == BATON_IO_CLOSE)
        return baton_io_posix_run(NULL, op);

    op->result = judge(fault, op);
    if (op->result < 0)
        return op->result;
    const bool is_write = op->kind == BATON_IO_WRITE || op->kind == BATON_IO_WRITE_DURABLE;
    if (is_write && fault->done == fault->tear_n) {
        land_part(op, fault->tear_bytes);
        op->result = -EIO;
        return op->result;
    }
    return baton_io_posix_run(NULL, op);
}

/* ---- in flight ---- */

static bool can_be_done(const flight *one)
{
    return one->entered && !one->held;
}

static uint32_t ready_count(const io_fault *fault)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fault->flights_count; i++)
        count += can_be_done(&fault->flights[i]);
    return count;
}

static uint64_t random_next(io_fault *fault)
{
    uint64_t z = fault->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool may_reap(const io_fault *fault)
{
    const uint32_t ready = ready_count(fault);
    return ready > 0 && (fault->waited || ready >= fault->gather);
}

/* The eventfd says what reap would do. */
static void event_update(io_fault *fault)
{
    const bool wanted = may_reap(fault);
    uint64_t value = 1;
    if (fault->event_fd < 0 || wanted == fault->signalled)
        return;
    ssize_t n = wanted ? write(fault->event_fd, &value, sizeof(value))
                       : read(fault->event_fd, &value, sizeof(value));
    baton_assert(n == sizeof(value));
    fault->signalled = wanted;
}

void io_fault_set_order(io_fault *fault, io_fault_order order, uint64_t seed)
{
    fault->order = order;
    fault->random = seed;
}

void io_fault_set_gather(io_fault *fault, uint32_t depth)
{
    fault->gather = depth;
    event_update(fault);
}

void io_fault_hold(io_fault *fault, baton_io_kind kind, bool hold)
{
    fault->hold[kind] = hold;
}

uint32_t io_fault_held(const io_fault *fault)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fault->flights_count; i++)
        count += fault->flights[i].entered && fault->flights[i].held;
    return count;
}

void io_fault_release(io_fault *fault, uint32_t index)
{
    for (uint32_t i = 0; i < fault->flights_count; i++) {
        if (!fault->flights[i].entered || !fault->flights[i].held)
            continue;
        if (index-- > 0)
            continue;
        fault->flights[i].held = false;
        event_update(fault);
        return;
    }
    baton_assert(!"no held operation has this index");
}

void io_fault_release_all(io_fault *fault)
{
    for (uint32_t i = 0; i < fault->flights_count; i++)
        if (fault->flights[i].entered)
            fault->flights[i].held = false;
    event_update(fault);
}

/* ---- the backend ---- */

static int fault_open(const baton_io_options *options, void *region, uint64_t region_bytes,
                      void **ret_self, baton_error *error)
{
    (void)region;
    (void)region_bytes;
    io_fault *fault = options->custom_context;
    baton_assert(fault != NULL && fault->event_fd < 0);
    fault->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fault->event_fd < 0)
        return baton_error_set(error, -errno, "open the fault backend", NULL, "close some files");
    fault->signalled = false;
    fault->waited = false;
    *ret_self = fault;
    return 0;
}

static void fault_close(void *self)
{
    io_fault *fault = self;
    close(fault->event_fd);
    fault->event_fd = -1;
}

static int fault_submit(void *self, baton_io_op *op)
{
    io_fault *fault = self;
    baton_assert(fault->flights_count < FLIGHT_MAX);
    fault->flights[fault->flights_count++] = (flight){.op = op};
    return 0;
}

static int fault_enter(void *self)
{
    io_fault *fault = self;
    for (uint32_t i = 0; i < fault->flights_count; i++) {
        flight *one = &fault->flights[i];
        if (!one->entered)
            one->held = fault->hold[one->op->kind] && one->op->kind != BATON_IO_CLOSE;
        one->entered = true;
    }
    event_update(fault);
    return 0;
}

/* The index, among all in flight, of the one that is next in the chosen order. */
static uint32_t choose(io_fault *fault, uint32_t ready)
{
    uint32_t skip = 0;
    switch (fault->order) {
    case IO_FAULT_FIFO:
        break;
    case IO_FAULT_REVERSED:
        skip = ready - 1;
        break;
    case IO_FAULT_RANDOM:
        skip = (uint32_t)(random_next(fault) % ready);
        break;
    }
    for (uint32_t i = 0; i < fault->flights_count; i++)
        if (can_be_done(&fault->flights[i]) && skip-- == 0)
            return i;
    baton_assert(!"fewer are ready than were counted");
}

static baton_io_op *fault_reap(void *self)
{
    io_fault *fault = self;
    if (!may_reap(fault)) {
        event_update(fault);
        return NULL;
    }
    const uint32_t index = choose(fault, ready_count(fault));
    baton_io_op *op = fault->flights[index].op;
    fault->flights_count--;
    memmove(&fault->flights[index], &fault->flights[index + 1],
            (fault->flights_count - index) * sizeof(fault->flights[0]));
    fault->waited = false;
    op->result = fault_run(fault, op);
    event_update(fault);
    return op;
}

static int fault_wait(void *self, uint64_t timeout_ns)
{
    io_fault *fault = self;
    int r = fault_enter(fault);
    if (r < 0)
        return r;
    if (ready_count(fault) == 0) {
        if (timeout_ns != UINT64_MAX)
            return BATON_E_TIMEOUT;
        io_fault_release(fault, 0);
    }
    fault->waited = true;
    event_update(fault);
    return 0;
}

static int fault_event_fd(void *self)
{
    const io_fault *fault = self;
    return fault->event_fd;
}

static int fault_directory_make(void *self, const char *path)
{
    int r = judge(self, NULL);
    return r < 0 ? r : baton_io_posix_directory_make(NULL, path);
}

static int fault_file_size(void *self, baton_io_file file, uint64_t *ret_bytes)
{
    return io_fault_crashed(self) ? -EIO : baton_io_posix_file_size(NULL, file, ret_bytes);
}

static int fault_directory_list(void *self, const char *path, baton_io_visit visit, void *context)
{
    return io_fault_crashed(self) ? -EIO
                                  : baton_io_posix_directory_list(NULL, path, visit, context);
}

static int fault_file_lock(void *self, baton_io_file file)
{
    return io_fault_crashed(self) ? -EIO : baton_io_posix_file_lock(NULL, file);
}

static int fault_file_is_locked(void *self, baton_io_file file)
{
    return io_fault_crashed(self) ? -EIO : baton_io_posix_file_is_locked(NULL, file);
}

static int fault_file_hold(void *self, baton_io_file file)
{
    (void)self;
    (void)file;
    return 0;
}

static void fault_file_register(void *self, baton_io_file file)
{
    (void)self;
    (void)file;
}

static int fault_map(void *self, baton_io_file file, uint64_t bytes, bool writable,
                     void **ret_address)
{
    return io_fault_crashed(self) ? -EIO
                                  : baton_io_posix_map(NULL, file, bytes, writable, ret_address);
}

static int fault_probe_directory(void *self, const char *path, baton_io_probe *ret_probe)
{
    return io_fault_crashed(self) ? -EIO : baton_io_posix_probe_directory(NULL, path, ret_probe);
}

const baton_io_backend *io_fault_backend(void)
{
    static const baton_io_backend backend = {
        .name = "fault",
        .open = fault_open,
        .close = fault_close,
        .submit = fault_submit,
        .enter = fault_enter,
        .reap = fault_reap,
        .wait = fault_wait,
        .event_fd = fault_event_fd,
        .run = fault_run,
        .file_size = fault_file_size,
        .directory_make = fault_directory_make,
        .directory_list = fault_directory_list,
        .file_lock = fault_file_lock,
        .file_is_locked = fault_file_is_locked,
        .file_hold = fault_file_hold,
        .file_register = fault_file_register,
        .map = fault_map,
        .unmap = baton_io_posix_unmap,
        .probe_directory = fault_probe_directory,
    };
    return &backend;
}
