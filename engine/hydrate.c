/* engine/hydrate.c: choose the snapshot, load it or fall back one generation, replay the rest (S1,
 * S2, E2). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "engine/hydrate.h"

/* What came of one snapshot. */
typedef enum { TRIED_LOADED, TRIED_SKIPPED, TRIED_STOP } tried;

static const char *const hydrate_what = "rebuild the state";

int baton_check_facts(const baton_service *service, const baton_journal_view *view,
                      baton_error *error)
{
    static const char *const what = "go on with this data";
    uint32_t schema = view->facts->finalized_schema;
    if (schema > service->schema.write)
        return baton_error_setf(error, BATON_E_SCHEMA, what,
                                "start the newer build: its data was finalized",
                                "its schema is %u, %s %s reads %u to %u", schema, service->name,
                                service->version, service->schema.read_min, service->schema.write);
    if (schema != 0 && schema < service->schema.read_min)
        return baton_error_setf(error, BATON_E_SCHEMA, what,
                                "upgrade through a build that reads both, and finalize there",
                                "its schema is %u, %s %s reads %u to %u", schema, service->name,
                                service->version, service->schema.read_min, service->schema.write);
    return 0;
}

/* ---- progress ---- */

#define PROGRESS_NS UINT64_C(20000000)

void baton_hydrate_tell(baton_progress_teller *teller, const baton_hydrate_progress *progress)
{
    if (teller->options->on_progress == NULL)
        return;
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    if (now_ns < teller->next_ns)
        return;
    teller->next_ns = now_ns + PROGRESS_NS;
    teller->options->on_progress(teller->options->progress_context, progress);
}

typedef struct {
    baton_progress_teller teller;
    uint64_t seq;
} loading;

static void on_chunk(void *context, uint64_t done_bytes, uint64_t of_bytes)
{
    loading *self = context;
    const baton_hydrate_progress progress = {
        .phase = BATON_HYDRATE_LOADING, .seq = self->seq, .done = done_bytes, .of = of_bytes};
    baton_hydrate_tell(&self->teller, &progress);
}

/* ---- one snapshot ---- */

static tried skip(baton_hydrate_report *report, const baton_snapshot_listed *listed, int status,
                  const char *why, baton_error *first)
{
    baton_log(WARN, "engine.snapshot_skipped", BATON_LOG_NUMBER("seq", listed->info.seq),
              BATON_LOG_TEXT("path", listed->manifest_path),
              BATON_LOG_TEXT("status", baton_status_name(status)), BATON_LOG_TEXT("why", why));
    report->snapshots_skipped++;
    if (report->snapshots_skipped > 1)
        return TRIED_SKIPPED;
    snprintf(report->snapshot_skipped_why, sizeof(report->snapshot_skipped_why), "%.190s", why);
    baton_error_set(first, status, hydrate_what, why, NULL);
    baton_error_at(first, listed->manifest_path, UINT64_MAX);
    return TRIED_SKIPPED;
}

static tried stop_here(baton_error *error, const baton_snapshot_listed *listed)
{
    if (error != NULL && error->path[0] == '\0')
        baton_error_at(error, listed->manifest_path, UINT64_MAX);
    return TRIED_STOP;
}

/* The state that was handed over is the one that this snapshot gives: recomputed, not believed
 * (S1). One that a checkpoint vouches for has its digests, and loading it compared them again. */
static bool fits_handover(const baton_machine *machine, const baton_handover_wire *handover)
{
    uint32_t schema = baton_le32_get(handover->state_schema);
    baton_digest digest;
    if (schema < machine->service->schema.read_min || schema > machine->service->schema.write)
        return false;
    if (baton_machine_digest(machine, schema, &digest) < 0)
        return false;
    return memcmp(digest.bytes, handover->state_digest, sizeof(digest.bytes)) == 0 &&
           memcmp(machine->effect_digest.bytes, handover->effect_digest, sizeof(digest.bytes)) == 0;
}

/* An error of this kind means that the machine is in trouble, not the snapshot. */
static bool is_fatal(int r)
{
    return baton_status_class(r) == BATON_CLASS_SYSTEM && r != -EIO && r != -ENOENT;
}

static int load_portable(const baton_hydrate_options *options, const baton_snapshot_listed *listed,
                         baton_machine *machine, baton_error *error)
{
    baton_snapshot_reader *reader = NULL;
    int r =
        baton_snapshot_reader_open(options->io, options->paths->snapshots, listed, &reader, error);
    if (r < 0)
        return r;
    loading self = {.teller.options = options, .seq = listed->info.seq};
    baton_snapshot_reader_on_chunk(reader, on_chunk, &self);
    if (!baton_io_is_custom(options->io))
        baton_snapshot_reader_help(reader);
    r = baton_machine_unpack(machine, reader, error);
    baton_snapshot_reader_close(reader);
    return r;
}

static int load_image(const baton_hydrate_options *options, const baton_snapshot_listed *listed,
                      baton_machine *machine, baton_error *error)
{
    loading self = {.teller.options = options, .seq = listed->info.seq};
    return baton_machine_load_image(machine, options, listed, on_chunk, &self, error);
}

int baton_hydrate_load(const baton_hydrate_options *options, const baton_snapshot_listed *listed,
                       baton_machine *machine, baton_error *error)
{
    return baton_snapshot_is_image(&listed->info) ? load_image(options, listed, machine, error)
                                                  : load_portable(options, listed, machine, error);
}

/* Another snapshot would not make them right. */
static int check_options(const baton_machine *machine, baton_error *error)
{
    const baton_service *service = machine->service;
    return service->check_options == NULL
               ? 0
               : service->check_options(machine->state, &machine->config, error);
}

static tried load(const baton_hydrate_options *options, const baton_snapshot_listed *listed,
                  baton_trust trust, baton_machine *machine, baton_hydrate_report *report,
                  baton_error *first, baton_error *error)
{
    baton_error why = {0};
    int r = baton_hydrate_load(options, listed, machine, &why);
    if (r == 0 && trust == BATON_TRUST_HANDED_OVER &&
        !fits_handover(machine, &options->view->facts->handover))
        r = baton_error_set(
            &why, BATON_E_UNTRUSTED, "trust a snapshot",
            "the journal does not name it, and its state is not the one handed over", NULL);
    const bool is_good = r == 0;
    if (is_good)
        r = check_options(machine, &why);
    if (r == 0)
        return TRIED_LOADED;
    if (is_good || is_fatal(r)) {
        if (error != NULL)
            *error = why;
        return stop_here(error, listed);
    }
    if (baton_machine_reset(machine, error) < 0)
        return TRIED_STOP;
    char text[600];
    return skip(report, listed, r, baton_error_text(&why, text, sizeof(text)), first);
}

static tried check_service(const baton_snapshot_listed *listed, const baton_service *service,
                           baton_error *error)
{
    const baton_snapshot_info *info = &listed->info;
    if (strcmp(info->service, service->name) == 0)
        return TRIED_LOADED;
    baton_error_setf(error, BATON_E_OTHER_SERVICE, "use the snapshots of this directory",
                     "start that service here, or use another directory",
                     "they are of %s, this is %s", info->service, service->name);
    return stop_here(error, listed);
}

static tried check_schema(const baton_snapshot_listed *listed, const baton_service *service,
                          baton_error *error)
{
    const baton_snapshot_info *info = &listed->info;
    if (info->schema >= service->schema.read_min && info->schema <= service->schema.write)
        return TRIED_LOADED;
    baton_error_setf(
        error, BATON_E_SCHEMA, "load the newest snapshot",
        info->schema > service->schema.write ? "start the newer build that took it"
                                             : "upgrade through a build that reads both",
        "its schema is %u (version %s), %s %s reads %u to %u", info->schema, info->version,
        service->name, service->version, service->schema.read_min, service->schema.write);
    return stop_here(error, listed);
}

/* Are all entries after it still there? */
static bool journal_covers(const baton_hydrate_options *options, uint64_t seq)
{
    const baton_recovery_report *recovery = &options->view->recovery;
    if (seq > recovery->last.seq)
        return options->may_lead;
    return seq == recovery->last.seq ||
           (recovery->first_seq != 0 && recovery->first_seq <= seq + 1);
}

static bool is_asked_for(const baton_hydrate_options *options, const baton_snapshot_listed *listed)
{
    return !baton_digest_is_zero(options->trust_root) &&
           baton_digest_equal(options->trust_root, listed->info.root);
}

static tried try_snapshot(const baton_hydrate_options *options, const baton_snapshot_listed *listed,
                          baton_machine *machine, baton_hydrate_report *report, baton_error *first,
                          baton_error *error)
{
    const baton_journal_view *view = options->view;
    if (listed->status != 0)
        return skip(report, listed, listed->status, baton_status_text(listed->status), first);
    if (check_service(listed, machine->service, error) == TRIED_STOP)
        return TRIED_STOP;
    baton_trust trust = baton_snapshot_trust(&listed->info, view);
    if (trust == BATON_TRUST_NONE && is_asked_for(options, listed))
        trust = BATON_TRUST_ROOT;
    const bool of_another = !baton_digest_equal(listed->info.journal_id, view->id);
    if (of_another && trust != BATON_TRUST_NAMED &&
        (trust != BATON_TRUST_ROOT || !baton_digest_is_zero(view->id)))
        return skip(report, listed, BATON_E_OTHER_JOURNAL, "it belongs to another journal", first);
    if (trust == BATON_TRUST_NONE)
        trust = baton_journal_vouches(options, &listed->info);
    if (trust == BATON_TRUST_NONE)
        return skip(report, listed, BATON_E_UNTRUSTED, "nothing durable in the journal names it",
                    first);
    if (check_schema(listed, machine->service, error) == TRIED_STOP)
        return TRIED_STOP;
    if (!baton_digest_is_zero(view->id) && !journal_covers(options, listed->info.seq))
        return skip(report, listed, BATON_E_GONE, "the journal does not hold the entries after it",
                    first);
    const tried came = load(options, listed, trust, machine, report, first, error);
    if (came == TRIED_LOADED && trust == BATON_TRUST_CHECKPOINT)
        report->resumed_seq = listed->info.seq;
    report->by_trust_root = came == TRIED_LOADED && trust == BATON_TRUST_ROOT;
    return came;
}

/* ---- all of them ---- */

static const baton_snapshot_info *newest_readable(const baton_catalogue *catalogue)
{
    for (uint32_t i = 0; i < catalogue->count; i++)
        if (catalogue->listed[i].status == 0)
            return &catalogue->listed[i].info;
    return NULL;
}

/* Snapshots without a journal: nothing says that they are what they should be, but the operator
 * may (S1). */
static int refuse_orphans(const baton_hydrate_options *options, const baton_catalogue *catalogue,
                          const baton_error *first, baton_error *error)
{
    const baton_snapshot_info *newest = newest_readable(catalogue);
    char root[BATON_DIGEST_TEXT_BYTES] = "of one that can be read";
    char todo[200];
    char why[240];
    if (newest != NULL)
        baton_digest_text(newest->root, root);
    snprintf(todo, sizeof(todo),
             "put the journal back beside them; or, if that snapshot is what you want to go on "
             "from, start with --trust-root %s",
             root);
    if (first->status != 0)
        snprintf(why, sizeof(why), "the snapshot of the root asked for can't be used: %.180s",
                 first->why);
    else if (!baton_digest_is_zero(options->trust_root))
        snprintf(why, sizeof(why), "no snapshot that can be read has the root asked for");
    else
        snprintf(why, sizeof(why),
                 "there are snapshots, but the journal that names them is missing or empty");
    const int status = first->status != 0 ? first->status : BATON_E_UNTRUSTED;
    baton_error_set(error, status, hydrate_what, why,
                    first->status != 0
                        ? "put back a whole copy of it, or name another (`baton snapshot ls`)"
                        : todo);
    baton_error_at(error, options->paths->snapshots, UINT64_MAX);
    return status;
}

static int refuse(const baton_hydrate_options *options, const baton_error *first,
                  baton_error *error)
{
    const baton_recovery_report *recovery = &options->view->recovery;
    if (options->ignore_snapshots ||
        ((options->to_seq != 0 || options->to_time_ns != 0) && first->status == 0)) {
        baton_error_setf(error, BATON_E_GONE, hydrate_what,
                         "start from a snapshot, and ask for an entry at or above it",
                         "the entries before %" PRIu64 " were retired", recovery->first_seq);
        baton_error_at(error, options->paths->journal, UINT64_MAX);
        return BATON_E_GONE;
    }
    int status = first->status != 0 ? first->status : BATON_E_DAMAGED;
    baton_error_setf(
        error, status, hydrate_what,
        "put back a snapshot that the journal names, or the older segments from an archive",
        "the journal begins at entry %" PRIu64
        " and no usable snapshot covers what was before%s%.140s",
        recovery->first_seq, first->status != 0 ? "; the newest: " : "", first->why);
    baton_error_at(error, first->status != 0 ? first->path : options->paths->snapshots, UINT64_MAX);
    return status;
}

/* One of that very entry may have been taken after confirmations that stand behind it. */
static bool is_beyond(const baton_hydrate_options *options, uint64_t seq)
{
    if (options->to_seq == 0)
        return false;
    return options->to_entry_alone ? seq >= options->to_seq : seq > options->to_seq;
}

static int choose(const baton_hydrate_options *options, baton_catalogue *catalogue,
                  baton_machine *machine, baton_hydrate_report *report, uint32_t *ret_chosen,
                  baton_error *first, baton_error *error)
{
    const baton_recovery_report *recovery = &options->view->recovery;
    baton_error stop = {.offset = UINT64_MAX};
    *ret_chosen = UINT32_MAX;
    for (uint32_t i = 0; !options->ignore_snapshots && i < catalogue->count; i++) {
        const baton_snapshot_listed *listed = &catalogue->listed[i];
        if (catalogue->bad[i] || is_beyond(options, listed->info.seq) ||
            (options->to_time_ns != 0 && listed->info.entry_time_ns > options->to_time_ns))
            continue;
        if (baton_digest_is_zero(options->view->id) && !is_asked_for(options, listed))
            continue;
        switch (try_snapshot(options, listed, machine, report, first, &stop)) {
        case TRIED_LOADED:
            report->from_snapshot = true;
            report->snapshot_seq = listed->info.seq;
            report->snapshot_schema = listed->info.schema;
            snprintf(report->snapshot_form, sizeof(report->snapshot_form), "%s", listed->info.form);
            report->load_bytes = baton_snapshot_load_bytes(&listed->info, machine);
            *ret_chosen = i;
            return 0;
        case TRIED_SKIPPED:
            catalogue->bad[i] = true;
            break;
        case TRIED_STOP:
            if (error != NULL)
                *error = stop;
            return stop.status;
        }
    }
    if (baton_digest_is_zero(options->view->id) && !options->ignore_snapshots &&
        catalogue->count > 0)
        return refuse_orphans(options, catalogue, first, error);
    if (recovery->last.seq > 0 && recovery->first_seq != 1)
        return refuse(options, first, error);
    return 0; /* every entry is still there */
}

uint64_t baton_snapshot_load_bytes(const baton_snapshot_info *info, const baton_machine *machine)
{
    return baton_snapshot_is_image(info) && machine->arena != NULL
               ? baton_arena_used(machine->arena).bytes_count
               : info->raw_bytes;
}

static int load_and_replay(const baton_hydrate_options *options, baton_catalogue *catalogue,
                           baton_machine *machine, baton_hydrate_report *report,
                           uint32_t *ret_chosen, baton_error *first, baton_error *error)
{
    const baton_clock *clock = options->clock != NULL ? options->clock : baton_clock_system();
    const uint64_t begin_ns = baton_clock_monotonic_ns(clock);
    int r = choose(options, catalogue, machine, report, ret_chosen, first, error);
    if (r < 0)
        return r;
    const uint64_t loaded_ns = baton_clock_monotonic_ns(clock);
    report->load_ns = loaded_ns - begin_ns;

    r = baton_machine_replay(machine, options, report, error);
    if (options->milestones != NULL && r < 0)
        baton_milestones_undo(options->milestones);
    if (r < 0)
        return r;
    if (options->milestones != NULL)
        report->kept_ns = options->milestones->took_ns;
    report->replay_ns = baton_clock_monotonic_ns(clock) - loaded_ns - report->kept_ns;
    return 0;
}

/* What no digest covers may be wrong in a snapshot that another start kept in its replay: of a build
 * that would have been refused later on, had it not been killed. The one before was made by a writer,
 * who knew. */
static bool is_of_another_start(const baton_hydrate_options *options, const baton_machine *machine,
                                const baton_hydrate_report *report, int r)
{
    const bool seen = options->on_entry != NULL || machine->on_effect != NULL;
    return report->resumed_seq != 0 && !seen && !is_fatal(r) && r != BATON_E_UNKNOWN_TYPE;
}

static int set_back(baton_machine *machine, baton_hydrate_report *report, baton_error *error)
{
    const baton_hydrate_report was = *report;
    *report = (baton_hydrate_report){.recovery = was.recovery,
                                     .recover_ns = was.recover_ns,
                                     .snapshots_skipped = was.snapshots_skipped};
    memcpy(report->snapshot_skipped_why, was.snapshot_skipped_why,
           sizeof(report->snapshot_skipped_why));
    if (machine->rates != NULL)
        baton_rates_begin_anew(machine->rates);
    return baton_machine_reset(machine, error);
}

int baton_hydrate(const baton_hydrate_options *options, baton_catalogue *catalogue,
                  baton_machine *machine, baton_hydrate_report *report, uint32_t *ret_chosen,
                  baton_error *error)
{
    baton_error first = {.offset = UINT64_MAX};
    baton_error why = {.offset = UINT64_MAX};
    report->recovery = options->view->recovery;
    int r = baton_check_facts(machine->service, options->view, error);
    if (r < 0)
        return r;
    while ((r = load_and_replay(options, catalogue, machine, report, ret_chosen, &first, &why)) <
               0 &&
           is_of_another_start(options, machine, report, r)) {
        char text[600];
        catalogue->bad[*ret_chosen] = true;
        (void)skip(report, &catalogue->listed[*ret_chosen], r,
                   baton_error_text(&why, text, sizeof(text)), &first);
        r = set_back(machine, report, error);
        if (r < 0)
            return r;
        why = (baton_error){.offset = UINT64_MAX};
    }
    if (r < 0 && error != NULL)
        *error = why;
    if (r == 0)
        baton_outbox_all_released(&machine->outbox);
    return r;
}
