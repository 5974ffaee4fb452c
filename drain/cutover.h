/* drain/cutover.h: the active's part in following and handing over: its feeder, the state machine of
 * handover_old.h, and what that asks of the engine and the program. On the engine's loop. */
#pragma once

#include "drain/describe.h"
#include "drain/feeder.h"
#include "drain/handover_old.h"
#include "drain/program.h"

#define BATON_MAX_GAP_NS UINT64_C(250000000)

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
    baton_old_state told_state;
    bool let_go;
} baton_cutover;

/* From here on standbys may connect; one that can't is no reason not to serve: it is logged. door: NULL, or where
 * they may by TCP, as long as the cutover lives. */
void baton_cutover_open(baton_cutover *cutover, const baton_doors *doors, baton_engine *engine,
                        const baton_run_options *options, const baton_instance *instance,
                        baton_peer_door *door, baton_peer_faults *faults);
/* Begin: to is a nonce's text, or NULL when there is one standby only. Refused: BATON_E_REFUSED,
 * BATON_E_NOT_FOUND, BATON_E_LAGGING, ... */
BATON_MUST_USE int baton_cutover_begin(baton_cutover *cutover, const char *to, uint64_t max_gap_ns,
                                       baton_error *error);
void baton_cutover_abort(baton_cutover *cutover, const baton_error *why);
/* After each turn of the engine; how long the loop may sleep. An error: only closing is useful. */
BATON_MUST_USE int baton_cutover_turn(baton_cutover *cutover, uint64_t *ret_sleep_ns,
                                      baton_error *error);
void baton_cutover_close(baton_cutover *cutover); /* before the engine closes */

/* cutover_connections.c: connected sockets stay where they are, and go along with the offer. */
bool baton_cutover_passes_connections(const baton_cutover *cutover);
void baton_cutover_give_connections(baton_cutover *cutover);

/* The try that was done, or is under way. */
json_t *baton_cutover_report(const baton_cutover *cutover);
/* "followers": [...], "handover": {...} or null. */
void baton_cutover_describe(const baton_cutover *cutover, json_t *answer);
