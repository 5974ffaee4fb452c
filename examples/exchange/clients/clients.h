/* examples/exchange/clients/clients.h: what the engine remembers of each client, so that a
 * command sent again is answered and not applied again. Bounded: clients_max clients, the last
 * EXCHANGE_OUTCOMES_KEPT outcomes of each. Part of the state. All memory is allocated in
 * clients_create. */
#pragma once

#include <baton/arena.h>
#include <baton/digest.h>

#include "examples/exchange/protocol.h"

typedef struct clients clients;

/* One answered command. */
typedef struct {
    uint64_t client_seq; /* 0: an empty place */
    uint64_t seq;        /* of its entry */
    uint64_t filled;
    uint64_t remaining;
    uint16_t outcome;
    uint16_t of_type;
} client_outcome;

/* For the table of types of a baton_layout. */
extern const baton_layout_type clients_layout;
extern const baton_layout_type client_layout;

typedef struct {
    uint32_t clients_max;
    baton_arena *arena; /* NULL: on the heap */
} clients_options;
BATON_MUST_USE int clients_create(const clients_options *options, clients **ret_clients);
void clients_destroy(clients *table); /* NULL is fine */

typedef enum {
    CLIENT_NEW_COMMAND, /* above everything the client has sent */
    CLIENT_SENT_BEFORE, /* *ret_outcome is its original outcome */
    CLIENT_TOO_OLD,
    CLIENT_NO_ROOM, /* a new client, and the table is full */
} client_verdict;
/* ret_outcome may be NULL. Changes nothing. */
client_verdict clients_judge(const clients *table, uint64_t client_id, uint64_t client_seq,
                             client_outcome *ret_outcome);

/* Remember the outcome of a CLIENT_NEW_COMMAND; forgets the client's oldest when it has
 * EXCHANGE_OUTCOMES_KEPT. False when the verdict is another one: the caller has not asked. */
bool clients_remember(clients *table, uint64_t client_id, const client_outcome *outcome);
/* A command that goes through other services is remembered with EXCHANGE_PENDING, and is answered later. Is
 * there room for one more: or would the client's oldest be forgotten, which has no answer yet? */
bool clients_have_room(const clients *table, uint64_t client_id);
/* Its answer: filled, remaining and outcome. False: no such command is pending. */
bool clients_answer(clients *table, uint64_t client_id, uint64_t client_seq,
                    const client_outcome *answer);
/* Commands of all clients that have no answer yet. */
uint64_t clients_pending(const clients *table);
/* A hint: clients_remember() for this client comes soon. It brings what that will touch nearer, while other work
 * goes on. */
void clients_prepare(const clients *table, uint64_t client_id);
/* The highest client seq seen of it; 0: unknown client. */
uint64_t clients_highest_seq(const clients *table, uint64_t client_id);

/* What a client has traded since volumes are counted (schema 2). Adding for an unknown client is
 * ignored: every party of a trade has sent a command. */
void clients_add_volume(clients *table, uint64_t client_id, uint64_t size);
uint64_t clients_volume(const clients *table, uint64_t client_id);

/* O(1). Over ids, highest seqs and outcomes; volumes apart, since schema 1 does not have them. */
baton_digest clients_digest(const clients *table);
baton_digest clients_volumes_digest(const clients *table);

uint32_t clients_count(const clients *table);
/* Where it stands among them, for ever; CLIENTS_NONE: unknown. */
#define CLIENTS_NONE UINT32_MAX
uint32_t clients_index(const clients *table, uint64_t client_id);
/* In the order in which they came; its outcomes oldest first. For snapshots. */
uint64_t clients_id_at(const clients *table, uint32_t index);
uint32_t clients_outcomes(const clients *table, uint32_t index,
                          client_outcome outcomes[EXCHANGE_OUTCOMES_KEPT]);
