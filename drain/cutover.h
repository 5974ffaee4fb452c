/* drain/cutover.h: the active's part in following and handing over: its feeder, the state machine of
 * handover_old.h, and what that asks of the engine and the program. On the engine's loop. */
#pragma once

#include "drain/describe.h"
#include "drain/feeder.h"
#include "drain/handover_request.h"
#include "drain/handover_old.h"
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
    uint32_t schema; /* that the feeder knows */
    char directory[4096];
    baton_old_actions actions;
    baton_old old;
    uint64_t peer_id;
    uint8_t peer_nonce[BATON_PEER_NONCE_BYTES];
    char peer_directory[256];
    bool peer_is_remote; /* R12: nothing of its directory can be seen from here */
    char peer_address[BATON_TCP_ADDRESS_TEXT_BYTES];
    bool peer_cut;      /* its connection ended after the grant */
    uint64_t looked_ns; /* for it, since */
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
                        baton_peer_door *door, baton_peer_faults *faults);
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
void baton_cutover_close(baton_cutover *cutover); /* before the engine closes */

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
