#include "examples/exchange/matching-engine/apply.h"

#include <stddef.h>
#include <string.h>

#include "examples/exchange/matching-engine/planted.h"

enum {
    TRADES_PER_EFFECT = BATON_EFFECT_BYTES_MAX / sizeof(exchange_trade),
    EXPIRED_PER_EFFECT = BATON_EFFECT_BYTES_MAX / sizeof(exchange_expired),
};
/* An entry may have only so many effects, and one order may hit, or one tick expire, all that rest:
 * so they are gathered. The last effect is the ACK's. */
static_assert(MATCHING_ENGINE_ORDERS_MAX / TRADES_PER_EFFECT + 2 <= BATON_EFFECTS_PER_ENTRY_MAX,
              "one order can trade with every other");
static_assert(MATCHING_ENGINE_ORDERS_MAX / EXPIRED_PER_EFFECT + 2 <= BATON_EFFECTS_PER_ENTRY_MAX,
              "every order can expire at once");

typedef struct {
    matching_engine *engine;
    baton_effects *effects;
    uint32_t count;
    exchange_trade trades[TRADES_PER_EFFECT];
} trade_collector;

static void emit_trades(trade_collector *collector)
{
    if (collector->count == 0)
        return;
    baton_effect_emit(collector->effects, collector->engine->feed_consumer, EFFECT_TRADES,
                      collector->trades, collector->count * (uint32_t)sizeof(exchange_trade));
    collector->count = 0;
}

static void on_fill(void *context, const book_fill *fill)
{
    trade_collector *collector = context;
    matching_engine *engine = collector->engine;
    collector->trades[collector->count++] =
        (exchange_trade){.trade_id = baton_le64_put(fill->trade_id),
                         .maker = exchange_order_name(fill->maker_order_id),
                         .taker = exchange_order_name(fill->taker_order_id),
                         .price = baton_le64_put((uint64_t)fill->price),
                         .size = baton_le64_put(fill->size),
                         .maker_remaining = baton_le64_put(fill->maker_remaining),
                         .taker_remaining = baton_le64_put(fill->taker_remaining),
                         .taker_side = (uint8_t)fill->taker_side};
    if (collector->count == TRADES_PER_EFFECT)
        emit_trades(collector);
    if (engine->features & EXCHANGE_FEATURE_VOLUMES)
        clients_add_volume(engine->clients, fill->maker_client_id, fill->size);
}

typedef struct {
    baton_effects *effects;
    uint32_t count;
    exchange_expired expired[EXPIRED_PER_EFFECT];
} expired_collector;

static void emit_expired(expired_collector *collector)
{
    if (collector->count == 0)
        return;
    baton_effect_emit(collector->effects, BATON_CONSUMER_NONE, EFFECT_EXPIRED, collector->expired,
                      collector->count * (uint32_t)sizeof(exchange_expired));
    collector->count = 0;
}

static void on_expired(void *context, const book_resting *order)
{
    expired_collector *collector = context;
    collector->expired[collector->count++] =
        (exchange_expired){.order = exchange_order_name(order->order_id),
                           .remaining = baton_le64_put(order->remaining)};
    if (collector->count == EXPIRED_PER_EFFECT)
        emit_expired(collector);
}

static void expire(matching_engine *engine, uint64_t now_ns, baton_effects *effects)
{
    expired_collector collector = {.effects = effects};
    book_expire(engine->book, now_ns, on_expired, &collector);
    emit_expired(&collector);
}

/* Remember the outcome for resends and send it out. */
static int answer(matching_engine *engine, const baton_entry *entry,
                  const exchange_command *command, const client_outcome *outcome,
                  baton_effects *effects)
{
    client_outcome kept = *outcome;
    kept.client_seq = baton_le64_get(command->client_seq);
    kept.seq = entry->seq;
    kept.of_type = entry->type;
    /* Intake asked before it submitted, so a command that is not new can only be a bug or a
     * foreign journal. */
    if (!clients_remember(engine->clients, baton_le64_get(command->client_id), &kept))
        return BATON_E_INVALID;
    exchange_ack ack = {.command = *command,
                        .filled = baton_le64_put(kept.filled),
                        .remaining = baton_le64_put(kept.remaining),
                        .outcome = baton_le16_put(kept.outcome),
                        .of_type = baton_le16_put(kept.of_type)};
    baton_effect_emit(effects, BATON_CONSUMER_NONE, EFFECT_ACK, &ack, sizeof(ack));
    return 0;
}

static int apply_new_order(matching_engine *engine, const baton_entry *entry,
                           baton_effects *effects)
{
    const exchange_new_order *wire = entry->payload;
    uint64_t client_id = baton_le64_get(wire->command.client_id);
    book_order order = {.order_id =
                            exchange_order_id(client_id, baton_le64_get(wire->command.client_seq)),
                        .client_id = client_id,
                        .price = (int64_t)baton_le64_get(wire->price),
                        .size = baton_le64_get(wire->size),
                        .expire_ns = baton_le64_get(wire->expire_ns),
                        .side = (book_side)wire->side,
                        .time_in_force = (book_time_in_force)wire->time_in_force};
    if (order.time_in_force == BOOK_GTC && planted_is_under_pressure()) /* in 1.2.0 only */
        order.time_in_force = BOOK_IOC;
    trade_collector collector = {.engine = engine, .effects = effects};
    book_placed placed = {0};
    book_refusal refusal = book_new_order(engine->book, &order, on_fill, &collector, &placed);
    emit_trades(&collector);

    client_outcome outcome = {
        .outcome = (uint16_t)refusal, .filled = placed.filled, .remaining = placed.remaining};
    int r = answer(engine, entry, &wire->command, &outcome, effects);
    /* After answer(), which makes the taker known. */
    if (engine->features & EXCHANGE_FEATURE_VOLUMES)
        clients_add_volume(engine->clients, client_id, placed.filled);
    return r;
}

/* Version 1.1.0 tells an order that has left the book from one that never was, once that is
 * switched on. */
static uint16_t gone_outcome(const matching_engine *engine, uint64_t client_id, uint64_t order_seq,
                             book_refusal refusal)
{
    bool was_sent = order_seq != 0 && order_seq <= clients_highest_seq(engine->clients, client_id);
    if (refusal == BOOK_UNKNOWN_ORDER && was_sent && (engine->features & EXCHANGE_FEATURE_TOO_LATE))
        return EXCHANGE_TOO_LATE;
    return (uint16_t)refusal;
}

/* by_size 0: cancel. */
static int apply_cancel_or_reduce(matching_engine *engine, const baton_entry *entry,
                                  const exchange_command *command, uint64_t order_seq,
                                  const uint64_t *by_size, baton_effects *effects)
{
    uint64_t client_id = baton_le64_get(command->client_id);
    uint64_t order_id = exchange_order_id(client_id, order_seq);
    book_resting before = {0};
    book_refusal refusal = order_seq > EXCHANGE_CLIENT_SEQ_MAX ? BOOK_UNKNOWN_ORDER
                           : by_size ? book_reduce(engine->book, order_id, *by_size, &before)
                                     : book_cancel(engine->book, order_id, &before);
    client_outcome outcome = {.outcome = gone_outcome(engine, client_id, order_seq, refusal),
                              .remaining = refusal == BOOK_OK ? before.remaining : 0};
    return answer(engine, entry, command, &outcome, effects);
}

static int apply_command(matching_engine *engine, const baton_entry *entry, baton_effects *effects)
{
    exchange_command command;
    int r = matching_engine_command(entry->type, entry->payload, entry->payload_bytes, &command);
    if (r < 0)
        return r;
    switch ((matching_engine_entry)entry->type) {
    case ENTRY_NEW_ORDER:
        return apply_new_order(engine, entry, effects);
    case ENTRY_CANCEL: {
        const exchange_cancel *cancel = entry->payload;
        return apply_cancel_or_reduce(engine, entry, &command, baton_le64_get(cancel->order_seq),
                                      NULL, effects);
    }
    case ENTRY_REDUCE: {
        const exchange_reduce *reduce = entry->payload;
        uint64_t by_size = baton_le64_get(reduce->by_size);
        return apply_cancel_or_reduce(engine, entry, &command, baton_le64_get(reduce->order_seq),
                                      &by_size, effects);
    }
    case ENTRY_CLOCK: {
        const exchange_clock *clock = entry->payload;
        expire(engine, baton_le64_get(clock->now_ns), effects);
        return answer(engine, entry, &command, &(client_outcome){.outcome = EXCHANGE_DONE},
                      effects);
    }
    case ENTRY_SWITCH: {
        const exchange_switch *turn_on = entry->payload;
        engine->features |= baton_le32_get(turn_on->features);
        return answer(engine, entry, &command, &(client_outcome){.outcome = EXCHANGE_DONE},
                      effects);
    }
    case ENTRY_TICK:
        break;
    }
    return BATON_E_UNKNOWN_TYPE;
}

int matching_engine_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    matching_engine *engine = state;
    if (entry->type != ENTRY_TICK)
        return apply_command(engine, entry, effects);
    if (entry->payload_bytes != 0)
        return BATON_E_INVALID;
    expire(engine, entry->time_ns, effects);
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static size_t command_bytes(uint16_t type)
{
    switch ((matching_engine_entry)type) {
    case ENTRY_NEW_ORDER:
        return sizeof(exchange_new_order);
    case ENTRY_CANCEL:
        return sizeof(exchange_cancel);
    case ENTRY_REDUCE:
        return sizeof(exchange_reduce);
    case ENTRY_CLOCK:
        return sizeof(exchange_clock);
    case ENTRY_SWITCH:
        return sizeof(exchange_switch);
    case ENTRY_TICK:
        break;
    }
    return 0;
}

int matching_engine_command(uint16_t type, const void *body, uint32_t body_bytes,
                            exchange_command *ret_command)
{
    size_t expected = command_bytes(type);
    if (expected == 0)
        return BATON_E_UNKNOWN_TYPE;
    if (body_bytes != expected)
        return BATON_E_INVALID;
    const exchange_new_order *order = body;
    const exchange_switch *turn_on = body;
    if (type == ENTRY_NEW_ORDER && !all_zero(order->zero, sizeof(order->zero)))
        return BATON_E_INVALID;
    if (type == ENTRY_SWITCH &&
        (!all_zero(turn_on->zero, sizeof(turn_on->zero)) ||
         baton_le32_get(turn_on->features) & ~(uint32_t)EXCHANGE_FEATURES_KNOWN))
        return BATON_E_INVALID;

    memcpy(ret_command, body, sizeof(*ret_command));
    uint64_t client_id = baton_le64_get(ret_command->client_id);
    uint64_t client_seq = baton_le64_get(ret_command->client_seq);
    if (client_id == 0 || client_id > EXCHANGE_CLIENT_ID_MAX || client_seq == 0 ||
        client_seq > EXCHANGE_CLIENT_SEQ_MAX)
        return BATON_E_TOO_LARGE;
    return 0;
}
