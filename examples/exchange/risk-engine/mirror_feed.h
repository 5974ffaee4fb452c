/* examples/exchange/risk-engine/mirror_feed.h: how far risk-mirror is behind. It is a view, and trading does not wait for a
 * view: one that is too far behind is let go of. Then it misses effects, sees so by their numbers, and has to be made anew. */
#pragma once

#include <baton/engine.h>

#include "examples/exchange/protocol.h"

typedef struct {
    baton_engine *engine;
    uint64_t entries_max; /* that it may be behind; 0: as many as the outbox holds */
    bool counted;         /* what an earlier process had told it */
    bool waits;           /* for what was told since since_seq, up to told */
    uint64_t since_seq;
    exchange_key told;
    baton_metric *let_go;
} mirror_feed;

/* -ENOMEM. */
BATON_MUST_USE int mirror_feed_start(mirror_feed *own, baton_engine *engine, uint64_t entries_max);
/* From release, with each effect for it. */
void mirror_feed_told(mirror_feed *own, const baton_effect *effect);
/* It has confirmed. */
void mirror_feed_confirmed(mirror_feed *own, const exchange_key *key);
/* Now and then: lets go of one that is too far behind. */
void mirror_feed_tick(mirror_feed *own);
