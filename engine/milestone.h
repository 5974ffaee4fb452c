/* engine/milestone.h: what a long replay has come to, kept as a snapshot (S1, S7): a start that is
 * killed before its end does not make the next one begin at the beginning again.
 *
 * One is taken only right at a checkpoint of the journal that is proven durable and that the state
 * was just compared with: that record is what a later start trusts it by (docs/adr/0007). The next
 * one replaces it. A start that goes on to its end names it in the journal; one that refuses removes
 * it again. */
#pragma once

#include "engine/machine.h"
#include "engine/run.h"
#include "journal/records.h"
#include "snapshot/store.h"

/* Without a target: of replay between two of them. */
#define BATON_MILESTONE_NS UINT64_C(15000000000)
/* A part of the target, but not so little that the snapshots are all that it does. */
#define BATON_MILESTONE_TARGET_SHARE 4u
#define BATON_MILESTONE_NS_MIN       UINT64_C(1000000000)
#define BATON_MILESTONE_COST_SHARE   10u /* one costs at most a tenth of the replay that it keeps */
#define BATON_MILESTONE_NS_PER_BYTE  2u  /* assumed, until one was taken */

typedef struct {
    const char *directory; /* of the snapshots */
    baton_io *io;          /* theirs */
    baton_io_options image_io;
    baton_compress compress;
    bool image;      /* as the arena's pages, not as rows */
    uint32_t schema; /* pinned: of what is written */
    baton_mode mode;
    uint64_t target_ns;     /* of the RTO; 0: none */
    uint64_t every_entries; /* 0: by the times above; UINT64_MAX: none at all */
    const baton_clock *clock;
} baton_milestone_options;

typedef struct {
    baton_milestone_options options;
    baton_digest journal_id;
    baton_recovery_report recovery;
    uint64_t since_ns; /* of the last one, or of the beginning of the replay */
    uint64_t since_entries;
    uint64_t take_ns; /* what the last one took; 0: none yet */
    uint64_t took_ns; /* all of them */
    uint32_t taken_count;
    bool failed;              /* once: no more in this start */
    bool taken;               /* `info` is on the disk */
    baton_snapshot_info info; /* the newest */
    uint64_t load_bytes;      /* what a start from it loads */
    uint64_t replayed_bytes;  /* of the journal, before it */
    uint64_t *applied;        /* entries of each type, before it; malloc'ed; NULL: nobody counts */
} baton_milestones;

/* Before the replay of what follows the snapshot that was loaded. */
void baton_milestones_begin(baton_milestones *self, const baton_recovery_report *recovery,
                            baton_digest journal_id);
/* The machine has just been found equal to this checkpoint, which stands in the batch `at`. Takes
 * one when it is time; that it can't is logged, and no reason to stop. True: it took one. */
bool baton_milestones_pass(baton_milestones *self, baton_machine *machine,
                           const baton_hydrate_report *report, uint32_t schema, baton_position at);
/* The hydrate ended in an error: nothing of it stays. */
void baton_milestones_undo(baton_milestones *self);
void baton_milestones_fini(baton_milestones *self); /* what is on the disk stays */
