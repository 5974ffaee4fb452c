/* examples/exchange/order-service/server_private.h: what server.c (the program), intake.c (what comes in) and relay.c
 * (what goes out to clients) share. */
#pragma once

#include "examples/exchange/order-service/server.h"
#include "examples/exchange/wire/service.h"

typedef enum { ROLE_ORDERS, ROLE_FEED, ROLES } server_role;
typedef enum { INLET_RISK, INLET_MATCHING, INLETS } server_inlet;

struct server {
    wire_service wire; /* first: wire/service.h */
    baton_engine *engine;
    inlet inlets[INLETS];
    uint64_t barrier_asker; /* the connection that waits for BARRIER_DONE; 0: none */
    uint32_t pending_max;   /* commands under way, of all clients */
    uint64_t patience;      /* in ticks: so long a client waits for room, then it is refused */
    uint64_t held_ticks;    /* in a row, in each of which a command could not be taken */
    bool held;              /* since the last tick */
    /* Of the commands that were under way at a tick, as entries up to old_seq, so many have no answer yet, and none of them
     * has got one for so long. */
    uint64_t old_seq, old_left, old_ticks;
    baton_metric *no_room;
};

/* intake.c */
void server_count_waiting(
    server *own); /* at each tick: a time in which this process stood still counts as one */
bool server_take_command(void *owner, door_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes);
/* relay.c: the answer that the state keeps. */
void server_answer(connection *to, const exchange_command *command, const client_outcome *outcome);
void server_relay(void *owner, uint16_t effect_type, const void *payload, uint32_t payload_bytes);
void server_release(void *context, const baton_effect *effect);
