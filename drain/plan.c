/* drain/plan.c: the SIGTERM plan (H1). The drawing is in plan.h. */
#include "drain/plan.h"

#include <string.h>

#include "base/assert.h"

/* Of the deadline, for clients that are slow to take what was released: they can ask again after
 * a reconnect, so they must not use up the time that the record needs. */
#define SEND_SHARE 2u

/* from -> set of states that may follow */
#define TO(state) (1u << BATON_DRAIN_##state)
static const uint32_t transitions[BATON_DRAIN_STATES] = {
    [BATON_DRAIN_RUNNING] = TO(FINISHING),
    [BATON_DRAIN_FINISHING] = TO(SENDING) | TO(CLOSING),
    [BATON_DRAIN_SENDING] = TO(GRANTING) | TO(CLOSING),
    [BATON_DRAIN_GRANTING] = TO(SAVING) | TO(CLOSING),
    [BATON_DRAIN_SAVING] = TO(CLOSING),
    [BATON_DRAIN_CLOSING] = TO(CLOSED),
    [BATON_DRAIN_CLOSED] = 0,
};
#undef TO

static uint64_t since_begin_ns(const baton_drain_plan *plan)
{
    return plan->actions->now_ns(plan->actions->context) - plan->begun_ns;
}

static void set_state(baton_drain_plan *plan, baton_drain_state state)
{
    baton_assert((transitions[plan->state] & (1u << state)) != 0);
    plan->state = state;
    plan->reached[state] = true;
    plan->reached_ns[state] = since_begin_ns(plan);
    if (plan->actions->reached != NULL)
        plan->actions->reached(plan->actions->context, state, plan->reached_ns[state]);
}

void baton_drain_plan_init(baton_drain_plan *plan, const baton_drain_actions *actions,
                           uint64_t deadline_ns, bool snapshot_wanted)
{
    *plan = (baton_drain_plan){
        .actions = actions, .deadline_ns = deadline_ns, .snapshot_wanted = snapshot_wanted};
}

bool baton_drain_plan_begin(baton_drain_plan *plan)
{
    if (plan->state != BATON_DRAIN_RUNNING)
        return false;
    plan->begun_ns = plan->actions->now_ns(plan->actions->context);
    plan->actions->stop_intake(plan->actions->context);
    set_state(plan, BATON_DRAIN_FINISHING);
    return true;
}

static void fail_with(baton_drain_plan *plan, const baton_error *error)
{
    plan->status = error->status;
    plan->error = *error;
    set_state(plan, BATON_DRAIN_CLOSING);
}

void baton_drain_plan_fail(baton_drain_plan *plan, const baton_error *error)
{
    if (plan->state == BATON_DRAIN_CLOSING || plan->state == BATON_DRAIN_CLOSED)
        return;
    if (plan->state == BATON_DRAIN_RUNNING) {
        plan->status = error->status; /* no drain to report: the program dies of it */
        plan->error = *error;
        return;
    }
    if (plan->state == BATON_DRAIN_SAVING) { /* the grant stands: only the snapshot is missing */
        plan->snapshot = BATON_DRAIN_SNAPSHOT_FAILED;
        plan->snapshot_error = *error;
        set_state(plan, BATON_DRAIN_CLOSING);
        return;
    }
    fail_with(plan, error);
}

/* Past the deadline without the grant: nothing acknowledged is lost, but the next start is one
 * after a crash. */
static bool give_up_when_late(baton_drain_plan *plan)
{
    baton_error error;
    if (since_begin_ns(plan) < plan->deadline_ns)
        return false;
    baton_error_setf(
        &error, BATON_E_TIMEOUT, "drain",
        "nothing acknowledged is lost, the next start recovers it; look for a slow disk, or "
        "give --drain-deadline more time",
        "its deadline of %llu ms passed in step '%s'",
        (unsigned long long)(plan->deadline_ns / 1000000), baton_drain_state_name(plan->state));
    fail_with(plan, &error);
    return true;
}

static bool step_finishing(baton_drain_plan *plan)
{
    if (!plan->actions->all_released(plan->actions->context))
        return give_up_when_late(plan);
    set_state(plan, BATON_DRAIN_SENDING);
    return true;
}

static bool step_sending(baton_drain_plan *plan)
{
    plan->all_sent = plan->actions->all_sent(plan->actions->context);
    if (!plan->all_sent && since_begin_ns(plan) < plan->deadline_ns / SEND_SHARE)
        return false;
    set_state(plan, BATON_DRAIN_GRANTING);
    return true;
}

static bool step_granting(baton_drain_plan *plan)
{
    baton_error error = {0};
    if (!plan->record_queued) {
        int r = plan->actions->handover_record(plan->actions->context, &error);
        if (r < 0 && baton_status_class(r) != BATON_CLASS_RETRY) {
            error.status = r;
            fail_with(plan, &error);
            return true;
        }
        plan->record_queued = r >= 0;
    }
    if (!plan->record_queued || !plan->actions->handover_durable(plan->actions->context))
        return give_up_when_late(plan);

    plan->handover_durable = true;
    if (plan->snapshot_wanted) {
        set_state(plan, BATON_DRAIN_SAVING);
    } else {
        plan->snapshot = BATON_DRAIN_SNAPSHOT_OFF;
        set_state(plan, BATON_DRAIN_CLOSING);
    }
    return true;
}

static bool step_saving(baton_drain_plan *plan)
{
    bool was_current = false;
    baton_error error = {0};
    int r = plan->actions->snapshot_step(plan->actions->context, &was_current, &error);
    if (r == 0 && since_begin_ns(plan) < plan->deadline_ns)
        return false;

    if (r == 0) {
        plan->snapshot = BATON_DRAIN_SNAPSHOT_NO_TIME;
    } else if (r > 0) {
        plan->snapshot = was_current ? BATON_DRAIN_SNAPSHOT_CURRENT : BATON_DRAIN_SNAPSHOT_TAKEN;
    } else {
        plan->snapshot = BATON_DRAIN_SNAPSHOT_FAILED;
        plan->snapshot_error = error;
        plan->snapshot_error.status = r;
    }
    set_state(plan, BATON_DRAIN_CLOSING);
    return true;
}

static bool step_once(baton_drain_plan *plan)
{
    switch (plan->state) {
    case BATON_DRAIN_FINISHING:
        return step_finishing(plan);
    case BATON_DRAIN_SENDING:
        return step_sending(plan);
    case BATON_DRAIN_GRANTING:
        return step_granting(plan);
    case BATON_DRAIN_SAVING:
        return step_saving(plan);
    case BATON_DRAIN_RUNNING:
    case BATON_DRAIN_CLOSING:
    case BATON_DRAIN_CLOSED:
    case BATON_DRAIN_STATES:
        return false;
    }
    return false;
}

uint64_t baton_drain_plan_step(baton_drain_plan *plan)
{
    while (step_once(plan))
        ;
    if (plan->state == BATON_DRAIN_RUNNING)
        return UINT64_MAX;
    if (plan->state == BATON_DRAIN_CLOSING || plan->state == BATON_DRAIN_CLOSED)
        return 0;

    const uint64_t since = since_begin_ns(plan);
    const uint64_t until =
        plan->state == BATON_DRAIN_SENDING ? plan->deadline_ns / SEND_SHARE : plan->deadline_ns;
    return until > since ? until - since : 0;
}

uint64_t baton_drain_plan_left_ns(const baton_drain_plan *plan)
{
    const uint64_t since_ns = since_begin_ns(plan);
    return since_ns < plan->deadline_ns ? plan->deadline_ns - since_ns : 0;
}

void baton_drain_plan_closed(baton_drain_plan *plan, int status)
{
    if (plan->state != BATON_DRAIN_CLOSING)
        return;
    if (status < 0 && plan->status == 0) {
        plan->status = status;
        baton_error_set(&plan->error, status, "close", NULL,
                        "nothing acknowledged is lost; the next start recovers it");
    }
    set_state(plan, BATON_DRAIN_CLOSED);
}

const char *baton_drain_state_name(baton_drain_state state)
{
    static const char *const names[BATON_DRAIN_STATES] = {
        [BATON_DRAIN_RUNNING] = "running",    [BATON_DRAIN_FINISHING] = "intake stopped",
        [BATON_DRAIN_SENDING] = "finished",   [BATON_DRAIN_GRANTING] = "sent",
        [BATON_DRAIN_SAVING] = "handed over", [BATON_DRAIN_CLOSING] = "closing",
        [BATON_DRAIN_CLOSED] = "closed",
    };
    return names[state];
}

const char *baton_drain_snapshot_name(baton_drain_snapshot snapshot)
{
    switch (snapshot) {
    case BATON_DRAIN_SNAPSHOT_NONE:
        return "not reached";
    case BATON_DRAIN_SNAPSHOT_OFF:
        return "off";
    case BATON_DRAIN_SNAPSHOT_CURRENT:
        return "current";
    case BATON_DRAIN_SNAPSHOT_TAKEN:
        return "taken";
    case BATON_DRAIN_SNAPSHOT_NO_TIME:
        return "no time";
    case BATON_DRAIN_SNAPSHOT_FAILED:
        return "failed";
    }
    return "unknown";
}
