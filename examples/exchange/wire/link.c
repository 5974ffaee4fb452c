#include "examples/exchange/wire/link.h"

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
    OUT_BYTES_MAX = 1 << 16, /* HELLO, SUBSCRIBE and CONFIRMs */
};
#define WELCOME_WAIT_NS  UINT64_C(5000000000)
#define CONFIRM_EVERY_NS UINT64_C(5000000)

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

void link_start(wire_link *own, const link_options *options, wire_loop loop)
{
    *own = (wire_link){
        .options = *options, .loop = loop, .stream = {.fd = -1}, .pause_ns = PAUSE_FIRST_NS};
}

static void hang_up(wire_link *own)
{
    if (own->stream.fd < 0)
        return;
    loop_unwatch(&own->loop, own->stream.fd);
    connection_close(&own->stream);
}

static void stop_for_good(wire_link *own, const char *why)
{
    baton_log(ERROR, "link.stopped", BATON_LOG_TEXT("producer", own->options.name),
              BATON_LOG_TEXT("why", why));
    hang_up(own);
    own->state = LINK_STOPPED;
}

/* Later again; each time that comes to nothing, later. */
static void lose(wire_link *own)
{
    if (own->state == LINK_LIVE)
        baton_log(WARN, "link.lost", BATON_LOG_TEXT("producer", own->options.name));
    hang_up(own);
    own->state = LINK_IDLE;
    own->dial_at_ns = now_ns() + own->pause_ns;
    own->pause_ns = own->pause_ns * 2 < PAUSE_MAX_NS ? own->pause_ns * 2 : PAUSE_MAX_NS;
}

static void on_link(void *context, int fd, uint32_t events);

/* Ask for exactly the events that can be used now. A socket that does not connect yet becomes writable. */
static void watch(wire_link *own)
{
    connection *stream = &own->stream;
    uint32_t wanted = connection_all_sent(stream) ? 0 : EPOLLOUT;
    if (!own->paused && !stream->held_back)
        wanted |= EPOLLIN;
    if (stream->failed || wanted == stream->watched)
        return;
    if (loop_watch(&own->loop, stream->fd, wanted, on_link, own) < 0)
        stream->failed = true;
    stream->watched = wanted;
}

static void greet(wire_link *own)
{
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    const exchange_subscribe wish = {.consumer = baton_le16_put(own->options.consumer)};
    connection_queue(&own->stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
    connection_queue(&own->stream, EXCHANGE_SUBSCRIBE, &wish, sizeof(wish), NULL, 0);
}

static void dial(wire_link *own)
{
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
    own->state = LINK_DIALING;
    own->dial_at_ns = now_ns() + WELCOME_WAIT_NS;
    greet(own);
}

static void take_welcome(wire_link *own, uint32_t body_bytes)
{
    if (own->state != LINK_DIALING || body_bytes != sizeof(exchange_welcome)) {
        own->stream.failed = true;
        return;
    }
    own->state = LINK_LIVE;
    own->pause_ns = PAUSE_FIRST_NS;
    own->stream.greeted = true;
    baton_log(INFO, "link.live", BATON_LOG_TEXT("producer", own->options.name));
}

/* A producer says why before it ends the connection. Most of it passes; a consumer whose number it does not
 * know, or whose CONFIRM it can't believe, is wrong for good. */
static void take_error(wire_link *own, const void *body, uint32_t body_bytes)
{
    exchange_error error;
    if (body_bytes != sizeof(error)) {
        own->stream.failed = true;
        return;
    }
    memcpy(&error, body, sizeof(error));
    error.text[sizeof(error.text) - 1] = 0;
    const int status = -(int)baton_le32_get(error.status);
    baton_log(WARN, "link.refused", BATON_LOG_TEXT("producer", own->options.name),
              BATON_LOG_TEXT("why", (const char *)error.text));
    if (status == BATON_E_INVALID || status == BATON_E_NEWER_FORMAT)
        stop_for_good(own, (const char *)error.text);
    own->pause_ns = PAUSE_REFUSED_NS;
    own->stream.failed = own->state != LINK_STOPPED;
}

/* False: it waits. */
static bool take_effect(wire_link *own, const void *body, uint32_t body_bytes)
{
    exchange_effect effect;
    if (own->state != LINK_LIVE || body_bytes < sizeof(effect)) {
        own->stream.failed = true;
        return true;
    }
    memcpy(&effect, body, sizeof(effect));
    if (baton_le16_get(effect.consumer) != own->options.consumer) {
        stop_for_good(own, "an effect for another consumer");
        return true;
    }
    switch (own->options.take(own->options.owner, &effect, (const uint8_t *)body + sizeof(effect),
                              body_bytes - (uint32_t)sizeof(effect))) {
    case LINK_TAKEN:
        break;
    case LINK_NO_ROOM:
        return false;
    case LINK_STOP:
        stop_for_good(own, "an effect that can't be taken");
        break;
    }
    return true;
}

static bool take_frame(void *context, uint16_t type, const void *body, uint32_t body_bytes)
{
    wire_link *own = context;
    if (type == EXCHANGE_EFFECT)
        return take_effect(own, body, body_bytes);
    if (type == EXCHANGE_WELCOME)
        take_welcome(own, body_bytes);
    else if (type == EXCHANGE_ERROR)
        take_error(own, body, body_bytes);
    else
        own->stream.failed = true;
    return true;
}

static void intake(wire_link *own)
{
    if (own->paused)
        return;
    const frame_verdict verdict = connection_each(&own->stream, take_frame, own);
    if (verdict == FRAME_TOO_LARGE || verdict == FRAME_MALFORMED)
        own->stream.failed = true;
}

static void settle(wire_link *own)
{
    if (own->stream.fd < 0)
        return;
    if (!own->stream.failed)
        watch(own);
    if (own->stream.failed)
        lose(own);
}

static void on_link(void *context, int fd, uint32_t events)
{
    wire_link *own = context;
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

/* Each is a record in the producer's journal, and a wake-up there: what it keeps for some milliseconds longer
 * is cheaper. */
static void tell_confirmed(wire_link *own)
{
    const uint64_t now = now_ns();
    if (now < own->confirm_at_ns || !connection_all_sent(&own->stream))
        return;
    connection_queue(&own->stream, EXCHANGE_CONFIRM, &own->confirm, sizeof(own->confirm), NULL, 0);
    own->confirm_due = false;
    own->confirm_at_ns = now + CONFIRM_EVERY_NS;
}

void link_turn(wire_link *own)
{
    if (own->state == LINK_IDLE && !own->paused && now_ns() >= own->dial_at_ns)
        dial(own);
    if (own->state == LINK_DIALING && now_ns() >= own->dial_at_ns)
        own->stream.failed = true;
    if (own->stream.fd < 0)
        return;
    if (own->stream.held_back)
        intake(own);
    if (own->state == LINK_LIVE && own->confirm_due)
        tell_confirmed(own);
    if (own->state == LINK_LIVE)
        connection_send(&own->stream);
    settle(own);
}

void link_confirm(wire_link *own, const exchange_key *key)
{
    own->confirm = *key;
    own->confirm_due = true;
}

bool link_say(wire_link *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    if (own->state != LINK_LIVE || !connection_has_room(&own->stream, body_bytes))
        return false;
    connection_queue(&own->stream, type, body, body_bytes, NULL, 0);
    return true;
}

void link_pause(wire_link *own)
{
    own->paused = true;
    settle(own);
}

void link_resume(wire_link *own)
{
    own->paused = false;
    if (own->stream.fd < 0)
        return;
    intake(own);
    settle(own);
}

void link_stop(wire_link *own)
{
    hang_up(own);
    own->state = LINK_IDLE;
    own->dial_at_ns = 0; /* not when the WELCOME of before would have been late */
}
