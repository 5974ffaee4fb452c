/* examples/exchange/wire/dialer.h: a connection that this side makes, and makes again as often as need be: it dials,
 * says HELLO, and once WELCOME has come hands over one frame after the other. Under a link (link.h), and under the
 * gateway's way to the order service.
 *
 *   IDLE -- time to dial --> DIALING -- WELCOME --> LIVE
 *     ^                         |                    |
 *     +---- the connection is over, or no WELCOME ---+
 *   any -- dialer_give_up --> STOPPED, for good
 */
#pragma once

#include "examples/exchange/wire/connection.h"
#include "examples/exchange/wire/loop.h"

typedef enum { DIALER_IDLE, DIALER_DIALING, DIALER_LIVE, DIALER_STOPPED } dialer_state;

typedef struct {
    const char *name;    /* of who is dialed, for the log */
    const char *address; /* as in address.h; stays the caller's */
    uint64_t out_bytes_max;
    /* HELLO is queued: what is to be said right behind it. NULL: nothing. */
    void (*greet)(void *owner);
    /* It is LIVE: nothing but that has been said on it. NULL: nobody wants to know. */
    void (*live)(void *owner);
    /* A frame while it is LIVE; WELCOME and ERROR are dealt with here. As connection_each. */
    connection_taker take;
    /* The other side has said ERROR, why it ends this. NULL: nobody wants to know. */
    void (*refused)(void *owner, int status, const char *why);
    void *owner;
} dialer_options;

typedef struct {
    dialer_options options;
    wire_loop loop;
    connection stream;
    dialer_state state;
    bool paused;
    uint64_t dial_at_ns; /* IDLE: when; DIALING: given up then. CLOCK_MONOTONIC */
    uint64_t pause_ns;   /* until the next dial: 10 ms, doubling up to 100 ms (W3) */
    uint64_t lives;      /* how often it became LIVE */
} dialer;

/* The first dial comes with the first turn. */
void dialer_start(dialer *own, const dialer_options *options, wire_loop loop);
/* Once a turn of the loop, at least every 10 ms or so: dials, shows again what had no room, and sends. */
void dialer_turn(dialer *own);
/* Take nothing for now; and again. */
void dialer_pause(dialer *own);
void dialer_resume(dialer *own);
void dialer_stop(dialer *own); /* closes; with the next turn it dials again */
/* Something is wrong that time does not heal. */
void dialer_give_up(dialer *own, const char *why);
