/* engine/at_rest.c: a service's data without a writer: baton_replay. Reads only, and takes no lock.
 *
 * A writer may be at work meanwhile. The journal ends, for one look at it, where recovery saw it
 * end: beside a writer, at what that one had published (J11). What the writer removes under the
 * look makes it fail; then it is tried again. */
#include <errno.h>
#include <string.h>

#include <baton/clock.h>

#include "engine/hydrate.h"
#include "journal/recover.h"
#include "journal/watch.h"

#define AT_REST_OPS_MAX   64u
#define AT_REST_TRIES_MAX 8u

typedef struct {
    const baton_replay_options *options;
    baton_engine_paths paths;
    baton_machine machine;
    baton_catalogue catalogue;
    baton_recovery recovery;
    baton_io *io;
    bool handed_out; /* the caller has seen entries or effects: no second try */
} at_rest;

/* Manifests prove what was durable: a journal that ends before that has lost acknowledged entries
 * (J5). They are listed first: none of them is ahead of where the journal is found to end. */
static int recover(at_rest *self, baton_error *error)
{
    int r = baton_catalogue_read(self->paths.snapshots, &self->catalogue, error);
    if (r < 0)
        return r;
    baton_recover_options options = {
        .service = self->machine.service->name,
        .from_seq =
            self->options->ignore_snapshots ? 0 : baton_catalogue_from_seq(&self->catalogue),
    };
    r = baton_recover_beside(self->io, self->paths.journal, &options, &self->recovery, error);
    if (r < 0)
        return r;
    options.evidence = baton_catalogue_evidence(&self->catalogue, self->recovery.id);
    if (baton_position_compare(options.evidence, self->recovery.report.last) <= 0)
        return 0;
    baton_recovery_fini(&self->recovery);
    return baton_recover_beside(self->io, self->paths.journal, &options, &self->recovery, error);
}

static void hand_out_effect(void *context, const baton_effect *effect)
{
    at_rest *self = context;
    self->handed_out = true;
    self->options->on_effect(self->options->context, effect);
}

static void hand_out_entry(void *context, const baton_entry *entry)
{
    at_rest *self = context;
    self->handed_out = true;
    self->options->on_entry(self->options->context, entry);
}

static int fill_result(const at_rest *self, uint32_t schema, baton_replay_result *result,
                       baton_error *error)
{
    result->seq = self->machine.seq;
    result->epoch = self->recovery.report.last.epoch;
    result->effects_count = self->machine.effects_count;
    result->effect_digest = self->machine.effect_digest;
    result->schema = schema;
    int r = baton_machine_digest(&self->machine, schema, &result->state_digest);
    if (r < 0)
        return baton_error_set(error, r, "compute the state's digest", NULL, NULL);
    return 0;
}

static int look(at_rest *self, baton_hydrate_report *report, baton_error *error)
{
    const baton_replay_options *options = self->options;
    int r = recover(self, error);
    report->recovery = self->recovery.report;
    if (r < 0)
        return r;
    const baton_journal_view view = {
        .id = self->recovery.id, .facts = &self->recovery.facts, .recovery = self->recovery.report};
    const baton_hydrate_options hydrate_options = {
        .paths = &self->paths,
        .io = self->io,
        .view = &view,
        .image_io = {.choice = baton_watch_io_choice(options->backend)},
        .backend = options->backend,
        .to_seq = options->to_seq,
        .to_entry_alone = options->to_entry_alone,
        .to_time_ns = options->to_time_ns,
        .ignore_snapshots = options->ignore_snapshots,
        .on_entry = options->on_entry != NULL ? hand_out_entry : NULL,
        .context = self,
    };
    uint32_t chosen;
    return baton_hydrate(&hydrate_options, &self->catalogue, &self->machine, report, &chosen,
                         error);
}

/* A writer takes away what this look was about to read: old snapshots, old segments. Without one,
 * the second look finds what the first one did. */
static bool may_be_the_writer(const at_rest *self, int r, const baton_recovery_report *before)
{
    const baton_recovery_report *now = &self->recovery.report;
    if (self->handed_out ||
        (r != BATON_E_GONE && r != BATON_E_DAMAGED && r != BATON_E_UNTRUSTED && r != -ENOENT))
        return false;
    return baton_position_compare(now->last, before->last) != 0 ||
           now->first_seq != before->first_seq;
}

static int replay(at_rest *self, uint32_t schema, baton_replay_result *result, baton_error *error)
{
    const baton_io_options io_options = {.choice = baton_watch_io_choice(self->options->backend),
                                         .ops_max = AT_REST_OPS_MAX};
    baton_recovery_report before = {0};
    int r = baton_io_open(&io_options, &self->io, error);
    if (r < 0)
        return r;
    r = look(self, &result->hydrate, error);
    for (uint32_t tries = 1;
         tries < AT_REST_TRIES_MAX && r < 0 && may_be_the_writer(self, r, &before); tries++) {
        before = self->recovery.report;
        result->hydrate = (baton_hydrate_report){0};
        baton_recovery_fini(&self->recovery);
        baton_catalogue_fini(&self->catalogue);
        r = baton_machine_reset(&self->machine, error);
        if (r == 0)
            r = look(self, &result->hydrate, error);
    }
    return r < 0 ? r : fill_result(self, schema, result, error);
}

static int check_schema(const baton_service *service, uint32_t schema, baton_error *error)
{
    if (schema >= service->schema.read_min && schema <= service->schema.write)
        return 0;
    return baton_error_setf(error, BATON_E_SCHEMA, "compute a state digest", "ask for one of these",
                            "schema %u was asked for, %s %s knows %u to %u", schema, service->name,
                            service->version, service->schema.read_min, service->schema.write);
}

static int show(const at_rest *self, baton_machine_visit visit, void *context, baton_error *error)
{
    const baton_machine *machine = &self->machine;
    baton_snapshot_info about = {
        .seq = machine->seq,
        .epoch = self->recovery.report.last.epoch,
        .journal_id = self->recovery.id,
        .entry_time_ns = machine->time_ns,
        .effect_digest = machine->effect_digest,
    };
    return visit(context, machine, &about, self->io, error);
}

int baton_replay_visit(const baton_service *service, const char *directory,
                       const baton_replay_options *options, uint32_t digest_schema,
                       baton_machine_visit visit, void *context, baton_replay_result *ret_result,
                       baton_error *error)
{
    static const baton_replay_options none;
    if (options == NULL)
        options = &none;
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    memset(ret_result, 0, sizeof(*ret_result));

    at_rest self = {.options = options};
    int r = baton_machine_init(&self.machine, service, &options->config, error);
    self.machine.on_effect = options->on_effect != NULL ? hand_out_effect : NULL;
    self.machine.on_effect_context = &self;
    if (digest_schema == 0 && r == 0)
        digest_schema = service->schema.write;
    if (r == 0)
        r = check_schema(service, digest_schema, error);
    if (r == 0)
        r = baton_engine_paths_set(&self.paths, directory, error);
    if (r == 0)
        r = replay(&self, digest_schema, ret_result, error);
    if (r == 0 && visit != NULL)
        r = show(&self, visit, context, error);
    ret_result->hydrate.total_ns = baton_clock_monotonic_ns(baton_clock_system()) - begin_ns;

    baton_recovery_fini(&self.recovery);
    baton_io_close(self.io);
    baton_catalogue_fini(&self.catalogue);
    baton_machine_fini(&self.machine);
    return r;
}

int baton_replay(const baton_service *service, const char *directory,
                 const baton_replay_options *options, uint32_t digest_schema,
                 baton_replay_result *ret_result, baton_error *error)
{
    return baton_replay_visit(service, directory, options, digest_schema, NULL, NULL, ret_result,
                              error);
}
