/* engine/records.c: what the engine itself writes into the journal: checkpoints (E2), roots (S1),
 * finalize (E4), handover (H1). Records take no seq: they stand after the last entry. */
#include <string.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "engine/engine_private.h"

/* Would an entry still be refused? */
bool baton_engine_disk_is_full(baton_engine *engine)
{
    void *place;
    if (engine->no_space && baton_journal_claim(engine->journal, 1, &place) == 0) {
        int r = baton_journal_commit(engine->journal, 0, BATON_CLAIM_DROP, NULL);
        engine->no_space = r < 0;
    }
    return engine->no_space;
}

static const uint8_t nobody[16];

bool baton_engine_granted(const baton_engine *engine)
{
    return engine->handover_queued && memcmp(engine->handover_to, nobody, sizeof(nobody)) != 0;
}

/* On a full disk only the handover's record: the others can wait, and it must find its room. One that
 * names a successor is the last (H2). */
int baton_engine_append_record(baton_engine *engine, baton_record_kind kind, const void *wire,
                               uint32_t wire_bytes)
{
    if (baton_engine_granted(engine))
        return BATON_E_SEALED;
    if (kind != BATON_RECORD_HANDOVER && baton_engine_disk_is_full(engine))
        return BATON_E_NO_SPACE;
    int r = baton_journal_append_record(engine->journal, kind, wire, wire_bytes);
    if (r == 0)
        engine->unpolled = true;
    return r;
}

/* Right after its entry, or not at all: where there is no room now, the next entry gets it. */
void baton_engine_checkpoint(baton_engine *engine)
{
    baton_machine *machine = &engine->machine;
    baton_digest digest;
    if (baton_machine_digest(machine, engine->schema, &digest) < 0) {
        baton_log(ERROR, "engine.checkpoint_failed", BATON_LOG_NUMBER("seq", machine->seq));
        engine->checkpoint_seq = machine->seq;
        return;
    }
    baton_checkpoint_wire wire = {
        .seq = baton_le64_put(machine->seq),
        .state_schema = baton_le32_put(engine->schema),
    };
    memcpy(wire.state_digest, digest.bytes, sizeof(wire.state_digest));
    memcpy(wire.effect_digest, machine->effect_digest.bytes, sizeof(wire.effect_digest));
    if (baton_engine_append_record(engine, BATON_RECORD_CHECKPOINT, &wire, sizeof(wire)) < 0)
        return;
    engine->checkpoint_seq = machine->seq;
    baton_metric_add(engine->metric.checkpoints_total, 1);
}

int baton_engine_append_root(baton_engine *engine, baton_record_kind kind, uint64_t seq,
                             baton_digest root)
{
    baton_root_wire wire = {.seq = baton_le64_put(seq)};
    memcpy(wire.root, root.bytes, sizeof(wire.root));
    return baton_engine_append_record(engine, kind, &wire, sizeof(wire));
}

/* 0: the record is queued, or was. */
static int queue_finalize(baton_engine *engine, uint32_t schema)
{
    if (engine->finalize_batch != 0)
        return 0;
    const baton_finalize_wire wire = {.schema = baton_le32_put(schema)};
    int r = baton_engine_append_record(engine, BATON_RECORD_FINALIZE, &wire, sizeof(wire));
    if (r == 0)
        engine->finalize_batch = baton_journal_queued_batch(engine->journal);
    return r;
}

int baton_engine_finalize(baton_engine *engine, baton_error *error)
{
    static const char *const what = "finalize";
    const uint32_t newest = engine->service->schema.write;
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (engine->standby.following)
        return baton_error_set(error, BATON_E_STANDBY, what, NULL, "ask the active");
    if (engine->schema == newest)
        return 0;
    if (engine->handover_queued && engine->finalize_batch == 0)
        return baton_error_set(error, BATON_E_SEALED, what, "authority was handed over",
                               "ask the successor");
    int r = queue_finalize(engine, newest);
    if (r < 0 && r != BATON_E_FULL)
        return baton_error_set(error, r, what, NULL, "try again");
    return baton_error_set(error, BATON_E_AGAIN, what, "the record is on its way",
                           "turn the engine, then ask again");
}

/* What waits for a record, whenever the journal was polled. True: one is durable now. */
bool baton_engine_prove_records(baton_engine *engine)
{
    const uint64_t durable = baton_journal_durable_position(engine->journal).batch;
    bool proven = false;
    if (engine->handover_queued && !engine->handover_durable && durable >= engine->handover_batch)
        engine->handover_durable = proven = true;
    if (engine->finalize_batch == 0 || durable < engine->finalize_batch)
        return proven;
    const uint32_t newest = engine->service->schema.write;
    baton_log(INFO, "engine.finalized", BATON_LOG_NUMBER("from_schema", engine->schema),
              BATON_LOG_NUMBER("schema", newest), BATON_LOG_NUMBER("seq", engine->machine.seq));
    engine->schema = newest;
    engine->finalize_batch = 0;
    return true;
}

/* ---- the drain ---- */

void baton_engine_seal(baton_engine *engine)
{
    if (engine->sealed)
        return;
    engine->sealed = true;
    baton_journal_seal(engine->journal);
}

int baton_engine_unseal(baton_engine *engine, baton_error *error)
{
    static const char *const what = "take entries again";
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (BATON_BREAK(RESUME_LATE))
        engine->handover_queued = false;
    if (engine->handover_queued)
        return baton_error_set(error, BATON_E_SEALED, what, "the handover record is on its way",
                               "whoever it grants to goes on");
    engine->sealed = false;
    baton_journal_unseal(engine->journal);
    baton_engine_confirm_now(engine);
    return 0;
}

/* Records have no effects, and may wait for a write to share: an instance that is compared at a handover must have
 * no batch to come. */
static bool all_submitted(const baton_engine *engine)
{
    baton_digest chain;
    return baton_journal_follow_end(engine->journal, &chain).batch ==
           baton_journal_queued_batch(engine->journal);
}

bool baton_engine_all_released(const baton_engine *engine)
{
    if (engine->standby.following)
        return true;
    return engine->released_seq == engine->machine.seq && engine->machine.held.count == 0 &&
           (engine->handover_queued || all_submitted(engine));
}

static int check_handover(const baton_engine *engine, const char *what, baton_error *error)
{
    if (engine->failed != 0)
        return baton_error_set(error, BATON_E_BROKEN, what, engine->failure.why,
                               engine->failure.todo);
    if (engine->standby.following)
        return baton_error_set(error, BATON_E_STANDBY, what, NULL, "ask the active");
    if (!engine->sealed)
        return baton_error_set(error, BATON_E_INVALID, what, "intake is not stopped", "seal first");
    if (!baton_engine_all_released(engine))
        return baton_error_set(error, BATON_E_AGAIN, what, "entries are still on their way",
                               "turn the engine");
    return 0;
}

static int hand_over(baton_engine *engine, const uint8_t nonce[16], baton_error *error)
{
    static const char *const what = "write the handover record";
    baton_machine *machine = &engine->machine;
    baton_digest digest;
    int r = check_handover(engine, what, error);
    if (r < 0)
        return r;
    if (engine->handover_queued)
        return memcmp(engine->handover_to, nonce, sizeof(engine->handover_to)) == 0
                   ? 0
                   : baton_error_set(error, BATON_E_SEALED, what, "it names another successor",
                                     "ask that one");
    r = baton_machine_digest(machine, engine->schema, &digest);
    if (r < 0)
        return baton_error_set(error, r, what, "the state's digest could not be computed", NULL);
    baton_handover_wire wire = {
        .epoch = baton_le64_put(baton_journal_epoch(engine->journal)),
        .last_seq = baton_le64_put(machine->seq),
        .state_schema = baton_le32_put(engine->schema),
    };
    memcpy(wire.state_digest, digest.bytes, sizeof(wire.state_digest));
    memcpy(wire.effect_digest, machine->effect_digest.bytes, sizeof(wire.effect_digest));
    memcpy(wire.successor_nonce, nonce, sizeof(wire.successor_nonce));
    r = baton_engine_append_record(engine, BATON_RECORD_HANDOVER, &wire, sizeof(wire));
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "turn the engine, then try again");
    memcpy(engine->handover_to, nonce, sizeof(engine->handover_to));
    engine->handover_queued = true;
    engine->handover_batch = baton_journal_queued_batch(engine->journal);
    return 0;
}

int baton_engine_handover_record(baton_engine *engine, baton_error *error)
{
    return hand_over(engine, nobody, error);
}

int baton_engine_handover_record_to(baton_engine *engine, const uint8_t nonce[16],
                                    baton_error *error)
{
    static const char *const what = "hand over to a successor";
    if (memcmp(nonce, nobody, sizeof(nobody)) == 0)
        return baton_error_set(error, BATON_E_INVALID, what, "its nonce is all zeros",
                               "name the successor by its start nonce");
    if (engine->mode != BATON_MODE_DURABLE)
        return baton_error_set(error, BATON_E_INVALID, what,
                               "this journal is in mode written, which proves nothing to another",
                               "start with --mode durable");
    return hand_over(engine, nonce, error);
}

bool baton_engine_handover_durable(const baton_engine *engine)
{
    return engine->handover_durable;
}
