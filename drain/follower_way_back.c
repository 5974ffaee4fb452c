/* drain/follower_way_back.c: a standby of a version that decides otherwise than the active (R13): it
 * copies the journal, and takes the active's state from a snapshot of the last entry when it is made
 * the successor. */
#include "drain/compatibility.h"
#include "drain/follower.h"

static bool may_copy(const baton_follower *follower)
{
    switch (follower->target->if_diverged) {
    case BATON_IF_DIVERGED_AUTO:
        return baton_version_is_older(follower->doors->service->version, follower->active_version);
    case BATON_IF_DIVERGED_COPY:
        return true;
    case BATON_IF_DIVERGED_END:
        return false;
    }
    return false;
}

void baton_follower_diverged(baton_follower *follower)
{
    const baton_error why = *baton_engine_divergence(follower->engine);
    if (!may_copy(follower)) {
        baton_follower_fail(follower, BATON_E_DIVERGED, &why);
        baton_follower_cut(follower, &why);
        return;
    }
    baton_log(WARN, "handover.diverged", BATON_LOG_TEXT("why", why.why),
              BATON_LOG_TEXT("active_version", follower->active_version),
              BATON_LOG_TEXT("now", "it copies; a handover to this one goes by a snapshot"));
}

int baton_follower_prepare_state(baton_follower *follower, baton_error *error)
{
    const baton_error *divergence = baton_engine_divergence(follower->engine);
    if (divergence == NULL)
        return 0;
    if (follower->by_snapshot)
        return baton_engine_forget_state(follower->engine, error);
    *error = *divergence;
    return BATON_E_DIVERGED;
}

static void pulse(void *context)
{
    baton_follower_pulse(context);
}

static void on_progress(void *context, const baton_hydrate_progress *progress)
{
    (void)progress;
    baton_follower_pulse(context);
}

/* Everything that the snapshot stands on is durable here: the journal up to its entry with the record
 * that names it, its files. So whoever starts here after a crash finds the state that M5 spoke of. */
static int take_over(baton_follower *follower, baton_error *error)
{
    baton_digest root;
    memcpy(root.bytes, follower->snapshot.root, sizeof(root.bytes));
    int r = baton_bootstrap_fetch(follower->target, follower->active.directory, &follower->snapshot,
                                  pulse, follower, error);
    return r < 0
               ? r
               : baton_engine_follow_snapshot(follower->engine, root, on_progress, follower, error);
}

int baton_follower_arrive(baton_follower *follower, const baton_engine_point *offer,
                          baton_error *error)
{
    baton_position end;
    baton_digest digest;
    bool needs_start;
    if (!follower->by_snapshot || follower->arrived)
        return 1;
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (end.batch < offer->position.batch ||
        baton_engine_follow_durable(follower->engine).batch < offer->position.batch)
        return 0;
    if (!follower->has_snapshot)
        return baton_error_set(error, BATON_E_INVALID, "take over the active's state",
                               "it names no snapshot", "look at its log");
    int r = take_over(follower, error);
    if (r < 0)
        return r;
    follower->arrived = true;
    return 1;
}
