/* drain/handover_new.h: a handover as the standby sees it (docs/handover.md, N): a state machine as
 * handover_old.h.
 *
 *   FOLLOWING <------------------------------.
 *      | M2 fits: M3                         | M9; a cut before M5; the active serves on
 *   READY                                    |
 *      | M4, and all of it applied and durable here: M5
 *   ANSWERED   a promise to take the grant --'   a cut ends nothing here: it asks again
 *      | the record is durable in the active's directory, and names this process (R5)
 *   TAKING     the record's batch is durable here, then the header of the next term
 *      |
 *   SERVING    M8
 *
 * TAKING is also come to from each state before it by a leave: the other one is fenced and says so (R7), or
 * the operator has decided (R12).
 *
 * ANSWERED leads back to FOLLOWING also when the active has died and a later name stands in its directory: what this
 * process says of itself from then on (M10 without a try) is its word that it will not act (M11). */
#pragma once

#include <stdbool.h>

#include "engine/run.h"

typedef enum {
    BATON_NEW_FOLLOWING,
    BATON_NEW_READY,
    BATON_NEW_ANSWERED,
    BATON_NEW_TAKING,
    BATON_NEW_SERVING,
    BATON_NEW_STATES,
} baton_new_state;

typedef struct {
    /* Now, by this schema. Its durable position counts, too. */
    int (*point)(void *context, uint32_t schema, baton_engine_point *ret_point, baton_error *error);
    /* Can it write what is pinned, and make its first segment ready? M3 or the refusal is sent by it. */
    int (*prepare)(void *context, uint32_t schema, baton_error *error);
    /* M4 has come: has this one a state to compare? 1: yes. 0: not yet. An error: it can't (R13). NULL: it
     * has. */
    int (*arrive)(void *context, const baton_engine_point *offer, baton_error *error);
    void (*ready)(void *context);
    void (*refuse)(void *context, const baton_error *why);
    void (*answer)(void *context, const baton_engine_point *point); /* M5 */
    bool (*record_here)(void *context); /* the record that names this process is durable here */
    int (*promote)(void *context, baton_error *error); /* BATON_E_AGAIN: asked again */
    void (*taken)(void *context);                      /* it serves now: M8, and again when asked */
    void (*reached)(void *context, baton_new_state state);
    void *context;
} baton_new_actions;

typedef struct {
    const baton_new_actions *actions;
    baton_new_state state;
    uint64_t try_number;
    bool offered; /* M4 has come */
    baton_engine_point offer;
    bool granted; /* R5 holds: M7, or it was found on the disk */
    uint64_t
        epoch;  /* of a term that was not granted by a record: R7, or by force; 0: of the grant */
    int status; /* of a promotion that failed: then this process is of no use */
    baton_error error;
} baton_new;

void baton_new_init(baton_new *own, const baton_new_actions *actions);
void baton_new_on_prepare(baton_new *own, uint64_t try_number, uint32_t schema);
void baton_new_on_final(baton_new *own, uint64_t try_number, const baton_engine_point *offer);
/* M7, or R5 b: what was found under the lock of the dead one. */
void baton_new_on_grant(baton_new *own, uint64_t try_number);
void baton_new_on_abort(baton_new *own, uint64_t try_number); /* M9, or it serves on */
void baton_new_on_cut(baton_new *own);
/* Begin this term without a grant: the other one is fenced (R7), or the operator has decided (R12). False: it
 * is beginning, or serves. */
bool baton_new_on_leave(baton_new *own, uint64_t epoch);
/* After each turn; 0, or the error of a promotion. */
BATON_MUST_USE int baton_new_step(baton_new *own, baton_error *error);

const char *baton_new_state_name(baton_new_state state);
