/* examples/exchange/service/server.h: the sockets around the matching engine: clients in, acks
 * and fills out, and the feed of trades. One thread, inside the engine's loop. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/service/address.h"
#include "examples/exchange/service/connection.h"
#include "examples/exchange/service/matching_engine.h"

enum {
    SERVER_CONNECTIONS_MAX = 1024, /* a full house drops the oldest that has not said HELLO */
};

typedef struct server server;

/* -ENOMEM. About 64 MiB of address space, touched only as clients come. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
