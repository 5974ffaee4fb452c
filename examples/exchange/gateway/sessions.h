/* examples/exchange/gateway/sessions.h: what a gateway remembers of its clients, and only for as long as it runs:
 * their commands that have no answer yet, in the order in which they came, and what they have been told. All
 * that must survive is the order service's. Nothing in here knows sockets.
 *
 * A command's way:
 *
 *   taken -- sessions_next, sessions_sent --> sent -- sessions_ack --> answered, and forgotten
 *     ^                                        |
 *     +---- sessions_again: another connection +
 *
 * Bounded: clients_max clients, open_max commands of all, and of one client as many as the order service
 * remembers (EXCHANGE_OUTCOMES_KEPT), counted from its oldest that has no answer: it has no room for one more
 * either. All memory is allocated in sessions_create. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

#include "examples/exchange/protocol.h"

enum { SESSION_COMMAND_BYTES_MAX = 64, SESSION_ROUNDS_PATIENT = 2 };

typedef struct sessions sessions;

typedef struct {
    uint16_t type;
    uint16_t body_bytes;
    uint64_t client_id;
    uint64_t client_seq;
    uint8_t body[SESSION_COMMAND_BYTES_MAX];
} session_command;

typedef struct {
    uint32_t clients_max; /* 1 or more */
    uint32_t open_max;    /* 1 or more */
} sessions_options;

/* -ENOMEM, BATON_E_INVALID. About 800 bytes a client and 100 a command, touched as they come. */
BATON_MUST_USE int sessions_create(const sessions_options *options, sessions **ret_sessions);
void sessions_destroy(sessions *own); /* NULL is fine */

typedef enum {
    SESSION_TAKEN,   /* it is the newest of those that wait to be sent */
    SESSION_OPEN,    /* it was sent before and has no answer yet: one comes */
    SESSION_NO_ROOM, /* show it again when something has been answered */
    SESSION_CLIENTS_FULL,
} session_verdict;
/* A well-formed command, client id and seq in range, up to SESSION_COMMAND_BYTES_MAX. */
session_verdict sessions_take(sessions *own, uint16_t type, const void *body, uint32_t body_bytes);

/* The oldest that has not been sent on this connection; NULL: all are. Then sessions_sent, or sessions_leave. */
const session_command *sessions_next(const sessions *own);
void sessions_sent(sessions *own);
/* The connection is another one: all that has no answer is to be sent again, oldest first. */
void sessions_again(sessions *own);

/* An answer to this command came. True: it is the first since the client asked, and for the client. applied: it
 * says that the command took effect. */
bool sessions_ack(sessions *own, uint64_t client_id, uint64_t client_seq, bool applied);
/* A fill came, trade ids going up. True: the client has not been told of it. One that is forgotten here, because
 * others came after it, is told twice. */
bool sessions_fill(sessions *own, uint64_t client_id, uint64_t trade_id, bool is_taker);

/* What says, sent again, that a client is here, and changes nothing: the last command of it that took effect.
 * Of those clients that have nothing open, one after the other: *cursor begins at 0. NULL: that was the last. */
const session_command *sessions_quiet(const sessions *own, uint32_t *cursor);

/* So that nothing waits for ever: of what was sent SESSION_ROUNDS_PATIENT rounds ago or earlier, one after the other
 * since sessions_round, to be sent again on the same connection. NULL: that was the last. */
void sessions_round(sessions *own);
const session_command *sessions_overdue(sessions *own);

/* A client of an open command is gone, and sends again what has no answer when it comes back: forgets all of that,
 * or some would be sent before older ones, which the order service then never takes. How many there were. */
uint32_t sessions_leave(sessions *own, uint64_t client_id);

uint32_t sessions_count(const sessions *own);
uint32_t sessions_open(const sessions *own);
