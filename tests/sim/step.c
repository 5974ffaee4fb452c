/* tests/sim/step.c: what a service does with its journal between two crashes, at random, and what it
 * is promised meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim_run.h"

#define IDLE_STEP_NS UINT64_C(1000000)
#define IDLE_STEPS   40u /* longer than the slowest flush and the mark after it */

/* ---- what is always asked ---- */

void run_note_acks(sim_run *run)
{
    const uint64_t seq = baton_journal_durable_seq(run->journal);
    if (run->broken && seq != run->model.acked_seq)
        run_fail(run, "a broken journal acknowledged entry %" PRIu64 " (J6)", seq);
    if (!model_acknowledge(&run->model, seq))
        run_fail(run, "acknowledged: %" PRIu64 " after %" PRIu64 " of %" PRIu64 " appended (J2)",
                 seq, run->model.acked_seq, model_last_seq(&run->model));
    run->acked_position = baton_journal_durable_position(run->journal);
}

/* After a call into the journal. errors: how many of its writes and flushes had failed before it, so
 * that it has heard of them. */
static void after_call(sim_run *run, int r, uint64_t errors, const char *what)
{
    run_note_acks(run);
    if (baton_sim_is_dead(run->process))
        return;
    if (r == BATON_E_BROKEN && !run->broken) {
        run->broken = true;
        run->totals->broken++;
        if ((run->faults & FAULT_EIO) == 0)
            run_fail(run, "%s: broken, and nothing had failed", what);
    }
    if (r != BATON_E_BROKEN && run->broken)
        run_fail(run, "%s: %s, after it was broken (J6)", what, baton_status_name(r));
    if (r != BATON_E_BROKEN && errors > run->errors_seen)
        run_fail(run, "%s: %s, after a write or flush failed (J6)", what, baton_status_name(r));
}

static uint64_t errors_now(const sim_run *run)
{
    return baton_sim_counts_of(run->sim)->segment_errors;
}

static void poll(sim_run *run)
{
    const uint64_t errors = errors_now(run);
    after_call(run, baton_journal_poll(run->journal), errors, "poll");
}

/* ---- writing ---- */

static uint32_t draw_bytes(sim_run *run)
{
    const uint64_t draw = run_draw(run, 8);
    if (run->churn)
        return (uint32_t)run_draw(run, run->payload_max);
    if (draw == 0)
        return (uint32_t)run_draw(run, 8);
    return (uint32_t)run_draw(run, draw == 1 ? run->payload_max : run->payload_max / 8 + 1);
}

static void took(sim_run *run, model_item *item, const baton_entry *entry)
{
    if (entry != NULL) {
        if (entry->seq != item->seq || entry->payload_bytes != item->bytes)
            run_fail(run, "append gave entry %" PRIu64 ", expected was %" PRIu64, entry->seq,
                     item->seq);
        item->time_ns = entry->time_ns;
    }
    if (run->journal_options.mode == BATON_MODE_WRITTEN)
        item->carries = 0; /* its batch says what was flushed, and nobody tells us that */
    model_take(&run->model, item);
    run->totals->appended += !item->is_record;
}

/* May an append be refused like this? */
static void check_refusal(const sim_run *run, int r, bool is_record)
{
    if (r == 0 || r == BATON_E_FULL || (r == BATON_E_BROKEN && run->broken) ||
        (r == BATON_E_NO_SPACE && (run->faults & FAULT_ENOSPC)) ||
        (r == BATON_E_SEALED && run->sealed && !is_record) || baton_sim_is_dead(run->process))
        return;
    if (r == BATON_E_BROKEN && (run->faults & FAULT_EIO))
        return;
    run_fail(run, "append: %s", baton_status_name(r));
}

static int append_entry(sim_run *run)
{
    model_item item = model_next_entry(&run->model, draw_bytes(run));
    baton_entry entry;
    const int r =
        baton_journal_append(run->journal, item.type, run->model.payload, item.bytes, &entry);
    check_refusal(run, r, false);
    if (r == 0)
        took(run, &item, &entry);
    return r;
}

static int claim_entry(sim_run *run)
{
    model_item item = model_next_entry(&run->model, draw_bytes(run));
    const uint32_t more = (uint32_t)run_draw(run, BATON_ENTRY_BYTES_MAX - item.bytes + 1);
    void *payload;
    baton_entry entry;
    int r = baton_journal_claim(run->journal, item.bytes + more, &payload);
    check_refusal(run, r, false);
    if (r < 0)
        return r;
    if (run_one_in(run, 4))
        return baton_journal_commit(run->journal, 0, BATON_CLAIM_DROP, NULL);
    if (run_one_in(run, 4))
        poll(run); /* an open claim stays whole */
    memcpy(payload, run->model.payload, item.bytes);
    r = baton_journal_commit(run->journal, item.type, item.bytes, &entry);
    check_refusal(run, r, false);
    if (r == 0)
        took(run, &item, &entry);
    return r;
}

static int append_record(sim_run *run)
{
    const baton_record_kind kind =
        (baton_record_kind)(BATON_RECORD_CHECKPOINT + run_draw(run, BATON_RECORD_FINALIZE));
    model_item item = model_next_record(&run->model, kind, model_last_seq(&run->model));
    const int r = baton_journal_append_record(run->journal, kind, run->model.payload, item.bytes);
    check_refusal(run, r, true);
    if (r == 0)
        took(run, &item, NULL);
    return r;
}

static void burst(sim_run *run)
{
    int r = 0;
    for (uint64_t left = 1 + run_draw(run, 30); left > 0 && r == 0; left--) {
        const uint64_t draw = run_draw(run, 12);
        r = draw == 0 ? append_record(run) : draw <= 2 ? claim_entry(run) : append_entry(run);
    }
    if (run_one_in(run, 4))
        baton_journal_note_applied(run->journal, model_last_seq(&run->model),
                                   (baton_digest){{(uint8_t)run_draw(run, 256)}});
}

static void poll_some(sim_run *run)
{
    for (uint64_t left = 1 + run_draw(run, 6); left > 0; left--) {
        poll(run);
        if (baton_sim_is_dead(run->process) || run->broken)
            return;
        baton_sim_advance(run->sim, run_draw(run, 200000));
    }
}

static void flush(sim_run *run)
{
    const uint64_t errors = errors_now(run);
    const int r = baton_journal_flush(run->journal);
    after_call(run, r, errors, "flush");
    if (r != 0)
        return;
    model_acknowledge_all(&run->model); /* records too */
    if (baton_journal_durable_seq(run->journal) != model_last_seq(&run->model))
        run_fail(run, "flush returned before everything was durable");
}

static void wait(sim_run *run)
{
    const uint64_t last = model_last_seq(&run->model);
    const uint64_t seq = run->model.acked_seq + run_draw(run, last - run->model.acked_seq + 1);
    const uint64_t timeout_ns = run_one_in(run, 3) ? run_draw(run, 500000) : UINT64_MAX;
    const uint64_t errors = errors_now(run);
    const int r = baton_journal_wait(run->journal, seq, timeout_ns);
    after_call(run, r, errors, "wait");
    if (r == 0 && baton_journal_durable_seq(run->journal) < seq)
        run_fail(run, "wait returned before entry %" PRIu64 " was durable", seq);
}

static void die_now(sim_run *run)
{
    if (run_one_in(run, 2))
        baton_sim_kill(run->process);
    else
        baton_sim_power_cut(run->sim);
}

/* Nothing comes for a while: then the tail has to be proven (J5). Some die of it. */
static void idle(sim_run *run)
{
    flush(run);
    for (uint32_t i = 0; i < IDLE_STEPS; i++) {
        if (baton_sim_is_dead(run->process) || run->broken)
            return;
        baton_sim_advance(run->sim, IDLE_STEP_NS);
        poll(run);
    }
    if (run->broken || baton_sim_is_dead(run->process))
        return;
    model_prove(&run->model);
    /* In mode written a power cut may take the mark itself. */
    run->quiet = run->journal_options.mode == BATON_MODE_DURABLE;
    if (run_one_in(run, 6))
        die_now(run);
}

/* ---- around it ---- */

static void retire(sim_run *run)
{
    uint32_t removed = 0;
    const uint64_t keep_from = 1 + run_draw(run, run->model.acked_seq + 1);
    if (keep_from > run->model.keep_from)
        run->model.keep_from = keep_from;
    const int r = baton_journal_retire(run->journal, keep_from, &removed);
    if (r == -EIO && (run->faults & (FAULT_EIO | FAULT_SPOIL))) {
        run_note_acks(run);
        return;
    }
    after_call(run, r, 0, "retire"); /* takes in nothing, so it need not have heard of errors */
    if (r < 0 && r != BATON_E_BROKEN && !baton_sim_is_dead(run->process))
        run_fail(run, "retire: %s", baton_status_name(r));
}

/* A second writer is not let in (J1). */
static void intrude(sim_run *run)
{
    baton_journal_options options = run->journal_options;
    baton_journal *journal;
    baton_recovery_report report;
    baton_sim_process *process = baton_sim_start(run->sim);
    baton_error error;
    options.lock_wait_ns = 1;
    options.io_context = process;
    const int r = baton_journal_open(RUN_DIRECTORY, &options, &journal, &report, &error);
    if (r == 0)
        run_fail(run, "a second writer was let in");
    const bool excused = r == BATON_E_LOCKED || (r == -EIO && (run->faults & FAULT_EIO)) ||
                         baton_sim_is_dead(process);
    if (!excused)
        run_fail(run, "a second writer was refused for another reason: %s", baton_status_name(r));
}

static void verify_beside(sim_run *run)
{
    baton_journal_summary summary;
    baton_error error;
    wrap_become(run->sim, baton_sim_start(run->sim));
    const int r =
        baton_journal_verify(RUN_DIRECTORY, BATON_BACKEND_AUTO, NULL, NULL, &summary, &error);
    wrap_become(run->sim, run->process);
    const bool sure =
        (run->faults & FAULT_EIO) == 0 && !run_media_hit(run); /* HINT may be unreadable */
    if (r == 0 && sure && summary.recovery.last.seq != run->model.acked_seq)
        run_fail(run, "verify beside the writer ends at %" PRIu64 ", acknowledged is %" PRIu64,
                 summary.recovery.last.seq, run->model.acked_seq);
    if (r == 0 || r == -EIO || r == BATON_E_TORN || run_bytes_may_go(run) ||
        baton_sim_is_dead(run->process))
        return;
    run_fail(run, "verify beside the writer: %s: %s", baton_status_name(r), error.why);
}

static void resize_disk(sim_run *run)
{
    run->full = !run->full;
    baton_sim_set_room(run->sim, run->full ? run_draw(run, 600) * BATON_IO_UNIT : UINT64_MAX);
}

static void plan_crash(sim_run *run)
{
    const baton_sim_crash how = run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT;
    const uint64_t now = baton_sim_counts_of(run->sim)->operations;
    if (run_one_in(run, 3))
        baton_sim_crash_at_header(run->sim, how);
    else
        baton_sim_crash_at(run->sim, now + 1 + run_draw(run, 40), how);
}

static void seal(sim_run *run)
{
    baton_journal_seal(run->journal);
    run->sealed = true;
    (void)append_record(run);
    flush(run);
}

/* ---- choosing ---- */

static const sim_action actions[] = {
    {30, burst, 0},        {20, poll_some, 0},
    {6, flush, 0},         {6, wait, 0},
    {5, idle, 0},          {3, retire, 0},
    {6, run_read_live, 0}, {1, verify_beside, 0},
    {1, intrude, 0},       {5, plan_crash, 0},
    {1, die_now, 0},       {2, run_close, 0},
    {1, seal, 0},          {4, resize_disk, FAULT_ENOSPC},
};

/* A life, soon. */
static bool ends(const sim_action *action)
{
    return action->act == plan_crash || action->act == die_now || action->act == run_close ||
           action->act == seal;
}

void run_step(sim_run *run)
{
    const sim_action *chosen =
        sim_choose(&run->random, run->faults, actions, sizeof(actions) / sizeof(actions[0]));
    if (run->churn && ends(chosen) && !run_one_in(run, 4))
        chosen = &actions[0];
    wrap_become(run->sim, run->process);
    run->quiet = false;
    chosen->act(run);
    if (run->churn && run->journal != NULL && !baton_sim_is_dead(run->process) &&
        run_one_in(run, 4))
        retire(run);
    if (run->journal == NULL)
        return;
    if (baton_sim_is_dead(run->process)) {
        run_bury(run);
        return;
    }
    if (run->broken && run_one_in(run, 2))
        run_close(run);
    if (run->process != NULL && run_one_in(run, 100))
        baton_sim_step_wall(run->sim, (int64_t)run_draw(run, 10000000000) - 5000000000);
    baton_sim_advance(run->sim, run_draw(run, 100000));
}
