/* engine/snapshot_task.c: one snapshot at a time, in steps between the turns of the service (S1).
 *
 *   IDLE -> IMAGING, PACKING -> PACKED -> PUBLISHING -> NAMING -> IDLE
 *     |  \_______________________^ |          |
 *     ^             |              |          |
 *     +-------------+--------------+----------+  failed: logged, counted, its files removed; the
 *                                                service goes on
 *
 * | state      | leaves when             | does then                                           |
 * |------------|-------------------------|-----------------------------------------------------|
 * | IDLE       | asked, or it is due     | packs the state as it is now: a child does, or this |
 * |            |                         | process in memory; or begins an image               |
 * | IMAGING    | its pages are written   | (on the way: took the state at a boundary)          |
 * | PACKING    | the child wrote all of  |                                                     |
 * |            | the state at its birth  |                                                     |
 * | PACKED     | its seq is durable      | makes the manifest, with the durable position in it |
 * | PUBLISHING | the directory is synced | asks the journal to name the root                   |
 * | NAMING     | the journal took it     | lets old ones be pruned, from the next entry on     |
 *
 * Old generations go only when the record that names the new one is durable. It takes no seq, so
 * the engine waits until an entry after it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "engine/engine_private.h"
#include "journal/watch.h"

static void set_state(engine_snapshot_task *task, engine_task_state state)
{
    task->state = state;
    task->status.running = state != TASK_IDLE;
}

int baton_snapshot_task_open(engine_snapshot_task *task, const baton_engine_options *options,
                             baton_error *error)
{
    const baton_io_options io_options = {
        .choice = baton_watch_io_choice(options->backend),
        .ops_max = ENGINE_SNAPSHOT_OPS_MAX,
        .custom = options->snapshot_io_backend,
        .custom_context = options->snapshot_io_context,
    };
    return baton_io_open(&io_options, &task->io, error);
}

void baton_snapshot_task_close(engine_snapshot_task *task)
{
    baton_snapshot_publish_end(task->publisher);
    baton_snapshot_writer_destroy(task->writer);
    baton_io_close(task->io);
    free(task->generations);
    *task = (engine_snapshot_task){0};
}

/* ---- one snapshot ---- */

static void finish_attempt(baton_engine *engine, int status, const baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    baton_snapshot_publish_end(task->publisher);
    task->publisher = NULL;
    baton_snapshot_writer_destroy(task->writer);
    task->writer = NULL;
    baton_image_task_end(engine);
    baton_pack_task_end(engine);
    task->status.last_status = status;
    task->status.last_error = error != NULL ? *error : (baton_error){.offset = UINT64_MAX};
    set_state(task, TASK_IDLE);
    if (status == 0)
        return;
    baton_engine_rto_snapshot_ended(engine, status, 0);
    baton_form_failed(engine);
    baton_metric_add(engine->metric.snapshots_failed_total, 1);
    baton_log(WARN, "engine.snapshot_failed", BATON_LOG_NUMBER("seq", task->info.seq),
              BATON_LOG_TEXT("status", baton_status_name(status)),
              BATON_LOG_TEXT("why", task->status.last_error.why),
              BATON_LOG_TEXT("todo", task->status.last_error.todo));
}

static void describe(const baton_engine *engine, baton_snapshot_info *info)
{
    const baton_machine *machine = &engine->machine;
    *info = (baton_snapshot_info){
        .schema = engine->schema,
        .seq = machine->seq,
        .epoch = baton_journal_epoch(engine->journal),
        .journal_id = baton_journal_id(engine->journal),
        .entry_time_ns = machine->time_ns,
        .effect_digest = machine->effect_digest,
        .created_wall_ns = baton_clock_wall_ns(baton_clock_system()),
        .form = BATON_SNAPSHOT_FORM,
    };
    strcpy(info->service, engine->service->name); /* baton_service_check saw that they fit */
    strcpy(info->version, engine->service->version);
}

int baton_engine_snapshot_begin(baton_engine *engine, baton_error *error)
{
    return baton_engine_snapshot_begin_within(engine, UINT64_MAX, error);
}

static int begin(baton_engine *engine, baton_error *error)
{
    bool forked = false;
    int r = engine->form.image ? baton_image_task_begin(engine, error)
                               : baton_pack_task_begin(engine, &forked, error);
    if (r < 0)
        return r;
    engine_snapshot_task *task = &engine->snapshot;
    task->info.taken_ns = baton_clock_monotonic_ns(engine->clock) - task->begin_ns;
    set_state(task, engine->form.image ? TASK_IMAGING : forked ? TASK_PACKING : TASK_PACKED);
    return 0;
}

int baton_engine_snapshot_begin_within(baton_engine *engine, uint64_t within_ns, baton_error *error)
{
    static const char *const what = "take a snapshot";
    engine_snapshot_task *task = &engine->snapshot;
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (engine->standby.following)
        return baton_error_set(error, BATON_E_STANDBY, what, NULL, "ask the active");
    if (engine->applying)
        return baton_error_set(error, BATON_E_INVALID, what, "an entry is being applied", NULL);
    if (task->state != TASK_IDLE)
        return baton_error_set(error, BATON_E_AGAIN, what, "one is being written",
                               "ask again when it is done");
    if (!engine->sealed && baton_engine_disk_is_full(engine))
        return baton_error_set(error, BATON_E_NO_SPACE, what, "the journal's disk is full",
                               "make room there, then ask again");
    task->attempt_seq = engine->machine.seq;
    if (task->status.taken_count > 0 && task->status.last_seq == engine->machine.seq) {
        finish_attempt(engine, 0, NULL); /* the newest one holds this very state */
        return 0;
    }
    task->begin_ns = baton_clock_monotonic_ns(engine->clock);
    baton_engine_rto_snapshot_begun(engine);
    describe(engine, &task->info);
    baton_form_choose(engine, within_ns);
    baton_error why;
    int r = begin(engine, &why);
    if (r < 0) {
        finish_attempt(engine, r, &why);
        if (error != NULL)
            *error = why;
        return r;
    }
    if (engine->sealed)
        baton_log(INFO, "engine.last_snapshot",
                  BATON_LOG_TEXT("form", engine->form.image ? "image" : "portable"),
                  BATON_LOG_TEXT("why", engine->form.why),
                  BATON_LOG_NUMBER("portable_ms", baton_form_estimate_ns(engine) / 1000000),
                  BATON_LOG_NUMBER("left_ms", within_ns / 1000000));
    return 0;
}

void baton_engine_snapshot_give_up_older(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    if (!engine->sealed || task->state != TASK_PACKING || task->info.seq == engine->machine.seq)
        return;
    baton_log(INFO, "engine.snapshot_given_up", BATON_LOG_NUMBER("seq", task->info.seq),
              BATON_LOG_TEXT("why", "a drain takes one of the last state"));
    finish_attempt(engine, 0, NULL);
}

static void go_on_packing(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    baton_error error = {0};
    int r = baton_pack_task_step(engine, &task->info, &error);
    if (r == 0)
        set_state(task, TASK_PACKED);
    else if (r != BATON_E_AGAIN)
        finish_attempt(engine, r, &error);
}

/* Its seq is that of the boundary at which the state was taken, not of the beginning. */
static void go_on_imaging(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    baton_error error = {0};
    int r = baton_image_task_step(engine, &task->info, &error);
    if (r == 0)
        set_state(task, TASK_PACKED);
    else if (r != BATON_E_AGAIN)
        finish_attempt(engine, r, &error);
}

/* The manifest says what is durable now: evidence for the next start (J5). In mode written that is
 * no promise about the disk, and says nothing. */
static int begin_publishing(baton_engine *engine, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    if (engine->mode == BATON_MODE_DURABLE) {
        const baton_position position = baton_journal_durable_position(engine->journal);
        baton_assert(position.seq >= task->info.seq); /* S1 */
        task->info.position_epoch = position.epoch;
        task->info.position_batch = position.batch;
        task->info.position_seq = position.seq;
    }
    if (engine->image.image != NULL)
        return baton_image_task_publish(engine, task->io, &task->info, &task->publisher, error);
    return baton_pack_task_publish(engine, error);
}

static void named(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    const uint64_t took_ns = baton_clock_monotonic_ns(engine->clock) - task->begin_ns;
    baton_engine_rto_snapshot_ended(engine, 0, took_ns);
    task->status.taken_count++;
    task->status.last_seq = task->info.seq;
    task->status.last_root = task->info.root;
    memcpy(task->status.last_form, task->info.form, sizeof(task->status.last_form));
    snprintf(task->status.last_form_why, sizeof(task->status.last_form_why), "%s",
             engine->form.why);
    if (engine->form.image)
        baton_image_task_named(engine, &task->info, &task->status);
    else
        baton_pack_task_named(engine, &task->status);
    baton_metric_add(engine->metric.snapshots_total, 1);
    baton_metric_set(engine->metric.snapshot_seconds, (double)took_ns / 1e9);
    baton_log(INFO, "engine.snapshot_published", BATON_LOG_NUMBER("seq", task->info.seq),
              BATON_LOG_TEXT("form", task->info.form), BATON_LOG_TEXT("form_why", engine->form.why),
              BATON_LOG_NUMBER("schema", task->info.schema),
              BATON_LOG_NUMBER("raw_bytes", task->info.raw_bytes),
              BATON_LOG_NUMBER("stored_bytes", task->info.stored_bytes),
              BATON_LOG_NUMBER("took_ns", took_ns));
    if (baton_generations_add(engine, &task->info) == 0) {
        task->prune_due = true;
        task->prune_after_seq = baton_journal_last_seq(engine->journal);
    }
    finish_attempt(engine, 0, NULL);
}

static void idle(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    if (task->prune_due && (task->prune_after_seq == 0 || BATON_BREAK(PRUNE_BEFORE_ROOT) ||
                            baton_journal_durable_seq(engine->journal) > task->prune_after_seq))
        baton_generations_prune(engine);
    if (task->retire_due)
        baton_generations_retire(engine, task->retire_keep_seq);
}

void baton_snapshot_task_rest(baton_engine *engine)
{
    if (engine->snapshot.state == TASK_IDLE && engine->snapshot.adopted)
        idle(engine);
}

static void publish(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    baton_error error = {0};
    int r = baton_snapshot_publish_step(task->publisher, true, &error);
    if (r == 0)
        set_state(task, TASK_NAMING);
    else if (r == BATON_E_AGAIN)
        task->retry = baton_io_enter(task->io) < 0; /* for what an interrupted step left queued */
    else
        finish_attempt(engine, r, &error);
}

static void name_root(baton_engine *engine)
{
    const engine_snapshot_task *task = &engine->snapshot;
    int r = baton_engine_append_root(engine, BATON_RECORD_ROOT, task->info.seq, task->info.root);
    if (r == 0 || r == BATON_E_SEALED || (r == BATON_E_NO_SPACE && engine->handover_durable))
        named(engine); /* after a handover, the successor does it (S1) */
    else if (baton_status_class(r) !=
             BATON_CLASS_RETRY) { /* else there is room after one of the next turns */
        baton_error error;
        baton_error_set(&error, r, "name a snapshot in the journal", "a write or flush failed",
                        "look at the log and the disk, then start again");
        finish_attempt(engine, r, &error);
    }
}

void baton_snapshot_task_turn(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    if (task->state == TASK_IDLE)
        idle(engine);
    baton_engine_snapshot_when_due(engine);
    if (task->state == TASK_IMAGING)
        go_on_imaging(engine);
    if (task->state == TASK_PACKING)
        go_on_packing(engine);
    if (task->state == TASK_PACKED &&
        baton_journal_durable_seq(engine->journal) >= task->info.seq) {
        baton_error error = {0};
        int r = begin_publishing(engine, &error);
        if (r < 0)
            finish_attempt(engine, r, &error);
        else
            set_state(task, TASK_PUBLISHING);
    }
    if (task->state == TASK_PUBLISHING)
        publish(engine);
    if (task->state == TASK_NAMING)
        name_root(engine);
}
