/* drain/plan.h: what happens between SIGTERM and the end of the process (H1): a state machine with
 * no loop, clock or engine of its own. The caller turns its engine and calls step after each turn.
 *
 *   RUNNING
 *      | begin: intake stops
 *   FINISHING ----------------------------.   what was taken in becomes durable and is released
 *      | all released                     |
 *   SENDING ------------------------------|   the program still sends what was released; a client
 *      | all sent, or half the time over  |   that does not read is given half of the deadline
 *   GRANTING -----------------------------|   the handover record is on its way to the disk: once
 *      | durable         | durable,       |   durable, the next opener may go on
 *      |                 | no snapshot    |
 *   SAVING               | wanted         |   a snapshot: it shortens the next start, and is never
 *      | taken, failed,  |                |   needed
 *      | or no time left |                | deadline, or failure
 *      v                 v                v
 *   CLOSING ----> CLOSED
 *
 * SIGKILL in any state loses nothing acknowledged. A second begin changes nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <baton/status.h>

typedef enum {
    BATON_DRAIN_RUNNING,
    BATON_DRAIN_FINISHING,
    BATON_DRAIN_SENDING,
    BATON_DRAIN_GRANTING,
    BATON_DRAIN_SAVING,
    BATON_DRAIN_CLOSING,
    BATON_DRAIN_CLOSED,
    BATON_DRAIN_STATES,
} baton_drain_state;

typedef enum {
    BATON_DRAIN_SNAPSHOT_NONE,    /* not come to it */
    BATON_DRAIN_SNAPSHOT_OFF,     /* not wanted */
    BATON_DRAIN_SNAPSHOT_CURRENT, /* there is one of this very state, or nothing to take one of */
    BATON_DRAIN_SNAPSHOT_TAKEN,
    BATON_DRAIN_SNAPSHOT_NO_TIME, /* the deadline came first; nothing is lost by that */
    BATON_DRAIN_SNAPSHOT_FAILED,
} baton_drain_snapshot;

/* What the plan asks for; the engine and the program, or a test. */
typedef struct {
    uint64_t (*now_ns)(void *context); /* monotonic */
    void (*stop_intake)(void *context);
    bool (*all_released)(void *context);
    bool (*all_sent)(void *context);
    int (*handover_record)(void *context,
                           baton_error *error); /* queued; a RETRY class: asked again */
    bool (*handover_durable)(void *context);
    /* 1: taken (or there is nothing to take), 0: not finished, asked again; negative: failed. */
    int (*snapshot_step)(void *context, bool *ret_was_current, baton_error *error);
    void (*reached)(void *context, baton_drain_state state,
                    uint64_t since_begin_ns); /* for the log */
    void *context;
} baton_drain_actions;

typedef struct {
    const baton_drain_actions *actions;
    uint64_t deadline_ns; /* from begin to CLOSING */
    bool snapshot_wanted;
    baton_drain_state state;
    uint64_t begun_ns;
    uint64_t reached_ns[BATON_DRAIN_STATES]; /* since begin; valid where reached is true */
    bool reached[BATON_DRAIN_STATES];
    bool all_sent; /* every answer left before the grant */
    bool record_queued;
    bool handover_durable; /* the next opener may go on from exactly here */
    baton_drain_snapshot snapshot;
    int status;        /* 0, BATON_E_TIMEOUT, or what failed: then nothing was handed over */
    baton_error error; /* of status */
    baton_error snapshot_error;
} baton_drain_plan;

void baton_drain_plan_init(baton_drain_plan *plan, const baton_drain_actions *actions,
                           uint64_t deadline_ns, bool snapshot_wanted);
/* False when it had begun before: nothing changes. */
bool baton_drain_plan_begin(baton_drain_plan *plan);
/* Go as far as it goes now. Returns how long the loop may sleep before the next call, UINT64_MAX
 * while RUNNING, 0 from CLOSING on. */
uint64_t baton_drain_plan_step(baton_drain_plan *plan);
/* Until its deadline; it has begun. */
uint64_t baton_drain_plan_left_ns(const baton_drain_plan *plan);
/* The engine broke under the drain: go to CLOSING with this error. */
void baton_drain_plan_fail(baton_drain_plan *plan, const baton_error *error);
/* Everything is closed; status of the close. */
void baton_drain_plan_closed(baton_drain_plan *plan, int status);

const char *baton_drain_state_name(baton_drain_state state);
const char *baton_drain_snapshot_name(baton_drain_snapshot snapshot);
