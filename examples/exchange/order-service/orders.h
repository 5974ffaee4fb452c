/* examples/exchange/order-service/orders.h: every order that is open, and the last ones that are not. Part of
 * the state; bounded; all memory is allocated in orders_create.
 *
 *   NEW --> ACKNOWLEDGED --> PARTLY_FILLED --> FILLED
 *    |           |                 |---------> CANCELLED | EXPIRED
 *    |           |---------------------------> FILLED | CANCELLED | EXPIRED
 *    |---------------------------------------> PARTLY_FILLED | FILLED | CANCELLED | REJECTED
 *
 * A finished order stays until finished_max others have finished after it. */
#pragma once

#include <baton/arena.h>
#include <baton/digest.h>

#include "examples/exchange/protocol.h"

typedef struct orders orders;

typedef struct {
    uint64_t order_id; /* exchange_order_id */
    int64_t price;
    uint64_t size;
    uint64_t filled;
    uint64_t remaining; /* in the book, or on the way there; 0 when it is over */
    uint64_t expire_ns;
    uint64_t finished; /* its number among the finished, from 1; 0: open */
    uint32_t symbol;
    uint8_t status; /* exchange_order_status */
    uint8_t side;
    uint8_t time_in_force;
    uint8_t order_type;
    uint8_t flags;
} order_facts;

static inline bool order_is_over(const order_facts *order)
{
    return order->status >= EXCHANGE_ORDER_FILLED;
}

#define ORDERS_LAYOUT_TYPES &orders_layout, &orders_slot_layout, &orders_list_layout
extern const baton_layout_type orders_layout;
extern const baton_layout_type orders_slot_layout;
extern const baton_layout_type orders_list_layout;

typedef struct {
    uint32_t orders_max;   /* open at once */
    uint32_t finished_max; /* remembered; 1 or more */
    uint32_t clients_max;  /* clients.h: orders are listed by their index there */
    baton_arena *arena;    /* NULL: on the heap */
} orders_options;
/* -ENOMEM, BATON_E_INVALID. About 100 bytes an order. */
BATON_MUST_USE int orders_create(const orders_options *options, orders **ret_orders);
void orders_destroy(orders *own); /* NULL is fine */

uint32_t orders_finished_max(const orders *own);
uint32_t orders_open_count(const orders *own);
bool orders_have_room(const orders *own);
/* NULL: unknown, or forgotten. Valid until the next change. */
const order_facts *orders_find(const orders *own, uint64_t order_id);
/* An open order, above all that this client has; there is room, and it is unknown. */
void orders_add(orders *own, uint32_t client_index, const order_facts *order);
/* order is orders_find's, and open; now has its id. When that is over, it becomes a finished one, and the oldest
 * of those may be forgotten. */
void orders_change(orders *own, uint32_t client_index, const order_facts *order, order_facts now);

/* The client's open orders, lowest seq first, that come after after_seq: up to max. */
uint32_t orders_page(const orders *own, uint32_t client_index, uint64_t after_seq,
                     const order_facts **page, uint32_t max);

/* O(1), over every field of every order, open or not, and finished_max. */
baton_digest orders_digest(const orders *own);

/* For snapshots: the open ones client by client, then the finished ones, oldest first. A non-zero return stops
 * and is returned. */
int orders_visit(const orders *own, uint32_t clients_count,
                 int (*visit)(void *context, const order_facts *order), void *context);
/* In that order, finished ones with their number. False: it can't be one. */
bool orders_restore(orders *own, uint32_t client_index, const order_facts *order);
