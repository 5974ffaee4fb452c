/* bench/common.h: what the cases of suite `journal` share: options, time, a journal to measure, and
 * rows that name what they are compared with. */
#pragma once

#include <baton/histogram.h>
#include <baton/journal.h>

#include "bench/raw.h"
#include "bench/rows.h"

enum {
    BENCH_ENTRY_BYTES = 256,
    BENCH_FRAME_BYTES = 272, /* as it stands in a batch: with its 16 B header */
    BENCH_BATCH_HEADER_BYTES = 128,
    BENCH_UNIT_BYTES = 4096,
    BENCH_DEPTH = 8, /* batches in flight: the journal's default, and the raw side's */
    BENCH_BATCH_BYTES_MAX = 1 << 20,
    BENCH_PATH_BYTES = 512,
};
#define BENCH_SUITE   "journal"
#define BENCH_WAIT_NS UINT64_C(60000000000) /* no write takes longer, or the run fails */
#define BENCH_MIB     (UINT64_C(1) << 20)

typedef struct {
    const char *directory;
    const char *json;
    const char *curves;    /* points for the drawing; NULL: none */
    const char *only_case; /* NULL: all */
    bool quick;
    bool smoke;             /* quick, and only a block or two: does it work at all */
    uint64_t count_entries; /* this process is the one that callgrind looks at */
    baton_backend backends[2];
    uint32_t backends_count;
} bench_options;

/* One case on one backend. */
typedef struct {
    const bench_options *options;
    const bench_output *output;
    FILE *curves; /* or NULL */
    baton_backend backend;
    const char *backend_name;
    double *shared; /* one number that a case on one backend leaves for the next: 0 at first */
} bench_run;

static inline int bench_blocks(const bench_run *run, int quick, int full)
{
    return run->options->smoke ? 2 : run->options->quick ? quick : full;
}
int64_t bench_now_ns(void);
/* Processor time of the whole process so far, in user and kernel. */
int64_t bench_cpu_ns(void);
/* Prints what failed; returns status. */
int bench_fail(const char *what, int status);
void bench_progress(int done, int all);
/* Stored size of a batch with so many entries. */
static inline uint32_t bench_batch_bytes(uint64_t entries)
{
    uint64_t used = BENCH_BATCH_HEADER_BYTES + entries * BENCH_FRAME_BYTES;
    return (uint32_t)((used + BENCH_UNIT_BYTES - 1) & ~(uint64_t)(BENCH_UNIT_BYTES - 1));
}
/* Most entries that fit a batch of so many bytes. */
static inline uint64_t bench_batch_entries(uint32_t batch_bytes)
{
    return (batch_bytes - BENCH_BATCH_HEADER_BYTES) / BENCH_FRAME_BYTES;
}

/* A journal of one case, in a directory of its own. */
typedef struct {
    baton_journal *journal;
    baton_metrics *metrics;
    char path[BENCH_PATH_BYTES];
} bench_journal;

/* Opens and begins; says why it could not. Backend and metrics are filled in here. */
int bench_journal_open(const bench_run *run, const char *name, const baton_journal_options *options,
                       bench_journal *ret_journal);
/* Closes it and removes its directory. Zeroed: fine. */
int bench_journal_close(bench_journal *journal);
/* A counter of the journal by its name, 0 when there is none. */
uint64_t bench_journal_count(const bench_journal *journal, const char *name);
/* Polls until the next segment stands ready, so that no zeroing goes on beside what is measured. */
int bench_journal_settle(bench_journal *journal);
/* After BATON_E_FULL: until a batch is durable, or, when nothing is on its way, until the next
 * segment is a step nearer. */
int bench_wait_for_room(baton_journal *journal);
/* Appends one entry of BENCH_ENTRY_BYTES. */
int bench_append(baton_journal *journal);
int bench_raw_open(const bench_run *run, const char *name, raw_options options,
                   raw_device **ret_raw);
void bench_remove_tree(const char *path);
/* What lies there already would be measured with it, or loaded: says so, and a negative status. */
int bench_check_empty(const char *path);

/* A number of Baton's, the raw device's in the same blocks, and the raw device's again. */
typedef struct {
    const char *bench_case;
    const char *metric;
    const char *unit;
    const char *reference; /* NULL: "raw" */
    bool lower_is_better;
    double value;
    double raw;
    double raw_again; /* 0: not measured, no row */
} bench_comparison;
void bench_compare(const bench_run *run, const bench_comparison *comparison);
/* A number with no reference. */
void bench_plain(const bench_run *run, const char *bench_case, const char *metric, const char *unit,
                 double value);

typedef struct {
    baton_histogram *baton;
    baton_histogram *raw;
    baton_histogram *raw_again;
} bench_sides;
int bench_sides_create(bench_sides *sides);
void bench_sides_destroy(bench_sides *sides);
/* p50 p99 p99.9 max, in us, and the curve. reference NULL: "raw". */
void bench_compare_latencies(const bench_run *run, const char *bench_case, const char *reference,
                             const bench_sides *sides);
void bench_curve(const bench_run *run, const char *bench_case, const char *side,
                 const baton_histogram *histogram);

/* Work and time, summed over blocks. */
typedef struct {
    double amount;
    double ns;
} bench_total;
static inline double bench_rate(bench_total total)
{
    return total.ns > 0 ? total.amount * 1e9 / total.ns : 0;
}

/* ---- the cases, one file each ---- */
int bench_case_one(const bench_run *run);       /* append_one_in_flight */
int bench_case_peak(const bench_run *run);      /* append_peak, append_sustained */
int bench_case_128(const bench_run *run);       /* append_128_in_flight */
int bench_case_1024(const bench_run *run);      /* append_1024_in_flight */
int bench_case_open(const bench_run *run);      /* append_open_loop_10k, _100k, _1m */
int bench_case_scan(const bench_run *run);      /* recover_scan, recover_scan_replay */
int bench_case_tail(const bench_run *run);      /* tail_lag */
int bench_case_callgrind(const bench_run *run); /* instructions_per_entry */
/* The process that callgrind looks at: flat out, so many entries. */
int bench_count_entries(const bench_run *run, uint64_t entries);

/* Closed loop on a journal for `ns`: `entries_in_flight` appended and not yet durable, all the
 * time; drained at the end. */
int bench_closed_loop(baton_journal *journal, uint32_t entries_in_flight, int64_t ns,
                      bench_total *total, baton_histogram *batch_ns);
