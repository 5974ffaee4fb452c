/* bench/exchange_flow.h: commands in the mix of exchange-core's recorded single-pair stream: of 100, 70 give a
 * resting order another price, 13 are new limit orders, 2 immediate-or-cancel, 7 cancels and 7 reductions, on a
 * book of about 1,000 orders of 1,000 clients. Seeded; every reference resolves. */
#pragma once

#include <stdint.h>

#include "examples/exchange/protocol.h"

typedef struct {
    uint16_t type;
    uint16_t bytes;
    union {
        exchange_new_order order;
        exchange_cancel cancel;
        exchange_reduce reduce;
        exchange_replace replace;
    } body;
} flow_command;

enum { FLOW_FILL = 1000, FLOW_CLIENTS = 1000 };

/* The first FLOW_FILL only fill the book. malloc'ed; NULL: no memory. */
flow_command *flow_make(uint64_t seed, uint64_t count);

/* The same as the risk engine's nth effect (from 1): what the matching engine journals of it. Returns its bytes. */
typedef struct {
    exchange_linked head;
    uint8_t body[sizeof(((flow_command *)0)->body)];
} flow_linked;
uint32_t flow_link(const flow_command *command, uint64_t nth, flow_linked *ret_linked);
