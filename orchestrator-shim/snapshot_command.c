/* orchestrator-shim/snapshot_command.c: `baton snapshot VERB`. */
#include "orchestrator-shim/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <baton/snapshot.h>

#define PATH_BYTES 512

static const char help[] =
    "baton snapshot VERB DIR [options]\n"
    "\n"
    "  ls DIR              the snapshots, newest first\n"
    "  info DIR            one of them, from its manifest\n"
    "  verify DIR          check every byte of all of them, or of one\n"
    "  prune DIR           remove old ones and leftovers of writers that died\n"
    "\n"
    "DIR is a directory of snapshots, or a service's directory that holds `snapshots/`.\n"
    "Each verb takes --help.\n";

static const char ls_help[] = "baton snapshot ls DIR [-o text|json]\n"
                              "\n"
                              "The snapshots, newest first, with what their manifests say; one "
                              "JSON object a line. The chunks are not read:\n"
                              "`verify` does that. An absent directory holds none.\n"
                              "\n"
                              "Example:\n"
                              "  baton snapshot ls /var/lib/orders\n";

static const char info_help[] = "baton snapshot info DIR [--seq N [--epoch N]] [-o text|json]\n"
                                "\n"
                                "What a snapshot's manifest says; the newest one unless told "
                                "otherwise. Exit code 11: it is damaged.\n"
                                "\n"
                                "Example:\n"
                                "  baton snapshot info /var/lib/orders --seq 1200000 -o json\n";

static const char verify_help[] = "baton snapshot verify DIR [--seq N [--epoch N]] [-o text|json]\n"
                                  "\n"
                                  "Read every chunk of every snapshot (or of one) and compare it "
                                  "with its digest; one line for each. Exit code 11:\n"
                                  "one is damaged; stderr names file and offset.\n"
                                  "\n"
                                  "Example:\n"
                                  "  baton snapshot verify /var/lib/orders\n";

static const char prune_help[] = "baton snapshot prune DIR [--keep N] [-o text|json]\n"
                                 "\n"
                                 "Remove all but the newest N (default and least: 2) snapshots, "
                                 "and leftovers of writers that died. Damaged ones\n"
                                 "are kept. While the service runs it is refused (exit code 7): a "
                                 "running service prunes by itself.\n"
                                 "\n"
                                 "Example:\n"
                                 "  baton snapshot prune /var/lib/orders --keep 3\n";

typedef struct {
    char directory[PATH_BYTES]; /* of the snapshots themselves */
    bool json;
    bool with_seq;
    bool with_epoch;
    uint64_t seq;
    uint64_t epoch;
    uint64_t keep;
} choices;

/* ---- the command line ---- */

/* DIR, or DIR/snapshots when that is a directory. False when that was told. */
static bool choose_directory(int argc, char **argv, choices *chosen)
{
    struct stat status;
    if (argc - optind != 1) {
        fail_usage("snapshot",
                   argc == optind ? "the directory is missing" : "one directory at a time",
                   "see --help");
        return false;
    }
    int n = snprintf(chosen->directory, sizeof(chosen->directory), "%s/snapshots", argv[optind]);
    if (n < 0 || (size_t)n >= sizeof(chosen->directory)) {
        fail_usage("snapshot", "the directory's path is too long", "use a shorter one");
        return false;
    }
    if (stat(chosen->directory, &status) < 0 || !S_ISDIR(status.st_mode))
        snprintf(chosen->directory, sizeof(chosen->directory), "%s", argv[optind]);
    return true;
}

static bool take_option(int option, choices *chosen)
{
    switch (option) {
    case 'o':
        return read_output(optarg, &chosen->json);
    case 's':
        chosen->with_seq = true;
        return read_number("--seq", optarg, &chosen->seq);
    case 'e':
        chosen->with_epoch = true;
        return read_number("--epoch", optarg, &chosen->epoch);
    case 'k':
        return read_number("--keep", optarg, &chosen->keep);
    default:
        return false;
    }
}

/* False: the exit code is in *ret_code. */
static bool read_options(int argc, char **argv, const struct option *options, const char *verb_help,
                         choices *chosen, int *ret_code)
{
    *chosen = (choices){.keep = 2};
    *ret_code = 1;
    for (int option; (option = next_option(argc, argv, options, verb_help)) != -1;) {
        if (option == OPTION_HELP) {
            *ret_code = 0;
            return false;
        }
        if (!take_option(option, chosen)) /* OPTION_WRONG too; told already */
            return false;
    }
    if (chosen->with_epoch && !chosen->with_seq) {
        fail_usage("option --epoch", "it chooses among the snapshots of one seq", "give --seq too");
        return false;
    }
    return choose_directory(argc, argv, chosen);
}

static const struct option output_only[] = {
    {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
static const struct option with_seq[] = {{"output", required_argument, NULL, 'o'},
                                         {"help", no_argument, NULL, 'h'},
                                         {"seq", required_argument, NULL, 's'},
                                         {"epoch", required_argument, NULL, 'e'},
                                         {NULL, 0, NULL, 0}};
static const struct option with_keep[] = {{"output", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"keep", required_argument, NULL, 'k'},
                                          {NULL, 0, NULL, 0}};

/* ---- what is shown ---- */

static const char *verdict(int status)
{
    if (status == 0)
        return "good";
    return status == BATON_E_DAMAGED ? "damaged" : baton_status_name(status);
}

static json_t *describe(const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *info = &listed->info;
    json_t *object = json_pack("{s:o, s:o, s:s, s:o}", "seq", json_number(info->seq), "epoch",
                               json_number(info->epoch), "status", verdict(listed->status),
                               "manifest", json_text(listed->manifest_path));
    if (object == NULL || listed->status != 0)
        return object;
    json_object_set_new(object, "service", json_text(info->service));
    json_object_set_new(object, "version", json_text(info->version));
    json_object_set_new(object, "form", json_text(info->form));
    json_object_set_new(object, "schema", json_number(info->schema));
    json_object_set_new(object, "journal_id", json_digest(info->journal_id));
    json_object_set_new(object, "position",
                        json_pack("{s:o, s:o, s:o}", "epoch", json_number(info->position_epoch),
                                  "batch", json_number(info->position_batch), "seq",
                                  json_number(info->position_seq)));
    json_object_set_new(object, "entry_time_ns", json_number(info->entry_time_ns));
    json_object_set_new(object, "state_digest", json_digest(info->state_digest));
    json_object_set_new(object, "effect_digest", json_digest(info->effect_digest));
    json_object_set_new(object, "created_wall_ns", json_number(info->created_wall_ns));
    json_object_set_new(object, "taken_ns", json_number(info->taken_ns));
    json_object_set_new(object, "raw_bytes", json_number(info->raw_bytes));
    json_object_set_new(object, "stored_bytes", json_number(info->stored_bytes));
    json_object_set_new(object, "sections", json_number(info->sections_count));
    json_object_set_new(object, "chunks", json_number(info->chunks_count));
    json_object_set_new(object, "root", json_digest(info->root));
    return object;
}

static void print_row(const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *info = &listed->info;
    const time_t seconds = (time_t)(info->created_wall_ns / UINT64_C(1000000000));
    struct tm parts;
    char created[32] = "-";
    if (listed->status == 0 && gmtime_r(&seconds, &parts) != NULL)
        strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &parts);
    printf("%-12" PRIu64 " %-8" PRIu64 " %-20s %-8s %12" PRIu64 " %12" PRIu64 "  %s %s\n",
           info->seq, info->epoch, created, verdict(listed->status), info->raw_bytes,
           info->stored_bytes, listed->status == 0 ? info->service : "-", info->version);
}

/* ---- verbs ---- */

/* *ret_list is malloc'ed. 0, or the exit code of what was told. */
static int list(const choices *chosen, baton_snapshot_listed **ret_list, uint32_t *ret_count)
{
    baton_error error;
    int r = baton_snapshot_list(chosen->directory, ret_list, ret_count, &error);
    return r < 0 ? fail_with(&error) : 0;
}

static bool is_wanted(const choices *chosen, const baton_snapshot_listed *listed)
{
    return (!chosen->with_seq || listed->info.seq == chosen->seq) &&
           (!chosen->with_epoch || listed->info.epoch == chosen->epoch);
}

static int snapshot_ls(int argc, char **argv)
{
    choices chosen;
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    int code;
    if (!read_options(argc, argv, output_only, ls_help, &chosen, &code))
        return code;
    code = list(&chosen, &found, &count);
    if (code != 0)
        return code;
    if (!chosen.json && count > 0)
        printf("%-12s %-8s %-20s %-8s %12s %12s  %s\n", "SEQ", "EPOCH", "CREATED", "STATUS", "RAW",
               "STORED", "SERVICE");
    for (uint32_t i = 0; i < count && code == 0; i++) {
        if (chosen.json)
            code = print_json(describe(&found[i]));
        else
            print_row(&found[i]);
    }
    free(found);
    return code;
}

static int none_such(const choices *chosen)
{
    baton_error error;
    baton_error_set(&error, BATON_E_NOT_FOUND, "find the snapshot",
                    chosen->with_seq ? "there is none of that seq and epoch" : "there is none",
                    "baton snapshot ls shows what is there");
    baton_error_at(&error, chosen->directory, UINT64_MAX);
    return fail_with(&error);
}

static int snapshot_info(int argc, char **argv)
{
    choices chosen;
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    uint32_t at = 0;
    int code;
    if (!read_options(argc, argv, with_seq, info_help, &chosen, &code))
        return code;
    code = list(&chosen, &found, &count);
    if (code != 0)
        return code;
    while (at < count && !is_wanted(&chosen, &found[at]))
        at++;
    if (at == count) {
        code = none_such(&chosen);
    } else {
        json_t *object = describe(&found[at]);
        code = chosen.json ? print_json(object) : print_text(object);
        if (code == 0 && found[at].status != 0) {
            baton_error error;
            int r = baton_snapshot_verify(chosen.directory, &found[at], &error); /* says why */
            code = r < 0 ? fail_with(&error) : 0;
        }
    }
    free(found);
    return code;
}

static int verify_one(const choices *chosen, const baton_snapshot_listed *listed)
{
    baton_error error;
    int r = baton_snapshot_verify(chosen->directory, listed, &error);
    if (r == BATON_E_GONE && !chosen->with_seq)
        return 0; /* a living service has pruned it since it was listed */
    int code = r < 0 ? exit_code(r) : 0;
    if (chosen->json) {
        json_t *object = json_pack("{s:o, s:o, s:s}", "seq", json_number(listed->info.seq), "epoch",
                                   json_number(listed->info.epoch), "status", verdict(r));
        if (object != NULL && r < 0)
            json_object_set_new(object, "error", json_error(&error));
        if (object != NULL && r == 0)
            json_object_set_new(object, "root", json_digest(listed->info.root));
        const int printed = print_json(object);
        code = code != 0 ? code : printed;
    } else {
        printf("%" PRIu64 "-%" PRIu64 ": %s\n", listed->info.seq, listed->info.epoch, verdict(r));
    }
    if (r < 0)
        fail_with(&error);
    return code;
}

static int snapshot_verify(int argc, char **argv)
{
    choices chosen;
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    uint32_t checked = 0;
    int code;
    if (!read_options(argc, argv, with_seq, verify_help, &chosen, &code))
        return code;
    code = list(&chosen, &found, &count);
    if (code != 0)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_wanted(&chosen, &found[i]))
            continue;
        const int one = verify_one(&chosen, &found[i]);
        code = one > code ? one : code; /* damage, 11, is the highest */
        checked++;
    }
    free(found);
    return checked == 0 && chosen.with_seq ? none_such(&chosen) : code;
}

/* The journal's lock, so that no service publishes meanwhile. *ret_fd is -1 when there is no
 * journal beside the snapshots. 0, or the exit code of what was told. */
static int take_lock(const choices *chosen, int *ret_fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_BYTES + 32];
    baton_error error;
    snprintf(path, sizeof(path), "%s/../journal/LOCK", chosen->directory);
    *ret_fd = open(path, O_RDWR | O_CLOEXEC);
    if (*ret_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (*ret_fd >= 0 && fcntl(*ret_fd, F_OFD_SETLK, &whole) == 0)
        return 0;
    const bool held = *ret_fd >= 0 && (errno == EAGAIN || errno == EACCES);
    baton_error_set(&error, held ? BATON_E_LOCKED : -errno, "prune the snapshots",
                    held ? "the service is running" : NULL,
                    held ? "leave it to the service, or stop it first"
                         : "check the rights of LOCK");
    baton_error_at(&error, path, UINT64_MAX);
    if (*ret_fd >= 0)
        close(*ret_fd);
    return fail_with(&error);
}

static int snapshot_prune(int argc, char **argv)
{
    choices chosen;
    baton_error error;
    uint32_t removed = 0;
    int code;
    if (!read_options(argc, argv, with_keep, prune_help, &chosen, &code))
        return code;
    const uint32_t keep = chosen.keep > UINT32_MAX ? UINT32_MAX : (uint32_t)chosen.keep;
    int lock;
    code = take_lock(&chosen, &lock);
    if (code != 0)
        return code;
    int r = baton_snapshot_prune(chosen.directory, keep, &removed, &error);
    if (lock >= 0)
        close(lock);
    if (r < 0)
        return fail_with(&error);
    if (chosen.json)
        return print_json(json_pack("{s:o}", "removed", json_number(removed)));
    printf("%" PRIu32 " removed\n", removed);
    return 0;
}

int snapshot_command(int argc, char **argv)
{
    static const verb verbs[] = {{"ls", snapshot_ls},
                                 {"info", snapshot_info},
                                 {"verify", snapshot_verify},
                                 {"prune", snapshot_prune}};
    return run_verb(verbs, sizeof(verbs) / sizeof(verbs[0]), "baton snapshot", help, argc, argv);
}
