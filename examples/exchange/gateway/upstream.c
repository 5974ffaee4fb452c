#include "examples/exchange/gateway/upstream.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "examples/exchange/wire/address.h"

enum {
    PAUSE_FIRST_NS = 10000000,
    PAUSE_MAX_NS = 100000000, /* what one waits in vain for a start that is over */
    PAUSE_REFUSED_NS = 1000000000,
    OUT_BYTES_MAX = 1 << 20,
    OUT_BYTES_ENOUGH = 256 << 10, /* what is more waits in the queue of the sessions */
};
#define WELCOME_WAIT_NS UINT64_C(5000000000)

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

void upstream_start(upstream *own, const upstream_options *options, wire_loop loop)
{
    *own = (upstream){
        .options = *options, .loop = loop, .stream = {.fd = -1}, .pause_ns = PAUSE_FIRST_NS};
}

static void hang_up(upstream *own)
{
    if (own->stream.fd < 0)
        return;
    loop_unwatch(&own->loop, own->stream.fd);
    connection_close(&own->stream);
}

/* Later again; each time that comes to nothing, later. */
static void lose(upstream *own)
{
    if (own->state == UPSTREAM_LIVE)
        baton_log(WARN, "upstream.lost", BATON_LOG_TEXT("address", own->options.address));
    hang_up(own);
    own->state = UPSTREAM_DOWN;
    own->dial_at_ns = now_ns() + own->pause_ns;
    own->pause_ns = own->pause_ns * 2 < PAUSE_MAX_NS ? own->pause_ns * 2 : PAUSE_MAX_NS;
}

static void on_stream(void *context, int fd, uint32_t events);

/* Ask for exactly the events that can be used now. A socket that does not connect yet becomes writable. */
static void watch(upstream *own)
{
    connection *stream = &own->stream;
    const uint32_t wanted = EPOLLIN | (connection_all_sent(stream) ? 0 : EPOLLOUT);
    if (stream->failed || wanted == stream->watched)
        return;
    if (loop_watch(&own->loop, stream->fd, wanted, on_stream, own) < 0)
        stream->failed = true;
    stream->watched = wanted;
}

static void dial(upstream *own)
{
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    int fd;
    int r = address_dial(own->options.address, &fd);
    if (r == 0 && connection_open(&own->stream, fd, OUT_BYTES_MAX) < 0) {
        close(fd);
        r = -ENOMEM;
    }
    if (r < 0) {
        lose(own);
        return;
    }
    own->state = UPSTREAM_DIALING;
    own->dial_at_ns = now_ns() + WELCOME_WAIT_NS;
    connection_queue(&own->stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* The order service says why before it ends the connection. */
static void take_error(upstream *own, const void *body, uint32_t body_bytes)
{
    exchange_error error;
    own->stream.failed = true;
    if (body_bytes != sizeof(error))
        return;
    memcpy(&error, body, sizeof(error));
    error.text[sizeof(error.text) - 1] = 0;
    baton_log(ERROR, "upstream.refused", BATON_LOG_TEXT("address", own->options.address),
              BATON_LOG_TEXT("why", (const char *)error.text));
    own->pause_ns = PAUSE_REFUSED_NS;
}

static bool take_frame(void *context, uint16_t type, const void *body, uint32_t body_bytes)
{
    upstream *own = context;
    if (type == EXCHANGE_ERROR) {
        take_error(own, body, body_bytes);
    } else if (own->state == UPSTREAM_LIVE) {
        own->stream.failed = !own->options.take(own->options.owner, type, body, body_bytes);
    } else if (type == EXCHANGE_WELCOME && body_bytes == sizeof(exchange_welcome)) {
        own->state = UPSTREAM_LIVE;
        own->pause_ns = PAUSE_FIRST_NS;
        own->lives++;
        baton_log(INFO, "upstream.live", BATON_LOG_TEXT("address", own->options.address));
        own->options.live(own->options.owner);
    } else {
        own->stream.failed = true;
    }
    return true;
}

static void intake(upstream *own)
{
    const frame_verdict verdict = connection_each(&own->stream, take_frame, own);
    if (verdict == FRAME_TOO_LARGE || verdict == FRAME_MALFORMED)
        own->stream.failed = true;
}

static void settle(upstream *own)
{
    if (own->stream.fd < 0)
        return;
    if (!own->stream.failed)
        watch(own);
    if (own->stream.failed)
        lose(own);
}

static void on_stream(void *context, int fd, uint32_t events)
{
    upstream *own = context;
    (void)fd;
    if (events & EPOLLIN)
        connection_receive(&own->stream);
    else if (events & (EPOLLHUP | EPOLLERR))
        own->stream.failed = true;
    if (events & EPOLLOUT)
        connection_send(&own->stream);
    intake(own);
    settle(own);
}

void upstream_turn(upstream *own)
{
    if (own->state == UPSTREAM_DOWN && now_ns() >= own->dial_at_ns)
        dial(own);
    if (own->state == UPSTREAM_DIALING && now_ns() >= own->dial_at_ns)
        own->stream.failed = true;
    if (own->state == UPSTREAM_LIVE)
        connection_send(&own->stream);
    settle(own);
}

bool upstream_has_room(const upstream *own)
{
    return own->state == UPSTREAM_LIVE && !own->stream.failed &&
           own->stream.out_end - own->stream.out_begin < OUT_BYTES_ENOUGH;
}

void upstream_queue(upstream *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    connection_queue(&own->stream, type, body, body_bytes, NULL, 0);
}

void upstream_stop(upstream *own)
{
    hang_up(own);
    own->state = UPSTREAM_DOWN;
}

const char *upstream_state_name(const upstream *own)
{
    switch (own->state) {
    case UPSTREAM_DOWN:
        return "down";
    case UPSTREAM_DIALING:
        return "dialing";
    case UPSTREAM_LIVE:
        return "live";
    }
    return "down";
}
