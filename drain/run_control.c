/* drain/run_control.c: what a running service is asked to do: by its drain's plan, and by the control
 * socket. */
#include "drain/undecided.h"

#include <string.h>

#include "drain/now.h"

static uint64_t now_ns(void *context)
{
    (void)context;
    return baton_now_ns();
}

/* ---- what the drain plan asks for ---- */

static void plan_stop_intake(void *context)
{
    service_run *run = context;
    if (run->doors->program->stop_intake != NULL)
        run->doors->program->stop_intake(run->doors->context);
    baton_engine_seal(run->engine);
}

static bool plan_all_released(void *context)
{
    const service_run *run = context;
    return baton_engine_all_released(run->engine);
}

static bool plan_all_sent(void *context)
{
    const service_run *run = context;
    return run->doors->program->all_sent == NULL ||
           run->doors->program->all_sent(run->doors->context);
}

static int plan_handover_record(void *context, baton_error *error)
{
    const service_run *run = context;
    return baton_engine_handover_record(run->engine, error);
}

static bool plan_handover_durable(void *context)
{
    const service_run *run = context;
    return baton_engine_handover_durable(run->engine);
}

/* Is there a snapshot of exactly this state already, or nothing to take one of? */
static bool snapshot_is_current(const service_run *run)
{
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(run->engine);
    const uint64_t applied = baton_engine_applied_seq(run->engine);
    if (applied == 0)
        return true;
    if (state->taken_count > 0)
        return state->last_seq == applied;
    return run->hydrate.from_snapshot && run->hydrate.snapshot_seq == applied;
}

static int plan_snapshot_step(void *context, bool *ret_was_current, baton_error *error)
{
    service_run *run = context;
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(run->engine);
    if (!run->drain_snapshot_begun)
        baton_engine_snapshot_give_up_older(run->engine);
    if (state->running)
        return 0; /* its own, or one that began before the drain */
    if (!run->drain_snapshot_begun) {
        *ret_was_current = snapshot_is_current(run);
        if (*ret_was_current)
            return 1;
        int r = baton_engine_snapshot_begin_within(run->engine,
                                                   baton_drain_plan_left_ns(&run->plan), error);
        if (r < 0)
            return r == BATON_E_AGAIN ? 0 : r;
        run->drain_snapshot_begun = true;
        return 0;
    }
    if (state->last_status < 0) {
        *error = state->last_error;
        return state->last_status;
    }
    return 1;
}

static void plan_reached(void *context, baton_drain_state state, uint64_t since_begin_ns)
{
    service_run *run = context;
    baton_last_resort_reached(&run->last_resort, baton_drain_state_name(state));
    baton_log(INFO, "drain.step", BATON_LOG_TEXT("reached", baton_drain_state_name(state)),
              BATON_LOG_NUMBER("after_us", since_begin_ns / 1000));
}

const baton_drain_actions baton_run_drain_actions = {
    .now_ns = now_ns,
    .stop_intake = plan_stop_intake,
    .all_released = plan_all_released,
    .all_sent = plan_all_sent,
    .handover_record = plan_handover_record,
    .handover_durable = plan_handover_durable,
    .snapshot_step = plan_snapshot_step,
    .reached = plan_reached,
};

void baton_run_tell_drained(const service_run *run)
{
    const baton_drain_plan *plan = &run->plan;
    baton_log(INFO, "drain.end",
              BATON_LOG_TEXT("outcome", plan->status == 0 ? "clean" : "not clean"),
              BATON_LOG_NUMBER("all_sent", plan->all_sent),
              BATON_LOG_NUMBER("handover_durable", plan->handover_durable),
              BATON_LOG_TEXT("snapshot", baton_drain_snapshot_name(plan->snapshot)),
              BATON_LOG_NUMBER("total_us", plan->reached_ns[BATON_DRAIN_CLOSED] / 1000));
    if (plan->snapshot == BATON_DRAIN_SNAPSHOT_FAILED)
        baton_log(WARN, "drain.snapshot_failed", BATON_LOG_TEXT("what", plan->snapshot_error.what),
                  BATON_LOG_TEXT("why", plan->snapshot_error.why));
}

/* A standby has nothing to finish, and neither has one whose authority may have gone (R4). */
static bool just_leaves(const service_run *run)
{
    return run->following || baton_old_is_over(&run->cutover.old);
}

void baton_run_begin_drain(service_run *run, const char *because)
{
    const bool draining = run->plan.state != BATON_DRAIN_RUNNING;
    baton_error why;
    baton_log(INFO, draining ? "drain.already_begun" : "drain.begin",
              BATON_LOG_TEXT("because", because),
              BATON_LOG_NUMBER("deadline_ms", run->options->drain_deadline_ns / 1000000));
    if (just_leaves(run)) {
        run->leaving = true;
        return;
    }
    if (!draining) {
        baton_error_set(&why, BATON_E_SEALED, "handover", "this instance drains", NULL);
        baton_cutover_abort(&run->cutover, &why);
        baton_last_resort_arm(&run->last_resort, run->options->drain_deadline_ns,
                              baton_drain_state_name(BATON_DRAIN_RUNNING));
    }
    (void)baton_drain_plan_begin(&run->plan);
}

/* ---- what the control socket asks for ---- */

static json_t *hydrating_status(const service_run *run)
{
    return json_pack("{s:s, s:o, s:o}", "phase",
                     run->hydrating.progress.fetching ? "fetching" : "hydrating", "uptime_ms",
                     baton_describe_number((baton_now_ns() - run->started_ns) / 1000000),
                     "hydrating", baton_describe_progress(&run->hydrating.progress));
}

static json_t *control_status(void *context)
{
    const service_run *run = context;
    if (run->engine == NULL)
        return hydrating_status(run);
    const bool draining = run->plan.state != BATON_DRAIN_RUNNING;
    baton_engine_status status;
    baton_rto_prediction prediction;
    json_t *answer = json_object();
    if (answer == NULL || baton_engine_status_get(run->engine, &status) < 0)
        return answer;
    /* Fenced it may still wait for a snapshot that is being taken; it serves no more. */
    const bool handing_over =
        baton_old_is_under_way(&run->cutover.old) || run->cutover.old.state == BATON_OLD_FENCED;
    json_t *undecided = baton_undecided_describe(run);
    const char *phase = undecided != NULL                      ? "undecided"
                        : run->following || run->to_let_follow ? "following"
                        : draining                             ? "draining"
                        : handing_over                         ? "handing over"
                                                               : "running";
    json_object_set_new(answer, "phase", json_string(phase));
    json_t *engine = baton_describe_engine(&status);
    if (engine != NULL)
        json_object_update(answer, engine);
    json_decref(engine);
    json_object_set_new(answer, "uptime_ms",
                        baton_describe_number((baton_now_ns() - run->started_ns) / 1000000));
    json_object_set_new(answer, "snapshot",
                        baton_describe_snapshots(baton_engine_snapshot_status(run->engine)));
    baton_engine_rto_get(run->engine, &prediction);
    json_object_set_new(answer, "rto",
                        baton_describe_rto(&prediction, baton_engine_rates(run->engine)));
    json_object_set_new(answer, "hydrate", baton_describe_hydrate(&run->hydrate));
    json_object_set_new(answer, "peer_listen",
                        run->door.fd >= 0 ? baton_describe_text(run->door.text) : json_null());
    json_object_set_new(answer, "drain", draining ? baton_describe_drain(&run->plan) : json_null());
    json_t *window = baton_compatible_describe(&run->options->compatible);
    if (json_is_object(window) && run->options->compatible.warn_only)
        json_object_set_new(window, "outside", json_string("warn"));
    json_object_set_new(answer, "compatibility", window);
    if (run->follower != NULL)
        json_object_set_new(answer, "follow", baton_follower_describe(run->follower));
    if (!run->following && !run->to_let_follow)
        baton_cutover_describe(&run->cutover, answer);
    json_object_set_new(answer, "run_epoch", baton_describe_number(run->place.run_epoch));
    json_object_set_new(answer, "forced_promotions",
                        baton_describe_number(baton_epoch_forced_count(status.epoch)));
    if (undecided != NULL)
        json_object_set_new(answer, "undecided", undecided);
    return answer;
}

static bool control_drain(void *context)
{
    service_run *run = context;
    const bool first = run->plan.state == BATON_DRAIN_RUNNING && !run->leaving;
    baton_run_begin_drain(run, "control socket");
    return first;
}

static bool control_draining(void *context)
{
    const service_run *run = context;
    return run->plan.state != BATON_DRAIN_RUNNING;
}

static int control_handover(void *context, const baton_handover_request *request,
                            baton_error *error)
{
    service_run *run = context;
    int r = request->run_epoch != 0 ? baton_place_run(&run->place, request->run_epoch, error) : 0;
    if (r < 0)
        return r;
    if (run->following)
        return baton_error_set(error, BATON_E_REFUSED, "handover", "this is a standby",
                               "ask the active, and name this one with --to");
    if (run->to_let_follow)
        return baton_error_set(error, BATON_E_AGAIN, "handover", "it has just become the active",
                               "ask again");
    return baton_cutover_begin(&run->cutover, request, error);
}

static int control_handover_state(void *context, json_t **ret_report, baton_error *error)
{
    const service_run *run = context;
    const baton_old *old = &run->cutover.old;
    if (!baton_cutover_is_under_way(&run->cutover)) {
        *error = old->error;
        return old->status < 0 ? old->status : BATON_E_REFUSED;
    }
    if (old->state != BATON_OLD_FENCED)
        return 0;
    *ret_report = baton_cutover_report(&run->cutover);
    return 1;
}

static int control_promote(void *context, baton_error *error)
{
    return baton_undecided_promote(context, error);
}

static int control_promote_state(void *context, json_t **ret_report, baton_error *error)
{
    return baton_undecided_promote_state(context, ret_report, error);
}

static int control_follow(void *context, const char *of, baton_error *error)
{
    service_run *run = context;
    if (!run->following)
        return baton_error_set(error, BATON_E_REFUSED, "follow", "this instance serves",
                               "hand over first, `baton service handover`; with --after-handover "
                               "standby it follows its successor by itself");
    if (run->undecided)
        return baton_error_set(error, BATON_E_REFUSED, "follow", "this one is undecided (R7, R12)",
                               "start it again with --standby-of that one, if that one serves");
    return baton_follower_follow(run->follower, of, error);
}

const baton_control_actions baton_run_control_actions = {
    .status = control_status,
    .drain = control_drain,
    .draining = control_draining,
    .handover = control_handover,
    .handover_state = control_handover_state,
    .promote = control_promote,
    .promote_state = control_promote_state,
    .follow = control_follow,
};
