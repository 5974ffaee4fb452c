#include "examples/exchange/risk-engine/cover.h"

#include "examples/exchange/book/invariant.h"
#include "examples/exchange/risk-engine/mirror.h"

risk_asset *risk_asset_of(risk_engine *engine, uint32_t asset_id)
{
    for (uint32_t i = 0; i < engine->assets_count; i++)
        if (engine->assets[i].asset_id == asset_id)
            return &engine->assets[i];
    return NULL;
}

const ledger_pair *cover_pair(const risk_engine *engine, const held_order *order)
{
    return &engine->pairs[order->symbol];
}

ledger_account cover_account(const risk_engine *engine, const held_order *order)
{
    const ledger_pair *pair = cover_pair(engine, order);
    return (ledger_account){.client_id = order->order_id >> 40,
                            .asset_id = order->side == BOOK_BUY ? pair->quote_asset_id
                                                                : pair->base_asset_id};
}

bool cover_amount(const ledger_pair *pair, const held_order *order, uint64_t price, uint64_t size,
                  uint64_t *ret_amount)
{
    *ret_amount = size;
    if (order->side == BOOK_SELL)
        return true;
    if (order->time_in_force == BOOK_FOK_BUDGET)
        size = 1; /* its price is the whole sum */
    return ledger_buy_hold(pair, (int64_t)price, size, ret_amount) == LEDGER_OK;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

bool cover_replaced(const ledger_pair *pair, const held_order *order, uint64_t price, uint64_t size,
                    uint64_t *ret_amount)
{
    uint64_t worst;
    if (order->replaces > 0) { /* several ways to go: each unit at the worst price of all */
        if (!cover_amount(pair, order, larger(order->price_max, price),
                          larger(order->size_max, size), &worst))
            return false;
        *ret_amount = larger(worst, order->held);
        return true;
    }
    if (!cover_amount(pair, order, price, size, &worst))
        return false;
    *ret_amount = larger(worst, order->held);
    if (order->side == BOOK_SELL || size <= order->remaining)
        return true;
    /* All that there is now may trade at the old price before it grows. */
    const unsigned __int128 grown = ((unsigned __int128)order->price * order->remaining +
                                     (unsigned __int128)price * (size - order->remaining)) /
                                    pair->size_unit;
    *ret_amount = larger(*ret_amount, (uint64_t)grown);
    return grown <= UINT64_MAX;
}

static void count_exposure(risk_engine *engine, const held_order *order, uint64_t size_before,
                           uint64_t size_after)
{
    const exposure *was = exposures_find(engine->exposures, order->order_id >> 40, order->symbol);
    book_invariant(was != NULL && was->open[order->side] >= size_before);
    exposure now = *was;
    now.open[order->side] += size_after - size_before;
    mirror_change(engine, was, &now);
}

/* What it holds on with. */
static uint64_t held_on(risk_engine *engine, const held_order *order)
{
    uint64_t needed = 0;
    if (order->remaining == 0)
        return 0;
    if (!cover_is_exact(order))
        return order->held;
    if (cover_amount(cover_pair(engine, order), order, order->price, order->remaining, &needed) &&
        needed <= order->held)
        return needed;
    engine->strays++; /* the book says more than was asked for */
    return order->held;
}

void cover_update(risk_engine *engine, const held_order *order, held_order now)
{
    if (now.remaining >
        now.size_max) { /* more than was ever asked for: what it would need, nobody has judged */
        engine->strays++;
        now.remaining = now.size_max;
    }
    if (now.remaining == 0)
        now.replaces = 0;
    if (now.replaces == 0) {
        now.price_max = now.price;
        now.size_max = now.remaining;
    } else {
        now.size_max = larger(now.size_max, now.remaining);
    }
    const uint64_t needed = held_on(engine, &now);
    if (now.held > needed &&
        ledger_release(engine->ledger, cover_account(engine, &now), now.held - needed) != LEDGER_OK)
        engine->strays++;
    now.held = needed;
    count_exposure(engine, &now, order->size_max, now.size_max);
    holds_change(engine->holds, order, &now);
}
