/* examples/exchange/matching-engine/image.h: the matching engine's state as sections, and back. */
#pragma once

#include "examples/exchange/matching-engine/matching_engine.h"

int matching_engine_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer);
int matching_engine_restore(void *state, uint32_t schema, baton_snapshot_reader *reader);
