/* engine/outbox.h: effects that a consumer has not confirmed yet (E6). Part of the state, outside
 * the state digest: filled when an entry is applied, trimmed by confirmations (journaled records),
 * saved with every snapshot. */
#pragma once

#include "engine/effect_queue.h"

/* Place of an effect among those of its service: epochs never decrease with seq, so (seq, index)
 * orders them. */
typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint32_t index;
} baton_effect_key;

typedef struct {
    baton_effect_queue queue;
    baton_effect_key confirmed; /* all 0: nothing */
    baton_effect_key released;  /* the last one that was handed out; all 0: none */
} baton_outbox_consumer;

typedef struct {
    baton_outbox_consumer consumers[BATON_CONSUMERS_MAX]; /* consumer n at n - 1 */
    uint64_t count;
    uint64_t bytes;
    uint32_t resending; /* calls of resend that are walking a queue: trimming waits */
} baton_outbox;

/* A zeroed outbox is an empty one. */
void baton_outbox_fini(baton_outbox *outbox);

/* effect->consumer is 1..BATON_CONSUMERS_MAX. 0 or -ENOMEM. */
BATON_MUST_USE int baton_outbox_add(baton_outbox *outbox, const baton_effect *effect);
/* This effect is being handed out for the first time. */
void baton_outbox_note_released(baton_outbox *outbox, const baton_effect *effect);
/* After a hydrate: the journal holds every entry, so every effect in here counts as released. */
void baton_outbox_all_released(baton_outbox *outbox);

/* May the consumer confirm this key? 1: yes, and it says something new. 0: already confirmed.
 * BATON_E_INVALID: never released to it, or no effect of it has this key. */
BATON_MUST_USE int baton_outbox_check(const baton_outbox *outbox, uint32_t consumer,
                                      baton_effect_key key);
/* Forget everything of this consumer up to the key; also from a replayed record, where an older key
 * changes nothing. */
void baton_outbox_confirm(baton_outbox *outbox, uint32_t consumer, baton_effect_key key);

BATON_MUST_USE int baton_outbox_resend(baton_outbox *outbox, uint32_t consumer,
                                       int (*visit)(void *context, const baton_effect *effect),
                                       void *context);

/* Out of a snapshot, after what is confirmed: the oldest of each consumer first. BATON_E_SCHEMA when
 * it does not come in that order, -ENOMEM. */
BATON_MUST_USE int baton_outbox_put_back(baton_outbox *outbox, const baton_effect *effect);
/* Sections `baton.confirmed` and `baton.outbox`. Errors of pack are sticky in the writer. */
void baton_outbox_pack(const baton_outbox *outbox, baton_snapshot_writer *writer);
/* Into an empty outbox. BATON_E_SCHEMA for rows of another shape, and what the reader says. */
BATON_MUST_USE int baton_outbox_unpack(baton_outbox *outbox, baton_snapshot_reader *reader);
