/* examples/exchange/risk-engine/reconcile.h: is every unit where it must be? */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

/* By what is kept incrementally: per asset what all accounts have is what was paid in; and what reports told that
 * fitted nothing. O(assets). The number of anomalies: 0. */
uint64_t reconcile_kept(const risk_engine *engine);
/* The same from scratch, over all accounts and orders; each account holds what its open orders do; each order holds
 * what it needs; exposures are the sums of orders; the digests are those of what is there. Allocates: UINT64_MAX
 * when there is no memory. */
uint64_t reconcile_full(const risk_engine *engine);
