/* The life of a resting order's slot. Every change of what rests goes through here, so that the
 * level's sum, the id table, the expiry heap and the digest can't fall out of step. */
#include "examples/exchange/book/book_internal.h"

book_resting slot_resting(const order_book *book, uint32_t slot)
{
    const book_slot *order = &book->slots[slot];
    return (book_resting){
        .order_id = order->order_id,
        .client_id = order->client_id,
        .price = book->levels.levels[order->level].price,
        .remaining = order->remaining,
        .filled = order->filled,
        .priority = order->priority,
        .expire_ns = order->expire_ns,
        .side = (book_side)order->side,
        .time_in_force = (book_time_in_force)order->time_in_force,
    };
}

static void enqueue(order_book *book, uint32_t slot, uint32_t level_index)
{
    price_level *level = &book->levels.levels[level_index];
    book_slot *order = &book->slots[slot];

    order->level = level_index;
    order->newer = BOOK_NONE;
    order->older = level->newest;
    if (level->newest == BOOK_NONE)
        level->oldest = slot;
    else
        book->slots[level->newest].newer = slot;
    level->newest = slot;
    level->orders_count++;
    level->size += order->remaining;
}

static void dequeue(order_book *book, uint32_t slot)
{
    const book_slot *order = &book->slots[slot];
    price_level *level = &book->levels.levels[order->level];

    if (order->older == BOOK_NONE)
        level->oldest = order->newer;
    else
        book->slots[order->older].newer = order->newer;
    if (order->newer == BOOK_NONE)
        level->newest = order->older;
    else
        book->slots[order->newer].older = order->older;
    level->orders_count--;
    level->size -= order->remaining;
    if (level->orders_count == 0)
        price_levels_remove(&book->levels, (book_side)order->side, order->level);
}

uint32_t slot_add(order_book *book, const book_resting *order)
{
    uint32_t slot = book->free_slot;
    book_invariant(slot != BOOK_NONE);
    book->free_slot = book->slots[slot].newer;

    book->slots[slot] = (book_slot){
        .order_id = order->order_id,
        .client_id = order->client_id,
        .remaining = order->remaining,
        .filled = order->filled,
        .priority = order->priority,
        .expire_ns = order->expire_ns,
        .expiry_index = BOOK_NONE,
        .side = (uint8_t)order->side,
        .time_in_force = (uint8_t)order->time_in_force,
    };
    uint32_t level = price_levels_find(&book->levels, order->side, order->price);
    if (level == BOOK_NONE)
        level = price_levels_insert(&book->levels, order->side, order->price);
    enqueue(book, slot, level);
    order_table_insert(&book->by_id, order->order_id, slot);
    if (order->time_in_force == BOOK_GTD)
        expiry_push(book, slot);
    state_digest_add(&book->orders_digest, order);
    return slot;
}

void slot_remove(order_book *book, uint32_t slot)
{
    book_resting gone = slot_resting(book, slot);
    state_digest_remove(&book->orders_digest, &gone);
    if (gone.time_in_force == BOOK_GTD)
        expiry_drop(book, slot);
    order_table_remove(&book->by_id, gone.order_id);
    dequeue(book, slot);
    book->slots[slot].newer = book->free_slot;
    book->free_slot = slot;
}

void slot_shrink(order_book *book, uint32_t slot, uint64_t by, uint64_t traded)
{
    book_slot *order = &book->slots[slot];
    book_invariant(by < order->remaining);

    book_resting state = slot_resting(book, slot);
    state_digest_remove(&book->orders_digest, &state);
    order->remaining -= by;
    order->filled += traded;
    book->levels.levels[order->level].size -= by;
    state.remaining = order->remaining;
    state.filled = order->filled;
    state_digest_add(&book->orders_digest, &state);
}
