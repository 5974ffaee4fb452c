/* examples/exchange/matching-engine/server.h: the sockets around the matching engine: clients
 * in, acks and fills out, and the feed of effects. One thread, inside the engine's loop. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/matching-engine/matching_engine.h"

typedef struct server server;

/* -ENOMEM. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
