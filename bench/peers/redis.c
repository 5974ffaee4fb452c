/* bench/peers/redis.c: Redis with its append-only file synced on every turn (appendfsync always),
 * an instance of our own on a Unix socket. Every client has one SET on its way; the replies come
 * after the fsync, and all commands of a turn share one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/peers/peer.h"

enum { REPLY_BYTES = 5, EVENTS_MAX = 256 }; /* "+OK\r\n" */

typedef struct {
    pid_t server;
    int epoll;
    int *clients;
    uint32_t clients_count;
    uint64_t number;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} redis;

static void redis_close(void *context)
{
    redis *self = context;
    for (uint32_t i = 0; i < self->clients_count; i++)
        close(self->clients[i]);
    if (self->epoll >= 0)
        close(self->epoll);
    if (self->server > 0) {
        kill(self->server, SIGKILL);
        (void)waitpid(self->server, NULL, 0);
    }
    free(self->clients);
    free(self);
}

static int server_start(redis *self, const char *directory)
{
    pid_t parent = getpid();
    fflush(NULL);
    self->server = fork();
    if (self->server < 0)
        return -errno;
    if (self->server > 0)
        return 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    const char *const arguments[] = {"redis-server",
                                     "--port",
                                     "0",
                                     "--unixsocket",
                                     "redis.sock",
                                     "--dir",
                                     ".",
                                     "--save",
                                     "",
                                     "--appendonly",
                                     "yes",
                                     "--appendfsync",
                                     "always",
                                     "--auto-aof-rewrite-percentage",
                                     "0",
                                     "--daemonize",
                                     "no",
                                     "--maxclients",
                                     "4096",
                                     NULL};
    if (chdir(directory) < 0)
        _exit(127);
    execvp("redis-server", (char *const *)arguments);
    /* The same program by its name in redis-tools, which brings no daemon. */
    execv("/usr/bin/redis-check-rdb", (char *const *)arguments);
    _exit(127);
}

static int connect_one(const redis *self)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, self->path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int connect_all(redis *self, uint32_t in_flight)
{
    int64_t end_ns = bench_now_ns() + INT64_C(30000000000);
    while (self->clients_count < in_flight) {
        int fd = connect_one(self);
        if (fd < 0) { /* it is still starting, or its backlog is full */
            const struct timespec nap = {.tv_nsec = 5000000};
            int status;
            if (waitpid(self->server, &status, WNOHANG) == self->server) {
                self->server = 0;
                return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
            }
            if (bench_now_ns() > end_ns)
                return fd;
            (void)nanosleep(&nap, NULL);
            continue;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        self->clients[self->clients_count++] = fd;
        if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            return -errno;
    }
    return 0;
}

static int redis_open(const char *directory, uint32_t in_flight, void **ret_self)
{
    redis *self = calloc(1, sizeof(*self));
    if (!self)
        return -ENOMEM;
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->clients = calloc(in_flight, sizeof(*self->clients));
    int length = snprintf(self->path, sizeof(self->path), "%s/redis.sock", directory);
    int r = self->clients && self->epoll >= 0 ? 0 : -ENOMEM;
    if (r == 0 && (size_t)length >= sizeof(self->path))
        r = -ENAMETOOLONG;
    if (r == 0)
        r = server_start(self, directory);
    if (r == 0)
        r = connect_all(self, in_flight);
    if (r < 0) {
        redis_close(self);
        return r;
    }
    *ret_self = self;
    return 0;
}

static int send_set(redis *self, int fd)
{
    static const char value[BENCH_ENTRY_BYTES];
    char key[PEER_KEY_BYTES + 1];
    char command[BENCH_ENTRY_BYTES + 64];
    peer_key(self->number++, key);
    int head = snprintf(command, sizeof(command), "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n",
                        PEER_KEY_BYTES, key, BENCH_ENTRY_BYTES);
    memcpy(command + head, value, sizeof(value));
    memcpy(command + head + BENCH_ENTRY_BYTES, "\r\n", 2);
    size_t bytes = (size_t)head + BENCH_ENTRY_BYTES + 2;
    return send(fd, command, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -EIO;
}

static int take_reply(int fd)
{
    char reply[REPLY_BYTES];
    ssize_t bytes = recv(fd, reply, sizeof(reply), MSG_WAITALL);
    return bytes == REPLY_BYTES && memcmp(reply, "+OK\r\n", REPLY_BYTES) == 0 ? 0 : -EIO;
}

static int redis_block(void *context, uint32_t in_flight, int64_t ns, bench_total *total,
                       baton_histogram *latency)
{
    redis *self = context;
    struct epoll_event events[EVENTS_MAX];
    int64_t begin_ns = bench_now_ns();
    int64_t sent_ns = begin_ns;
    uint32_t on_way = 0;
    int r = 0;
    for (; on_way < in_flight && r == 0; on_way++)
        r = send_set(self, self->clients[on_way]);
    while (on_way > 0 && r == 0) {
        int count = epoll_wait(self->epoll, events, EVENTS_MAX, 30000);
        if (count <= 0)
            return -ETIMEDOUT;
        for (int i = 0; i < count && r == 0; i++) {
            r = take_reply(events[i].data.fd);
            int64_t now_ns = bench_now_ns();
            if (latency && in_flight == 1)
                baton_histogram_record(latency, (uint64_t)(now_ns - sent_ns));
            sent_ns = now_ns;
            total->amount += 1;
            if (r == 0 && now_ns < begin_ns + ns)
                r = send_set(self, events[i].data.fd);
            else
                on_way--;
        }
    }
    total->ns += (double)(bench_now_ns() - begin_ns);
    return r;
}

const bench_peer bench_peer_redis = {
    .name = "redis (AOF always)", .open = redis_open, .block = redis_block, .close = redis_close};
