/* drain/describe.c: reports as JSON. */
#include "drain/describe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>

#include "base/assert.h"

/* A nonce is as long as a digest, and told in the same digits. */
static_assert(BATON_NONCE_TEXT_BYTES == BATON_DIGEST_TEXT_BYTES, "digests' functions serve");

char *baton_nonce_text(const uint8_t nonce[BATON_NONCE_BYTES], char text[BATON_NONCE_TEXT_BYTES])
{
    baton_digest digest;
    memcpy(digest.bytes, nonce, BATON_NONCE_BYTES);
    return baton_digest_text(digest, text);
}

void baton_instance_nonce(const baton_instance *instance, uint8_t ret_nonce[BATON_NONCE_BYTES])
{
    baton_digest nonce = {{0}};
    int r = baton_digest_parse(instance->nonce, &nonce);
    baton_assert(r == 0);
    memcpy(ret_nonce, nonce.bytes, BATON_NONCE_BYTES);
}

json_t *baton_describe_text(const char *text)
{
    json_t *whole = json_string(text);
    if (whole != NULL)
        return whole;

    char *copy = strdup(text); /* not UTF-8, then: keep what can be read */
    if (copy == NULL)
        return NULL;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_t *readable = json_string(copy);
    free(copy);
    return readable;
}

json_t *baton_describe_number(uint64_t number)
{
    return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

json_t *baton_describe_digest(baton_digest digest)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    return json_string(baton_digest_text(digest, text));
}

static json_t *milliseconds(uint64_t ns)
{
    return json_real((double)(ns / 1000) / 1000.0);
}

json_t *baton_describe_error(const baton_error *error)
{
    json_t *object =
        json_pack("{s:s, s:o, s:o, s:o}", "status", baton_status_name(error->status), "what",
                  baton_describe_text(error->what), "why", baton_describe_text(error->why), "todo",
                  baton_describe_text(error->todo));
    if (object != NULL && error->path[0] != '\0')
        json_object_set_new(object, "file", baton_describe_text(error->path));
    if (object != NULL && error->offset != UINT64_MAX)
        json_object_set_new(object, "offset", baton_describe_number(error->offset));
    return object;
}

json_t *baton_describe_instance(const baton_instance *instance)
{
    return json_pack("{s:s, s:o, s:I, s:s}", "service", instance->service, "version",
                     baton_describe_text(instance->version), "pid", (json_int_t)instance->pid,
                     "nonce", instance->nonce);
}

static json_t *position(const baton_position *at)
{
    return json_pack("{s:o, s:o, s:o}", "epoch", baton_describe_number(at->epoch), "batch",
                     baton_describe_number(at->batch), "seq", baton_describe_number(at->seq));
}

json_t *baton_describe_recovery(const baton_recovery_report *report)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "last", position(&report->last),
                     "evidence", position(&report->evidence), "evidence_from",
                     baton_describe_text(report->evidence_from), "first_seq",
                     baton_describe_number(report->first_seq), "acked_lost",
                     baton_describe_number(report->acked_lost), "torn_cut",
                     baton_describe_number(report->torn_cut), "unproven",
                     baton_describe_number(report->unproven), "torn_kept_in",
                     baton_describe_text(report->torn_path));
}

json_t *baton_describe_hydrate(const baton_hydrate_report *report)
{
    return json_pack(
        "{s:b, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
        " s:o, s:o}",
        "from_snapshot", (int)report->from_snapshot, "snapshot_seq",
        baton_describe_number(report->snapshot_seq), "snapshot_form", report->snapshot_form,
        "snapshot_schema", baton_describe_number(report->snapshot_schema), "snapshots_skipped",
        baton_describe_number(report->snapshots_skipped), "snapshot_skipped_why",
        baton_describe_text(report->snapshot_skipped_why), "replayed_entries",
        baton_describe_number(report->replayed_entries), "replayed_bytes",
        baton_describe_number(report->replayed_bytes), "load_bytes",
        baton_describe_number(report->load_bytes), "checkpoints_compared",
        baton_describe_number(report->checkpoints_compared), "effects_good_seq",
        baton_describe_number(report->effects_good_seq), "resumed_from_seq",
        baton_describe_number(report->resumed_seq), "kept",
        baton_describe_number(report->kept_count), "kept_seq",
        baton_describe_number(report->kept_seq), "kept_ms", milliseconds(report->kept_ns),
        "load_ms", milliseconds(report->load_ns), "recover_ms", milliseconds(report->recover_ns),
        "replay_ms", milliseconds(report->replay_ns), "total_ms", milliseconds(report->total_ns),
        "recovery", baton_describe_recovery(&report->recovery));
}

json_t *baton_describe_engine(const baton_engine_status *status)
{
    json_t *journal =
        json_pack("{s:o, s:o, s:o, s:o}", "backend", baton_describe_text(status->backend),
                  "backend_reason", baton_describe_text(status->backend_reason), "commit",
                  baton_describe_text(status->commit_primitive), "warning",
                  baton_describe_text(status->warning));
    json_t *outbox =
        json_pack("{s:o, s:o}", "effects", baton_describe_number(status->outbox_effects), "bytes",
                  baton_describe_number(status->outbox_bytes));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "epoch",
        baton_describe_number(status->epoch), "seq", baton_describe_number(status->seq),
        "durable_seq", baton_describe_number(status->durable_seq), "released_seq",
        baton_describe_number(status->released_seq), "schema",
        baton_describe_number(status->schema), "sealed", (int)status->sealed, "state_digest",
        baton_describe_digest(status->state_digest), "effect_digest",
        baton_describe_digest(status->effect_digest), "effects",
        baton_describe_number(status->effects_count), "outbox", outbox, "journal", journal);
}

json_t *baton_describe_progress(const baton_start_progress *progress)
{
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:o, s:o}", "step",
        progress->step != NULL ? progress->step : "beginning", "done",
        baton_describe_number(progress->done), "of", baton_describe_number(progress->of), "unit",
        progress->unit != NULL ? progress->unit : "bytes", "per_s",
        baton_describe_number(progress->per_s), "seq", baton_describe_number(progress->seq));
}

static json_t *type_costs(const baton_rates *rates)
{
    json_t *types = json_array();
    for (uint32_t i = 0; i < rates->types_count; i++) {
        const baton_type_rate *type = &rates->types[i];
        if (type->applied > 0)
            json_array_append_new(types,
                                  json_pack("{s:i, s:f, s:f, s:f}", "type", (int)type->type,
                                            "replay_ns", type->replay.ns, "live_ns", type->live.ns,
                                            "cost_ns", baton_rates_replay_ns(type)));
    }
    return types;
}

json_t *baton_describe_rto(const baton_rto_prediction *prediction, const baton_rates *rates)
{
    json_t *parts =
        json_pack("{s:f, s:f, s:f, s:f, s:f}", "fixed_ms", prediction->fixed_ns / 1e6, "load_ms",
                  prediction->load_ns / 1e6, "recover_ms", prediction->recover_ns / 1e6, "read_ms",
                  prediction->read_ns / 1e6, "apply_ms", prediction->apply_ns / 1e6);
    return json_pack("{s:f, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "predicted_ms",
                     prediction->total_ns / 1e6, "target_ms", milliseconds(prediction->target_ns),
                     "grows_ms_per_s", prediction->ns_per_s / 1e6, "snapshot_seq",
                     baton_describe_number(prediction->snapshot_seq), "tail_entries",
                     baton_describe_number(prediction->tail_entries), "tail_bytes",
                     baton_describe_number(prediction->tail_bytes), "parts", parts, "types",
                     type_costs(rates), "load_rate",
                     prediction->load_measured ? "measured" : "estimated", "read_rate",
                     prediction->read_measured ? "measured" : "assumed");
}

json_t *baton_describe_snapshots(const baton_engine_snapshot_state *state)
{
    json_t *object = json_pack("{s:b, s:o, s:o, s:s, s:o}", "running", (int)state->running, "taken",
                               baton_describe_number(state->taken_count), "last_seq",
                               baton_describe_number(state->last_seq), "last_status",
                               baton_status_name(state->last_status), "last_root",
                               baton_describe_digest(state->last_root));
    if (object != NULL && state->last_status < 0)
        json_object_set_new(object, "last_error", baton_describe_error(&state->last_error));
    if (object != NULL && state->last_form[0] != '\0')
        json_object_set_new(object, "last_form", json_string(state->last_form));
    if (object != NULL && state->last_form_why[0] != '\0')
        json_object_set_new(object, "last_form_why", baton_describe_text(state->last_form_why));
    if (object != NULL && state->portable_seq > 0)
        json_object_set_new(object, "portable_seq", baton_describe_number(state->portable_seq));
    if (object != NULL && state->portable_start_ns > 0)
        json_object_set_new(object, "other_layout_start_ms",
                            json_real(state->portable_start_ns / 1e6));
    if (object != NULL && state->portable_by[0] != '\0')
        json_object_set_new(object, "last_portable",
                            json_pack("{s:s, s:o, s:o}", "by", state->portable_by, "why",
                                      baton_describe_text(state->portable_why), "pause_ms",
                                      milliseconds(state->portable_pause_ns)));
    if (object != NULL && state->last_by[0] != '\0')
        json_object_set_new(object, "last_image",
                            json_pack("{s:s, s:o, s:b, s:o}", "by", state->last_by, "why",
                                      baton_describe_text(state->last_why), "full",
                                      (int)state->last_full, "pause_ms",
                                      milliseconds(state->last_pause_ns)));
    return object;
}

static const char *outcome(const baton_drain_plan *plan)
{
    if (plan->status == 0)
        return plan->state == BATON_DRAIN_CLOSED ? "clean" : "under way";
    return plan->status == BATON_E_TIMEOUT ? "late" : "failed";
}

json_t *baton_describe_drain(const baton_drain_plan *plan)
{
    json_t *steps = json_array();
    for (int state = BATON_DRAIN_FINISHING; state < BATON_DRAIN_STATES; state++)
        if (plan->reached[state])
            json_array_append_new(steps, json_pack("{s:s, s:o}", "step",
                                                   baton_drain_state_name((baton_drain_state)state),
                                                   "ms", milliseconds(plan->reached_ns[state])));

    json_t *object =
        json_pack("{s:s, s:o, s:b, s:b, s:s, s:o}", "outcome", outcome(plan), "deadline_ms",
                  milliseconds(plan->deadline_ns), "all_sent", (int)plan->all_sent,
                  "handover_durable", (int)plan->handover_durable, "snapshot",
                  baton_drain_snapshot_name(plan->snapshot), "steps", steps);
    if (object != NULL && plan->status < 0)
        json_object_set_new(object, "error", baton_describe_error(&plan->error));
    if (object != NULL && plan->snapshot == BATON_DRAIN_SNAPSHOT_FAILED)
        json_object_set_new(object, "snapshot_error", baton_describe_error(&plan->snapshot_error));
    return object;
}

json_t *baton_describe_replay(const baton_replay_result *result)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seq", baton_describe_number(result->seq), "epoch",
        baton_describe_number(result->epoch), "schema", baton_describe_number(result->schema),
        "state_digest", baton_describe_digest(result->state_digest), "effect_digest",
        baton_describe_digest(result->effect_digest), "effects",
        baton_describe_number(result->effects_count), "hydrate",
        baton_describe_hydrate(&result->hydrate));
}

json_t *baton_describe_journal(const baton_journal_summary *summary)
{
    json_t *counts = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "segments",
                               baton_describe_number(summary->segments_count), "batches",
                               baton_describe_number(summary->batches_count), "entries",
                               baton_describe_number(summary->entries_count), "records",
                               baton_describe_number(summary->records_count), "payload_bytes",
                               baton_describe_number(summary->payload_bytes), "stored_bytes",
                               baton_describe_number(summary->stored_bytes));
    return json_pack("{s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o}", "id",
                     baton_describe_digest(summary->id), "service",
                     baton_describe_text(summary->service), "epoch",
                     baton_describe_number(summary->epoch), "closed", (int)summary->closed, "torn",
                     (int)summary->torn, "last_digest", baton_describe_digest(summary->last_digest),
                     "counts", counts, "recovery", baton_describe_recovery(&summary->recovery));
}

int baton_describe_write(FILE *file, json_t *object)
{
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (line == NULL)
        return -ENOMEM;
    const int r = fprintf(file, "%s\n", line) < 0 || fflush(file) != 0 ? -errno : 0;
    free(line);
    return r;
}

void baton_describe_failure(FILE *file, const baton_error *error)
{
    char text[1200];
    fprintf(file, "baton: %s\n", baton_error_text(error, text, sizeof(text)));
    fflush(file);
}

int baton_exit_code(int status)
{
    if (status >= 0)
        return 0;
    switch (status) {
    case BATON_E_LOCKED:
        return 7;
    case BATON_E_TORN:
        return 10;
    case BATON_E_DAMAGED:
        return 11;
    }
    return 1;
}

/* What was cut or skipped on the way, the layers below have logged. */
void baton_describe_hydrated(const baton_engine *engine, const baton_hydrate_report *report)
{
    baton_log(INFO, "service.hydrated", BATON_LOG_NUMBER("seq", baton_engine_applied_seq(engine)),
              BATON_LOG_NUMBER("epoch", baton_engine_epoch(engine)),
              BATON_LOG_NUMBER("from_snapshot", report->from_snapshot ? report->snapshot_seq : 0),
              BATON_LOG_NUMBER("resumed_from_seq", report->resumed_seq),
              BATON_LOG_NUMBER("replayed", report->replayed_entries),
              BATON_LOG_NUMBER("checkpoints", report->checkpoints_compared),
              BATON_LOG_NUMBER("effects_good_seq", report->effects_good_seq),
              BATON_LOG_NUMBER("load_us", report->load_ns / 1000),
              BATON_LOG_NUMBER("replay_us", report->replay_ns / 1000),
              BATON_LOG_NUMBER("total_us", report->total_ns / 1000));
}
