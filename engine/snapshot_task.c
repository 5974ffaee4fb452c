/* engine/snapshot_task.c: one snapshot at a time, in steps between the turns of the service (S1).
 *
 *   IDLE -> PACKED -> PUBLISHING -> NAMING -> IDLE
 *     ^        |          |
 *     +--------+----------+  failed: logged, counted, its files removed; the service goes on
 *
 * | state      | leaves when             | does then                                           |
 * |------------|-------------------------|-----------------------------------------------------|
 * | IDLE       | asked, or it is due     | packs the state as it is now, in memory             |
 * | PACKED     | its seq is durable      | makes the manifest, with the durable position in it |
 * | PUBLISHING | the directory is synced | asks the journal to name the root                   |
 * | NAMING     | the journal took it     | lets old ones be pruned, from the next entry on     |
 *
 * Old generations go only when the record that names the new one is durable. It takes no seq, so
 * the engine waits until an entry after it is. */
#include <errno.h>
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

/* ---- generations ---- */

static int add_generation(engine_snapshot_task *task, uint32_t at, engine_generation generation)
{
    if (task->generations_count == task->generations_max) {
        uint32_t max = task->generations_max > 0 ? 2 * task->generations_max : 16;
        engine_generation *larger = realloc(task->generations, max * sizeof(*larger));
        if (larger == NULL)
            return -ENOMEM;
        task->generations = larger;
        task->generations_max = max;
    }
    engine_generation *slot = task->generations + at;
    memmove(slot + 1, slot, (task->generations_count - at) * sizeof(*slot));
    *slot = generation;
    task->generations_count++;
    return 0;
}

static void drop_generation(engine_snapshot_task *task, uint32_t at)
{
    engine_generation *slot = task->generations + at;
    task->generations_count--;
    memmove(slot, slot + 1, (task->generations_count - at) * sizeof(*slot));
}

int baton_snapshot_task_adopt(baton_engine *engine, const baton_catalogue *catalogue,
                              const baton_journal_view *view, uint32_t chosen, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    for (uint32_t i = 0; i < catalogue->count; i++) {
        const baton_snapshot_listed *listed = &catalogue->listed[i];
        if (listed->status != 0 || !baton_digest_equal(listed->info.journal_id, view->id))
            continue; /* not ours to remove */
        const bool named = baton_snapshot_trust(&listed->info, view) == BATON_TRUST_NAMED;
        const engine_generation generation = {
            .seq = listed->info.seq,
            .epoch = listed->info.epoch,
            .root = listed->info.root,
            .good = i == chosen || (named && !catalogue->bad[i]),
        };
        int r = add_generation(task, task->generations_count, generation);
        if (r < 0)
            return baton_error_set(error, r, "list the snapshots", NULL, "free memory");
    }
    task->attempt_seq = chosen != UINT32_MAX ? catalogue->listed[chosen].info.seq : 0;
    task->prune_due = true;
    return 0;
}

/* Index of the oldest one that must stay, or UINT32_MAX while there are too few good ones to remove
 * any. */
static uint32_t oldest_kept(const baton_engine *engine)
{
    const engine_snapshot_task *task = &engine->snapshot;
    uint32_t good_count = 0;
    for (uint32_t i = 0; i < task->generations_count; i++) {
        if (task->generations[i].good && ++good_count == engine->snapshots_keep)
            return i;
    }
    return UINT32_MAX;
}

static bool is_kept_root(const engine_snapshot_task *task, const baton_root_wire *root)
{
    for (uint32_t i = 0; i < task->generations_count; i++) {
        const engine_generation *generation = &task->generations[i];
        if (generation->seq == baton_le64_get(root->seq) &&
            memcmp(generation->root.bytes, root->root, sizeof(root->root)) == 0)
            return true;
    }
    return false;
}

/* What the journal still names and nobody keeps. Where there is no room for the record now, the
 * next prune does it. */
static void forget_roots(baton_engine *engine, uint64_t keep_seq)
{
    const baton_facts facts =
        *baton_journal_facts(engine->journal); /* a copy: appending changes them */
    for (uint32_t i = 0; i < facts.roots_count; i++) {
        const uint64_t seq = baton_le64_get(facts.roots[i].seq);
        if (seq > keep_seq || is_kept_root(&engine->snapshot, &facts.roots[i]))
            continue;
        baton_digest root;
        memcpy(root.bytes, facts.roots[i].root, sizeof(root.bytes));
        if (baton_engine_append_root(engine, BATON_RECORD_ROOT_GONE, seq, root) < 0)
            return;
    }
}

/* With an archiver it stops at the first segment that is not archived yet. */
static void retire_segments(baton_engine *engine, uint64_t keep_seq)
{
    uint32_t removed = 0;
    engine->snapshot.retire_due = false;
    engine->snapshot.retire_keep_seq = keep_seq;
    if (!engine->retire || keep_seq == 0)
        return;
    int r = baton_journal_retire(engine->journal, keep_seq, &removed);
    if (r < 0)
        baton_log(WARN, "engine.retire_failed", BATON_LOG_NUMBER("keep_seq", keep_seq),
                  BATON_LOG_TEXT("status", baton_status_name(r)));
    else if (removed > 0)
        baton_log(INFO, "engine.retired", BATON_LOG_NUMBER("keep_seq", keep_seq),
                  BATON_LOG_NUMBER("segments", removed));
}

/* Blocks for the unlinks: the one place where a turn waits for the file system. */
static void prune(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    task->prune_due = false;
    const uint32_t oldest = oldest_kept(engine);
    if (oldest == UINT32_MAX)
        return;
    for (uint32_t at = task->generations_count; at-- > oldest + 1;) {
        const engine_generation *one = &task->generations[at];
        int r = baton_snapshot_remove(task->io, engine->paths.snapshots, one->seq, one->epoch);
        if (r == BATON_E_REFUSED)
            continue; /* pinned: it stays, and stays named */
        if (r < 0 && r != -ENOENT && r != BATON_E_NOT_FOUND) {
            baton_log(WARN, "engine.prune_failed", BATON_LOG_NUMBER("seq", one->seq),
                      BATON_LOG_TEXT("status", baton_status_name(r)));
            return;
        }
        baton_log(INFO, "engine.snapshot_removed", BATON_LOG_NUMBER("seq", one->seq));
        drop_generation(task, at);
    }
    forget_roots(engine, task->generations[oldest].seq);
    retire_segments(engine, task->generations[oldest].seq);
}

/* ---- one snapshot ---- */

static void finish_attempt(baton_engine *engine, int status, const baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    baton_snapshot_publish_end(task->publisher);
    task->publisher = NULL;
    baton_snapshot_writer_destroy(task->writer);
    task->writer = NULL;
    task->status.last_status = status;
    task->status.last_error = error != NULL ? *error : (baton_error){.offset = UINT64_MAX};
    set_state(task, TASK_IDLE);
    if (status == 0)
        return;
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
        .form = "portable",
    };
    strcpy(info->service, engine->service->name); /* baton_service_check saw that they fit */
    strcpy(info->version, engine->service->version);
}

static int pack(baton_engine *engine, baton_error *error)
{
    static const char *const what = "take a snapshot";
    engine_snapshot_task *task = &engine->snapshot;
    const baton_snapshot_options options = {.compress = engine->compress};
    int r = baton_snapshot_writer_create(&options, &task->writer);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "free memory");
    r = baton_machine_digest(&engine->machine, engine->schema, &task->info.state_digest);
    if (r < 0)
        return baton_error_set(error, r, what, "the state's digest could not be computed", NULL);
    r = baton_machine_pack(&engine->machine, engine->schema, task->writer);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "look at the service's snapshot function");
    return 0;
}

int baton_engine_snapshot_begin(baton_engine *engine, baton_error *error)
{
    static const char *const what = "take a snapshot";
    engine_snapshot_task *task = &engine->snapshot;
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
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
    task->begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    describe(engine, &task->info);
    baton_error why;
    int r = pack(engine, &why);
    if (r < 0) {
        finish_attempt(engine, r, &why);
        if (error != NULL)
            *error = why;
        return r;
    }
    task->info.taken_ns = baton_clock_monotonic_ns(baton_clock_system()) - task->begin_ns;
    set_state(task, TASK_PACKED);
    return 0;
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
    int r = baton_snapshot_writer_finish(task->writer, &task->info);
    if (r < 0)
        return baton_error_set(error, r, "take a snapshot", NULL,
                               "look at the service's snapshot function");
    baton_snapshot_writer *writer = task->writer;
    task->writer = NULL; /* taken over, whatever comes of it */
    return baton_snapshot_publish_begin(task->io, engine->paths.snapshots, writer, &task->info,
                                        &task->publisher, error);
}

static void named(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    const uint64_t took_ns = baton_clock_monotonic_ns(baton_clock_system()) - task->begin_ns;
    task->status.taken_count++;
    task->status.last_seq = task->info.seq;
    task->status.last_root = task->info.root;
    baton_metric_add(engine->metric.snapshots_total, 1);
    baton_metric_set(engine->metric.snapshot_seconds, (double)took_ns / 1e9);
    baton_log(INFO, "engine.snapshot_published", BATON_LOG_NUMBER("seq", task->info.seq),
              BATON_LOG_NUMBER("schema", task->info.schema),
              BATON_LOG_NUMBER("raw_bytes", task->info.raw_bytes),
              BATON_LOG_NUMBER("stored_bytes", task->info.stored_bytes),
              BATON_LOG_NUMBER("took_ns", took_ns));
    const engine_generation generation = {
        .seq = task->info.seq, .epoch = task->info.epoch, .root = task->info.root, .good = true};
    if (add_generation(task, 0, generation) == 0) {
        task->prune_due = true;
        task->prune_after_seq = baton_journal_last_seq(engine->journal);
    }
    finish_attempt(engine, 0, NULL);
}

static bool is_due(const baton_engine *engine)
{
    return engine->snapshot_every != 0 && !engine->sealed &&
           engine->machine.seq - engine->snapshot.attempt_seq >= engine->snapshot_every;
}

static void idle(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    if (task->prune_due && (task->prune_after_seq == 0 || BATON_BREAK(PRUNE_BEFORE_ROOT) ||
                            baton_journal_durable_seq(engine->journal) > task->prune_after_seq))
        prune(engine);
    if (task->retire_due)
        retire_segments(engine, task->retire_keep_seq);
    if (is_due(engine)) {
        int r = baton_engine_snapshot_begin(engine, NULL);
        (void)r; /* counted, logged, and in the status; the service goes on */
    }
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
    if (r == 0 || (r == BATON_E_NO_SPACE && engine->handover_durable))
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
