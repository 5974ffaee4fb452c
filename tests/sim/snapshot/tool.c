/* tests/sim/snapshot/tool.c: what an operator does beside the engine, by a process of its own that may die
 * as the engine may: pins, one snapshot out into a file, and back: over itself, which mends it, or
 * into an empty directory, which must give the same state. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "snapshot/catalogue.h"
#include "snapshot/export.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define EXPORT_PATH     "/export"
#define OTHER_DIRECTORY "/other"
#define OTHER_SNAPSHOTS OTHER_DIRECTORY "/snapshots"

typedef struct {
    snapshot_run *run;
    baton_sim_process *process;
    baton_io *io;
    baton_error error;
} tool;

static bool tool_begin(tool *self, snapshot_run *run)
{
    *self = (tool){.run = run};
    if ((run->faults & FAULT_ANYWHERE) != 0)
        return false; /* what it read or wrote might be anything */
    self->process = baton_sim_start(run->sim);
    wrap_become(run->sim, self->process);
    const int r = baton_io_open(&(baton_io_options){.ops_max = 16}, &self->io, &self->error);
    baton_assert(r == 0);
    return true;
}

static void tool_end(tool *self)
{
    baton_io_close(self->io);
    baton_sim_kill(self->process);
    wrap_become(self->run->sim, self->run->process);
}

static bool is_alive(const tool *self)
{
    return !baton_sim_is_dead(self->process);
}

/* Did it say so without a reason? */
static void must_be_excused(const tool *self, int r, const char *what, bool hit)
{
    const snapshot_run *run = self->run;
    const bool excused =
        !is_alive(self) || (run->faults & FAULT_EIO) != 0 || (run->full && r == BATON_E_NO_SPACE) ||
        (run->full && baton_io_is_full_disk(r)) || (hit && (r == BATON_E_DAMAGED || r == -EIO));
    if (!excused)
        run_fail(run, "%s: %s: %s", what, baton_status_name(r), self->error.why);
    run_say(run, "-- %s: %s", what, baton_status_name(r));
}

/* ---- pins ---- */

void run_pin(snapshot_run *run)
{
    tool self;
    run_published *one = run_proven(run, (uint32_t)run_draw(run, 3));
    if (one == NULL || !tool_begin(&self, run))
        return;
    run->ever_pinned = true; /* also if nobody lives to say so */
    const int r =
        baton_snapshot_pin_with(self.io, RUN_SNAPSHOTS, one->seq, one->epoch, &self.error);
    run_say(run, "-- pin %" PRIu64 ": %s", one->seq, baton_status_name(r));
    if (r == 0 && is_alive(&self)) {
        one->pinned = true;
        run->totals->pins++;
    } else if (r != BATON_E_NOT_FOUND) {
        must_be_excused(&self, r, "a pin failed", false);
    }
    tool_end(&self);
}

void run_unpin(snapshot_run *run)
{
    tool self;
    run_published *one = NULL;
    for (uint32_t i = 0; i < run->published_count; i++)
        if (run->published[i].pinned && (one == NULL || run_one_in(run, 2)))
            one = &run->published[i];
    if (one == NULL || !tool_begin(&self, run))
        return;
    one->pinned = false; /* from the first moment on it may be gone */
    const int r =
        baton_snapshot_unpin_with(self.io, RUN_SNAPSHOTS, one->seq, one->epoch, &self.error);
    if (r < 0)
        must_be_excused(&self, r, "a pin stays", false);
    run_say(run, "-- unpin %" PRIu64, one->seq);
    tool_end(&self);
}

/* ---- out ---- */

static void export_chosen(tool *self, const baton_snapshot_listed *listed)
{
    snapshot_run *run = self->run;
    const uint64_t seq = listed->info.seq;
    const uint64_t epoch = listed->info.epoch;
    uint64_t bytes = 0;
    int r = baton_snapshot_export_with(self->io, RUN_SNAPSHOTS, listed, EXPORT_PATH, NULL, &bytes,
                                       &self->error);
    run_say(run, "-- export %" PRIu64 ": %s", seq, baton_status_name(r));
    const bool alone = baton_digest_is_zero(listed->info.parent);
    if (r == 0 && !alone)
        run_fail(run, "an increment was exported, alone");
    if (r == 0 && is_alive(self)) {
        run->export = (run_export){.there = true, .seq = seq, .epoch = epoch};
        run->totals->exports++;
    } else if (alone) {
        must_be_excused(self, r, "an export failed", run_is_hit(run, seq, epoch));
    }
}

void run_export_one(snapshot_run *run)
{
    tool self;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    if (!tool_begin(&self, run))
        return;
    int r = baton_io_unlink(self.io, EXPORT_PATH);
    run->export.there = run->export.there && r < 0 && is_alive(&self);
    if (r == 0 || r == -ENOENT)
        r = baton_snapshot_list_with(self.io, RUN_SNAPSHOTS, &list, &count, &self.error);
    if (r < 0)
        must_be_excused(&self, r, "nothing can be exported",
                        (run->faults & (FAULT_ROT | FAULT_SPOIL)) != 0);
    else if (count > 0) {
        const baton_snapshot_listed *listed = &list[run_draw(run, count)];
        if (listed->status == 0)
            export_chosen(&self, listed);
    }
    free(list);
    tool_end(&self);
}

/* ---- in ---- */

static void must_be_the_same(tool *self)
{
    snapshot_run *run = self->run;
    const baton_service_config config = run_config();
    const run_digests expected = *run_expected(run, run->export.seq);
    baton_snapshot_listed *list = NULL;
    baton_machine machine;
    baton_digest state;
    uint32_t count = 0;
    const baton_sim_faults before = *baton_sim_faults_of(run->sim);
    *baton_sim_faults_of(run->sim) = (baton_sim_faults){0};
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL);
    int r = baton_machine_init(&machine, run->service, &config, &self->error);
    if (r == 0)
        r = baton_snapshot_list_with(self->io, OTHER_SNAPSHOTS, &list, &count, &self->error);
    if (r == 0 && (count != 1 || list[0].status != 0))
        run_fail(run, "an import left %" PRIu32 " snapshots", count);
    if (r == 0)
        r = run_load(run, self->io, self->process, &machine, OTHER_DIRECTORY, &list[0],
                     &self->error);
    if (r == 0)
        r = baton_machine_digest(&machine, 1, &state);
    if (r < 0)
        run_fail(run, "what was imported can not be used: %s: %s", baton_status_name(r),
                 self->error.why);
    if (!baton_digest_equal(state, expected.state) ||
        !baton_digest_equal(machine.effect_digest, expected.effects) ||
        run_service_check(machine.state) != NULL)
        run_fail(run, "what was imported is not the state of entry %" PRIu64, run->export.seq);
    baton_machine_fini(&machine);
    free(list);
    *baton_sim_faults_of(run->sim) = before;
}

/* What an import that did not come to its end has left there, and the one before. */
static int clear_other(tool *self)
{
    uint32_t count = 0;
    baton_snapshot_listed *list = NULL;
    int r = baton_io_directory_make(self->io, OTHER_DIRECTORY);
    if (r == 0 || r == -EEXIST)
        r = baton_snapshot_list_with(self->io, OTHER_SNAPSHOTS, &list, &count, &self->error);
    for (uint32_t i = 0; i < count && r == 0; i++)
        r = baton_snapshot_remove(self->io, OTHER_SNAPSHOTS, list[i].info.seq, list[i].info.epoch);
    free(list);
    return r;
}

static void import_elsewhere(tool *self)
{
    snapshot_run *run = self->run;
    baton_snapshot_info info;
    int r = clear_other(self);
    if (r == 0)
        r = baton_snapshot_import_with(self->io, EXPORT_PATH, OTHER_SNAPSHOTS, NULL, &info,
                                       &self->error);
    if (r < 0)
        must_be_excused(self, r, "an import failed", false);
    if (r < 0 || !is_alive(self))
        return;
    must_be_the_same(self);
    run->totals->imports++;
}

/* At every moment it is what it was, or whole. */
static void import_over(tool *self, run_published *one)
{
    snapshot_run *run = self->run;
    const baton_snapshot_transfer transfer = {.force = true};
    baton_snapshot_info info;
    const int r = baton_snapshot_import_with(self->io, EXPORT_PATH, RUN_SNAPSHOTS, &transfer, &info,
                                             &self->error);
    run_say(run, "-- import over %" PRIu64 ": %s", one->seq, baton_status_name(r));
    if (r < 0)
        must_be_excused(self, r == -EEXIST && one->hit ? -EIO : r, "an import over the same failed",
                        (run->faults & FAULT_SPOIL) != 0);
    if (r < 0 || !is_alive(self))
        return;
    run->totals->mended += one->hit;
    run->totals->imports++;
    one->hit = false;
}

void run_import_one(snapshot_run *run)
{
    tool self;
    if (!run->export.there || !tool_begin(&self, run))
        return;
    run_published *one = run_find(run, run->export.seq, run->export.epoch);
    if (run_one_in(run, 3)) {
        const uint64_t now = baton_sim_counts_of(run->sim)->operations;
        baton_sim_crash_at(run->sim, now + 1 + run_draw(run, 50),
                           run_one_in(run, 2) ? BATON_SIM_KILL : BATON_SIM_POWER_CUT);
    }
    if (one != NULL && one->proven && !one->gone && (one->hit || run_one_in(run, 2)))
        import_over(&self, one);
    else
        import_elsewhere(&self);
    tool_end(&self);
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL);
}
