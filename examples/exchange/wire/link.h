/* examples/exchange/wire/link.h: the consumer's side of a link (E6): dials the producer's feed (dialer.h), as often
 * as need be, SUBSCRIBEs, hands over one effect after the other, and confirms. What the consumer can't take now
 * waits: first here (64 KiB), then in the socket, then in the producer's outbox. It stops for good when the owner
 * says LINK_STOP, or the producer refuses what it is. In a Baton service an inlet.h stands behind it. */
#pragma once

#include "examples/exchange/wire/dialer.h"

typedef enum {
    LINK_TAKEN,   /* or known already */
    LINK_NO_ROOM, /* show it again at the next turn */
    LINK_STOP,    /* something is wrong that time does not heal; the owner has said what */
} link_verdict;

typedef struct {
    const char *name;    /* of the producer, for the log */
    const char *address; /* of its feed, as in address.h; stays the caller's */
    uint16_t consumer;   /* exchange_member: who we are */
    /* payload is valid during the call, and not aligned. */
    link_verdict (*take)(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes);
    void *owner;
} link_options;

typedef struct {
    link_options options;
    dialer dialer;
    bool confirm_due;
    exchange_key confirm;   /* the newest one to tell */
    uint64_t confirm_at_ns; /* not before */
} wire_link;

static inline bool link_is_live(const wire_link *own)
{
    return own->dialer.state == DIALER_LIVE;
}

static inline bool link_is_stopped(const wire_link *own)
{
    return own->dialer.state == DIALER_STOPPED;
}

/* The first dial comes with the first turn. */
void link_start(wire_link *own, const link_options *options, wire_loop loop);
/* Once a turn of the loop, at least every 10 ms or so: dials, takes what waits, confirms and sends. */
void link_turn(wire_link *own);
/* The consumer has everything up to here, and it is durable. One frame in 5 ms at most tells it. */
void link_confirm(wire_link *own, const exchange_key *key);
/* A frame that the consumer has to say itself, behind SUBSCRIBE. False: not now. */
BATON_MUST_USE bool link_say(wire_link *own, uint16_t type, const void *body, uint32_t body_bytes);
/* Take nothing for now; and again. */
void link_pause(wire_link *own);
void link_resume(wire_link *own);
void link_stop(wire_link *own); /* closes; it may be started again */
