/* bench/peers/redis.c: Redis with its append-only file synced on every turn (appendfsync always),
 * an instance of our own on a Unix socket. Every client has one SET on its way; the replies come
 * after the fsync, and all commands of a turn share one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/peers/peer.h"
#include "bench/peers/redis_server.h"

enum { REPLY_BYTES = 5, EVENTS_MAX = 256 }; /* "+OK\r\n" */

typedef struct {
    redis_server server;
    int epoll;
    int *clients;
    uint32_t clients_count;
    uint64_t number;
} redis;

static void redis_close(void *context)
{
    redis *self = context;
    for (uint32_t i = 0; i < self->clients_count; i++)
        close(self->clients[i]);
    if (self->epoll >= 0)
        close(self->epoll);
    redis_server_end(&self->server);
    free(self->clients);
    free(self);
}

static int connect_all(redis *self, uint32_t in_flight)
{
    while (self->clients_count < in_flight) {
        int fd = redis_server_connect(&self->server);
        if (fd < 0)
            return fd;
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
    static const char *const arguments[] = {"--appendonly",
                                            "yes",
                                            "--appendfsync",
                                            "always",
                                            "--auto-aof-rewrite-percentage",
                                            "0",
                                            "--maxclients",
                                            "4096",
                                            NULL};
    int r = self->clients && self->epoll >= 0 ? 0 : -ENOMEM;
    if (r == 0)
        r = redis_server_start(&self->server, directory, arguments);
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
