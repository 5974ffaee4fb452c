/* drain/handover_old.c: the active's side of a cutover. The drawing is in handover_old.h. */
#include "drain/handover_old.h"

#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"

#define POLL_NS UINT64_C(1000000)

/* from -> set of states that may follow */
#define TO(state) (1u << BATON_OLD_##state)
static const uint32_t transitions[BATON_OLD_STATES] = {
    [BATON_OLD_SERVING] = TO(PREPARING) | TO(GRANTED) | TO(FENCED),
    [BATON_OLD_PREPARING] = TO(STOPPED) | TO(SERVING) | TO(FENCED),
    [BATON_OLD_STOPPED] = TO(OFFERED) | TO(SERVING) | TO(FENCED),
    [BATON_OLD_OFFERED] = TO(SUBMITTED) | TO(SERVING) | TO(FENCED),
    [BATON_OLD_SUBMITTED] = TO(GRANTED) | TO(FENCED),
    [BATON_OLD_GRANTED] = TO(FENCED) | TO(SERVING),
    [BATON_OLD_FENCED] = 0,
};
#undef TO

static uint64_t now(const baton_old *old)
{
    return old->actions->now_ns(old->actions->context);
}

static void set_state(baton_old *old, baton_old_state state)
{
    baton_assert((transitions[old->state] & (1u << state)) != 0 || BATON_BREAK(RESUME_LATE));
    old->state = state;
    old->reached_ns[state] = now(old) - old->begun_ns;
    if (old->actions->reached != NULL)
        old->actions->reached(old->actions->context, state, old->reached_ns[state]);
}

void baton_old_init(baton_old *old, const baton_old_actions *actions)
{
    *old = (baton_old){.actions = actions};
}

/* R3 */
static void resume(baton_old *old, const baton_error *why)
{
    const baton_old_state from = old->state;
    baton_assert((from > BATON_OLD_SERVING && from < BATON_OLD_SUBMITTED) ||
                 BATON_BREAK(RESUME_LATE));
    old->status = why->status;
    old->error = *why;
    set_state(old, BATON_OLD_SERVING);
    old->actions->resume(old->actions->context, from, why);
}

static bool may_resume(const baton_old *old)
{
    return old->state > BATON_OLD_SERVING && old->state < BATON_OLD_SUBMITTED;
}

void baton_old_found(baton_old *old)
{
    old->begun_ns = now(old);
    set_state(old, BATON_OLD_GRANTED);
}

void baton_old_on_higher(baton_old *old)
{
    if (old->state != BATON_OLD_FENCED)
        set_state(old, BATON_OLD_FENCED);
}

bool baton_old_begin(baton_old *old, uint64_t max_gap_ns, uint64_t prepare_ns)
{
    baton_error error;
    if (old->state != BATON_OLD_SERVING)
        return false;
    old->max_gap_ns = max_gap_ns;
    old->prepare_ns = prepare_ns;
    old->begun_ns = now(old);
    old->stopped_ns = 0;
    memset(old->reached_ns, 0, sizeof(old->reached_ns));
    old->ready = old->equal = false;
    old->status = 0;
    old->tries_count++;
    set_state(old, BATON_OLD_PREPARING);
    if (!old->actions->prepare(old->actions->context)) {
        baton_error_set(&error, BATON_E_NOT_FOUND, "handover", "the standby has gone",
                        "look at its log, and begin again when it follows");
        resume(old, &error);
    }
    return true;
}

void baton_old_on_ready(baton_old *old)
{
    if (old->state == BATON_OLD_PREPARING)
        old->ready = true;
}

void baton_old_on_refuse(baton_old *old, const baton_error *why)
{
    if (may_resume(old))
        resume(old, why);
}

void baton_old_on_abort(baton_old *old, const baton_error *why)
{
    if (may_resume(old))
        resume(old, why);
}

void baton_old_on_cut(baton_old *old)
{
    baton_error error;
    if (!may_resume(old))
        return;
    baton_error_set(&error, BATON_E_NOT_FOUND, "handover", "the standby has gone",
                    "look at its log, and begin again when it follows");
    resume(old, &error);
}

const char *baton_points_differ(const baton_engine_point *a, const baton_engine_point *b)
{
    if (BATON_BREAK(NO_DIGEST_COMPARISON))
        return "";
    if (a->seq != b->seq)
        return "the last entry applied";
    if (a->position.epoch != b->position.epoch || a->position.batch != b->position.batch ||
        a->position.seq != b->position.seq || !baton_digest_equal(a->chain, b->chain))
        return "the last batch of the journal";
    if (a->schema != b->schema)
        return "the schema that they are compared by";
    if (!baton_digest_equal(a->state, b->state))
        return "the state digest";
    if (!baton_digest_equal(a->effects, b->effects))
        return "the effect digest";
    return "";
}

/* A mark may have been written since the offer, and be there already. */
static const char *compare(const baton_old *old, const baton_engine_point *answer)
{
    baton_engine_point now_here;
    const char *differs = baton_points_differ(&old->point, answer);
    if (differs[0] != '\0' && answer->position.batch > old->point.position.batch &&
        old->actions->point(old->actions->context, &now_here, NULL) == 0)
        differs = baton_points_differ(&now_here, answer);
    if (differs[0] == '\0' && (answer->durable.epoch != old->point.position.epoch ||
                               answer->durable.batch < old->point.position.batch))
        differs = "what is durable";
    return differs;
}

void baton_old_on_answer(baton_old *old, const baton_engine_point *answer)
{
    baton_error error;
    if (old->state != BATON_OLD_OFFERED)
        return;
    const char *differs = compare(old, answer);
    old->equal = differs[0] == '\0';
    if (old->equal)
        return;
    baton_error_setf(&error, BATON_E_DIVERGED, "handover",
                     "this one serves on; compare the builds with `verify` and `digest`",
                     "the two differ after entry %llu, in %s", (unsigned long long)old->point.seq,
                     differs);
    resume(old, &error);
}

void baton_old_on_taken(baton_old *old)
{
    if (old->state == BATON_OLD_GRANTED)
        set_state(old, BATON_OLD_FENCED);
}

void baton_old_on_fallen_back(baton_old *old, const baton_error *why)
{
    baton_assert(old->state == BATON_OLD_GRANTED);
    old->status = why->status;
    old->error = *why;
    set_state(old, BATON_OLD_SERVING);
}

void baton_old_on_hello(baton_old *old)
{
    if (old->state == BATON_OLD_GRANTED)
        old->actions->grant(old->actions->context);
    else
        baton_old_on_cut(old); /* what was under way on the connection before is lost */
}

static uint64_t gap_ns(const baton_old *old)
{
    return now(old) - old->stopped_ns;
}

/* True when it has given up. */
static bool give_up_when_late(baton_old *old)
{
    baton_error error;
    const bool preparing = old->state == BATON_OLD_PREPARING;
    const uint64_t limit = preparing ? old->prepare_ns : old->max_gap_ns;
    const uint64_t took = preparing ? now(old) - old->begun_ns : gap_ns(old);
    if (took < limit)
        return false;
    baton_error_setf(&error, BATON_E_TIMEOUT, "handover",
                     preparing ? "this one serves on; look at the standby's lag, and at its log"
                               : "this one serves on; look at the standby's lag, or give --max-gap "
                                 "more time",
                     "%llu ms passed in step '%s'", (unsigned long long)(limit / 1000000),
                     baton_old_state_name(old->state));
    resume(old, &error);
    return true;
}

static bool step_preparing(baton_old *old)
{
    if (!old->ready || !old->actions->level(old->actions->context)) {
        (void)give_up_when_late(old);
        return false;
    }
    old->stopped_ns = now(old);
    old->actions->stop_intake(old->actions->context);
    set_state(old, BATON_OLD_STOPPED);
    return true;
}

static bool step_stopped(baton_old *old)
{
    baton_error error = {0};
    if (give_up_when_late(old) || !old->actions->all_released(old->actions->context))
        return false;
    int r = old->actions->point(old->actions->context, &old->point, &error);
    if (r < 0) {
        error.status = r;
        resume(old, &error);
        return false;
    }
    old->actions->offer(old->actions->context, &old->point);
    set_state(old, BATON_OLD_OFFERED);
    return true;
}

/* R2: the last look, in the same turn as the submission. */
static bool step_offered(baton_old *old)
{
    baton_error error = {0};
    if (give_up_when_late(old) || !old->equal)
        return false;
    int r = old->actions->record(old->actions->context, &error);
    if (r < 0 && baton_status_class(r) == BATON_CLASS_RETRY)
        return false;
    if (r < 0) { /* nothing was queued */
        error.status = r;
        resume(old, &error);
        return false;
    }
    set_state(old, BATON_OLD_SUBMITTED);
    return true;
}

static bool step_submitted(baton_old *old)
{
    if (BATON_BREAK(RESUME_LATE) && give_up_when_late(old))
        return false;
    if (!old->actions->record_durable(old->actions->context))
        return false;
    set_state(old, BATON_OLD_GRANTED);
    old->actions->grant(old->actions->context);
    return true;
}

static bool step_once(baton_old *old)
{
    switch (old->state) {
    case BATON_OLD_PREPARING:
        return step_preparing(old);
    case BATON_OLD_STOPPED:
        return step_stopped(old);
    case BATON_OLD_OFFERED:
        return step_offered(old);
    case BATON_OLD_SUBMITTED:
        return step_submitted(old);
    case BATON_OLD_SERVING:
    case BATON_OLD_GRANTED:
    case BATON_OLD_FENCED:
    case BATON_OLD_STATES:
        return false;
    }
    return false;
}

uint64_t baton_old_step(baton_old *old)
{
    while (step_once(old))
        ;
    return may_resume(old) ? POLL_NS : UINT64_MAX;
}

const char *baton_old_state_name(baton_old_state state)
{
    static const char *const names[BATON_OLD_STATES] = {
        [BATON_OLD_SERVING] = "serving",     [BATON_OLD_PREPARING] = "preparing",
        [BATON_OLD_STOPPED] = "stopped",     [BATON_OLD_OFFERED] = "offered",
        [BATON_OLD_SUBMITTED] = "submitted", [BATON_OLD_GRANTED] = "granted",
        [BATON_OLD_FENCED] = "fenced",
    };
    return names[state];
}
