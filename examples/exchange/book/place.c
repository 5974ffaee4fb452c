/* New orders: why one may be refused, before anything has changed; then match, and rest. */
#include "examples/exchange/book/book_internal.h"

static bool fills_or_is_killed(const book_order *order)
{
    return order->time_in_force == BOOK_FOK || order->time_in_force == BOOK_FOK_BUDGET;
}

static bool may_rest(const book_order *order)
{
    return order->time_in_force == BOOK_GTC || order->time_in_force == BOOK_GTD;
}

static bool time_in_force_fits(const book_order *order)
{
    switch (order->time_in_force) {
    case BOOK_GTC:
    case BOOK_IOC:
    case BOOK_FOK:
    case BOOK_FOK_BUDGET:
        return order->expire_ns == 0;
    case BOOK_GTD:
        return true;
    }
    return false;
}

static bool type_fits(const book_order *order)
{
    if ((order->flags & ~(uint32_t)BOOK_POST_ONLY) != 0)
        return false;
    bool post_only = (order->flags & BOOK_POST_ONLY) != 0;
    switch (order->type) {
    case BOOK_LIMIT:
        return !post_only || may_rest(order);
    case BOOK_MARKET:
        return !post_only && (order->time_in_force == BOOK_IOC || order->time_in_force == BOOK_FOK);
    }
    return false;
}

/* Whether the pools hold room for the order to rest. Judged on its whole size, before it
 * matches. *ret_level is the level of its price, or BOOK_NONE. */
static book_refusal room_to_rest(const order_book *book, const book_order *order,
                                 uint32_t *ret_level)
{
    if (book->free_slot == BOOK_NONE)
        return BOOK_ORDERS_FULL;
    uint32_t level =
        price_levels_find(&book->levels, price_list_of(order->symbol, order->side), order->price);
    *ret_level = level;
    if (level == BOOK_NONE)
        return price_levels_full(&book->levels) ? BOOK_LEVELS_FULL : BOOK_OK;
    if (book->levels.levels[level].size > UINT64_MAX - order->size)
        return BOOK_LEVEL_OVERFLOW;
    return BOOK_OK;
}

static book_refusal check(const order_book *book, const book_order *order, uint32_t *ret_level)
{
    if (order->side != BOOK_BUY && order->side != BOOK_SELL)
        return BOOK_BAD_SIDE;
    if (order->size == 0 || order->size > BOOK_SIZE_MAX)
        return BOOK_BAD_SIZE;
    if (!time_in_force_fits(order))
        return BOOK_BAD_TIME_IN_FORCE;
    if (!type_fits(order))
        return BOOK_BAD_TYPE;
    if (order->symbol >= book_symbols(book))
        return BOOK_UNKNOWN_SYMBOL;
    if (order->time_in_force == BOOK_GTD && order->expire_ns <= book->counters.now_ns)
        return BOOK_EXPIRED;
    if (order_table_find(&book->by_id, book->slots, order->order_id) != BOOK_NONE)
        return BOOK_DUPLICATE_ID;
    return may_rest(order) ? room_to_rest(book, order, ret_level) : BOOK_OK;
}

static book_taker taker_of(const book_order *order)
{
    book_side opposite = order->side == BOOK_BUY ? BOOK_SELL : BOOK_BUY;
    bool any_price = order->time_in_force == BOOK_FOK_BUDGET ||
                     (order->type == BOOK_MARKET && order->side == BOOK_SELL && order->price == 0);
    int64_t worst = order->side == BOOK_BUY ? INT64_MAX : INT64_MIN;
    return (book_taker){
        .order_id = order->order_id,
        .client_id = order->client_id,
        .size = order->size,
        .limit = any_price ? worst : order->price,
        .opposite = price_list_of(order->symbol, opposite),
        .side = order->side,
    };
}

static book_placed rest(order_book *book, const book_order *order, uint64_t remaining,
                        uint32_t level)
{
    book_placed placed = {.filled = order->size - remaining, .remaining = remaining};
    if (remaining == 0 || !may_rest(order))
        return placed;

    placed.rests = true;
    placed.priority = book->counters.next_priority++;
    book_resting resting = {
        .order_id = order->order_id,
        .client_id = order->client_id,
        .price = order->price,
        .remaining = remaining,
        .filled = placed.filled,
        .priority = placed.priority,
        .expire_ns = order->expire_ns,
        .symbol = order->symbol,
        .side = order->side,
        .time_in_force = order->time_in_force,
    };
    slot_add(book, &resting, level);
    return placed;
}

book_refusal book_new_order(order_book *book, const book_order *order, const book_events *events,
                            book_placed *ret_placed)
{
    uint32_t level = BOOK_NONE;
    book_refusal refusal = check(book, order, &level);
    if (refusal != BOOK_OK)
        return refusal;
    book_taker taker = taker_of(order);
    if ((order->flags & BOOK_POST_ONLY) != 0 && taker_crosses(book, &taker))
        return BOOK_WOULD_TRADE;
    const int64_t *budget = order->time_in_force == BOOK_FOK_BUDGET ? &order->price : NULL;
    if (fills_or_is_killed(order) && !taker_can_fill(book, &taker, budget))
        return BOOK_CANT_FILL;

    bool self_trade;
    uint64_t remaining = taker_match(book, &taker, events, &self_trade);
    if (self_trade)
        *ret_placed = (book_placed){
            .filled = order->size - remaining, .remaining = remaining, .self_trade = true};
    else
        *ret_placed = rest(book, order, remaining, level);
    return BOOK_OK;
}

book_refusal book_rest_order(order_book *book, const book_order *order, book_placed *ret_placed)
{
    uint32_t level = BOOK_NONE;
    book_refusal refusal = check(book, order, &level);
    if (refusal != BOOK_OK)
        return refusal;
    if (!may_rest(order))
        return BOOK_BAD_TIME_IN_FORCE;
    *ret_placed = rest(book, order, order->size, level);
    return BOOK_OK;
}
