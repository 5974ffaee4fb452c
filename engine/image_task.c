/* engine/image_task.c: the image form's part of a snapshot: taken beside the service, in steps
 * between its turns (S3, S4). What comes after the pages are on the disk, snapshot_task.c does as
 * for the portable form. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/engine_private.h"
#include "engine/stow.h"
#include "journal/watch.h"

static const char *const by_names[BATON_IMAGE_BYS] = {
    [BATON_IMAGE_BY_LIVE] = "live",
    [BATON_IMAGE_BY_FORK] = "fork",
    [BATON_IMAGE_BY_STOP] = "stop",
};

/* ---- open and close ---- */

baton_io_options baton_image_task_io_options(const baton_engine_options *options)
{
    return (baton_io_options){
        .choice = baton_watch_io_choice(options->backend),
        .custom = options->image_io_backend,
        .custom_context = options->image_io_context,
    };
}

int baton_image_task_check(const baton_service *service, const baton_engine_options *options,
                           baton_error *error)
{
    static const char *const what = "take snapshots in the form image";
    if (options->snapshot_form != BATON_FORM_IMAGE)
        return 0;
    if (service->layout == NULL)
        return baton_error_setf(error, BATON_E_INVALID, what,
                                "use the portable form (--snapshot-form portable), or give the "
                                "service a layout",
                                "%s does not keep its state in an arena", service->name);
    if (options->snapshots_keep > ENGINE_IMAGES_KEEP_MAX)
        return baton_error_setf(error, BATON_E_INVALID, what, "keep fewer (--keep-snapshots)",
                                "at most %u can be kept: each stands with all that it adds to, and "
                                "the journal names 64",
                                ENGINE_IMAGES_KEEP_MAX);
    return 0;
}

static int open_metrics(baton_engine *engine)
{
    engine_image_task *task = &engine->image;
    for (uint32_t i = 0; i < BATON_IMAGE_BYS; i++) {
        char label[32];
        snprintf(label, sizeof(label), "by=\"%s\"", by_names[i]);
        int r = baton_metrics_counter(engine->metrics, "baton_snapshot_images_total", label,
                                      "Images published, by the way they were taken.",
                                      &task->images_total[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* After the hydrate, which may have moved the arena. A machine without the means to watch pages is
 * no reason not to start: the images are taken by fork then. */
int baton_image_task_open(baton_engine *engine, const baton_engine_options *options,
                          baton_error *error)
{
    engine_image_task *task = &engine->image;
    if (options->snapshot_form == BATON_FORM_PORTABLE || engine->service->layout == NULL ||
        options->snapshots_keep > ENGINE_IMAGES_KEEP_MAX)
        return 0;
    baton_arena_usage usage;
    baton_arena_get_usage(engine->machine.arena, &usage);
    task->source_options = (baton_image_source_options){
        .base = engine->machine.arena,
        .bytes_max = usage.reserved_bytes,
        .layout = baton_arena_layout_digest(engine->machine.arena),
        .full_every = options->image_full_every,
        .tracker = options->image_tracker,
        .tracker_context = options->image_tracker_context,
    };
    int r = baton_image_source_open(&task->source_options, &task->source, error);
    if (r < 0)
        return r;
    task->choice = options->image_choice;
    task->io = baton_image_task_io_options(options);
    const char *why = baton_image_source_why_not_live(task->source);
    const bool shared = baton_arena_memfd(engine->machine.arena) >= 0;
    if (shared && why[0] != '\0') /* a child would see what is written after its birth */
        task->choice = BATON_IMAGE_STOP;
    if (why[0] != '\0')
        baton_log(
            WARN, "engine.images_not_live", BATON_LOG_TEXT("why", why),
            BATON_LOG_TEXT("by", by_names[shared ? BATON_IMAGE_BY_STOP : BATON_IMAGE_BY_FORK]));
    r = open_metrics(engine);
    return r < 0 ? baton_error_set(error, r, "register the engine's metrics", NULL, NULL) : 0;
}

/* Its pages are new ones, or elsewhere: nobody watches them yet. The next image is full. */
int baton_image_task_renew(baton_engine *engine, baton_error *error)
{
    engine_image_task *task = &engine->image;
    if (task->source == NULL)
        return 0;
    baton_image_task_close(engine);
    task->source_options.base = engine->machine.arena;
    return baton_image_source_open(&task->source_options, &task->source, error);
}

void baton_image_task_end(baton_engine *engine)
{
    baton_image_end(engine->image.image);
    engine->image.image = NULL;
}

void baton_image_task_close(baton_engine *engine)
{
    baton_image_task_end(engine);
    baton_image_source_close(engine->image.source);
    engine->image.source = NULL;
}

/* ---- one image ---- */

static uint64_t bytes_in_use(const baton_engine *engine)
{
    return baton_arena_used(engine->machine.arena).bytes_count;
}

int baton_image_task_begin(baton_engine *engine, baton_error *error)
{
    engine_image_task *task = &engine->image;
    const baton_image_options options = {
        .directory = engine->paths.snapshots,
        .seq = engine->machine.seq,
        .epoch = baton_journal_epoch(engine->journal),
        .choice = task->choice,
        .no_thread = task->io.custom != NULL,
        .compress = engine->compress,
        .form_why = engine->form.why,
        .io = task->io,
    };
    return baton_image_begin(task->source, &options, bytes_in_use(engine), &task->image, error);
}

/* The boundary: digests, the engine's own share, the last pages. All of it is the pause. */
static int take_state(baton_engine *engine, baton_snapshot_info *info, baton_error *error)
{
    engine_image_task *task = &engine->image;
    const uint64_t begin_ns = baton_clock_monotonic_ns(engine->clock);
    int r = baton_machine_digest(&engine->machine, engine->schema, &info->state_digest);
    if (r < 0)
        return baton_error_set(error, r, "take an image",
                               "the state's digest could not be computed", NULL);
    r = baton_machine_stow(&engine->machine, error);
    if (r < 0)
        return r;
    r = baton_image_finish(task->image, bytes_in_use(engine), error);
    baton_machine_unstow(&engine->machine);
    info->seq = engine->machine.seq;
    info->entry_time_ns = engine->machine.time_ns;
    info->effect_digest = engine->machine.effect_digest;
    task->pause_ns = baton_clock_monotonic_ns(engine->clock) - begin_ns;
    return r;
}

int baton_image_task_step(baton_engine *engine, baton_snapshot_info *info, baton_error *error)
{
    engine_image_task *task = &engine->image;
    baton_image_state state = baton_image_poll(task->image, bytes_in_use(engine));
    if (state == BATON_IMAGE_READY) {
        int r = take_state(engine, info, error);
        if (r < 0)
            return r;
        state = baton_image_poll(task->image, bytes_in_use(engine));
    }
    switch (state) {
    case BATON_IMAGE_COPYING:
    case BATON_IMAGE_READY:
    case BATON_IMAGE_WRITING:
        return BATON_E_AGAIN;
    case BATON_IMAGE_DONE:
        return 0;
    case BATON_IMAGE_FAILED:
        break;
    }
    const baton_error *why = baton_image_error(task->image);
    *error = *why;
    return why->status < 0 ? why->status : -EIO;
}

int baton_image_task_publish(baton_engine *engine, baton_io *io, baton_snapshot_info *info,
                             baton_snapshot_publisher **ret_publisher, baton_error *error)
{
    return baton_image_publish_begin(engine->image.image, io, info, ret_publisher, error);
}

/* Published and named: the next one may add to it. */
void baton_image_task_named(baton_engine *engine, const baton_snapshot_info *info,
                            baton_engine_snapshot_state *status)
{
    engine_image_task *task = &engine->image;
    const baton_image_result *result = baton_image_result_of(task->image);
    baton_image_source_published(task->source, info->root);
    snprintf(status->last_by, sizeof(status->last_by), "%s", by_names[result->by]);
    snprintf(status->last_why, sizeof(status->last_why), "%.190s", result->why);
    status->last_full = result->full;
    status->last_pause_ns = task->pause_ns;
    baton_metric_add(task->images_total[result->by], 1);
    baton_metric_set(engine->metric.snapshot_pause, (double)task->pause_ns / 1e9);
    baton_log(INFO, "engine.image_taken", BATON_LOG_NUMBER("seq", info->seq),
              BATON_LOG_TEXT("by", by_names[result->by]), BATON_LOG_TEXT("why", result->why),
              BATON_LOG_NUMBER("full", result->full), BATON_LOG_NUMBER("rounds", result->rounds),
              BATON_LOG_NUMBER("pages", result->pages),
              BATON_LOG_NUMBER("last_pages", result->residual_pages),
              BATON_LOG_NUMBER("pauses_given_up", result->retreats),
              BATON_LOG_NUMBER("waited_for_disk", result->overflowed),
              BATON_LOG_NUMBER("pause_ns", task->pause_ns));
}
