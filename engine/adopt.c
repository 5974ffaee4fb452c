/* engine/adopt.c: what an engine lends its hydrate, and what it takes from it besides the state:
 * what the replay kept, or the snapshot that a new journal goes on from. */
#include <errno.h>
#include <string.h>

#include <baton/log.h>

#include "engine/engine_private.h"

/* Where the service's own would be: form.c. */
static bool keeps_images(const baton_engine *engine, const baton_engine_options *options)
{
    return options->snapshot_form != BATON_FORM_PORTABLE &&
           engine->snapshots_keep <= ENGINE_IMAGES_KEEP_MAX &&
           engine->schema == engine->service->schema.write;
}

void baton_engine_milestones_set(const baton_engine *engine, const baton_engine_options *options,
                                 baton_milestones *milestones)
{
    milestones->options = (baton_milestone_options){
        .directory = engine->paths.snapshots,
        .io = engine->snapshot.io,
        .image_io = baton_image_task_io_options(options),
        .compress = engine->compress,
        .image = keeps_images(engine, options),
        .schema = engine->schema,
        .mode = engine->mode,
        .target_ns = options->rto_target_ns,
        .every_entries = options->hydrate_snapshot_every,
        .clock = engine->clock,
    };
}

int baton_engine_milestone_adopt(baton_engine *engine, const baton_snapshot_info *info,
                                 baton_error *error)
{
    if (baton_generations_add(engine, info) < 0)
        return baton_error_set(error, -ENOMEM, "list the snapshots", NULL, "free memory");
    engine->snapshot.attempt_seq = info->seq;
    return 0;
}

/* A restore without the journal is a promotion by force: whatever wrote the old one may live, and
 * had an epoch that nobody here knows. The first header of the new journal names the root. */
int baton_engine_begin_after(baton_engine *engine, const baton_snapshot_info *info,
                             baton_position *ret_last, baton_error *error)
{
    baton_journal_origin origin = {
        .after = {.epoch = info->epoch,
                  .batch = info->position_batch > 0 ? info->position_batch : 1,
                  .seq = info->seq},
        .digest = info->root,
        .last_time_ns = info->entry_time_ns,
        .epoch = info->epoch + ENGINE_EPOCH_FORCED - 1,
        .facts.roots_count = 1,
    };
    origin.facts.roots[0].seq = baton_le64_put(info->seq);
    memcpy(origin.facts.roots[0].root, info->root.bytes, sizeof(origin.facts.roots[0].root));
    const int r = baton_journal_begin_after(engine->journal, &origin);
    if (r < 0)
        return baton_error_set(error, r, "begin a journal after a snapshot",
                               "its manifest has numbers that no journal can go on from",
                               "use another snapshot");
    *ret_last = origin.after;
    baton_log(WARN, "engine.journal_restored", BATON_LOG_NUMBER("after_seq", info->seq),
              BATON_LOG_NUMBER("snapshot_epoch", info->epoch),
              BATON_LOG_TEXT("why", "--trust-root: what the lost journal held after it is lost"));
    return 0;
}
