/* An order that comes in, against what rests on the other side. */
#include "examples/exchange/book/book_internal.h"

static bool crosses(const book_taker *taker, int64_t price)
{
    return taker->side == BOOK_BUY ? taker->limit >= price : taker->limit <= price;
}

bool taker_crosses(const order_book *book, const book_taker *taker)
{
    uint32_t best = book->levels.lists[taker->opposite].best;
    return best != BOOK_NONE && crosses(taker, book->levels.levels[best].price);
}

/* ---- all or nothing ---- */

/* What of a level the order may trade with. *ret_ends: matching would end in it. */
static uint64_t available(const order_book *book, const price_level *level, uint64_t client_id,
                          bool *ret_ends)
{
    if (book->self_trade == BOOK_SELF_TRADE_ALLOW)
        return level->size;
    uint64_t size = 0;
    for (uint32_t slot = level->oldest; slot != BOOK_NONE; slot = book->slots[slot].newer) {
        bool own = book->slots[slot].client_id == client_id;
        if (own && book->self_trade == BOOK_SELF_TRADE_CANCEL_TAKING) {
            *ret_ends = true;
            return size;
        }
        if (!own)
            size += book->slots[slot].remaining;
    }
    return size;
}

bool taker_can_fill(const order_book *book, const book_taker *taker, const int64_t *budget)
{
    uint64_t needed = taker->size;
    __int128 sum = 0;
    bool ends = false;
    for (uint32_t at = book->levels.lists[taker->opposite].best;
         at != BOOK_NONE && needed > 0 && !ends; at = price_levels_worse(&book->levels, at)) {
        const price_level *level = &book->levels.levels[at];
        if (!crosses(taker, level->price))
            break;
        uint64_t size = available(book, level, taker->client_id, &ends);
        if (size > needed)
            size = needed;
        needed -= size;
        sum += (__int128)level->price * (__int128)size;
    }
    if (needed > 0)
        return false;
    if (!budget)
        return true;
    return taker->side == BOOK_BUY ? sum <= *budget : sum >= *budget;
}

/* ---- matching ---- */

/* One trade with the oldest order of a level. Returns the size. */
static uint64_t fill_one(order_book *book, const book_taker *taker, uint64_t remaining,
                         uint32_t slot, const book_events *events)
{
    const book_slot *order = &book->slots[slot];
    uint64_t maker_size = order->remaining;
    uint64_t size = maker_size < remaining ? maker_size : remaining;
    book_fill fill = {
        .trade_id = ++book->counters.trades_count,
        .maker_order_id = order->order_id,
        .maker_client_id = order->client_id,
        .taker_order_id = taker->order_id,
        .taker_client_id = taker->client_id,
        .price = book->levels.levels[order->level].price,
        .size = size,
        .maker_remaining = maker_size - size,
        .taker_remaining = remaining - size,
        .taker_side = taker->side,
    };
    if (size == maker_size)
        slot_remove(book, slot);
    else
        slot_shrink(book, slot, size, size);
    if (events && events->on_fill)
        events->on_fill(events->context, &fill);
    return size;
}

static void cancel_own(order_book *book, uint32_t slot, const book_events *events)
{
    book_resting gone = slot_resting(book, slot);
    slot_remove(book, slot);
    if (events && events->on_gone)
        events->on_gone(events->context, &gone);
}

uint64_t taker_match(order_book *book, const book_taker *taker, const book_events *events,
                     bool *ret_self_trade)
{
    uint64_t remaining = taker->size;
    *ret_self_trade = false;
    while (remaining > 0 && taker_crosses(book, taker)) {
        uint32_t best = book->levels.lists[taker->opposite].best;
        uint32_t slot = book->levels.levels[best].oldest;
        bool own = book->self_trade != BOOK_SELF_TRADE_ALLOW &&
                   book->slots[slot].client_id == taker->client_id;
        if (!own) {
            remaining -= fill_one(book, taker, remaining, slot, events);
        } else if (book->self_trade == BOOK_SELF_TRADE_CANCEL_RESTING) {
            cancel_own(book, slot, events);
        } else {
            *ret_self_trade = true;
            break;
        }
    }
    return remaining;
}
