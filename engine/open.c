/* engine/open.c: from a directory to a running engine, and back. Until the journal's begin nothing
 * on disk changes: every refusal comes before it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "base/breakable.h"
#include "engine/engine_private.h"

typedef struct {
    baton_engine *engine;
    const baton_engine_options *options;
    baton_catalogue catalogue;
    baton_journal_view view;
    uint32_t chosen;
    bool fresh; /* the data names no schema yet */
    baton_milestones milestones;
    baton_hydrate_report *report;
    baton_error *error;
} opening;

static void no_event(void *context, int fd, uint32_t events)
{
    (void)context; /* the turn that was woken does what there is to do */
    (void)fd;
    (void)events;
}

static int open_journal_with(opening *self, baton_position evidence)
{
    baton_engine *engine = self->engine;
    const baton_journal_options options = {
        .mode = self->options->mode,
        .backend = self->options->backend,
        .service = engine->service->name,
        .evidence = evidence,
        .from_seq = baton_catalogue_from_seq(&self->catalogue),
        .segment_bytes = self->options->segment_bytes,
        .metrics = engine->metrics,
        .archive = engine->archiver != NULL ? baton_archiver_ask : NULL,
        .archive_context = engine->archiver,
        .io_backend = self->options->io_backend,
        .io_context = self->options->io_context,
    };
    return baton_journal_open(engine->paths.journal, &options, &engine->journal,
                              &self->view.recovery, self->error);
}

/* Lock and recover. A manifest of this journal may prove more than the journal itself can: then it
 * has lost entries, and the second open says which file. */
static int open_journal(opening *self)
{
    baton_engine *engine = self->engine;
    int r = open_journal_with(self, (baton_position){0});
    if (r < 0)
        return r;
    /* The lock may have been waited for, while its holder published a snapshot and pruned
     * others. */
    baton_catalogue_fini(&self->catalogue);
    r = baton_catalogue_read(engine->paths.snapshots, &self->catalogue, self->error);
    if (r < 0)
        return r;
    baton_position evidence =
        baton_catalogue_evidence(&self->catalogue, baton_journal_id(engine->journal));
    /* Of a standby's snapshots it is another one's disk that the manifest speaks of (J10). */
    if (!self->options->standby && baton_position_compare(evidence, self->view.recovery.last) > 0) {
        baton_journal_abandon(engine->journal);
        engine->journal = NULL;
        r = open_journal_with(self, evidence);
        if (r < 0)
            return r;
    }
    self->view.id = baton_journal_id(engine->journal);
    self->view.facts = baton_journal_facts(engine->journal);
    return 0;
}

/* E4: not finalized is pinned. */
static int pin_schema(opening *self)
{
    const baton_service *service = self->engine->service;
    const uint32_t wanted = self->options->pin_schema;
    uint32_t finalized = self->view.facts->finalized_schema;
    self->fresh = finalized == 0;
    const uint32_t restored =
        baton_digest_is_zero(self->view.id)
            ? baton_catalogue_find(&self->catalogue, self->options->trust_root)
            : UINT32_MAX;
    if (self->fresh)
        finalized = restored != UINT32_MAX ? self->catalogue.listed[restored].info.schema
                                           : service->schema.write;
    self->engine->schema = wanted != 0 ? wanted : finalized;
    if (wanted == 0 || (wanted >= service->schema.read_min && wanted <= finalized))
        return 0;
    return baton_error_setf(
        self->error, BATON_E_SCHEMA, "pin the schema", "choose one in between",
        "%u was asked for; %s %s can go back to %u, and this data to at most %u", wanted,
        service->name, service->version, service->schema.read_min, finalized);
}

static int hydrate(opening *self)
{
    baton_engine *engine = self->engine;
    int r =
        self->options->standby ? 0 : baton_engine_check_authority(engine, &self->view, self->error);
    if (r == 0)
        r = baton_check_facts(engine->service, &self->view, self->error);
    if (r == 0)
        r = pin_schema(self);
    if (r < 0)
        return r;
    baton_engine_milestones_set(engine, self->options, &self->milestones);
    const baton_hydrate_options options = {
        .paths = &engine->paths,
        .io = engine->snapshot.io,
        .view = &self->view,
        .image_io = baton_image_task_io_options(self->options),
        .backend = self->options->backend,
        .clock = engine->clock,
        .may_lead = self->options->standby,
        .on_progress = self->options->on_progress,
        .progress_context = self->options->progress_context,
        .trust_root = self->options->trust_root,
        .milestones = &self->milestones,
    };
    r = baton_hydrate(&options, &self->catalogue, &engine->machine, self->report, &self->chosen,
                      self->error);
    if (r < 0 && self->options->standby && baton_engine_diverge(engine, r, self->error) == 0) {
        self->chosen = UINT32_MAX;
        r = baton_machine_reset(&engine->machine, self->error);
    }
    if (r < 0)
        return r;
    if (self->report->by_trust_root && baton_digest_is_zero(self->view.id) &&
        !self->options->standby)
        r = baton_engine_begin_after(engine, &self->catalogue.listed[self->chosen].info,
                                     &self->view.recovery.last, self->error);
    if (r < 0)
        return r;
    r = baton_generations_adopt(engine, &self->catalogue, &self->view, self->chosen, self->error);
    if (r == 0 && self->milestones.taken)
        r = baton_engine_milestone_adopt(engine, &self->milestones.info, self->error);
    return r;
}

/* The first records of this term. The open batch is empty: there is room for them. */
static int first_records(opening *self)
{
    static const char *const what = "write the first records of a term";
    baton_engine *engine = self->engine;
    int r = 0;
    if (self->fresh) {
        const baton_finalize_wire wire = {.schema = baton_le32_put(engine->schema)};
        r = baton_journal_append_record(engine->journal, BATON_RECORD_FINALIZE, &wire,
                                        sizeof(wire));
    }
    if (r == 0 &&
        self->chosen !=
            UINT32_MAX) { /* S1: a successor names what it trusted by the handover record */
        const baton_snapshot_info *info = &self->catalogue.listed[self->chosen].info;
        const baton_journal_view now = {.id = self->view.id,
                                        .facts = baton_journal_facts(engine->journal)};
        if (baton_snapshot_trust(info, &now) != BATON_TRUST_NAMED)
            r = baton_engine_append_root(engine, BATON_RECORD_ROOT, info->seq, info->root);
    }
    if (r == 0 && self->milestones.taken)
        r = baton_engine_append_root(engine, BATON_RECORD_ROOT, self->milestones.info.seq,
                                     self->milestones.info.root);
    engine->unpolled = true;
    /* What a replay kept counts as a generation from here on. A journal that breaks says so in the
     * first turn. */
    if (r == 0 && (self->milestones.taken || self->report->resumed_seq != 0)) {
        const int flushed = baton_journal_flush(engine->journal);
        (void)flushed;
    }
    return r < 0 ? baton_error_set(self->error, r, what, NULL, "free disk space, then start again")
                 : 0;
}

/* Partial files of a writer that died; the lock is ours. After that, nothing of its can get a name any
 * more. */
static void remove_leftovers(baton_engine *engine)
{
    static const baton_snapshot_policy all_stay = {.keep = UINT32_MAX};
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    uint32_t count = 0;
    baton_error why;
    int r = baton_snapshot_retain(engine->paths.snapshots, &all_stay, &list, &fates, &count, &why);
    if (r == 0) {
        baton_generations_adopt_late(engine, list, count);
    } else {
        baton_generations_unknown(engine);
        baton_log(WARN, "engine.leftovers_stay", BATON_LOG_TEXT("status", baton_status_name(r)),
                  BATON_LOG_TEXT("why", why.why));
    }
    free(list);
    free(fates);
}

static int sync_names(opening *self, const char *directory)
{
    const int r = baton_io_directory_sync(self->engine->snapshot.io, directory);
    if (r == 0)
        return 0;
    baton_error_set(self->error, r, "make names durable", NULL, "check the directory and the disk");
    baton_error_at(self->error, directory, UINT64_MAX);
    return r;
}

/* What this start builds on was seen, which does not mean that it is durable: a writer may have been
 * killed between a snapshot's rename and the flush of its directory. The name of the service's own
 * directory is ours to flush, the journal flushes what is in it; a parent that this user may pass
 * but not read can't be: then its owner made it. */
static int make_durable(opening *self)
{
    char parent[BATON_ENGINE_PATH_BYTES + 4];
    int r = 0;
    if (BATON_BREAK(NO_FLUSH_AT_OPEN))
        return 0;
    snprintf(parent, sizeof(parent), "%s/..", self->engine->paths.root);
    if (baton_digest_is_zero(self->view.id))
        r = sync_names(self, parent);
    if (r == -EACCES)
        r = 0;
    if (r == 0 && self->catalogue.count > 0)
        r = sync_names(self, self->engine->paths.snapshots);
    return r;
}

static int begin_term(opening *self)
{
    int r = baton_journal_begin(self->engine->journal, &self->view.recovery, self->error);
    if (r < 0)
        return r;
    self->report->recovery = self->view.recovery;
    return first_records(self);
}

static int begin_following(opening *self)
{
    const baton_snapshot_info *used =
        self->chosen != UINT32_MAX ? &self->catalogue.listed[self->chosen].info : NULL;
    return baton_engine_begin_following(self->engine, self->report, used, self->error);
}

static int begin(opening *self)
{
    baton_engine *engine = self->engine;
    int r = make_durable(self);
    if (r == 0)
        r = self->options->standby ? begin_following(self) : begin_term(self);
    if (r < 0)
        return r;
    remove_leftovers(engine);
    r = baton_image_task_open(engine, self->options, self->error);
    if (r == 0)
        r = baton_pack_task_open(engine, self->options, self->error);
    if (r < 0)
        return r;

    engine->machine.hold = !self->options->standby;
    engine->released_seq = engine->machine.seq;
    engine->checkpoint_seq = engine->machine.seq;
    r = baton_effect_queue_reserve(&engine->machine.held, ENGINE_HELD_BYTES_READY);
    if (r == 0)
        r = baton_loop_watch_fd(&engine->loop, baton_journal_fd(engine->journal), 1 /* EPOLLIN */,
                                no_event, NULL);
    if (r == 0)
        r = baton_loop_watch_fd(&engine->loop, baton_io_event_fd(engine->snapshot.io), 1, no_event,
                                NULL);
    if (r < 0)
        return baton_error_set(self->error, r, "set up the engine's loop", NULL, NULL);
    return 0;
}

static int check_options(const baton_engine_options *options, baton_error *error)
{
    if (options->snapshots_keep == 0 || options->snapshots_keep >= ENGINE_SNAPSHOTS_KEEP)
        return 0;
    return baton_error_set(error, BATON_E_INVALID, "open the engine",
                           "fewer than two snapshots can not be kept",
                           "keep two or more: one to fall back on (S1)");
}

static void set_options(baton_engine *engine, const baton_engine_options *options,
                        const baton_engine_hooks *hooks)
{
    if (hooks != NULL)
        engine->hooks = *hooks;
    engine->compress = options->compress;
    engine->mode = options->mode;
    engine->standby.pin_wanted = options->pin_schema;
    engine->standby.may_copy = options->copies_when_diverged;
    engine->retire = options->retire;
    engine->snapshot_every = options->snapshot_every;
    baton_form_open(engine, options);
    engine->clock = options->clock != NULL ? options->clock : baton_clock_system();
    engine->checkpoint_every =
        options->checkpoint_every != 0 ? options->checkpoint_every : ENGINE_CHECKPOINT_EVERY;
    engine->snapshots_keep =
        options->snapshots_keep != 0 ? options->snapshots_keep : ENGINE_SNAPSHOTS_KEEP;
    engine->outbox_bytes_max =
        options->outbox_bytes_max != 0 ? options->outbox_bytes_max : ENGINE_OUTBOX_BYTES_MAX;
}

/* What costs nothing on disk: paths, an empty state, I/O, the loop. */
static int prepare(opening *self, const char *directory)
{
    baton_engine *engine = self->engine;
    baton_error *error = self->error;
    int r = baton_machine_init(&engine->machine, engine->service, &self->options->config, error);
    if (r == 0)
        r = check_options(self->options, error);
    if (r == 0)
        r = baton_image_task_check(engine->service, self->options, error);
    if (r == 0)
        r = baton_engine_paths_set(&engine->paths, directory, error);
    if (r < 0)
        return r;
    r = baton_rto_init(&engine->rto, engine->service, engine->clock, self->options->rto_target_ns);
    engine->machine.rates = &engine->rto.rates;
    if (r == 0)
        r = baton_metrics_create(&engine->metrics);
    if (r == 0)
        r = baton_loop_init(&engine->loop);
    if (r < 0)
        return baton_error_set(error, r, "set up the engine", NULL, NULL);
    r = baton_snapshot_task_open(&engine->snapshot, self->options, error);
    if (r < 0)
        return r;
    r = baton_io_directory_make(engine->snapshot.io, engine->paths.root);
    if (r < 0) {
        baton_error_set(error, r, "make the service's directory", NULL,
                        "make its parent, and check the rights");
        baton_error_at(error, engine->paths.root, UINT64_MAX);
        return r;
    }
    return baton_catalogue_read(engine->paths.snapshots, &self->catalogue, error);
}

static void archived(void *context, int fd, uint32_t events)
{
    baton_engine *engine = context;
    uint64_t count;
    (void)events;
    const ssize_t got = read(fd, &count, sizeof(count));
    (void)got;
    engine->snapshot.retire_due = true;
}

/* Its answers come by the loop, so that no turn waits for a copy or a command. */
static int open_archiver(opening *self)
{
    baton_engine *engine = self->engine;
    const baton_archive_options options = {
        .directory = self->options->archive_directory,
        .command = self->options->archive_command,
        .metrics = engine->metrics,
    };
    if (options.directory == NULL && options.command == NULL)
        return 0;
    int r = baton_archiver_open(&options, &engine->archiver, self->error);
    if (r < 0)
        return r;
    r = baton_loop_watch_fd(&engine->loop, baton_archiver_fd(engine->archiver), EPOLLIN, archived,
                            engine);
    return r < 0 ? baton_error_set(self->error, r, "set up archiving", NULL, NULL) : 0;
}

static void destroy(baton_engine *engine)
{
    baton_archiver_close(engine->archiver);
    baton_pack_task_end(engine);
    baton_snapshot_task_close(&engine->snapshot);
    baton_image_task_close(engine);
    baton_loop_fini(&engine->loop);
    baton_machine_fini(&engine->machine);
    baton_rto_fini(&engine->rto);
    baton_metrics_destroy(engine->metrics);
    free(engine);
}

int baton_engine_open(const baton_service *service, const char *directory,
                      const baton_engine_options *options, const baton_engine_hooks *hooks,
                      baton_engine **ret_engine, baton_hydrate_report *ret_report,
                      baton_error *error)
{
    static const baton_engine_options no_options;
    if (options == NULL)
        options = &no_options;
    memset(ret_report, 0, sizeof(*ret_report));

    baton_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return baton_error_set(error, -ENOMEM, "open the engine", NULL, "free memory");
    engine->service = service;
    engine->loop.epoll_fd = -1;
    set_options(engine, options, hooks);
    const uint64_t begin_ns = baton_clock_monotonic_ns(engine->clock);
    opening self = {.engine = engine,
                    .options = options,
                    .chosen = UINT32_MAX,
                    .report = ret_report,
                    .error = error};

    int r = prepare(&self, directory);
    if (r == 0)
        r = open_archiver(&self);
    const uint64_t recover_begin_ns = baton_clock_monotonic_ns(engine->clock);
    if (r == 0)
        r = open_journal(&self);
    ret_report->recover_ns = baton_clock_monotonic_ns(engine->clock) - recover_begin_ns;
    ret_report->recovery = self.view.recovery;
    if (r == 0)
        r = hydrate(&self);
    if (r == 0)
        r = begin(&self);
    if (r < 0)
        goto fail;
    ret_report->total_ns = baton_clock_monotonic_ns(engine->clock) - begin_ns;
    engine->hydrate_ns = ret_report->total_ns;
    baton_engine_rto_started(engine, ret_report, baton_catalogue_from_seq(&self.catalogue));
    baton_form_started(engine, ret_report);
    if (self.milestones.taken && self.milestones.applied != NULL)
        baton_engine_rto_kept(engine, &self.milestones);
    r = baton_engine_metrics_open(engine, ret_report);
    if (r < 0) {
        baton_error_set(error, r, "register the engine's metrics", NULL, NULL);
        goto fail;
    }
    baton_milestones_fini(&self.milestones);
    baton_catalogue_fini(&self.catalogue);
    baton_engine_log_opened(engine, ret_report);
    *ret_engine = engine;
    return 0;

fail:
    baton_milestones_fini(&self.milestones);
    baton_catalogue_fini(&self.catalogue);
    if (engine->journal != NULL)
        baton_journal_abandon(engine->journal);
    destroy(engine);
    return r;
}

int baton_engine_close(baton_engine *engine)
{
    if (engine == NULL)
        return 0;
    int r = 0;
    baton_snapshot_publish_end(
        engine->snapshot.publisher); /* before the journal: its writes are the older ones */
    engine->snapshot.publisher = NULL;
    baton_image_task_end(engine);
    baton_pack_task_end(engine);
    if (engine->poisoned)
        baton_journal_abandon(
            engine->journal); /* the entry that apply refused is in the open batch: drop it */
    else
        r = baton_journal_close(engine->journal);
    if (engine->failed != 0)
        r = engine->failed;
    baton_log(INFO, "engine.closed", BATON_LOG_NUMBER("seq", engine->machine.seq),
              BATON_LOG_TEXT("status", baton_status_name(r)));
    destroy(engine);
    return r;
}
