/* engine/engine_private.h: a running engine, as its own files see it. Nobody else includes this.
 *
 * Life: open.c -> (loop.c -> turn.c -> submit.c, records.c, snapshot_task.c)* -> open.c (close). A
 * standby's: open.c -> (turn.c, standby.c)* -> standby.c (promote) -> as above.
 * One thread. */
#pragma once

#include <baton/archive.h>

#include "engine/hydrate.h"
#include "engine/loop.h"
#include "engine/step.h"
#include "snapshot/image.h"
#include "snapshot/pack_fork.h"

#define ENGINE_HELD_EFFECTS_MAX UINT64_C(65536) /* held back; past it submit answers BATON_E_FULL */
#define ENGINE_HELD_BYTES_MAX   (UINT64_C(64) << 20)
#define ENGINE_HELD_BYTES_READY (UINT64_C(4) << 20)  /* made at open */
#define ENGINE_OUTBOX_BYTES_MAX (UINT64_C(64) << 20) /* default */
#define ENGINE_CHECKPOINT_EVERY UINT64_C(10000)      /* default */
#define ENGINE_SNAPSHOTS_KEEP   2u                   /* default and least: S1 */
#define ENGINE_SNAPSHOT_OPS_MAX 32u
#define ENGINE_EPOCH_FORCED     (UINT64_C(1) << 32) /* H2: what a promotion by force adds */
#define ENGINE_TICK_NS_MIN      UINT64_C(1000000)
#define ENGINE_RETRY_NS         UINT64_C(10000000)
#define ENGINE_IMAGE_POLL_NS    UINT64_C(2000000) /* an image, or a child, tells nobody */
#define ENGINE_IMAGES_KEEP_MAX  32u

/* A snapshot on disk that this engine looks after. */
typedef struct {
    uint64_t seq;
    uint64_t epoch;
    uint64_t raw_bytes;
    baton_digest root;
    baton_digest parent; /* root of the image that it adds to; zero: none */
    bool is_image;
    bool good; /* named by the journal and not known to be damaged: a generation to fall back on */
} engine_generation;

/* One snapshot at a time. The drawing and the steps: snapshot_task.c. */
typedef enum {
    TASK_IDLE,
    TASK_IMAGING, /* pages are copied beside the service */
    TASK_PACKING, /* a child packs its frozen copy */
    TASK_PACKED,  /* waits until its seq is durable */
    TASK_PUBLISHING,
    TASK_NAMING, /* published; its root is not in the journal yet */
} engine_task_state;

typedef struct {
    engine_task_state state;
    baton_io *io;
    baton_snapshot_writer *writer;
    baton_snapshot_publisher *publisher;
    baton_snapshot_info info;
    bool retry; /* the kernel did not take an operation; no event will come for it */
    uint64_t begin_ns;
    uint64_t
        attempt_seq; /* of the last attempt, good or bad: the next scheduled one counts from here */
    uint64_t unread_seq; /* below it all stay: the disk did not say what it adds to; 0: none */
    engine_generation *generations; /* newest first */
    uint32_t generations_count;
    uint32_t generations_max;
    bool adopted; /* some came while it follows: what is there is known to be of this journal */
    bool prune_due;
    bool retire_due;          /* a segment was archived since the last try */
    uint64_t retire_keep_seq; /* what the kept generations need, as of the last prune; 0: all */
    uint64_t
        prune_after_seq; /* an entry after it is durable: then the newest root's record is, too */
    baton_engine_snapshot_state status;
} engine_snapshot_task;

/* The image form's part of a snapshot: image_task.c. */
typedef struct {
    baton_image_source_options source_options;
    baton_image_source *source; /* NULL: no images are taken */
    baton_image_choice choice;
    baton_io_options io; /* of the image's own ring */
    baton_image *image;  /* NULL: none is being taken */
    uint64_t pause_ns;   /* of this one */
    baton_metric *images_total[BATON_IMAGE_BYS];
} engine_image_task;

/* The portable form's part: pack_task.c. */
enum { PACKED_BY_LOOP, PACKED_BY_FORK, PACKED_BYS };
typedef struct {
    const char *why_not_fork; /* a child may pack: NULL */
    int fork_error;           /* tests */
    baton_io_options io;      /* of the child's own ring */
    baton_pack_fork *fork;    /* NULL: no child packs or has packed this one */
    int by;
    char why[192];     /* why not by a child */
    uint64_t pause_ns; /* of this one */
    baton_metric *portables_total[PACKED_BYS];
} engine_pack_task;

/* Which form the next snapshot has, and why: form.c. */
typedef struct {
    baton_snapshot_form wanted;
    uint64_t journal_bytes_max;
    /* the newest portable one: where a build with another layout starts */
    uint64_t portable_seq;   /* 0: at the journal's beginning */
    double portable_at;      /* where it stands in the journal, as rto.h counts */
    uint64_t portable_bytes; /* raw */
    uint64_t start_seq;      /* of the snapshot that this process started from */
    double take_ns_per_byte; /* of a portable one: packing and writing, by byte of state; measured
                                by this process, or 0 */
    double start_ns;         /* what such a build's start would take, as of the last look */
    const char *due_why;     /* a portable one is due; NULL: none is */
    bool image_came_first;   /* ... and the RTO had an image taken before it */
    uint64_t not_before_ns;  /* one that failed is not tried again before; a new active waits */
    bool for_successor;      /* the way back: portable, whatever was wanted (way_back.c) */
    /* of the one being taken */
    bool image;
    bool for_others; /* portable, beside images */
    const char *why;
} engine_form;

typedef struct {
    baton_metric *applied_seq;
    baton_metric *durable_seq;
    baton_metric *released_seq;
    baton_metric *effects_total;
    baton_metric *effects_held;
    baton_metric *effect_blocks;
    baton_metric *outbox_effects;
    baton_metric *outbox_bytes;
    baton_metric *standby;
    baton_metric *arena_bytes;
    baton_metric *checkpoints_total;
    baton_metric *snapshots_total;
    baton_metric *snapshots_failed_total;
    baton_metric *snapshot_seconds;
    baton_metric *snapshot_pause;
    baton_metric *portable_seconds;
    baton_metric *rto_seconds;
    baton_metric *journal_bytes; /* the journal's own: acknowledged */
} engine_metrics;

/* Following another instance: standby.c. */
typedef struct {
    bool following;           /* no writer yet */
    uint32_t pin_wanted;      /* options.pin_schema */
    baton_step step;          /* what comes goes through it */
    baton_snapshot_info from; /* the snapshot hydrated from; seq 0: there was none */
    uint64_t durable_batch;   /* the program was told */
    bool may_copy;            /* options.copies_when_diverged */
    bool diverged;            /* what comes is copied, not applied: way_back.c */
    baton_error divergence;
} engine_standby;

struct baton_engine {
    /* set in open, constant afterwards */
    const baton_service *service;
    baton_engine_paths paths;
    baton_engine_hooks hooks;
    baton_compress compress;
    uint64_t checkpoint_every;
    uint64_t snapshot_every;
    uint32_t snapshots_keep;
    uint64_t outbox_bytes_max;
    baton_mode mode;
    bool retire;
    baton_metrics *metrics;
    engine_metrics metric;
    baton_journal *journal;
    baton_archiver *archiver; /* NULL: retired segments are not kept */
    const baton_clock *clock;
    uint64_t hydrate_ns; /* the open's */

    /* the state: submit.c alone changes it */
    baton_machine machine;
    uint32_t schema;         /* pinned: of what is written, of digests; E4 */
    bool applying;           /* inside apply: nothing may be submitted */
    uint64_t checkpoint_seq; /* of the last checkpoint */

    /* the turn */
    baton_loop loop;
    uint64_t released_seq;
    bool unpolled;      /* something was appended since the journal was polled */
    bool released_some; /* or a record proven, since the program's last turn: it must not sleep
                           before the next one */
    bool sealed;
    baton_effect_key confirm_later[BATON_CONSUMERS_MAX]; /* while sealed; consumer n at n - 1 */
    uint64_t tick_interval_ns;                           /* 0: none */
    uint64_t tick_next_ns;
    void (*tick)(void *context);
    void *tick_context;

    /* records */
    bool
        no_space; /* the journal took no entry for a full disk: what room is left is for the handover */
    bool handover_queued;
    uint8_t handover_to[16]; /* the successor's nonce; zero: none is named */
    bool handover_durable;
    uint64_t handover_batch; /* it is in; journal numbers */
    uint64_t finalize_batch; /* 0: no finalize is on its way */

    engine_standby standby;
    engine_snapshot_task snapshot;
    engine_image_task image;
    engine_pack_task pack;
    engine_form form;
    baton_rto rto;
    uint64_t rto_look_ns; /* of the last look at the prediction; 0: none */

    int failed;    /* sticky: only close is useful */
    bool poisoned; /* apply failed: the entry must not reach the disk */
    baton_error failure;
};

/* submit.c: what consumers have confirmed while the engine was sealed, now that it is not. */
void baton_engine_confirm_now(baton_engine *engine);

/* standby.c */
/* In place of a term: at the end of an open. */
BATON_MUST_USE int baton_engine_begin_following(baton_engine *engine,
                                                const baton_hydrate_report *report,
                                                const baton_snapshot_info *used,
                                                baton_error *error);
/* May this directory begin a term? */
BATON_MUST_USE int baton_engine_check_authority(const baton_engine *engine,
                                                const baton_journal_view *view, baton_error *error);
bool baton_engine_followed_some(baton_engine *engine); /* more became durable since the last call */
/* A successor was named: nothing is written any more. */
bool baton_engine_granted(const baton_engine *engine);

/* standby.c: follow on from the state that is there. */
void baton_engine_follow_from(baton_engine *engine, uint64_t begin_seq, uint64_t last_good_seq);

/* way_back.c */
/* What came is not what the records say: go on by copying (0), or r. */
BATON_MUST_USE int baton_engine_diverge(baton_engine *engine, int r, const baton_error *why);

/* turn.c */
int baton_engine_fail(baton_engine *engine, int r, const char *what, const char *why,
                      const char *todo);

/* records.c */
bool baton_engine_disk_is_full(baton_engine *engine);
BATON_MUST_USE int baton_engine_append_record(baton_engine *engine, baton_record_kind kind,
                                              const void *wire, uint32_t wire_bytes);
BATON_MUST_USE int baton_engine_append_root(baton_engine *engine, baton_record_kind kind,
                                            uint64_t seq, baton_digest root);
void baton_engine_checkpoint(baton_engine *engine);
bool baton_engine_prove_records(baton_engine *engine);

/* status.c */
BATON_MUST_USE int baton_engine_metrics_open(baton_engine *engine,
                                             const baton_hydrate_report *report);
void baton_engine_log_opened(const baton_engine *engine, const baton_hydrate_report *report);
void baton_engine_metrics_update(baton_engine *engine);

/* adopt.c */
void baton_engine_milestones_set(const baton_engine *engine, const baton_engine_options *options,
                                 baton_milestones *milestones);
BATON_MUST_USE int baton_engine_milestone_adopt(baton_engine *engine,
                                                const baton_snapshot_info *info,
                                                baton_error *error);
/* Without a journal: begin will make one that goes on after this snapshot. */
BATON_MUST_USE int baton_engine_begin_after(baton_engine *engine, const baton_snapshot_info *info,
                                            baton_position *ret_last, baton_error *error);

/* generations.c */
/* After a hydrate: what is there, and what it is worth. */
BATON_MUST_USE int baton_generations_adopt(baton_engine *engine, const baton_catalogue *catalogue,
                                           const baton_journal_view *view, uint32_t chosen,
                                           baton_error *error);
/* What is there since: a dead writer's last rename may have come after the catalogue was read (J10).
 * Nothing names it, but it adds to what it adds to. */
void baton_generations_adopt_late(baton_engine *engine, const baton_snapshot_listed *list,
                                  uint32_t count);
/* Nobody could say what is there: nothing is removed. */
void baton_generations_unknown(baton_engine *engine);
BATON_MUST_USE int baton_generations_add(baton_engine *engine, const baton_snapshot_info *info);
void baton_generations_prune(baton_engine *engine);
/* With an archiver it stops at the first segment that is not archived yet. */
void baton_generations_retire(baton_engine *engine, uint64_t keep_seq);

/* image_task.c */
/* Can this service have the form that was chosen? BATON_E_INVALID. */
BATON_MUST_USE int baton_image_task_check(const baton_service *service,
                                          const baton_engine_options *options, baton_error *error);
BATON_MUST_USE int baton_image_task_open(baton_engine *engine, const baton_engine_options *options,
                                         baton_error *error);
/* Of rings that images are written and read with. */
baton_io_options baton_image_task_io_options(const baton_engine_options *options);
BATON_MUST_USE int baton_image_task_begin(baton_engine *engine, baton_error *error);
/* A step: BATON_E_AGAIN, 0 when all of it is on the disk, or why it failed. Fills what of *info
 * belongs to the boundary. */
BATON_MUST_USE int baton_image_task_step(baton_engine *engine, baton_snapshot_info *info,
                                         baton_error *error);
BATON_MUST_USE int baton_image_task_publish(baton_engine *engine, baton_io *io,
                                            baton_snapshot_info *info,
                                            baton_snapshot_publisher **ret_publisher,
                                            baton_error *error);
void baton_image_task_named(baton_engine *engine, const baton_snapshot_info *info,
                            baton_engine_snapshot_state *status);
void baton_image_task_end(baton_engine *engine); /* the one being taken, if there is one */
void baton_image_task_close(baton_engine *engine);
/* After a reset of the machine, which made its arena anew. No image is being taken. */
BATON_MUST_USE int baton_image_task_renew(baton_engine *engine, baton_error *error);

/* pack_task.c */
BATON_MUST_USE int baton_pack_task_open(baton_engine *engine, const baton_engine_options *options,
                                        baton_error *error);
/* By a child (*ret_forked), or, where that can't be, now. */
BATON_MUST_USE int baton_pack_task_begin(baton_engine *engine, bool *ret_forked,
                                         baton_error *error);
/* Of the child: BATON_E_AGAIN, 0: its chunks are on the disk, or why it failed. */
BATON_MUST_USE int baton_pack_task_step(baton_engine *engine, baton_snapshot_info *info,
                                        baton_error *error);
BATON_MUST_USE int baton_pack_task_publish(baton_engine *engine, baton_error *error);
void baton_pack_task_named(baton_engine *engine, baton_engine_snapshot_state *status);
void baton_pack_task_end(baton_engine *engine); /* the one being taken, if there is one */

/* form.c */
void baton_form_open(baton_engine *engine, const baton_engine_options *options);
/* After baton_engine_rto_started. */
void baton_form_started(baton_engine *engine, const baton_hydrate_report *report);
/* Sets form.image and form.why for the snapshot that begins. */
void baton_form_choose(baton_engine *engine, uint64_t within_ns);
/* Is a portable one due? Sets form.due_why. */
void baton_form_look(baton_engine *engine, uint64_t now_ns, const baton_rto_prediction *prediction);
/* Of the one that begins, when it is portable: how long it will take. */
uint64_t baton_form_estimate_ns(const baton_engine *engine);
void baton_form_named(baton_engine *engine, double device_ns);
void baton_form_failed(baton_engine *engine);

/* schedule.c */
void baton_engine_rto_started(baton_engine *engine, const baton_hydrate_report *report,
                              uint64_t before_seq);
/* After it: a start would begin with what this one's replay kept. */
void baton_engine_rto_kept(baton_engine *engine, const baton_milestones *milestones);
void baton_engine_rto_adopted(baton_engine *engine, const baton_snapshot_info *info);
void baton_engine_rto_snapshot_begun(baton_engine *engine);
void baton_engine_rto_snapshot_ended(baton_engine *engine, int status, uint64_t took_ns);
void baton_engine_snapshot_when_due(baton_engine *engine);

/* snapshot_task.c */
BATON_MUST_USE int baton_snapshot_task_open(engine_snapshot_task *task,
                                            const baton_engine_options *options,
                                            baton_error *error);
void baton_snapshot_task_turn(baton_engine *engine);
void baton_snapshot_task_rest(
    baton_engine *engine); /* of a standby: what goes, and nothing begins */
void baton_snapshot_task_close(engine_snapshot_task *task);
