/* drain/doors.c: `SERVICE baton info|replay|verify|digest`: this build, and data at rest.
 * Nothing is changed; no lock is taken, so look at a running service through its control socket. */
#include "drain/doors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/clock.h>

#include "snapshot/names.h"

const char *const baton_door_names[] = {"info", "replay", "verify", "digest", "snapshot", NULL};

enum {
    DOOR_TO,
    DOOR_EFFECTS,
    DOOR_DIGEST_SCHEMA,
    DOOR_FROM_START,
    DOOR_ROUND_TRIP,
    DOOR_SCHEMA,
    DOOR_OUT,
    DOOR_WORK,
    DOOR_IO,
    DOOR_ARENA_ADDRESS,
    DOOR_ARENA_SIZE,
    DOOR_OUTPUT,
    DOOR_OPTIONS
};
static const baton_option door_options[] = {
    [DOOR_TO] = {"to", "SEQ|TIME", "0",
                 "stop after this entry, or at 2026-11-21T14:00:00Z or @ns (not: verify)"},
    [DOOR_EFFECTS] = {"effects", "FILE", NULL,
                      "replay: write each effect as a JSON line; - is stdout"},
    [DOOR_DIGEST_SCHEMA] = {"digest-schema", "N", "0",
                            "whose fields the state digest covers; 0: the newest"},
    [DOOR_FROM_START] = {"from-start", NULL, NULL,
                         "replay, digest: from entry 1, without snapshots"},
    [DOOR_ROUND_TRIP] = {"round-trip", NULL, NULL,
                         "verify: write the state in every schema, read it back, compare"},
    [DOOR_SCHEMA] = {"schema", "N", "0", "snapshot: to be written; 0: the newest"},
    [DOOR_OUT] = {"out", "DIR", NULL, "snapshot: the directory it goes to; made when missing"},
    [DOOR_WORK] = {"work", "DIR", NULL,
                   "verify --round-trip: for temporary files (default: TMPDIR, or /tmp)"},
    [DOOR_IO] = {"io", "auto|uring|threads", "auto", "how files are read"},
    [DOOR_ARENA_ADDRESS] = BATON_OPTION_ARENA_ADDRESS,
    [DOOR_ARENA_SIZE] = BATON_OPTION_ARENA_SIZE,
    [DOOR_OUTPUT] = {"output", "text|json", "text", "-o: for people or for machines"},
};

/* A seq, or a moment; only the latter has a '-' or an '@' in it. */
static int read_to(baton_door_run *run, const char *text, baton_error *error)
{
    if (strpbrk(text, "-@") == NULL)
        return baton_option_count("to", text, UINT64_MAX, &run->replay.to_seq, error);
    if (baton_time_parse(text, &run->replay.to_time_ns) == 0 && run->replay.to_time_ns != 0)
        return 0; /* 0 would mean the end */
    return baton_error_setf(error, BATON_E_INVALID, "option --to",
                            "give a seq, 2026-11-21T14:00:00Z, or @nanoseconds",
                            "'%.100s' does not fit", text);
}

static int read_options(baton_door_run *run, const baton_option_set *set, baton_error *error)
{
    static const char *const backends[] = {"auto", "uring", "threads", NULL};
    static const char *const outputs[] = {"text", "json", NULL};
    uint32_t backend = 0, output = 0;
    uint64_t digest_schema = 0, schema = 0;
    int r;
    if ((r = read_to(run, set->values[DOOR_TO], error)) < 0 ||
        (r = baton_option_count("digest-schema", set->values[DOOR_DIGEST_SCHEMA], UINT32_MAX,
                                &digest_schema, error)) < 0 ||
        (r = baton_option_count("schema", set->values[DOOR_SCHEMA], UINT32_MAX, &schema, error)) <
            0 ||
        (r = baton_option_choice("io", set->values[DOOR_IO], backends, &backend, error)) < 0 ||
        (r = baton_option_choice("output", set->values[DOOR_OUTPUT], outputs, &output, error)) <
            0 ||
        (r = baton_arena_options_read(&run->replay.config.arena_options,
                                      set->values[DOOR_ARENA_ADDRESS], set->values[DOOR_ARENA_SIZE],
                                      error)) < 0)
        return r;
    run->json = output == 1;
    run->digest_schema = (uint32_t)digest_schema;
    run->round_trip = set->values[DOOR_ROUND_TRIP] != NULL;
    run->schema = (uint32_t)schema;
    run->out = set->values[DOOR_OUT];
    run->work = set->values[DOOR_WORK];
    run->effects_path = set->values[DOOR_EFFECTS];
    run->replay.backend = (baton_backend)backend;
    run->replay.ignore_snapshots = set->values[DOOR_FROM_START] != NULL;
    run->replay.config.values = set->values + set->service_first;
    return 0;
}

static int set_directory(baton_door_run *run, const char *directory, baton_error *error)
{
    run->directory = directory;
    const int a = snprintf(run->journal, sizeof(run->journal), "%s/journal", directory);
    const int r = baton_snapshots_path(run->snapshots, sizeof(run->snapshots), directory);
    if (a < 0 || (size_t)a >= sizeof(run->journal) || r < 0)
        return baton_error_set(error, -ENAMETOOLONG, directory, NULL, "give a shorter path");
    return 0;
}

/* ---- info ---- */

static json_t *describe_build(const baton_service *service)
{
    json_t *types = json_array();
    for (uint32_t i = 0; i < service->entry_types_count; i++)
        json_array_append_new(types, json_pack("{s:i, s:I}", "type",
                                               (int)service->entry_types[i].type, "schema_min",
                                               (json_int_t)service->entry_types[i].schema_min));
    return json_pack(
        "{s:s, s:o, s:{s:I, s:I}, s:o, s:o, s:b, s:b}", "service", service->name, "version",
        baton_describe_text(service->version), "schema", "write", (json_int_t)service->schema.write,
        "read_min", (json_int_t)service->schema.read_min, "layout",
        service->layout != NULL ? baton_describe_digest(baton_layout_digest(service->layout))
                                : json_null(),
        "entry_types", types, "follow", 0, "handover", 0);
}

static json_t *describe_snapshot(const baton_snapshot_listed *listed)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:s}", "seq", baton_describe_number(listed->info.seq), "epoch",
        baton_describe_number(listed->info.epoch), "schema",
        baton_describe_number(listed->info.schema), "root",
        baton_describe_digest(listed->info.root), "manifest",
        baton_describe_text(listed->manifest_path), "status", baton_status_name(listed->status));
}

static int info_door(baton_door_run *run, baton_error *error)
{
    const baton_service *service = run->doors->service;
    json_t *answer = describe_build(service);
    baton_journal_summary summary = {0};
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = 0;
    if (run->directory != NULL) {
        r = baton_journal_verify(run->journal, run->replay.backend, NULL, NULL, &summary, error);
        if (r < 0 && r != BATON_E_TORN) {
            json_decref(answer);
            return r;
        }
        const int listed = baton_snapshot_list(run->snapshots, &list, &count, error);
        if (listed < 0) {
            json_decref(answer);
            return listed;
        }
        json_t *snapshots = json_array();
        for (uint32_t i = 0; i < count; i++)
            json_array_append_new(snapshots, describe_snapshot(&list[i]));
        if (answer != NULL) {
            json_object_set_new(answer, "journal", baton_describe_journal(&summary));
            json_object_set_new(answer, "snapshots", snapshots);
        }
        free(list);
    }
    if (run->json)
        return baton_describe_write(stdout, answer);
    json_decref(answer);
    printf("%s %s\nwrites schema %u, reads from schema %u; %u entry types\n", service->name,
           service->version, service->schema.write, service->schema.read_min,
           service->entry_types_count);
    if (run->directory != NULL)
        printf("%s: service %s, %llu entries, last seq %llu, epoch %llu%s; %u snapshots\n",
               run->directory, summary.service[0] != '\0' ? summary.service : "-",
               (unsigned long long)summary.entries_count,
               (unsigned long long)summary.recovery.last.seq, (unsigned long long)summary.epoch,
               summary.torn ? ", torn tail" : "", count);
    return 0;
}

/* ---- replay and digest ---- */

static void write_effect(void *context, const baton_effect *effect)
{
    baton_door_run *run = context;
    const uint8_t *bytes = effect->payload;
    if (fprintf(run->effects,
                "{\"seq\":%llu,\"epoch\":%llu,\"index\":%u,\"consumer\":%u,\"type\":%u,\"payload_"
                "hex\":\"",
                (unsigned long long)effect->seq, (unsigned long long)effect->epoch, effect->index,
                effect->consumer, effect->type) < 0)
        run->effects_status = -EIO;
    for (uint32_t i = 0; i < effect->payload_bytes; i++)
        fprintf(run->effects, "%02x", bytes[i]);
    if (fputs("\"}\n", run->effects) < 0)
        run->effects_status = -EIO;
}

static int replay(baton_door_run *run, baton_replay_result *ret_result, baton_error *error)
{
    if (run->effects_path != NULL) {
        run->effects =
            strcmp(run->effects_path, "-") == 0 ? stdout : fopen(run->effects_path, "we");
        if (run->effects == NULL)
            return baton_error_set(error, -errno, run->effects_path, NULL,
                                   "name a file that can be written");
        run->replay.on_effect = write_effect;
        run->replay.context = run;
    }
    int r = baton_replay(run->doors->service, run->directory, &run->replay, run->digest_schema,
                         ret_result, error);
    if (run->effects != NULL) {
        const bool failed = fflush(run->effects) != 0 || run->effects_status < 0;
        if (run->effects != stdout && fclose(run->effects) != 0 && r == 0)
            r = baton_error_set(error, -EIO, run->effects_path, NULL, "is its disk full?");
        else if (failed && r == 0)
            r = baton_error_set(error, -EIO, run->effects_path, NULL, "is its disk full?");
    }
    if (r == 0 && run->replay.to_seq > ret_result->seq)
        r = baton_error_setf(error, BATON_E_NOT_FOUND, "option --to", "give a seq that is there",
                             "the journal ends at seq %llu", (unsigned long long)ret_result->seq);
    return r;
}

static int replay_door(baton_door_run *run, baton_error *error)
{
    baton_replay_result result = {0};
    char state[BATON_DIGEST_TEXT_BYTES], effects[BATON_DIGEST_TEXT_BYTES];
    int r = replay(run, &result, error);
    if (r < 0)
        return r;
    if (run->json)
        return baton_describe_write(stdout, baton_describe_replay(&result));
    printf("seq %llu, epoch %llu\nstate digest  %s (schema %u)\neffect digest %s (%llu effects)\n",
           (unsigned long long)result.seq, (unsigned long long)result.epoch,
           baton_digest_text(result.state_digest, state), result.schema,
           baton_digest_text(result.effect_digest, effects),
           (unsigned long long)result.effects_count);
    if (result.hydrate.from_snapshot)
        printf("from the snapshot at seq %llu, ", (unsigned long long)result.hydrate.snapshot_seq);
    printf("%llu entries replayed, %llu checkpoints equal\n",
           (unsigned long long)result.hydrate.replayed_entries,
           (unsigned long long)result.hydrate.checkpoints_compared);
    return 0;
}

static int digest_door(baton_door_run *run, baton_error *error)
{
    baton_replay_result result = {0};
    char state[BATON_DIGEST_TEXT_BYTES];
    int r = replay(run, &result, error);
    if (r < 0)
        return r;
    if (run->json)
        return baton_describe_write(
            stdout, json_pack("{s:o, s:o, s:o, s:o}", "seq", baton_describe_number(result.seq),
                              "schema", baton_describe_number(result.schema), "state_digest",
                              baton_describe_digest(result.state_digest), "effect_digest",
                              baton_describe_digest(result.effect_digest)));
    printf("%s\n", baton_digest_text(result.state_digest, state));
    return 0;
}

/* ---- verify ---- */

static int verify_snapshots(const baton_door_run *run, uint32_t *ret_count, baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list(run->snapshots, &list, &count, error);
    for (uint32_t i = 0; i < count && r == 0; i++) {
        r = baton_snapshot_verify(run->snapshots, &list[i], error);
        if (r == 0)
            ++*ret_count;
        else if (r == BATON_E_GONE)
            r = 0; /* a living service has pruned it since */
    }
    free(list);
    return r;
}

/* All of it, oldest doubt first: the journal's bytes, each snapshot's, then the longest replay
 * that the data still allows. A torn tail is no failure of the data; it is told by the exit
 * code, last. */
static int verify_door(baton_door_run *run, baton_error *error)
{
    baton_journal_summary summary = {0};
    baton_replay_result result = {0};
    uint32_t snapshots = 0;
    baton_error torn = {0};
    int r = baton_journal_verify(run->journal, run->replay.backend, NULL, NULL, &summary, error);
    const bool is_torn = r == BATON_E_TORN;
    if (is_torn)
        torn = *error;
    else if (r < 0)
        return r;
    r = verify_snapshots(run, &snapshots, error);
    if (r < 0)
        return r;
    /* With its first entry retired, the state before it is only in the snapshots. */
    run->replay.ignore_snapshots = summary.recovery.first_seq <= 1;
    run->replay.to_seq = 0;
    run->replay.to_time_ns = 0;
    r = replay(run, &result, error);
    if (r == BATON_E_GONE && run->replay.ignore_snapshots) { /* a living service has retired it */
        run->replay.ignore_snapshots = false;
        r = replay(run, &result, error);
    }
    if (r < 0)
        return r;

    if (run->json) {
        r = baton_describe_write(stdout, json_pack("{s:b, s:o, s:i, s:o}", "ok", (int)!is_torn,
                                                   "journal", baton_describe_journal(&summary),
                                                   "snapshots", (int)snapshots, "replay",
                                                   baton_describe_replay(&result)));
    } else {
        printf("journal    %llu entries in %llu segments, every byte checked%s\nsnapshots  %u, "
               "every chunk checked\n"
               "replay     %llu entries, %llu checkpoints equal\n",
               (unsigned long long)summary.entries_count,
               (unsigned long long)summary.segments_count, is_torn ? ", torn tail" : "", snapshots,
               (unsigned long long)result.hydrate.replayed_entries,
               (unsigned long long)result.hydrate.checkpoints_compared);
    }
    if (r == 0 && is_torn) {
        *error = torn;
        r = BATON_E_TORN;
    }
    return r;
}

/* ---- dispatch ---- */

static void print_help(const baton_doors *doors, const baton_option_set *set)
{
    printf("%s baton info [DIR] | replay DIR | verify DIR | digest DIR | snapshot DIR  [options]\n"
           "%s baton verify --round-trip DIR|MANIFEST  [options]\n\nOptions:\n",
           doors->path, doors->path);
    baton_options_print(stdout, set->options, set->options_count);
    printf("\nExamples:\n  %s baton info -o json\n  %s baton replay /var/lib/%s --effects "
           "effects.jsonl\n"
           "  %s baton digest /var/lib/%s --to 1000 --digest-schema %u\n"
           "  %s baton verify --round-trip /var/lib/%s\n"
           "  %s baton snapshot /var/lib/%s --schema %u --out for-the-old-build\n"
           "  %s baton snapshot /var/lib/%s --to 1000 --out as-it-was\n",
           doors->path, doors->path, doors->service->name, doors->path, doors->service->name,
           doors->service->schema.read_min, doors->path, doors->service->name, doors->path,
           doors->service->name, doors->service->schema.read_min, doors->path,
           doors->service->name);
}

static int open_door(baton_door_run *run, const char *door, baton_error *error)
{
    if (run->directory == NULL && strcmp(door, "info") != 0)
        return baton_error_set(error, BATON_E_INVALID, door, "the directory is missing",
                               "name the directory that `run --dir` was given");
    if (strcmp(door, "info") == 0)
        return info_door(run, error);
    if (strcmp(door, "replay") == 0)
        return replay_door(run, error);
    if (strcmp(door, "snapshot") == 0)
        return baton_door_snapshot(run, error);
    if (strcmp(door, "verify") == 0 && run->round_trip)
        return baton_door_round_trip(run, error);
    if (strcmp(door, "verify") == 0)
        return verify_door(run, error);
    return digest_door(run, error);
}

int baton_door_command(const baton_doors *doors, const char *door, int argc, char **argv)
{
    static int log_fd = 2;
    baton_error error = {.offset = UINT64_MAX};
    baton_option_set set = {0};
    baton_door_run *run = calloc(1, sizeof(*run));
    int r = run != NULL
                ? baton_option_set_init(&set, door_options, DOOR_OPTIONS, doors, false, &error)
                : baton_error_set(&error, -ENOMEM, "options", NULL, "give the process more memory");
    baton_arguments arguments = {
        .options = set.options, .options_count = set.options_count, .values = set.values};
    baton_log_set_sink(baton_log_to_fd, &log_fd, BATON_LOG_WARN);
    if (r == 0)
        r = baton_options_parse(&arguments, argc, argv, &error);
    if (r == 0 && arguments.help) {
        print_help(doors, &set);
    } else if (r == 0) {
        run->doors = doors;
        r = read_options(run, &set, &error);
        if (r == 0 && arguments.positionals_count > 1)
            r = baton_error_set(&error, BATON_E_INVALID, arguments.positionals[1],
                                "one directory at a time", "see --help");
        if (r == 0 && arguments.positionals_count == 1)
            r = set_directory(run, arguments.positionals[0], &error);
        if (r == 0)
            r = open_door(run, door, &error);
        if (r < 0 && error.what[0] == '\0')
            baton_error_set(&error, r, door, NULL, "see --help");
    }
    if (r < 0)
        baton_describe_failure(stderr, &error);
    baton_option_set_fini(&set);
    free(run);
    return baton_exit_code(r);
}
