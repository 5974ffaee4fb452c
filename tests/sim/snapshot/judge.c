/* tests/sim/snapshot/judge.c: every snapshot on the disk, read by another process while nothing goes
 * wrong. A snapshot is complete or absent (S1), no wrong row comes out of one (S2), and what must
 * stay is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "engine/hydrate.h"
#include "snapshot/store.h"
#include "tests/sim/snapshot/snapshot_run.h"

typedef struct {
    snapshot_run *run;
    baton_io *io;
    baton_sim_process *process;
    baton_machine machine;
    baton_snapshot_listed *list;
    uint32_t count;
    uint64_t newest;   /* whole, and named by the journal */
    baton_digest base; /* of one of those */
    bool independent;  /* two of those share no chunk */
} judging;

/* Only what a fault of the medium did may be damaged. */
static bool may_be_damaged(const judging *self, const baton_snapshot_listed *listed)
{
    return (self->run->faults & FAULT_ANYWHERE) != 0 ||
           run_is_hit(self->run, listed->info.seq, listed->info.epoch);
}

static void on_damaged(judging *self, const baton_snapshot_listed *listed, int r,
                       const baton_error *error)
{
    run_say(self->run, "-- snapshot %" PRIu64 " of epoch %" PRIu64 ": %s: %s", listed->info.seq,
            listed->info.epoch, baton_status_name(r), error->why);
    if (!may_be_damaged(self, listed))
        run_fail(self->run, "snapshot %" PRIu64 " is there, and not whole (S1): %s: %s: %s",
                 listed->info.seq, baton_status_name(r), error->path, error->why);
    const bool spoiled = r == -EIO && (self->run->faults & FAULT_SPOIL) != 0;
    if (r != BATON_E_DAMAGED && !spoiled)
        run_fail(self->run, "snapshot %" PRIu64 " is damaged, and said to be %s", listed->info.seq,
                 baton_status_name(r));
    self->run->totals->damaged++;
}

baton_service_config run_config(void)
{
    return (baton_service_config){.arena_options = {.reserve_bytes = UINT64_C(16) << 20}};
}

int run_load(snapshot_run *run, baton_io *io, baton_sim_process *process, baton_machine *machine,
             const char *root, const baton_snapshot_listed *listed, baton_error *error)
{
    baton_engine_paths paths;
    baton_snapshot_reader *reader = NULL;
    const baton_hydrate_options options = {
        .paths = &paths,
        .io = io,
        .image_io = {.custom = baton_sim_backend(), .custom_context = process},
    };
    (void)run;
    int r = baton_engine_paths_set(&paths, root, error);
    if (r == 0)
        r = baton_machine_reset(machine, error);
    if (r < 0)
        return r;
    if (baton_snapshot_is_image(&listed->info))
        return baton_machine_load_image(machine, &options, listed, NULL, NULL, error);
    r = baton_snapshot_reader_open(io, paths.snapshots, listed, &reader, error);
    if (r == 0)
        r = baton_machine_unpack(machine, reader, error);
    baton_snapshot_reader_close(reader);
    return r;
}

/* It says of itself that it is whole: then it is the state of its seq, to the last byte. False: an
 * image that adds to a damaged one. */
static bool compare_rows(judging *self, const baton_snapshot_listed *listed)
{
    snapshot_run *run = self->run;
    const baton_snapshot_info *info = &listed->info;
    baton_digest state;
    baton_error error = {0};
    if (info->seq > run->submitted)
        run_fail(run, "a snapshot of entry %" PRIu64 ", appended were %" PRIu64, info->seq,
                 run->submitted);
    const run_digests expected = *run_expected(run, info->seq);
    int r = run_load(run, self->io, self->process, &self->machine, RUN_DIRECTORY, listed, &error);
    if (r < 0 && !baton_digest_is_zero(info->parent) && may_be_damaged(self, listed)) {
        on_damaged(self, listed, r, &error);
        return false;
    }
    if (r < 0)
        run_fail(run, "snapshot %" PRIu64 " verifies, and gives wrong rows (S2): %s: %s", info->seq,
                 baton_status_name(r), error.why);
    r = baton_machine_digest(&self->machine, 1, &state);
    if (r < 0 || !baton_digest_equal(state, expected.state) ||
        !baton_digest_equal(self->machine.effect_digest, expected.effects))
        run_fail(run, "snapshot %" PRIu64 " verifies, and is not the state of its entry (S2)",
                 info->seq);
    const char *wrong = run_service_check(self->machine.state);
    if (wrong != NULL)
        run_fail(run, "snapshot %" PRIu64 " verifies, and has wrong bytes (S2): %s", info->seq,
                 wrong);
    run->totals->read_whole++;
    return true;
}

/* Beyond the generations that are to stay, there by a pin, or because the disk did not say at some
 * start what another one adds to: the journal need not hold the entries after it. */
static bool may_be_of_no_use(const judging *self, const run_published *known)
{
    snapshot_run *run = self->run;
    const run_published *oldest = run_proven(run, run->engine_options.snapshots_keep - 1);
    if (oldest != NULL && oldest->seq > run->kept_from) /* the journal may have gone up to there */
        run->kept_from = oldest->seq;
    return (run->ever_pinned || (run->faults & FAULT_SPOIL) != 0) && known->seq < run->kept_from;
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
    if (!compare_rows(self, listed))
        return;
    const run_published *known = run_find(self->run, listed->info.seq, listed->info.epoch);
    if (known == NULL || !known->proven)
        return;
    const bool no_use = may_be_of_no_use(self, known);
    if (listed->info.seq > self->newest && !no_use)
        self->newest = listed->info.seq;
    const baton_digest base = run_base_of(self->run, listed->info.seq, listed->info.epoch);
    self->independent |= !baton_digest_is_zero(self->base) && !baton_digest_equal(self->base, base);
    self->base = base;
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
    for (uint32_t i = 0; i < run->published_count; i++)
        if (run->published[i].pinned && !is_listed(self, &run->published[i]))
            run_fail(run, "snapshot %" PRIu64 " was pinned, and is gone", run->published[i].seq);
    const uint32_t medium = FAULT_ROT | FAULT_SPOIL;
    if (run->independent && !self->independent && (run->faults & medium) == 0)
        run_fail(run, "there were two snapshots that share no chunk, and are not any more (S1)");
    run->independent |= self->independent;
}

uint64_t run_judge(snapshot_run *run)
{
    judging self = {.run = run};
    baton_sim_process *process = baton_sim_start(run->sim);
    const baton_service_config config = run_config();
    baton_error error = {0};
    const baton_sim_faults before = *baton_sim_faults_of(run->sim);
    *baton_sim_faults_of(run->sim) = (baton_sim_faults){0};
    baton_sim_hold_crash(run->sim, true);
    self.process = process;
    wrap_become(run->sim, process);
    int r = baton_io_open(&(baton_io_options){.ops_max = 16}, &self.io, &error);
    if (r == 0)
        r = baton_machine_init(&self.machine, run->service, &config, &error);
    if (r == 0)
        r = baton_snapshot_list_with(self.io, RUN_SNAPSHOTS, &self.list, &self.count, &error);
    if (r < 0)
        run_fail(run, "the snapshots can not be listed: %s: %s", baton_status_name(r), error.why);
    run_family_learn(run, self.list, self.count);
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
