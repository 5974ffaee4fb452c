/* tests/sim/snapshot/step.c: what a service does between two crashes, at random. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define SETTLE_TURNS_MAX 3000u
#define TURN_NS          UINT64_C(300000)

enum { ENTRY_ADD = 1 };

/* ---- what is always asked ---- */

static void note_published(snapshot_run *run, const baton_engine_snapshot_state *state)
{
    baton_assert(run->published_count < RUN_PUBLISHED_MAX);
    run->published[run->published_count++] = (run_published){
        .seq = state->last_seq,
        .epoch = baton_engine_epoch(run->engine),
        .named_after = baton_engine_applied_seq(run->engine),
    };
    run->taken_seen = state->taken_count;
    run->totals->published++;
    const bool image = strcmp(state->last_form, "image") == 0;
    run->totals->images += image;
    run->totals->increments += image && !state->last_full;
    run->totals->stopped += image && strcmp(state->last_by, "stop") == 0;
    run_say(run, "-- published: %" PRIu64 "%s%s", state->last_seq, image ? " image " : "",
            image ? (state->last_full ? state->last_by : "increment") : "");
}

static void note_failed(snapshot_run *run, const baton_engine_snapshot_state *state)
{
    run->failed_seen = state->last_status;
    if (state->last_status == 0 || baton_sim_is_dead(run->process))
        return;
    run_say(run, "-- a snapshot failed: %s", baton_status_name(state->last_status));
    run->totals->failed++;
    run->totals->full += state->last_status == BATON_E_NO_SPACE;
    const bool excused_full =
        state->last_status == BATON_E_NO_SPACE && (run->faults & FAULT_ENOSPC) != 0;
    const bool excused_io = (run->faults & FAULT_EIO) != 0;
    const bool excused_tracker = run->tracker_failures != run->tracker_failures_seen;
    run->tracker_failures_seen = run->tracker_failures;
    if (!excused_full && !excused_io && !excused_tracker)
        run_fail(run, "a snapshot failed, and nothing was wrong: %s: %s",
                 baton_status_name(state->last_status), state->last_error.why);
    if (state->last_error.todo[0] == '\0')
        run_fail(run, "a snapshot failed, and nobody says what to do");
}

void run_note(snapshot_run *run)
{
    baton_engine_status status;
    const int r = baton_engine_status_get(run->engine, &status);
    if (r < 0)
        run_fail(run, "status: %s", baton_status_name(r));
    if (status.durable_seq > run->durable)
        run->durable = status.durable_seq;
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(run->engine);
    if (state->taken_count != run->taken_seen)
        note_published(run, state);
    if (state->last_status != run->failed_seen)
        note_failed(run, state);
    for (uint32_t i = 0; i < run->published_count; i++) {
        run_published *one = &run->published[i];
        if (!one->nameless && one->epoch == status.epoch && status.durable_seq > one->named_after)
            one->proven = true;
    }
}

static void turn(snapshot_run *run)
{
    baton_error error = {0};
    const int r = baton_engine_turn(run->engine, run_draw(run, TURN_NS), &error);
    run_note(run);
    if (r == 0 || baton_sim_is_dead(run->process) || run->broken)
        return;
    run->broken = true;
    run->totals->broken++;
    if ((run->faults & FAULT_EIO) == 0)
        run_fail(run, "the engine broke, and nothing had failed: %s: %s: %s", baton_status_name(r),
                 error.what, error.why);
}

static bool stopped(const snapshot_run *run)
{
    return run->broken || baton_sim_is_dead(run->process);
}

/* ---- acts ---- */

static int submit(snapshot_run *run)
{
    const uint64_t seq = baton_engine_applied_seq(run->engine) + 1;
    const run_entry add = run_entry_of(run, seq);
    uint64_t taken = 0;
    const int r = baton_engine_submit(run->engine, ENTRY_ADD, &add, sizeof(add), &taken);
    if (r == 0) {
        if (taken != seq)
            run_fail(run, "entry %" PRIu64 " became entry %" PRIu64, seq, taken);
        if (seq > run->submitted)
            run->submitted = seq;
        run->totals->submitted++;
        return 0;
    }
    const bool excused = r == BATON_E_FULL || (r == BATON_E_SEALED && run->sealed) ||
                         (r == BATON_E_NO_SPACE && (run->faults & FAULT_ENOSPC)) ||
                         (r == BATON_E_BROKEN && (run->faults & FAULT_EIO)) || stopped(run);
    if (!excused)
        run_fail(run, "submit: %s", baton_status_name(r));
    return r;
}

static void burst(snapshot_run *run)
{
    for (uint64_t left = 1 + run_draw(run, 60); left > 0 && submit(run) == 0; left--) {
        if (run_one_in(run, 12))
            turn(run);
        if (stopped(run))
            return;
    }
}

static void turns(snapshot_run *run)
{
    for (uint64_t left = 1 + run_draw(run, 12); left > 0 && !stopped(run); left--)
        turn(run);
}

static void ask_for_one(snapshot_run *run)
{
    const int r = baton_engine_snapshot_begin(run->engine, NULL);
    run_note(run);
    const bool excused = r == 0 || r == BATON_E_AGAIN || r == BATON_E_BROKEN ||
                         (r == BATON_E_NO_SPACE && (run->faults & FAULT_ENOSPC));
    if (!excused && !stopped(run))
        run_fail(run, "a snapshot was refused: %s", baton_status_name(r));
    turns(run);
}

void run_settle(snapshot_run *run)
{
    for (uint32_t i = 0; i < SETTLE_TURNS_MAX && !stopped(run); i++) {
        turn(run);
        if (baton_engine_all_released(run->engine) &&
            !baton_engine_snapshot_status(run->engine)->running)
            return;
    }
    if (!stopped(run) && !run->full)
        run_fail(run, "what was taken in does not become durable, or a snapshot does not end");
}

static void plan_crash(snapshot_run *run)
{
    const baton_sim_crash how = run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT;
    const uint64_t now = baton_sim_counts_of(run->sim)->operations;
    baton_sim_crash_at(run->sim, now + 1 + run_draw(run, 60), how);
    if (run_one_in(run, 2)) /* rather in the middle of one */
        ask_for_one(run);
}

static void die_now(snapshot_run *run)
{
    if (run_one_in(run, 2))
        baton_sim_kill(run->process);
    else
        baton_sim_power_cut(run->sim);
}

static void resize_disk(snapshot_run *run)
{
    run->full = !run->full;
    baton_sim_set_room(run->sim, run->full ? run_draw(run, 300) * BATON_IO_UNIT : UINT64_MAX);
}

/* H1: what a drain does; the snapshot may come after the handover record, and is then trusted by it. */
static void drain(snapshot_run *run)
{
    baton_engine_seal(run->engine);
    run->sealed = true;
    run_settle(run);
    if (stopped(run) || run->full || baton_engine_handover_record(run->engine, NULL) < 0)
        return;
    for (uint32_t i = 0; i < SETTLE_TURNS_MAX && !stopped(run); i++) {
        if (baton_engine_handover_durable(run->engine))
            break;
        turn(run);
    }
    if (stopped(run))
        return;
    if (run_one_in(run, 2)) {
        ask_for_one(run);
        run_settle(run);
    }
    if (!stopped(run))
        run_close(run);
}

/* ---- choosing ---- */

static const sim_action actions[] = {
    {30, burst, 0},     {20, turns, 0},     {8, ask_for_one, 0},
    {4, run_settle, 0}, {6, plan_crash, 0}, {2, die_now, 0},
    {2, run_close, 0},  {1, drain, 0},      {6, resize_disk, FAULT_ENOSPC},
    {2, run_pin, 0},    {1, run_unpin, 0},  {2, run_export_one, 0},
};

void run_step(snapshot_run *run)
{
    const sim_action *chosen =
        sim_choose(&run->random, run->faults, actions, sizeof(actions) / sizeof(actions[0]));
    void (*act)(snapshot_run * run) = run->sealed && chosen->act == burst ? turns : chosen->act;
    wrap_become(run->sim, run->process);
    act(run);
    if (run->engine == NULL)
        return;
    if (baton_sim_is_dead(run->process))
        run_bury(run);
    else if ((run->broken || run->sealed) && run_one_in(run, 2))
        run_close(run);
}
