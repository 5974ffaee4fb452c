/* examples/exchange/book/price_levels.h: the price levels of all lists in one preallocated pool. A
 * list is one side of one symbol: number 2 * symbol + book_side.
 *
 * Levels of a list are found by a crit-bit tree over the price (at most 64 steps whatever the
 * prices are, no rebalancing) and are linked to their neighbours, so that walking from the best
 * one is a list walk. */
#pragma once

#include <stdint.h>
#include <baton/arena.h>
#include <baton/status.h>
#include "examples/exchange/book/book.h"

#define BOOK_NONE UINT32_MAX

typedef struct {
    int64_t price;
    uint64_t size; /* sum of remaining over its orders */
    uint32_t oldest;
    uint32_t newest;
    uint32_t orders_count;
    uint32_t lower; /* neighbouring levels of the same list; in a free level: the next free one */
    uint32_t higher;
    uint32_t list;
} price_level;

/* An inner node: all prices below child[0] have 0 at this bit, all below child[1] have 1, higher
 * bits are equal. */
typedef struct {
    uint32_t child[2]; /* PRICE_LEAF | level, or a node */
    uint32_t bit;
} price_node;

typedef struct {
    uint32_t root;
    uint32_t best;
    uint32_t count;
} price_list;

typedef struct {
    price_level *levels;
    price_node *nodes;
    price_list *lists;
    uint32_t lists_count;
    uint32_t levels_max;
    uint32_t free_level;
    uint32_t free_node;
    uint32_t used_count;
} price_levels;

extern const baton_layout_type price_levels_layout;

typedef struct {
    uint32_t levels_max;
    uint32_t symbols;
    baton_arena *arena; /* as in book_options; the same for fini */
} price_levels_options;
BATON_MUST_USE int price_levels_init(price_levels *index, const price_levels_options *options);
void price_levels_fini(price_levels *index, baton_arena *arena);

/* BOOK_NONE when absent. */
uint32_t price_levels_find(const price_levels *index, uint32_t list, int64_t price);
/* A new level without orders. The price must be absent and the pool must not be full. */
uint32_t price_levels_insert(price_levels *index, uint32_t list, int64_t price);
void price_levels_remove(price_levels *index, uint32_t level);

static inline uint32_t price_list_of(uint32_t symbol, book_side side)
{
    return 2 * symbol + (uint32_t)side;
}

static inline book_side price_list_side(uint32_t list)
{
    return (book_side)(list & 1);
}

static inline bool price_levels_full(const price_levels *index)
{
    return index->used_count == index->levels_max;
}

/* The level after this one, seen from the best. */
static inline uint32_t price_levels_worse(const price_levels *index, uint32_t level)
{
    const price_level *here = &index->levels[level];
    return price_list_side(here->list) == BOOK_BUY ? here->lower : here->higher;
}
