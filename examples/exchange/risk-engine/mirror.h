/* examples/exchange/risk-engine/mirror.h: tells risk-mirror what becomes of positions, cash, open orders and kill
 * switches (EXCHANGE_EXPOSURES): what each entry changed, as it was before and is after; and, page by page, all that
 * there is. Without `--outbox risk-mirror` nobody is told. */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

/* Around all that an entry does. */
void mirror_begin(risk_engine *engine);
void mirror_end(risk_engine *engine, baton_effects *effects);
/* exposures_change, and a note of it. */
void mirror_change(risk_engine *engine, const exposure *was, const exposure *now);

/* The exposures from that one on, in the order in which they came. They never leave: so one page after the other tells all,
 * whatever changes in between is told, too. */
void mirror_page(risk_engine *engine, uint32_t first, baton_effects *effects);
