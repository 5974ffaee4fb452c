/* engine/way_back.c: a version that decides otherwise than the active (E3): as a standby it copies the
 * journal, and gets its state from a snapshot; and how the active takes that one, at the last entry. */
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/engine_private.h"

static const char *const what_load = "take over the active's state";

/* ---- the standby ---- */

/* What differs, and what this build can't apply at all because its state is another one by now. */
static bool is_a_divergence(int r)
{
    return r == BATON_E_DIVERGED || r == BATON_E_REFUSED;
}

int baton_engine_diverge(baton_engine *engine, int r, const baton_error *why)
{
    engine_standby *standby = &engine->standby;
    if (!standby->may_copy || !is_a_divergence(r))
        return r;
    standby->diverged = true;
    standby->divergence = *why;
    standby->divergence.status = BATON_E_DIVERGED;
    standby->from = (baton_snapshot_info){0};
    baton_log(WARN, "engine.diverged", BATON_LOG_TEXT("why", why->why),
              BATON_LOG_NUMBER("seq", engine->machine.seq),
              BATON_LOG_TEXT("now", "it copies the journal, and has no state that counts"));
    return 0;
}

const baton_error *baton_engine_divergence(const baton_engine *engine)
{
    return engine->standby.diverged ? &engine->standby.divergence : NULL;
}

static int empty(baton_engine *engine, baton_error *error)
{
    baton_image_task_end(engine);
    int r = baton_machine_reset(&engine->machine, error);
    return r == 0 ? baton_image_task_renew(engine, error) : r;
}

int baton_engine_forget_state(baton_engine *engine, baton_error *error)
{
    if (!engine->standby.following || !engine->standby.diverged)
        return baton_error_set(error, BATON_E_INVALID, what_load, "its state counts", NULL);
    return engine->machine.seq != 0 ? empty(engine, error) : 0;
}

/* S1: the journal here has the record that names it. */
static int check(const baton_engine *engine, const baton_snapshot_listed *listed,
                 baton_error *error)
{
    const baton_service *service = engine->service;
    const baton_snapshot_info *info = &listed->info;
    const baton_journal_view view = {.id = baton_journal_id(engine->journal),
                                     .facts = baton_journal_facts(engine->journal)};
    if (listed->status < 0)
        return baton_error_set(error, listed->status, what_load, "its manifest can't be read",
                               "begin again");
    if (baton_snapshot_trust(info, &view) != BATON_TRUST_NAMED)
        return baton_error_set(error, BATON_E_UNTRUSTED, what_load,
                               "nothing durable in the journal names it", "begin again");
    if (info->seq != baton_journal_last_seq(engine->journal))
        return baton_error_set(error, BATON_E_GONE, what_load,
                               "it is not of the journal's last entry", "begin again");
    if (info->schema < service->schema.read_min || info->schema > service->schema.write)
        return baton_error_setf(
            error, BATON_E_SCHEMA, what_load, "go back through a version that reads both",
            "its schema is %u, %s %s reads %u to %u", info->schema, service->name, service->version,
            service->schema.read_min, service->schema.write);
    return 0;
}

static int load(baton_engine *engine, const baton_snapshot_listed *listed,
                const baton_hydrate_options *options, baton_error *error)
{
    engine_standby *standby = &engine->standby;
    /* From here on until it is loaded there is no state; why it can't follow with its own stays the reason. */
    if (!standby->diverged)
        baton_error_set(&standby->divergence, BATON_E_DIVERGED, what_load,
                        "its snapshot could not be loaded", "look at the log, and begin again");
    standby->diverged = true;
    int r = baton_machine_reset(&engine->machine, error);
    if (r == 0)
        r = baton_hydrate_load(options, listed, &engine->machine, error);
    if (r < 0) {
        baton_error why = {0};
        const int emptied = empty(engine, &why);
        return emptied < 0 ? baton_engine_fail(engine, emptied, what_load, why.why, why.todo) : r;
    }
    r = baton_image_task_renew(engine, error);
    if (r < 0)
        return r;
    baton_outbox_all_released(&engine->machine.outbox);
    standby->diverged = false;
    standby->from = listed->info;
    baton_engine_follow_from(engine, listed->info.seq, listed->info.seq);
    return 0;
}

static bool is_listed(const baton_engine *engine, const baton_snapshot_info *info)
{
    const engine_snapshot_task *task = &engine->snapshot;
    for (uint32_t i = 0; i < task->generations_count; i++)
        if (baton_digest_equal(task->generations[i].root, info->root))
            return true;
    return false;
}

static int take_in(baton_engine *engine, const baton_catalogue *catalogue, baton_digest root,
                   const baton_hydrate_options *options, baton_error *error)
{
    const uint32_t index = baton_catalogue_find(catalogue, root);
    if (index == UINT32_MAX)
        return baton_error_set(error, BATON_E_NOT_FOUND, what_load,
                               "no snapshot of that root is in this directory", "begin again");
    const baton_snapshot_listed *listed = &catalogue->listed[index];
    int r = check(engine, listed, error);
    if (r == 0)
        r = load(engine, listed, options, error);
    if (r == 0 && !is_listed(engine, &listed->info))
        r = baton_generations_add(engine, &listed->info);
    return r;
}

int baton_engine_follow_snapshot(baton_engine *engine, baton_digest root,
                                 void (*on_progress)(void *context,
                                                     const baton_hydrate_progress *progress),
                                 void *context, baton_error *error)
{
    baton_catalogue catalogue = {0};
    if (!engine->standby.following)
        return baton_error_set(error, BATON_E_INVALID, what_load, "this is no standby", NULL);
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what_load, engine->failure.why,
                               engine->failure.todo);
    const baton_hydrate_options options = {
        .paths = &engine->paths,
        .io = engine->snapshot.io,
        .image_io = engine->image.io,
        .clock = engine->clock,
        .on_progress = on_progress,
        .progress_context = context,
    };
    const uint64_t begin_ns = baton_clock_monotonic_ns(engine->clock);
    int r = baton_catalogue_read(engine->paths.snapshots, &catalogue, error);
    if (r == 0)
        r = take_in(engine, &catalogue, root, &options, error);
    baton_catalogue_fini(&catalogue);
    if (r < 0)
        return r;
    baton_log(
        INFO, "engine.state_taken_over", BATON_LOG_NUMBER("seq", engine->machine.seq),
        BATON_LOG_NUMBER("took_us", (baton_clock_monotonic_ns(engine->clock) - begin_ns) / 1000));
    return 0;
}

/* ---- the active ---- */

static const engine_generation *of_this_entry(const baton_engine *engine)
{
    const engine_snapshot_task *task = &engine->snapshot;
    for (uint32_t i = 0; i < task->generations_count; i++)
        if (task->generations[i].good && task->generations[i].seq == engine->machine.seq)
            return &task->generations[i];
    return NULL;
}

/* Everything queued, the root's record too, is durable. */
static bool is_named(const baton_engine *engine)
{
    return baton_journal_durable_position(engine->journal).batch >=
           baton_journal_queued_batch(engine->journal);
}

static int check_successor(const baton_engine *engine, baton_error *error)
{
    static const char *const what = "take a snapshot for the successor";
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (engine->standby.following || !engine->sealed || engine->handover_queued)
        return baton_error_set(error, BATON_E_INVALID, what, "intake is not stopped", "seal first");
    return 0;
}

int baton_engine_snapshot_for_successor(baton_engine *engine, baton_snapshot_info *ret_info,
                                        baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    engine_form *form = &engine->form;
    int r = check_successor(engine, error);
    if (r < 0)
        return r;
    baton_engine_snapshot_give_up_older(engine);
    if (task->state != TASK_IDLE || !baton_engine_all_released(engine))
        return BATON_E_AGAIN;
    const engine_generation *there = of_this_entry(engine);
    if (there != NULL && !is_named(engine))
        return BATON_E_AGAIN;
    if (there != NULL) {
        form->for_successor = false;
        *ret_info = (baton_snapshot_info){.seq = there->seq,
                                          .epoch = there->epoch,
                                          .root = there->root,
                                          .raw_bytes = there->raw_bytes};
        strcpy(ret_info->form, there->is_image ? BATON_SNAPSHOT_FORM_IMAGE : BATON_SNAPSHOT_FORM);
        return 0;
    }
    if (form->for_successor) { /* it was begun, and did not come to its end */
        form->for_successor = false;
        if (error != NULL)
            *error = task->status.last_error;
        return task->status.last_status < 0 ? task->status.last_status : -EIO;
    }
    form->for_successor = true;
    r = baton_engine_snapshot_begin_within(engine, UINT64_MAX, error);
    if (r < 0)
        form->for_successor = false;
    return r < 0 ? r : BATON_E_AGAIN;
}
