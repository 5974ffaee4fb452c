/* Effects on their way out: every one is durable by now. */
#include <string.h>

#include "examples/exchange/matching-engine/server_private.h"

static void release_ack(server *own, const baton_effect *effect)
{
    exchange_ack ack;
    memcpy(&ack, effect->payload, sizeof(ack));
    ack.seq = baton_le64_put(effect->seq);
    connection *to = door_route(own->wire.door, baton_le64_get(ack.command.client_id));
    if (to)
        connection_queue(to, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static void send_fill(server *own, const exchange_trade *trade, bool taker)
{
    const exchange_command *order = taker ? &trade->taker : &trade->maker;
    connection *to = door_route(own->wire.door, baton_le64_get(order->client_id));
    if (!to)
        return;
    exchange_fill fill = {.order = *order,
                          .trade_id = trade->trade_id,
                          .price = trade->price,
                          .size = trade->size,
                          .remaining = taker ? trade->taker_remaining : trade->maker_remaining,
                          .is_taker = taker,
                          .side = taker ? trade->taker_side : (uint8_t)!trade->taker_side};
    connection_queue(to, EXCHANGE_FILL, &fill, sizeof(fill), NULL, 0);
}

static void send_expired(server *own, const exchange_gone *gone)
{
    const exchange_expired expired = {.order = gone->order, .remaining = gone->remaining};
    connection *to = door_route(own->wire.door, baton_le64_get(gone->order.client_id));
    if (to)
        connection_queue(to, EXCHANGE_EXPIRED, &expired, sizeof(expired), NULL, 0);
}

/* Clients of the engine's own are told once, from the report of whoever comes first: the lowest consumer, or,
 * without any, nobody. */
static bool tells_clients(const server *own, const baton_effect *effect)
{
    const matching_engine *state = baton_engine_state(own->engine);
    uint32_t first = state->consumers ? (uint32_t)__builtin_ctz(state->consumers) : 0;
    return effect->consumer == first && !effect->resent;
}

static void release_report(server *own, const baton_effect *effect)
{
    const exchange_report *head = effect->payload;
    const void *items = head + 1;
    uint32_t count = baton_le32_get(head->items_count);
    if (!tells_clients(own, effect))
        return;
    if (head->items == EXCHANGE_REPORT_TRADES) {
        for (uint32_t i = 0; i < count; i++) {
            send_fill(own, (const exchange_trade *)items + i, false);
            send_fill(own, (const exchange_trade *)items + i, true);
        }
    } else if (head->items == EXCHANGE_REPORT_GONE) {
        for (uint32_t i = 0; i < count; i++)
            send_expired(own, (const exchange_gone *)items + i);
    }
}

void server_release(void *context, const baton_effect *effect)
{
    server *own = context;
    if (effect->consumer != BATON_CONSUMER_NONE)
        feed_release(&own->wire.feed, effect);
    switch ((matching_engine_effect)effect->type) {
    case EFFECT_ACK:
        release_ack(own, effect);
        break;
    case EFFECT_REPORT:
        release_report(own, effect);
        break;
    case EFFECT_BARRIER:
        break;
    }
}
