/* tests/sim/handover/system.c: what a process asks of the kernel that is no file: descriptors, poll,
 * the engine's loop, threads, sleep. The linker sends those calls here (-Wl,--wrap). A number that is
 * none of the simulation's is the real system's. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "drain/peer_socket.h"
#include "tests/sim/handover/handover_run.h"

#define FD_FIRST 2000000
#define FDS_MAX  1024u

static sim_fd fds[FDS_MAX];

/* A Unix socket is its host's. */
static const char *unix_name(const sim_life *life, const char *path, char name[SOCKET_NAME_BYTES])
{
    (void)snprintf(name, SOCKET_NAME_BYTES, "%s:%s", host_name(life->w, life->instance), path);
    return name;
}

/* ---- descriptors ---- */

int fd_new(fd_kind kind, sim_life *life)
{
    for (uint32_t i = 0; i < FDS_MAX; i++)
        if (fds[i].kind == FD_FREE) {
            fds[i] = (sim_fd){.kind = kind, .life = life, .file = BATON_IO_NO_FILE};
            return FD_FIRST + (int)i;
        }
    baton_assert(false);
    return -EMFILE;
}

sim_fd *fd_of(int fd)
{
    return fd >= FD_FIRST && fd < FD_FIRST + (int)FDS_MAX && fds[fd - FD_FIRST].kind != FD_FREE
               ? &fds[fd - FD_FIRST]
               : NULL;
}

static void fd_close(sim_fd *fd)
{
    if (fd->kind == FD_SOCKET && fd->end != NULL)
        network_close(fd->end);
    else if (fd->kind == FD_LISTENER)
        network_unlisten(fd->end);
    else if (fd->kind == FD_FILE)
        file_close(fd);
    fd->kind = FD_FREE;
}

void fd_close_all(const sim_life *life)
{
    for (uint32_t i = 0; i < FDS_MAX; i++)
        if (fds[i].kind != FD_FREE && fds[i].life == life) {
            fds[i].kind =
                fds[i].kind == FD_SOCKET || fds[i].kind == FD_LISTENER ? FD_EVENT : fds[i].kind;
            fd_close(&fds[i]); /* its connections have ended with it */
        }
}

void fd_reset(void)
{
    memset(fds, 0, sizeof(fds));
}

bool fd_is_readable(const sim_fd *fd)
{
    switch (fd->kind) {
    case FD_EVENT:
        return fd->count > 0;
    case FD_SOCKET:
        return fd->end != NULL && network_can_read(fd->end);
    case FD_LISTENER:
        return network_can_accept(fd->end);
    case FD_FREE:
    case FD_FILE:
    case FD_DIRECTORY:
        return false;
    }
    return false;
}

static int fail(int r)
{
    errno = -r;
    return -1;
}

/* The process of the caller is dead: it asks in vain. */
static bool is_in_vain(void)
{
    const sim_life *life = life_current();
    return life != NULL && life_is_dead(life);
}

int __real_close(int fd);
int __wrap_close(int fd);
ssize_t __real_read(int fd, void *buffer, size_t bytes);
ssize_t __wrap_read(int fd, void *buffer, size_t bytes);
ssize_t __real_write(int fd, const void *buffer, size_t bytes);
ssize_t __wrap_write(int fd, const void *buffer, size_t bytes);
int __wrap_eventfd(unsigned initial, int flags);
int __wrap_signalfd(int fd, const sigset_t *mask, int flags);
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old);

int __wrap_close(int fd)
{
    sim_fd *one = fd_of(fd);
    if (one == NULL)
        return __real_close(fd);
    fd_close(one);
    return 0;
}

ssize_t __wrap_read(int fd, void *buffer, size_t bytes)
{
    sim_fd *one = fd_of(fd);
    if (one == NULL)
        return __real_read(fd, buffer, bytes);
    if (one->kind != FD_EVENT || one->count == 0 || bytes < sizeof(one->count))
        return fail(-EAGAIN);
    memcpy(buffer, &one->count, sizeof(one->count));
    one->count = 0;
    return sizeof(one->count);
}

ssize_t __wrap_write(int fd, const void *buffer, size_t bytes)
{
    sim_fd *one = fd_of(fd);
    uint64_t more;
    if (one == NULL)
        return __real_write(fd, buffer, bytes);
    if (one->kind == FD_FILE)
        return file_write(one, buffer, bytes);
    if (one->kind != FD_EVENT || bytes != sizeof(more))
        return fail(-EBADF);
    memcpy(&more, buffer, sizeof(more));
    one->count += more;
    return sizeof(more);
}

int __wrap_eventfd(unsigned initial, int flags)
{
    (void)flags;
    const int fd = fd_new(FD_EVENT, life_current());
    fd_of(fd)->count = initial;
    return fd;
}

/* SIGTERM comes by the control socket's word. */
int __wrap_signalfd(int fd, const sigset_t *mask, int flags)
{
    (void)fd;
    (void)mask;
    return __wrap_eventfd(0, flags);
}

int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how;
    (void)set;
    (void)old;
    return 0;
}

/* ---- sockets ---- */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes);
int __wrap_shutdown(int fd, int how);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t bytes, int flags);

int __wrap_socket(int domain, int type, int protocol)
{
    (void)type;
    (void)protocol;
    baton_assert(domain == AF_UNIX || domain == AF_INET);
    return is_in_vain() ? fail(-EMFILE) : fd_new(FD_SOCKET, life_current());
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    const struct sockaddr_un *at = (const struct sockaddr_un *)(const void *)address;
    sim_fd *one = fd_of(fd);
    char name[SOCKET_NAME_BYTES];
    (void)bytes;
    if (is_in_vain())
        return fail(-ECONNREFUSED);
    if (address->sa_family == AF_INET)
        return fail(tcp_connect(one, address));
    int r = network_connect(one->life, unix_name(one->life, at->sun_path, name), &one->end);
    return r < 0 ? fail(r) : 0;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
    const sim_fd *one = fd_of(fd);
    void *end = NULL;
    (void)flags;
    if (one == NULL || one->kind != FD_LISTENER || is_in_vain())
        return fail(-EBADF);
    if (network_accept(one->end, &end) == 0)
        return fail(-EAGAIN);
    const int accepted = fd_new(FD_SOCKET, life_current());
    fd_of(accepted)->end = end;
    tcp_name_of(network_other_instance(end), address, bytes);
    return accepted;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
    struct ucred peer = {.pid = 7, .uid = geteuid(), .gid = getegid()};
    const sim_fd *one = fd_of(fd);
    if (level == SOL_SOCKET && name == SO_ERROR && *bytes == sizeof(int)) {
        const int status = one->end != NULL && network_is_refused(one->end) ? ECONNREFUSED : 0;
        memcpy(value, &status, sizeof(status));
        return 0;
    }
    if (level != SOL_SOCKET || name != SO_PEERCRED || *bytes < sizeof(peer))
        return fail(-EINVAL);
    memcpy(value, &peer, sizeof(peer));
    return 0;
}

int __wrap_shutdown(int fd, int how)
{
    (void)how; /* of a connection: close follows */
    sim_fd *one = fd_of(fd);
    if (one != NULL && one->kind == FD_LISTENER) { /* the address stays */
        network_unlisten(one->end);
        one->kind = FD_SOCKET;
        one->end = NULL;
    }
    return 0;
}

static ssize_t answer(ssize_t r)
{
    return r < 0 ? fail((int)r) : r;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t bytes, int flags)
{
    const sim_fd *one = fd_of(fd);
    if (one == NULL || one->end == NULL)
        return fail(-ENOTCONN);
    return is_in_vain() ? 0
                        : answer(network_read(one->end, buffer, bytes, (flags & MSG_PEEK) != 0));
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return __wrap_recv(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    const sim_fd *one = fd_of(fd);
    ssize_t sent = 0;
    (void)flags;
    if (one == NULL || one->end == NULL || is_in_vain())
        return fail(-EPIPE);
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *part = &message->msg_iov[i];
        const ssize_t n = network_write(one->end, part->iov_base, part->iov_len);
        if (n < 0)
            return sent > 0 ? sent : fail((int)n);
        sent += n;
        if ((size_t)n < part->iov_len)
            break;
    }
    return sent;
}

/* drain/control_socket.c's part: the name is bound once. */
int baton_control_socket_open(baton_control_socket *socket, const char *path, baton_error *error)
{
    char name[SOCKET_NAME_BYTES];
    *socket = (baton_control_socket){.lock_fd = -1, .fd = -1};
    const int fd = is_in_vain() ? -EIO : fd_new(FD_SOCKET, life_current());
    int r = fd < 0 ? fd : network_listen(fd_of(fd), unix_name(life_current(), path, name));
    if (r < 0 && fd >= 0)
        (void)__wrap_close(fd);
    if (r < 0)
        return baton_error_set(error, r, path, NULL, NULL);
    socket->fd = fd;
    return 0;
}

void baton_control_socket_close(baton_control_socket *socket)
{
    if (socket->fd >= 0)
        (void)__wrap_close(socket->fd);
    socket->fd = -1;
}

/* ---- waiting ---- */

int __wrap_poll(struct pollfd *wanted, nfds_t count, int timeout_ms);

typedef struct {
    struct pollfd *wanted;
    nfds_t count;
} polling;

static int look(const polling *self)
{
    int found = 0;
    for (nfds_t i = 0; i < self->count; i++) {
        struct pollfd *one = &self->wanted[i];
        const sim_fd *fd = fd_of(one->fd);
        one->revents = 0;
        if (fd == NULL)
            continue;
        if ((one->events & POLLIN) != 0 && fd_is_readable(fd))
            one->revents |= POLLIN;
        if (fd->kind == FD_SOCKET && fd->end != NULL) {
            if ((one->events & POLLOUT) != 0 && network_can_write(fd->end))
                one->revents |= POLLOUT;
            if (network_is_hung_up(fd->end))
                one->revents |= (short)(POLLHUP | (one->events & POLLRDHUP));
        }
        found += one->revents != 0;
    }
    return found;
}

static bool polled(void *context)
{
    return look(context) > 0;
}

int __wrap_poll(struct pollfd *wanted, nfds_t count, int timeout_ms)
{
    polling self = {wanted, count};
    if (look(&self) == 0 && timeout_ms != 0 && is_in_vain())
        fiber_rest();
    else if (look(&self) == 0 && timeout_ms != 0)
        fiber_wait(polled, &self,
                   timeout_ms < 0 ? UINT64_MAX
                                  : world_now(life_current()->w) + (uint64_t)timeout_ms * MS);
    return look(&self);
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *ret_left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *ret_left)
{
    (void)ret_left;
    const uint64_t ns = (uint64_t)wanted->tv_sec * 1000 * MS + (uint64_t)wanted->tv_nsec;
    if (fiber_current() != NULL)
        fiber_sleep(ns);
    return 0;
}

/* ---- threads: fibers, which never wait while they hold a mutex ---- */

int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*main)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **ret_result);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*main)(void *), void *argument)
{
    (void)attributes;
    sim_fiber *fiber = fiber_start(life_current(), main, argument);
    memcpy(ret_thread, &fiber, sizeof(fiber));
    return 0;
}

static bool has_finished(void *context)
{
    return ((const sim_fiber *)context)->finished;
}

int __wrap_pthread_join(pthread_t thread, void **ret_result)
{
    sim_fiber *fiber;
    memcpy(&fiber, &thread, sizeof(fiber));
    if (!fiber->finished)
        fiber_wait(has_finished, fiber, UINT64_MAX);
    while (!fiber->finished) /* the process is dead: nothing waits in it any more */
        fiber_resume(fiber);
    baton_assert(fiber->finished);
    if (ret_result != NULL)
        *ret_result = fiber->result;
    fiber_free(fiber);
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

/* ---- the rest ---- */

static baton_sim *current_sim;
static baton_sim_process *current_process;
static sim_random chance;

void wrap_become(baton_sim *sim, baton_sim_process *process)
{
    current_sim = sim;
    current_process = process;
}

baton_sim *wrap_sim(void)
{
    return current_sim;
}

baton_sim_process *wrap_process(void)
{
    return current_process;
}

void wrap_seed(uint64_t seed)
{
    chance.state = ~seed;
}

ssize_t __wrap_getrandom(void *buffer, size_t bytes, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t bytes, unsigned flags)
{
    uint8_t *to = buffer;
    (void)flags;
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)sim_random_next(&chance);
    return (ssize_t)bytes;
}

const baton_clock *__real_baton_clock_system(void);
const baton_clock *__wrap_baton_clock_system(void);
pid_t __wrap_fork(void);
pid_t __wrap_getpid(void);
void __real_baton_log_set_sink(baton_log_sink sink, void *context, baton_log_level level);
void __wrap_baton_log_set_sink(baton_log_sink sink, void *context, baton_log_level level);

const baton_clock *__wrap_baton_clock_system(void)
{
    const sim_life *life = life_current();
    return life != NULL ? baton_sim_clock(life->w->sim) : __real_baton_clock_system();
}

pid_t __wrap_fork(void)
{
    return fail(-EAGAIN);
}

/* As in a container: every process has the same number. */
pid_t __wrap_getpid(void)
{
    return 7;
}

void __wrap_baton_log_set_sink(baton_log_sink sink, void *context, baton_log_level level)
{
    if (fiber_current() == NULL)
        __real_baton_log_set_sink(sink, context, level);
}
