/* engine/run.h: the engine's life as the program drives it (drain/main.c). Services use
 * baton/engine.h. */
#pragma once

#include <baton/engine.h>
#include "engine/rto.h"
#include "journal/follow.h"
#include "snapshot/image.h"
#include "snapshot/store.h"

/* How an engine got its state; printed, logged and put into metrics. */
typedef struct {
    bool from_snapshot;
    uint64_t snapshot_seq;
    uint32_t snapshot_schema;
    char snapshot_form[16]; /* "portable" or "image"; "" */
    uint32_t
        snapshots_skipped; /* newer ones that were damaged or not trusted: each was logged with its reason (S2) */
    char snapshot_skipped_why[192]; /* of the newest skipped one, or "" */
    uint64_t replayed_entries;
    uint64_t checkpoints_compared; /* E2 */
    uint64_t last_good_seq;        /* of the last of them, or the snapshot's */
    uint64_t
        effects_good_seq; /* effects up to here are those that the writer had: each batch says (J4) */
    uint64_t load_bytes;     /* raw bytes of the snapshot used */
    uint64_t replayed_bytes; /* of the journal's batches */
    uint64_t recover_ns;     /* the journal's lock and recovery */
    uint64_t load_ns;
    uint64_t replay_ns;
    uint64_t total_ns; /* of the whole open, epoch header durable */
    /* The snapshot used is one that a start which was killed in its replay had kept: it was gone on
     * from there. 0: it is not. */
    uint64_t resumed_seq;
    bool by_trust_root;  /* the snapshot used was believed for options.trust_root only */
    uint32_t kept_count; /* of such snapshots, taken by this start */
    uint64_t kept_seq;   /* of the newest of them; 0: none */
    uint64_t kept_ns;    /* what taking them took: not in replay_ns */
    baton_recovery_report recovery;
} baton_hydrate_report;

/* How far a hydrate is. What came before, recovery of the journal, tells nothing. */
typedef struct {
    enum { BATON_HYDRATE_LOADING, BATON_HYDRATE_REPLAYING } phase;
    uint64_t seq;  /* that the state has reached; while loading, the snapshot's */
    uint64_t done; /* raw bytes while loading, entries while replaying */
    uint64_t of;
} baton_hydrate_progress;

/* Where state comes from, with no writer: for `baton replay|verify|digest` and as the first half
 * of an open. */
typedef struct {
    uint64_t to_seq; /* stop after this entry; 0: the end */
    /* With to_seq: the state right after that entry, its outbox with all that was not confirmed then. Else
     * confirmations that stand between that entry and the next one are in it, too. No snapshot of that very
     * entry is built on, so the entry itself must still be there. */
    bool to_entry_alone;
    uint64_t to_time_ns;   /* stop before the first entry later than this; 0: the end */
    bool ignore_snapshots; /* from entry 1 */
    baton_backend backend;
    uint64_t outbox_bytes_max;
    baton_service_config config;
    /* Every effect as it is applied; may be NULL. */
    void (*on_effect)(void *context, const baton_effect *effect);
    void (*on_entry)(void *context,
                     const baton_entry *entry); /* before it is applied; may be NULL */
    void *context;
} baton_replay_options;

typedef struct {
    uint64_t seq;
    uint64_t epoch;
    uint64_t effects_count;
    uint32_t schema; /* whose fields state_digest covers */
    baton_digest state_digest;
    baton_digest effect_digest;
    baton_hydrate_report hydrate;
} baton_replay_result;

/* Read DIR (its journal/ and snapshots/) without changing anything. Errors: as open below.
 * digest_schema 0: the newest. */
BATON_MUST_USE int baton_replay(const baton_service *service, const char *directory,
                                const baton_replay_options *options, uint32_t digest_schema,
                                baton_replay_result *ret_result, baton_error *error);

/* A state written in one schema and read back, by files in a directory of its own. */
typedef struct {
    uint32_t schema;
    uint64_t seq;
    uint64_t rows_count;
    uint64_t bytes;
    baton_digest state_digest; /* over that schema's fields: before and after */
    bool canonical;            /* what was read, written again, gives the same bytes */
} baton_round_trip_result;

typedef struct {
    const char *work_directory; /* exists; what is made in it is removed */
    const char *manifest_path;  /* of one snapshot, whatever names it; NULL: the state at the
                                   journal's end */
    void (*on_section)(void *context, uint32_t schema, const baton_snapshot_section_size *section);
    void (*on_schema)(void *context, const baton_round_trip_result *result);
    void *context;
} baton_round_trip_options;

/* For each schema that this build writes, the oldest first: written, read and compared: state
 * digest, effect digest, outbox. directory may be NULL with a manifest_path. BATON_E_DIVERGED when
 * something was lost on the way, BATON_E_SCHEMA, BATON_E_DAMAGED, ... */
BATON_MUST_USE int baton_round_trip(const baton_service *service, const char *directory,
                                    const baton_replay_options *replay,
                                    const baton_round_trip_options *options, baton_error *error);
/* The state at the journal's end, or as replay->to_seq says, as a portable snapshot in that schema (0: the
 * newest), into another directory: no journal names it. BATON_E_NOT_FOUND: the journal ends before to_seq. */
BATON_MUST_USE int baton_state_export(const baton_service *service, const char *directory,
                                      const baton_replay_options *replay, uint32_t schema,
                                      const char *to_directory, baton_snapshot_info *ret_info,
                                      baton_error *error);

/* What snapshots are written in. All are read. While pinned to an older schema: portable. */
typedef enum {
    BATON_FORM_AUTO, /* with a layout: images, and portable ones for builds with another layout: at
                        a drain that has the time, and before such a build's start would take
                        BATON_PORTABLE_RTO_MULTIPLE times the RTO target or journal_bytes_max of the
                        journal wait for one. Without a layout: portable */
    BATON_FORM_PORTABLE,
    BATON_FORM_IMAGE, /* for services with a layout */
} baton_snapshot_form;
#define BATON_PORTABLE_RTO_MULTIPLE 4u
#define BATON_JOURNAL_BYTES_MAX     (UINT64_C(8) << 30)

typedef struct {
    baton_mode mode;
    baton_backend backend;
    baton_service_config config;
    baton_compress compress;
    uint32_t pin_schema;       /* 0: the newest schema once finalized, else the one before; E4 */
    uint64_t checkpoint_every; /* entries between checkpoints; 0: 10,000 */
    uint64_t snapshot_every;   /* entries between snapshots; 0: only on request and at drain */
    uint64_t rto_target_ns;    /* a snapshot begins before the predicted RTO passes it; 0: none */
    /* Entries of a replay after which what it has come to is kept, at the next checkpoint, for a
     * start that has to begin again; 0: by the time it takes and rto_target_ns; UINT64_MAX: never */
    uint64_t hydrate_snapshot_every;
    uint32_t snapshots_keep; /* 0: 2 */
    /* Not zero: the root of a snapshot that is believed although no journal names it (S1). Without
     * a journal the service goes on from it in a new one. */
    baton_digest trust_root;
    uint64_t outbox_bytes_max; /* 0: 64 MiB; past it submit answers BATON_E_LAGGING */
    uint64_t segment_bytes;    /* 0: the journal's default */
    bool retire;               /* remove segments that no kept snapshot needs */
    /* While it hydrates, about every 20 ms, between two chunks or entries; may be NULL. */
    void (*on_progress)(void *context, const baton_hydrate_progress *progress);
    void *progress_context;
    const char *archive_directory; /* NULL; a segment goes only when it was copied there */
    const char *archive_command;   /* NULL; or when this took it: baton/archive.h */
    const struct baton_io_backend *io_backend; /* of the journal's writer; NULL; tests */
    void *io_context;
    const struct baton_io_backend *snapshot_io_backend; /* of the snapshots; NULL; tests */
    void *snapshot_io_context;
    baton_snapshot_form snapshot_form;
    uint64_t journal_bytes_max; /* AUTO, with retire: kept for builds with another layout at most;
                                   0: BATON_JOURNAL_BYTES_MAX */
    int pack_fork_error;        /* 0; tests: -errno that a fork for a portable snapshot gives */
    baton_image_choice image_choice;                 /* AUTO; tests */
    uint32_t image_full_every;                       /* 0: every 8th; tests */
    const struct baton_io_backend *image_io_backend; /* of images; NULL; tests */
    void *image_io_context;
    const baton_tracker_ops *image_tracker; /* NULL: the kernel's; tests */
    void *image_tracker_context;
    const baton_clock *clock;  /* of measured rates and of snapshots' times; NULL: the system's */
    bool standby;              /* open to follow another instance: see below */
    bool copies_when_diverged; /* a standby whose digests differ: see baton_engine_divergence */
} baton_engine_options;

/* What the loop hands out; the program's functions (baton/main.h) sit behind it. */
typedef struct {
    void (*release)(void *context, const baton_effect *effect);
    void (*turn)(void *context);
    void *context;
} baton_engine_hooks;

/* Make or open DIR, lock, recover, load the newest snapshot that can be trusted (S1) or the one
 * before (S2), replay, compare checkpoints (E2), then take the epoch. Refusals change nothing on
 * disk. Errors with file, offset and what to do: everything of baton_journal_open,
 * BATON_E_DIVERGED (names the interval), BATON_E_SCHEMA, BATON_E_UNKNOWN_TYPE,
 * BATON_E_OTHER_SERVICE, BATON_E_UNTRUSTED. */
BATON_MUST_USE int baton_engine_open(const baton_service *service, const char *directory,
                                     const baton_engine_options *options,
                                     const baton_engine_hooks *hooks, baton_engine **ret_engine,
                                     baton_hydrate_report *ret_report, baton_error *error);
/* One turn of the loop: sleep up to timeout_ns (UINT64_MAX: until something happens), dispatch
 * watches and the tick, poll the journal, release what became durable, call hooks.turn, go on
 * with a snapshot being written. 0, or the error after which only baton_engine_close is useful
 * (BATON_E_BROKEN, apply's error, ...). */
BATON_MUST_USE int baton_engine_turn(baton_engine *engine, uint64_t timeout_ns, baton_error *error);

/* Steps of a drain (H1), in this order; each may be asked for again. They do not block: turn the
 * engine in between. */
void baton_engine_seal(baton_engine *engine); /* no more entries; ticks stop */
bool baton_engine_all_released(
    const baton_engine
        *engine); /* everything submitted is durable and released; records are on their way */
/* Queue the handover record that names no successor {epoch, last seq, digests}; 0 queued, later
 * durable. */
BATON_MUST_USE int baton_engine_handover_record(baton_engine *engine, baton_error *error);
bool baton_engine_handover_durable(const baton_engine *engine);

/* Take a snapshot of now. BATON_E_AGAIN: one is being written (call again). 0: begun. */
BATON_MUST_USE int baton_engine_snapshot_begin(baton_engine *engine, baton_error *error);
/* The same at a drain: it should be done within that time, which may decide its form. */
BATON_MUST_USE int baton_engine_snapshot_begin_within(baton_engine *engine, uint64_t within_ns,
                                                      baton_error *error);
/* Of a sealed engine: a child that packs an older state is ended, so that the last one can be
 * taken. */
void baton_engine_snapshot_give_up_older(baton_engine *engine);
typedef struct {
    bool running;
    uint64_t taken_count; /* published by this process */
    uint64_t last_seq;    /* of the newest one published by this process; 0: none */
    int last_status;      /* of the last finished attempt: 0 or its error */
    baton_error last_error;
    baton_digest last_root;
    char last_form[16];       /* of the newest one; "" */
    char last_form_why[128];  /* why in this form */
    uint64_t portable_seq;    /* of the newest portable one there is; 0: none */
    double portable_start_ns; /* what a start by a build with another layout would take */
    /* Of the newest portable one published by this process: */
    char portable_by[8];    /* "fork": packed by a child; "loop": the service waited; "": none */
    char portable_why[192]; /* why not by a child */
    uint64_t portable_pause_ns;
    /* Of the newest image published by this process: */
    char last_by[8];    /* "live", "fork", "stop"; "": there was none */
    char last_why[192]; /* why not by a better way */
    bool last_full;
    uint64_t last_pause_ns; /* how long it held the service up */
} baton_engine_snapshot_state;
const baton_engine_snapshot_state *baton_engine_snapshot_status(const baton_engine *engine);

typedef struct {
    uint64_t seq; /* applied */
    uint64_t durable_seq;
    uint64_t released_seq;
    uint64_t epoch;
    uint32_t schema; /* of state_digest and of what is written: the pinned one */
    bool sealed;
    bool standby;
    baton_digest state_digest;
    baton_digest effect_digest;
    uint64_t effects_count;
    uint64_t outbox_bytes;
    uint64_t outbox_effects;
    const char *backend;
    const char *backend_reason;
    const char *commit_primitive;
    const char *warning;
} baton_engine_status;
BATON_MUST_USE int baton_engine_status_get(const baton_engine *engine,
                                           baton_engine_status *ret_status);

/* How long a start would take if the process died now (S7). */
void baton_engine_rto_get(baton_engine *engine, baton_rto_prediction *ret_prediction);
/* What it counts with for one entry of each type. */
const baton_rates *baton_engine_rates(const baton_engine *engine);
/* The process serves, so long after it began: its own share of a start counts, too. Once. */
void baton_engine_note_ready(baton_engine *engine, uint64_t since_begin_ns);

/* Journal the finalize fact (E4): from when it is durable on, the newest schema is written.
 * 0: it is. BATON_E_AGAIN: on its way; turn the engine, then ask again. Never blocks. */
BATON_MUST_USE int baton_engine_finalize(baton_engine *engine, baton_error *error);

/* ---- a handover: the standby's side (H2) ----
 *
 * Opened with options.standby it hydrates as ever, from whatever its directory holds (also one that
 * handed over to another instance, or followed one: neither may begin a term by itself), but takes no
 * epoch: it follows. Until it is promoted it
 * submits, confirms, releases, resends and ticks nothing and takes no snapshots: BATON_E_STANDBY.
 * A snapshot of the active's may stand in the directory before there is a journal, believed by
 * options.trust_root.
 *
 * Life: open, follow_start if follow_end says that the journal is empty, (follow, turn)*,
 * prepare_promotion, promote. Killed at any point it is opened as a standby again and goes on. */
bool baton_engine_is_standby(const baton_engine *engine);
/* As baton_journal_follow_end. All 0, and needs_start: the directory has no journal yet. */
void baton_engine_follow_end(const baton_engine *engine, baton_position *ret_position,
                             baton_digest *ret_digest, bool *ret_needs_start);
/* Of that, what is durable here. */
baton_position baton_engine_follow_durable(const baton_engine *engine);
/* Once, before the first batch of an empty journal. BATON_E_OTHER_JOURNAL: the snapshot that the
 * state is of belongs to another one. BATON_E_GONE: batches between that snapshot and start are
 * missing. BATON_E_SCHEMA, BATON_E_OTHER_SERVICE, BATON_E_INVALID. Nothing happened. */
BATON_MUST_USE int baton_engine_follow_start(baton_engine *engine, const baton_follow_start *start,
                                             baton_error *error);
/* Take the active's next batch: into the journal, through the machine, and what its records say
 * compared with what came of it here. Errors: BATON_E_FULL, BATON_E_NO_SPACE (turn the engine, then
 * the same again); those of baton_journal_follow, of a batch that was not taken: connect again.
 * BATON_E_DIVERGED of the state (names the interval), BATON_E_UNKNOWN_TYPE, BATON_E_SCHEMA, what
 * apply said: this engine is of no use any more, baton_engine_turn says the same; only close is
 * useful. The active knows nothing of any of them. */
BATON_MUST_USE int baton_engine_follow(baton_engine *engine, const baton_batch_header *batch,
                                       uint64_t bytes, baton_error *error);

/* Where an engine stands, for comparing two of them: equal in all, they are equal. Of an active
 * that is sealed and has released everything, or of a standby. */
typedef struct {
    uint64_t seq;            /* applied */
    baton_position position; /* of the last batch, durable or not; marks count */
    baton_digest chain;      /* its digest */
    uint32_t schema;         /* whose fields the state's digest covers */
    baton_digest state;
    baton_digest effects;
    baton_position durable; /* here */
} baton_engine_point;
/* schema 0: the pinned one. BATON_E_SCHEMA: this build does not know it. */
BATON_MUST_USE int baton_engine_digests(const baton_engine *engine, uint32_t schema,
                                        baton_engine_point *ret_point, baton_error *error);

/* All that a promotion to this epoch can have ready, while it still follows. May be called again;
 * not needed. */
BATON_MUST_USE int baton_engine_prepare_promotion(baton_engine *engine, uint64_t epoch,
                                                  baton_error *error);
/* Be the active: when it returns 0, the header of this epoch is durable and this is an ordinary
 * running engine. That the epoch was granted is the caller's to know. BATON_E_AGAIN: something that
 * came is not durable yet (turn the engine), or the journal has not come to the state's seq yet.
 * BATON_E_INVALID: a known epoch, or no standby. After another error only close is useful if
 * baton_engine_turn says so; else it still follows. */
BATON_MUST_USE int baton_engine_promote(baton_engine *engine, uint64_t epoch, baton_error *error);

/* Snapshots of the active's, named by the journal here. Is that one known to be in this directory? */
bool baton_engine_has_snapshot(const baton_engine *engine, uint64_t seq, baton_digest root);
/* One has come there while this one follows, whole and durable, what it adds to before it. From here on it counts as
 * one that this engine took: for the prediction (S7), and for what is pruned and retired. The journal
 * still stands where it does. BATON_E_UNTRUSTED: not named, or of an entry to come. */
BATON_MUST_USE int baton_engine_adopt_snapshot(baton_engine *engine,
                                               const baton_snapshot_info *info, baton_error *error);

/* ---- the way back: a standby of a version that decides otherwise (docs/handover.md, R13) ----
 *
 * With options.copies_when_diverged a standby whose digests differ from the active's does not end: it
 * goes on as a copy of the journal, without a state that counts. baton_engine_follow returns
 * BATON_E_DIVERGED once; digests and promotion are refused. It gets a state again from a snapshot. */

/* Why, with the interval and both digests; NULL: it has not. */
const baton_error *baton_engine_divergence(const baton_engine *engine);
/* Of a diverged one, ahead of the call below: gives back the memory of the state, which takes time. */
BATON_MUST_USE int baton_engine_forget_state(baton_engine *engine, baton_error *error);
/* In place of whatever state there is: the snapshot of that root in DIR/snapshots, which the journal
 * here names and whose seq is the journal's last: every chunk checked, its digest recomputed (S1). Then
 * it follows on from there, with the effects that were released until then as its own. Blocks;
 * on_progress, about every 20 ms, may be NULL. BATON_E_NOT_FOUND, BATON_E_UNTRUSTED, BATON_E_GONE
 * (of another seq), what loading says: then it has no state. */
BATON_MUST_USE int baton_engine_follow_snapshot(
    baton_engine *engine, baton_digest root,
    void (*on_progress)(void *context, const baton_hydrate_progress *progress), void *context,
    baton_error *error);

/* The active's part: sealed, and everything released: a portable snapshot of now, in the schema that is
 * pinned, its name durable in the journal. BATON_E_AGAIN: turn the engine, then ask again. 0: *ret_info
 * has its seq, epoch, root, form, bytes. One of this very entry that is there already serves, in
 * whatever form. Another error: why it could not be taken; the next call tries again. */
BATON_MUST_USE int baton_engine_snapshot_for_successor(baton_engine *engine,
                                                       baton_snapshot_info *ret_info,
                                                       baton_error *error);

/* ---- a handover: the active's side ---- */

/* As baton_engine_handover_record, naming the successor by its start nonce (not all 0). From when it
 * is queued nothing else is written, not even a mark, and nothing is confirmed; close writes no
 * close mark; the directory starts as a standby only. */
BATON_MUST_USE int baton_engine_handover_record_to(baton_engine *engine, const uint8_t nonce[16],
                                                   baton_error *error);
/* Undo baton_engine_seal: intake and ticks go on (R3). BATON_E_SEALED: a handover record is queued,
 * and it is too late; BATON_E_BROKEN. */
BATON_MUST_USE int baton_engine_unseal(baton_engine *engine, baton_error *error);

/* When that record is durable: follow the successor, in place, with the state that is there; a standby
 * from then on. BATON_E_AGAIN: it is not, or a snapshot is being written; turn the engine, then ask
 * again. BATON_E_INVALID: no successor was named. */
BATON_MUST_USE int baton_engine_stand_by(baton_engine *engine, baton_error *error);

/* Of the engine's directory; for readers of its journal. Both live as long as the engine. */
const char *baton_engine_journal_directory(const baton_engine *engine);
const baton_facts *baton_engine_facts(const baton_engine *engine);
baton_digest baton_engine_journal_id(const baton_engine *engine);  /* zero: nothing is there yet */
uint32_t baton_engine_schema(const baton_engine *engine);          /* what is written: pinned */
uint32_t baton_engine_batch_bytes_max(const baton_engine *engine); /* that is written, or taken */

/* Close mark, unlock, free; NULL is fine. Returns the first failure. */
int baton_engine_close(baton_engine *engine);
