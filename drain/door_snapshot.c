/* drain/door_snapshot.c: `SERVICE baton verify --round-trip` and `SERVICE baton snapshot`: the way of
 * a state to an older build, proven and walked (E4). The data itself is only read. */
#include "drain/doors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const baton_door_run *run;
    json_t *schemas; /* NULL: told as text */
    json_t *sections;
    uint32_t schemas_count;
} telling;

/* ---- the round trip ---- */

static void on_section(void *context, uint32_t schema, const baton_snapshot_section_size *section)
{
    telling *self = context;
    if (self->run->json)
        json_array_append_new(self->sections,
                              json_pack("{s:s, s:o, s:o}", "name", section->name, "rows",
                                        baton_describe_number(section->rows_count), "bytes",
                                        baton_describe_number(section->bytes)));
    else
        printf("  schema %u  %-24s %12llu rows %14llu bytes\n", schema, section->name,
               (unsigned long long)section->rows_count, (unsigned long long)section->bytes);
}

static void on_schema(void *context, const baton_round_trip_result *result)
{
    telling *self = context;
    char digest[BATON_DIGEST_TEXT_BYTES];
    self->schemas_count++;
    if (!self->run->json) {
        printf(
            "schema %u   seq %llu, %llu rows, %llu bytes: written, read back, equal; state digest "
            "%s%s\n",
            result->schema, (unsigned long long)result->seq, (unsigned long long)result->rows_count,
            (unsigned long long)result->bytes, baton_digest_text(result->state_digest, digest),
            result->canonical ? "" : "; rows in another order when written again");
        return;
    }
    json_array_append_new(self->schemas,
                          json_pack("{s:I, s:o, s:o, s:o, s:o, s:b, s:o}", "schema",
                                    (json_int_t)result->schema, "seq",
                                    baton_describe_number(result->seq), "rows",
                                    baton_describe_number(result->rows_count), "bytes",
                                    baton_describe_number(result->bytes), "state_digest",
                                    baton_describe_digest(result->state_digest), "canonical",
                                    (int)result->canonical, "sections", self->sections));
    self->sections = json_array();
}

/* A manifest's name is told from a service's directory by what is there. */
static bool is_file(const char *path)
{
    struct stat there;
    return stat(path, &there) == 0 && S_ISREG(there.st_mode);
}

static int make_work_directory(const baton_door_run *run, char path[PATH_MAX], baton_error *error)
{
    const char *parent = run->work != NULL ? run->work : getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0')
        parent = "/tmp";
    const int n = snprintf(path, PATH_MAX, "%s/baton-round-trip-XXXXXX", parent);
    if (n < 0 || n >= PATH_MAX)
        return baton_error_set(error, -ENAMETOOLONG, parent, NULL, "give a shorter --work");
    if (mkdtemp(path) == NULL)
        return baton_error_set(error, -errno, parent, "no temporary directory can be made there",
                               "name one with --work");
    return 0;
}

int baton_door_round_trip(baton_door_run *run, baton_error *error)
{
    char work[PATH_MAX];
    telling self = {.run = run};
    const bool one_snapshot = is_file(run->directory);
    baton_round_trip_options options = {
        .manifest_path = one_snapshot ? run->directory : NULL,
        .on_section = on_section,
        .on_schema = on_schema,
        .context = &self,
    };
    int r = make_work_directory(run, work, error);
    if (r < 0)
        return r;
    options.work_directory = work;
    self.schemas = json_array();
    self.sections = json_array();
    r = baton_round_trip(run->doors->service, one_snapshot ? NULL : run->directory, &run->replay,
                         &options, error);
    (void)rmdir(work); /* not empty: an error has said what stays */
    json_decref(self.sections);
    if (r < 0 || !run->json) {
        json_decref(self.schemas);
        return r;
    }
    return baton_describe_write(stdout, json_pack("{s:b, s:o}", "ok", 1, "schemas", self.schemas));
}

/* ---- a snapshot for somebody else ---- */

/* Its own snapshots are named by its journal; one that is not would only be skipped there. */
static int check_out(const baton_door_run *run, baton_error *error)
{
    struct stat own, out;
    if (run->out == NULL)
        return baton_error_set(error, BATON_E_INVALID, "option --out", "it is missing",
                               "name the directory that the snapshot goes to");
    if (stat(run->snapshots, &own) == 0 && stat(run->out, &out) == 0 && own.st_dev == out.st_dev &&
        own.st_ino == out.st_ino)
        return baton_error_set(error, BATON_E_INVALID, "option --out",
                               "it is where the service keeps its own", "name another directory");
    return 0;
}

int baton_door_snapshot(baton_door_run *run, baton_error *error)
{
    char state[BATON_DIGEST_TEXT_BYTES], root[BATON_DIGEST_TEXT_BYTES];
    baton_snapshot_info info;
    int r = check_out(run, error);
    run->replay.to_entry_alone = run->replay.to_seq != 0;
    if (r == 0)
        r = baton_state_export(run->doors->service, run->directory, &run->replay, run->schema,
                               run->out, &info, error);
    if (r < 0)
        return r;
    if (run->json)
        return baton_describe_write(
            stdout,
            json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "seq", baton_describe_number(info.seq),
                      "epoch", baton_describe_number(info.epoch), "schema", (json_int_t)info.schema,
                      "bytes", baton_describe_number(info.raw_bytes), "stored_bytes",
                      baton_describe_number(info.stored_bytes), "state_digest",
                      baton_describe_digest(info.state_digest), "root",
                      baton_describe_digest(info.root)));
    printf("seq %llu in schema %u: %llu bytes, %llu stored\nstate digest %s\nroot         %s\n",
           (unsigned long long)info.seq, info.schema, (unsigned long long)info.raw_bytes,
           (unsigned long long)info.stored_bytes, baton_digest_text(info.state_digest, state),
           baton_digest_text(info.root, root));
    return 0;
}
