/* examples/exchange/risk-engine/server.h: the sockets around the risk engine: who asks for accounts, the feed of
 * commands and refusals, and the links from the order service and the matching engine. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/risk-engine/risk_engine.h"

typedef struct server server;

/* -ENOMEM. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
