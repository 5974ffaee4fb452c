/* tests/sim/run.c: one run, from its seed to its trace. */
#include <string.h>

#include "tests/sim/sim_run.h"

/* ---- what the run is about ---- */

static uint32_t draw_faults(sim_run *run)
{
    static const uint32_t kinds[] = {0,
                                     0,
                                     0,
                                     FAULT_EIO,
                                     FAULT_ENOSPC,
                                     FAULT_EIO | FAULT_ENOSPC,
                                     FAULT_ROT,
                                     FAULT_ROT,
                                     FAULT_SPOIL,
                                     FAULT_MISDIRECT,
                                     FAULT_MISDIRECT,
                                     FAULT_LYING};
    uint32_t faults = kinds[run_draw(run, sizeof(kinds) / sizeof(kinds[0]))];
    faults |= run_one_in(run, 2) ? FAULT_SPLIT : 0;
    faults |= run_one_in(run, 2) ? FAULT_LATE_LOCK : 0;
    return faults;
}

static void set_faults(sim_run *run)
{
    const uint32_t faults = run->faults;
    *baton_sim_faults_of(run->sim) = (baton_sim_faults){
        .read_error = faults & FAULT_EIO ? 1000 : 0,
        .write_error = faults & FAULT_EIO ? 2000 : 0,
        .sync_error = faults & FAULT_EIO ? 8000 : 0,
        .name_error = faults & FAULT_EIO ? 4000 : 0,
        .split = faults & FAULT_SPLIT ? 50000 : 0,
        .misdirected = faults & FAULT_MISDIRECT ? 12000 : 0,
        .lying = faults & FAULT_LYING ? 30000 : 0,
        .late_lock = faults & FAULT_LATE_LOCK ? 300000 : 0,
    };
}

static void set_up(sim_run *run)
{
    static const uint32_t payloads[] = {300, 3000, 20000, 65536};
    run->random.state = run->options.seed * UINT64_C(0x9e3779b97f4a7c15);
    (void)sim_random_next(&run->random);
    wrap_seed(run->options.seed);
    run->sim = baton_sim_new(run->options.seed);
    run->faults = run->options.faults & FAULT_DRAWN ? draw_faults(run) : run->options.faults;
    run->payload_max = payloads[run_draw(run, 4)];
    run->churn = run_one_in(run, 3);
    if (run->churn)
        run->payload_max = BATON_ENTRY_BYTES_MAX;
    run->journal_options = (baton_journal_options){
        .mode = run_one_in(run, 6) ? BATON_MODE_WRITTEN : BATON_MODE_DURABLE,
        .service = "simulated",
        .segment_bytes = UINT64_C(1) << 20,
        .first_segment_bytes = (run->churn ? UINT64_C(1024) : UINT64_C(256)) << 10,
        .batch_bytes_max = 128 << 10,
        .batches_in_flight_max = 1 + (uint32_t)run_draw(run, 8),
        .no_ballast = !run_one_in(run, 4),
        .clock = baton_sim_clock(run->sim),
        .io_backend = baton_sim_backend(),
    };
    if ((run->faults & FAULT_MEDIA) != 0) /* what `written` loses honestly would hide the rest */
        run->journal_options.mode = BATON_MODE_DURABLE;
    sim_listen(&run->options, run->sim);
    set_faults(run);
    model_init(&run->model);
}

/* Whatever state it is in: once more through a crash or a close, and all of it is looked at. */
static void finish(sim_run *run)
{
    if (run->journal != NULL && !run->broken && run_one_in(run, 2))
        run_close(run);
    if (run->journal != NULL) {
        baton_sim_power_cut(run->sim);
        run_bury(run);
    }
    if (!run->over)
        run_open(run);
    if (run->journal != NULL)
        run_close(run);
    run_reader_close(run);
}

void run_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace)
{
    static sim_run self; /* large */
    memset(&self, 0, sizeof(self));
    self.options = *options;
    self.totals = totals;
    set_up(&self);
    for (uint32_t step = 0; step < options->steps && !self.over; step++) {
        if (self.journal == NULL)
            run_open(&self);
        else
            run_step(&self);
    }
    finish(&self);
    sim_count_up(&totals->common, options, self.sim);
    totals->acknowledged += self.model.acked_seq;
    *ret_trace = baton_sim_trace(self.sim);
    baton_sim_free(self.sim);
    model_fini(&self.model);
}
