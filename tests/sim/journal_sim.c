/* tests/sim/journal_sim.c: the journal on a simulated machine, seed after seed. */
#include <inttypes.h>
#include <stdio.h>

#include "base/breakable.h"
#include "tests/sim/sim_run.h"

static run_totals totals;

static void run(const run_options *options, baton_digest *ret_trace)
{
    run_seed(options, &totals, ret_trace);
}

static void print(void)
{
    const run_totals *t = &totals;
    printf(" appended=%" PRIu64 " acknowledged=%" PRIu64 "\n", t->appended, t->acknowledged);
    printf("recoveries=%" PRIu64 " checks=%" PRIu64 " torn=%" PRIu64 " stale=%" PRIu64
           " quiet=%" PRIu64 " damaged=%" PRIu64 " unprovable=%" PRIu64 " repairs=%" PRIu64
           " broken=%" PRIu64 "\n",
           t->recoveries, t->checks, t->torn, t->stale, t->quiet, t->damaged, t->unprovable,
           t->repairs, t->broken);
}

int main(int argc, char **argv)
{
    static const simulator self = {
        .name = "journal-sim",
        .about =
            "Runs the journal on a simulated machine: a random workload, crashes, faults, and a "
            "model that\n"
            "says what must be there afterwards. The same seed gives the same run, to the last "
            "byte.\n",
        .broken = "the journal",
        .break_names = baton_break_names,
        .break_first = BATON_BREAK_NOTHING,
        .break_count = BATON_BREAKS,
        .run = run,
        .print = print,
        .totals = &totals.common,
        .recoveries = &totals.recoveries,
    };
    return sim_main(&self, argc, argv);
}
