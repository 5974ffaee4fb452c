/* engine/replay.c: a journal at rest through the machine. */
#include <inttypes.h>

#include "base/breakable.h"
#include "engine/hydrate.h"
#include "engine/step.h"
#include "journal/follow.h"
#include "journal/format.h"

#define TELL_EVERY 16u /* entries between two looks at the clock */

typedef struct {
    baton_step step;
    const baton_hydrate_options *options;
    baton_hydrate_report *report;
    baton_error *error;
    bool stopped;         /* at an entry that is later than the moment asked for */
    baton_position at;    /* of the batch that is being read */
    uint64_t batch;       /* counted; 0 before the first */
    uint64_t batch_bytes; /* of it, so far */
    baton_progress_teller teller;
} replaying;

static const char *const replay_what = "replay the journal";

/* The state is the writer's at this very record: that is what a snapshot of it is trusted by. */
static void keep(replaying *self, const baton_entry *record)
{
    baton_hydrate_report *report = self->report;
    baton_milestones *milestones = self->options->milestones;
    const baton_step *step = &self->step;
    const baton_checkpoint_wire *wire = record->payload;
    if (milestones == NULL || record->type != BATON_RECORD_CHECKPOINT ||
        record->seq < step->begin_seq ||
        !baton_milestones_pass(milestones, step->machine, report,
                               baton_le32_get(wire->state_schema), self->at))
        return;
    report->kept_count = milestones->taken_count;
    report->kept_seq = milestones->info.seq;
}

static void tell(replaying *self)
{
    const uint64_t end = self->options->view->recovery.last.seq;
    const baton_hydrate_progress progress = {
        .phase = BATON_HYDRATE_REPLAYING,
        .seq = self->step.machine->seq,
        .done = self->step.entries_applied,
        .of = end > self->step.begin_seq ? end - self->step.begin_seq : 0,
    };
    baton_hydrate_tell(&self->teller, &progress);
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

static int compare_said(replaying *self, const baton_reader *reader)
{
    uint64_t seq, effects;
    baton_reader_applied(reader, &seq, &effects);
    return baton_step_said(&self->step, seq, effects, self->error);
}

/* A confirmation behind the last entry that is asked for: not of that entry's state. A checkpoint is. */
static bool is_of_later(const replaying *self, const baton_entry *record)
{
    const baton_hydrate_options *options = self->options;
    return options->to_entry_alone && record->type == BATON_RECORD_CONFIRM &&
           options->to_seq != 0 && self->step.machine->seq >= options->to_seq;
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
        const uint64_t batch = baton_reader_position(reader).batch;
        if (batch != self->at.batch && (r = compare_said(self, reader)) < 0)
            return r;
        self->at = baton_reader_position(reader);
        count_bytes(self, self->at.batch, entry.payload_bytes);
        if (entry.is_record && is_of_later(self, &entry))
            continue;
        r = baton_step_take(&self->step, &entry, self->error);
        if (r < 0)
            return r;
        self->report->replayed_entries = self->step.entries_applied;
        self->report->checkpoints_compared = self->step.checkpoints_compared;
        self->report->last_good_seq = self->step.last_good_seq;
        self->report->effects_good_seq = self->step.effects_good_seq;
        if (entry.is_record)
            keep(self, &entry);
        else if (self->step.entries_applied % TELL_EVERY == 0)
            tell(self);
    }
    if (r == 0 && (r = compare_said(self, reader)) == 0) /* marks at the end say it, too */
        self->report->effects_good_seq = self->step.effects_good_seq;
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
    if (self->step.machine->seq == want || (self->stopped && self->step.machine->seq < want))
        return 0;
    if (self->options->may_lead && self->step.machine->seq > want)
        return 0;
    baton_error_setf(self->error, BATON_E_DAMAGED, replay_what, "run `baton journal verify`",
                     "it ends at entry %" PRIu64 ", recovery had found entry %" PRIu64,
                     self->step.machine->seq, want);
    baton_error_at(self->error, self->options->paths->journal, UINT64_MAX);
    return BATON_E_DAMAGED;
}

int baton_machine_replay(baton_machine *machine, const baton_hydrate_options *options,
                         baton_hydrate_report *report, baton_error *error)
{
    const baton_journal_view *view = options->view;
    replaying self = {
        .step = {.machine = machine,
                 .what = replay_what,
                 .journal_directory = options->paths->journal,
                 .begin_seq = machine->seq,
                 .last_good_seq = machine->seq,
                 .effects_good_seq = machine->seq,
                 .on_entry = options->on_entry,
                 .context = options->context},
        .options = options,
        .report = report,
        .error = error,
        .teller.options = options,
    };
    report->last_good_seq = report->effects_good_seq = machine->seq;
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
