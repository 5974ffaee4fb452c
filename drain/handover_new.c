/* drain/handover_new.c: the standby's side of a cutover. The drawing is in handover_new.h. */
#include "drain/handover_new.h"

#include "base/assert.h"
#include "base/breakable.h"

#define TO(state) (1u << BATON_NEW_##state)
static const uint32_t transitions[BATON_NEW_STATES] = {
    [BATON_NEW_FOLLOWING] = TO(READY) | TO(TAKING),
    [BATON_NEW_READY] = TO(FOLLOWING) | TO(ANSWERED) | TO(TAKING),
    [BATON_NEW_ANSWERED] = TO(FOLLOWING) | TO(TAKING),
    [BATON_NEW_TAKING] = TO(SERVING),
    [BATON_NEW_SERVING] = 0,
};
#undef TO

static void set_state(baton_new *own, baton_new_state state)
{
    baton_assert((transitions[own->state] & (1u << state)) != 0);
    own->state = state;
    if (own->actions->reached != NULL)
        own->actions->reached(own->actions->context, state);
}

void baton_new_init(baton_new *own, const baton_new_actions *actions)
{
    *own = (baton_new){.actions = actions};
}

static void follow_on(baton_new *own)
{
    own->offered = own->granted = false;
    own->try_number = 0;
    set_state(own, BATON_NEW_FOLLOWING);
}

static void refuse(baton_new *own, int status, baton_error *why)
{
    why->status = status;
    own->actions->refuse(own->actions->context, why);
}

void baton_new_on_prepare(baton_new *own, uint64_t try_number, uint32_t schema)
{
    baton_error error = {0};
    if (own->state == BATON_NEW_READY) /* of a try whose end was lost */
        follow_on(own);
    if (own->state != BATON_NEW_FOLLOWING)
        return;
    own->try_number = try_number;
    int r = own->actions->prepare(own->actions->context, schema, &error);
    if (r < 0) {
        refuse(own, r, &error);
        own->try_number = 0;
        return;
    }
    set_state(own, BATON_NEW_READY);
    own->actions->ready(own->actions->context);
}

void baton_new_on_final(baton_new *own, uint64_t try_number, const baton_engine_point *offer)
{
    if (own->state != BATON_NEW_READY || try_number != own->try_number)
        return;
    own->offer = *offer;
    own->offered = true;
}

void baton_new_on_grant(baton_new *own, uint64_t try_number)
{
    if (own->state == BATON_NEW_ANSWERED && try_number == own->try_number)
        own->granted = true;
    if (own->state == BATON_NEW_SERVING) /* its M8 was lost */
        own->actions->taken(own->actions->context);
}

void baton_new_on_abort(baton_new *own, uint64_t try_number)
{
    if (try_number == own->try_number &&
        (own->state == BATON_NEW_READY || own->state == BATON_NEW_ANSWERED))
        follow_on(own);
}

void baton_new_on_cut(baton_new *own)
{
    if (own->state == BATON_NEW_READY)
        follow_on(own);
}

bool baton_new_on_leave(baton_new *own, uint64_t epoch)
{
    if (own->state >= BATON_NEW_TAKING)
        return false;
    own->epoch = epoch;
    set_state(own, BATON_NEW_TAKING);
    return true;
}

/* Behind the offer it waits; level with it, or past it, it says what it has. */
static bool step_ready(baton_new *own)
{
    baton_error error = {0};
    baton_engine_point point;
    if (!own->offered)
        return false;
    int r = own->actions->arrive != NULL
                ? own->actions->arrive(own->actions->context, &own->offer, &error)
                : 1;
    if (r == 0)
        return false;
    if (r > 0)
        r = own->actions->point(own->actions->context, own->offer.schema, &point, &error);
    if (r < 0) {
        refuse(own, r, &error);
        follow_on(own);
        return false;
    }
    if (BATON_BREAK(ANSWERS_UNDURABLE))
        point.durable = point.position;
    if (point.position.batch < own->offer.position.batch ||
        point.durable.batch < own->offer.position.batch || point.seq < own->offer.seq)
        return false;
    set_state(own, BATON_NEW_ANSWERED);
    own->actions->answer(own->actions->context, &point);
    return true;
}

static bool step_answered(baton_new *own)
{
    if ((!own->granted || !own->actions->record_here(own->actions->context)) &&
        !BATON_BREAK(ACT_EARLY))
        return false;
    set_state(own, BATON_NEW_TAKING);
    return true;
}

static bool step_taking(baton_new *own)
{
    baton_error error = {0};
    int r = own->actions->promote(own->actions->context, &error);
    if (r < 0 && baton_status_class(r) == BATON_CLASS_RETRY)
        return false;
    if (r < 0) {
        error.status = own->status = r;
        own->error = error;
        return false;
    }
    set_state(own, BATON_NEW_SERVING);
    own->actions->taken(own->actions->context);
    return true;
}

static bool step_once(baton_new *own)
{
    switch (own->state) {
    case BATON_NEW_READY:
        return step_ready(own);
    case BATON_NEW_ANSWERED:
        return step_answered(own);
    case BATON_NEW_TAKING:
        return step_taking(own);
    case BATON_NEW_FOLLOWING:
    case BATON_NEW_SERVING:
    case BATON_NEW_STATES:
        return false;
    }
    return false;
}

int baton_new_step(baton_new *own, baton_error *error)
{
    while (own->status == 0 && step_once(own))
        ;
    if (own->status < 0)
        *error = own->error;
    return own->status;
}

const char *baton_new_state_name(baton_new_state state)
{
    static const char *const names[BATON_NEW_STATES] = {
        [BATON_NEW_FOLLOWING] = "following", [BATON_NEW_READY] = "ready",
        [BATON_NEW_ANSWERED] = "answered",   [BATON_NEW_TAKING] = "taking",
        [BATON_NEW_SERVING] = "serving",
    };
    return names[state];
}
