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

/* Of baton_engine_resend, and for live trades. 1: no room, they stay in the outbox for now. */
static int send_trades(void *context, const baton_effect *effect)
{
    door_place *feed = context;
    const exchange_report *report = effect->payload;
    if (report->items != EXCHANGE_REPORT_TRADES)
        return 0;
    exchange_trades head = {.key = {.epoch = baton_le64_put(effect->epoch),
                                    .seq = baton_le64_put(effect->seq),
                                    .index = baton_le32_put(effect->index)},
                            .trades_count = baton_le32_put(baton_le32_get(report->items_count))};
    if (effect->seq < feed->told_seq ||
        (effect->seq == feed->told_seq && effect->index <= feed->told_index))
        return 0;
    if (!connection_has_room(&feed->stream, (uint32_t)sizeof(head) + effect->payload_bytes))
        return 1;
    connection_queue(&feed->stream, EXCHANGE_TRADES, &head, sizeof(head), report + 1,
                     effect->payload_bytes - (uint32_t)sizeof(*report));
    feed->told_seq = effect->seq;
    feed->told_index = effect->index;
    return 0;
}

static void release_trades(server *own, const baton_effect *effect)
{
    door_place *feed = door_named(own->wire.door, own->feed_id);
    if (effect->consumer == MATCHING_ENGINE_FEED && feed != NULL && !feed->behind)
        feed->behind = send_trades(feed, effect) != 0;
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
    switch ((matching_engine_effect)effect->type) {
    case EFFECT_ACK:
        release_ack(own, effect);
        break;
    case EFFECT_REPORT:
        release_report(own, effect);
        release_trades(own, effect);
        break;
    case EFFECT_BARRIER:
        break;
    }
}

/* The newest subscriber is the feed: an older one has probably lost its connection without
 * knowing. */
void server_subscribe(server *own, door_place *place)
{
    const matching_engine *state = baton_engine_state(own->engine);
    if ((state->consumers >> MATCHING_ENGINE_FEED & 1) == 0) {
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
