#include "examples/exchange/wire/link.h"

#include <string.h>

#include <baton/clock.h>

enum { OUT_BYTES_MAX = 1 << 16 /* HELLO, SUBSCRIBE and CONFIRMs */ };
#define CONFIRM_EVERY_NS UINT64_C(5000000)

static void subscribe(void *owner)
{
    wire_link *own = owner;
    own->confirm_due = false; /* what is not confirmed comes again, and is confirmed then */
    const exchange_subscribe wish = {.consumer = baton_le16_put(own->options.consumer)};
    connection_queue(&own->dialer.stream, EXCHANGE_SUBSCRIBE, &wish, sizeof(wish), NULL, 0);
}

/* A consumer whose number the producer does not know, or whose CONFIRM it can't believe, is wrong for good. */
static void refused(void *owner, int status, const char *why)
{
    wire_link *own = owner;
    if (status == BATON_E_INVALID || status == BATON_E_NEWER_FORMAT)
        dialer_give_up(&own->dialer, why);
}

/* False: it waits. */
static bool take(void *owner, uint16_t type, const void *body, uint32_t body_bytes)
{
    wire_link *own = owner;
    exchange_effect effect;
    if (type != EXCHANGE_EFFECT || body_bytes < sizeof(effect)) {
        own->dialer.stream.failed = true;
        return true;
    }
    memcpy(&effect, body, sizeof(effect));
    if (baton_le16_get(effect.consumer) != own->options.consumer) {
        dialer_give_up(&own->dialer, "an effect for another consumer");
        return true;
    }
    switch (own->options.take(own->options.owner, &effect, (const uint8_t *)body + sizeof(effect),
                              body_bytes - (uint32_t)sizeof(effect))) {
    case LINK_TAKEN:
        break;
    case LINK_NO_ROOM:
        return false;
    case LINK_STOP:
        dialer_give_up(&own->dialer, "an effect that can't be taken");
        break;
    }
    return true;
}

void link_start(wire_link *own, const link_options *options, wire_loop loop)
{
    *own = (wire_link){.options = *options};
    dialer_start(&own->dialer,
                 &(dialer_options){.name = options->name,
                                   .address = options->address,
                                   .out_bytes_max = OUT_BYTES_MAX,
                                   .greet = subscribe,
                                   .take = take,
                                   .refused = refused,
                                   .owner = own},
                 loop);
}

/* Each is a record in the producer's journal, and a wake-up there: what it keeps for some milliseconds longer
 * is cheaper. */
static void tell_confirmed(wire_link *own)
{
    const uint64_t now = baton_clock_monotonic_ns(baton_clock_system());
    if (now < own->confirm_at_ns || !connection_all_sent(&own->dialer.stream))
        return;
    connection_queue(&own->dialer.stream, EXCHANGE_CONFIRM, &own->confirm, sizeof(own->confirm),
                     NULL, 0);
    own->confirm_due = false;
    own->confirm_at_ns = now + CONFIRM_EVERY_NS;
}

void link_turn(wire_link *own)
{
    if (own->dialer.state == DIALER_LIVE && own->confirm_due)
        tell_confirmed(own);
    dialer_turn(&own->dialer);
}

void link_confirm(wire_link *own, const exchange_key *key)
{
    own->confirm = *key;
    own->confirm_due = true;
}

bool link_say(wire_link *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    if (own->dialer.state != DIALER_LIVE || !connection_has_room(&own->dialer.stream, body_bytes))
        return false;
    connection_queue(&own->dialer.stream, type, body, body_bytes, NULL, 0);
    return true;
}

void link_pause(wire_link *own)
{
    dialer_pause(&own->dialer);
}

void link_resume(wire_link *own)
{
    dialer_resume(&own->dialer);
}

void link_stop(wire_link *own)
{
    dialer_stop(&own->dialer);
}
