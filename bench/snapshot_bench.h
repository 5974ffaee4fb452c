/* bench/snapshot_bench.h: what the cases of suite `snapshot` share: options, one run of a case, rows
 * beside a reference, and processes of the bench's own program. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/io.h"
#include "bench/common.h"
#include "bench/rows.h"
#include "bench/sizes.h"

#define SNAP_SUITE  "snapshot"
#define SNAP_ROUNDS 9 /* most of any case */

typedef struct {
    const char *directory;
    const char *json;
    const char *only_case; /* NULL: all */
    bool quick;
    bool smoke; /* quick, one round, small: does it work at all */
    bool peers;
    bench_sizes sizes;
    baton_io_choice backends[2];
    uint32_t backends_count;
    const char *child; /* this process is one that a case started: which */
    uint64_t entries;  /* of the journal that a child makes or replays */
} snap_options;

typedef struct snap_region snap_region;

/* One case with one size of state on one backend. */
typedef struct {
    const snap_options *options;
    const bench_output *output;
    baton_io_choice io;
    const char *backend_name;
    uint64_t bytes;      /* of the state */
    const char *suffix;  /* of the case's name: "" at the largest size, else "_256m", "_1g" */
    snap_region *region; /* filled, nobody writes to it; NULL for a case that makes its own */
} snap_run;

static inline int snap_rounds(const snap_run *run, int quick, int full)
{
    return run->options->smoke ? 1 : run->options->quick ? quick : full;
}

/* Says what failed, and ends the program. error may be NULL, status 0: then errno. */
_Noreturn void snap_die(const char *what, int status, const baton_error *error);

/* Prints *row with suite, backend and the size's name filled in. reference_again > 0: what the
 * reference came to when it was measured again: the spread, and a row of its own. */
void snap_print(const snap_run *run, const bench_row *row, double reference_again);
/* Sorts. */
double snap_median(double *values, int count);

/* One round's order of sides: raw goes first in one round and last in the next, and what is measured
 * stands between the two. */
static inline int snap_first(int round)
{
    return round & 1;
}

/* ---- processes ---- */

/* This program again, as the child of that name, with the run's options. It is killed when this
 * process ends. *ret_fd: the other end of its report. */
pid_t snap_spawn(const snap_run *run, const char *child, const char *directory, uint64_t entries,
                 int *ret_fd);
/* The next bytes_count bytes of its report; dies when it ends before. */
void snap_hear(int fd, void *bytes, size_t bytes_count);
/* Closes fd, waits for the child; dies when it failed. */
void snap_join(pid_t pid, int fd);
/* In the child. */
void snap_tell(const void *bytes, size_t bytes_count);

/* ---- the cases ---- */

void snap_case_write(const snap_run *run);      /* image_write */
void snap_case_load(const snap_run *run);       /* image_load */
void snap_case_increment(const snap_run *run);  /* increment */
void snap_case_stall(const snap_run *run);      /* stall */
void snap_case_stall_fork(const snap_run *run); /* stall_fork */
void snap_case_memory(const snap_run *run);     /* memory */
void snap_case_drain(const snap_run *run);      /* drain_final, drain_final_cold */
void snap_case_cold(const snap_run *run);       /* cold_start */
void snap_case_portable(const snap_run *run);   /* portable_write, portable_load */

/* What the children do; each ends by returning. */
void snap_child_memory(const snap_run *run);
void snap_child_drain_ready(const snap_run *run);
void snap_child_drain_cold(const snap_run *run);
void snap_child_cold_make(const snap_run *run);
void snap_child_cold_start(const snap_run *run);
