/* examples/exchange/gateway/gateway_private.h: what gateway.c (the life of it), intake.c (what clients send) and relay.c
 * (what they are told) share. */
#pragma once

#include "examples/exchange/gateway/gateway.h"
#include "examples/exchange/gateway/queries.h"
#include "examples/exchange/gateway/sessions.h"
#include "examples/exchange/gateway/upstream.h"
#include "examples/exchange/wire/door.h"

typedef enum {
    COUNT_COMMANDS,
    COUNT_RESENDS,
    COUNT_FORWARDED,
    COUNT_GIVEN_UP,
    COUNT_ACKS,
    COUNT_ACKS_DROPPED,
    COUNT_FILLS,
    COUNT_FILLS_DROPPED,
    COUNT_QUERIES,
    COUNT_NOT_HERE,
    COUNTS
} gateway_count;

struct gateway {
    gateway_options options;
    door *door;
    sessions *sessions;
    queries queries;
    upstream upstream;
    bool stopping;
    bool telling_quiet;    /* the order service does not know yet which clients are here */
    uint32_t quiet_cursor; /* those before it have been told */
    uint64_t round_at_ns;  /* when the next round of the sessions begins */
    uint64_t tick_at_ns;   /* when the door listens again, after a shortage of descriptors */
    baton_metric *counts[COUNTS];
    baton_metric *upstream_up;
    baton_metric *open;
    baton_metric *clients;
    baton_metric *connections;
};

static inline void gateway_note(gateway *own, gateway_count which)
{
    baton_metric_add(own->counts[which], 1);
}

enum { ROLE_CLIENTS, ROLE_OPERATORS, ROLES };

/* intake.c: of both roles. */
bool gateway_take(void *owner, door_place *place, uint16_t type, const void *body,
                  uint32_t body_bytes);
/* relay.c: what the order service says. */
bool gateway_relay(void *owner, uint16_t type, const void *body, uint32_t body_bytes);
