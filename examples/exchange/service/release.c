/* Effects on their way out: every one is durable by now. */
#include <string.h>

#include "examples/exchange/service/server_private.h"

static void release_ack(server *own, const baton_effect *effect)
{
    exchange_ack ack;
    memcpy(&ack, effect->payload, sizeof(ack));
    ack.seq = baton_le64_put(effect->seq);
    connection *to = server_route(own, baton_le64_get(ack.command.client_id));
    if (to)
        connection_queue(to, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static void send_fill(server *own, const exchange_trade *trade, bool taker)
{
    const exchange_command *order = taker ? &trade->taker : &trade->maker;
    connection *to = server_route(own, baton_le64_get(order->client_id));
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

static int send_trades(void *context, const baton_effect *effect)
{
    connection *to = context;
    exchange_trades head = {
        .key = {.epoch = baton_le64_put(effect->epoch),
                .seq = baton_le64_put(effect->seq),
                .index = baton_le32_put(effect->index)},
        .trades_count = baton_le32_put(effect->payload_bytes / (uint32_t)sizeof(exchange_trade))};
    connection_queue(to, EXCHANGE_TRADES, &head, sizeof(head), effect->payload,
                     effect->payload_bytes);
    return to->failed ? BATON_E_FULL : 0;
}

static void release_trades(server *own, const baton_effect *effect)
{
    const exchange_trade *trades = effect->payload;
    for (uint32_t i = 0; i < effect->payload_bytes / sizeof(*trades) && !effect->resent; i++) {
        send_fill(own, &trades[i], false);
        send_fill(own, &trades[i], true);
    }
    if (effect->consumer != MATCHING_ENGINE_FEED || own->feed_id == 0)
        return;
    client_place *feed = &own->places[own->feed_id % SERVER_CONNECTIONS_MAX];
    send_trades(&feed->stream, effect);
}

static void release_expired(server *own, const baton_effect *effect)
{
    const exchange_expired *expired = effect->payload;
    connection *to = server_route(own, baton_le64_get(expired->order.client_id));
    if (to)
        connection_queue(to, EXCHANGE_EXPIRED, expired, sizeof(*expired), NULL, 0);
}

void server_release(void *context, const baton_effect *effect)
{
    switch ((matching_engine_effect)effect->type) {
    case EFFECT_ACK:
        release_ack(context, effect);
        break;
    case EFFECT_TRADES:
        release_trades(context, effect);
        break;
    case EFFECT_EXPIRED:
        release_expired(context, effect);
        break;
    }
}

/* The newest subscriber is the feed: an older one has probably lost its connection without
 * knowing. */
void server_subscribe(server *own, client_place *place)
{
    const matching_engine *state = baton_engine_state(own->engine);
    if (state->feed_consumer == BATON_CONSUMER_NONE) {
        server_refuse(place, BATON_E_REFUSED,
                      "this engine keeps no trades: start it with --outbox trades");
        return;
    }
    if (own->feed_id != 0)
        server_refuse(&own->places[own->feed_id % SERVER_CONNECTIONS_MAX], BATON_E_REFUSED,
                      "another subscriber has taken over the feed");
    own->feed_id = place->stream.id;
    place->subscribed = true;
    /* A failure shows in the stream: it is closed, and the consumer subscribes again. */
    int r = baton_engine_resend(own->engine, MATCHING_ENGINE_FEED, send_trades, &place->stream);
    if (r < 0)
        place->stream.failed = true;
}
