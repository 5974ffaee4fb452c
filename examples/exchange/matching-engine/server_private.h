/* examples/exchange/matching-engine/server_private.h: what server.c (the program), intake.c (commands) and
 * release.c (effects) share. */
#pragma once

#include "examples/exchange/matching-engine/server.h"
#include "examples/exchange/wire/service.h"

typedef enum { ROLE_ORDERS, ROLE_FEED, ROLES } server_role;

struct server {
    wire_service wire; /* first: wire/service.h */
    baton_engine *engine;
    bool client_time; /* --ticks client */
    inlet risk;       /* commands of the risk engine, when there is one */
};

/* intake.c: frames of clients. */
bool server_take_command(void *owner, door_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes);
/* release.c */
void server_release(void *context, const baton_effect *effect);
