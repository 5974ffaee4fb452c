/* engine/at_rest.c: a service's data without a writer: baton_replay. Reads only. */
#include <string.h>

#include <baton/clock.h>

#include "engine/hydrate.h"
#include "journal/recover.h"

#define AT_REST_OPS_MAX 64u

typedef struct {
    baton_engine_paths paths;
    baton_machine machine;
    baton_catalogue catalogue;
    baton_recovery recovery;
    baton_io *io;
} at_rest;

/* Manifests prove what was durable: a journal that ends before that has lost acknowledged entries
 * (J5). */
static int recover(at_rest *self, const baton_replay_options *options, baton_error *error)
{
    baton_recover_options recover_options = {
        .service = self->machine.service->name,
        .from_seq = options->ignore_snapshots ? 0 : baton_catalogue_from_seq(&self->catalogue),
    };
    int r = baton_recover(self->io, self->paths.journal, &recover_options, &self->recovery, error);
    if (r < 0)
        return r;
    baton_position evidence = baton_catalogue_evidence(&self->catalogue, self->recovery.id);
    if (baton_position_compare(evidence, self->recovery.report.last) <= 0)
        return 0;
    baton_recovery_fini(&self->recovery);
    memset(&self->recovery, 0, sizeof(self->recovery));
    recover_options.evidence = evidence;
    return baton_recover(self->io, self->paths.journal, &recover_options, &self->recovery, error);
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

static int replay(at_rest *self, const baton_replay_options *options, uint32_t schema,
                  baton_replay_result *result, baton_error *error)
{
    baton_io_options io_options = {.choice = baton_engine_io_choice(options->backend),
                                   .ops_max = AT_REST_OPS_MAX};
    int r = baton_io_open(&io_options, &self->io, error);
    if (r == 0)
        r = baton_catalogue_read(self->paths.snapshots, &self->catalogue, error);
    if (r == 0)
        r = recover(self, options, error);
    result->hydrate.recovery = self->recovery.report;
    if (r < 0)
        return r;

    const baton_journal_view view = {
        .id = self->recovery.id, .facts = &self->recovery.facts, .recovery = self->recovery.report};
    const baton_hydrate_options hydrate_options = {
        .paths = &self->paths,
        .io = self->io,
        .view = &view,
        .backend = options->backend,
        .to_seq = options->to_seq,
        .ignore_snapshots = options->ignore_snapshots,
        .on_entry = options->on_entry,
        .context = options->context,
    };
    uint32_t chosen;
    r = baton_hydrate(&hydrate_options, &self->catalogue, &self->machine, &result->hydrate, &chosen,
                      error);
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

int baton_replay(const baton_service *service, const char *directory,
                 const baton_replay_options *options, uint32_t digest_schema,
                 baton_replay_result *ret_result, baton_error *error)
{
    static const baton_replay_options none;
    if (options == NULL)
        options = &none;
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    memset(ret_result, 0, sizeof(*ret_result));

    at_rest self = {0};
    int r = baton_machine_init(&self.machine, service, &options->config, error);
    self.machine.on_effect = options->on_effect;
    self.machine.on_effect_context = options->context;
    if (digest_schema == 0 && r == 0)
        digest_schema = service->schema.write;
    if (r == 0)
        r = check_schema(service, digest_schema, error);
    if (r == 0)
        r = baton_engine_paths_set(&self.paths, directory, error);
    if (r == 0)
        r = replay(&self, options, digest_schema, ret_result, error);
    ret_result->hydrate.total_ns = baton_clock_monotonic_ns(baton_clock_system()) - begin_ns;

    baton_recovery_fini(&self.recovery);
    baton_io_close(self.io);
    baton_catalogue_fini(&self.catalogue);
    baton_machine_fini(&self.machine);
    return r;
}
