/* base/io_threads.c: the backend for where io_uring is denied: a few threads that make the blocking
 * calls (J7).
 *
 *     submit        enter                workers                reap
 *   -> queued -> | pending -> (preadv2, pwritev2 RWF_DSYNC, ...) -> done | -> ready ->
 *
 * `queued` and `ready` are the owner's; `pending` and `done` are shared, under one mutex, taken
 * once per enter and once per emptied `ready`, not once per operation. The eventfd is 1 exactly
 * while `signalled`. Nobody spins (J9). */
#include "base/io_posix.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

#define WORKERS_MAX 8u

typedef struct {
    baton_io_op *first;
    baton_io_op *last;
    uint32_t count;
} op_list;

typedef struct {
    /* the owner's */
    op_list queued;
    op_list ready;
    const baton_clock *clock;
    uint32_t workers_count;
    pthread_t workers[WORKERS_MAX];

    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t work_came;
    op_list pending;
    op_list done;
    bool signalled;
    bool stopping;

    int event_fd;
} threads_backend;

static void list_push(op_list *list, baton_io_op *op)
{
    op->next = NULL;
    if (list->first == NULL)
        list->first = op;
    else
        list->last->next = op;
    list->last = op;
    list->count++;
}

static baton_io_op *list_pop(op_list *list)
{
    baton_io_op *op = list->first;
    if (op == NULL)
        return NULL;
    list->first = op->next;
    op->next = NULL;
    list->count--;
    return op;
}

/* Moves all of `from` to the end of `to`. */
static void list_append(op_list *to, op_list *from)
{
    if (from->first == NULL)
        return;
    if (to->first == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    to->count += from->count;
    *from = (op_list){0};
}

/* ---- workers ---- */

static void signal_owner(threads_backend *self)
{
    const uint64_t one = 1;
    if (self->signalled)
        return;
    self->signalled = true;
    ssize_t n = write(self->event_fd, &one, sizeof(one));
    baton_assert(n == sizeof(one)); /* an eventfd that is 0 always takes a 1 */
}

static void *worker_main(void *argument)
{
    threads_backend *self = argument;

    pthread_mutex_lock(&self->lock);
    for (;;) {
        baton_io_op *op = list_pop(&self->pending);
        if (op == NULL) {
            if (self->stopping)
                break;
            pthread_cond_wait(&self->work_came, &self->lock);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        (void)baton_io_posix_run(NULL, op); /* leaves the result in op */
        pthread_mutex_lock(&self->lock);
        list_push(&self->done, op);
        signal_owner(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static int workers_start(threads_backend *self, uint32_t count)
{
    sigset_t all;
    sigset_t before;
    int r = 0;

    /* A signal meant for the service must not land in one of our threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (r == 0 && self->workers_count < count) {
        r = pthread_create(&self->workers[self->workers_count], NULL, worker_main, self);
        if (r == 0)
            pthread_setname_np(self->workers[self->workers_count++], "baton-io");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->workers_count > 0 ? 0 : -r; /* one is enough to go on */
}

/* ---- life ---- */

static void threads_close(void *context)
{
    threads_backend *self = context;
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->work_came);
    pthread_mutex_unlock(&self->lock);
    for (uint32_t i = 0; i < self->workers_count; i++)
        pthread_join(self->workers[i], NULL);
    if (self->event_fd >= 0)
        close(self->event_fd);
    pthread_cond_destroy(&self->work_came);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static int threads_open(const baton_io_options *options, void *region, uint64_t region_bytes,
                        void **ret_self, baton_error *error)
{
    (void)region;
    (void)region_bytes;
    threads_backend *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return baton_error_set(error, -ENOMEM, "start the I/O threads", NULL, "free memory");
    self->clock = options->clock;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work_came, NULL);

    int r = 0;
    self->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->event_fd < 0) {
        r = baton_error_set(error, -errno, "start the I/O threads", NULL,
                            "raise the limit of open files");
        goto fail;
    }
    r = workers_start(self, options->ops_max < WORKERS_MAX ? options->ops_max : WORKERS_MAX);
    if (r < 0) {
        baton_error_set(error, r, "start the I/O threads", NULL,
                        "raise the limit of processes (ulimit -u, pids cgroup)");
        goto fail;
    }
    *ret_self = self;
    return 0;

fail:
    threads_close(self);
    return r;
}

/* ---- operations ---- */

static int threads_submit(void *context, baton_io_op *op)
{
    threads_backend *self = context;
    list_push(&self->queued, op);
    return 0;
}

static int threads_enter(void *context)
{
    threads_backend *self = context;
    const uint32_t count = self->queued.count;
    if (count == 0)
        return 0;
    pthread_mutex_lock(&self->lock);
    list_append(&self->pending, &self->queued);
    if (count == 1)
        pthread_cond_signal(&self->work_came);
    else
        pthread_cond_broadcast(&self->work_came);
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* Fetches what the workers finished. With nothing left the eventfd is cleared, under the lock: a
 * worker that finishes later sets it again. */
static void collect(threads_backend *self)
{
    uint64_t ignored;
    pthread_mutex_lock(&self->lock);
    list_append(&self->ready, &self->done);
    if (self->ready.first == NULL && self->signalled) {
        ssize_t n = read(self->event_fd, &ignored, sizeof(ignored));
        baton_assert(n == sizeof(ignored));
        self->signalled = false;
    }
    pthread_mutex_unlock(&self->lock);
}

static baton_io_op *threads_reap(void *context)
{
    threads_backend *self = context;
    if (self->ready.first == NULL)
        collect(self);
    return list_pop(&self->ready);
}

static int threads_wait(void *context, uint64_t timeout_ns)
{
    threads_backend *self = context;
    const bool limited = timeout_ns != UINT64_MAX;
    const uint64_t begun_ns = limited ? baton_clock_monotonic_ns(self->clock) : 0;

    int r = threads_enter(self);
    if (r < 0)
        return r;
    for (;;) {
        if (self->ready.first == NULL)
            collect(self);
        if (self->ready.first != NULL)
            return 0;

        struct pollfd wanted = {.fd = self->event_fd, .events = POLLIN};
        struct timespec left = {0};
        if (limited) {
            const uint64_t passed_ns = baton_clock_monotonic_ns(self->clock) - begun_ns;
            if (passed_ns >= timeout_ns && timeout_ns > 0)
                return BATON_E_TIMEOUT;
            const uint64_t left_ns = timeout_ns - (timeout_ns > 0 ? passed_ns : 0);
            left.tv_sec = (time_t)(left_ns / UINT64_C(1000000000));
            left.tv_nsec = (long)(left_ns % UINT64_C(1000000000));
        }
        r = ppoll(&wanted, 1, limited ? &left : NULL, NULL);
        if (r < 0)
            return -errno;
        if (r == 0)
            return BATON_E_TIMEOUT;
    }
}

static int threads_event_fd(void *context)
{
    const threads_backend *self = context;
    return self->event_fd;
}

/* Nothing to hold: a thread's write ends before its process does, so the lock outlives it anyway
 * (J10). */
static int threads_file_hold(void *context, baton_io_file file)
{
    (void)context;
    (void)file;
    return 0;
}

static void threads_file_register(void *context, baton_io_file file)
{
    (void)context;
    (void)file;
}

const baton_io_backend baton_io_backend_threads = {
    .name = "threads",
    .open = threads_open,
    .close = threads_close,
    .submit = threads_submit,
    .enter = threads_enter,
    .reap = threads_reap,
    .wait = threads_wait,
    .event_fd = threads_event_fd,
    .run = baton_io_posix_run,
    .file_size = baton_io_posix_file_size,
    .directory_make = baton_io_posix_directory_make,
    .directory_list = baton_io_posix_directory_list,
    .file_lock = baton_io_posix_file_lock,
    .file_is_locked = baton_io_posix_file_is_locked,
    .file_hold = threads_file_hold,
    .file_register = threads_file_register,
    .map = baton_io_posix_map,
    .unmap = baton_io_posix_unmap,
    .probe_directory = baton_io_posix_probe_directory,
};
