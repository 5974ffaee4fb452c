/* examples/exchange/book/order_table.h: order id -> slot. Open addressing in one preallocated
 * array at most half full, linear probing, no tombstones: a delete moves later entries back, so
 * that lookups stay short for ever. */
#pragma once

#include <stdint.h>
#include <baton/arena.h>
#include <baton/status.h>

typedef struct {
    uint64_t order_id;
    uint32_t slot; /* BOOK_NONE: the entry is empty */
} order_table_entry;

typedef struct {
    order_table_entry *entries;
    uint64_t mask; /* capacity - 1; capacity is a power of two */
    uint32_t count;
} order_table;

extern const baton_layout_type order_table_layout;

/* Room for orders_max entries; arena as in book_options, the same for both. */
BATON_MUST_USE int order_table_init(order_table *table, baton_arena *arena, uint32_t orders_max);
void order_table_fini(order_table *table, baton_arena *arena);

uint32_t order_table_find(const order_table *table, uint64_t order_id);        /* or BOOK_NONE */
void order_table_insert(order_table *table, uint64_t order_id, uint32_t slot); /* must be absent */
void order_table_remove(order_table *table, uint64_t order_id);                /* must be present */
