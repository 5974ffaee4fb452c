/* What comes over links: commands of the order service, reports of the matching engine; each once. */
#include "examples/exchange/risk-engine/apply.h"

#include <string.h>

#include "examples/exchange/clients/commands.h"
#include "examples/exchange/risk-engine/command.h"
#include "examples/exchange/risk-engine/mirror.h"
#include "examples/exchange/risk-engine/settle.h"

/* The cut of this service is its state after this entry. The barrier follows all that went to the matching engine
 * before it, and comes back behind all reports. */
static void begin_barrier(risk_engine *engine, const baton_entry *entry, const void *payload,
                          baton_effects *effects)
{
    exchange_barrier barrier;
    memcpy(&barrier, payload, sizeof(barrier));
    engine->barrier_id = baton_le64_get(barrier.id);
    engine->barrier_seq = entry->seq;
    engine->barrier_under_way = 1;
    barrier.risk_engine_seq = baton_le64_put(entry->seq);
    baton_effect_emit(effects, EXCHANGE_MATCHING_ENGINE, EXCHANGE_BARRIER, &barrier,
                      sizeof(barrier));
}

static void end_barrier(risk_engine *engine, const void *payload)
{
    exchange_barrier barrier;
    memcpy(&barrier, payload, sizeof(barrier));
    if (baton_le64_get(barrier.id) == engine->barrier_id)
        engine->barrier_under_way = 0;
}

static void take(risk_engine *engine, uint16_t source, uint16_t effect_type,
                 const baton_entry *entry, baton_effects *effects)
{
    const uint8_t *payload = (const uint8_t *)entry->payload + sizeof(exchange_linked);
    const uint32_t payload_bytes = entry->payload_bytes - (uint32_t)sizeof(exchange_linked);
    if (source == EXCHANGE_ORDER_SERVICE && effect_type == EXCHANGE_BARRIER)
        begin_barrier(engine, entry, payload, effects);
    else if (source == EXCHANGE_ORDER_SERVICE)
        command_apply(engine, effect_type, payload, payload_bytes, effects);
    else if (effect_type == EXCHANGE_BARRIER)
        end_barrier(engine, payload);
    else
        settle_report(engine, payload);
}

static int apply_resync(risk_engine *engine, const baton_entry *entry, baton_effects *effects)
{
    exchange_resync wish;
    if (!engine->mirrored || entry->payload_bytes != sizeof(wish))
        return BATON_E_INVALID;
    memcpy(&wish, entry->payload, sizeof(wish));
    mirror_page(engine, baton_le32_get(wish.first), effects);
    return 0;
}

int risk_engine_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    risk_engine *engine = state;
    exchange_linked head;
    if (entry->type == EXCHANGE_RESYNC)
        return apply_resync(engine, entry, effects);
    if (entry->type != EXCHANGE_LINKED || entry->payload_bytes < sizeof(head))
        return BATON_E_INVALID;
    memcpy(&head, entry->payload, sizeof(head));
    const uint16_t source = baton_le16_get(head.source);
    const uint16_t effect_type = baton_le16_get(head.effect_type);
    int r = risk_engine_linked(source, effect_type, (const uint8_t *)entry->payload + sizeof(head),
                               entry->payload_bytes - (uint32_t)sizeof(head));
    if (r < 0)
        return r;
    switch (sources_judge(&engine->sources, source, &head.key)) {
    case SOURCE_KNOWN: /* submitted twice: once is enough */
        return 0;
    case SOURCE_WENT_BACK:
    case SOURCE_UNKNOWN:
        return BATON_E_INVALID;
    case SOURCE_NEW:
        break;
    }
    sources_take(&engine->sources, source, &head.key);
    mirror_begin(engine);
    take(engine, source, effect_type, entry, effects);
    mirror_end(engine, effects);
    return 0;
}

static int command_linked(uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    exchange_command command;
    switch (effect_type) {
    case EXCHANGE_NEW_ORDER:
    case EXCHANGE_CANCEL:
    case EXCHANGE_REDUCE:
    case EXCHANGE_REPLACE:
    case EXCHANGE_DEPOSIT:
    case EXCHANGE_WITHDRAW:
    case EXCHANGE_KILL:
    case EXCHANGE_LIMIT:
        return exchange_command_check(effect_type, payload, payload_bytes, &command);
    default:
        return BATON_E_UNKNOWN_TYPE;
    }
}

int risk_engine_linked(uint16_t source, uint16_t effect_type, const void *payload,
                       uint32_t payload_bytes)
{
    if (source != EXCHANGE_ORDER_SERVICE && source != EXCHANGE_MATCHING_ENGINE)
        return BATON_E_INVALID;
    if (effect_type == EXCHANGE_BARRIER)
        return payload_bytes == sizeof(exchange_barrier) ? 0 : BATON_E_INVALID;
    if (source == EXCHANGE_ORDER_SERVICE)
        return command_linked(effect_type, payload, payload_bytes);
    return effect_type == EXCHANGE_REPORT ? exchange_report_check(payload, payload_bytes)
                                          : BATON_E_UNKNOWN_TYPE;
}
