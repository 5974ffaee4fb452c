/* examples/exchange/book/book_internal.h: what the book's files share. Nobody else includes it. */
#pragma once

#include "examples/exchange/book/book.h"
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/book/order_table.h"
#include "examples/exchange/book/price_levels.h"

/* Of resting orders' hashes, each half modulo 2^64: as baton_digest_add adds them. */
typedef struct {
    uint64_t high;
    uint64_t low;
} order_sum;

/* A resting order. Its price, symbol and side are its level's. */
struct book_slot {
    uint64_t order_id;
    uint64_t client_id;
    uint64_t remaining;
    uint64_t filled;
    uint64_t priority;
    uint64_t expire_ns;
    order_sum item; /* its part of the sum, so that taking it out again needs no hashing */
    uint32_t level;
    uint32_t older;        /* neighbours in the level's queue */
    uint32_t newer;        /* in a free slot: the next free one */
    uint32_t expiry_index; /* its place in the expiry heap, BOOK_NONE unless GTD */
    uint8_t time_in_force;
};

struct order_book {
    baton_arena *arena; /* NULL: on the heap */
    book_slot *slots;
    uint32_t slots_max;
    uint32_t free_slot;
    order_table by_id;
    price_levels levels;
    uint32_t *expiry; /* binary heap of slots, the next to expire first */
    uint32_t expiry_count;
    book_counters counters;
    book_self_trade self_trade;
    order_sum orders_sum; /* over all resting orders, always current */
};

/* ---- queue.c: a slot's way into and out of level, table, heap and digest ---- */

static inline book_resting slot_resting(const order_book *book, uint32_t slot)
{
    const book_slot *order = &book->slots[slot];
    const price_level *level = &book->levels.levels[order->level];
    return (book_resting){
        .order_id = order->order_id,
        .client_id = order->client_id,
        .price = level->price,
        .remaining = order->remaining,
        .filled = order->filled,
        .priority = order->priority,
        .expire_ns = order->expire_ns,
        .symbol = level->list / 2,
        .side = price_list_side(level->list),
        .time_in_force = (book_time_in_force)order->time_in_force,
    };
}
static inline uint32_t slot_list(const order_book *book, uint32_t slot)
{
    return book->levels.levels[book->slots[slot].level].list;
}
/* All of these keep level sums, table, heap and digest in step. `level` is the one of the order's
 * price, BOOK_NONE if there is none yet. */
void slot_add(order_book *book, const book_resting *order, uint32_t level);
void slot_remove(order_book *book, uint32_t slot);
/* Take `by` off remaining, less than all of it; traded says whether it counts as filled. */
void slot_shrink(order_book *book, uint32_t slot, uint64_t by, uint64_t traded);
/* Out of its queue, and back at the end of another one (or the same): it keeps slot and id meanwhile. */
void slot_lift(order_book *book, uint32_t slot);
void slot_put_back(order_book *book, uint32_t slot, const book_resting *order, uint32_t level);
void slot_drop_lifted(order_book *book, uint32_t slot); /* it does not come back */

/* ---- match.c ---- */

/* An order that comes in, new or replaced. */
typedef struct {
    uint64_t order_id;
    uint64_t client_id;
    uint64_t size;
    int64_t limit;     /* the worst price */
    uint32_t opposite; /* the list that it matches with */
    book_side side;
} book_taker;

bool taker_crosses(const order_book *book, const book_taker *taker);
/* Whether all of it can trade at once. budget: NULL, or the worst sum of price times size. */
bool taker_can_fill(const order_book *book, const book_taker *taker, const int64_t *budget);
/* Returns what is left. */
uint64_t taker_match(order_book *book, const book_taker *taker, const book_events *events,
                     bool *ret_self_trade);

/* ---- expiry.c ---- */

void expiry_push(order_book *book, uint32_t slot);
void expiry_drop(order_book *book, uint32_t slot);
void expiry_later(order_book *book, uint32_t slot); /* its priority has grown */
bool expiry_holds(const order_book *book);          /* the heap's invariant */

/* ---- state.c ---- */

order_sum state_item(const book_resting *order);
