#include "examples/exchange/risk-engine/mirror_feed.h"

#include <baton/log.h>

int mirror_feed_start(mirror_feed *own, baton_engine *engine, uint64_t entries_max)
{
    *own = (mirror_feed){.engine = engine, .entries_max = entries_max};
    return baton_metrics_counter(baton_engine_metrics(engine), "exchange_mirror_let_go_total", NULL,
                                 "How often risk-mirror was too far behind, and was let go of.",
                                 &own->let_go);
}

void mirror_feed_told(mirror_feed *own, const baton_effect *effect)
{
    if (!own->waits)
        own->since_seq = effect->seq;
    own->waits = true;
    own->told = (exchange_key){.epoch = baton_le64_put(effect->epoch),
                               .seq = baton_le64_put(effect->seq),
                               .index = baton_le32_put(effect->index)};
}

void mirror_feed_confirmed(mirror_feed *own, const exchange_key *key)
{
    const uint64_t seq = baton_le64_get(key->seq), told_seq = baton_le64_get(own->told.seq);
    if (seq > own->since_seq)
        own->since_seq = seq;
    if (seq > told_seq ||
        (seq == told_seq && baton_le32_get(key->index) >= baton_le32_get(own->told.index)))
        own->waits = false;
}

static int count_one(void *context, const baton_effect *effect)
{
    mirror_feed_told(context, effect);
    return 0;
}

/* The newest effect that was released for it is confirmed in its place: with that the outbox has room again. */
static void let_go(mirror_feed *own)
{
    const uint64_t seq = baton_le64_get(own->told.seq);
    int r = baton_engine_confirm(own->engine, EXCHANGE_RISK_MIRROR, baton_le64_get(own->told.epoch),
                                 seq, baton_le32_get(own->told.index));
    if (r < 0) /* again at the next tick */
        return;
    baton_log(WARN, "risk_engine.mirror_let_go", BATON_LOG_NUMBER("since_seq", own->since_seq),
              BATON_LOG_NUMBER("up_to_seq", seq),
              BATON_LOG_TEXT("todo", "see after risk-mirror and its Redis; start it with --resync, "
                                     "which fetches everything anew"));
    baton_metric_add(own->let_go, 1);
    own->waits = false;
}

void mirror_feed_tick(mirror_feed *own)
{
    if (own->engine == NULL) /* there is none */
        return;
    if (!own->counted) {
        own->waits = false; /* oldest first */
        own->counted = baton_engine_resend(own->engine, EXCHANGE_RISK_MIRROR, count_one, own) == 0;
    }
    if (own->waits && own->entries_max != 0 &&
        baton_le64_get(own->told.seq) - own->since_seq >= own->entries_max)
        let_go(own);
}
