/* tests/unit/engine_pair.h: two engines of the toy service, each in a directory of its own, and what
 * brings the batches of one to the other. */
#pragma once

#include "tests/unit/engine_fixture.h"

typedef struct {
    engine_fixture *from;
    engine_fixture *to;
    baton_reader *reader;
    uint64_t from_seq; /* of the first batch, for a directory without a journal; 0: the oldest */
    uint64_t batches_count;
} engine_feed;

/* The two, in directories called after `name`; nothing is open. */
void engine_pair_make(engine_fixture *active, engine_fixture *standby, const char *name);
/* Closes them, removes their directories, and lets the service decide well again. */
void engine_pair_remove(engine_fixture *active, engine_fixture *standby);

/* Goes on where `to` stands; from->engine may be running (live) or closed. */
void engine_feed_open(engine_feed *feed, engine_fixture *from, engine_fixture *to);
void engine_feed_close(engine_feed *feed);
/* Up to `most` batches, until there is none at the moment, or an error, which is in to->error. */
int engine_feed_pump(engine_feed *feed, uint64_t most);
/* Until `to` has what `from` calls durable, and it is durable there, too; must work. */
void engine_feed_catch_up(engine_feed *feed);

/* Caught up, and equal in everything: position, chain, state, effects, outbox. */
void engine_pair_assert_equal(engine_feed *feed);

void engine_pair_open_standby(engine_fixture *fixture,
                              const baton_service *service); /* must work */
/* Seal, settle, name the successor, until that is durable. */
void engine_pair_grant(engine_fixture *active, uint8_t nonce);
void engine_pair_promote(engine_fixture *standby, uint64_t epoch); /* must work */

/* Every unconfirmed effect of a consumer, in order, with its payload. */
baton_digest engine_pair_resend_digest(const engine_fixture *fixture, uint32_t consumer,
                                       uint64_t *ret_count);

/* The standby follows the active, which has entries to 500; equal. */
void engine_pair_follow(engine_feed *feed, engine_fixture *active, engine_fixture *standby);
/* Both closed: one writer of every entry, and the chain goes on from the first to the second. */
void engine_pair_assert_one_chain(const engine_fixture *from, const engine_fixture *to);
