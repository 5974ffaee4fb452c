#include "examples/exchange/wire/feed.h"

#include <string.h>

void feed_start(feed *own, door *at, baton_engine *engine, uint32_t consumers)
{
    *own = (feed){.door = at, .engine = engine, .consumers = consumers};
}

/* Of baton_engine_resend, and for live effects. 1: no room, they stay in the outbox for now. */
static int send_effect(void *context, const baton_effect *effect)
{
    door_place *place = context;
    const exchange_effect head = {.key = {.epoch = baton_le64_put(effect->epoch),
                                          .seq = baton_le64_put(effect->seq),
                                          .index = baton_le32_put(effect->index)},
                                  .effect_type = baton_le16_put(effect->type),
                                  .consumer = baton_le16_put((uint16_t)effect->consumer)};
    if (effect->seq < place->told_seq ||
        (effect->seq == place->told_seq && effect->index <= place->told_index))
        return 0;
    if (!connection_has_room(&place->stream, (uint32_t)sizeof(head) + effect->payload_bytes))
        return 1;
    connection_queue(&place->stream, EXCHANGE_EFFECT, &head, sizeof(head), effect->payload,
                     effect->payload_bytes);
    place->told_seq = effect->seq;
    place->told_index = effect->index;
    return 0;
}

void feed_release(feed *own, const baton_effect *effect)
{
    door_place *place = door_named(own->door, own->subscribers[effect->consumer]);
    if (place != NULL && !place->behind)
        place->behind = send_effect(place, effect) != 0;
}

void feed_send(const feed *own)
{
    for (uint32_t left = own->consumers; left != 0; left &= left - 1)
        door_send(own->door, own->subscribers[__builtin_ctz(left)]);
}

void feed_has_room(feed *own, door_place *place)
{
    own->subscribers[place->consumer] = place->stream.id; /* a predecessor's, too */
    place->behind = baton_engine_resend(own->engine, place->consumer, send_effect, place) != 0;
}

/* The newest subscriber is the one: an older one has probably lost its connection without knowing. */
static void subscribe(feed *own, door_place *place, const exchange_subscribe *wish)
{
    const uint32_t consumer = baton_le16_get(wish->consumer);
    if (consumer > BATON_CONSUMERS_MAX || (own->consumers & UINT32_C(1) << consumer) == 0) {
        door_refuse(place, BATON_E_REFUSED,
                    "no effects are kept for this consumer here: see --outbox");
        return;
    }
    door_place *before = door_named(own->door, own->subscribers[consumer]);
    if (before != NULL)
        door_refuse(before, BATON_E_REFUSED, "another subscriber has taken over");
    place->consumer = consumer;
    place->told_seq = 0;
    place->told_index = 0;
    feed_has_room(own, place);
}

/* False: the journal has no room for it now. */
static bool confirm(feed *own, door_place *place, const exchange_key *key)
{
    int r = baton_engine_confirm(own->engine, place->consumer, baton_le64_get(key->epoch),
                                 baton_le64_get(key->seq), baton_le32_get(key->index));
    if (r == BATON_E_INVALID)
        door_refuse(place, r, "confirmed an effect that was never sent");
    return r == 0 || r == BATON_E_INVALID;
}

bool feed_take(feed *own, door_place *place, uint16_t type, const void *body, uint32_t body_bytes)
{
    exchange_key key;
    exchange_subscribe wish;
    if (type == EXCHANGE_CONFIRM) {
        if (body_bytes == sizeof(key) && place->consumer != 0) {
            memcpy(&key, body, sizeof(key));
            return confirm(own, place, &key);
        }
        door_refuse(place, BATON_E_INVALID, "CONFIRM needs a key, after SUBSCRIBE");
        return true;
    }
    if (type == EXCHANGE_SUBSCRIBE && body_bytes == sizeof(wish) && place->consumer == 0) {
        memcpy(&wish, body, sizeof(wish));
        subscribe(own, place, &wish);
        return true;
    }
    door_refuse(place, BATON_E_UNKNOWN_TYPE, "the feed takes SUBSCRIBE once, then CONFIRM");
    return true;
}
