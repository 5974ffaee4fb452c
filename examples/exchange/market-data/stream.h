/* examples/exchange/market-data/stream.h: the messages in their order: a Baton journal in which message n is
 * entry n, the newest of them in memory too, and the books that they make.
 *
 * An effect of the matching engine becomes one group of messages, once (E6): each entry carries the effect's
 * key and its place in the group. A group that a crash has cut is completed when the effect comes again, and
 * must then begin with what is there: so a number never stands for two messages. */
#pragma once

#include <baton/journal.h>

#include "examples/exchange/clients/sources.h"
#include "examples/exchange/market-data/messages.h"
#include "examples/exchange/wire/link.h"

typedef struct stream stream;

/* Recover what is there and be ready. */
BATON_MUST_USE int stream_open(const char *directory, stream **ret_stream, baton_error *error);
/* Makes durable what was taken. NULL is fine. */
void stream_close(stream *own);

/* Of link_options. What can't be is said in the log: then LINK_STOP. */
link_verdict stream_take(void *own, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes);
/* Once a turn. BATON_E_BROKEN. */
BATON_MUST_USE int stream_turn(stream *own);
/* Everything up to this key is durable, and that was not said yet: it may be confirmed (W1). */
bool stream_confirmed(stream *own, exchange_key *ret_key);

int stream_fd(const stream *own);             /* readable: a turn is due */
uint64_t stream_within_ns(const stream *own); /* so soon a turn is due without it */
uint64_t stream_id(const stream *own);        /* market_packet.stream */
uint64_t stream_durable(const stream *own);   /* messages up to here may be told */
const char *stream_directory(const stream *own);

/* The newest messages; NULL: too old, or not durable. Valid until the next turn. */
const market_message *stream_recent(const stream *own, uint64_t seq);
/* The books, and after which message that is; they may be told when that is durable. */
const levels *stream_books(const stream *own, uint64_t *ret_seq);

/* The message of an entry. BATON_E_DAMAGED: none. */
BATON_MUST_USE int stream_message_of(const baton_entry *entry, market_entry *ret_head,
                                     market_message *ret_message);
