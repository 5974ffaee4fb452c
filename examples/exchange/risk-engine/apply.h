/* examples/exchange/risk-engine/apply.h: the deterministic step of the risk engine. */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

int risk_engine_apply(void *state, const baton_entry *entry, baton_effects *effects);
