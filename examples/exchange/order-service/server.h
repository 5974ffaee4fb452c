/* examples/exchange/order-service/server.h: the sockets around the order service: clients (a gateway, mostly), the
 * feed of commands, and the links from the risk engine and the matching engine. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/order-service/order_service.h"

typedef struct server server;

/* -ENOMEM. */
BATON_MUST_USE int server_create(server **ret_server);
void server_destroy(server *own);

/* Its context is the server. */
extern const baton_program server_program;
