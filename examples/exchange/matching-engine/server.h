/* examples/exchange/matching-engine/server.h: the sockets around the matching engine: clients
 * in, acks and fills out, and the feed of trades. One thread, inside the engine's loop. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/matching-engine/matching_engine.h"

enum { FEED_OUT_BYTES_MAX = 4 << 20 }; /* what is more stays in the outbox for now */

typedef struct server server;

/* -ENOMEM. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
