/* examples/exchange/gateway/upstream.h: the gateway's one connection to the order service (wire/dialer.h): what comes is
 * handed over, and what is to be sent is held back while much waits for its socket. */
#pragma once

#include "examples/exchange/wire/dialer.h"

typedef struct {
    const char *address; /* as in address.h; stays the caller's */
    /* A new connection: nothing has been sent on it. */
    void (*live)(void *owner);
    /* A frame; body is not aligned. False: the order service can't have meant it, and is dialed again. */
    bool (*take)(void *owner, uint16_t type, const void *body, uint32_t body_bytes);
    void *owner;
} upstream_options;

typedef struct {
    upstream_options options;
    dialer dialer;
} upstream;

/* The first dial comes with the first turn. */
void upstream_start(upstream *own, const upstream_options *options, wire_loop loop);
/* Once a turn of the loop, at least every 10 ms or so: dials, and sends what is queued. */
void upstream_turn(upstream *own);
/* Is it live, and does not too much wait for its socket already? */
bool upstream_has_room(const upstream *own);
void upstream_queue(upstream *own, uint16_t type, const void *body, uint32_t body_bytes);
void upstream_stop(upstream *own);
const char *upstream_state_name(const upstream *own); /* "live", "dialing", "down" */
