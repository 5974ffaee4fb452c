/* engine/pack_task.c: the portable form's part of a snapshot: packed by a child from its frozen
 * copy of the memory, so that the service goes on (S4), or in the loop. Publishing stays the
 * parent's: snapshot_task.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/engine_private.h"
#include "snapshot/writer.h"

static const char *const what = "take a snapshot";
static const char *const by_names[PACKED_BYS] = {
    [PACKED_BY_LOOP] = "loop",
    [PACKED_BY_FORK] = "fork",
};

/* After the hydrate, which may have moved the arena. */
int baton_pack_task_open(baton_engine *engine, const baton_engine_options *options,
                         baton_error *error)
{
    engine_pack_task *task = &engine->pack;
    const baton_arena *arena = engine->machine.arena;
    task->io = baton_image_task_io_options(options);
    task->fork_error = options->pack_fork_error;
    if (options->snapshot_form != BATON_FORM_AUTO)
        task->why_not_fork = "the form was asked for";
    else if (arena == NULL)
        task->why_not_fork = "the service has no arena";
    else if (baton_arena_memfd(arena) >= 0)
        task->why_not_fork = "a child would share the arena (--arena-memory memfd)";
    for (uint32_t i = 0; i < PACKED_BYS; i++) {
        char label[32];
        snprintf(label, sizeof(label), "by=\"%s\"", by_names[i]);
        int r = baton_metrics_counter(engine->metrics, "baton_snapshot_portables_total", label,
                                      "Portable snapshots published, by who packed them.",
                                      &task->portables_total[i]);
        if (r < 0)
            return baton_error_set(error, r, "register the engine's metrics", NULL, NULL);
    }
    return 0;
}

static int pack(void *context, baton_snapshot_writer *writer, baton_digest *ret_state_digest,
                baton_error *error)
{
    const baton_engine *engine = context;
    int r = baton_machine_digest(&engine->machine, engine->schema, ret_state_digest);
    if (r < 0)
        return baton_error_set(error, r, what, "the state's digest could not be computed", NULL);
    r = baton_machine_pack(&engine->machine, engine->schema, writer);
    return r < 0 ? baton_error_set(error, r, what, NULL, "look at the service's snapshot function")
                 : 0;
}

static int fork_child(baton_engine *engine, baton_error *error)
{
    const baton_snapshot_info *info = &engine->snapshot.info;
    const baton_pack_fork_options options = {
        .directory = engine->paths.snapshots,
        .seq = info->seq,
        .epoch = info->epoch,
        .compress = engine->compress,
        .io = engine->pack.io,
        .background = !engine->sealed,
        .pack = pack,
        .context = engine,
    };
    if (engine->pack.fork_error < 0)
        return baton_error_set(error, engine->pack.fork_error, "start a child that packs", NULL,
                               NULL);
    return baton_pack_fork_begin(&options, &engine->pack.fork, error);
}

static int pack_in_the_loop(baton_engine *engine, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    const baton_snapshot_options options = {.compress = engine->compress,
                                            .helped = !baton_io_is_custom(task->io)};
    int r = baton_snapshot_writer_create(&options, &task->writer);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "free memory");
    return pack(engine, task->writer, &task->info.state_digest, error);
}

int baton_pack_task_begin(baton_engine *engine, bool *ret_forked, baton_error *error)
{
    engine_pack_task *task = &engine->pack;
    const uint64_t begin_ns = baton_clock_monotonic_ns(engine->clock);
    int r = 0;
    *ret_forked = false;
    snprintf(task->why, sizeof(task->why), "%s",
             task->why_not_fork != NULL ? task->why_not_fork : "");
    if (task->why_not_fork == NULL) {
        baton_error why = {0};
        r = fork_child(engine, &why);
        *ret_forked = r == 0;
        if (r < 0) {
            snprintf(task->why, sizeof(task->why), "fork: %.180s", why.why);
            baton_log(WARN, "engine.packs_in_the_loop", BATON_LOG_TEXT("why", task->why));
        }
    }
    if (!*ret_forked)
        r = pack_in_the_loop(engine, error);
    task->by = *ret_forked ? PACKED_BY_FORK : PACKED_BY_LOOP;
    task->pause_ns = baton_clock_monotonic_ns(engine->clock) - begin_ns;
    return r;
}

int baton_pack_task_step(baton_engine *engine, baton_snapshot_info *info, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    int r = baton_pack_fork_poll(engine->pack.fork, &task->writer, &info->state_digest, error);
    if (r == 0)
        info->taken_ns = baton_clock_monotonic_ns(engine->clock) - task->begin_ns;
    return r;
}

int baton_pack_task_publish(baton_engine *engine, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    engine_pack_task *self = &engine->pack;
    baton_snapshot_writer *writer = task->writer;
    baton_snapshot_writer_note(writer, by_names[self->by], self->why, engine->form.why);
    int r = baton_snapshot_writer_finish(writer, &task->info);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "look at the service's snapshot function");
    task->writer = NULL; /* taken over, whatever comes of it */
    r = baton_snapshot_publish_begin_at(
        task->io, engine->paths.snapshots, writer, &task->info,
        self->fork != NULL ? baton_pack_fork_path(self->fork) : NULL, &task->publisher, error);
    if (r == 0 && self->fork != NULL)
        baton_pack_fork_handed_over(self->fork);
    return r;
}

void baton_pack_task_named(baton_engine *engine, baton_engine_snapshot_state *status)
{
    engine_pack_task *self = &engine->pack;
    snprintf(status->portable_by, sizeof(status->portable_by), "%s", by_names[self->by]);
    memcpy(status->portable_why, self->why, sizeof(status->portable_why));
    status->portable_pause_ns = self->pause_ns;
    baton_metric_add(self->portables_total[self->by], 1);
    baton_metric_set(engine->metric.snapshot_pause, (double)self->pause_ns / 1e9);
    baton_log(INFO, "engine.portable_taken", BATON_LOG_NUMBER("seq", engine->snapshot.info.seq),
              BATON_LOG_TEXT("by", by_names[self->by]), BATON_LOG_TEXT("why", self->why),
              BATON_LOG_NUMBER("pause_ns", self->pause_ns));
}

void baton_pack_task_end(baton_engine *engine)
{
    baton_pack_fork_end(engine->pack.fork, engine->snapshot.io);
    engine->pack.fork = NULL;
}
