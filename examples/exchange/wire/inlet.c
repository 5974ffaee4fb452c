#include "examples/exchange/wire/inlet.h"

#include <stdio.h>
#include <string.h>

#include <baton/log.h>

#include "examples/exchange/wire/engine_loop.h"

inlet_verdict inlet_judge(const sources *of, uint16_t source, const exchange_key *key)
{
    switch (sources_judge(of, source, key)) {
    case SOURCE_NEW:
        return INLET_NEW;
    case SOURCE_KNOWN:
        return INLET_KNOWN;
    case SOURCE_WENT_BACK:
    case SOURCE_UNKNOWN:
        break;
    }
    return INLET_WENT_BACK;
}

static void note(inlet *own, const exchange_key *key, uint64_t seq)
{
    own->latest = (inlet_mark){.key = *key, .seq = seq};
}

static link_verdict never(const inlet *own, int status)
{
    baton_log(ERROR, "link.not_an_entry", BATON_LOG_TEXT("producer", own->options.name),
              BATON_LOG_TEXT("why", baton_status_text(status)));
    return LINK_STOP;
}

static link_verdict submit(inlet *own, const exchange_effect *effect, const void *payload,
                           uint32_t payload_bytes)
{
    const exchange_linked head = {.key = effect->key,
                                  .source = baton_le16_put(own->options.source),
                                  .effect_type = effect->effect_type};
    uint64_t seq;
    if (payload_bytes > BATON_EFFECT_BYTES_MAX)
        return never(own, BATON_E_TOO_LARGE);
    memcpy(own->entry, &head, sizeof(head));
    memcpy(own->entry + sizeof(head), payload, payload_bytes); /* aligned now */
    int r = own->options.check(baton_le16_get(effect->effect_type), own->entry + sizeof(head),
                               payload_bytes);
    if (r < 0)
        return never(own, r);
    r = own->options.unhurried
            ? baton_engine_submit_unhurried(own->engine, EXCHANGE_LINKED, own->entry,
                                            (uint32_t)sizeof(head) + payload_bytes, &seq)
            : baton_engine_submit(own->engine, EXCHANGE_LINKED, own->entry,
                                  (uint32_t)sizeof(head) + payload_bytes, &seq);
    if (r == BATON_E_UNKNOWN_TYPE || r == BATON_E_SCHEMA || r == BATON_E_TOO_LARGE)
        return never(own, r);
    if (r < 0)
        return LINK_NO_ROOM; /* FULL, NO_SPACE, LAGGING, SEALED, ...: nothing happened */
    note(own, &effect->key, seq);
    baton_metric_add(own->effects, 1);
    if (own->options.submitted != NULL)
        own->options.submitted(own->options.owner, baton_le16_get(effect->effect_type),
                               own->entry + sizeof(head), payload_bytes);
    return LINK_TAKEN;
}

static link_verdict take(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes)
{
    inlet *own = owner;
    switch (
        own->options.judge(baton_engine_state(own->engine), own->options.source, &effect->key)) {
    case INLET_NEW:
        return submit(own, effect, payload, payload_bytes);
    case INLET_KNOWN:
        /* Its entry is at or below what is applied now. */
        note(own, &effect->key, baton_engine_applied_seq(own->engine));
        baton_metric_add(own->known, 1);
        return LINK_TAKEN;
    case INLET_WENT_BACK:
        break;
    }
    baton_metric_set(own->went_back, 1);
    baton_log(ERROR, "link.went_back", BATON_LOG_TEXT("producer", own->options.name),
              BATON_LOG_NUMBER("epoch", baton_le64_get(effect->key.epoch)),
              BATON_LOG_NUMBER("seq", baton_le64_get(effect->key.seq)));
    return LINK_STOP;
}

static int open_metrics(inlet *own)
{
    baton_metrics *all = baton_engine_metrics(own->engine);
    char label[64];
    snprintf(label, sizeof(label), "source=\"%s\"", own->options.name);
    int r = baton_metrics_gauge(all, "exchange_link_up", label,
                                "The producer's effects come in: 1.", &own->up);
    if (r == 0)
        r = baton_metrics_counter(all, "exchange_link_effects_total", label,
                                  "Effects that became entries.", &own->effects);
    if (r == 0)
        r = baton_metrics_counter(all, "exchange_link_known_total", label,
                                  "Effects that came again, and were dropped.", &own->known);
    if (r == 0)
        r = baton_metrics_gauge(
            all, "exchange_link_went_back", label,
            "The producer's seq went back in a higher epoch, and its link has stopped: 1.",
            &own->went_back);
    return r;
}

int inlet_start(inlet *own, const inlet_options *options, baton_engine *engine)
{
    *own = (inlet){.options = *options, .engine = engine};
    link_start(&own->link,
               &(link_options){.name = options->name,
                               .address = options->address,
                               .consumer = options->consumer,
                               .take = take,
                               .owner = own},
               engine_loop(engine));
    return open_metrics(own);
}

/* One key waits for its entry, and all that come meanwhile are one more: so each is confirmed soon, and none
 * is remembered. */
static void confirm_released(inlet *own)
{
    if (own->options.holds != NULL &&
        own->options.holds(baton_engine_state(own->engine), own->options.source))
        return;
    for (int i = 0; i < 2; i++) {
        if (own->waiting.seq == 0) {
            own->waiting = own->latest;
            own->latest.seq = 0;
        }
        if (own->waiting.seq == 0 || own->waiting.seq > baton_engine_released_seq(own->engine))
            return;
        link_confirm(&own->link, &own->waiting.key);
        own->waiting.seq = 0;
    }
}

void inlet_turn(inlet *own)
{
    confirm_released(own);
    link_turn(&own->link);
    baton_metric_set(own->up, link_is_live(&own->link));
}
