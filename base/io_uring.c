/* base/io_uring.c: the io_uring backend: one ring, used by the one thread that opened it (J8).
 *
 * Operations go through the ring as they are; a blocking call is a plain system call beside it.
 *
 * With DEFER_TASKRUN the kernel finishes an operation only while this thread is inside
 * io_uring_enter. reap makes that call when the ring's flags say that there is work, and only then.
 *
 * The event fd is an eventfd that the kernel signals, not the ring's own fd: polling that one ended
 * in EINTR or a hang here (Linux 6.18, cause not isolated). The kernel first makes the work visible
 * in the ring, then raises its flag, then signals; reap clears first, then looks again. So flag and
 * signal can be late, which has the owner look for nothing, but none is lost. */
#include "base/io_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

#define FILES_MAX        64 /* registered files; slot 0 is the held one's */
#define HOLD_SLOT        0
#define FD_MAP_SIZE      4096                /* files with larger numbers are used unregistered */
#define BUFFER_BYTES_MAX (UINT64_C(1) << 30) /* the kernel's limit for one registered buffer */
#define BUFFERS_MAX      1024u               /* and for their number */
#define ENTER_TRIES_MAX  100000u
#define EVENT_IDLE_MAX   16u

typedef struct {
    struct io_uring ring;
    bool ring_open;
    bool part_queued; /* the next part of a transfer stands in the queue, for whoever enters next */

    int event_fd;
    bool event_wanted;   /* somebody asked for event_fd; until then the kernel does not signal */
    bool event_due;      /* something came since the eventfd was cleared */
    uint32_t event_idle; /* reaps in a row that found nothing */

    char *region; /* registered as buffers of BUFFER_BYTES_MAX each, or NULL */
    uint64_t region_bytes;

    int files_count;              /* slots; 0: the kernel gives none */
    int files[FILES_MAX];         /* by slot: the file, or -1 */
    uint8_t slot_of[FD_MAP_SIZE]; /* 0: not registered for operations */
} uring_backend;

/* ---- open ---- */

/* The best the kernel takes, from the newest set of flags to none (5.15). */
static int ring_open(uring_backend *self, unsigned entries)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_SUBMIT_ALL,                                                     /* 6.1 */
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, /* 5.19 */
        IORING_SETUP_SUBMIT_ALL,                                                         /* 5.18 */
        0,
    };
    int r = -EINVAL;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && r == -EINVAL; i++) {
        struct io_uring_params params = {.flags = flags[i]};
        r = io_uring_queue_init_params(entries, &self->ring, &params);
    }
    if (r < 0)
        return r;
    self->ring_open = true;
    (void)fcntl(self->ring.ring_fd, F_SETFD, FD_CLOEXEC);
    (void)io_uring_register_ring_fd(&self->ring); /* saves a lookup per call; since 5.18 */
    return 0;
}

static int ops_probe(uring_backend *self)
{
    static const int needed[] = {
        IORING_OP_NOP,        IORING_OP_READ,        IORING_OP_WRITE,     IORING_OP_FSYNC,
        IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_CLOSE,     IORING_OP_RENAMEAT,
        IORING_OP_UNLINKAT,   IORING_OP_OPENAT,      IORING_OP_FALLOCATE,
    };
    struct io_uring_probe *probe = io_uring_get_probe_ring(&self->ring);
    int r = 0;
    if (probe == NULL)
        return -ENOSYS;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!io_uring_opcode_supported(probe, needed[i]))
            r = -ENOSYS;
    io_uring_free_probe(probe);
    return r;
}

static int event_prepare(uring_backend *self)
{
    self->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->event_fd < 0)
        return -errno;
    int r = io_uring_cq_eventfd_toggle(&self->ring, false); /* off until somebody asks for it */
    return r < 0 ? r : io_uring_register_eventfd(&self->ring, self->event_fd);
}

static void files_prepare(uring_backend *self)
{
    for (int i = 0; i < FILES_MAX; i++)
        self->files[i] = -1;
    /* The table counts against the limit of open files: with a tiny one, the lock is still held. */
    self->files_count = FILES_MAX;
    if (io_uring_register_files(&self->ring, self->files, FILES_MAX) != 0)
        self->files_count = io_uring_register_files(&self->ring, self->files, 1) == 0 ? 1 : 0;
}

/* Without it the operations pin their pages one by one: slower, and all that RLIMIT_MEMLOCK may
 * leave us. */
static void region_register(uring_backend *self, char *region, uint64_t region_bytes)
{
    struct iovec *buffers;
    const uint64_t count = (region_bytes + BUFFER_BYTES_MAX - 1) / BUFFER_BYTES_MAX;
    if (region_bytes == 0 || count > BUFFERS_MAX)
        return;
    buffers = calloc(count, sizeof(*buffers));
    if (buffers == NULL)
        return;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t left = region_bytes - i * BUFFER_BYTES_MAX;
        buffers[i].iov_base = region + i * BUFFER_BYTES_MAX;
        buffers[i].iov_len = left < BUFFER_BYTES_MAX ? left : BUFFER_BYTES_MAX;
    }
    if (io_uring_register_buffers(&self->ring, buffers, (unsigned)count) == 0) {
        self->region = region;
        self->region_bytes = region_bytes;
    }
    free(buffers);
}

static void uring_close(void *context)
{
    uring_backend *self = context;
    if (self == NULL)
        return;
    if (self->ring_open) {
        /* The kernel takes a ring apart later, in a worker of its own; what it holds is given back
         * now. */
        if (self->files_count > 0)
            (void)io_uring_unregister_files(&self->ring);
        if (self->region != NULL)
            (void)io_uring_unregister_buffers(&self->ring);
        io_uring_queue_exit(&self->ring);
    }
    if (self->event_fd >= 0)
        close(self->event_fd);
    free(self);
}

static int uring_open(const baton_io_options *options, void *region, uint64_t region_bytes,
                      void **ret_self, baton_error *error)
{
    uring_backend *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return baton_error_set(error, -ENOMEM, "open io_uring", NULL, "free memory");
    self->event_fd = -1;
    int r = ring_open(self, options->ops_max);
    if (r < 0)
        goto fail;
    r = ops_probe(self);
    if (r < 0)
        goto fail;
    r = event_prepare(self);
    if (r < 0)
        goto fail;
    files_prepare(self);
    region_register(self, region, region_bytes);
    *ret_self = self;
    return 0;

fail:
    uring_close(self);
    return baton_error_set(error, r, "open io_uring", NULL,
                           "allow io_uring (container seccomp profile, kernel.io_uring_disabled, "
                           "memory limits), or choose the thread backend");
}

/* ---- registered files ---- */

static bool slot_set(uring_backend *self, unsigned slot, int file)
{
    if (io_uring_register_files_update(&self->ring, slot, &file, 1) != 1)
        return false;
    self->files[slot] = file;
    return true;
}

static void uring_file_register(void *context, baton_io_file file)
{
    uring_backend *self = context;
    if (file < 0 || file >= FD_MAP_SIZE || self->slot_of[file] != 0)
        return;
    for (unsigned slot = HOLD_SLOT + 1; slot < (unsigned)self->files_count; slot++) {
        if (self->files[slot] != -1)
            continue;
        if (slot_set(self, slot, file))
            self->slot_of[file] = (uint8_t)slot;
        return;
    }
}

static int uring_file_hold(void *context, baton_io_file file)
{
    uring_backend *self = context;
    if (self->files_count == 0)
        return -ENOTSUP;
    if (self->files[HOLD_SLOT] != -1)
        return BATON_E_FULL;
    const int r = io_uring_register_files_update(&self->ring, HOLD_SLOT, &file, 1);
    if (r != 1)
        return r < 0 ? r : -EIO;
    self->files[HOLD_SLOT] = file;
    return 0;
}

/* Before a file is closed: the ring lets go of it. The kernel may do that late, so the lock of the
 * held file is given up by itself: who closes cleanly frees it at once. */
static void file_forget(uring_backend *self, baton_io_file file)
{
    if (self->files_count == 0 || file < 0)
        return;
    if (file < FD_MAP_SIZE && self->slot_of[file] != 0) {
        (void)slot_set(self, self->slot_of[file], -1);
        self->slot_of[file] = 0;
    }
    if (file == self->files[HOLD_SLOT]) {
        struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        (void)fcntl(file, F_OFD_SETLK, &unlock);
        (void)slot_set(self, HOLD_SLOT, -1);
    }
}

static int64_t uring_run(void *context, baton_io_op *op)
{
    if (op->kind == BATON_IO_CLOSE)
        file_forget(context, op->file);
    return baton_io_posix_run(NULL, op);
}

/* ---- queueing ---- */

static void prepare_transfer(const uring_backend *self, struct io_uring_sqe *sqe,
                             const baton_io_op *op, int fd)
{
    const baton_io_part part = baton_io_op_part(op);
    const char *address = part.address;
    const uint64_t at = (uint64_t)((uintptr_t)address - (uintptr_t)self->region);
    const bool inside = self->region != NULL && address >= self->region &&
                        at + part.bytes <= self->region_bytes &&
                        at / BUFFER_BYTES_MAX == (at + part.bytes - 1) / BUFFER_BYTES_MAX;
    const int buffer = inside ? (int)(at / BUFFER_BYTES_MAX) : 0;

    if (op->kind == BATON_IO_READ) {
        if (inside)
            io_uring_prep_read_fixed(sqe, fd, part.address, part.bytes, part.offset, buffer);
        else
            io_uring_prep_read(sqe, fd, part.address, part.bytes, part.offset);
        return;
    }
    if (inside)
        io_uring_prep_write_fixed(sqe, fd, part.address, part.bytes, part.offset, buffer);
    else
        io_uring_prep_write(sqe, fd, part.address, part.bytes, part.offset);
    if (op->kind == BATON_IO_WRITE_DURABLE)
        sqe->rw_flags = RWF_DSYNC;
}

/* Kernels before 6.9 have no opcode for it, so on all of them it is done here, at submit, and a NOP
 * carries its completion: rare and short, and one path instead of two. */
static void prepare_truncate(struct io_uring_sqe *sqe, baton_io_op *op)
{
    (void)baton_io_posix_run(NULL, op);
    io_uring_prep_nop(sqe);
}

static bool takes_registered(baton_io_kind kind)
{
    return kind == BATON_IO_READ || kind == BATON_IO_WRITE || kind == BATON_IO_WRITE_DURABLE ||
           kind == BATON_IO_SYNC_DATA || kind == BATON_IO_SYNC || kind == BATON_IO_ALLOCATE;
}

static void prepare(uring_backend *self, struct io_uring_sqe *sqe, baton_io_op *op)
{
    const bool registered = takes_registered(op->kind) && op->file >= 0 && op->file < FD_MAP_SIZE &&
                            self->slot_of[op->file] != 0;
    const int fd = registered ? self->slot_of[op->file] : op->file;

    switch (op->kind) {
    case BATON_IO_READ:
    case BATON_IO_WRITE:
    case BATON_IO_WRITE_DURABLE:
        prepare_transfer(self, sqe, op, fd);
        break;
    case BATON_IO_SYNC_DATA:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    case BATON_IO_SYNC:
        io_uring_prep_fsync(sqe, fd, 0);
        break;
    case BATON_IO_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, op->path, baton_io_open_flags(op->open_flags),
                             BATON_IO_FILE_MODE);
        break;
    case BATON_IO_CLOSE:
        file_forget(self, op->file);
        io_uring_prep_close(sqe, op->file);
        break;
    case BATON_IO_RENAME:
        io_uring_prep_rename(sqe, op->path, op->path_to);
        break;
    case BATON_IO_UNLINK:
        io_uring_prep_unlink(sqe, op->path, 0);
        break;
    case BATON_IO_ALLOCATE:
        io_uring_prep_fallocate(sqe, fd, 0, (off_t)op->offset, (off_t)op->bytes);
        break;
    case BATON_IO_TRUNCATE:
        prepare_truncate(sqe, op);
        break;
    case BATON_IO_KINDS:
        baton_assert(op->kind != BATON_IO_KINDS);
    }
    if (registered)
        sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, op);
}

static int uring_submit(void *context, baton_io_op *op)
{
    uring_backend *self = context;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
    baton_assert(sqe != NULL); /* the ring has an entry for each of ops_max */
    prepare(self, sqe, op);
    return 0;
}

static int uring_enter(void *context)
{
    uring_backend *self = context;
    unsigned tries = 0;
    self->part_queued = false;
    while (io_uring_sq_ready(&self->ring) > 0) {
        const int r = io_uring_submit(&self->ring);
        if (r > 0 || r == -EINTR)
            continue;
        if (r < 0 && r != -EAGAIN && r != -EBUSY)
            return r;
        /* The kernel is out of requests or wants its completions seen first. */
        if (++tries > ENTER_TRIES_MAX)
            return r < 0 ? r : -EIO;
        (void)io_uring_get_events(&self->ring);
        sched_yield();
    }
    return 0;
}

/* ---- completions ---- */

static bool is_final(const baton_io_op *op, int res)
{
    return res != -EAGAIN && baton_io_op_is_final(op, res);
}

/* The oldest completion that finishes an operation, left in the ring. What is only one part of a
 * transfer is taken out on the way, and the next part goes in: entered with the next call, or by
 * the caller. */
static struct io_uring_cqe *head_final(uring_backend *self)
{
    struct io_uring_cqe *cqe = NULL;
    while (io_uring_cq_ready(&self->ring) > 0) {
        (void)io_uring_peek_cqe(&self->ring, &cqe);
        baton_io_op *op = io_uring_cqe_get_data(cqe);
        const int res = cqe->res;
        if (is_final(op, res))
            return cqe;
        io_uring_cqe_seen(&self->ring, cqe);
        self->event_due = true;
        baton_io_op_continue(op, res);
        (void)uring_submit(self, op);
        self->part_queued = true;
    }
    return NULL;
}

static bool kernel_has_work(const uring_backend *self)
{
    return (IO_URING_READ_ONCE(*self->ring.sq.kflags) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Finds the oldest finished completion, letting the kernel finish what it can, once: its flag
 * may be raised late, for work that was taken already, and then stands until the next. What
 * comes after this call is signalled anew. */
static struct io_uring_cqe *look(uring_backend *self)
{
    struct io_uring_cqe *cqe = head_final(self);
    if (cqe == NULL && kernel_has_work(self)) {
        self->event_due = true;
        (void)io_uring_get_events(&self->ring); /* interrupted: the flag stays, the signal too */
        cqe = head_final(self);
    }
    return cqe;
}

/* True when it was cleared, and the caller must look again. A signal that comes late, after its
 * work was taken, finds event_due false: the clearing now and then keeps an epoll loop from turning
 * for ever over it, at a fraction of a call per empty reap. */
static bool event_clear(uring_backend *self)
{
    uint64_t ignored;
    if (!self->event_wanted || (!self->event_due && ++self->event_idle % EVENT_IDLE_MAX != 0))
        return false;
    self->event_due = false;
    return read(self->event_fd, &ignored, sizeof(ignored)) == sizeof(ignored);
}

static baton_io_op *uring_reap(void *context)
{
    uring_backend *self = context;
    struct io_uring_cqe *cqe = look(self);
    if (cqe == NULL && event_clear(self))
        cqe = look(self);
    if (cqe == NULL) {
        if (self->part_queued)
            (void)uring_enter(self); /* if this fails, so will the caller's next enter or wait */
        return NULL;
    }
    baton_io_op *op = io_uring_cqe_get_data(cqe);
    if (op->kind != BATON_IO_TRUNCATE)
        op->result = baton_io_op_result(op, cqe->res);
    io_uring_cqe_seen(&self->ring, cqe);
    self->event_due = true;
    return op;
}

static int uring_wait(void *context, uint64_t timeout_ns)
{
    uring_backend *self = context;
    const bool limited = timeout_ns != UINT64_MAX;
    struct __kernel_timespec limit = {
        .tv_sec = (long long)(timeout_ns / UINT64_C(1000000000)),
        .tv_nsec = (long long)(timeout_ns % UINT64_C(1000000000)),
    };
    struct io_uring_cqe *cqe = NULL;
    for (;;) {
        if (head_final(self) != NULL)
            return uring_enter(self);
        int r =
            io_uring_submit_and_wait_timeout(&self->ring, &cqe, 1, limited ? &limit : NULL, NULL);
        if (r == -ETIME)
            return head_final(self) != NULL ? 0 : BATON_E_TIMEOUT;
        if (r == -EAGAIN || r == -EBUSY)
            r = uring_enter(self);
        if (r < 0)
            return r;
    }
}

static int uring_event_fd(void *context)
{
    uring_backend *self = context;
    const uint64_t one = 1;
    if (!self->event_wanted) {
        self->event_wanted = true;
        (void)io_uring_cq_eventfd_toggle(&self->ring, true);
        if (io_uring_cq_ready(&self->ring) > 0 || kernel_has_work(self))
            (void)!write(self->event_fd, &one, sizeof(one)); /* what came before it listened */
    }
    return self->event_fd;
}

const baton_io_backend baton_io_backend_uring = {
    .name = "uring",
    .open = uring_open,
    .close = uring_close,
    .submit = uring_submit,
    .enter = uring_enter,
    .reap = uring_reap,
    .wait = uring_wait,
    .event_fd = uring_event_fd,
    .run = uring_run,
    .file_size = baton_io_posix_file_size,
    .directory_make = baton_io_posix_directory_make,
    .directory_list = baton_io_posix_directory_list,
    .file_lock = baton_io_posix_file_lock,
    .file_is_locked = baton_io_posix_file_is_locked,
    .file_hold = uring_file_hold,
    .file_register = uring_file_register,
    .map = baton_io_posix_map,
    .unmap = baton_io_posix_unmap,
    .probe_directory = baton_io_posix_probe_directory,
};
