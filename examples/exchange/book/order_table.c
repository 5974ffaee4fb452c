#include "examples/exchange/book/order_table.h"

#include <errno.h>
#include "examples/exchange/book/book_internal.h"
#include "examples/exchange/book/memory.h"

static const baton_layout_field table_fields[] = {
    BATON_POINTER(order_table, entries, uint32_t),
    BATON_FIELD(order_table, mask),
    BATON_FIELD(order_table, count),
};
const baton_layout_type order_table_layout = BATON_LAYOUT_TYPE(order_table, table_fields);

/* The finaliser of splitmix64: ids that differ in any bit spread over the whole table. */
static uint64_t hash_of(uint64_t id)
{
    id ^= id >> 30;
    id *= 0xbf58476d1ce4e5b9u;
    id ^= id >> 27;
    id *= 0x94d049bb133111ebu;
    return id ^ id >> 31;
}

int order_table_init(order_table *table, baton_arena *arena, uint32_t orders_max)
{
    uint64_t capacity = 16;
    while (capacity < 2ull * orders_max)
        capacity *= 2;
    *table = (order_table){.mask = capacity - 1};
    table->entries = memory_numbers(arena, capacity);
    if (!table->entries)
        return -ENOMEM;
    for (uint64_t i = 0; i < capacity; i++)
        table->entries[i] = BOOK_NONE;
    return 0;
}

void order_table_fini(order_table *table, baton_arena *arena)
{
    memory_free(arena, table->entries);
    table->entries = NULL;
}

/* Where the id is, or the empty entry where it would go. */
static uint64_t position_of(const order_table *table, const book_slot *slots, uint64_t order_id)
{
    uint64_t at = hash_of(order_id) & table->mask;
    while (table->entries[at] != BOOK_NONE && slots[table->entries[at]].order_id != order_id)
        at = (at + 1) & table->mask;
    return at;
}

uint32_t order_table_find(const order_table *table, const book_slot *slots, uint64_t order_id)
{
    return table->entries[position_of(table, slots, order_id)];
}

void order_table_insert(order_table *table, const book_slot *slots, uint32_t slot)
{
    uint64_t at = position_of(table, slots, slots[slot].order_id);
    book_invariant(table->entries[at] == BOOK_NONE);
    book_invariant(table->count <= table->mask / 2);
    table->entries[at] = slot;
    table->count++;
}

void order_table_remove(order_table *table, const book_slot *slots, uint32_t slot)
{
    uint64_t hole = position_of(table, slots, slots[slot].order_id);
    book_invariant(table->entries[hole] == slot);

    /* Each later entry of the run moves into the hole unless its home lies behind the hole. */
    for (uint64_t at = (hole + 1) & table->mask; table->entries[at] != BOOK_NONE;
         at = (at + 1) & table->mask) {
        uint64_t home = hash_of(slots[table->entries[at]].order_id) & table->mask;
        if (((at - home) & table->mask) >= ((at - hole) & table->mask)) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole] = BOOK_NONE;
    table->count--;
}
