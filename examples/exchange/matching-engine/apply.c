#include "examples/exchange/matching-engine/apply.h"

#include <stddef.h>
#include <string.h>

#include "examples/exchange/clients/commands.h"
#include "examples/exchange/matching-engine/planted.h"
#include "examples/exchange/matching-engine/report.h"

/* One command under way. */
typedef struct {
    matching_engine *engine;
    baton_effects *effects;
    const baton_entry *entry;
    const void *body;
    uint16_t type;
    bool linked; /* it came from another service, which remembers what its client was told */
    exchange_command command;
    client_outcome outcome;
} step;

/* To a client of the engine's own: remembered for resends, and sent out after the reports. */
static int answer(const step *own)
{
    if (own->linked)
        return 0;
    client_outcome kept = own->outcome;
    kept.client_seq = baton_le64_get(own->command.client_seq);
    kept.seq = own->entry->seq;
    kept.of_type = own->type;
    /* Intake asked before it submitted, so a command that is not new can only be a bug or a
     * foreign journal. */
    if (!clients_remember(own->engine->clients, baton_le64_get(own->command.client_id), &kept))
        return BATON_E_INVALID;
    exchange_ack ack = {.command = own->command,
                        .filled = baton_le64_put(kept.filled),
                        .remaining = baton_le64_put(kept.remaining),
                        .outcome = baton_le16_put(kept.outcome),
                        .of_type = baton_le16_put(kept.of_type)};
    baton_effect_emit(own->effects, BATON_CONSUMER_NONE, EFFECT_ACK, &ack, sizeof(ack));
    return 0;
}

/* ---- new orders ---- */

static book_order order_of(const exchange_new_order *wire)
{
    uint64_t client_id = baton_le64_get(wire->command.client_id);
    return (book_order){
        .order_id = exchange_order_id(client_id, baton_le64_get(wire->command.client_seq)),
        .client_id = client_id,
        .price = (int64_t)baton_le64_get(wire->price),
        .size = baton_le64_get(wire->size),
        .expire_ns = baton_le64_get(wire->expire_ns),
        .symbol = baton_le32_get(wire->symbol),
        .flags = wire->flags,
        .side = (book_side)wire->side,
        .time_in_force = (book_time_in_force)wire->time_in_force,
        .type = (book_order_type)wire->order_type,
    };
}

static exchange_report head_of_order(const exchange_new_order *wire)
{
    return (exchange_report){.command = wire->command,
                             .order_seq = wire->command.client_seq,
                             .price = wire->price,
                             .size = wire->size,
                             .symbol = wire->symbol,
                             .of_type = baton_le16_put(ENTRY_NEW_ORDER),
                             .side = wire->side,
                             .time_in_force = wire->time_in_force};
}

static void say_placed(report *out, const book_placed *placed)
{
    out->head.filled = baton_le64_put(placed->filled);
    out->head.remaining = baton_le64_put(placed->remaining);
    if (placed->rests)
        out->head.flags |= EXCHANGE_REPORT_RESTS;
    if (placed->self_trade)
        out->head.flags |= EXCHANGE_REPORT_SELF_TRADE;
}

static int apply_new_order(step *own)
{
    matching_engine *engine = own->engine;
    const exchange_new_order *wire = own->body;
    const exchange_report head = head_of_order(wire);
    book_order order = order_of(wire);
    if (order.time_in_force == BOOK_GTC && planted_is_under_pressure()) /* in 1.2.0 only */
        order.time_in_force = BOOK_IOC;
    report out;
    report_begin(&out, engine, own->effects, &head);
    const book_events events = report_events(&out);
    book_placed placed = {0};
    book_refusal refusal = book_new_order(engine->book, &order, &events, &placed);
    own->outcome = (client_outcome){
        .outcome = (uint16_t)refusal, .filled = placed.filled, .remaining = placed.remaining};
    out.head.outcome = baton_le16_put((uint16_t)refusal);
    if (refusal == BOOK_OK)
        say_placed(&out, &placed);
    else
        out.head.remaining = wire->size;
    report_end(&out);

    int r = answer(own);
    /* After answer(), which makes the taker known. */
    if (engine->features & EXCHANGE_FEATURE_VOLUMES)
        clients_add_volume(engine->clients, order.client_id, placed.filled);
    return r;
}

/* ---- commands on a resting order ---- */

/* The order's id; 0, which no order has, when the name can't be one. */
static uint64_t named(const step *own, baton_le64 order_seq)
{
    uint64_t seq = baton_le64_get(order_seq);
    return seq == 0 || seq > EXCHANGE_CLIENT_SEQ_MAX
               ? 0
               : exchange_order_id(baton_le64_get(own->command.client_id), seq);
}

/* Version 1.1.0 tells an order that has left the book from one that never was, once that is
 * switched on: to its own clients, whose commands it knows. */
static uint16_t gone_outcome(const step *own, baton_le64 order_seq)
{
    uint64_t seq = baton_le64_get(order_seq);
    uint64_t client_id = baton_le64_get(own->command.client_id);
    bool was_sent =
        !own->linked && seq != 0 && seq <= clients_highest_seq(own->engine->clients, client_id);
    return was_sent && (own->engine->features & EXCHANGE_FEATURE_TOO_LATE) ? EXCHANGE_TOO_LATE
                                                                           : BOOK_UNKNOWN_ORDER;
}

/* What all three have in common: the first fields of each are an exchange_cancel. */
static exchange_report head_of_change(const step *own, const book_resting *before)
{
    const exchange_cancel *wire = own->body;
    exchange_report head = {.command = own->command,
                            .order_seq = wire->order_seq,
                            .symbol = wire->symbol,
                            .of_type = baton_le16_put(own->type)};
    if (before->order_id != 0) {
        head.price = head.price_before = baton_le64_put((uint64_t)before->price);
        head.size = baton_le64_put(before->filled + before->remaining);
        head.remaining = head.remaining_before = baton_le64_put(before->remaining);
        head.side = (uint8_t)before->side;
        head.time_in_force = (uint8_t)before->time_in_force;
    }
    return head;
}

/* The order that the command names, if it rests in the symbol that it names. */
static bool find_named(const step *own, book_place *ret_place, book_resting *ret_before)
{
    const exchange_cancel *wire = own->body;
    if (book_locate(own->engine->book, named(own, wire->order_seq), ret_place, ret_before) &&
        ret_before->symbol == baton_le32_get(wire->symbol))
        return true;
    *ret_before = (book_resting){0};
    return false;
}

static book_refusal cancel_or_reduce(step *own, book_place place, const book_resting *before,
                                     report *out)
{
    uint64_t by_size = before->remaining;
    book_refusal refusal = BOOK_OK;
    if (own->type == ENTRY_REDUCE) {
        const exchange_reduce *wire = own->body;
        by_size = baton_le64_get(wire->by_size);
        refusal = book_reduce_at(own->engine->book, place, by_size);
    } else {
        book_cancel_at(own->engine->book, place);
    }
    if (refusal != BOOK_OK || by_size < before->remaining)
        out->head.flags |= EXCHANGE_REPORT_RESTS;
    if (refusal == BOOK_OK && by_size < before->remaining) {
        out->head.remaining = baton_le64_put(before->remaining - by_size);
        out->head.size = baton_le64_put(before->filled + before->remaining - by_size);
    }
    own->outcome.remaining = refusal == BOOK_OK ? before->remaining : 0;
    return refusal;
}

static book_refusal replace(step *own, book_place place, const book_resting *before, report *out)
{
    const exchange_replace *wire = own->body;
    const book_replacement wish = {.price = (int64_t)baton_le64_get(wire->price),
                                   .size = baton_le64_get(wire->size),
                                   .flags = wire->flags};
    const book_events events = report_events(out);
    book_placed placed = {0};
    if (wish.size != 0)
        out->head.size = wire->size;
    out->head.price = wire->price; /* trades are told before the outcome is known: they are at it */
    book_refusal refusal = book_replace_at(own->engine->book, place, &wish, &events, &placed);
    if (refusal == BOOK_OK) {
        say_placed(out, &placed);
        own->outcome.filled = placed.filled;
        own->outcome.remaining = placed.remaining;
    } else {
        out->head.price = out->head.price_before;
        out->head.size = baton_le64_put(before->filled + before->remaining);
        out->head.flags |= EXCHANGE_REPORT_RESTS;
    }
    return refusal;
}

static int apply_change(step *own)
{
    matching_engine *engine = own->engine;
    const exchange_cancel *wire = own->body;
    book_place place;
    book_resting before;
    bool found = find_named(own, &place, &before);
    const exchange_report head = head_of_change(own, &before);
    report out;
    report_begin(&out, engine, own->effects, &head);
    own->outcome = (client_outcome){0};
    if (!found)
        own->outcome.outcome = gone_outcome(own, wire->order_seq);
    else if (own->type == ENTRY_REPLACE)
        own->outcome.outcome = (uint16_t)replace(own, place, &before, &out);
    else
        own->outcome.outcome = (uint16_t)cancel_or_reduce(own, place, &before, &out);
    out.head.outcome = baton_le16_put(own->outcome.outcome);
    report_end(&out);

    int r = answer(own);
    if (engine->features & EXCHANGE_FEATURE_VOLUMES)
        clients_add_volume(engine->clients, before.client_id, own->outcome.filled);
    return r;
}

/* ---- time, switches, barriers ---- */

static void expire(matching_engine *engine, uint16_t of_type, uint64_t now_ns,
                   baton_effects *effects)
{
    const exchange_report head = {.of_type = baton_le16_put(of_type)};
    report out;
    report_begin(&out, engine, effects, &head);
    const book_events events = report_events(&out);
    if (book_expire(engine->book, now_ns, events.on_gone, events.context) > 0)
        report_end(&out);
}

static int apply_clock(step *own)
{
    const exchange_clock *clock = own->body;
    expire(own->engine, ENTRY_CLOCK, baton_le64_get(clock->now_ns), own->effects);
    own->outcome = (client_outcome){.outcome = EXCHANGE_DONE};
    return answer(own);
}

static int apply_switch(step *own)
{
    const exchange_switch *turn_on = own->body;
    own->engine->features |= baton_le32_get(turn_on->features);
    own->outcome = (client_outcome){.outcome = EXCHANGE_DONE};
    return answer(own);
}

/* Whatever came before it has been dealt with, and its reports are on their way: so is it. */
static void apply_barrier(matching_engine *engine, const baton_entry *entry,
                          exchange_barrier barrier, baton_effects *effects)
{
    engine->barrier_id = baton_le64_get(barrier.id);
    engine->barrier_seq = entry->seq;
    barrier.matching_engine_seq = baton_le64_put(entry->seq);
    for (uint32_t left = engine->consumers; left != 0; left &= left - 1)
        baton_effect_emit(effects, (uint32_t)__builtin_ctz(left), EFFECT_BARRIER, &barrier,
                          sizeof(barrier));
}

/* ---- entries ---- */

static int apply_command(step *own)
{
    switch ((matching_engine_entry)own->type) {
    case ENTRY_NEW_ORDER:
        return apply_new_order(own);
    case ENTRY_CANCEL:
    case ENTRY_REDUCE:
    case ENTRY_REPLACE:
        return apply_change(own);
    case ENTRY_CLOCK:
        return apply_clock(own);
    case ENTRY_SWITCH:
        return apply_switch(own);
    case ENTRY_LINKED:
    case ENTRY_TICK:
        break;
    }
    return BATON_E_UNKNOWN_TYPE;
}

/* What another service sends: once, however often it comes. */
static int apply_linked(matching_engine *engine, const baton_entry *entry, baton_effects *effects)
{
    const exchange_linked *linked = entry->payload;
    if (entry->payload_bytes < sizeof(*linked))
        return BATON_E_INVALID;
    const uint16_t source = baton_le16_get(linked->source);
    switch (sources_judge(&engine->sources, source, &linked->key)) {
    case SOURCE_NEW:
        break;
    case SOURCE_KNOWN:
        return 0;
    case SOURCE_WENT_BACK: /* intake asked: a bug, or a foreign journal */
    case SOURCE_UNKNOWN:
        return BATON_E_INVALID;
    }

    const uint16_t type = baton_le16_get(linked->effect_type);
    const uint32_t body_bytes = entry->payload_bytes - (uint32_t)sizeof(*linked);
    int r = matching_engine_linked(type, linked + 1, body_bytes);
    if (r < 0)
        return r;
    sources_take(&engine->sources, source, &linked->key);
    if (type == EXCHANGE_BARRIER) {
        apply_barrier(engine, entry, *(const exchange_barrier *)(const void *)(linked + 1),
                      effects);
        return 0;
    }
    step own = {.engine = engine,
                .effects = effects,
                .entry = entry,
                .body = linked + 1,
                .type = type,
                .linked = true};
    memcpy(&own.command, own.body, sizeof(own.command));
    return apply_command(&own);
}

/* Which of all commands are the matching engine's. */
static bool takes(uint16_t type)
{
    switch ((matching_engine_entry)type) {
    case ENTRY_NEW_ORDER:
    case ENTRY_CANCEL:
    case ENTRY_REDUCE:
    case ENTRY_REPLACE:
    case ENTRY_CLOCK:
    case ENTRY_SWITCH:
        return true;
    case ENTRY_LINKED:
    case ENTRY_TICK:
        break;
    }
    return false;
}

int matching_engine_command(uint16_t type, const void *body, uint32_t body_bytes,
                            exchange_command *ret_command)
{
    return takes(type) ? exchange_command_check(type, body, body_bytes, ret_command)
                       : BATON_E_UNKNOWN_TYPE;
}

int matching_engine_linked(uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    exchange_command command;
    if (effect_type == EXCHANGE_BARRIER)
        return payload_bytes == sizeof(exchange_barrier) ? 0 : BATON_E_INVALID;
    if (effect_type == ENTRY_CLOCK || effect_type == ENTRY_SWITCH) /* for operators, directly */
        return BATON_E_UNKNOWN_TYPE;
    return matching_engine_command(effect_type, payload, payload_bytes, &command);
}

int matching_engine_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    matching_engine *engine = state;
    if (entry->type == ENTRY_TICK) {
        if (entry->payload_bytes != 0)
            return BATON_E_INVALID;
        expire(engine, ENTRY_TICK, entry->time_ns, effects);
        return 0;
    }
    if (entry->type == ENTRY_LINKED)
        return apply_linked(engine, entry, effects);

    step own = {.engine = engine,
                .effects = effects,
                .entry = entry,
                .body = entry->payload,
                .type = entry->type};
    int r =
        matching_engine_command(entry->type, entry->payload, entry->payload_bytes, &own.command);
    if (r < 0)
        return r;
    clients_prepare(engine->clients, baton_le64_get(own.command.client_id));
    return apply_command(&own);
}
