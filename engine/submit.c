/* engine/submit.c: an input into the journal and through the state machine, in this order. It runs
 * ahead of durability; its effects wait (E8). No system call; no allocation in steady state. */
#include "base/assert.h"
#include "engine/engine_private.h"

/* Would this entry be right, and is there room for what it causes? */
static int check_intake(const baton_engine *engine, uint16_t type, uint32_t payload_bytes)
{
    if (engine->failed != 0)
        return BATON_E_BROKEN;
    if (engine->standby.following)
        return BATON_E_STANDBY;
    if (engine->sealed)
        return BATON_E_SEALED;
    if (engine->applying)
        return BATON_E_INVALID;
    const baton_entry_type *known = baton_service_entry_type(engine->service, type);
    if (known == NULL)
        return BATON_E_UNKNOWN_TYPE; /* E7 */
    if (known->schema_min > engine->schema)
        return BATON_E_SCHEMA; /* E4 */
    if (payload_bytes > BATON_ENTRY_BYTES_MAX)
        return BATON_E_TOO_LARGE;
    /* One entry may emit far more than is left: the queue then grows, and the next entry waits. */
    const baton_effect_queue *held = &engine->machine.held;
    if (held->count >= ENGINE_HELD_EFFECTS_MAX || held->bytes >= ENGINE_HELD_BYTES_MAX)
        return BATON_E_FULL;
    if (engine->machine.outbox.bytes >= engine->outbox_bytes_max)
        return BATON_E_LAGGING;
    return 0;
}

static void poison(baton_engine *engine, int r, const baton_entry *entry)
{
    engine->poisoned = true;
    baton_error_setf(
        &engine->failure, r, "apply an entry",
        "correct the service; the entry and what was taken in with it were not acknowledged",
        "entry %llu (type %u) can not be applied: %s", (unsigned long long)entry->seq, entry->type,
        baton_status_text(r));
    engine->failed = r;
}

static int submit(baton_engine *engine, uint16_t type, const void *payload, uint32_t payload_bytes,
                  bool unhurried, uint64_t *ret_seq)
{
    int r = check_intake(engine, type, payload_bytes);
    if (r < 0)
        return r;
    baton_entry entry;
    r = baton_journal_append(engine->journal, type, payload, payload_bytes, &entry);
    if (r == 0 || r == BATON_E_NO_SPACE)
        engine->no_space = r < 0;
    if (r < 0)
        return r;
    if (unhurried)
        baton_journal_unhurried(engine->journal);
    engine->unpolled = true;

    engine->applying = true;
    r = baton_machine_apply(&engine->machine, &entry);
    engine->applying = false;
    if (r < 0) {
        poison(engine, r, &entry);
        return BATON_E_BROKEN;
    }
    if (ret_seq != NULL)
        *ret_seq = entry.seq;
    if (entry.seq - engine->checkpoint_seq >= engine->checkpoint_every)
        baton_engine_checkpoint(engine);
    return 0;
}

int baton_engine_submit(baton_engine *engine, uint16_t type, const void *payload,
                        uint32_t payload_bytes, uint64_t *ret_seq)
{
    return submit(engine, type, payload, payload_bytes, false, ret_seq);
}

int baton_engine_submit_unhurried(baton_engine *engine, uint16_t type, const void *payload,
                                  uint32_t payload_bytes, uint64_t *ret_seq)
{
    return submit(engine, type, payload, payload_bytes, true, ret_seq);
}

static int journal_confirm(baton_engine *engine, uint32_t consumer, baton_effect_key key)
{
    const baton_confirm_wire wire = {
        .epoch = baton_le64_put(key.epoch),
        .seq = baton_le64_put(key.seq),
        .index = baton_le32_put(key.index),
        .consumer = baton_le32_put(consumer),
    };
    int r = baton_engine_append_record(engine, BATON_RECORD_CONFIRM, &wire, sizeof(wire));
    if (r < 0)
        return r;
    baton_journal_unhurried(engine->journal);
    baton_outbox_confirm(&engine->machine.outbox, consumer, key);
    return 0;
}

int baton_engine_confirm(baton_engine *engine, uint32_t consumer, uint64_t epoch, uint64_t seq,
                         uint32_t index)
{
    if (engine->failed != 0)
        return BATON_E_BROKEN;
    if (engine->standby.following)
        return BATON_E_STANDBY;
    const baton_effect_key key = {.epoch = epoch, .seq = seq, .index = index};
    int r = baton_outbox_check(&engine->machine.outbox, consumer, key);
    if (r <= 0)
        return r;
    /* What two instances compare at a handover is the journal's last batch: none comes behind it. */
    if (engine->sealed) {
        if (baton_engine_granted(engine))
            return BATON_E_SEALED;
        engine->confirm_later[consumer - 1] = key;
        return 0;
    }
    return journal_confirm(engine, consumer, key);
}

void baton_engine_confirm_now(baton_engine *engine)
{
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_effect_key key = engine->confirm_later[i];
        engine->confirm_later[i] = (baton_effect_key){0};
        if (key.epoch != 0 && baton_outbox_check(&engine->machine.outbox, i + 1, key) > 0)
            (void)!journal_confirm(engine, i + 1, key); /* no room: the next one says it */
    }
}

int baton_engine_resend(baton_engine *engine, uint32_t consumer,
                        int (*visit)(void *context, const baton_effect *effect), void *context)
{
    if (engine->standby.following)
        return BATON_E_STANDBY;
    if (baton_engine_granted(engine))
        return BATON_E_SEALED;
    return baton_outbox_resend(&engine->machine.outbox, consumer, visit, context);
}
