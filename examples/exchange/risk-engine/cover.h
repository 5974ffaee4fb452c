/* examples/exchange/risk-engine/cover.h: an open order and the money that is held for it. */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

/* NULL: no pair trades it. */
risk_asset *risk_asset_of(risk_engine *engine, uint32_t asset_id);
const ledger_pair *cover_pair(const risk_engine *engine, const held_order *order);
/* The account that pays. */
ledger_account cover_account(const risk_engine *engine, const held_order *order);

/* What an order of this kind must hold at this price (0 or more) for this size. False: it does not fit. */
BATON_MUST_USE bool cover_amount(const ledger_pair *pair, const held_order *order, uint64_t price,
                                 uint64_t size, uint64_t *ret_amount);
/* What must be held for it while it may become another in the book at any moment, or not: the worst of all ways,
 * some of it trading before. False: it does not fit. */
BATON_MUST_USE bool cover_replaced(const ledger_pair *pair, const held_order *order, uint64_t price,
                                   uint64_t size, uint64_t *ret_amount);

/* False: more may be held than it needs as it is: a replacement is under way, or it buys for a sum of which it has
 * paid some. */
static inline bool cover_is_exact(const held_order *order)
{
    return order->replaces == 0 &&
           (order->side == BOOK_SELL || order->time_in_force != BOOK_FOK_BUDGET);
}

/* now says what has become of it, with held less what was paid: what it no longer needs is released, and its
 * client's exposure follows. */
void cover_update(risk_engine *engine, const held_order *order, held_order now);
