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

static void release_trades(server *own, const baton_effect *effect)
{
    const exchange_trade *trades = effect->payload;
    for (uint32_t i = 0; i < effect->payload_bytes / sizeof(*trades) && !effect->resent; i++) {
        send_fill(own, &trades[i], false);
        send_fill(own, &trades[i], true);
    }
}

static void release_expired(server *own, const baton_effect *effect)
{
    const exchange_expired *expired = effect->payload;
    for (uint32_t i = 0; i < effect->payload_bytes / sizeof(*expired); i++) {
        connection *to = door_route(own->wire.door, baton_le64_get(expired[i].order.client_id));
        if (to)
            connection_queue(to, EXCHANGE_EXPIRED, &expired[i], sizeof(expired[i]), NULL, 0);
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
    case EFFECT_TRADES:
        release_trades(own, effect);
        break;
    case EFFECT_EXPIRED:
        release_expired(own, effect);
        break;
    }
}
