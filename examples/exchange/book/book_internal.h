/* examples/exchange/book/book_internal.h: what the book's files share. Nobody else includes it. */
#pragma once

#include "examples/exchange/book/book.h"
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/book/order_table.h"
#include "examples/exchange/book/price_levels.h"

/* A resting order. Its price is its level's. */
typedef struct {
    uint64_t order_id;
    uint64_t client_id;
    uint64_t remaining;
    uint64_t filled;
    uint64_t priority;
    uint64_t expire_ns;
    uint32_t level;
    uint32_t older;        /* neighbours in the level's queue */
    uint32_t newer;        /* in a free slot: the next free one */
    uint32_t expiry_index; /* its place in the expiry heap, BOOK_NONE unless GTD */
    uint8_t side;
    uint8_t time_in_force;
} book_slot;

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
    baton_digest orders_digest; /* sum over all resting orders, always current */
};

/* ---- queue.c: a slot's way into and out of level, table, heap and digest ---- */

book_resting slot_resting(const order_book *book, uint32_t slot);
/* All of these keep level sums, table, heap and digest in step. */
uint32_t slot_add(order_book *book, const book_resting *order);
void slot_remove(order_book *book, uint32_t slot);
/* Take `by` off remaining, less than all of it; traded says whether it counts as filled. */
void slot_shrink(order_book *book, uint32_t slot, uint64_t by, uint64_t traded);

/* ---- expiry.c ---- */

void expiry_push(order_book *book, uint32_t slot);
void expiry_drop(order_book *book, uint32_t slot);
bool expiry_holds(const order_book *book); /* the heap's invariant */

/* ---- state.c ---- */

void state_digest_add(baton_digest *sum, const book_resting *order);
void state_digest_remove(baton_digest *sum, const book_resting *order);
