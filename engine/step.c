/* engine/step.c: see step.h. */
#include "engine/step.h"

#include <inttypes.h>
#include <string.h>

#include "base/breakable.h"

/* Effects that were released are not decided again (E3): there is no option that goes on here. */
static const char *const step_todo =
    "run the build that wrote it, and from there go back by `baton service handover`; if it can't "
    "serve, let it write its state, `baton snapshot --schema N`, and start this build from that "
    "(docs/handover.md, the way back)";

/* ---- comparing ---- */

static uint64_t effects_were_good(const baton_step *step)
{
    return step->effects_good_seq > step->last_good_seq ? step->effects_good_seq
                                                        : step->last_good_seq;
}

/* J4: each batch says how far its writer had come, and with what effects. They may have left it. */
static int compare_said(baton_step *step, uint64_t seq, uint64_t effects, baton_error *error)
{
    const uint64_t are = baton_digest_low64(step->machine->effect_digest);
    if (are == effects || BATON_BREAK(NO_DIGEST_COMPARISON)) {
        step->effects_good_seq = seq;
        return 0;
    }
    baton_error_setf(error, BATON_E_DIVERGED, step->what, step_todo,
                     "entries %" PRIu64 " to %" PRIu64
                     ": the low half of the effect digest is %016" PRIx64
                     " now, it was %016" PRIx64,
                     effects_were_good(step) + 1, seq, are, effects);
    baton_error_at(error, step->journal_directory, UINT64_MAX);
    return BATON_E_DIVERGED;
}

int baton_step_said(baton_step *step, uint64_t seq, uint64_t effects, baton_error *error)
{
    const bool is_to_come = seq > step->machine->seq;
    /* Of a dead writer's term, and never durable, when the batch is of another one. */
    step->said_seq = is_to_come ? seq : 0;
    step->said_effects = effects;
    if (seq == 0 || seq != step->machine->seq)
        return 0;
    return compare_said(step, seq, effects, error);
}

static int diverged(const baton_step *step, const char *kind, uint64_t seq, baton_digest is,
                    const uint8_t was_bytes[16], baton_error *error)
{
    char is_text[BATON_DIGEST_TEXT_BYTES];
    char was_text[BATON_DIGEST_TEXT_BYTES];
    baton_digest was;
    memcpy(was.bytes, was_bytes, sizeof(was.bytes));
    baton_error_setf(error, BATON_E_DIVERGED, step->what, step_todo,
                     "entries %" PRIu64 " to %" PRIu64 ": the %s digest is %s now, it was %s",
                     (kind[0] == 'e' ? effects_were_good(step) : step->last_good_seq) + 1, seq,
                     kind, baton_digest_text(is, is_text), baton_digest_text(was, was_text));
    baton_error_at(error, step->journal_directory, UINT64_MAX);
    return BATON_E_DIVERGED;
}

/* A checkpoint or a handover record: what the writer had computed after entry `seq`. */
static int compare(baton_step *step, uint64_t seq, uint32_t schema, const uint8_t state_digest[16],
                   const uint8_t effect_digest[16], baton_error *error)
{
    baton_machine *machine = step->machine;
    if (seq != machine->seq) {
        baton_error_setf(error, BATON_E_DAMAGED, step->what, "run `baton journal verify`",
                         "a checkpoint of entry %" PRIu64 " stands after entry %" PRIu64, seq,
                         machine->seq);
        baton_error_at(error, step->journal_directory, UINT64_MAX);
        return BATON_E_DAMAGED;
    }
    if (memcmp(machine->effect_digest.bytes, effect_digest, 16) != 0)
        return diverged(step, "effect", seq, machine->effect_digest, effect_digest, error);
    step->effects_good_seq = seq;
    if (schema < machine->service->schema.read_min || schema > machine->service->schema.write)
        return 0; /* fields that this build does not know can't be compared */
    baton_digest state_is;
    int r = baton_machine_digest(machine, schema, &state_is);
    if (r < 0)
        return baton_error_set(error, r, step->what, "the state's digest could not be computed",
                               NULL);
    if (memcmp(state_is.bytes, state_digest, 16) != 0)
        return diverged(step, "state", seq, state_is, state_digest, error);
    step->checkpoints_compared++;
    step->last_good_seq = seq;
    return 0;
}

static int take_record(baton_step *step, const baton_entry *record, baton_error *error)
{
    if (!baton_record_check(record->type, record->payload, record->payload_bytes))
        return baton_error_setf(error, BATON_E_UNKNOWN_TYPE, step->what,
                                "use the build that wrote it",
                                "after entry %" PRIu64 " stands a record of kind %u with %u bytes",
                                record->seq, record->type, record->payload_bytes);
    if (record->seq < step->begin_seq)
        return 0; /* the snapshot holds what it did */
    switch ((baton_record_kind)record->type) {
    case BATON_RECORD_CHECKPOINT: {
        const baton_checkpoint_wire *wire = record->payload;
        return compare(step, baton_le64_get(wire->seq), baton_le32_get(wire->state_schema),
                       wire->state_digest, wire->effect_digest, error);
    }
    case BATON_RECORD_HANDOVER: {
        const baton_handover_wire *wire = record->payload;
        if (BATON_BREAK(NO_DIGEST_COMPARISON))
            return 0;
        return compare(step, baton_le64_get(wire->last_seq), baton_le32_get(wire->state_schema),
                       wire->state_digest, wire->effect_digest, error);
    }
    case BATON_RECORD_CONFIRM: {
        const baton_confirm_wire *wire = record->payload;
        uint32_t consumer = baton_le32_get(wire->consumer);
        baton_effect_key key = {.epoch = baton_le64_get(wire->epoch),
                                .seq = baton_le64_get(wire->seq),
                                .index = baton_le32_get(wire->index)};
        if (consumer < 1 || consumer > BATON_CONSUMERS_MAX)
            return baton_error_setf(
                error, BATON_E_UNKNOWN_TYPE, step->what, "use the build that wrote it",
                "after entry %" PRIu64 " consumer %u confirms", record->seq, consumer);
        baton_outbox_confirm(&step->machine->outbox, consumer, key);
        return 0;
    }
    case BATON_RECORD_ROOT:
    case BATON_RECORD_ROOT_GONE:
    case BATON_RECORD_FINALIZE:
        return 0; /* standing facts: taken from the end of the journal */
    }
    return 0;
}

static int take_entry(baton_step *step, const baton_entry *entry, baton_error *error)
{
    baton_machine *machine = step->machine;
    if (entry->seq <= machine->seq)
        return 0; /* the snapshot holds it */
    if (entry->seq != machine->seq + 1) {
        baton_error_setf(error, BATON_E_DAMAGED, step->what, "run `baton journal verify`",
                         "entry %" PRIu64 " follows entry %" PRIu64, entry->seq, machine->seq);
        baton_error_at(error, step->journal_directory, UINT64_MAX);
        return BATON_E_DAMAGED;
    }
    if (baton_service_entry_type(machine->service, entry->type) == NULL) /* E7 */
        return baton_error_setf(
            error, BATON_E_UNKNOWN_TYPE, step->what, "start the build that wrote it",
            "%s %s does not know type %u of entry %" PRIu64, machine->service->name,
            machine->service->version, entry->type, entry->seq);
    if (step->on_entry != NULL)
        step->on_entry(step->context, entry);
    int r = baton_machine_apply(machine, entry);
    if (r < 0)
        return baton_error_setf(error, r, step->what, "start the build that wrote it",
                                "entry %" PRIu64 " (type %u) can not be applied: %s", entry->seq,
                                entry->type, baton_status_text(r));
    step->entries_applied++;
    if (step->said_seq != machine->seq)
        return 0;
    step->said_seq = 0;
    return compare_said(step, machine->seq, step->said_effects, error);
}

int baton_step_take(baton_step *step, const baton_entry *entry, baton_error *error)
{
    return entry->is_record ? take_record(step, entry, error) : take_entry(step, entry, error);
}
