/* engine/status.c: what a running engine says about itself: getters, status, metrics. */
#include <stdio.h>

#include <baton/log.h>

#include "engine/engine_private.h"

const void *baton_engine_state(const baton_engine *engine)
{
    return engine->machine.state;
}

uint64_t baton_engine_applied_seq(const baton_engine *engine)
{
    return engine->machine.seq;
}

uint64_t baton_engine_released_seq(const baton_engine *engine)
{
    return engine->released_seq;
}

uint64_t baton_engine_epoch(const baton_engine *engine)
{
    return baton_journal_epoch(engine->journal);
}

/* Entry time never goes back (J11); the wall clock may. */
uint64_t baton_engine_time_ns(const baton_engine *engine)
{
    const uint64_t wall_ns = baton_clock_wall_ns(baton_clock_system());
    return wall_ns > engine->machine.time_ns ? wall_ns : engine->machine.time_ns;
}

baton_metrics *baton_engine_metrics(const baton_engine *engine)
{
    return engine->metrics;
}

const baton_engine_snapshot_state *baton_engine_snapshot_status(const baton_engine *engine)
{
    return &engine->snapshot.status;
}

int baton_engine_status_get(const baton_engine *engine, baton_engine_status *ret_status)
{
    baton_engine_status status = {
        .seq = engine->machine.seq,
        .durable_seq = baton_journal_durable_seq(engine->journal),
        .released_seq = engine->released_seq,
        .epoch = baton_journal_epoch(engine->journal),
        .schema = engine->schema,
        .sealed = engine->sealed,
        .standby = engine->standby.following,
        .effect_digest = engine->machine.effect_digest,
        .effects_count = engine->machine.effects_count,
        .outbox_bytes = engine->machine.outbox.bytes,
        .outbox_effects = engine->machine.outbox.count,
        .backend = baton_journal_backend(engine->journal),
        .backend_reason = baton_journal_backend_reason(engine->journal),
        .commit_primitive = baton_journal_commit_primitive(engine->journal),
        .warning = baton_journal_warning(engine->journal),
    };
    int r = baton_machine_digest(&engine->machine, engine->schema, &status.state_digest);
    if (r < 0)
        return r;
    *ret_status = status;
    return 0;
}

/* ---- the log ---- */

/* An image fits one address only: where the state is matters to whoever wants to use one. */
static void log_arena(const baton_arena *arena)
{
    baton_arena_usage usage;
    char address[32];
    if (arena == NULL)
        return;
    baton_arena_get_usage(arena, &usage);
    snprintf(address, sizeof(address), "0x%llx", (unsigned long long)(uintptr_t)arena);
    baton_log(INFO, "engine.arena", BATON_LOG_TEXT("address", address),
              BATON_LOG_NUMBER("used_bytes", usage.used_bytes),
              BATON_LOG_NUMBER("reserved_bytes", usage.reserved_bytes));
}

void baton_engine_log_opened(const baton_engine *engine, const baton_hydrate_report *report)
{
    baton_log(INFO, "engine.opened", BATON_LOG_TEXT("service", engine->service->name),
              BATON_LOG_TEXT("version", engine->service->version),
              BATON_LOG_TEXT("dir", engine->paths.root),
              BATON_LOG_NUMBER("epoch", baton_journal_epoch(engine->journal)),
              BATON_LOG_NUMBER("seq", engine->machine.seq),
              BATON_LOG_NUMBER("schema", engine->schema),
              BATON_LOG_NUMBER("standby", engine->standby.following),
              BATON_LOG_NUMBER("snapshot_seq", report->from_snapshot ? report->snapshot_seq : 0),
              BATON_LOG_TEXT("snapshot_form", report->snapshot_form),
              BATON_LOG_NUMBER("resumed_from_seq", report->resumed_seq),
              BATON_LOG_NUMBER("replayed", report->replayed_entries),
              BATON_LOG_NUMBER("kept_seq", report->kept_seq),
              BATON_LOG_NUMBER("checkpoints", report->checkpoints_compared),
              BATON_LOG_NUMBER("took_ns", report->total_ns));
    log_arena(engine->machine.arena);
}

/* ---- metrics ---- */

static int open_constants(baton_engine *engine, const baton_hydrate_report *report)
{
    char labels[128];
    baton_metric *metric;
    snprintf(labels, sizeof(labels), "service=\"%s\",version=\"%s\"", engine->service->name,
             engine->service->version);
    int r = baton_metrics_gauge(engine->metrics, "build_info", labels,
                                "The build that serves; always 1.", &metric);
    if (r < 0)
        return r;
    baton_metric_set(metric, 1);
    r = baton_metrics_gauge(engine->metrics, "baton_hydrate_seconds", NULL,
                            "From the open to a durable epoch header.", &metric);
    if (r < 0)
        return r;
    baton_metric_set(metric, (double)report->total_ns / 1e9);
    r = baton_metrics_gauge(engine->metrics, "baton_replayed_entries", NULL,
                            "Entries replayed by the open.", &metric);
    if (r < 0)
        return r;
    baton_metric_set(metric, (double)report->replayed_entries);
    r = baton_metrics_gauge(engine->metrics, "baton_hydrate_resumed_seq", NULL,
                            "Where a start that was killed in its replay had come to, and the open "
                            "went on; 0: there was none.",
                            &metric);
    if (r < 0)
        return r;
    baton_metric_set(metric, (double)report->resumed_seq);
    r = baton_metrics_gauge(engine->metrics, "baton_rto_target_seconds", NULL,
                            "What the predicted RTO is held under by snapshots; 0: no target.",
                            &metric);
    if (r < 0)
        return r;
    baton_metric_set(metric, (double)engine->rto.target_ns / 1e9);
    return 0;
}

int baton_engine_metrics_open(baton_engine *engine, const baton_hydrate_report *report)
{
    engine_metrics *metric = &engine->metric;
    const struct {
        const char *name;
        const char *help;
        bool counter;
        baton_metric **ret_metric;
    } table[] = {
        {"baton_applied_seq", "Last entry applied.", false, &metric->applied_seq},
        {"baton_durable_seq", "Last entry that is durable.", false, &metric->durable_seq},
        {"baton_released_seq", "Last entry whose effects were released.", false,
         &metric->released_seq},
        {"baton_effects_total", "Effects since entry 1.", false, &metric->effects_total},
        {"baton_effects_held", "Effects that wait until their entry is durable.", false,
         &metric->effects_held},
        {"baton_effect_blocks",
         "Blocks ever made for held effects; grows past its start only under a large burst.", false,
         &metric->effect_blocks},
        {"baton_outbox_effects", "Effects that no consumer has confirmed yet.", false,
         &metric->outbox_effects},
        {"baton_outbox_bytes", "Their size.", false, &metric->outbox_bytes},
        {"baton_standby", "1 while it follows another instance.", false, &metric->standby},
        {"baton_arena_bytes", "Of the state's arena, in use; 0 without one.", false,
         &metric->arena_bytes},
        {"baton_checkpoints_total", "Checkpoints journaled.", true, &metric->checkpoints_total},
        {"baton_snapshots_total", "Snapshots published.", true, &metric->snapshots_total},
        {"baton_snapshots_failed_total", "Snapshots that failed.", true,
         &metric->snapshots_failed_total},
        {"baton_snapshot_seconds", "From the beginning of the last one to its publication.", false,
         &metric->snapshot_seconds},
        {"baton_snapshot_pause_seconds", "How long the last snapshot held the service up.", false,
         &metric->snapshot_pause},
        {"baton_predicted_portable_rto_seconds",
         "The same for a build with another layout, from the last portable snapshot; 0: all can "
         "use the last one.",
         false, &metric->portable_seconds},
        {"baton_predicted_rto_seconds",
         "How long a start would take if the process died now, by measured rates.", false,
         &metric->rto_seconds},
        {"baton_journal_bytes_total", "", true, &metric->journal_bytes}, /* the journal's own */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int r = table[i].counter ? baton_metrics_counter(engine->metrics, table[i].name, NULL,
                                                         table[i].help, table[i].ret_metric)
                                 : baton_metrics_gauge(engine->metrics, table[i].name, NULL,
                                                       table[i].help, table[i].ret_metric);
        if (r < 0)
            return r;
    }
    baton_engine_metrics_update(engine);
    return open_constants(engine, report);
}

void baton_engine_metrics_update(baton_engine *engine)
{
    const engine_metrics *metric = &engine->metric;
    const baton_machine *machine = &engine->machine;
    baton_metric_set(metric->applied_seq, (double)machine->seq);
    baton_metric_set(metric->durable_seq, (double)baton_journal_durable_seq(engine->journal));
    baton_metric_set(metric->released_seq, (double)engine->released_seq);
    baton_metric_set(metric->effects_total, (double)machine->effects_count);
    baton_metric_set(metric->effects_held, (double)machine->held.count);
    baton_metric_set(metric->effect_blocks, (double)machine->held.blocks_made);
    baton_metric_set(metric->outbox_effects, (double)machine->outbox.count);
    baton_metric_set(metric->standby, engine->standby.following);
    baton_metric_set(metric->outbox_bytes, (double)machine->outbox.bytes);
    if (machine->arena != NULL)
        baton_metric_set(metric->arena_bytes, (double)baton_arena_used(machine->arena).bytes_count);
}
