/* tests/sim/sim_main.h: what journal-sim and snapshot-sim have in common: arguments, seed after
 * seed, the counts and the trace, how to say what is wrong and how to repeat it. */
#pragma once

#include <stdnoreturn.h>

#include "base/io_sim.h"

enum { /* what a run may do to the disk; in the order of --faults */
       FAULT_EIO = 1,
       FAULT_ENOSPC = 2,
       FAULT_SPLIT = 4,
       FAULT_ROT = 8,
       FAULT_SPOIL = 16, /* a unit can not be read until the disk remembers it */
       FAULT_MISDIRECT = 32,
       FAULT_LYING = 64,
       FAULT_LATE_LOCK = 128,
       FAULT_DRAWN = 256, /* the seed says which */
};

typedef struct {
    uint64_t seed;
    uint32_t steps;
    uint32_t faults;
    bool verbose;
    uint32_t plot;  /* of handover-sim: 0: the seed says which */
    uint32_t hosts; /* likewise */
} run_options;

/* Of all runs; a simulator has more of its own. */
typedef struct {
    uint64_t runs;
    uint64_t steps;
    baton_sim_counts sim;
} sim_totals;

typedef struct {
    const char *name;
    const char *about;  /* a paragraph of --help: what is run */
    const char *broken; /* what --break breaks */
    const char *const *break_names;
    int break_first; /* the baton_break of the first name */
    int break_count;
    const char *const *plot_names; /* NULL: it has none; the first is no plot's */
    uint32_t plot_count;
    uint32_t hosts_max; /* it knows --hosts 1 to so many; 0: it does not */
    void (*run)(const run_options *options, baton_digest *ret_trace);
    void (*print)(void); /* its own counts: the rest of a line, and more lines */
    const sim_totals *totals;
    const uint64_t *recoveries; /* what --progress counts beside the seeds */
} simulator;

/* The exit code. */
int sim_main(const simulator *self, int argc, char **argv);

/* A run is over: what happened on its machine is added up. */
void sim_count_up(sim_totals *totals, const run_options *options, const baton_sim *sim);

/* In a verbose run what the machine does and what is logged goes to stderr, otherwise nothing. */
void sim_listen(const run_options *options, baton_sim *sim);

__attribute__((format(printf, 2, 3))) void sim_say(const run_options *options, const char *format,
                                                   ...);
/* Says what is wrong with the run and how to repeat it, and ends the program. */
__attribute__((format(printf, 2, 3))) noreturn void sim_fail(const run_options *options,
                                                             const char *format, ...);
/* For a run of either simulator. */
#define run_say(run, ...)  sim_say(&(run)->options, __VA_ARGS__)
#define run_fail(run, ...) sim_fail(&(run)->options, __VA_ARGS__)

/* ---- steps ---- */

struct run; /* each simulator has its own */

typedef struct {
    uint32_t weight;
    void (*act)(struct run *run);
    uint32_t fault; /* only in runs with this one; 0: in all */
} sim_action;

/* One of them, by weight; for one that is not for these faults it is the first. */
const sim_action *sim_choose(sim_random *random, uint32_t faults, const sim_action *actions,
                             uint32_t count);
