/* tests/sim/snapshot/run.c: one run, from its seed to its trace. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/snapshot/snapshot_run.h"

/* ---- what the run is about ---- */

static uint32_t draw_faults(snapshot_run *run)
{
    static const uint32_t kinds[] = {
        0,         0,         0,           FAULT_EIO,       FAULT_ENOSPC, FAULT_EIO | FAULT_ENOSPC,
        FAULT_ROT, FAULT_ROT, FAULT_SPOIL, FAULT_MISDIRECT, FAULT_LYING};
    uint32_t faults = kinds[run_draw(run, sizeof(kinds) / sizeof(kinds[0]))];
    faults |= run_one_in(run, 2) ? FAULT_SPLIT : 0;
    faults |= run_one_in(run, 2) ? FAULT_LATE_LOCK : 0;
    return faults;
}

static void set_faults(snapshot_run *run)
{
    const uint32_t faults = run->faults;
    *baton_sim_faults_of(run->sim) = (baton_sim_faults){
        .read_error = faults & FAULT_EIO ? 1000 : 0,
        .write_error = faults & FAULT_EIO ? 3000 : 0,
        .sync_error = faults & FAULT_EIO ? 8000 : 0,
        .name_error = faults & FAULT_EIO ? 8000 : 0,
        .split = faults & FAULT_SPLIT ? 50000 : 0,
        .misdirected = faults & FAULT_MISDIRECT ? 12000 : 0,
        .lying = faults & FAULT_LYING ? 30000 : 0,
        .late_lock = faults & FAULT_LATE_LOCK ? 300000 : 0,
    };
}

static void set_up_images(snapshot_run *run)
{
    static const run_forms forms[] = {RUN_PORTABLE, RUN_IMAGES, RUN_BOTH};
    run->forms = forms[run_draw(run, 3)];
    run->service = run->forms == RUN_PORTABLE ? &run_service : &run_service_arena;
    if (run->forms == RUN_PORTABLE)
        return;
    if (run_one_in(run, 8))
        run_service_size(8192); /* more than one chunk */
    run->tracker_fails = run_one_in(run, 4);
    run->engine_options.config = run_config();
    run->engine_options.image_full_every = 2 + (uint32_t)run_draw(run, 5);
    if (run_one_in(run, 2)) /* chains need many of them in one life */
        run->engine_options.snapshot_every = 10 + run_draw(run, 50);
    run->engine_options.image_io_backend = baton_sim_backend();
    run->engine_options.image_tracker = run_tracker();
    run->engine_options.image_tracker_context = run;
}

static void set_up(snapshot_run *run)
{
    static const uint32_t values[] = {16, 256, 1024, 4096};
    static const baton_compress compress[] = {BATON_COMPRESS_AUTO, BATON_COMPRESS_LZ4,
                                              BATON_COMPRESS_RAW};
    run->random.state = run->options.seed * UINT64_C(0x9e3779b97f4a7c15);
    (void)sim_random_next(&run->random);
    wrap_seed(run->options.seed);
    run->sim = baton_sim_new(run->options.seed);
    wrap_engine(run->sim);
    run->faults = run->options.faults & FAULT_DRAWN ? draw_faults(run) : run->options.faults;
    run_service_size(values[run_draw(run, 4)]);
    run->engine_options = (baton_engine_options){
        .compress = compress[run_draw(run, 3)],
        .checkpoint_every = 1 + run_draw(run, 60),
        .snapshot_every = run_one_in(run, 2) ? 20 + run_draw(run, 200) : 0,
        .snapshots_keep = 2 + (uint32_t)run_draw(run, 2),
        .segment_bytes = UINT64_C(1) << 20,
        .retire = run_one_in(run, 2),
        .hydrate_snapshot_every =
            run->options.seed % 2 == 0 ? 5 + run->options.seed % 60 : UINT64_MAX,
        .io_backend = baton_sim_backend(),
        .snapshot_io_backend = baton_sim_backend(),
    };
    set_up_images(run);
    sim_listen(&run->options, run->sim);
    set_faults(run);
    const int r = baton_machine_init(&run->mirror, &run_service, NULL, NULL);
    baton_assert(r == 0);
}

/* Nothing goes wrong any more: a snapshot that is asked for now is taken, and the next start is made
 * from it, whatever had happened before. */
static void take_the_last_one(snapshot_run *run)
{
    (void)run_calm(run);
    run->tracker_fails = false;
    run->faults &= ~(uint32_t)FAULT_ENOSPC;
    run->full = false;
    baton_sim_set_room(run->sim, UINT64_MAX);
    run_open(run);
    if (run->over)
        return;
    baton_sim_crash_at(run->sim, 0, BATON_SIM_KILL); /* the open did less than was thought */
    wrap_become(run->sim, run->process);
    run_settle(run);
    baton_error error = {0};
    const int r = baton_engine_snapshot_begin(run->engine, &error);
    if (r < 0)
        run_fail(run, "the last snapshot was refused: %s: %s", baton_status_name(r), error.why);
    run_settle(run);
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(run->engine);
    if (state->last_status != 0)
        run_fail(run, "the last snapshot failed: %s: %s", baton_status_name(state->last_status),
                 state->last_error.why);
    run_close(run);
    run_open(run);
    if (!run->over)
        run_close(run);
}

static void finish(snapshot_run *run)
{
    if (run->engine != NULL && !run->broken && run_one_in(run, 2))
        run_close(run);
    if (run->engine != NULL) {
        baton_sim_power_cut(run->sim);
        run_bury(run);
    }
    if (!run->over)
        take_the_last_one(run);
}

void run_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace)
{
    static snapshot_run self; /* large */
    memset(&self, 0, sizeof(self));
    self.options = *options;
    self.totals = totals;
    set_up(&self);
    for (uint32_t step = 0; step < options->steps && !self.over; step++) {
        if (self.engine == NULL)
            run_open(&self);
        else
            run_step(&self);
    }
    finish(&self);
    sim_count_up(&totals->common, options, self.sim);
    *ret_trace = baton_sim_trace(self.sim);
    wrap_engine(NULL);
    baton_sim_free(self.sim);
    baton_machine_fini(&self.mirror);
    free(self.expected);
}
