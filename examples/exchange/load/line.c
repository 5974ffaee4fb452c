#include "examples/exchange/load/line.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "examples/exchange/load/stream.h"
#include "examples/exchange/wire/address.h"

enum {
    PAUSE_NS = 1000000,       /* when no address answers */
    DIAL_NS = 1000000000,     /* for so long it may take to connect */
    SLOW_READ_BYTES = 2048,   /* at once, by a slow reader */
    SLOW_EVERY_NS = 20000000, /* and so often */
    SLOW_REST_ONE_IN = 64,    /* it rests at one of so many reads */
    SLOW_REST_NS_MAX = 1500000000,
    SLOW_BUFFER_BYTES = 4096, /* of its socket: the other side notices soon */
};
#define OUT_BYTES_MAX (UINT64_C(1) << 30)

void line_init(line *own, const line_addresses *to, uint32_t first_address)
{
    *own = (line){.to = to, .stream.fd = -1, .address = first_address % to->addresses_count};
}

static void next_address(line *own, uint64_t now_ns)
{
    own->address = (own->address + 1) % own->to->addresses_count;
    own->refused++;
    own->dial_at_ns = own->refused % own->to->addresses_count == 0 ? now_ns + PAUSE_NS : now_ns;
}

static int dial(line *own, int epoll_fd, uint64_t mark, uint64_t now_ns)
{
    const int slow_bytes = SLOW_BUFFER_BYTES;
    int fd;
    int r = address_dial(own->to->addresses[own->address], &fd);
    if (r == BATON_E_INVALID)
        return r;
    if (r < 0) {
        next_address(own, now_ns);
        return 0;
    }
    if (own->slow)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &slow_bytes, sizeof(slow_bytes));
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = mark};
    r = connection_open(&own->stream, fd, OUT_BYTES_MAX);
    if (r < 0) {
        close(fd);
        return r;
    }
    own->stream.watched = EPOLLOUT;
    own->state = LINE_DIALING;
    own->dial_at_ns = now_ns + DIAL_NS;
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* 1: connected; 0: not yet; -errno. */
static int is_connected(int fd)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t bytes = sizeof(error);
    if (poll(&writable, 1, 0) <= 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
        return -errno;
    return error != 0 ? -error : 1;
}

int line_turn(line *own, int epoll_fd, uint64_t mark, uint64_t now_ns, bool *ret_made)
{
    *ret_made = false;
    if (own->state == LINE_DOWN && now_ns >= own->dial_at_ns) {
        int r = dial(own, epoll_fd, mark, now_ns);
        if (r < 0)
            return r;
    }
    if (own->state != LINE_DIALING)
        return 0;
    int connected = is_connected(own->stream.fd);
    if (connected < 0 || (connected == 0 && now_ns > own->dial_at_ns)) {
        line_drop(own, now_ns); /* nobody there, for now */
    } else if (connected == 1) {
        const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
        connection_queue(&own->stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
        own->state = LINE_LIVE;
        own->read_at_ns = now_ns;
        *ret_made = true;
    }
    return 0;
}

void line_drop(line *own, uint64_t now_ns)
{
    const bool welcomed = own->stream.greeted;
    connection_close(&own->stream);
    own->state = LINE_DOWN;
    own->dial_at_ns = now_ns;
    if (welcomed)
        own->refused = 0;
    else
        next_address(own, now_ns);
}

void line_receive(line *own, uint64_t now_ns)
{
    if (!own->slow) {
        connection_receive(&own->stream);
        return;
    }
    if (now_ns < own->read_at_ns)
        return;
    connection_receive_some(&own->stream, SLOW_READ_BYTES);
    own->read_at_ns = now_ns + SLOW_EVERY_NS;
    if (stream_random(&own->random) % SLOW_REST_ONE_IN == 0)
        own->read_at_ns += stream_random(&own->random) % SLOW_REST_NS_MAX;
}

static uint32_t wanted(const line *own, uint64_t now_ns)
{
    if (own->state == LINE_DIALING)
        return EPOLLOUT;
    return (own->slow && now_ns < own->read_at_ns ? 0u : (uint32_t)EPOLLIN) |
           (connection_all_sent(&own->stream) ? 0u : (uint32_t)EPOLLOUT);
}

/* With nothing to watch for it is not watched at all: its end, too, is noticed only when it reads again. */
void line_watch(line *own, int epoll_fd, uint64_t mark, uint64_t now_ns)
{
    if (own->state == LINE_DOWN)
        return;
    struct epoll_event event = {.events = wanted(own, now_ns), .data.u64 = mark};
    if (event.events == own->stream.watched)
        return;
    const int how = event.events == 0          ? EPOLL_CTL_DEL
                    : own->stream.watched == 0 ? EPOLL_CTL_ADD
                                               : EPOLL_CTL_MOD;
    if (epoll_ctl(epoll_fd, how, own->stream.fd, &event) < 0)
        own->stream.failed = true;
    own->stream.watched = event.events;
}

uint64_t line_wake_ns(const line *own)
{
    if (own->state != LINE_LIVE)
        return own->dial_at_ns;
    return own->slow ? own->read_at_ns : UINT64_MAX;
}
