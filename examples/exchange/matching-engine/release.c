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

/* Of baton_engine_resend, and for live trades. 1: no room, they stay in the outbox for now. */
static int send_trades(void *context, const baton_effect *effect)
{
    door_place *feed = context;
    exchange_trades head = {
        .key = {.epoch = baton_le64_put(effect->epoch),
                .seq = baton_le64_put(effect->seq),
                .index = baton_le32_put(effect->index)},
        .trades_count = baton_le32_put(effect->payload_bytes / (uint32_t)sizeof(exchange_trade))};
    if (effect->seq < feed->told_seq ||
        (effect->seq == feed->told_seq && effect->index <= feed->told_index))
        return 0;
    if (!connection_has_room(&feed->stream, (uint32_t)sizeof(head) + effect->payload_bytes))
        return 1;
    connection_queue(&feed->stream, EXCHANGE_TRADES, &head, sizeof(head), effect->payload,
                     effect->payload_bytes);
    feed->told_seq = effect->seq;
    feed->told_index = effect->index;
    return 0;
}

static void release_trades(server *own, const baton_effect *effect)
{
    const exchange_trade *trades = effect->payload;
    for (uint32_t i = 0; i < effect->payload_bytes / sizeof(*trades) && !effect->resent; i++) {
        send_fill(own, &trades[i], false);
        send_fill(own, &trades[i], true);
    }
    door_place *feed = door_named(own->wire.door, own->feed_id);
    if (effect->consumer == MATCHING_ENGINE_FEED && feed != NULL && !feed->behind)
        feed->behind = send_trades(feed, effect) != 0;
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
void server_subscribe(server *own, door_place *place)
{
    const matching_engine *state = baton_engine_state(own->engine);
    if (state->feed_consumer == BATON_CONSUMER_NONE) {
        door_refuse(place, BATON_E_REFUSED,
                    "this engine keeps no trades: start it with --outbox trades");
        return;
    }
    door_place *before = door_named(own->wire.door, own->feed_id);
    if (before != NULL)
        door_refuse(before, BATON_E_REFUSED, "another subscriber has taken over the feed");
    place->consumer = MATCHING_ENGINE_FEED;
    place->behind = true;
    place->told_seq = 0;
    place->told_index = 0;
    server_feed_on(own, place);
}

/* A subscriber that reads slowly is never dropped: the outbox keeps what it has not taken, and
 * stops intake when that is too much. */
void server_feed_on(void *owner, door_place *place)
{
    server *own = owner;
    own->feed_id = place->stream.id; /* also of one that a predecessor passed on */
    place->behind = baton_engine_resend(own->engine, MATCHING_ENGINE_FEED, send_trades, place) != 0;
}
