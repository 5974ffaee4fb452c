/* examples/exchange/book/order_table.h: order id -> slot. Open addressing in one preallocated
 * array at most half full, linear probing, no tombstones: a delete moves later entries back, so
 * that lookups stay short for ever. An entry is a slot's number alone, 4 bytes: the id stands in the
 * slot, which whoever looks for it needs next anyway. */
#pragma once

#include <stdint.h>
#include <baton/arena.h>
#include <baton/status.h>

typedef struct book_slot book_slot;

typedef struct {
    uint32_t *entries; /* BOOK_NONE: empty */
    uint64_t mask;     /* capacity - 1; capacity is a power of two */
    uint32_t count;
} order_table;

extern const baton_layout_type order_table_layout;

/* Room for orders_max entries; arena as in book_options, the same for both. */
BATON_MUST_USE int order_table_init(order_table *table, baton_arena *arena, uint32_t orders_max);
void order_table_fini(order_table *table, baton_arena *arena);

/* slots: where the numbers lead, always the same. */
uint32_t order_table_find(const order_table *table, const book_slot *slots,
                          uint64_t order_id); /* or BOOK_NONE */
/* The slot has its id, which must be absent. */
void order_table_insert(order_table *table, const book_slot *slots, uint32_t slot);
/* The slot still has its id, which must be present. */
void order_table_remove(order_table *table, const book_slot *slots, uint32_t slot);
