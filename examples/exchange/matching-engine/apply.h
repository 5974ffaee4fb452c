/* examples/exchange/matching-engine/apply.h: the deterministic step of the matching engine. */
#pragma once

#include "examples/exchange/matching-engine/matching_engine.h"

int matching_engine_apply(void *state, const baton_entry *entry, baton_effects *effects);
