/* tests/sim/snapshot/life.c: from one death of the engine to its next turn, and what is demanded then:
 *
 *   - after kills, power cuts, errors and full disks: all that was durable is applied again, state and
 *     effect digest are those of the uninterrupted run, and it began with the newest snapshot that
 *     the journal names
 *   - with a damaged snapshot: the same, from the one before and more journal (S2)
 *   - after stray writes and lying flushes: the same, or a refusal; never another state */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/engine_private.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define OPEN_TRIES_MAX 40u
#define NAME_BYTES     64u

baton_sim_faults run_calm(snapshot_run *run)
{
    baton_sim_faults *faults = baton_sim_faults_of(run->sim);
    const baton_sim_faults before = *faults;
    *faults = (baton_sim_faults){0};
    baton_sim_heal(run->sim);
    return before;
}

/* ---- what was published ---- */

run_published *run_find(snapshot_run *run, uint64_t seq, uint64_t epoch)
{
    for (uint32_t i = run->published_count; i-- > 0;)
        if (run->published[i].seq == seq && run->published[i].epoch == epoch)
            return &run->published[i];
    return NULL;
}

run_published *run_proven(snapshot_run *run, uint32_t n)
{
    for (uint32_t i = run->published_count; i-- > 0;)
        if (run->published[i].proven && !run->published[i].gone && n-- == 0)
            return &run->published[i];
    return NULL;
}

/* One that is there although nobody lived to say so. In the order of time, which is that of the seqs:
 * what a replay kept has the epoch of the journal's end, and is older than that end. */
static run_published *learn(snapshot_run *run, uint64_t seq, uint64_t epoch)
{
    run_published *known = run_find(run, seq, epoch);
    if (known != NULL)
        return known;
    baton_assert(run->published_count < RUN_PUBLISHED_MAX);
    uint32_t at = run->published_count++;
    for (; at > 0 && (run->published[at - 1].seq > seq ||
                      (run->published[at - 1].seq == seq && run->published[at - 1].epoch > epoch));
         at--)
        run->published[at] = run->published[at - 1];
    run->published[at] = (run_published){.seq = seq, .epoch = epoch, .nameless = true};
    return &run->published[at];
}

/* What the journal named when this start read it. One that was damaged then does not count as a
 * generation any more, even if the disk remembers: its name may go. */
static void learn_names(snapshot_run *run)
{
    const engine_snapshot_task *task = &run->engine->snapshot;
    for (uint32_t i = 0; i < run->published_count; i++)
        run->published[i].proven &= !run_is_hit(run, run->published[i].seq,
                                                run->published[i].epoch); /* unless good, below */
    for (uint32_t i = task->generations_count; i-- > 0;) {
        const engine_generation *generation = &task->generations[i];
        run_published *known = learn(run, generation->seq, generation->epoch);
        if (known->proven && !generation->good && (run->faults & (FAULT_ANYWHERE | FAULT_EIO)) == 0)
            run_fail(run, "the journal does not know the name of snapshot %" PRIu64 " any more",
                     known->seq);
        known->proven |= generation->good;
        known->nameless = !known->proven;
    }
    for (uint32_t i = 0; i < run->published_count; i++)
        run->published[i].nameless |= !run->published[i].proven;
}

/* ---- deaths ---- */

/* Time does to the disk what it does while nobody looks: to one of the newest snapshots. */
static void age(snapshot_run *run)
{
    baton_sim_advance(run->sim, run_draw(run, run_one_in(run, 3) ? 50000000 : 500000));
    const bool rots = (run->faults & FAULT_ROT) != 0;
    if ((!rots && (run->faults & FAULT_SPOIL) == 0) || run->published_count == 0 ||
        !run_one_in(run, 2))
        return;
    const uint64_t back = run_draw(run, run->published_count < 3 ? run->published_count : 3);
    run_published *one = &run->published[run->published_count - 1 - back];
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%016" PRIx64 "-%016" PRIx64 ".%s", one->seq, one->epoch,
                   run_one_in(run, 3) ? "manifest" : "chunks");
    one->hit |= rots ? baton_sim_rot(run->sim, name) : baton_sim_spoil(run->sim, name);
    run_say(run, "-- %s: %s", rots ? "rot" : "spoil", name);
}

static void forget_engine(snapshot_run *run)
{
    run->engine = NULL;
    run->process = NULL;
    run->sealed = run->broken = false;
    run->taken_seen = 0;
    run->failed_seen = 0;
}

void run_bury(snapshot_run *run)
{
    run_say(run, "-- the process is dead");
    if (run->engine != NULL) {
        run_note(run);
        const int r = baton_engine_close(run->engine);
        (void)r; /* it is dead: nothing of this reaches the disk */
    }
    forget_engine(run);
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL);
    (void)run_judge(run);
    age(run);
}

void run_close(snapshot_run *run)
{
    const bool was_broken = run->broken;
    const uint64_t last = baton_engine_applied_seq(run->engine);
    const uint64_t epoch = baton_engine_epoch(run->engine);
    run_note(run);
    run_say(run, "-- close");
    const int r = baton_engine_close(run->engine);
    const bool dead = baton_sim_is_dead(run->process);
    run->engine = NULL;
    if (r == 0 && !dead) {
        run->durable = last;
        for (uint32_t i = 0; i < run->published_count; i++)
            if (run->published[i].epoch == epoch && !run->published[i].nameless)
                run->published[i].proven = true;
    } else if (!dead && !was_broken && (run->faults & FAULT_EIO) == 0 && !run->full) {
        run_fail(run, "close: %s", baton_status_name(r));
    }
    if (!dead)
        baton_sim_kill(run->process);
    run_bury(run);
}

/* ---- opening ---- */

static void judge_state(snapshot_run *run, const baton_hydrate_report *report, uint64_t newest)
{
    baton_engine_status status;
    const bool anywhere = (run->faults & FAULT_ANYWHERE) != 0;
    const int r = baton_engine_status_get(run->engine, &status);
    if (r < 0)
        run_fail(run, "status: %s", baton_status_name(r));
    if (status.seq > run->submitted)
        run_fail(run, "opened at entry %" PRIu64 ", appended were %" PRIu64, status.seq,
                 run->submitted);
    const run_digests *expected = run_expected(run, status.seq);
    if (!baton_digest_equal(status.state_digest, expected->state) ||
        !baton_digest_equal(status.effect_digest, expected->effects))
        run_fail(run,
                 "entry %" PRIu64 ", from snapshot %" PRIu64 ": not the uninterrupted run's "
                 "state",
                 status.seq, report->snapshot_seq);
    const char *wrong = run_service_check(baton_engine_state(run->engine));
    if (wrong != NULL)
        run_fail(run, "entry %" PRIu64 ", from snapshot %" PRIu64 ": %s", status.seq,
                 report->snapshot_seq, wrong);
    if (status.seq < run->durable && !anywhere)
        run_fail(run, "entry %" PRIu64 " was durable, opened at %" PRIu64, run->durable,
                 status.seq);
    if (status.seq < run->durable) {
        run->totals->unprovable++;
        run->over = true;
    }
    if (report->snapshot_seq < newest && !anywhere && (run->faults & FAULT_EIO) == 0)
        run_fail(run, "began with snapshot %" PRIu64 ", the newest good one is %" PRIu64,
                 report->snapshot_seq, newest);
    run->totals->opens++;
    run->totals->from += report->from_snapshot;
    run->totals->from_image += strcmp(report->snapshot_form, "image") == 0;
    run->totals->fell_back += report->from_snapshot && report->snapshots_skipped > 0;
    run->totals->resumed += report->resumed_seq != 0;
    run->totals->kept += report->kept_count;
}

/* Is a refusal right? Without a good snapshot, and with the beginning of the journal gone. */
static void on_error(snapshot_run *run, int r, const baton_error *error, uint64_t newest,
                     uint32_t tries)
{
    run_say(run, "-- open: %s: %s: %s", baton_status_name(r), error->what, error->why);
    const bool anywhere = (run->faults & FAULT_ANYWHERE) != 0;
    const bool none_good =
        newest == 0 && run->engine_options.retire && (run->faults & (FAULT_ROT | FAULT_SPOIL)) != 0;
    const bool is_damage = r == BATON_E_DAMAGED || r == BATON_E_UNTRUSTED || r == -EIO;
    /* All of them unreadable at once: the refusal is about the newest, whatever was wrong with it. */
    const bool excused_io = (run->faults & FAULT_EIO) != 0 &&
                            (r == -EIO || (r == BATON_E_UNTRUSTED && run->engine_options.retire));
    const bool excused_full = r == BATON_E_NO_SPACE && run->full;
    if (r == BATON_E_DIVERGED || r == BATON_E_SCHEMA || r == BATON_E_UNKNOWN_TYPE)
        run_fail(run, "open took wrong bytes: %s: %s", baton_status_name(r), error->why);
    if (anywhere || (none_good && is_damage)) {
        if (error->path[0] == '\0')
            run_fail(run, "refused, and not said where: %s", error->why);
        run->totals->refused++;
        run->over = true;
        return;
    }
    if (!excused_io && !excused_full)
        run_fail(run, "open: %s: %s: %s (%s)", baton_status_name(r), error->what, error->why,
                 error->path);
    baton_sim_set_room(run->sim, UINT64_MAX);
    run->full = false;
    if (tries > 3)
        (void)run_calm(run); /* a disk that never works ends nothing but the test */
}

static void plan_crash(snapshot_run *run)
{
    if (!run_one_in(run, 4))
        return;
    const uint64_t now = baton_sim_counts_of(run->sim)->operations;
    run_say(run, "-- will crash while it opens");
    baton_sim_crash_at(run->sim, now + 1 + run_draw(run, 60),
                       run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT);
}

/* What this life writes, and how. */
static void draw_form(snapshot_run *run)
{
    static const baton_image_choice choices[] = {BATON_IMAGE_AUTO, BATON_IMAGE_LIVE,
                                                 BATON_IMAGE_STOP, BATON_IMAGE_FORK};
    baton_engine_options *options = &run->engine_options;
    options->snapshot_form = BATON_FORM_PORTABLE;
    if (run->forms == RUN_PORTABLE)
        return;
    if (run->forms == RUN_IMAGES || !run_one_in(run, 3))
        options->snapshot_form = BATON_FORM_IMAGE;
    options->image_choice = choices[run_one_in(run, 4) ? run_draw(run, 4) : 0];
    run->tracker_refused = run_one_in(run, 8);
}

/* One try. True: it may be tried again. */
static bool open_once(snapshot_run *run, uint64_t newest, uint32_t tries)
{
    baton_hydrate_report report;
    baton_error error = {0};
    run->process = baton_sim_start(run->sim);
    run->engine_options.io_context = run->process;
    run->engine_options.snapshot_io_context = run->process;
    run->engine_options.image_io_context = run->process;
    draw_form(run);
    wrap_become(run->sim, run->process);
    const int r = baton_engine_open(run->service, RUN_DIRECTORY, &run->engine_options, NULL,
                                    &run->engine, &report, &error);
    if (r < 0) {
        run->engine = NULL;
        if (!baton_sim_is_dead(run->process)) {
            on_error(run, r, &error, newest, tries);
            baton_sim_kill(run->process);
        }
        run_bury(run);
        return !run->over;
    }
    run_say(run, "-- opened at %" PRIu64 " of %" PRIu64 ", from snapshot %" PRIu64,
            baton_engine_applied_seq(run->engine), run->durable, report.snapshot_seq);
    judge_state(run, &report, newest);
    learn_names(run);
    if (baton_sim_is_dead(run->process)) {
        run_bury(run);
        return true;
    }
    if ((run->faults & FAULT_SPOIL) != 0) { /* the disk remembers */
        baton_sim_heal(run->sim);
        for (uint32_t i = 0; i < run->published_count; i++)
            run->published[i].hit = false;
    }
    if (run->over)
        run_close(run);
    return false;
}

void run_open(snapshot_run *run)
{
    const baton_sim_faults before = *baton_sim_faults_of(run->sim);
    bool again = true;
    for (uint32_t tries = 0; again && !run->over && tries < OPEN_TRIES_MAX; tries++) {
        if (run_one_in(run, 4))
            run_import_one(run);
        const uint64_t newest = run_judge(run);
        if (tries < 3)
            plan_crash(run);
        again = open_once(run, newest, tries);
    }
    *baton_sim_faults_of(run->sim) = before;
    if (again && !run->over)
        run_fail(run, "the engine does not open any more");
}
