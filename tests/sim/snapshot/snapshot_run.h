/* tests/sim/snapshot/snapshot_run.h: one run of the engine and its snapshots on a simulated machine:
 * a seed, a workload, crashes and faults. Entry n is the same in every life, so that after any crash
 * there is one state and one digest for each seq: the model is a table.
 *
 *   service.c  a small service with a large state, and its table of digests
 *   run.c      one run from its seed: what it is about, steps, the end
 *   step.c     what happens between two crashes
 *   life.c     opening, dying, closing, and what is demanded of each
 *   judge.c    every snapshot on the disk is read and compared
 *   family.c   which image adds to which
 *   tool.c     what an operator does beside the engine: pins, exports, imports
 *   tracker.c  which pages were written
 *   wrap.c     the engine's clock and its sleep, and fork, which a simulated process can not do */
#pragma once

#include "base/io_sim.h"
#include "engine/machine.h"
#include "engine/run.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/wrap.h"

#define RUN_DIRECTORY "/s"
#define RUN_SNAPSHOTS RUN_DIRECTORY "/snapshots"

/* FAULT_ROT and FAULT_SPOIL are of snapshot files here; of the journal's: journal-sim. */
enum { /* after these anything on the disk may be wrong; then it has to be seen */
       FAULT_ANYWHERE = FAULT_MISDIRECT | FAULT_LYING,
};

typedef struct {
    sim_totals common;
    uint64_t submitted;
    uint64_t published;  /* snapshots that the engine said it had taken */
    uint64_t failed;     /* attempts that it said had failed */
    uint64_t full;       /* of these, for a full disk */
    uint64_t opens;      /* that gave a state */
    uint64_t from;       /* of these, out of a snapshot */
    uint64_t fell_back;  /* of these, not out of the newest one */
    uint64_t resumed;    /* of these, out of one that a start killed in its replay had kept */
    uint64_t kept;       /* such, taken in replays that came to their end */
    uint64_t refused;    /* opens that said what is damaged */
    uint64_t read_whole; /* snapshots that were read and compared */
    uint64_t damaged;    /* that were said to be damaged */
    uint64_t unprovable; /* losses that nothing on the disk could show */
    uint64_t broken;     /* engines that ended by a failed write or flush */
    uint64_t images;     /* of the published ones */
    uint64_t increments; /* of these */
    uint64_t stopped;    /* images for which the service stopped */
    uint64_t from_image; /* opens */
    uint64_t pins;
    uint64_t exports;
    uint64_t imports; /* over what was there, or into an empty directory */
    uint64_t mended;  /* damaged ones that an import made whole */
} run_totals;

/* A snapshot that the engine said it had published. */
typedef struct {
    uint64_t seq;
    uint64_t epoch;
    uint64_t named_after; /* its name is durable when an entry after this one is */
    bool proven;          /* the journal names it, durably */
    bool nameless;        /* a later start did not know its name */
    bool gone;            /* removed, when enough newer ones were there */
    bool hit;             /* a fault of the medium was aimed at it */
    bool pinned;          /* durably: it stays */
} run_published;

#define RUN_PUBLISHED_MAX 1024u

/* What a manifest said while it could be read. */
typedef struct {
    uint64_t seq;
    uint64_t epoch;
    baton_digest root;
    baton_digest parent; /* zero: it stands alone */
} run_member;

#define RUN_FAMILY_MAX 2048u

/* What a run's engines write; a directory with both is read by each of them. */
typedef enum { RUN_PORTABLE, RUN_IMAGES, RUN_BOTH } run_forms;

typedef struct {
    baton_digest state;
    baton_digest effects;
} run_digests;

/* A snapshot in a file of its own. */
typedef struct {
    bool there;
    uint64_t seq;
    uint64_t epoch;
} run_export;

typedef struct run {
    run_options options;
    run_totals *totals;
    uint32_t faults; /* of this run */
    baton_sim *sim;
    sim_random random; /* the workload's own chance */

    baton_sim_process *process;
    baton_engine_options engine_options;
    baton_engine *engine;
    bool sealed;
    bool broken;
    bool full; /* the disk is small now */
    bool over; /* what is there now can not be judged any more */

    uint64_t submitted; /* the highest seq that was ever taken in */
    uint64_t durable;   /* and that was ever durable */
    uint64_t taken_seen;
    int failed_seen; /* last_status that was counted */
    uint64_t attempts;
    run_published published[RUN_PUBLISHED_MAX]; /* in the order of time */
    uint32_t published_count;

    run_forms forms;
    const baton_service *service;
    bool tracker_refused; /* in this life */
    bool tracker_fails;   /* now and then */
    uint64_t tracker_failures;
    uint64_t tracker_failures_seen;
    run_member family[RUN_FAMILY_MAX];
    uint32_t family_count;
    bool ever_pinned;   /* something may be there without the entries after it */
    uint64_t kept_from; /* the oldest generation that was to stay, at its highest */
    bool independent;   /* two that share no chunk were there: from then on there always are */
    run_export export;

    baton_machine mirror; /* the uninterrupted run */
    run_digests *expected;
    uint64_t expected_room;
} snapshot_run;

/* Ends the program after saying what is wrong. */
void run_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace);

static inline uint64_t run_draw(snapshot_run *run, uint64_t below)
{
    return sim_random_below(&run->random, below);
}
static inline bool run_one_in(snapshot_run *run, uint64_t n)
{
    return run_draw(run, n) == 0;
}

/* service.c */
typedef struct {
    baton_le32 key;
    baton_le32 amount;
} run_entry;
extern const baton_service run_service; /* its state on the heap */
extern const baton_service run_service_arena;
void run_service_size(uint32_t value_bytes); /* of every key's value */
run_entry run_entry_of(const snapshot_run *run, uint64_t seq);
/* Every value, against its count. NULL, or what is wrong. */
const char *run_service_check(const void *state);
const run_digests *run_expected(snapshot_run *run, uint64_t seq);

/* step.c */
void run_step(snapshot_run *run);
/* After everything that may have made something durable, or published something. */
void run_note(snapshot_run *run);
/* Until all that was taken in is durable and no snapshot is being written, or it can not be. */
void run_settle(snapshot_run *run);

/* life.c */
void run_open(snapshot_run *run); /* or the run is over */
void run_close(snapshot_run *run);
void run_bury(snapshot_run *run); /* the process is dead */
baton_sim_faults run_calm(snapshot_run *run);
/* The n-th newest one that the journal names, from 0; NULL: there are fewer. */
run_published *run_proven(snapshot_run *run, uint32_t n);
run_published *run_find(snapshot_run *run, uint64_t seq, uint64_t epoch);

/* judge.c */
/* What is on the disk, by another process, nothing going wrong meanwhile: a snapshot is whole and
 * right, or it is said to be damaged, which only a fault of the medium excuses; what was published
 * and must stay is there. Returns the seq of the newest whole one that the journal names, or 0. */
uint64_t run_judge(snapshot_run *run);

/* The machine with the state of one of them, by its form, with all that it adds to. */
int run_load(snapshot_run *run, baton_io *io, baton_sim_process *process, baton_machine *machine,
             const char *root, const baton_snapshot_listed *listed, baton_error *error);
baton_service_config run_config(void);

/* family.c */
void run_family_learn(snapshot_run *run, const baton_snapshot_listed *list, uint32_t count);
/* It, or one that it adds to, was hit by a fault of the medium. */
bool run_is_hit(const snapshot_run *run, uint64_t seq, uint64_t epoch);
/* The one that it and others stand on: its root. Zero: it is not known. */
baton_digest run_base_of(const snapshot_run *run, uint64_t seq, uint64_t epoch);

/* tool.c */
void run_pin(snapshot_run *run);
void run_unpin(snapshot_run *run);
void run_export_one(snapshot_run *run);
void run_import_one(snapshot_run *run); /* no engine is running */

/* tracker.c */
const baton_tracker_ops *run_tracker(void); /* context: the run */

/* wrap.c: what the engine's sleep waits for. */
void wrap_engine(baton_sim *sim);
