/* examples/exchange/market-data/levels.h: the books as everybody may see them: of each symbol and side the
 * prices at which orders rest, and how much there. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

#include "examples/exchange/market-data/market_data.h"

typedef struct levels levels;

BATON_MUST_USE int levels_create(levels **ret_levels); /* -ENOMEM */
void levels_destroy(levels *own);                      /* NULL is fine */

/* One price becomes this; without orders it goes. -ENOMEM, BATON_E_INVALID (the symbol or the side). */
BATON_MUST_USE int levels_set(levels *own, const market_level *now);
/* An order of this size comes (or goes); or one loses size and stays. BATON_E_INVALID: these books have no such
 * order, so they are not the ones it was said about. */
BATON_MUST_USE int levels_add(levels *own, uint32_t symbol, uint8_t side, int64_t price,
                              uint64_t size);
BATON_MUST_USE int levels_take(levels *own, uint32_t symbol, uint8_t side, int64_t price,
                               uint64_t size, bool order_goes);

market_level levels_get(const levels *own, uint32_t symbol, uint8_t side, int64_t price);
market_top levels_top(const levels *own, uint32_t symbol);
/* What was last told of the top, for who tells only changes. All 0 at first. */
market_top *levels_told(levels *own, uint32_t symbol); /* of a symbol that has had an order */

/* All levels, by symbol, buys before sells; returns how many there are. out may be NULL. */
uint64_t levels_list(const levels *own, market_level *out);
