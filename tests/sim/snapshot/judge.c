/* tests/sim/snapshot/judge.c: every snapshot on the disk, read by another process while nothing goes
 * wrong. A snapshot is complete or absent (S1), no wrong row comes out of one (S2), and what must
 * stay is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "snapshot/store.h"
#include "tests/sim/snapshot/snapshot_run.h"

typedef struct {
    snapshot_run *run;
    baton_io *io;
    baton_machine machine;
    baton_snapshot_listed *list;
    uint32_t count;
    uint64_t newest; /* whole, and named by the journal */
} judging;

/* Only what a fault of the medium did may be damaged. */
static bool may_be_damaged(const judging *self, const run_published *known)
{
    return (self->run->faults & FAULT_ANYWHERE) != 0 || (known != NULL && known->hit);
}

static void on_damaged(judging *self, const baton_snapshot_listed *listed, int r,
                       const baton_error *error)
{
    const run_published *known = run_find(self->run, listed->info.seq, listed->info.epoch);
    run_say(self->run, "-- snapshot %" PRIu64 " of epoch %" PRIu64 ": %s: %s", listed->info.seq,
            listed->info.epoch, baton_status_name(r), error->why);
    if (!may_be_damaged(self, known))
        run_fail(self->run, "snapshot %" PRIu64 " is there, and not whole (S1): %s: %s: %s",
                 listed->info.seq, baton_status_name(r), error->path, error->why);
    const bool spoiled = r == -EIO && (self->run->faults & FAULT_SPOIL) != 0;
    if (r != BATON_E_DAMAGED && !spoiled)
        run_fail(self->run, "snapshot %" PRIu64 " is damaged, and said to be %s", listed->info.seq,
                 baton_status_name(r));
    self->run->totals->damaged++;
}

/* It says of itself that it is whole: then it is the state of its seq, to the last byte. */
static void compare_rows(judging *self, const baton_snapshot_listed *listed)
{
    snapshot_run *run = self->run;
    const baton_snapshot_info *info = &listed->info;
    baton_snapshot_reader *reader = NULL;
    baton_digest state;
    baton_error error = {0};
    if (info->seq > run->submitted)
        run_fail(run, "a snapshot of entry %" PRIu64 ", appended were %" PRIu64, info->seq,
                 run->submitted);
    const run_digests expected = *run_expected(run, info->seq);
    int r = baton_machine_reset(&self->machine, &error);
    if (r == 0)
        r = baton_snapshot_reader_open(self->io, RUN_SNAPSHOTS, listed, &reader, &error);
    if (r == 0)
        r = baton_machine_unpack(&self->machine, reader, &error);
    baton_snapshot_reader_close(reader);
    if (r < 0)
        run_fail(run, "snapshot %" PRIu64 " verifies, and gives wrong rows (S2): %s: %s", info->seq,
                 baton_status_name(r), error.why);
    r = baton_machine_digest(&self->machine, 1, &state);
    if (r < 0 || !baton_digest_equal(state, expected.state) ||
        !baton_digest_equal(self->machine.effect_digest, expected.effects))
        run_fail(run, "snapshot %" PRIu64 " verifies, and is not the state of its entry (S2)",
                 info->seq);
    run->totals->read_whole++;
}

static void judge_one(judging *self, const baton_snapshot_listed *listed)
{
    baton_error error = {0};
    int r = listed->status;
    if (r == 0)
        r = baton_snapshot_verify_with(self->io, RUN_SNAPSHOTS, listed, &error);
    if (r < 0) {
        on_damaged(self, listed, r, &error);
        return;
    }
    compare_rows(self, listed);
    const run_published *known = run_find(self->run, listed->info.seq, listed->info.epoch);
    if (known != NULL && known->proven && listed->info.seq > self->newest)
        self->newest = listed->info.seq;
}

static bool is_listed(const judging *self, const run_published *one)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->list[i].info.seq == one->seq && self->list[i].info.epoch == one->epoch)
            return true;
    return false;
}

/* The generations that stay, and all that is newer than the oldest of them. */
static void must_be_there(const judging *self)
{
    snapshot_run *run = self->run;
    const run_published *oldest = NULL;
    for (uint32_t i = 0; i < run->engine_options.snapshots_keep && run_proven(run, i); i++)
        oldest = run_proven(run, i);
    const uint64_t from = oldest != NULL ? (uint64_t)(oldest - run->published) : 0;
    for (uint64_t i = 0; i < from; i++)
        run->published[i].gone |= !is_listed(self, &run->published[i]);
    for (uint64_t i = from; i < run->published_count; i++) {
        const run_published *one = &run->published[i];
        if (!one->nameless && !one->gone && !is_listed(self, one))
            run_fail(run, "snapshot %" PRIu64 " of epoch %" PRIu64 " was published, and is gone%s",
                     one->seq, one->epoch,
                     one->proven ? ": fewer generations than were to stay" : "");
    }
}

uint64_t run_judge(snapshot_run *run)
{
    judging self = {.run = run};
    baton_sim_process *process = baton_sim_start(run->sim);
    baton_error error = {0};
    const baton_sim_faults before = *baton_sim_faults_of(run->sim);
    *baton_sim_faults_of(run->sim) = (baton_sim_faults){0};
    baton_sim_hold_crash(run->sim, true);
    wrap_become(run->sim, process);
    int r = baton_io_open(&(baton_io_options){.ops_max = 16}, &self.io, &error);
    if (r == 0)
        r = baton_machine_init(&self.machine, &run_service, NULL, &error);
    if (r == 0)
        r = baton_snapshot_list_with(self.io, RUN_SNAPSHOTS, &self.list, &self.count, &error);
    if (r < 0)
        run_fail(run, "the snapshots can not be listed: %s: %s", baton_status_name(r), error.why);
    for (uint32_t i = 0; i < self.count; i++)
        judge_one(&self, &self.list[i]);
    if ((run->faults & FAULT_ANYWHERE) == 0)
        must_be_there(&self);
    free(self.list);
    baton_machine_fini(&self.machine);
    baton_io_close(self.io);
    baton_sim_kill(process);
    baton_sim_hold_crash(run->sim, false);
    *baton_sim_faults_of(run->sim) = before;
    return self.newest;
}
