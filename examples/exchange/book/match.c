/* The commands: place (match, then rest), cancel, reduce. */
#include "examples/exchange/book/book_internal.h"

const char *book_refusal_name(book_refusal refusal)
{
    switch (refusal) {
#define BOOK_REFUSAL_NAME(name, text)                                                              \
    case BOOK_##name:                                                                              \
        return #name;
        BOOK_REFUSAL_LIST(BOOK_REFUSAL_NAME)
#undef BOOK_REFUSAL_NAME
    }
    return "UNKNOWN_REFUSAL";
}

const char *book_refusal_text(book_refusal refusal)
{
    switch (refusal) {
#define BOOK_REFUSAL_TEXT(name, text)                                                              \
    case BOOK_##name:                                                                              \
        return text;
        BOOK_REFUSAL_LIST(BOOK_REFUSAL_TEXT)
#undef BOOK_REFUSAL_TEXT
    }
    return "a refusal this build does not know";
}

static bool time_in_force_fits(const book_order *order)
{
    switch (order->time_in_force) {
    case BOOK_GTC:
    case BOOK_IOC:
        return order->expire_ns == 0;
    case BOOK_GTD:
        return true;
    }
    return false;
}

/* Whether the pools hold room for the order to rest. Judged on its whole size, before it
 * matches. */
static book_refusal may_rest(const order_book *book, const book_order *order)
{
    if (order->time_in_force == BOOK_IOC)
        return BOOK_OK;
    if (book->free_slot == BOOK_NONE)
        return BOOK_ORDERS_FULL;
    uint32_t level = price_levels_find(&book->levels, order->side, order->price);
    if (level == BOOK_NONE)
        return price_levels_full(&book->levels) ? BOOK_LEVELS_FULL : BOOK_OK;
    if (book->levels.levels[level].size > UINT64_MAX - order->size)
        return BOOK_LEVEL_OVERFLOW;
    return BOOK_OK;
}

static book_refusal check(const order_book *book, const book_order *order)
{
    if (order->side != BOOK_BUY && order->side != BOOK_SELL)
        return BOOK_BAD_SIDE;
    if (order->size == 0 || order->size > BOOK_SIZE_MAX)
        return BOOK_BAD_SIZE;
    if (!time_in_force_fits(order))
        return BOOK_BAD_TIME_IN_FORCE;
    if (order->time_in_force == BOOK_GTD && order->expire_ns <= book->counters.now_ns)
        return BOOK_EXPIRED;
    if (order_table_find(&book->by_id, order->order_id) != BOOK_NONE)
        return BOOK_DUPLICATE_ID;
    return may_rest(book, order);
}

static bool crosses(const book_order *order, int64_t price)
{
    return order->side == BOOK_BUY ? order->price >= price : order->price <= price;
}

/* One trade with the oldest order of a level. Returns the size. */
static uint64_t fill_one(order_book *book, const book_order *order, uint64_t remaining,
                         uint32_t slot, book_on_fill on_fill, void *context)
{
    book_resting maker = slot_resting(book, slot);
    uint64_t size = maker.remaining < remaining ? maker.remaining : remaining;
    if (size == maker.remaining)
        slot_remove(book, slot);
    else
        slot_shrink(book, slot, size, size);

    book_fill fill = {
        .trade_id = ++book->counters.trades_count,
        .maker_order_id = maker.order_id,
        .maker_client_id = maker.client_id,
        .taker_order_id = order->order_id,
        .taker_client_id = order->client_id,
        .price = maker.price,
        .size = size,
        .maker_remaining = maker.remaining - size,
        .taker_remaining = remaining - size,
        .taker_side = order->side,
    };
    if (on_fill)
        on_fill(context, &fill);
    return size;
}

static uint64_t match(order_book *book, const book_order *order, book_on_fill on_fill,
                      void *context)
{
    book_side opposite = order->side == BOOK_BUY ? BOOK_SELL : BOOK_BUY;
    uint64_t remaining = order->size;
    while (remaining > 0) {
        uint32_t best = book->levels.best[opposite];
        if (best == BOOK_NONE || !crosses(order, book->levels.levels[best].price))
            break;
        uint32_t slot = book->levels.levels[best].oldest;
        remaining -= fill_one(book, order, remaining, slot, on_fill, context);
    }
    return remaining;
}

static book_placed rest(order_book *book, const book_order *order, uint64_t remaining)
{
    book_placed placed = {.filled = order->size - remaining, .remaining = remaining};
    if (remaining == 0 || order->time_in_force == BOOK_IOC)
        return placed;

    placed.rests = true;
    placed.priority = book->counters.next_priority++;
    slot_add(book, &(book_resting){
                       .order_id = order->order_id,
                       .client_id = order->client_id,
                       .price = order->price,
                       .remaining = remaining,
                       .filled = placed.filled,
                       .priority = placed.priority,
                       .expire_ns = order->expire_ns,
                       .side = order->side,
                       .time_in_force = order->time_in_force,
                   });
    return placed;
}

book_refusal book_new_order(order_book *book, const book_order *order, book_on_fill on_fill,
                            void *context, book_placed *ret_placed)
{
    book_refusal refusal = check(book, order);
    if (refusal != BOOK_OK)
        return refusal;
    uint64_t remaining = match(book, order, on_fill, context);
    *ret_placed = rest(book, order, remaining);
    return BOOK_OK;
}

book_refusal book_rest_order(order_book *book, const book_order *order, book_placed *ret_placed)
{
    book_refusal refusal = check(book, order);
    if (refusal != BOOK_OK)
        return refusal;
    if (order->time_in_force == BOOK_IOC)
        return BOOK_BAD_TIME_IN_FORCE;
    *ret_placed = rest(book, order, order->size);
    return BOOK_OK;
}

book_refusal book_cancel(order_book *book, uint64_t order_id, book_resting *ret_order)
{
    uint32_t slot = order_table_find(&book->by_id, order_id);
    if (slot == BOOK_NONE)
        return BOOK_UNKNOWN_ORDER;
    if (ret_order)
        *ret_order = slot_resting(book, slot);
    slot_remove(book, slot);
    return BOOK_OK;
}

book_refusal book_reduce(order_book *book, uint64_t order_id, uint64_t by_size,
                         book_resting *ret_order)
{
    if (by_size == 0)
        return BOOK_BAD_SIZE;
    uint32_t slot = order_table_find(&book->by_id, order_id);
    if (slot == BOOK_NONE)
        return BOOK_UNKNOWN_ORDER;
    if (ret_order)
        *ret_order = slot_resting(book, slot);
    if (by_size >= book->slots[slot].remaining)
        slot_remove(book, slot);
    else
        slot_shrink(book, slot, by_size, 0);
    return BOOK_OK;
}
