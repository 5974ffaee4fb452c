/* examples/exchange/wire/feed.h: the producer's side of a link (E6), on a socket of the door: who subscribes
 * to a consumer's number gets what that consumer has not confirmed, word for word and in order, then what
 * is new, and confirms. One that reads slowly is never dropped: what it has not taken stays in the outbox,
 * and a full outbox stops intake (BATON_E_LAGGING). */
#pragma once

#include <baton/engine.h>

#include "examples/exchange/wire/door.h"

enum { FEED_OUT_BYTES_MAX = 4 << 20 }; /* what is more stays in the outbox for now */

typedef struct {
    door *door;
    baton_engine *engine;
    uint32_t consumers; /* those that effects are kept for: bit n is number n */
    /* The connection of each; 0: nobody. It may be gone. */
    uint64_t subscribers[BATON_CONSUMERS_MAX + 1];
} feed;

/* From start. */
void feed_start(feed *own, door *at, baton_engine *engine, uint32_t consumers);
/* From release, with every effect that has a consumer. */
void feed_release(feed *own, const baton_effect *effect);
/* Once a turn, before the door's: what was released leaves, the lowest consumer's first. The order service has the lowest
 * number: its clients wait, and a wake-up of anybody else costs them time. */
void feed_send(const feed *own);
/* The role's take and has_room. */
bool feed_take(feed *own, door_place *place, uint16_t type, const void *body, uint32_t body_bytes);
void feed_has_room(feed *own, door_place *place);
