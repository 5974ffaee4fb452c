/* Resting orders: cancel, reduce, replace. */
#include "examples/exchange/book/book_internal.h"

bool book_locate(const order_book *book, uint64_t order_id, book_place *ret_place,
                 book_resting *ret_order)
{
    ret_place->slot = order_table_find(&book->by_id, book->slots, order_id);
    if (ret_place->slot == BOOK_NONE)
        return false;
    if (ret_order)
        *ret_order = slot_resting(book, ret_place->slot);
    return true;
}

void book_cancel_at(order_book *book, book_place place)
{
    slot_remove(book, place.slot);
}

book_refusal book_cancel(order_book *book, uint64_t order_id, book_resting *ret_order)
{
    book_place place;
    if (!book_locate(book, order_id, &place, ret_order))
        return BOOK_UNKNOWN_ORDER;
    book_cancel_at(book, place);
    return BOOK_OK;
}

book_refusal book_reduce_at(order_book *book, book_place place, uint64_t by_size)
{
    if (by_size == 0)
        return BOOK_BAD_SIZE;
    if (by_size >= book->slots[place.slot].remaining)
        slot_remove(book, place.slot);
    else
        slot_shrink(book, place.slot, by_size, 0);
    return BOOK_OK;
}

book_refusal book_reduce(order_book *book, uint64_t order_id, uint64_t by_size,
                         book_resting *ret_order)
{
    book_place place;
    if (by_size == 0)
        return BOOK_BAD_SIZE;
    if (!book_locate(book, order_id, &place, ret_order))
        return BOOK_UNKNOWN_ORDER;
    return book_reduce_at(book, place, by_size);
}

/* Whether the order, with what is to remain of it, fits at its new price once it has left its old one.
 * *ret_level is the level of that price then, or BOOK_NONE. */
static book_refusal room_to_move(const order_book *book, const book_resting *after, uint32_t slot,
                                 uint32_t *ret_level)
{
    const price_level *old = &book->levels.levels[book->slots[slot].level];
    uint32_t level = price_levels_find(&book->levels, old->list, after->price);
    bool leaves_none = old->orders_count == 1;
    *ret_level = level;
    if (level == BOOK_NONE)
        return price_levels_full(&book->levels) && !leaves_none ? BOOK_LEVELS_FULL : BOOK_OK;

    uint64_t others = book->levels.levels[level].size;
    if (level == book->slots[slot].level) {
        others -= book->slots[slot].remaining;
        if (leaves_none)
            *ret_level = BOOK_NONE;
    }
    return others > UINT64_MAX - after->remaining ? BOOK_LEVEL_OVERFLOW : BOOK_OK;
}

/* It comes in as if new. `after` is the order as it is to be, before it matches. */
static book_placed come_in(order_book *book, uint32_t slot, book_resting *after, uint32_t level,
                           const book_taker *taker, const book_events *events)
{
    book_placed placed = {0};
    slot_lift(book, slot);
    placed.remaining = taker_match(book, taker, events, &placed.self_trade);
    placed.filled = taker->size - placed.remaining;
    if (placed.remaining == 0 || placed.self_trade) {
        slot_drop_lifted(book, slot);
        return placed;
    }
    placed.rests = true;
    placed.priority = book->counters.next_priority++;
    after->remaining = placed.remaining;
    after->filled += placed.filled;
    after->priority = placed.priority;
    slot_put_back(book, slot, after, level);
    return placed;
}

book_refusal book_replace_at(order_book *book, book_place place,
                             const book_replacement *replacement, const book_events *events,
                             book_placed *ret_placed)
{
    const uint32_t slot = place.slot;
    const book_resting before = slot_resting(book, slot);
    if ((replacement->flags & ~(uint32_t)BOOK_POST_ONLY) != 0)
        return BOOK_BAD_TYPE;
    uint64_t size = replacement->size ? replacement->size : before.filled + before.remaining;
    if (size > BOOK_SIZE_MAX || size <= before.filled)
        return BOOK_BAD_SIZE;

    uint64_t remaining = size - before.filled;
    if (replacement->price == before.price && remaining <= before.remaining) {
        if (remaining < before.remaining)
            slot_shrink(book, slot, before.remaining - remaining, 0);
        *ret_placed =
            (book_placed){.remaining = remaining, .priority = before.priority, .rests = true};
        return BOOK_OK;
    }

    uint32_t level;
    book_resting after = before;
    after.price = replacement->price;
    after.remaining = remaining;
    book_refusal refusal = room_to_move(book, &after, slot, &level);
    if (refusal != BOOK_OK)
        return refusal;
    const book_taker taker = {
        .order_id = before.order_id,
        .client_id = before.client_id,
        .size = remaining,
        .limit = after.price,
        .opposite = slot_list(book, slot) ^ 1u,
        .side = before.side,
    };
    if ((replacement->flags & BOOK_POST_ONLY) != 0 && taker_crosses(book, &taker))
        return BOOK_WOULD_TRADE;
    *ret_placed = come_in(book, slot, &after, level, &taker, events);
    return BOOK_OK;
}

book_refusal book_replace(order_book *book, uint64_t order_id, const book_replacement *replacement,
                          const book_events *events, book_resting *ret_before,
                          book_placed *ret_placed)
{
    book_place place;
    if (!book_locate(book, order_id, &place, ret_before))
        return BOOK_UNKNOWN_ORDER;
    return book_replace_at(book, place, replacement, events, ret_placed);
}
