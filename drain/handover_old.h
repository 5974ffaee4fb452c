/* drain/handover_old.h: a handover as the active sees it (docs/handover.md, A): a state machine with
 * no loop, socket, engine or clock of its own. The caller tells it what comes, turns its engine, and
 * calls step after each turn.
 *
 *   SERVING <-------------------------------------.
 *      | begin                                    |
 *   PREPARING   M2 sent; clients notice nothing   | timeout, refusal, unequal, cut, abort:
 *      | M3                                       | intake goes on, in the old term (R3)
 *   STOPPED     intake is off; the gap begins     |
 *      | all released                             |
 *   OFFERED     M4 sent ----------------------------'
 *      | M5 equal, and the last look (R2)
 *   SUBMITTED   the record is on its way: no way back, whatever becomes of it (R4)
 *      | durable
 *   GRANTED     M7 sent, and again to the successor whenever it asks
 *      | M8
 *   FENCED      the successor is the authority
 *
 * GRANTED leads back to SERVING, too: when the successor is gone and has begun nothing, or gives its word that it will
 * not (M11), in a new term (R6).
 *
 * FENCED is also come to from any state when another instance turns out to serve in a higher epoch (R12).
 *
 * Whatever ends the process: nothing acknowledged is lost. */
#pragma once

#include <stdbool.h>

#include "engine/run.h"

typedef enum {
    BATON_OLD_SERVING,
    BATON_OLD_PREPARING,
    BATON_OLD_STOPPED,
    BATON_OLD_OFFERED,
    BATON_OLD_SUBMITTED,
    BATON_OLD_GRANTED,
    BATON_OLD_FENCED,
    BATON_OLD_STATES,
} baton_old_state;

typedef struct {
    uint64_t (*now_ns)(void *context); /* monotonic */
    bool (*prepare)(void *context);    /* send M2; false: nobody takes it */
    bool (*level)(void *context);      /* the standby lags less than the gap allows (M1) */
    void (*stop_intake)(void *context);
    bool (*all_released)(void *context); /* everything taken in, and sent or its client is slow */
    int (*point)(void *context, baton_engine_point *ret_point, baton_error *error); /* now */
    void (*offer)(void *context, const baton_engine_point *point);                  /* M4 */
    int (*record)(void *context, baton_error *error); /* M6 queued; a RETRY class: asked again */
    bool (*record_durable)(void *context);
    void (*grant)(void *context); /* M7; also again */
    /* Not to be: M9 to the other, intake goes on. Not called from SERVING, nor from SUBMITTED on. */
    void (*resume)(void *context, baton_old_state from, const baton_error *why);
    void (*reached)(void *context, baton_old_state state, uint64_t since_begin_ns);
    void *context;
} baton_old_actions;

typedef struct {
    const baton_old_actions *actions;
    baton_old_state state;
    uint64_t max_gap_ns;
    uint64_t prepare_ns; /* how long PREPARING may take */
    uint64_t begun_ns;
    uint64_t stopped_ns;                   /* the gap's clock (R1) */
    uint64_t reached_ns[BATON_OLD_STATES]; /* since begin; 0 where it did not come */
    baton_engine_point point;              /* offered */
    bool ready;                            /* M3 has come */
    bool equal;                            /* M5 has come, and equals M4 */
    uint64_t tries_count;
    int status; /* of the last try: 0: it is under way or was done; else why it was not */
    baton_error error;
} baton_old;

void baton_old_init(baton_old *old, const baton_old_actions *actions);
/* False: one is under way, or authority has gone. */
/* A start that found a grant, or a term that was not proven and followed one (R7): GRANTED. */
void baton_old_found(baton_old *old);
bool baton_old_begin(baton_old *old, uint64_t max_gap_ns, uint64_t prepare_ns);
/* Messages of this try, of its standby; in a state where they have no place they change nothing. */
void baton_old_on_ready(baton_old *old);
void baton_old_on_refuse(baton_old *old, const baton_error *why);
void baton_old_on_answer(baton_old *old, const baton_engine_point *answer);
void baton_old_on_taken(baton_old *old);
void baton_old_on_cut(baton_old *old); /* its connection has ended */
void baton_old_on_fallen_back(baton_old *old, const baton_error *why); /* a new term begun: R6 */
void baton_old_on_higher(baton_old *old);                              /* another one serves: R12 */
void baton_old_on_hello(baton_old *old);                               /* it is back: M10 */
void baton_old_on_abort(baton_old *old, const baton_error *why);       /* the operator, a drain */
/* Go as far as it goes now. How long the loop may sleep before the next call; UINT64_MAX: until
 * something comes. */
uint64_t baton_old_step(baton_old *old);
/* Authority may have gone, or has: nothing may be answered any more (R4). */
static inline bool baton_old_is_over(const baton_old *old)
{
    return old->state >= BATON_OLD_SUBMITTED;
}
static inline bool baton_old_is_under_way(const baton_old *old)
{
    return old->state != BATON_OLD_SERVING;
}

const char *baton_old_state_name(baton_old_state state);
/* "" when equal, else what is not. */
const char *baton_points_differ(const baton_engine_point *a, const baton_engine_point *b);
