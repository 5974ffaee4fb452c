#include "examples/exchange/wire/dialer.h"

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
};
#define WELCOME_WAIT_NS UINT64_C(5000000000)

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

void dialer_start(dialer *own, const dialer_options *options, wire_loop loop)
{
    *own = (dialer){
        .options = *options, .loop = loop, .stream = {.fd = -1}, .pause_ns = PAUSE_FIRST_NS};
}

static void hang_up(dialer *own)
{
    if (own->stream.fd < 0)
        return;
    loop_unwatch(&own->loop, own->stream.fd);
    connection_close(&own->stream);
}

void dialer_give_up(dialer *own, const char *why)
{
    baton_log(ERROR, "link.stopped", BATON_LOG_TEXT("to", own->options.name),
              BATON_LOG_TEXT("why", why));
    hang_up(own);
    own->state = DIALER_STOPPED;
}

/* Later again; each time that comes to nothing, later. */
static void lose(dialer *own)
{
    if (own->state == DIALER_LIVE)
        baton_log(WARN, "link.lost", BATON_LOG_TEXT("to", own->options.name));
    hang_up(own);
    own->state = DIALER_IDLE;
    own->dial_at_ns = now_ns() + own->pause_ns;
    own->pause_ns = own->pause_ns * 2 < PAUSE_MAX_NS ? own->pause_ns * 2 : PAUSE_MAX_NS;
}

static void on_stream(void *context, int fd, uint32_t events);

/* Ask for exactly the events that can be used now. A socket that does not connect yet becomes writable. */
static void watch(dialer *own)
{
    connection *stream = &own->stream;
    uint32_t wanted = connection_all_sent(stream) ? 0 : EPOLLOUT;
    if (!own->paused && !stream->held_back)
        wanted |= EPOLLIN;
    if (stream->failed || wanted == stream->watched)
        return;
    if (loop_watch(&own->loop, stream->fd, wanted, on_stream, own) < 0)
        stream->failed = true;
    stream->watched = wanted;
}

static void dial(dialer *own)
{
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    int fd;
    int r = address_dial(own->options.address, &fd);
    if (r == 0 && connection_open(&own->stream, fd, own->options.out_bytes_max) < 0) {
        close(fd);
        r = -ENOMEM;
    }
    if (r < 0) {
        lose(own);
        return;
    }
    own->state = DIALER_DIALING;
    own->dial_at_ns = now_ns() + WELCOME_WAIT_NS;
    connection_queue(&own->stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
    if (own->options.greet != NULL)
        own->options.greet(own->options.owner);
}

static void take_welcome(dialer *own, uint32_t body_bytes)
{
    if (own->state != DIALER_DIALING || body_bytes != sizeof(exchange_welcome)) {
        own->stream.failed = true;
        return;
    }
    own->state = DIALER_LIVE;
    own->pause_ns = PAUSE_FIRST_NS;
    own->stream.greeted = true;
    own->lives++;
    baton_log(INFO, "link.live", BATON_LOG_TEXT("to", own->options.name));
    if (own->options.live != NULL)
        own->options.live(own->options.owner);
}

/* The other side says why before it ends the connection. Most of it passes. */
static void take_error(dialer *own, const void *body, uint32_t body_bytes)
{
    exchange_error error;
    own->stream.failed = true;
    if (body_bytes != sizeof(error))
        return;
    memcpy(&error, body, sizeof(error));
    error.text[sizeof(error.text) - 1] = 0;
    baton_log(WARN, "link.refused", BATON_LOG_TEXT("to", own->options.name),
              BATON_LOG_TEXT("why", (const char *)error.text));
    own->pause_ns = PAUSE_REFUSED_NS;
    if (own->options.refused != NULL)
        own->options.refused(own->options.owner, -(int)baton_le32_get(error.status),
                             (const char *)error.text);
}

static bool take_frame(void *context, uint16_t type, const void *body, uint32_t body_bytes)
{
    dialer *own = context;
    if (type == EXCHANGE_ERROR)
        take_error(own, body, body_bytes);
    else if (type == EXCHANGE_WELCOME)
        take_welcome(own, body_bytes);
    else if (own->state == DIALER_LIVE)
        return own->options.take(own->options.owner, type, body, body_bytes);
    else
        own->stream.failed = true;
    return true;
}

static void intake(dialer *own)
{
    if (own->paused)
        return;
    const frame_verdict verdict = connection_each(&own->stream, take_frame, own);
    if (verdict == FRAME_TOO_LARGE || verdict == FRAME_MALFORMED)
        own->stream.failed = true;
}

static void settle(dialer *own)
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
    dialer *own = context;
    (void)fd;
    if (events & EPOLLIN && !own->paused && !own->stream.held_back)
        connection_receive(&own->stream);
    else if (events & (EPOLLHUP | EPOLLERR))
        own->stream.failed = true;
    if (events & EPOLLOUT)
        connection_send(&own->stream);
    intake(own);
    settle(own);
}

void dialer_turn(dialer *own)
{
    if (own->state == DIALER_IDLE && !own->paused && now_ns() >= own->dial_at_ns)
        dial(own);
    if (own->state == DIALER_DIALING && now_ns() >= own->dial_at_ns)
        own->stream.failed = true;
    if (own->stream.fd < 0)
        return;
    if (own->stream.held_back)
        intake(own);
    if (own->state == DIALER_LIVE)
        connection_send(&own->stream);
    settle(own);
}

void dialer_pause(dialer *own)
{
    own->paused = true;
    settle(own);
}

void dialer_resume(dialer *own)
{
    own->paused = false;
    if (own->stream.fd < 0)
        return;
    intake(own);
    settle(own);
}

void dialer_stop(dialer *own)
{
    hang_up(own);
    own->state = DIALER_IDLE;
    own->dial_at_ns = 0; /* not when the WELCOME of before would have been late */
}
