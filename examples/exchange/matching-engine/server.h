/* examples/exchange/matching-engine/server.h: the sockets around the matching engine: clients
 * in, acks and fills out, and the feed of trades. One thread, inside the engine's loop. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/connection.h"
#include "examples/exchange/matching-engine/matching_engine.h"

enum {
    /* A full house drops the oldest that has not said HELLO, or is to be closed anyway. */
    SERVER_CONNECTIONS_MAX = 1024,
    FEED_OUT_BYTES_MAX = 4 << 20, /* what is more stays in the outbox for now */
};

#define SERVER_OUT_BYTES_MAX (UINT64_C(1) << 30) /* of all connections; past it the largest goes */

typedef struct server server;

/* -ENOMEM. About 256 MiB of address space, touched only as clients come. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
