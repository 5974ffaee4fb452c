/* engine/schedule.c: when the next snapshot begins, and why: so many entries, or the predicted RTO
 * (S7). What the engine tells its model (rto.h) stands here, too. */
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/engine_private.h"
#include "snapshot/chunk.h"
#include "snapshot/format.h"

#define NS_PER_S 1e9
#define LOOK_NS  UINT64_C(20000000) /* between two looks of the turns: a prediction costs a loop */

static uint64_t milliseconds(double ns)
{
    return (uint64_t)(ns / 1e6);
}

static void progress(baton_engine *engine)
{
    baton_rto_progress(&engine->rto, engine->machine.seq,
                       (uint64_t)baton_metric_value(engine->metric.journal_bytes));
}

void baton_engine_rto_started(baton_engine *engine, const baton_hydrate_report *report,
                              uint64_t before_seq)
{
    /* Recovery began there, but not before the journal does, and not after the snapshot used: newer
     * ones may have been skipped. */
    if (report->recovery.first_seq > before_seq + 1)
        before_seq = report->recovery.first_seq - 1;
    if (before_seq > report->snapshot_seq)
        before_seq = report->snapshot_seq;
    const baton_rto_start start = {
        .total_ns = report->total_ns - report->kept_ns,
        .recover_ns = report->recover_ns,
        .load_ns = report->load_ns,
        .load_bytes = report->load_bytes,
        .load_image = strcmp(report->snapshot_form, BATON_SNAPSHOT_FORM_IMAGE) == 0,
        .replay_ns = report->replay_ns,
        .replay_bytes = report->replayed_bytes,
        .replay_entries = report->replayed_entries,
        .snapshot_seq = report->snapshot_seq,
        .before_seq = before_seq,
    };
    baton_rto_started(&engine->rto, &start);
}

void baton_engine_rto_kept(baton_engine *engine, const baton_milestones *milestones)
{
    const baton_rto_base at = {
        .seq = milestones->info.seq,
        .raw_bytes = milestones->load_bytes,
        .image = baton_snapshot_is_image(&milestones->info),
        .journal_bytes = (double)milestones->replayed_bytes,
        .applied = milestones->applied,
    };
    baton_rto_kept(&engine->rto, &at, milestones->take_ns);
}

void baton_engine_rto_adopted(baton_engine *engine, const baton_snapshot_info *info)
{
    progress(engine);
    baton_rto_adopted(&engine->rto, info->seq, baton_snapshot_load_bytes(info, &engine->machine),
                      baton_snapshot_is_image(info));
}

void baton_engine_rto_snapshot_begun(baton_engine *engine)
{
    progress(engine);
    baton_rto_snapshot_begun(&engine->rto);
}

void baton_engine_rto_snapshot_ended(baton_engine *engine, int status, uint64_t took_ns)
{
    const baton_snapshot_info *info = &engine->snapshot.info;
    const engine_form *form = &engine->form;
    if (status < 0) {
        if (!form->for_others)
            baton_rto_snapshot_failed(&engine->rto, baton_clock_monotonic_ns(engine->clock));
        return;
    }
    /* What was not packed in the loop was written in the same time. */
    const bool written = form->image || engine->pack.fork != NULL;
    const double device_bytes_per_s = written ? 0 : (double)baton_chunk_device_bytes_per_s();
    const double device_ns =
        device_bytes_per_s > 0 ? (double)info->stored_bytes * NS_PER_S / device_bytes_per_s : 0;
    baton_form_named(engine, device_ns);
    const baton_rto_taken taken = {
        .raw_bytes = baton_snapshot_load_bytes(info, &engine->machine),
        .image = baton_snapshot_is_image(info),
        .adds = !baton_digest_is_zero(info->parent),
        .took_ns =
            form->for_others ? engine->rto.take_ns : took_ns, /* the next one will be an image */
        .packed_ns = info->taken_ns,
        .device_ns = (uint64_t)device_ns,
    };
    baton_rto_snapshot_taken(&engine->rto, &taken);
}

void baton_engine_rto_get(baton_engine *engine, baton_rto_prediction *ret_prediction)
{
    progress(engine);
    baton_rto_predict(&engine->rto, ret_prediction);
}

const baton_rates *baton_engine_rates(const baton_engine *engine)
{
    return &engine->rto.rates;
}

void baton_engine_note_ready(baton_engine *engine, uint64_t since_begin_ns)
{
    baton_rto_ready(&engine->rto, since_begin_ns, engine->hydrate_ns);
}

static void tell_unreachable(baton_engine *engine, const baton_rto_prediction *prediction)
{
    if (!baton_rto_tells_unreachable(&engine->rto, prediction))
        return;
    baton_log(WARN, "engine.rto_unreachable",
              BATON_LOG_NUMBER("target_ms", prediction->target_ns / 1000000),
              BATON_LOG_NUMBER("fixed_ms", milliseconds(prediction->fixed_ns)),
              BATON_LOG_NUMBER("load_ms", milliseconds(prediction->load_ns)),
              BATON_LOG_TEXT("why", "no snapshot can hold the target: loading one takes longer"));
}

static bool look(baton_engine *engine, baton_rto_prediction *ret_prediction)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(engine->clock);
    if (engine->rto_look_ns != 0 && now_ns - engine->rto_look_ns < LOOK_NS)
        return false;
    engine->rto_look_ns = now_ns;
    progress(engine);
    const bool due = baton_rto_is_due(&engine->rto, now_ns, ret_prediction);
    baton_metric_set(engine->metric.rto_seconds, ret_prediction->total_ns / NS_PER_S);
    tell_unreachable(engine, ret_prediction);
    baton_form_look(engine, now_ns, ret_prediction);
    return due;
}

static void tell_due(const baton_engine *engine, uint64_t entries,
                     const baton_rto_prediction *prediction)
{
    if (engine->form.for_others || engine->form.image_came_first) {
        baton_log(INFO, "engine.snapshot_due", BATON_LOG_TEXT("because", engine->form.why),
                  BATON_LOG_NUMBER("entries", engine->machine.seq - engine->form.portable_seq),
                  BATON_LOG_NUMBER("other_layout_ms", milliseconds(engine->form.start_ns)));
        return;
    }
    if (prediction == NULL) {
        baton_log(INFO, "engine.snapshot_due", BATON_LOG_TEXT("because", "entries"),
                  BATON_LOG_NUMBER("entries", entries),
                  BATON_LOG_NUMBER("every", engine->snapshot_every));
        return;
    }
    baton_log(INFO, "engine.snapshot_due", BATON_LOG_TEXT("because", "predicted RTO"),
              BATON_LOG_NUMBER("predicted_ms", milliseconds(prediction->total_ns)),
              BATON_LOG_NUMBER("grows_ms_per_s", milliseconds(prediction->ns_per_s)),
              BATON_LOG_NUMBER("target_ms", prediction->target_ns / 1000000),
              BATON_LOG_NUMBER("tail_entries", prediction->tail_entries),
              BATON_LOG_NUMBER("tail_bytes", prediction->tail_bytes));
}

/* The prediction is looked at while a snapshot is written, too: the metric goes on. */
void baton_engine_snapshot_when_due(baton_engine *engine)
{
    const uint64_t entries = engine->machine.seq - engine->snapshot.attempt_seq;
    baton_rto_prediction prediction;
    const bool by_rto = look(engine, &prediction);
    const bool by_count = engine->snapshot_every != 0 && entries >= engine->snapshot_every;
    const bool by_form = engine->form.due_why != NULL && /* and not of the very state of the last */
                         engine->machine.seq > engine->snapshot.status.last_seq;
    if (engine->sealed || engine->snapshot.state != TASK_IDLE || (!by_rto && !by_count && !by_form))
        return;
    int r = baton_engine_snapshot_begin(engine, NULL);
    if (r == 0) /* else it is counted, logged, and in the status; the service goes on */
        tell_due(engine, entries, by_rto ? &prediction : NULL);
}
