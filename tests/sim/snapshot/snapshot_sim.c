/* tests/sim/snapshot/snapshot_sim.c: the engine and its snapshots on a simulated machine, seed after
 * seed. */
#include <inttypes.h>
#include <stdio.h>

#include "base/breakable.h"
#include "tests/sim/snapshot/snapshot_run.h"

static run_totals totals;

static void run(const run_options *options, baton_digest *ret_trace)
{
    run_seed(options, &totals, ret_trace);
}

static void print(void)
{
    const run_totals *t = &totals;
    printf(" submitted=%" PRIu64 " published=%" PRIu64 " failed=%" PRIu64 " full=%" PRIu64 "\n",
           t->submitted, t->published, t->failed, t->full);
    printf("opens=%" PRIu64 " from=%" PRIu64 " fell_back=%" PRIu64 " resumed=%" PRIu64
           " kept=%" PRIu64 " refused=%" PRIu64 " read_whole=%" PRIu64 " damaged=%" PRIu64
           " unprovable=%" PRIu64 " broken=%" PRIu64 "\n",
           t->opens, t->from, t->fell_back, t->resumed, t->kept, t->refused, t->read_whole,
           t->damaged, t->unprovable, t->broken);
    printf("images=%" PRIu64 " increments=%" PRIu64 " stopped=%" PRIu64 " from_image=%" PRIu64
           " pins=%" PRIu64 " exports=%" PRIu64 " imports=%" PRIu64 " mended=%" PRIu64 "\n",
           t->images, t->increments, t->stopped, t->from_image, t->pins, t->exports, t->imports,
           t->mended);
}

int main(int argc, char **argv)
{
    static const char *const break_names[] = {
#define BREAK_NAME(name, text) text,
        BATON_SNAPSHOT_BREAK_LIST(BREAK_NAME)
#undef BREAK_NAME
    };
    static const simulator self = {
        .name = "snapshot-sim",
        .about =
            "Runs the engine and its snapshots on a simulated machine: a random workload, "
            "crashes, faults,\n"
            "and a model that says what must be there afterwards. The same seed gives the same "
            "run, to the\n"
            "last byte.\n",
        .broken = "the snapshots",
        .break_names = break_names,
        .break_first = BATON_BREAKS + 1,
        .break_count = sizeof(break_names) / sizeof(break_names[0]),
        .run = run,
        .print = print,
        .totals = &totals.common,
        .recoveries = &totals.opens,
    };
    return sim_main(&self, argc, argv);
}
