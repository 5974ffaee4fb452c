/* engine/standby.c: an engine that follows another one (H2), and how it becomes the active. The journal's
 * part is journal/follow.h: what comes is written there as it is. Here every entry goes through the
 * machine, and what the active's records say is compared with what came of it. */
#include <inttypes.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/engine_private.h"

#define PROMOTED_CALM_NS UINT64_C(1000000000) /* clients come first: no snapshot is due before */

static const char *const follow_what = "follow the active";

/* ---- beginning ---- */

/* H2: a record that names a successor has granted the authority away; and one that only followed never
 * had it. Both may follow. */
int baton_engine_check_authority(const baton_engine *engine, const baton_journal_view *view,
                                 baton_error *error)
{
    static const char *const what = "take over this directory";
    static const uint8_t nobody[16];
    const baton_handover_wire *handover = &view->facts->handover;
    const uint64_t epoch = view->recovery.last.epoch;
    if (memcmp(handover->successor_nonce, nobody, sizeof(nobody)) != 0 &&
        baton_le64_get(handover->epoch) == epoch)
        return baton_error_setf(
            error, BATON_E_REFUSED, what,
            "start the successor; this one may follow it as a standby",
            "its last writer (epoch %" PRIu64 ") handed over to another instance", epoch);
    if (baton_journal_ends_followed(engine->journal))
        return baton_error_setf(
            error, BATON_E_REFUSED, what,
            "start that instance; or this one as a standby, and promote it",
            "it followed another instance (epoch %" PRIu64 "), which may be at work", epoch);
    return 0;
}

void baton_engine_follow_from(baton_engine *engine, uint64_t begin_seq, uint64_t last_good_seq)
{
    engine_standby *standby = &engine->standby;
    standby->following = true;
    standby->durable_batch = baton_journal_durable_position(engine->journal).batch;
    standby->step = (baton_step){
        .machine = &engine->machine,
        .what = follow_what,
        .journal_directory = engine->paths.journal,
        .begin_seq = begin_seq,
        .last_good_seq = last_good_seq,
        .effects_good_seq = last_good_seq,
    };
}

int baton_engine_begin_following(baton_engine *engine, const baton_hydrate_report *report,
                                 const baton_snapshot_info *used, baton_error *error)
{
    int r = baton_journal_follow_begin(engine->journal, error);
    if (r < 0)
        return r;
    if (used != NULL)
        engine->standby.from = *used;
    baton_engine_follow_from(engine, used != NULL ? used->seq : 0, report->last_good_seq);
    return 0;
}

bool baton_engine_is_standby(const baton_engine *engine)
{
    return engine->standby.following;
}

void baton_engine_follow_end(const baton_engine *engine, baton_position *ret_position,
                             baton_digest *ret_digest, bool *ret_needs_start)
{
    *ret_position = baton_journal_follow_end(engine->journal, ret_digest);
    *ret_needs_start = baton_digest_is_zero(baton_journal_id(engine->journal));
}

baton_position baton_engine_follow_durable(const baton_engine *engine)
{
    return baton_journal_durable_position(engine->journal);
}

/* E4: what is pinned goes along with the facts, as a start with them would have it. */
static int pin(baton_engine *engine, const baton_journal_view *view, baton_error *error)
{
    const baton_service *service = engine->service;
    const uint32_t wanted = engine->standby.pin_wanted;
    const uint32_t finalized = view->facts->finalized_schema;
    int r = baton_check_facts(service, view, error);
    if (r < 0 || finalized == 0)
        return r;
    if (wanted > finalized)
        return baton_error_setf(error, BATON_E_SCHEMA, "pin the schema", "choose that, or none",
                                "%u was asked for; the active's data can have at most %u", wanted,
                                finalized);
    engine->schema = wanted != 0 ? wanted : finalized;
    return 0;
}

int baton_engine_stand_by(baton_engine *engine, baton_error *error)
{
    engine_standby *standby = &engine->standby;
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, follow_what, engine->failure.why,
                               engine->failure.todo);
    if (engine->snapshot.state != TASK_IDLE)
        return baton_error_set(error, BATON_E_AGAIN, follow_what, "a snapshot is being written",
                               "turn the engine, then ask again");
    int r = baton_journal_follow_on(engine->journal, error);
    if (r == BATON_E_AGAIN)
        return baton_error_set(error, r, follow_what, "the handover record is on its way",
                               "turn the engine, then ask again");
    if (r < 0)
        return r;
    const baton_machine *machine = &engine->machine;
    baton_engine_follow_from(engine, machine->seq,
                             machine->seq); /* what was handed over is what is here */
    standby->from = (baton_snapshot_info){0};
    engine->machine.hold = false;
    engine->sealed = false;
    engine->handover_queued = false;
    engine->handover_durable = false;
    memset(engine->handover_to, 0, sizeof(engine->handover_to));
    baton_log(INFO, "engine.stands_by", BATON_LOG_TEXT("dir", engine->paths.root),
              BATON_LOG_NUMBER("epoch", baton_journal_epoch(engine->journal)),
              BATON_LOG_NUMBER("seq", machine->seq));
    return 0;
}

static int check_start(const baton_engine *engine, const baton_follow_start *start,
                       baton_error *error)
{
    const baton_snapshot_info *from = &engine->standby.from;
    const baton_journal_view view = {.id = start->id, .facts = &start->facts};
    const uint64_t seq = engine->machine.seq;
    /* Of another journal, and named: that one goes on from it. */
    if (from->seq != 0 && !baton_digest_equal(from->journal_id, start->id) &&
        baton_snapshot_trust(from, &view) != BATON_TRUST_NAMED)
        return baton_error_set(error, BATON_E_OTHER_JOURNAL, follow_what,
                               "the snapshot in this directory is of another journal",
                               "remove it, or connect to the instance that it is of");
    if (strcmp(start->service, engine->service->name) != 0)
        return baton_error_setf(
            error, BATON_E_OTHER_SERVICE, follow_what, "connect to an instance of this service",
            "that journal is of %.31s, this is %s", start->service, engine->service->name);
    if (start->before.seq > seq)
        return baton_error_setf(
            error, BATON_E_GONE, follow_what, "get a newer snapshot of the active's first",
            "its journal begins after entry %" PRIu64 ", the state here is of entry %" PRIu64,
            start->before.seq, seq);
    return 0;
}

int baton_engine_follow_start(baton_engine *engine, const baton_follow_start *start,
                              baton_error *error)
{
    const baton_journal_view view = {.id = start->id, .facts = &start->facts};
    if (!engine->standby.following)
        return baton_error_set(error, BATON_E_INVALID, follow_what, "this is no standby", NULL);
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, follow_what, engine->failure.why,
                               engine->failure.todo);
    int r = check_start(engine, start, error);
    if (r == 0)
        r = baton_journal_follow_start(engine->journal, start, error);
    return r < 0 ? r : pin(engine, &view, error);
}

/* ---- a batch ---- */

/* What came is in the journal, and the state is not what it says: this instance can't go on. */
static int fail(baton_engine *engine, int r, const baton_error *why, baton_error *error)
{
    engine->failure = *why;
    engine->failed = r;
    baton_log(ERROR, "engine.follow_failed", BATON_LOG_TEXT("status", baton_status_name(r)),
              BATON_LOG_TEXT("why", why->why), BATON_LOG_NUMBER("seq", engine->machine.seq));
    if (error != NULL)
        *error = *why;
    return r;
}

/* The facts are those after the batch. */
static int pin_by_facts(baton_engine *engine, baton_error *error)
{
    const baton_journal_view view = {.id = baton_journal_id(engine->journal),
                                     .facts = baton_journal_facts(engine->journal)};
    return pin(engine, &view, error);
}

static int apply(baton_engine *engine, const baton_batch_header *batch, baton_error *error)
{
    uint32_t offset = sizeof(*batch);
    uint64_t next_seq = baton_le64_get(batch->first_seq);
    baton_entry entry;
    int r = pin_by_facts(engine, error);
    if (r == 0)
        r = baton_step_said(&engine->standby.step, baton_le64_get(batch->applied_seq),
                            baton_le64_get(batch->effect_digest), error);
    engine->applying = true;
    while (r == 0 && baton_batch_next(batch, &offset, &next_seq, &entry))
        r = baton_step_take(&engine->standby.step, &entry, error);
    engine->applying = false;
    return r;
}

int baton_engine_follow(baton_engine *engine, const baton_batch_header *batch, uint64_t bytes,
                        baton_error *error)
{
    baton_error why = {.offset = UINT64_MAX};
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, follow_what, engine->failure.why,
                               engine->failure.todo);
    if (!engine->standby.following)
        return baton_error_set(error, BATON_E_INVALID, follow_what, "this is no standby", NULL);
    int r = baton_journal_follow(engine->journal, batch, bytes, error);
    if (r < 0)
        return r;
    engine->unpolled = true;
    const bool copies = engine->standby.diverged;
    r = copies ? pin_by_facts(engine, &why) : apply(engine, batch, &why);
    if (r < 0 && !copies && baton_engine_diverge(engine, r, &why) == 0) {
        if (error != NULL)
            *error = why;
        return r;
    }
    return r < 0 ? fail(engine, r, &why, error) : 0;
}

bool baton_engine_followed_some(baton_engine *engine)
{
    const uint64_t batch = baton_journal_durable_position(engine->journal).batch;
    const bool some = batch != engine->standby.durable_batch;
    engine->standby.durable_batch = batch;
    return some;
}

int baton_engine_digests(const baton_engine *engine, uint32_t schema, baton_engine_point *ret_point,
                         baton_error *error)
{
    static const char *const what = "compare two instances";
    const baton_service *service = engine->service;
    if (schema == 0)
        schema = engine->schema;
    if (schema < service->schema.read_min || schema > service->schema.write)
        return baton_error_setf(error, BATON_E_SCHEMA, what, "compare by a schema that both know",
                                "%s %s knows schema %u to %u, not %u", service->name,
                                service->version, service->schema.read_min, service->schema.write,
                                schema);
    if (engine->standby.diverged) {
        if (error != NULL)
            *error = engine->standby.divergence;
        return BATON_E_DIVERGED;
    }
    baton_engine_point point = {
        .seq = engine->machine.seq,
        .schema = schema,
        .effects = engine->machine.effect_digest,
        .durable = baton_journal_durable_position(engine->journal),
    };
    point.position = baton_journal_follow_end(engine->journal, &point.chain);
    int r = baton_machine_digest(&engine->machine, schema, &point.state);
    if (r < 0)
        return baton_error_set(error, r, what, "the state's digest could not be computed", NULL);
    *ret_point = point;
    return 0;
}

/* ---- promotion ---- */

static int check_promotion(const baton_engine *engine, const char *what, baton_error *error)
{
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (!engine->standby.following)
        return baton_error_set(error, BATON_E_INVALID, what, "this is no standby", NULL);
    return 0;
}

int baton_engine_prepare_promotion(baton_engine *engine, uint64_t epoch, baton_error *error)
{
    int r = check_promotion(engine, "prepare to be the active", error);
    return r < 0 ? r : baton_journal_prepare_promotion(engine->journal, epoch, error);
}

/* Where the one before had its snapshots is no concern here: those of this directory are what a start
 * in it will look for (S1). Those of the other one's are forgotten when the next is pruned. */
static int name_own_snapshots(baton_engine *engine)
{
    const engine_snapshot_task *task = &engine->snapshot;
    int r = 0;
    for (uint32_t i = task->generations_count; r == 0 && i-- > 0;) {
        const engine_generation *generation = &task->generations[i];
        const baton_snapshot_info info = {.seq = generation->seq,
                                          .root = generation->root,
                                          .journal_id = baton_journal_id(engine->journal)};
        const baton_journal_view now = {.id = info.journal_id,
                                        .facts = baton_journal_facts(engine->journal)};
        if (generation->good && baton_snapshot_trust(&info, &now) != BATON_TRUST_NAMED)
            r = baton_engine_append_root(engine, BATON_RECORD_ROOT, info.seq, info.root);
    }
    return r;
}

static int first_records(baton_engine *engine)
{
    int r = 0;
    if (baton_journal_facts(engine->journal)->finalized_schema == 0) {
        const baton_finalize_wire wire = {.schema = baton_le32_put(engine->schema)};
        r = baton_engine_append_record(engine, BATON_RECORD_FINALIZE, &wire, sizeof(wire));
    }
    return r < 0 ? r : name_own_snapshots(engine);
}

/* From here on it is as after an open. Whoever had the authority before released every effect. */
static void take_over(baton_engine *engine)
{
    baton_machine *machine = &engine->machine;
    const uint64_t calm_ns = baton_clock_monotonic_ns(engine->clock) + PROMOTED_CALM_NS;
    engine->standby.following = false;
    machine->hold = true;
    baton_outbox_all_released(&machine->outbox);
    engine->released_seq = machine->seq;
    engine->checkpoint_seq = machine->seq;
    engine->snapshot.attempt_seq = machine->seq;
    engine->rto.not_before_ns = engine->form.not_before_ns = calm_ns;
    engine->unpolled = true;
    engine->released_some = true; /* the program's next turn comes at once */
    if (engine->tick_interval_ns != 0)
        engine->tick_next_ns =
            baton_clock_monotonic_ns(baton_clock_system()) + engine->tick_interval_ns;
}

int baton_engine_promote(baton_engine *engine, uint64_t epoch, baton_error *error)
{
    static const char *const what = "be the active";
    int r = check_promotion(engine, what, error);
    if (r < 0)
        return r;
    if (engine->standby.diverged)
        return baton_error_set(error, BATON_E_DIVERGED, what, engine->standby.divergence.why,
                               engine->standby.divergence.todo);
    if (baton_journal_last_seq(engine->journal) != engine->machine.seq)
        return baton_error_set(error, BATON_E_AGAIN, what,
                               "the journal has not come to the snapshot's entry yet", "follow on");
    r = baton_journal_promote(engine->journal, epoch, error);
    if (r == BATON_E_AGAIN)
        return baton_error_set(error, r, what, "what came is not durable here yet",
                               "turn the engine");
    if (r < 0)
        return r;
    take_over(engine);
    r = first_records(engine);
    if (r < 0)
        return baton_engine_fail(engine, r, "write the first records of a term",
                                 "the journal took none", "free disk space, then start again");
    baton_engine_confirm_now(engine); /* it may have served on after all */
    baton_log(INFO, "engine.promoted", BATON_LOG_TEXT("dir", engine->paths.root),
              BATON_LOG_NUMBER("epoch", epoch), BATON_LOG_NUMBER("seq", engine->machine.seq),
              BATON_LOG_NUMBER("schema", engine->schema));
    return 0;
}

/* ---- for whoever feeds another one ---- */

const char *baton_engine_journal_directory(const baton_engine *engine)
{
    return engine->paths.journal;
}

const baton_facts *baton_engine_facts(const baton_engine *engine)
{
    return baton_journal_facts(engine->journal);
}

uint32_t baton_engine_schema(const baton_engine *engine)
{
    return engine->schema;
}

uint32_t baton_engine_batch_bytes_max(const baton_engine *engine)
{
    return baton_journal_batch_bytes_max(engine->journal);
}

baton_digest baton_engine_journal_id(const baton_engine *engine)
{
    return baton_journal_id(engine->journal);
}
