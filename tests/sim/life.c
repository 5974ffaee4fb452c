/* tests/sim/life.c: from one death of the writer to its next epoch, and what is demanded of the
 * journal then:
 *
 *   - what was acknowledged is there, byte for byte, in order, and nothing that was never appended (J1)
 *   - after kills, power cuts and errors it is never called damaged, and nothing acknowledged is cut
 *   - after rot, stray writes and lying flushes a loss is called damage wherever anything on the disk,
 *     or the caller, can prove it (J5) */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim_run.h"

#define OPEN_TRIES_MAX 40u

/* ---- while somebody looks, nothing new goes wrong ---- */

static baton_sim_faults calm(sim_run *run)
{
    baton_sim_faults *faults = baton_sim_faults_of(run->sim);
    const baton_sim_faults before = *faults;
    *faults = (baton_sim_faults){0};
    baton_sim_heal(run->sim);
    return before;
}

static run_read read_calmly(sim_run *run, uint64_t from_seq)
{
    const baton_sim_faults before = calm(run);
    baton_sim_hold_crash(run->sim, true);
    run_read read = run_read_all(run, from_seq);
    baton_sim_hold_crash(run->sim, false);
    *baton_sim_faults_of(run->sim) = before;
    run->totals->checks++;
    return read;
}

/* ---- deaths ---- */

/* Time does to the disk what it does while nobody looks. */
static void age(sim_run *run)
{
    if ((run->faults & FAULT_ROT) && run_one_in(run, 2))
        (void)baton_sim_rot(run->sim, ".seg");
    if ((run->faults & FAULT_SPOIL) && run_one_in(run, 3))
        (void)baton_sim_spoil(run->sim, ".seg");
    baton_sim_advance(run->sim, run_draw(run, run_one_in(run, 3) ? 50000000 : 500000));
}

static void forget_journal(sim_run *run)
{
    run->journal = NULL;
    run->begun = run->sealed = run->broken = false;
}

void run_bury(sim_run *run)
{
    run_say(run, "-- the writer is dead");
    run->power_was_cut |= baton_sim_counts_of(run->sim)->power_cuts > run->power_cuts_seen;
    run->power_cuts_seen = baton_sim_counts_of(run->sim)->power_cuts;
    if (run->journal != NULL) {
        if (run->begun)
            run_note_acks(run);
        baton_journal_abandon(run->journal);
        forget_journal(run);
    }
    if (run->reader != NULL && baton_sim_is_dead(run->reader_process))
        run_reader_close(run);
    run->process = NULL;
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL);
    age(run);
}

void run_close(sim_run *run)
{
    const bool was_broken = run->broken;
    run_note_acks(run);
    run_say(run, "-- close");
    wrap_become(run->sim, run->process);
    const int r = baton_journal_close(run->journal);
    forget_journal(run);
    if (baton_sim_is_dead(run->process)) {
        run_bury(run);
        return;
    }
    if (was_broken && r == 0)
        run_fail(run, "a broken journal was closed as if all was well (J6)");
    if (r < 0 && !was_broken && (run->faults & FAULT_EIO) == 0)
        run_fail(run, "close failed: %s", baton_status_name(r));
    if (r == 0) { /* the close mark proves all before it, the trailer proves the mark */
        model_acknowledge_all(&run->model);
        model_prove(&run->model);
        run->acked_position = (baton_position){0}; /* of an older batch by now */
    }
    if (run_one_in(run, 2)) {
        baton_sim_kill(run->process);
        run->process = NULL;
    }
    age(run);
}

/* ---- verdicts ---- */

/* What must be there whatever happened, as long as the disk itself is honest. */
static uint64_t guaranteed_items(const sim_run *run)
{
    if (run->journal_options.mode == BATON_MODE_DURABLE)
        return run->model.acked;
    const bool weak = run->power_was_cut || (run->faults & FAULT_EIO) != 0;
    return weak ? run->model.proven : run->model.acked;
}

static uint64_t guaranteed_seq(const sim_run *run)
{
    const uint64_t count = guaranteed_items(run);
    return count == 0 ? 0 : run->model.items[count - 1].seq;
}

static uint64_t media_events(const sim_run *run)
{
    const baton_sim_counts *counts = baton_sim_counts_of(run->sim);
    return counts->rotten + counts->misdirected + counts->lies;
}

/* The journal says that all is well, and something that was acknowledged is not there. */
static void judge_silent_loss(sim_run *run, const baton_recovery_report *report,
                              const baton_position *evidence)
{
    const uint64_t last_seq = report->last.seq;
    if (!run_media_hit(run))
        run_fail(run, "entry %" PRIu64 " was acknowledged, the journal ends at %" PRIu64 " (J1)",
                 guaranteed_seq(run), last_seq);
    run->lost = true;
    if (run->loss_accepted)
        return;
    if (last_seq < evidence->seq)
        run_fail(run,
                 "open was told that entry %" PRIu64 " was durable, and is content with %" PRIu64,
                 evidence->seq, last_seq);
    const bool one_flip =
        (run->faults & FAULT_MEDIA) == FAULT_ROT && media_events(run) == run->media_events + 1;
    if (one_flip && last_seq < run->model.proven_seq)
        run_fail(run,
                 "one bit flipped, entry %" PRIu64 " was proven, and the journal ends at %" PRIu64
                 " without a word (J5)",
                 run->model.proven_seq, last_seq);
    run->totals->unprovable++;
}

/* Whatever the model says: no whole batch may say that more was durable than is there. */
static void judge_evidence(sim_run *run, const baton_recovery_report *report)
{
    const bool still = baton_sim_counts_of(run->sim)->landed_late == run->landed_before_open;
    const baton_position found = run_evidence_on_disk(run, report->last);
    if (still && (found.epoch > report->last.epoch || found.seq > report->last.seq))
        run_fail(run,
                 "a batch on the disk says that entry %" PRIu64 " of epoch %" PRIu64
                 " was durable, and the journal ends at %" PRIu64 " of epoch %" PRIu64
                 " without a word (J5)",
                 found.seq, found.epoch, report->last.seq, report->last.epoch);
}

static void judge_recovery(sim_run *run, const baton_recovery_report *report,
                           const baton_position *evidence)
{
    run->totals->recoveries++;
    run->totals->torn += report->torn_cut > 0;
    run->totals->stale += run_recycled_on_disk(run);
    run->totals->quiet += run->quiet;
    run->lost = false;
    if (report->acked_lost != 0)
        run_fail(run, "open said that all is well, and that %" PRIu64 " entries are lost",
                 report->acked_lost);
    if (run_media_hit(run))
        judge_evidence(run, report);
    else if (report->last.seq > model_last_seq(&run->model))
        run_fail(run, "the journal ends at entry %" PRIu64 ", appended were %" PRIu64,
                 report->last.seq, model_last_seq(&run->model));
    if (run->quiet && report->torn_cut > 0 && !run_media_hit(run))
        run_fail(run, "nothing was in flight, and %" PRIu64 " bytes are called torn",
                 report->torn_cut);
    if (report->last.seq < guaranteed_seq(run))
        judge_silent_loss(run, report, evidence);
}

/* Nothing can be read, and the journal ends at this entry: retirement took all, or all is lost. */
static uint64_t items_without_any(const sim_run *run, uint64_t last_seq)
{
    uint64_t count = guaranteed_items(run);
    while (count > 0 && (run->model.keep_from == 0 || run->model.items[count - 1].seq > last_seq))
        count--;
    return count;
}

/* Everything is read and compared. The number of items that are there, or false: not readable, which
 * only the faults of a disk excuse. last_seq, first_seq: what the journal said of itself. */
static bool read_back(sim_run *run, uint64_t last_seq, uint64_t first_seq, uint64_t *ret_count)
{
    const run_read read = read_calmly(run, 0);
    const sim_model *model = &run->model;
    if (read.resurrected) {
        run_say(run, "-- what was cut came back, and nothing shows it");
        run->over = true;
        return false;
    }
    if (read.status < 0) {
        if (run_media_hit(run))
            return false;
        run_fail(run, "what open accepted is not readable: %s: %s %s",
                 baton_status_name(read.status), read.error.what, read.error.why);
    }
    const bool any = read.first != UINT64_MAX;
    /* A dead writer's page that could not be reset may say that there is nothing yet. */
    const bool page_excused = run_media_hit(run) || (run->faults & FAULT_EIO) != 0;
    if (!any && first_seq != 0 && page_excused && !run->begun)
        return false;
    if (!any && first_seq != 0)
        run_fail(run, "open ends at entry %" PRIu64 ", a reader gets nothing", last_seq);
    const uint64_t count = any ? read.end : items_without_any(run, last_seq);
    if (!run->lost && count < guaranteed_items(run) && !run_media_hit(run))
        run_fail(run, "%" PRIu64 " items were acknowledged, %" PRIu64 " are there (J1)",
                 guaranteed_items(run), count);
    if (any && model->items[count - 1].seq < last_seq && run_media_hit(run) && !run->begun)
        return false; /* hit since then, and no living writer says that it was there */
    if (any && !run->begun && (run->faults & FAULT_EIO) != 0) {
        *ret_count = count; /* a dead writer's page could not be reset: it says less */
        return true;
    }
    if (any && model->items[count - 1].seq < last_seq)
        run_fail(run, "open ends at entry %" PRIu64 ", a reader at %" PRIu64, last_seq,
                 model->items[count - 1].seq);
    if (any && read.first > 0 && !run->beginning_lost &&
        model->items[read.first].seq > model->keep_from)
        run_fail(run, "the journal begins at entry %" PRIu64 ", kept from %" PRIu64 " on",
                 model->items[read.first].seq, model->keep_from);
    *ret_count = count;
    return true;
}

static void check_facts(sim_run *run, uint64_t count)
{
    static baton_facts wanted;
    model_facts(&run->model, count, &wanted);
    const bool same = memcmp(&wanted, baton_journal_facts(run->journal), sizeof(wanted)) == 0;
    if (same || run->beginning_lost)
        return;
    if (!run_media_hit(run))
        run_fail(run, "the standing facts are not those of the records before (J11)");
    run->over = true; /* the one header that had them rotted, and nothing else stood there */
    run->totals->unprovable++;
}

/* ---- damage ---- */

/* Somebody gives up what is lost. Afterwards the journal is good, and a prefix of what it was. */
static void repair(sim_run *run)
{
    baton_sim_process *process = baton_sim_start(run->sim);
    baton_repair_report report;
    baton_error error = {0};
    const baton_sim_faults before = calm(run);
    if (run_one_in(run, 4))
        baton_sim_crash_at(run->sim,
                           baton_sim_counts_of(run->sim)->operations + 1 + run_draw(run, 30),
                           run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT);
    wrap_become(run->sim, process);
    run->landed_before_open = baton_sim_counts_of(run->sim)->landed_late;
    const int r = baton_journal_repair(RUN_DIRECTORY, BATON_BACKEND_AUTO, true, &report, &error);
    bool died = baton_sim_is_dead(process);
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL);
    baton_sim_kill(process);
    run->totals->repairs++;
    run_say(run, "-- repair: %s, %s", baton_status_name(r), died ? "and died" : "done");
    if (r == BATON_E_DAMAGED &&
        baton_sim_counts_of(run->sim)->landed_late != run->landed_before_open)
        died = true; /* a dead writer's batch came late and proved more: it is to be run again */
    if (!died && r < 0)
        run_fail(run, "repair failed: %s: %s: %s", baton_status_name(r), error.what, error.why);
    run->acked_position = (baton_position){0};
    run->beginning_lost = true;
    uint64_t count;
    const bool read = !died && read_back(run, report.last.seq, 0, &count);
    if (!died && !read && !run->over)
        run_fail(run, "what repair left is not readable");
    if (read)
        model_cut(&run->model, count);
    run->lost = run->loss_accepted = true;
    *baton_sim_faults_of(run->sim) = before;
    if (run->reader != NULL)
        run_reader_close(run);
}

static void on_damaged(sim_run *run, const baton_error *error)
{
    run->totals->damaged++;
    run_say(run, "-- damaged: %s offset %" PRIu64 ": %s", error->path, error->offset, error->why);
    if (!run_media_hit(run))
        run_fail(run, "called damaged after nothing but crashes and errors: %s: %s", error->path,
                 error->why);
    if (error->path[0] == '\0')
        run_fail(run, "damaged, and not said where");
    repair(run);
}

/* ---- opening ---- */

static void on_error(sim_run *run, int r, const char *what, const baton_error *error,
                     uint32_t tries)
{
    const bool excused_io = r == -EIO && (run->faults & (FAULT_EIO | FAULT_SPOIL)) != 0;
    const bool excused_full = r == BATON_E_NO_SPACE && run->full;
    run_say(run, "-- %s: %s", what, baton_status_name(r));
    if (r == BATON_E_OTHER_JOURNAL && run_media_hit(run)) {
        run->over = true; /* it looked new, and then a header of the old one came late */
        return;
    }
    if (!excused_io && !excused_full)
        run_fail(run, "%s failed: %s: %s: %s", what, baton_status_name(r), error->what, error->why);
    if (excused_full) {
        baton_sim_set_room(run->sim, UINT64_MAX);
        run->full = false;
    }
    baton_sim_heal(run->sim);
    if (tries > 3)
        (void)calm(run); /* a disk that never works ends nothing but the test */
}

static void plan_crash(sim_run *run)
{
    if (!run_one_in(run, 4))
        return;
    const baton_sim_crash how = run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT;
    const uint64_t now = baton_sim_counts_of(run->sim)->operations;
    run_say(run, "-- will crash while it opens");
    baton_sim_crash_at(run->sim, now + 1 + run_draw(run, 40), how);
}

/* The epoch is taken: the journal is what was read, and all of it is durable. */
static void on_begun(sim_run *run, const baton_recovery_report *report)
{
    uint64_t count;
    run->begun = true;
    run->quiet = false;
    if (!read_back(run, report->last.seq, report->first_seq, &count)) {
        run->begun = false;
        baton_sim_kill(run->process); /* the next open has to say it */
        return;
    }
    run->errors_seen = baton_sim_counts_of(run->sim)->segment_errors;
    if (count > 0 && run->model.items[count - 1].seq != report->last.seq)
        run_fail(run, "begun at entry %" PRIu64 ", readers get %" PRIu64, report->last.seq,
                 run->model.items[count - 1].seq);
    model_cut(&run->model, count);
    check_facts(run, count);
    run->acked_position = baton_journal_durable_position(run->journal);
    run->media_events = media_events(run);
    run->power_was_cut = run->loss_accepted = false;
}

/* One try. True: it may be tried again. */
static bool open_once(sim_run *run, uint32_t tries)
{
    baton_journal_options *options = &run->journal_options;
    baton_recovery_report report = {0};
    baton_error error = {0};
    uint64_t ignored;
    const bool durable = options->mode == BATON_MODE_DURABLE;

    if (run->process == NULL)
        run->process = baton_sim_start(run->sim);
    options->io_context = run->process;
    options->evidence = durable && run_one_in(run, 3) ? run->acked_position : (baton_position){0};
    options->from_seq = (run->faults & FAULT_MEDIA) == 0 && run_one_in(run, 6)
                            ? run_draw(run, run->model.acked_seq + 1)
                            : 0;
    wrap_become(run->sim, run->process);
    run->landed_before_open = baton_sim_counts_of(run->sim)->landed_late;
    int r = baton_journal_open(RUN_DIRECTORY, options, &run->journal, &report, &error);
    if (r < 0)
        run->journal = NULL;
    if (baton_sim_is_dead(run->process))
        return true;
    if (r == BATON_E_DAMAGED)
        on_damaged(run, &error);
    else if (r < 0)
        on_error(run, r, "open", &error, tries);
    if (r < 0)
        return true;
    run_say(run, "-- opened: last %" PRIu64 " of %" PRIu64 " acknowledged, %" PRIu64 " torn",
            report.last.seq, run->model.acked_seq, report.torn_cut);
    judge_recovery(run, &report, &options->evidence);
    if (run_one_in(run, 3))
        (void)read_back(run, report.last.seq, report.first_seq, &ignored);
    wrap_become(run->sim, run->process);
    r = run_one_in(run, 12) ? 1 : baton_journal_begin(run->journal, &report, &error);
    if (baton_sim_is_dead(run->process))
        return true;
    if (r == 0) {
        on_begun(run, &report);
        return baton_sim_is_dead(run->process);
    }
    baton_journal_abandon(run->journal);
    forget_journal(run);
    if (r < 0)
        on_error(run, r, "begin", &error, tries);
    return true;
}

void run_open(sim_run *run)
{
    const baton_sim_faults before = *baton_sim_faults_of(run->sim);
    bool again = true;
    for (uint32_t tries = 0; again && !run->over && tries < OPEN_TRIES_MAX; tries++) {
        if (tries < 3)
            plan_crash(run);
        again = open_once(run, tries);
        if (run->process != NULL && baton_sim_is_dead(run->process))
            run_bury(run);
    }
    *baton_sim_faults_of(run->sim) = before;
    if (again && !run->over)
        run_fail(run, "the journal does not open any more");
}
