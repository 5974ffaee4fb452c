/* drain/cutover.h: the active's part in following and handing over: its feeder, the state machine of
 * handover_old.h, and what that asks of the engine and the program. On the engine's loop. */
#pragma once

#include "drain/describe.h"
#include "drain/feeder.h"
#include "drain/handover_request.h"
#include "drain/handover_old.h"
#include "drain/partner.h"
#include "drain/program.h"

#define BATON_MAX_GAP_NS      UINT64_C(250000000)
#define BATON_SNAPSHOT_GAP_NS UINT64_C(10000000000)

/* way_back.c */
typedef struct {
    baton_handover_path asked;
    uint64_t snapshot_gap_ns;
    bool older;       /* the standby's version, than this one's */
    bool by_snapshot; /* this try */
    bool again; /* the two differ: the same request is tried through a snapshot, in this turn */
    bool taken; /* the snapshot is there */
    baton_snapshot_info snapshot;
    uint64_t snapshot_ns; /* from intake's stop until it was named */
    char why[300];        /* this path */
} baton_way_back;

typedef struct {
    const baton_doors *doors;
    baton_engine *engine; /* NULL: not open */
    uint64_t epoch;
    baton_feeder *feeder; /* NULL: nobody can follow */
    baton_feeder_options feeder_options;
    baton_place *place;
    uint64_t highest_header; /* of this directory: more than epoch when it is not proven */
    bool found; /* a start that found a grant, or what follows one (R7): nothing serves here */
    bool granted_here; /* the term that ends with the record was begun in this directory */
    bool spoilt; /* a later name is burnt here: the record that was found grants nothing any more */
    uint32_t schema; /* that the feeder knows */
    baton_old_actions actions;
    baton_old old;
    uint64_t peer_id;
    uint8_t peer_nonce[BATON_PEER_NONCE_BYTES];
    baton_partner peer; /* the one that the try is with, or that the grant was to */
    bool peer_cut;      /* its connection ended after the grant */
    uint64_t peer_heard_ns;
    baton_position peer_durable; /* as it was last known */
    bool word;                   /* M11: whoever holds the successor's directory will not act */
    uint64_t word_names;         /* the highest name there */
    uint64_t forced_epoch;       /* the operator has decided for this one (R12) */
    uint64_t owes_peer_id,
        owes_until_ns;    /* leave was given to it: it must hear that before this one ends */
    baton_partner higher; /* it serves in higher_epoch: this one is fenced by it */
    uint64_t higher_epoch;
    baton_position higher_after; /* what stands here behind it, the other one has not */
    bool higher_after_known;
    uint64_t looked_ns; /* for it, since */
    int look_status;    /* why it can't be looked for, as was said; 0: it can */
    uint64_t try_number;
    uint64_t level_seq, level_ns; /* since when the standby is waited for to have that */
    uint64_t gap_ns;              /* of the one that was done, until M8 */
    uint32_t connections_passed;  /* with the offer (R10) */
    uint32_t connections_left;    /* that did not fit: their clients connect again */
    baton_way_back way;
    baton_old_state told_state;
    bool let_go;
} baton_cutover;

/* From here on standbys may connect; one that can't is no reason not to serve: it is logged. door: NULL, or where
 * they may by TCP, as long as the cutover lives. */
void baton_cutover_open(baton_cutover *cutover, const baton_doors *doors, baton_engine *engine,
                        const baton_run_options *options, const baton_instance *instance,
                        baton_place *place, baton_peer_door *door, baton_peer_faults *faults);
/* Instead, for a start that may not begin a term by itself (R7): the engine is a standby, whose directory
 * has this highest header. partner: as baton_partner_read. */
void baton_cutover_found(baton_cutover *cutover, const baton_doors *doors, baton_engine *engine,
                         const baton_run_options *options, const baton_instance *instance,
                         baton_place *place, baton_peer_door *door, baton_peer_faults *faults,
                         const baton_partner *partner, uint64_t highest_header);
/* Refused: BATON_E_REFUSED, BATON_E_NOT_FOUND, BATON_E_LAGGING, ... */
BATON_MUST_USE int baton_cutover_begin(baton_cutover *cutover,
                                       const baton_handover_request *request, baton_error *error);
/* cutover_choose.c: to is a nonce's text, or NULL: then there must be one only. */
BATON_MUST_USE int baton_cutover_choose(baton_cutover *cutover, const char *to,
                                        baton_feeder_peer *ret_peer, baton_error *error);
/* Is the request that began it still under way? */
bool baton_cutover_is_under_way(const baton_cutover *cutover);
void baton_cutover_abort(baton_cutover *cutover, const baton_error *why);
/* After each turn of the engine; how long the loop may sleep. An error: only closing is useful. */
BATON_MUST_USE int baton_cutover_turn(baton_cutover *cutover, uint64_t *ret_sleep_ns,
                                      baton_error *error);
/* Fenced, and nobody has to hear more of it. */
bool baton_cutover_may_leave(const baton_cutover *cutover);
void baton_cutover_close(baton_cutover *cutover); /* before the engine closes */

/* ---- cutover.c and cutover_far.c ---- */
void baton_cutover_open_feeder(baton_cutover *cutover);
void baton_cutover_close_feeder(baton_cutover *cutover);
void baton_cutover_on_hello(baton_cutover *cutover, const baton_feeder_message *message);
/* Another instance serves in a higher epoch: intake ends, nothing is answered any more. */
void baton_cutover_fence(baton_cutover *cutover, const baton_partner *by, uint64_t epoch,
                         const baton_peer_place *said);
/* A granted one, in each turn: falling back (R6), by the other LOCK, its word, or force. */
BATON_MUST_USE int baton_cutover_fall_back(baton_cutover *cutover, baton_error *error);

/* cutover_connections.c: connected sockets stay where they are, and go along with the offer. */
bool baton_cutover_passes_connections(const baton_cutover *cutover);
void baton_cutover_give_connections(baton_cutover *cutover);
/* ---- way_back.c ---- */
void baton_way_back_begin(baton_way_back *way, const baton_handover_request *request,
                          const char *standby_version, const char *own_version);
void baton_cutover_try(baton_cutover *cutover, uint64_t max_gap_ns);
/* Once a turn. */
void baton_way_back_again(baton_cutover *cutover);
/* Everything is released: is what the standby takes its state from there? False: not yet. What can't
 * be ends the try. */
bool baton_way_back_is_ready(baton_cutover *cutover);
/* Before M4. */
void baton_way_back_tell(baton_cutover *cutover);
/* The try has ended, and this one serves on: may it be tried the other way? */
void baton_way_back_resumed(baton_cutover *cutover, const baton_error *why);
void baton_way_back_describe(const baton_cutover *cutover, json_t *report);

/* The try that was done, or is under way. */
json_t *baton_cutover_report(const baton_cutover *cutover);
/* "followers": [...], "handover": {...} or null. */
void baton_cutover_describe(const baton_cutover *cutover, json_t *answer);
