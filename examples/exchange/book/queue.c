/* The life of a resting order's slot. Every change of what rests goes through here, so that the
 * level's sum, the id table, the expiry heap and the digest can't fall out of step. */
#include "examples/exchange/book/book_internal.h"

static void sum_add(order_book *book, uint32_t slot, const book_resting *order)
{
    order_sum item = state_item(order);
    book->slots[slot].item = item;
    book->orders_sum.high += item.high;
    book->orders_sum.low += item.low;
}

static void sum_remove(order_book *book, uint32_t slot)
{
    book->orders_sum.high -= book->slots[slot].item.high;
    book->orders_sum.low -= book->slots[slot].item.low;
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
        price_levels_remove(&book->levels, order->level);
}

static uint32_t level_for(order_book *book, const book_resting *order, uint32_t level)
{
    return level != BOOK_NONE
               ? level
               : price_levels_insert(&book->levels, price_list_of(order->symbol, order->side),
                                     order->price);
}

void slot_add(order_book *book, const book_resting *order, uint32_t level)
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
        .time_in_force = (uint8_t)order->time_in_force,
    };
    enqueue(book, slot, level_for(book, order, level));
    order_table_insert(&book->by_id, book->slots, slot);
    if (order->time_in_force == BOOK_GTD)
        expiry_push(book, slot);
    sum_add(book, slot, order);
}

void slot_lift(order_book *book, uint32_t slot)
{
    sum_remove(book, slot);
    dequeue(book, slot);
}

void slot_put_back(order_book *book, uint32_t slot, const book_resting *order, uint32_t level)
{
    book_slot *lifted = &book->slots[slot];
    lifted->remaining = order->remaining;
    lifted->filled = order->filled;
    lifted->priority = order->priority;
    enqueue(book, slot, level_for(book, order, level));
    if (order->time_in_force == BOOK_GTD)
        expiry_later(book, slot);
    sum_add(book, slot, order);
}

void slot_drop_lifted(order_book *book, uint32_t slot)
{
    if (book->slots[slot].time_in_force == BOOK_GTD)
        expiry_drop(book, slot);
    order_table_remove(&book->by_id, book->slots, slot);
    book->slots[slot].newer = book->free_slot;
    book->free_slot = slot;
}

void slot_remove(order_book *book, uint32_t slot)
{
    slot_lift(book, slot);
    slot_drop_lifted(book, slot);
}

void slot_shrink(order_book *book, uint32_t slot, uint64_t by, uint64_t traded)
{
    book_slot *order = &book->slots[slot];
    book_invariant(by < order->remaining);

    sum_remove(book, slot);
    order->remaining -= by;
    order->filled += traded;
    book->levels.levels[order->level].size -= by;
    book_resting state = slot_resting(book, slot);
    sum_add(book, slot, &state);
}
