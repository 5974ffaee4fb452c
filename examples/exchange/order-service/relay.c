/* What clients are told. A report is durable with its producer, which keeps it until this service has it durable,
 * too: so its ACK, FILLs and EXPIREDs leave as soon as it is an entry here. After a crash in between it comes
 * again, and they are told again: a client knows an ACK by its client seq, and a FILL by its trade id. */
#include <string.h>

#include "examples/exchange/order-service/server_private.h"

void server_answer(connection *to, const exchange_command *command, const client_outcome *outcome)
{
    const exchange_ack ack = {.command = *command,
                              .seq = baton_le64_put(outcome->seq),
                              .filled = baton_le64_put(outcome->filled),
                              .remaining = baton_le64_put(outcome->remaining),
                              .outcome = baton_le16_put(outcome->outcome),
                              .of_type = baton_le16_put(outcome->of_type)};
    connection_queue(to, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static void send_fill(server *own, const exchange_trade *trade, bool taker)
{
    const exchange_command *order = taker ? &trade->taker : &trade->maker;
    connection *to = door_route(own->wire.door, baton_le64_get(order->client_id));
    if (!to)
        return;
    const exchange_fill fill = {.order = *order,
                                .trade_id = trade->trade_id,
                                .price = trade->price,
                                .size = trade->size,
                                .remaining =
                                    taker ? trade->taker_remaining : trade->maker_remaining,
                                .is_taker = taker,
                                .side = taker ? trade->taker_side : (uint8_t)!trade->taker_side};
    connection_queue(to, EXCHANGE_FILL, &fill, sizeof(fill), NULL, 0);
}

static void send_fills(server *own, const uint8_t *items, uint32_t count)
{
    exchange_trade trade;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&trade, items + i * sizeof(trade), sizeof(trade));
        send_fill(own, &trade, false);
        send_fill(own, &trade, true);
    }
}

static void send_gone(server *own, const uint8_t *items, uint32_t count)
{
    exchange_gone gone;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&gone, items + i * sizeof(gone), sizeof(gone));
        connection *to = door_route(own->wire.door, baton_le64_get(gone.order.client_id));
        const exchange_expired expired = {.order = gone.order, .remaining = gone.remaining};
        if (to)
            connection_queue(to, EXCHANGE_EXPIRED, &expired, sizeof(expired), NULL, 0);
    }
}

/* Its entry is applied: the answer is the one that the state keeps, as for a resend. */
static void send_ack(server *own, const exchange_report *report)
{
    const order_service_state *state = baton_engine_state(own->engine);
    const uint64_t client_id = baton_le64_get(report->command.client_id);
    client_outcome outcome;
    connection *to = door_route(own->wire.door, client_id);
    if (clients_judge(state->clients, client_id, baton_le64_get(report->command.client_seq),
                      &outcome) != CLIENT_SENT_BEFORE)
        return;
    if (own->old_left > 0 && outcome.seq <= own->old_seq) {
        own->old_left--;
        own->old_ticks = 0;
    }
    if (to)
        server_answer(to, &report->command, &outcome);
}

void server_relay(void *owner, uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    server *own = owner;
    exchange_report report;
    (void)payload_bytes; /* checked: exchange_report_check */
    if (effect_type != EXCHANGE_REPORT)
        return;
    memcpy(&report, payload, sizeof(report));
    const uint8_t *items = (const uint8_t *)payload + sizeof(report);
    if (report.items == EXCHANGE_REPORT_TRADES)
        send_fills(own, items, baton_le32_get(report.items_count));
    else if (report.items == EXCHANGE_REPORT_GONE)
        send_gone(own, items, baton_le32_get(report.items_count));
    if (report.flags & EXCHANGE_REPORT_LAST)
        send_ack(own, &report);
}

static void release_ack(server *own, const baton_effect *effect)
{
    exchange_ack ack;
    memcpy(&ack, effect->payload, sizeof(ack));
    ack.seq = baton_le64_put(effect->seq);
    connection *to = door_route(own->wire.door, baton_le64_get(ack.command.client_id));
    if (to)
        connection_queue(to, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static void release_barrier_done(server *own, const baton_effect *effect)
{
    door_place *asker = door_named(own->wire.door, own->barrier_asker);
    if (asker)
        connection_queue(&asker->stream, EXCHANGE_BARRIER_DONE, effect->payload,
                         effect->payload_bytes, NULL, 0);
    own->barrier_asker = 0;
}

void server_release(void *context, const baton_effect *effect)
{
    server *own = context;
    if (effect->consumer != BATON_CONSUMER_NONE)
        feed_release(&own->wire.feed, effect);
    else if (effect->type == EFFECT_ACK)
        release_ack(own, effect);
    else
        release_barrier_done(own, effect);
}
