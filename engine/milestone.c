/* engine/milestone.c: see milestone.h. All of it blocks: nothing is served yet. */
#include "engine/milestone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/hydrate.h"
#include "engine/stow.h"
#include "snapshot/image.h"

static const char *const milestone_what = "keep what a replay has come to";

static uint64_t now_ns(const baton_milestones *self)
{
    return baton_clock_monotonic_ns(self->options.clock);
}

void baton_milestones_begin(baton_milestones *self, const baton_recovery_report *recovery,
                            baton_digest journal_id)
{
    self->recovery = *recovery;
    self->journal_id = journal_id;
    self->since_ns = now_ns(self);
    self->since_entries = 0;
}

/* ---- when ---- */

/* Before the first one: about as long as its bytes take. */
static uint64_t expected_ns(const baton_milestones *self, const baton_machine *machine,
                            const baton_hydrate_report *report)
{
    if (self->take_ns != 0)
        return self->take_ns;
    const uint64_t bytes =
        machine->arena != NULL ? baton_arena_used(machine->arena).bytes_count : report->load_bytes;
    return bytes * BATON_MILESTONE_NS_PER_BYTE;
}

static uint64_t step_ns(const baton_milestones *self, uint64_t cost_ns)
{
    uint64_t step = self->options.target_ns != 0
                        ? self->options.target_ns / BATON_MILESTONE_TARGET_SHARE
                        : BATON_MILESTONE_NS;
    step = step > BATON_MILESTONE_NS_MIN ? step : BATON_MILESTONE_NS_MIN;
    const uint64_t worth = cost_ns * BATON_MILESTONE_COST_SHARE;
    return step > worth ? step : worth;
}

/* As much lies behind since the last one, and before it to the end, as makes one worth it. */
static bool is_due(const baton_milestones *self, const baton_machine *machine,
                   const baton_hydrate_report *report)
{
    const uint64_t entries = report->replayed_entries - self->since_entries;
    const uint64_t left = self->recovery.last.seq - machine->seq;
    if (entries == 0 || left == 0)
        return false;
    if (self->options.every_entries != 0)
        return entries >= self->options.every_entries;
    const uint64_t passed_ns = now_ns(self) - self->since_ns;
    const uint64_t step = step_ns(self, expected_ns(self, machine, report));
    return passed_ns >= step && (double)passed_ns / (double)entries * (double)left >= (double)step;
}

/* ---- one ---- */

/* Its epoch, the last one of the journal, belongs to nobody now: the lock is ours, and our own epoch
 * is not taken yet. The durable position is the one that recovery found proven (J5). */
static int describe(const baton_milestones *self, const baton_machine *machine,
                    baton_snapshot_info *info)
{
    *info = (baton_snapshot_info){
        .schema = self->options.schema,
        .seq = machine->seq,
        .epoch = self->recovery.last.epoch,
        .journal_id = self->journal_id,
        .entry_time_ns = machine->time_ns,
        .effect_digest = machine->effect_digest,
        .created_wall_ns = baton_clock_wall_ns(baton_clock_system()),
        .form = "portable",
    };
    strcpy(info->service, machine->service->name); /* baton_service_check saw that they fit */
    strcpy(info->version, machine->service->version);
    if (self->options.mode == BATON_MODE_DURABLE) {
        info->position_epoch = self->recovery.evidence.epoch;
        info->position_batch = self->recovery.evidence.batch;
        info->position_seq = self->recovery.evidence.seq;
    }
    return baton_machine_digest(machine, self->options.schema, &info->state_digest);
}

static int take_portable(const baton_milestones *self, const baton_machine *machine,
                         baton_snapshot_info *info, uint64_t begin_ns, baton_error *error)
{
    const baton_snapshot_options options = {.compress = self->options.compress};
    baton_snapshot_writer *writer = NULL;
    int r = baton_snapshot_writer_create(&options, &writer);
    if (r < 0)
        return baton_error_set(error, r, milestone_what, NULL, "free memory");
    r = baton_machine_pack(machine, self->options.schema, writer);
    info->taken_ns = now_ns(self) - begin_ns;
    if (r == 0)
        r = baton_snapshot_writer_finish(writer, info);
    if (r < 0) {
        baton_snapshot_writer_destroy(writer);
        return baton_error_set(error, r, milestone_what, NULL,
                               "look at the service's snapshot function");
    }
    return baton_snapshot_publish(self->options.io, self->options.directory, writer, info, error);
}

/* Nothing runs beside it: no page needs to be watched. */
static int no_tracker(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                      baton_error *error)
{
    (void)context;
    (void)base;
    (void)bytes;
    *ret_tracker = NULL;
    return baton_error_set(error, BATON_E_DEVICE, milestone_what, "the service does not run yet",
                           NULL);
}

static const baton_tracker_ops no_tracker_ops = {.open = no_tracker};

static int publish_image(const baton_milestones *self, baton_image *image,
                         baton_snapshot_info *info, baton_error *error)
{
    baton_snapshot_publisher *publisher = NULL;
    int r = baton_image_publish_begin(image, self->options.io, info, &publisher, error);
    if (r < 0)
        return r;
    do {
        r = baton_snapshot_publish_step(publisher, true, error);
        if (r == BATON_E_AGAIN && baton_io_in_flight(self->options.io) > 0) {
            const int waited = baton_io_wait(self->options.io, UINT64_MAX);
            (void)waited; /* an interruption, or what the next step will find */
        }
    } while (r == BATON_E_AGAIN);
    baton_snapshot_publish_end(publisher);
    return r;
}

static int copy_pages(const baton_milestones *self, baton_image_source *source,
                      baton_machine *machine, baton_snapshot_info *info, baton_error *error)
{
    const baton_image_options options = {
        .directory = self->options.directory,
        .seq = info->seq,
        .epoch = info->epoch,
        .choice = BATON_IMAGE_STOP,
        .full = true,
        .no_thread = self->options.image_io.custom != NULL,
        .compress = self->options.compress,
        .io = self->options.image_io,
    };
    baton_image *image = NULL;
    int r = baton_image_begin(source, &options, baton_arena_used(machine->arena).bytes_count,
                              &image, error);
    if (r < 0)
        return r;
    r = baton_machine_stow(machine, error);
    if (r == 0) {
        r = baton_image_finish(image, baton_arena_used(machine->arena).bytes_count, error);
        baton_machine_unstow(machine);
    }
    if (r == 0)
        r = publish_image(self, image, info, error);
    baton_image_end(image);
    return r;
}

static int take_image(const baton_milestones *self, baton_machine *machine,
                      baton_snapshot_info *info, baton_error *error)
{
    baton_arena_usage usage;
    baton_arena_get_usage(machine->arena, &usage);
    const baton_image_source_options options = {
        .base = machine->arena,
        .bytes_max = usage.reserved_bytes,
        .layout = baton_arena_layout_digest(machine->arena),
        .tracker = &no_tracker_ops,
    };
    baton_image_source *source = NULL;
    int r = baton_image_source_open(&options, &source, error);
    if (r < 0)
        return r;
    r = copy_pages(self, source, machine, info, error);
    baton_image_source_close(source);
    return r;
}

static int take(const baton_milestones *self, baton_machine *machine, baton_snapshot_info *info,
                uint64_t begin_ns, baton_error *error)
{
    int r = describe(self, machine, info);
    if (r < 0)
        return baton_error_set(error, r, milestone_what, "the state's digest could not be computed",
                               NULL);
    return self->options.image && machine->arena != NULL
               ? take_image(self, machine, info, error)
               : take_portable(self, machine, info, begin_ns, error);
}

/* ---- one after the other ---- */

static void remove_newest(baton_milestones *self)
{
    if (!self->taken)
        return;
    self->taken = false;
    const int r = baton_snapshot_remove(self->options.io, self->options.directory, self->info.seq,
                                        self->info.epoch);
    if (r < 0) /* what nothing names goes with the next prune */
        baton_log(WARN, "engine.prune_failed", BATON_LOG_NUMBER("seq", self->info.seq),
                  BATON_LOG_TEXT("status", baton_status_name(r)));
}

void baton_milestones_undo(baton_milestones *self)
{
    remove_newest(self);
    self->taken_count = 0;
    self->took_ns = 0;
}

void baton_milestones_fini(baton_milestones *self)
{
    free(self->applied);
    self->applied = NULL;
}

static void note_failed(baton_milestones *self, const baton_snapshot_info *info, int r,
                        const baton_error *error)
{
    self->failed = r != -EEXIST; /* a damaged one of that name: the next checkpoint has another */
    baton_log(WARN, "engine.milestone_failed", BATON_LOG_NUMBER("seq", info->seq),
              BATON_LOG_TEXT("status", baton_status_name(r)), BATON_LOG_TEXT("why", error->why),
              BATON_LOG_TEXT("todo", error->todo));
}

/* For the model of a start from here (rto.h). */
static void count_applied(baton_milestones *self, const baton_rates *rates)
{
    if (rates == NULL)
        return;
    if (self->applied == NULL)
        self->applied = calloc(rates->types_count, sizeof(*self->applied));
    for (uint32_t i = 0; self->applied != NULL && i < rates->types_count; i++)
        self->applied[i] = rates->types[i].applied;
}

static void note_taken(baton_milestones *self, const baton_machine *machine,
                       const baton_hydrate_report *report, const baton_snapshot_info *info)
{
    self->taken = true;
    self->info = *info;
    self->taken_count++;
    self->load_bytes = baton_snapshot_load_bytes(info, machine);
    self->replayed_bytes = report->replayed_bytes;
    count_applied(self, machine->rates);
    baton_log(INFO, "engine.milestone", BATON_LOG_NUMBER("seq", info->seq),
              BATON_LOG_NUMBER("of", self->recovery.last.seq), BATON_LOG_TEXT("form", info->form),
              BATON_LOG_NUMBER("stored_bytes", info->stored_bytes),
              BATON_LOG_NUMBER("took_ns", self->take_ns));
}

bool baton_milestones_pass(baton_milestones *self, baton_machine *machine,
                           const baton_hydrate_report *report, uint32_t schema, baton_position at)
{
    /* A digest over the fields of another schema says less than the manifest does. What is not
     * proven durable yet is no ground to publish on (S1). */
    if (self->failed || self->options.every_entries == UINT64_MAX ||
        schema != self->options.schema || baton_position_compare(at, self->recovery.evidence) > 0 ||
        !is_due(self, machine, report))
        return false;
    const uint64_t begin_ns = now_ns(self);
    baton_snapshot_info info = {0};
    baton_error error = {0};
    int r = take(self, machine, &info, begin_ns, &error);
    self->since_ns = now_ns(self);
    self->since_entries = report->replayed_entries;
    self->take_ns = self->since_ns - begin_ns;
    self->took_ns += self->take_ns;
    if (r < 0) {
        note_failed(self, &info, r, &error);
        return false;
    }
    remove_newest(self);
    note_taken(self, machine, report, &info);
    return true;
}
