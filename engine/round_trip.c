/* engine/round_trip.c: states as portable snapshots at rest: written in every schema and read back,
 * which proves the way to an older build (E4); and written into a directory of the caller's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <baton/clock.h>

#include "engine/hydrate.h"
#include "journal/watch.h"

#define ROUND_TRIP_OPS_MAX 64u

typedef struct {
    const baton_round_trip_options *options;
    const baton_machine *machine; /* the state that is there */
    baton_snapshot_info info;
    baton_io *io;
    baton_error *error;
} round_trip;

static const char *const round_trip_what = "write and read back";

/* ---- writing ---- */

static int fill_info(const baton_machine *machine, const baton_snapshot_info *about,
                     uint32_t schema, baton_snapshot_info *info, baton_error *error)
{
    *info = *about;
    info->schema = schema;
    info->created_wall_ns = baton_clock_wall_ns(baton_clock_system());
    snprintf(info->service, sizeof(info->service), "%s", machine->service->name);
    snprintf(info->version, sizeof(info->version), "%s", machine->service->version);
    int r = baton_machine_digest(machine, schema, &info->state_digest);
    return r < 0
               ? baton_error_setf(error, r, round_trip_what, NULL,
                                  "the state's digest over schema %u could not be computed", schema)
               : 0;
}

/* LZ4 always: the same rows give the same bytes, whatever the clock says. */
static int pack(const baton_machine *machine, baton_snapshot_info *info,
                baton_snapshot_writer **ret_writer, baton_error *error)
{
    const baton_snapshot_options options = {.compress = BATON_COMPRESS_LZ4};
    baton_snapshot_writer *writer = NULL;
    int r = baton_snapshot_writer_create(&options, &writer);
    if (r == 0)
        r = baton_machine_pack(machine, info->schema, writer);
    if (r == 0)
        r = baton_snapshot_writer_finish(writer, info);
    if (r < 0) {
        baton_snapshot_writer_destroy(writer);
        return baton_error_setf(
            error, r, round_trip_what, "look at the service's snapshot function",
            "schema %u can't be written: %s", info->schema, baton_status_text(r));
    }
    *ret_writer = writer;
    return 0;
}

/* ---- reading back ---- */

static int refuse(const round_trip *trip, const char *part)
{
    return baton_error_setf(trip->error, BATON_E_DIVERGED, round_trip_what,
                            "look at the service's snapshot and restore functions",
                            "schema %u: %s that was read is not the one that was written",
                            trip->info.schema, part);
}

/* The state's digest was compared with the manifest's, which is the written state's, by unpack. */
static int compare(const round_trip *trip, const baton_machine *back)
{
    const baton_machine *machine = trip->machine;
    if (!baton_digest_equal(back->effect_digest, machine->effect_digest) ||
        back->effects_count != machine->effects_count)
        return refuse(trip, "the chain of effects");
    if (back->outbox.count != machine->outbox.count || back->outbox.bytes != machine->outbox.bytes)
        return refuse(trip, "the outbox");
    return 0;
}

static int report(const round_trip *trip, const baton_machine *back,
                  const baton_snapshot_reader *reader)
{
    const baton_round_trip_options *options = trip->options;
    baton_round_trip_result result = {
        .schema = trip->info.schema,
        .seq = trip->info.seq,
        .bytes = trip->info.raw_bytes,
        .state_digest = trip->info.state_digest,
    };
    baton_snapshot_info again = trip->info;
    baton_snapshot_writer *writer = NULL;
    int r = pack(back, &again, &writer, trip->error);
    if (r < 0)
        return r;
    baton_snapshot_writer_destroy(writer);
    result.canonical = baton_digest_equal(again.root, trip->info.root);

    baton_snapshot_section_size section;
    for (uint32_t i = 0; baton_snapshot_reader_section(reader, i, &section); i++) {
        result.rows_count += section.rows_count;
        if (options->on_section != NULL)
            options->on_section(options->context, result.schema, &section);
    }
    if (options->on_schema != NULL)
        options->on_schema(options->context, &result);
    return 0;
}

static int read_back(const round_trip *trip)
{
    const baton_snapshot_listed listed = {.info = trip->info};
    baton_snapshot_reader *reader = NULL;
    baton_machine back;
    baton_service_config config = trip->machine->config;
    config.arena_options.address = 0; /* the other machine is there */
    int r = baton_machine_init(&back, trip->machine->service, &config, trip->error);
    if (r == 0)
        r = baton_snapshot_reader_open(trip->io, trip->options->work_directory, &listed, &reader,
                                       trip->error);
    if (r == 0)
        r = baton_machine_unpack(&back, reader, trip->error);
    if (r == 0)
        r = compare(trip, &back);
    if (r == 0)
        r = report(trip, &back, reader);
    baton_snapshot_reader_close(reader);
    baton_machine_fini(&back);
    return r;
}

static int go(round_trip *trip)
{
    baton_snapshot_writer *writer = NULL;
    int r = pack(trip->machine, &trip->info, &writer, trip->error);
    if (r < 0)
        return r;
    const char *directory = trip->options->work_directory;
    r = baton_snapshot_publish(trip->io, directory, writer, &trip->info, trip->error);
    if (r < 0)
        return r;
    r = read_back(trip);
    const int removed =
        baton_snapshot_remove(trip->io, directory, trip->info.seq, trip->info.epoch);
    if (removed < 0 && r == 0) {
        r = baton_error_set(trip->error, removed, round_trip_what, NULL, "look at its directory");
        baton_error_at(trip->error, directory, UINT64_MAX);
    }
    return r;
}

static int visit_schemas(void *context, const baton_machine *machine,
                         const baton_snapshot_info *about, baton_io *io, baton_error *error)
{
    const baton_service *service = machine->service;
    round_trip trip = {.options = context, .machine = machine, .io = io, .error = error};
    for (uint32_t schema = service->schema.read_min; schema <= service->schema.write; schema++) {
        int r = fill_info(machine, about, schema, &trip.info, error);
        if (r == 0)
            r = go(&trip);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- one snapshot, by the name of its manifest ---- */

static int find(const char *manifest_path, baton_snapshot_listed *ret_listed, char *directory,
                size_t directory_bytes, baton_error *error)
{
    const char *slash = strrchr(manifest_path, '/');
    const int bytes = slash != NULL ? (int)(slash - manifest_path) : 0;
    const char *name = slash != NULL ? slash + 1 : manifest_path;
    unsigned long long seq = 0, epoch = 0;
    char end = 0;
    *ret_listed = (baton_snapshot_listed){0};
    if ((size_t)bytes + 2 > directory_bytes ||
        sscanf(name, "%16llx-%16llx.manifes%c", &seq, &epoch, &end) != 3 || end != 't')
        return baton_error_set(error, BATON_E_INVALID, manifest_path,
                               "it is no snapshot's manifest",
                               "name a file like SEQ-EPOCH.manifest");
    snprintf(directory, directory_bytes, "%.*s", slash != NULL ? (bytes > 0 ? bytes : 1) : 1,
             slash != NULL ? manifest_path : ".");
    ret_listed->info.seq = seq;
    ret_listed->info.epoch = epoch;
    ret_listed->status = BATON_E_AGAIN; /* not read yet: nothing to compare its root with */
    return 0;
}

static int check_own(const baton_service *service, const baton_snapshot_info *info,
                     const char *manifest_path, baton_error *error)
{
    if (strcmp(info->service, service->name) != 0)
        return baton_error_setf(error, BATON_E_OTHER_SERVICE, manifest_path,
                                "ask the service that took it", "it is of %s, this is %s",
                                info->service, service->name);
    if (info->schema < service->schema.read_min || info->schema > service->schema.write)
        return baton_error_setf(error, BATON_E_SCHEMA, manifest_path,
                                "use a build that reads it, or write it in an older schema",
                                "its schema is %u, %s %s reads %u to %u", info->schema,
                                service->name, service->version, service->schema.read_min,
                                service->schema.write);
    return 0;
}

static int visit_snapshot(const baton_service *service, const baton_replay_options *replay,
                          const baton_round_trip_options *options, baton_error *error)
{
    char directory[BATON_ENGINE_PATH_BYTES];
    baton_snapshot_listed listed;
    int r = find(options->manifest_path, &listed, directory, sizeof(directory), error);
    if (r < 0)
        return r;
    const baton_io_options io_options = {.choice = baton_watch_io_choice(replay->backend),
                                         .ops_max = ROUND_TRIP_OPS_MAX};
    baton_io *io = NULL;
    baton_snapshot_reader *reader = NULL;
    baton_machine machine;
    r = baton_machine_init(&machine, service, &replay->config, error);
    if (r == 0)
        r = baton_io_open(&io_options, &io, error);
    if (r == 0)
        r = baton_snapshot_reader_open(io, directory, &listed, &reader, error);
    if (r == 0)
        r = check_own(service, baton_snapshot_reader_info(reader), options->manifest_path, error);
    if (r == 0)
        r = baton_machine_unpack(&machine, reader, error);
    if (r == 0) {
        const baton_snapshot_info about = *baton_snapshot_reader_info(reader);
        baton_snapshot_reader_close(reader); /* its io does nothing else while it is open */
        reader = NULL;
        r = visit_schemas((void *)(uintptr_t)options, &machine, &about, io, error);
    }
    baton_snapshot_reader_close(reader);
    baton_io_close(io);
    baton_machine_fini(&machine);
    return r;
}

int baton_round_trip(const baton_service *service, const char *directory,
                     const baton_replay_options *replay, const baton_round_trip_options *options,
                     baton_error *error)
{
    static const baton_replay_options none;
    baton_replay_result result;
    if (replay == NULL)
        replay = &none;
    if (options->manifest_path != NULL)
        return visit_snapshot(service, replay, options, error);
    return baton_replay_visit(service, directory, replay, 0, visit_schemas,
                              (void *)(uintptr_t)options, &result, error);
}

/* ---- export ---- */

typedef struct {
    const char *to_directory;
    uint64_t to_seq; /* 0: the end */
    uint32_t schema;
    baton_snapshot_info *info;
} exporting;

static int visit_export(void *context, const baton_machine *machine,
                        const baton_snapshot_info *about, baton_io *io, baton_error *error)
{
    const exporting *self = context;
    baton_snapshot_writer *writer = NULL;
    if (machine->seq < self->to_seq)
        return baton_error_setf(
            error, BATON_E_NOT_FOUND, "write the state down", "ask for an entry that is there",
            "the journal ends at entry %" PRIu64 ", before %" PRIu64, machine->seq, self->to_seq);
    int r = fill_info(machine, about, self->schema, self->info, error);
    if (r == 0)
        r = pack(machine, self->info, &writer, error);
    if (r == 0)
        r = baton_snapshot_publish(io, self->to_directory, writer, self->info, error);
    return r;
}

int baton_state_export(const baton_service *service, const char *directory,
                       const baton_replay_options *replay, uint32_t schema,
                       const char *to_directory, baton_snapshot_info *ret_info, baton_error *error)
{
    exporting self = {.to_directory = to_directory,
                      .to_seq = replay != NULL ? replay->to_seq : 0,
                      .schema = schema != 0 ? schema : service->schema.write,
                      .info = ret_info};
    baton_replay_result result;
    return baton_replay_visit(service, directory, replay, self.schema, visit_export, &self, &result,
                              error);
}
