/* tests/sim/sim_run.h: one run of the journal on a simulated machine: a seed, a workload, crashes and
 * faults, and a model that knows what must be there afterwards.
 *
 *   run.c      one run from its seed: what it is about, steps, the end
 *   step.c     what the service does between two crashes
 *   life.c     opening, dying, closing, and what is demanded of each
 *   check.c    reading the journal back and comparing it with the model
 *   wrap.c     the calls of the journal that do not go through the seam */
#pragma once

#include <baton/journal.h>

#include "base/io_sim.h"
#include "tests/sim/model.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/wrap.h"

#define RUN_DIRECTORY "/j"

enum { /* after these what was acknowledged may be gone; then it has to be seen */
       FAULT_MEDIA = FAULT_ROT | FAULT_MISDIRECT | FAULT_LYING,
};

typedef struct {
    sim_totals common;
    uint64_t appended;
    uint64_t acknowledged;
    uint64_t recoveries; /* opens that said what is there */
    uint64_t checks;     /* times that all of it was read and compared */
    uint64_t torn;       /* recoveries that cut */
    uint64_t stale;      /* recoveries over a recycled segment, in use or ready */
    uint64_t quiet;      /* recoveries after a death with nothing in flight */
    uint64_t damaged;    /* losses that were seen */
    uint64_t unprovable; /* losses that nothing on the disk could show */
    uint64_t repairs;
    uint64_t broken; /* journals that ended by a failed write or flush */
} run_totals;

typedef struct run {
    run_options options;
    run_totals *totals;
    uint32_t faults; /* of this run */
    baton_sim *sim;
    sim_random random; /* the workload's own chance */
    sim_model model;
    uint32_t payload_max;
    bool
        churn; /* large entries, retired soon, long lives: segment after segment, recycled ones too */

    baton_sim_process *process; /* the writer's */
    baton_journal_options journal_options;
    baton_journal *journal;
    bool begun;
    bool sealed;
    bool broken;
    bool quiet;            /* nothing is in flight, or was when the writer died */
    uint64_t errors_seen;  /* segment_errors that the journal has had time to notice */
    uint64_t media_events; /* up to when the journal was last found whole */
    bool power_was_cut;    /* since then */
    uint64_t power_cuts_seen;
    uint64_t landed_before_open; /* writes of the dead */
    bool loss_accepted;          /* a repair began that gives up what is lost */
    bool over;                   /* what is there now can not be judged any more */
    bool lost;                   /* what was acknowledged may be missing now, and that was judged */
    bool beginning_lost;         /* a repair may have cut the oldest segments too */
    baton_position acked_position;
    bool full; /* the disk is small now */

    baton_sim_process *reader_process;
    baton_reader *reader;
    uint64_t reader_next; /* model item */
    bool reader_any;
} sim_run;

/* Ends the program after saying what is wrong. */
void run_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace);

static inline uint64_t run_draw(sim_run *run, uint64_t below)
{
    return sim_random_below(&run->random, below);
}
static inline bool run_one_in(sim_run *run, uint64_t n)
{
    return run_draw(run, n) == 0;
}
/* Is what is on the disk perhaps not what was written? */
static inline bool run_media_hit(const sim_run *run)
{
    const baton_sim_counts *counts = baton_sim_counts_of(run->sim);
    return counts->rotten + counts->misdirected + counts->lies > 0;
}
/* In mode written a failed flush may take back what was acknowledged, also from under a reader. */
static inline bool run_bytes_may_go(const sim_run *run)
{
    const bool written = run->journal_options.mode == BATON_MODE_WRITTEN;
    return run_media_hit(run) || (written && (run->faults & FAULT_EIO) != 0);
}

/* step.c */
void run_step(sim_run *run);
void run_note_acks(sim_run *run); /* after every call that may have acknowledged */

/* life.c */
void run_open(
    sim_run *run); /* until a journal is begun, or nothing is open and the process is dead */
void run_close(sim_run *run); /* in good order, or what is left of it */
void run_bury(sim_run *run);  /* the writer's process is dead */
void run_reader_close(sim_run *run);

/* check.c */
typedef struct {
    int status;       /* of the reader: 0, or what it said */
    uint64_t first;   /* model item that was read first; UINT64_MAX: none was */
    uint64_t end;     /* after the last one that was read */
    bool resurrected; /* what came then had been cut before */
    baton_error error;
} run_read;
/* All items from from_seq on, by another process. What is read is what was appended, or the run
 * fails. */
run_read run_read_all(sim_run *run, uint64_t from_seq);
/* The highest position that any whole batch from the journal's end on says was durable. */
baton_position run_evidence_on_disk(sim_run *run, baton_position last);
bool run_recycled_on_disk(sim_run *run); /* with stale bytes in it, more likely than not */
void run_read_live(sim_run *run);
