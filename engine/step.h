/* engine/step.h: one entry or record of a journal through the machine, and what a checkpoint says
 * about it (E2): the step that a replay and a standby are made of. */
#pragma once

#include "engine/machine.h"
#include "journal/records.h"

typedef struct {
    baton_machine *machine;
    const char *what;                /* is being done, for errors: "replay the journal" */
    const char *journal_directory;   /* for errors */
    uint64_t begin_seq;              /* of the snapshot; what is older is in it */
    uint64_t last_good_seq;          /* digests were equal here, or the snapshot's were */
    uint64_t effects_good_seq;       /* the effects up to here are those that the writer had */
    uint64_t said_seq, said_effects; /* it said so of an entry that is to come; 0: it did not */
    uint64_t entries_applied;
    uint64_t checkpoints_compared;
    void (*on_entry)(void *context, const baton_entry *entry); /* before it; may be NULL */
    void *context;
} baton_step;

/* What comes next in the journal; entries that the state holds already are skipped. Errors:
 * BATON_E_DIVERGED (names the interval), BATON_E_UNKNOWN_TYPE (E7), BATON_E_DAMAGED (a gap), what
 * apply said. */
BATON_MUST_USE int baton_step_take(baton_step *step, const baton_entry *entry, baton_error *error);
/* Before the entries of a batch: what its writer had applied when it sealed it, and the low 64 bits of
 * its effects' digest (J4); compared now, or when that entry was applied. 0: it said nothing.
 * BATON_E_DIVERGED. */
BATON_MUST_USE int baton_step_said(baton_step *step, uint64_t seq, uint64_t effects,
                                   baton_error *error);
