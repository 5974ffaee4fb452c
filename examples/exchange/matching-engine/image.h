/* examples/exchange/matching-engine/image.h: the matching engine's state as sections, and back. */
#pragma once

#include "examples/exchange/matching-engine/matching_engine.h"

/* As many as the newest schema of the build has. */
enum { MATCHING_ENGINE_SECTIONS_1 = 5, MATCHING_ENGINE_SECTIONS_2 = 7 };
extern const baton_section matching_engine_sections[];
/* Both deal with the newest schema; of an older one restore finds fewer sections. */
int matching_engine_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer);
int matching_engine_restore(void *state, uint32_t schema, baton_snapshot_reader *reader);
