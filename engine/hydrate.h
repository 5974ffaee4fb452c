/* engine/hydrate.h: snapshot + the journal after it -> the state at the journal's end.
 *
 *   catalogue    which snapshots there are, and which of them may be used (S1)         catalogue.c
 *   load         the newest of those that proves whole, or the one before (S2)         hydrate.c
 *   replay       the entries after it, every checkpoint compared (E2)                  replay.c, step.c
 *
 * A long replay keeps what it has come to (milestone.h): that alone changes the disk, and a hydrate
 * that ends in an error takes it back. */
#pragma once

#include "base/io.h"
#include "engine/machine.h"
#include "engine/milestone.h"
#include "engine/run.h"
#include "journal/records.h"
#include "snapshot/store.h"

#define BATON_ENGINE_PATH_BYTES 1024u

typedef struct {
    char root[BATON_ENGINE_PATH_BYTES];
    char journal[BATON_ENGINE_PATH_BYTES + 16];
    char snapshots[BATON_ENGINE_PATH_BYTES + 16];
} baton_engine_paths;
/* -ENAMETOOLONG; BATON_E_INVALID for "". */
BATON_MUST_USE int baton_engine_paths_set(baton_engine_paths *paths, const char *directory,
                                          baton_error *error);

/* What a journal at rest said when it was recovered. */
typedef struct {
    baton_digest id; /* zero: nothing was ever written */
    const baton_facts *facts;
    baton_recovery_report recovery;
} baton_journal_view;

/* ---- catalogue.c ---- */

typedef enum {
    BATON_TRUST_NONE,
    BATON_TRUST_NAMED,       /* the journal names its root */
    BATON_TRUST_HANDED_OVER, /* it fits the handover record, if the loaded state does too */
    BATON_TRUST_CHECKPOINT,  /* the same of a checkpoint */
    BATON_TRUST_ROOT,        /* the operator names its root */
} baton_trust;

typedef struct {
    baton_snapshot_listed *listed; /* newest first; malloc'ed */
    uint32_t count;
    bool *bad; /* by the same index: tried, and found damaged */
} baton_catalogue;

BATON_MUST_USE int baton_catalogue_read(const char *directory, baton_catalogue *ret_catalogue,
                                        baton_error *error);
void baton_catalogue_fini(baton_catalogue *catalogue);
/* Highest durable position that a manifest of this journal proves (J5). All 0: none. */
baton_position baton_catalogue_evidence(const baton_catalogue *catalogue, baton_digest journal_id);
/* The seq of the second newest readable snapshot: a start looks at no older entry. 0: it may need
 * every one. */
uint64_t baton_catalogue_from_seq(const baton_catalogue *catalogue);
/* The readable one of that root; UINT32_MAX: there is none. */
uint32_t baton_catalogue_find(const baton_catalogue *catalogue, baton_digest root);
/* Is it trusted by what the journal says? Says nothing about its chunks. */
baton_trust baton_snapshot_trust(const baton_snapshot_info *info, const baton_journal_view *view);

/* ---- hydrate.c ---- */

typedef struct {
    const baton_engine_paths *paths;
    baton_io *io; /* snapshots are read with it */
    const baton_journal_view *view;
    baton_io_options image_io; /* images are read by threads, each with one of its own */
    baton_backend backend;     /* of the reader of the journal */
    uint64_t to_seq;           /* 0: the end */
    bool to_entry_alone;       /* nothing that stands after that entry: run.h */
    uint64_t to_time_ns;       /* 0: the end */
    bool ignore_snapshots;
    bool may_lead; /* a standby's: the journal after the snapshot may come later (follow.h) */
    void (*on_entry)(void *context, const baton_entry *entry);
    void *context;
    const baton_clock *clock; /* NULL: the system's */
    void (*on_progress)(void *context, const baton_hydrate_progress *progress); /* may be NULL */
    void *progress_context;
    baton_digest trust_root;      /* zero: none */
    baton_milestones *milestones; /* NULL: nothing is kept on the way */
} baton_hydrate_options;

/* Tells who wants to know, when it is time. */
typedef struct {
    const baton_hydrate_options *options;
    uint64_t next_ns;
} baton_progress_teller;
void baton_hydrate_tell(baton_progress_teller *teller, const baton_hydrate_progress *progress);

/* machine is fresh from init. On success *ret_chosen is the index of the snapshot used, UINT32_MAX
 * when none was. Errors: BATON_E_SCHEMA, BATON_E_OTHER_SERVICE, BATON_E_UNTRUSTED, BATON_E_DAMAGED,
 * BATON_E_DIVERGED, BATON_E_UNKNOWN_TYPE, what apply said. */
BATON_MUST_USE int baton_hydrate(const baton_hydrate_options *options, baton_catalogue *catalogue,
                                 baton_machine *machine, baton_hydrate_report *report,
                                 uint32_t *ret_chosen, baton_error *error);
/* This very snapshot into an empty machine, every chunk checked, its digest compared; whether it may be
 * trusted is the caller's to know. After an error the machine needs a reset. */
BATON_MUST_USE int baton_hydrate_load(const baton_hydrate_options *options,
                                      const baton_snapshot_listed *listed, baton_machine *machine,
                                      baton_error *error);
/* What a start from it loads: all pages of an image, of increments too. The machine is of the same
 * state. */
uint64_t baton_snapshot_load_bytes(const baton_snapshot_info *info, const baton_machine *machine);
/* Can this build go on with data that was written so? BATON_E_SCHEMA names both sides (E4, E7). */
BATON_MUST_USE int baton_check_facts(const baton_service *service, const baton_journal_view *view,
                                     baton_error *error);

/* ---- vouch.c ---- */

/* CHECKPOINT: one in the journal says of that entry what the manifest does. NAMED: a record named it
 * once. NONE. */
baton_trust baton_journal_vouches(const baton_hydrate_options *options,
                                  const baton_snapshot_info *info);

/* ---- hydrate_image.c ---- */

/* Pages, outbox and counts into a machine whose service has a layout; the digest is compared with
 * the manifest's. BATON_E_SCHEMA: the image is of another layout or address, and nothing was
 * touched or the machine is empty; after any other error it is. Then it needs a reset. */
BATON_MUST_USE int
baton_machine_load_image(baton_machine *machine, const baton_hydrate_options *options,
                         const baton_snapshot_listed *listed,
                         void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_all),
                         void *progress_context, baton_error *error);

/* ---- at_rest.c ---- */

/* baton_replay, and a look at the machine before it goes. about says of what it is the state. */
typedef int (*baton_machine_visit)(void *context, const baton_machine *machine,
                                   const baton_snapshot_info *about, baton_io *io,
                                   baton_error *error);
BATON_MUST_USE int baton_replay_visit(const baton_service *service, const char *directory,
                                      const baton_replay_options *options, uint32_t digest_schema,
                                      baton_machine_visit visit, void *context,
                                      baton_replay_result *ret_result, baton_error *error);

/* ---- replay.c ---- */

/* Apply what follows machine->seq up to to_seq (0: the end) and compare every checkpoint on the
 * way. */
BATON_MUST_USE int baton_machine_replay(baton_machine *machine,
                                        const baton_hydrate_options *options,
                                        baton_hydrate_report *report, baton_error *error);
