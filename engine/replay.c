/* engine/replay.c: the journal through the machine, and what each checkpoint says about it (E2). */
#include <inttypes.h>
#include <string.h>

#include "base/breakable.h"
#include "engine/hydrate.h"
#include "journal/format.h"

#define TELL_EVERY 16u /* entries between two looks at the clock */

typedef struct {
    baton_machine *machine;
    const baton_hydrate_options *options;
    baton_hydrate_report *report;
    baton_error *error;
    uint64_t begin_seq;     /* of the snapshot */
    bool stopped;           /* at an entry that is later than the moment asked for */
    uint64_t last_good_seq; /* digests were equal here, or the snapshot's were */
    uint64_t batch;         /* that is being read; 0 before the first */
    uint64_t batch_bytes;   /* of it, so far */
    baton_progress_teller teller;
} replaying;

static const char *const replay_what = "replay the journal";

/* ---- comparing ---- */

static int diverged(const replaying *self, const char *kind, uint64_t seq, baton_digest is,
                    const uint8_t was_bytes[16])
{
    char is_text[BATON_DIGEST_TEXT_BYTES];
    char was_text[BATON_DIGEST_TEXT_BYTES];
    baton_digest was;
    memcpy(was.bytes, was_bytes, sizeof(was.bytes));
    baton_error_setf(
        self->error, BATON_E_DIVERGED, replay_what,
        "run the build that wrote it; then find out what in apply depends on more than the entries",
        "entries %" PRIu64 " to %" PRIu64 ": the %s digest is %s now, it was %s",
        self->last_good_seq + 1, seq, kind, baton_digest_text(is, is_text),
        baton_digest_text(was, was_text));
    baton_error_at(self->error, self->options->paths->journal, UINT64_MAX);
    return BATON_E_DIVERGED;
}

/* A checkpoint or a handover record: what the writer had computed after entry `seq`. */
static int compare(replaying *self, uint64_t seq, uint32_t schema, const uint8_t state_digest[16],
                   const uint8_t effect_digest[16])
{
    baton_machine *machine = self->machine;
    if (seq != machine->seq) {
        baton_error_setf(self->error, BATON_E_DAMAGED, replay_what, "run `baton journal verify`",
                         "a checkpoint of entry %" PRIu64 " stands after entry %" PRIu64, seq,
                         machine->seq);
        baton_error_at(self->error, self->options->paths->journal, UINT64_MAX);
        return BATON_E_DAMAGED;
    }
    if (memcmp(machine->effect_digest.bytes, effect_digest, 16) != 0)
        return diverged(self, "effect", seq, machine->effect_digest, effect_digest);
    if (schema < machine->service->schema.read_min || schema > machine->service->schema.write)
        return 0; /* fields that this build does not know can't be compared */
    baton_digest state_is;
    int r = baton_machine_digest(machine, schema, &state_is);
    if (r < 0)
        return baton_error_set(self->error, r, replay_what,
                               "the state's digest could not be computed", NULL);
    if (memcmp(state_is.bytes, state_digest, 16) != 0)
        return diverged(self, "state", seq, state_is, state_digest);
    self->report->checkpoints_compared++;
    self->last_good_seq = seq;
    return 0;
}

/* The state is the writer's at this very record: that is what a snapshot of it is trusted by. */
static void keep(replaying *self, uint32_t schema, baton_position at)
{
    baton_hydrate_report *report = self->report;
    baton_milestones *milestones = self->options->milestones;
    if (!baton_milestones_pass(milestones, self->machine, report, schema, at))
        return;
    report->kept_count = milestones->taken_count;
    report->kept_seq = milestones->info.seq;
}

static int take_record(replaying *self, const baton_entry *record, baton_position at)
{
    if (!baton_record_check(record->type, record->payload, record->payload_bytes))
        return baton_error_setf(self->error, BATON_E_UNKNOWN_TYPE, replay_what,
                                "use the build that wrote it",
                                "after entry %" PRIu64 " stands a record of kind %u with %u bytes",
                                record->seq, record->type, record->payload_bytes);
    if (record->seq < self->begin_seq)
        return 0; /* the snapshot holds what it did */
    switch ((baton_record_kind)record->type) {
    case BATON_RECORD_CHECKPOINT: {
        const baton_checkpoint_wire *wire = record->payload;
        const uint32_t schema = baton_le32_get(wire->state_schema);
        int r = compare(self, baton_le64_get(wire->seq), schema, wire->state_digest,
                        wire->effect_digest);
        if (r == 0 && self->options->milestones != NULL)
            keep(self, schema, at);
        return r;
    }
    case BATON_RECORD_HANDOVER: {
        const baton_handover_wire *wire = record->payload;
        return compare(self, baton_le64_get(wire->last_seq), baton_le32_get(wire->state_schema),
                       wire->state_digest, wire->effect_digest);
    }
    case BATON_RECORD_CONFIRM: {
        const baton_confirm_wire *wire = record->payload;
        uint32_t consumer = baton_le32_get(wire->consumer);
        baton_effect_key key = {.epoch = baton_le64_get(wire->epoch),
                                .seq = baton_le64_get(wire->seq),
                                .index = baton_le32_get(wire->index)};
        if (consumer < 1 || consumer > BATON_CONSUMERS_MAX)
            return baton_error_setf(
                self->error, BATON_E_UNKNOWN_TYPE, replay_what, "use the build that wrote it",
                "after entry %" PRIu64 " consumer %u confirms", record->seq, consumer);
        baton_outbox_confirm(&self->machine->outbox, consumer, key);
        return 0;
    }
    case BATON_RECORD_ROOT:
    case BATON_RECORD_ROOT_GONE:
    case BATON_RECORD_FINALIZE:
        return 0; /* standing facts: taken from the end of the journal */
    }
    return 0;
}

static void tell(replaying *self)
{
    const uint64_t end = self->options->view->recovery.last.seq;
    const baton_hydrate_progress progress = {
        .phase = BATON_HYDRATE_REPLAYING,
        .seq = self->machine->seq,
        .done = self->report->replayed_entries,
        .of = end > self->begin_seq ? end - self->begin_seq : 0,
    };
    baton_hydrate_tell(&self->teller, &progress);
}

static int take_entry(replaying *self, const baton_entry *entry)
{
    baton_machine *machine = self->machine;
    if (entry->seq <= machine->seq)
        return 0; /* the snapshot holds it */
    if (entry->seq != machine->seq + 1) {
        baton_error_setf(self->error, BATON_E_DAMAGED, replay_what, "run `baton journal verify`",
                         "entry %" PRIu64 " follows entry %" PRIu64, entry->seq, machine->seq);
        baton_error_at(self->error, self->options->paths->journal, UINT64_MAX);
        return BATON_E_DAMAGED;
    }
    if (baton_service_entry_type(machine->service, entry->type) == NULL) /* E7 */
        return baton_error_setf(
            self->error, BATON_E_UNKNOWN_TYPE, replay_what, "start the build that wrote it",
            "%s %s does not know type %u of entry %" PRIu64, machine->service->name,
            machine->service->version, entry->type, entry->seq);
    if (self->options->on_entry != NULL)
        self->options->on_entry(self->options->context, entry);
    int r = baton_machine_apply(machine, entry);
    if (r < 0)
        return baton_error_setf(self->error, r, replay_what, "start the build that wrote it",
                                "entry %" PRIu64 " (type %u) can not be applied: %s", entry->seq,
                                entry->type, baton_status_text(r));
    self->report->replayed_entries++;
    if (self->report->replayed_entries % TELL_EVERY == 0)
        tell(self);
    return 0;
}

/* ---- the loop ---- */

static uint64_t padded(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* How much of the journal was read: batches are whole units, and those without entries one. */
static void count_bytes(replaying *self, uint64_t batch, uint32_t payload_bytes)
{
    if (batch != self->batch) {
        const uint64_t marks = self->batch != 0 ? batch - self->batch - 1 : 0;
        self->report->replayed_bytes += padded(self->batch_bytes, BATON_IO_UNIT);
        self->report->replayed_bytes += marks * BATON_IO_UNIT;
        self->batch = batch;
        self->batch_bytes = sizeof(baton_batch_header);
    }
    self->batch_bytes += sizeof(baton_frame_header) + padded(payload_bytes, 8);
}

static int read_on(replaying *self, baton_reader *reader)
{
    const baton_hydrate_options *options = self->options;
    uint64_t to_seq = options->to_seq != 0 ? options->to_seq : UINT64_MAX;
    /* What a dead writer's last write brings after recovery looked is void from our epoch's header
     * on (J10); and beside a living writer it is not asked for. */
    if (options->view->recovery.last.seq < to_seq && !BATON_BREAK(REPLAY_PAST_RECOVERY))
        to_seq = options->view->recovery.last.seq;
    const uint64_t to_time_ns = options->to_time_ns != 0 ? options->to_time_ns : UINT64_MAX;
    baton_entry entry;
    int r;
    while ((r = baton_reader_next(reader, &entry, self->error)) > 0) {
        if (!entry.is_record && (entry.seq > to_seq || entry.time_ns > to_time_ns)) {
            self->stopped = entry.time_ns > to_time_ns;
            return 0;
        }
        const baton_position at = baton_reader_position(reader);
        count_bytes(self, at.batch, entry.payload_bytes);
        r = entry.is_record ? take_record(self, &entry, at) : take_entry(self, &entry);
        if (r < 0)
            return r;
    }
    return r;
}

/* From the snapshot's own entry on, where it is still there: a confirmation may stand between it
 * and the next one. */
static uint64_t read_from_seq(uint64_t snapshot_seq, const baton_recovery_report *recovery)
{
    if (recovery->first_seq == 0)
        return 0;
    return snapshot_seq > recovery->first_seq ? snapshot_seq : recovery->first_seq;
}

static int check_end(const replaying *self)
{
    const baton_recovery_report *recovery = &self->options->view->recovery;
    uint64_t want = recovery->last.seq;
    if (self->options->to_seq != 0 && self->options->to_seq < want)
        want = self->options->to_seq;
    if (self->machine->seq == want || (self->stopped && self->machine->seq < want))
        return 0;
    baton_error_setf(self->error, BATON_E_DAMAGED, replay_what, "run `baton journal verify`",
                     "it ends at entry %" PRIu64 ", recovery had found entry %" PRIu64,
                     self->machine->seq, want);
    baton_error_at(self->error, self->options->paths->journal, UINT64_MAX);
    return BATON_E_DAMAGED;
}

int baton_machine_replay(baton_machine *machine, const baton_hydrate_options *options,
                         baton_hydrate_report *report, baton_error *error)
{
    const baton_journal_view *view = options->view;
    replaying self = {
        .machine = machine,
        .options = options,
        .report = report,
        .error = error,
        .begin_seq = machine->seq,
        .last_good_seq = machine->seq,
        .teller.options = options,
    };
    if (baton_digest_is_zero(view->id) && report->by_trust_root)
        return 0; /* the snapshot is all there is */
    if (baton_digest_is_zero(view->id))
        return check_end(&self); /* nothing was ever written */

    baton_reader_options reader_options = {
        .from_seq = read_from_seq(machine->seq, &view->recovery),
        .with_records = true,
        .backend = options->backend,
        .evidence =
            view->recovery.last, /* all that recovery adopted: a dead writer's HINT may say less */
    };
    if (options->milestones != NULL)
        baton_milestones_begin(options->milestones, &view->recovery, view->id);
    baton_reader *reader = NULL;
    int r = baton_reader_open(options->paths->journal, &reader_options, &reader, error);
    if (r < 0)
        return r;
    r = read_on(&self, reader);
    baton_reader_close(reader);
    report->replayed_bytes += padded(self.batch_bytes, BATON_IO_UNIT);
    return r < 0 ? r : check_end(&self);
}
