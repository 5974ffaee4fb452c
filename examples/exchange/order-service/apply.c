/* Commands on their way to the risk engine. */
#include "examples/exchange/order-service/apply.h"

#include <string.h>

#include "examples/exchange/clients/commands.h"
#include "examples/exchange/order-service/report.h"

/* Why a command goes no further: it could do nothing there. EXCHANGE_PENDING: it goes on. */
static uint16_t refuse_about(const order_service_state *state, uint64_t client_id,
                             uint64_t order_seq)
{
    if (order_seq == 0 || order_seq > EXCHANGE_CLIENT_SEQ_MAX)
        return BOOK_UNKNOWN_ORDER;
    const order_facts *order = orders_find(state->orders, exchange_order_id(client_id, order_seq));
    if (order != NULL)
        return order_is_over(order) ? EXCHANGE_TOO_LATE : EXCHANGE_PENDING;
    /* Sent, and not here: it has finished long ago, or was refused. */
    return order_seq <= clients_highest_seq(state->clients, client_id) ? EXCHANGE_TOO_LATE
                                                                       : BOOK_UNKNOWN_ORDER;
}

static uint16_t refuse_new(const order_service_state *state, const exchange_new_order *wire)
{
    const uint64_t size = baton_le64_get(wire->size);
    if (size == 0 || size > BOOK_SIZE_MAX)
        return BOOK_BAD_SIZE;
    if (wire->side > BOOK_SELL)
        return BOOK_BAD_SIDE;
    return orders_have_room(state->orders) ? EXCHANGE_PENDING : BOOK_ORDERS_FULL;
}

/* By type; the layouts of the three that name an order begin alike. */
static uint16_t refuse(const order_service_state *state, uint16_t type, const void *body,
                       uint64_t client_id)
{
    exchange_cancel about;
    exchange_new_order order;
    switch (type) {
    case EXCHANGE_NEW_ORDER:
        memcpy(&order, body, sizeof(order));
        return refuse_new(state, &order);
    case EXCHANGE_CANCEL:
    case EXCHANGE_REDUCE:
    case EXCHANGE_REPLACE:
        memcpy(&about, body, sizeof(about));
        return refuse_about(state, client_id, baton_le64_get(about.order_seq));
    default:
        return EXCHANGE_PENDING; /* the risk engine's */
    }
}

static void add_order(order_service_state *state, const exchange_new_order *wire)
{
    const uint64_t client_id = baton_le64_get(wire->command.client_id);
    const uint64_t client_seq = baton_le64_get(wire->command.client_seq);
    const order_facts order = {.order_id = exchange_order_id(client_id, client_seq),
                               .price = (int64_t)baton_le64_get(wire->price),
                               .size = baton_le64_get(wire->size),
                               .remaining = baton_le64_get(wire->size),
                               .expire_ns = baton_le64_get(wire->expire_ns),
                               .symbol = baton_le32_get(wire->symbol),
                               .status = EXCHANGE_ORDER_NEW,
                               .side = wire->side,
                               .time_in_force = wire->time_in_force,
                               .order_type = wire->order_type,
                               .flags = wire->flags};
    orders_add(state->orders, clients_index(state->clients, client_id), &order);
}

static int apply_command(order_service_state *state, const baton_entry *entry,
                         baton_effects *effects)
{
    exchange_command command;
    int r = exchange_command_check(entry->type, entry->payload, entry->payload_bytes, &command);
    if (r < 0)
        return r;
    const uint64_t client_id = baton_le64_get(command.client_id);
    const client_outcome outcome = {.client_seq = baton_le64_get(command.client_seq),
                                    .seq = entry->seq,
                                    .outcome =
                                        refuse(state, entry->type, entry->payload, client_id),
                                    .of_type = entry->type};
    /* Intake asked before it submitted, so a command that is not new, or pushes out one that has no answer,
     * can only be a bug or a foreign journal. */
    if (!clients_have_room(state->clients, client_id) ||
        !clients_remember(state->clients, client_id, &outcome))
        return BATON_E_INVALID;
    if (outcome.outcome == EXCHANGE_PENDING) {
        if (entry->type == EXCHANGE_NEW_ORDER)
            add_order(state, entry->payload);
        baton_effect_emit(effects, EXCHANGE_RISK_ENGINE, entry->type, entry->payload,
                          entry->payload_bytes);
        return 0;
    }
    const exchange_ack ack = {.command = command,
                              .outcome = baton_le16_put(outcome.outcome),
                              .of_type = baton_le16_put(outcome.of_type)};
    baton_effect_emit(effects, BATON_CONSUMER_NONE, EFFECT_ACK, &ack, sizeof(ack));
    return 0;
}

/* The cut of this service is its state after this entry. The barrier follows all that went to the risk engine
 * before it. */
static int apply_barrier(order_service_state *state, const baton_entry *entry,
                         baton_effects *effects)
{
    exchange_barrier barrier;
    if (entry->payload_bytes != sizeof(barrier) || state->barrier_under_way)
        return BATON_E_INVALID;
    memcpy(&barrier, entry->payload, sizeof(barrier));
    state->barrier_id = baton_le64_get(barrier.id);
    state->barrier_seq = entry->seq;
    state->barrier_risk_seq = 0;
    state->barrier_matching_seq = 0;
    state->barrier_under_way = 1;
    barrier.order_service_seq = baton_le64_put(entry->seq);
    baton_effect_emit(effects, EXCHANGE_RISK_ENGINE, EFFECT_BARRIER, &barrier, sizeof(barrier));
    return 0;
}

static int apply_linked(order_service_state *state, const baton_entry *entry,
                        baton_effects *effects)
{
    exchange_linked head;
    if (entry->payload_bytes < sizeof(head))
        return BATON_E_INVALID;
    memcpy(&head, entry->payload, sizeof(head));
    const uint8_t *payload = (const uint8_t *)entry->payload + sizeof(head);
    const uint32_t payload_bytes = entry->payload_bytes - (uint32_t)sizeof(head);
    const uint16_t source = baton_le16_get(head.source);
    const uint16_t effect_type = baton_le16_get(head.effect_type);
    int r = order_service_linked(effect_type, payload, payload_bytes);
    if (r < 0)
        return r;
    switch (sources_judge(&state->sources, source, &head.key)) {
    case SOURCE_KNOWN: /* submitted twice: once is enough */
        return 0;
    case SOURCE_WENT_BACK:
    case SOURCE_UNKNOWN:
        return BATON_E_INVALID;
    case SOURCE_NEW:
        break;
    }
    sources_take(&state->sources, source, &head.key);
    if (effect_type == EXCHANGE_REPORT)
        report_apply(state, payload);
    else
        report_barrier(state, source, payload, effects);
    return 0;
}

int order_service_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    switch (entry->type) {
    case ENTRY_BARRIER:
        return apply_barrier(state, entry, effects);
    case ENTRY_LINKED:
        return apply_linked(state, entry, effects);
    default:
        return apply_command(state, entry, effects);
    }
}

int order_service_linked(uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    if (effect_type == EXCHANGE_REPORT)
        return exchange_report_check(payload, payload_bytes);
    if (effect_type == EXCHANGE_BARRIER)
        return payload_bytes == sizeof(exchange_barrier) ? 0 : BATON_E_INVALID;
    return BATON_E_UNKNOWN_TYPE;
}
