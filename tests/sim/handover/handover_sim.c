/* tests/sim/handover/handover_sim.c: handovers on a simulated machine, seed after seed. */
#include <inttypes.h>
#include <stdio.h>

#include "base/breakable.h"
#include "tests/sim/handover/handover_run.h"

static run_totals totals;

static void run(const run_options *options, baton_digest *ret_trace)
{
    world_seed(options, &totals, ret_trace);
}

static void print(void)
{
    const run_totals *t = &totals;
    printf(" starts=%" PRIu64 " refused=%" PRIu64 " asked=%" PRIu64 " handed_over=%" PRIu64 "\n",
           t->starts, t->refused, t->asked, t->handed_over);
    printf("orders=%" PRIu64 " acks=%" PRIu64 " resent=%" PRIu64 " connections=%" PRIu64
           " cuts=%" PRIu64 " stops=%" PRIu64 "\n",
           t->orders, t->acks, t->resent, t->connections, t->cuts, t->stops);
    printf("on_two_hosts=%" PRIu64 " link_cuts=%" PRIu64 " undecided=%" PRIu64 " forced=%" PRIu64
           " forced_over_a_living=%" PRIu64 " forced_away=%" PRIu64 " fenced=%" PRIu64
           " set_aside=%" PRIu64 "\n",
           t->far, t->link_cuts, t->undecided, t->forced, t->forced_over, t->forced_away, t->fenced,
           t->set_aside);
}

int main(int argc, char **argv)
{
    static const char *const break_names[] = {
#define BREAK_NAME(name, text) text,
        BATON_HANDOVER_BREAK_LIST(BREAK_NAME)
#undef BREAK_NAME
    };
    static const char *const plot_names[PLOTS] = {
        [PLOT_LATE_RECORD] = "record-later-than-the-gap",
        [PLOT_UNFLUSHED] = "record-not-flushed",
        [PLOT_LATE_LANDING] = "record-lands-late",
    };
    static const simulator self = {
        .name = "handover-sim",
        .about = "Runs two or three instances of a service on a simulated machine, with a network: "
                 "handovers to\n"
                 "and fro, clients that count, kills, stops, power cuts, cuts of connections, and "
                 "what is demanded\n"
                 "of it all. The same seed gives the same run, to the last byte.\n",
        .broken = "the handover",
        .break_names = break_names,
        .break_first = BATON_HANDOVER_BREAK_FIRST,
        .break_count = sizeof(break_names) / sizeof(break_names[0]),
        .plot_names = plot_names,
        .plot_count = PLOTS,
        .hosts_max = 2,
        .run = run,
        .print = print,
        .totals = &totals.common,
        .recoveries = &totals.starts,
    };
    return sim_main(&self, argc, argv);
}
