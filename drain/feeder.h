/* drain/feeder.h: the active's side of following (H2): DIR/handover.sock and a TCP address, and for each standby
 * that connects a thread with a journal reader of its own, which sends what has become durable.
 *
 * The loop that serves clients is never held up: a thread reads the journal as any other process would,
 * and one whose standby takes nothing waits, or drops it; what it has not got yet it gets from the disk
 * when it comes again. The loop wakes threads that sleep, takes their messages, and gives them some.
 *
 * Refused, each with one line to the peer and in the log: another user; another protocol, service or
 * journal, or whatever else of the fingerprint does not fit; one that knows a later epoch; what is no
 * message, or has no place there; one too many. Dropped: who is silent, or takes nothing; the oldest that
 * has not said who it is, where all places are taken; an earlier connection of an instance that comes
 * again. All of it is counted, and the log is not flooded (peer_faults.h). */
#pragma once

#include "drain/connections.h"
#include "drain/fingerprint.h"
#include "drain/partner.h"
#include "drain/peer_door.h"
#include "drain/peer_faults.h"
#include "drain/place.h"

#define BATON_FEEDER_PEERS_MAX 8u

typedef struct baton_feeder baton_feeder;

typedef struct {
    const baton_place *place;      /* the socket is made in its directory */
    const char *journal_directory; /* all of these live as long as the feeder */
    baton_peer_hello fingerprint;  /* without the directory; its schemas: baton_feeder_set_schema */
    baton_position end;            /* baton_feeder_set_end */
    const baton_compatible *compatible;
    baton_peer_faults *faults;
    uint8_t nonce[BATON_PEER_NONCE_BYTES];
    uint64_t epoch;
    uint64_t
        highest_header; /* in it, of its own: more than epoch when a term was begun and not proven */
    bool undecided;     /* opened by one that waits to know whether it may begin a term */
    baton_digest journal_id;
    baton_backend backend;
    baton_peer_door *door; /* NULL: no TCP */
    const baton_peer_security *security;
} baton_feeder_options;

/* A standby, as it is known now. */
typedef struct {
    uint64_t id; /* of the connection; never 0 */
    uint32_t protocol;
    bool outside; /* the window of versions, which only warns */
    uint8_t layout[16];
    bool following;
    baton_partner who; /* far: it gets no descriptors, too */
    char version[32];
    uint64_t highest_header, highest_name; /* there, of its own */
    uint32_t schema_write, schema_read_min;
    baton_position durable; /* there */
    uint64_t applied_seq;
} baton_feeder_peer;

typedef struct {
    uint64_t peer_id;
    bool gone; /* the connection has ended; there is no message */
    baton_peer_header header;
    uint64_t body[BATON_PEER_SHORT_BYTES_MAX / 8]; /* checked */
} baton_feeder_message;

BATON_MUST_USE int baton_feeder_open(const baton_feeder_options *options, baton_feeder **ret_feeder,
                                     baton_error *error);
/* Hangs up on everybody; what was given to send is sent first, if the peer takes it at once. NULL is
 * fine. */
void baton_feeder_close(baton_feeder *feeder);
int baton_feeder_fd(const baton_feeder *feeder); /* readable while next has something */
/* HELLO, FOLLOW (it follows, again), READY, REFUSE, ANSWER, TAKEN, and connections that ended. */
bool baton_feeder_next(baton_feeder *feeder, baton_feeder_message *ret_message);
/* A finalize changes what is written. */
void baton_feeder_set_schema(baton_feeder *feeder, uint32_t pinned, uint32_t finalized);
/* The last batch and the last entry here, as of this turn: who has more can't follow. */
void baton_feeder_set_end(baton_feeder *feeder, baton_position end);
/* Hang up on this one. */
void baton_feeder_drop(baton_feeder *feeder, uint64_t peer_id, const char *why);
/* More may be durable than before: cheap, call it each turn. */
void baton_feeder_wake(baton_feeder *feeder);
/* Queue a message for this connection, behind the batch that is under way. Descriptors are copied.
 * False: it is gone, or takes nothing. */
bool baton_feeder_send(baton_feeder *feeder, uint64_t peer_id, baton_peer_type type,
                       uint64_t try_number, const void *body, uint32_t body_bytes, const int *fds,
                       uint32_t fds_count);
/* This connection's standby, as it is known. False: it is gone. */
bool baton_feeder_peer_get(baton_feeder *feeder, uint64_t peer_id, baton_feeder_peer *ret_peer);
/* From here on nobody is told any more that this instance serves: a grant is out. */
void baton_feeder_set_over(baton_feeder *feeder, bool over);
/* The same for a CONNECTIONS message; true: the parcel is the feeder's. */
bool baton_feeder_send_parcel(baton_feeder *feeder, uint64_t peer_id, uint64_t try_number,
                              baton_parcel *parcel);
uint32_t baton_feeder_peers(baton_feeder *feeder, baton_feeder_peer peers[BATON_FEEDER_PEERS_MAX]);
