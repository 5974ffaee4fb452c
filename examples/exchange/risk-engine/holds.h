/* examples/exchange/risk-engine/holds.h: every order that has money held for it. Part of the state; bounded; all
 * memory is allocated in holds_create. Nothing in here moves money: it is the list of why it is held. */
#pragma once

#include <baton/arena.h>
#include <baton/digest.h>

#include "examples/exchange/protocol.h"

typedef struct holds holds;

/* What a replacement under way may need is held on top, until all that were sent have been answered: price_max
 * and size_max are then the worst of what the order is and what it may become, and held stays as it is. */
typedef struct {
    uint64_t order_id; /* exchange_order_id */
    uint64_t price;    /* its limit; of FOK_BUDGET the worst sum of price times size */
    uint64_t filled;
    uint64_t remaining; /* 0: it is over */
    uint64_t held;      /* base of a seller, quote of a buyer */
    uint64_t price_max;
    uint64_t size_max; /* this much counts as open in its client's exposure */
    uint32_t symbol;
    uint32_t replaces; /* that have no answer yet */
    uint8_t side;
    uint8_t time_in_force;
} held_order;

#define HOLDS_LAYOUT_TYPES &holds_layout, &holds_slot_layout
extern const baton_layout_type holds_layout;
extern const baton_layout_type holds_slot_layout;

/* -ENOMEM, BATON_E_INVALID. arena may be NULL: on the heap. About 90 bytes an order. */
BATON_MUST_USE int holds_create(uint32_t orders_max, baton_arena *arena, holds **ret_holds);
void holds_destroy(holds *own); /* NULL is fine */

uint32_t holds_count(const holds *own);
bool holds_have_room(const holds *own);
/* NULL: unknown. Valid until the next change. */
const held_order *holds_find(const holds *own, uint64_t order_id);
/* There is room, and it is unknown. */
void holds_add(holds *own, const held_order *order);
/* order is holds_find's; now has its id. With nothing remaining it is forgotten. */
void holds_change(holds *own, const held_order *order, const held_order *now);

/* O(1), over every field of every order. */
baton_digest holds_digest(const holds *own);
baton_digest holds_digest_recomputed(const holds *own);

/* In no order that means anything. */
void holds_each(const holds *own, void (*each)(void *context, const held_order *order),
                void *context);
/* For snapshots: by id. Allocates a pointer an order while it runs: -ENOMEM. */
BATON_MUST_USE int
holds_visit(const holds *own, void (*visit)(void *context, const held_order *order), void *context);
/* False: it can't be one, or there is no room. */
bool holds_restore(holds *own, const held_order *order);
