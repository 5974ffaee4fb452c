/* drain/follower.h: the standby's side of following and of a cutover: its connection to the active, the
 * state machine of handover_new.h, and what that asks of the engine. On the engine's loop; what comes
 * is applied there, never more at once than the journal takes. A lost connection is made again, and goes
 * on where the journal here stands. */
#pragma once

#include "drain/bootstrap.h"
#include "drain/bring.h"
#include "drain/connections.h"
#include "drain/describe.h"
#include "drain/handover_new.h"
#include "drain/partner.h"
#include "drain/program.h"

#define LETTERS_MAX 16u

/* What came along for a successor, until the verdict. */
typedef struct {
    baton_passed_fd listeners[BATON_PASSED_FDS_MAX];
    uint32_t listeners_count;
    baton_connections connections;
} baton_passed;

typedef struct {
    baton_peer_outgoing out;
    uint64_t body[BATON_PEER_SHORT_BYTES_MAX / 8];
} follower_letter;

typedef struct baton_follower {
    const baton_doors *doors;
    baton_engine *engine;
    baton_follower_target *target;
    /* The engine is the active now: open sockets, serve. The descriptors are the callee's; the bytes are
     * there during the call. */
    int (*promoted)(void *context, const baton_passed *passed, baton_error *error);
    void *context;

    baton_peer_channel channel; /* fd -1: not connected */
    uint32_t watched;           /* events of it */
    baton_peer_inbox inbox;
    follower_letter letters[LETTERS_MAX];
    uint32_t letters_first, letters_count;
    bool following; /* FOLLOW was sent */
    /* A term was begun here, and is not proven (R7): this one follows whoever serves, and begins anew by the
     * leave of one that is fenced. */
    bool deciding;
    bool asking; /* and has said HELLO to one that does not serve */
    uint64_t connected_ns;
    uint32_t protocol; /* that both speak */
    bool held_back;    /* the journal has no room for the batch that is shown */
    bool more;         /* a turn took as much as a turn may */
    bool ever_followed;
    uint64_t following_since_ns;
    uint64_t prepared_epoch; /* for which the first segment of a term is ready; 0: none */
    uint64_t retry_at_ns;
    uint32_t refusals; /* in a row */
    uint64_t asked_ns; /* told, or looked, while a grant may come */
    uint64_t look_told_ns;
    int look_status;     /* why it could not look, as was said; 0: it could */
    uint64_t told_ns;    /* of the last ACK */
    baton_position told; /* in it */
    uint64_t told_seq;
    uint8_t active_nonce[BATON_PEER_NONCE_BYTES];
    uint64_t active_epoch;  /* of its welcome */
    uint64_t offered_epoch; /* which M4 is to end; it may have no batch yet */
    char active_version[32];
    baton_partner active; /* as its last welcome said */
    uint64_t seen_epoch;  /* the highest that any active spoke of: a lower one is refused */
    uint64_t heard_ns;    /* from it, at last; 0: never */
    baton_position known; /* its end, as the last batch that came */
    uint64_t batches_count;
    baton_error last_refusal; /* of the active, or why there is no connection */
    int fatal;                /* of no use any more */
    baton_error failure;

    baton_new_actions actions;
    baton_new cutover;
    bool by_snapshot; /* this try: its state comes from a snapshot (R13) */
    bool has_snapshot;
    baton_peer_snapshot snapshot;
    bool arrived;
    baton_passed passed;
    bool promoted_done;

    baton_bring bring;      /* snapshots of the active's, while it follows */
    uint64_t bring_at_ns;   /* not before */
    uint64_t brought_seq;   /* what is older was there, and may have been pruned here */
    bool active_has_layout; /* the one of this build */
} baton_follower;

/* The engine is a standby. */
BATON_MUST_USE int baton_follower_open(baton_follower *follower, const baton_doors *doors,
                                       baton_engine *engine, baton_follower_target *target,
                                       baton_error *error);
/* After each turn of the engine. An error: only closing is useful. */
BATON_MUST_USE int baton_follower_turn(baton_follower *follower, baton_error *error);
/* Follow that one from here on: a directory, or a socket. The next turn connects. BATON_E_AGAIN: a
 * handover to this one is under way, and its promise stands. */
BATON_MUST_USE int baton_follower_follow(baton_follower *follower, const char *of,
                                         baton_error *error);
uint64_t baton_follower_sleep_ns(const baton_follower *follower);
void baton_follower_close(baton_follower *follower);
json_t *baton_follower_describe(const baton_follower *follower);

/* ---- shared by follower.c, follower_hear.c and follower_cutover.c ---- */
void baton_follower_say(baton_follower *follower, baton_peer_type type, const void *body,
                        uint32_t bytes);
void baton_follower_hear(baton_follower *follower); /* all that has come, as far as a turn goes */
void baton_follower_cut(baton_follower *follower, const baton_error *why);
void baton_follower_cut_for(baton_follower *follower, int status, const char *why);
/* What came is not to be gone on with: counted, and the active is told. */
void baton_follower_refuse(baton_follower *follower, baton_peer_fault fault,
                           const baton_error *why);
/* This process is of no use any more. */
void baton_follower_fail(baton_follower *follower, int status, const baton_error *why);
void baton_follower_drop_passed(baton_follower *follower);
bool baton_follower_is_named(const baton_follower *follower);
bool baton_follower_is_granted(const baton_follower *follower);
/* follower_snapshots.c: what came is adopted, and what is wanted begins. */
void baton_follower_bring(baton_follower *follower);
void baton_follower_bring_end(baton_follower *follower);
/* follower_way_back.c: a version that decides otherwise (R13). */
/* Digests differ, and what came is in the journal: go on as a copy, or end this process. */
void baton_follower_diverged(baton_follower *follower);
/* May it be the successor this way? BATON_E_DIVERGED. */
BATON_MUST_USE int baton_follower_prepare_state(baton_follower *follower, baton_error *error);
/* M4 has come. 1: there is a state to compare with it; 0: not yet; an error. Blocks while it loads. */
BATON_MUST_USE int baton_follower_arrive(baton_follower *follower, const baton_engine_point *offer,
                                         baton_error *error);
/* Something to say, so that the active does not take a long load for an end. */
void baton_follower_pulse(baton_follower *follower);
extern const baton_new_actions baton_follower_actions; /* without the context */
