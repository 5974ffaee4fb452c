#include "tests/unit/plain_exchange.h"

#include <string.h>

/* ---- the sorted array ---- */

static bool comes_before(const plain_order *a, const plain_order *b)
{
    if (a->symbol != b->symbol)
        return a->symbol < b->symbol;
    if (a->buys != b->buys)
        return a->buys;
    if (a->price != b->price)
        return a->buys ? a->price > b->price : a->price < b->price;
    return a->arrival < b->arrival;
}

static void put_in(plain_exchange *own, const plain_order *order)
{
    uint32_t at = 0;
    while (at < own->count && comes_before(&own->orders[at], order))
        at++;
    memmove(&own->orders[at + 1], &own->orders[at], (own->count - at) * sizeof(*order));
    own->orders[at] = *order;
    own->count++;
}

static void take_out(plain_exchange *own, uint32_t at)
{
    own->count--;
    memmove(&own->orders[at], &own->orders[at + 1], (own->count - at) * sizeof(own->orders[0]));
}

/* The first order at or after `at` of that symbol and side; count: none. */
static uint32_t next_of(const plain_exchange *own, uint32_t at, uint32_t symbol, bool buys)
{
    while (at < own->count && (own->orders[at].symbol != symbol || own->orders[at].buys != buys))
        at++;
    return at;
}

static uint32_t at_of(const plain_exchange *own, uint64_t client, uint64_t seq)
{
    uint32_t at = 0;
    while (at < own->count && (own->orders[at].client != client || own->orders[at].seq != seq))
        at++;
    return at;
}

/* Sorted: equal prices of a side stand together. */
static uint32_t levels(const plain_exchange *own)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->count; i++)
        if (i == 0 || own->orders[i].symbol != own->orders[i - 1].symbol ||
            own->orders[i].buys != own->orders[i - 1].buys ||
            own->orders[i].price != own->orders[i - 1].price)
            count++;
    return count;
}

static uint32_t orders_at(const plain_exchange *own, uint32_t symbol, bool buys, int64_t price)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->count; i++)
        if (own->orders[i].symbol == symbol && own->orders[i].buys == buys &&
            own->orders[i].price == price)
            count++;
    return count;
}

/* ---- an order that comes in ---- */

typedef struct {
    plain_order order;
    bool any_price;
    bool has_budget;
    int64_t budget;
} incoming;

static bool agrees(const incoming *in, int64_t price)
{
    return in->any_price || (in->order.buys ? in->order.price >= price : in->order.price <= price);
}

static bool would_trade(const plain_exchange *own, const incoming *in)
{
    uint32_t at = next_of(own, 0, in->order.symbol, !in->order.buys);
    return at < own->count && agrees(in, own->orders[at].price);
}

static bool can_fill(const plain_exchange *own, const incoming *in)
{
    uint64_t needed = in->order.remaining;
    __int128 sum = 0;
    for (uint32_t at = 0; needed > 0; at++) {
        at = next_of(own, at, in->order.symbol, !in->order.buys);
        if (at == own->count || !agrees(in, own->orders[at].price))
            return false;
        bool self = own->orders[at].client == in->order.client;
        if (self && own->self_trade == BOOK_SELF_TRADE_CANCEL_TAKING)
            return false;
        if (self && own->self_trade == BOOK_SELF_TRADE_CANCEL_RESTING)
            continue;
        uint64_t size = own->orders[at].remaining < needed ? own->orders[at].remaining : needed;
        needed -= size;
        sum += (__int128)own->orders[at].price * (__int128)size;
    }
    if (!in->has_budget)
        return true;
    return in->order.buys ? sum <= in->budget : sum >= in->budget;
}

static void trade(plain_exchange *own, incoming *in, uint32_t at, plain_told *told)
{
    plain_order *maker = &own->orders[at];
    uint64_t size = maker->remaining < in->order.remaining ? maker->remaining : in->order.remaining;
    maker->remaining -= size;
    maker->filled += size;
    in->order.remaining -= size;
    in->order.filled += size;
    told->filled += size;
    told->trades[told->trades_count++] = (plain_trade){.id = ++own->trades,
                                                       .maker_client = maker->client,
                                                       .maker_seq = maker->seq,
                                                       .taker_client = in->order.client,
                                                       .taker_seq = in->order.seq,
                                                       .price = maker->price,
                                                       .size = size,
                                                       .maker_remaining = maker->remaining,
                                                       .taker_remaining = in->order.remaining,
                                                       .taker_buys = in->order.buys};
    if (maker->remaining == 0)
        take_out(own, at);
}

/* Match, and rest if it may. */
static void come_in(plain_exchange *own, incoming *in, bool may_rest, plain_told *told)
{
    while (in->order.remaining > 0 && would_trade(own, in)) {
        uint32_t at = next_of(own, 0, in->order.symbol, !in->order.buys);
        bool self = own->orders[at].client == in->order.client;
        if (self && own->self_trade == BOOK_SELF_TRADE_CANCEL_TAKING) {
            told->self_trade = true;
            break;
        }
        if (self && own->self_trade == BOOK_SELF_TRADE_CANCEL_RESTING) {
            told->gone[told->gone_count++] = own->orders[at];
            take_out(own, at);
            continue;
        }
        trade(own, in, at, told);
    }
    told->remaining = in->order.remaining;
    told->rests = in->order.remaining > 0 && may_rest && !told->self_trade;
    if (told->rests) {
        in->order.arrival = ++own->arrivals;
        put_in(own, &in->order);
    }
}

static uint16_t fault_of_new(const plain_exchange *own, const exchange_new_order *wire)
{
    const uint8_t tif = wire->time_in_force;
    const bool rests = tif == BOOK_GTC || tif == BOOK_GTD;
    const uint64_t size = baton_le64_get(wire->size), expire_ns = baton_le64_get(wire->expire_ns);
    const uint32_t symbol = baton_le32_get(wire->symbol);
    if (wire->side > 1)
        return BOOK_BAD_SIDE;
    if (size == 0 || size > INT64_MAX)
        return BOOK_BAD_SIZE;
    if (tif > BOOK_FOK_BUDGET || (tif != BOOK_GTD && expire_ns != 0))
        return BOOK_BAD_TIME_IN_FORCE;
    if ((wire->flags & EXCHANGE_POST_ONLY) && (!rests || wire->order_type == BOOK_MARKET))
        return BOOK_BAD_TYPE;
    if (wire->order_type == BOOK_MARKET && tif != BOOK_IOC && tif != BOOK_FOK)
        return BOOK_BAD_TYPE;
    if (symbol >= own->symbols)
        return BOOK_UNKNOWN_SYMBOL;
    if (tif == BOOK_GTD && expire_ns <= own->now_ns)
        return BOOK_EXPIRED;
    if (!rests)
        return BOOK_OK;
    if (own->count == own->orders_max)
        return BOOK_ORDERS_FULL;
    if (orders_at(own, symbol, wire->side == BOOK_BUY, (int64_t)baton_le64_get(wire->price)) == 0 &&
        levels(own) == own->levels_max)
        return BOOK_LEVELS_FULL;
    return BOOK_OK;
}

static void new_order(plain_exchange *own, const exchange_new_order *wire, plain_told *told)
{
    const int64_t price = (int64_t)baton_le64_get(wire->price);
    incoming in = {.order = {.client = baton_le64_get(wire->command.client_id),
                             .seq = baton_le64_get(wire->command.client_seq),
                             .symbol = baton_le32_get(wire->symbol),
                             .buys = wire->side == BOOK_BUY,
                             .price = price,
                             .remaining = baton_le64_get(wire->size),
                             .expire_ns = baton_le64_get(wire->expire_ns),
                             .time_in_force = wire->time_in_force},
                   .has_budget = wire->time_in_force == BOOK_FOK_BUDGET,
                   .budget = price};
    in.any_price =
        in.has_budget || (wire->order_type == BOOK_MARKET && wire->side == BOOK_SELL && price == 0);
    told->remaining = in.order.remaining;
    told->outcome = fault_of_new(own, wire);
    if (told->outcome != BOOK_OK)
        return;
    bool all_or_nothing = wire->time_in_force == BOOK_FOK || wire->time_in_force == BOOK_FOK_BUDGET;
    if ((wire->flags & EXCHANGE_POST_ONLY) && would_trade(own, &in))
        told->outcome = BOOK_WOULD_TRADE;
    else if (all_or_nothing && !can_fill(own, &in))
        told->outcome = BOOK_CANT_FILL;
    else
        come_in(own, &in, wire->time_in_force == BOOK_GTC || wire->time_in_force == BOOK_GTD, told);
}

/* ---- commands on a resting order ---- */

static void reduce(plain_exchange *own, uint32_t at, uint64_t by_size, plain_told *told)
{
    plain_order *order = &own->orders[at];
    if (by_size == 0) {
        told->outcome = BOOK_BAD_SIZE;
        told->rests = true;
    } else if (by_size >= order->remaining) {
        take_out(own, at);
    } else {
        order->remaining -= by_size;
        told->remaining = order->remaining;
        told->rests = true;
    }
}

static void replace(plain_exchange *own, uint32_t at, const exchange_replace *wire,
                    plain_told *told)
{
    plain_order *order = &own->orders[at];
    uint64_t whole = baton_le64_get(wire->size);
    if (whole == 0)
        whole = order->filled + order->remaining;
    incoming in = {.order = *order};
    in.order.price = (int64_t)baton_le64_get(wire->price);
    in.order.remaining = whole - order->filled;

    told->rests = true; /* as it was, unless it goes on */
    if (whole > INT64_MAX || whole <= order->filled) {
        told->outcome = BOOK_BAD_SIZE;
        return;
    }
    if (in.order.price == order->price && in.order.remaining <= order->remaining) {
        order->remaining = told->remaining = in.order.remaining;
        return;
    }
    uint32_t left_behind = orders_at(own, order->symbol, order->buys, order->price) - 1;
    if (orders_at(own, order->symbol, order->buys, in.order.price) == 0 &&
        levels(own) == own->levels_max && left_behind > 0) {
        told->outcome = BOOK_LEVELS_FULL;
        return;
    }
    if ((wire->flags & EXCHANGE_POST_ONLY) && would_trade(own, &in)) {
        told->outcome = BOOK_WOULD_TRADE;
        return;
    }
    take_out(own, at);
    come_in(own, &in, true, told);
}

static void change(plain_exchange *own, uint16_t type, const void *body, plain_told *told)
{
    const exchange_cancel *wire = body; /* all three begin like it */
    uint32_t at =
        at_of(own, baton_le64_get(wire->command.client_id), baton_le64_get(wire->order_seq));
    if (at == own->count || own->orders[at].symbol != baton_le32_get(wire->symbol)) {
        told->outcome = BOOK_UNKNOWN_ORDER;
        return;
    }
    told->found = true;
    told->before = own->orders[at];
    told->remaining = told->before.remaining;
    if (type == EXCHANGE_REPLACE)
        replace(own, at, body, told);
    else if (type == EXCHANGE_REDUCE)
        reduce(own, at, baton_le64_get(((const exchange_reduce *)body)->by_size), told);
    else
        reduce(own, at, UINT64_MAX, told);
}

/* ---- time ---- */

static bool due_before(const plain_order *a, const plain_order *b)
{
    return a->expire_ns != b->expire_ns ? a->expire_ns < b->expire_ns : a->arrival < b->arrival;
}

void plain_time(plain_exchange *own, uint64_t now_ns, plain_told *told)
{
    if (now_ns <= own->now_ns)
        return;
    own->now_ns = now_ns;
    for (;;) {
        uint32_t due = own->count;
        for (uint32_t at = 0; at < own->count; at++)
            if (own->orders[at].time_in_force == BOOK_GTD && own->orders[at].expire_ns <= now_ns &&
                (due == own->count || due_before(&own->orders[at], &own->orders[due])))
                due = at;
        if (due == own->count)
            return;
        told->gone[told->gone_count++] = own->orders[due];
        take_out(own, due);
    }
}

void plain_apply(plain_exchange *own, uint16_t type, const void *body, plain_told *told)
{
    told->outcome = BOOK_OK;
    told->filled = told->remaining = 0;
    told->rests = told->self_trade = told->found = false;
    told->trades_count = told->gone_count = 0;
    if (type == EXCHANGE_NEW_ORDER)
        new_order(own, body, told);
    else if (type == EXCHANGE_CLOCK)
        plain_time(own, baton_le64_get(((const exchange_clock *)body)->now_ns), told);
    else
        change(own, type, body, told);
}
