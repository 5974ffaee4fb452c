/* examples/exchange/replay/orders_state.h: what orders.c, which applies, and orders_run.c, which
 * reads and writes files, share. */
#pragma once

#include <stdio.h>
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/ledger/ledger.h"
#include "examples/exchange/replay/id_map.h"
#include "examples/exchange/replay/orders.h"
#include "examples/exchange/replay/output.h"
#include "examples/exchange/replay/replay_book.h"

typedef enum { ORDERS_PLACE, ORDERS_CANCEL } orders_action;

typedef struct {
    orders_action action;
    uint64_t order_id;
    uint64_t user_id;
    book_side side; /* this and the rest: ORDERS_PLACE only */
    int64_t price;
    uint64_t size;
} orders_command;

/* How an accepted order came in: its published status while it rests. */
typedef enum { ORDERS_ARRIVED = 1, ORDERS_ARRIVED_FILLED_IN_PART = 2 } orders_arrival;

typedef struct {
    replay_book replay;
    account_ledger *ledger;
    id_map known; /* every accepted order id -> orders_arrival */
    output events;
    orders_summary counts;
} orders_state;

BATON_MUST_USE int orders_apply(orders_state *state, const orders_command *command,
                                baton_error *error);
