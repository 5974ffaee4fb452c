/* orchestrator-shim/snapshot_choose.c: which snapshots a command line means. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator-shim/snapshot_command.h"

/* ---- options ---- */

static bool read_compress(const char *text, baton_compress *ret_compress)
{
    static const char *const names[] = {
        [BATON_COMPRESS_AUTO] = "auto", [BATON_COMPRESS_LZ4] = "lz4", [BATON_COMPRESS_RAW] = "raw"};
    for (int i = BATON_COMPRESS_AUTO; i <= BATON_COMPRESS_RAW; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_compress = (baton_compress)i;
            return true;
        }
    }
    fail_usage("option --compress", "there is no such choice", "give auto, lz4 or raw");
    return false;
}

static bool take_seq(snapshot_choices *chosen)
{
    if (chosen->seqs_count == SNAPSHOT_SEQS_MAX) {
        fail_usage("option --seq", "too many at a time", "leave it out: all are taken");
        return false;
    }
    return read_number("--seq", optarg, &chosen->seqs[chosen->seqs_count++]);
}

static bool take_option(int option, snapshot_choices *chosen)
{
    switch (option) {
    case 'o':
        return read_output(optarg, &chosen->json);
    case 's':
        return take_seq(chosen);
    case 'e':
        chosen->with_epoch = true;
        return read_number("--epoch", optarg, &chosen->epoch);
    case 'k':
        return read_number("--keep", optarg, &chosen->keep);
    case 'd':
        return read_number("--keep-days", optarg, &chosen->keep_days);
    case 'c':
        return read_compress(optarg, &chosen->compress);
    case 'n':
        chosen->dry_run = true;
        return true;
    case 'N':
        chosen->note = false;
        return true;
    case 'r':
        chosen->rows = true;
        return true;
    case 'f':
        chosen->force = true;
        return true;
    default:
        return false;
    }
}

bool snapshot_options(int argc, char **argv, const struct option *options, const char *help,
                      snapshot_choices *chosen, int *ret_code)
{
    *chosen =
        (snapshot_choices){.keep = 2, .keep_days = 7, .note = true, .compress = BATON_COMPRESS_LZ4};
    *ret_code = 1;
    for (int option; (option = next_option(argc, argv, options, help)) != -1;) {
        if (option == OPTION_HELP) {
            *ret_code = 0;
            return false;
        }
        if (!take_option(option, chosen)) /* OPTION_WRONG too; told already */
            return false;
    }
    if (chosen->with_epoch && chosen->seqs_count != 1) {
        fail_usage("option --epoch", "it chooses among the snapshots of one seq",
                   "give one --seq too");
        return false;
    }
    return true;
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool snapshot_directory(const char *word, bool to_make, char directory[SNAPSHOT_PATH_BYTES])
{
    char inside[SNAPSHOT_PATH_BYTES];
    const int n = snprintf(inside, sizeof(inside), "%s/snapshots", word);
    if (n < 0 || (size_t)n >= sizeof(inside)) {
        fail_usage("snapshot", "the directory's path is too long", "use a shorter one");
        return false;
    }
    snprintf(directory, SNAPSHOT_PATH_BYTES, "%s/journal", word);
    const bool in_service = is_directory(inside) || (to_make && is_directory(directory));
    snprintf(directory, SNAPSHOT_PATH_BYTES, "%s", in_service ? inside : word);
    return true;
}

bool snapshot_options_directory(int argc, char **argv, const struct option *options,
                                const char *help, snapshot_choices *chosen, int *ret_code)
{
    if (!snapshot_options(argc, argv, options, help, chosen, ret_code))
        return false;
    if (argc - optind == 1)
        return snapshot_directory(argv[optind], false, chosen->directory);
    fail_usage("snapshot", argc == optind ? "the directory is missing" : "one directory at a time",
               "see --help");
    return false;
}

/* ---- snapshots ---- */

int snapshot_list(const snapshot_choices *chosen, baton_snapshot_listed **ret_list,
                  uint32_t *ret_count)
{
    baton_error error;
    int r = baton_snapshot_list(chosen->directory, ret_list, ret_count, &error);
    return r < 0 ? fail_with(&error) : 0;
}

bool snapshot_is_wanted(const snapshot_choices *chosen, const baton_snapshot_listed *listed)
{
    if (chosen->with_epoch && listed->info.epoch != chosen->epoch)
        return false;
    for (uint32_t i = 0; i < chosen->seqs_count; i++)
        if (listed->info.seq == chosen->seqs[i])
            return true;
    return chosen->seqs_count == 0;
}

int snapshot_none_such(const char *directory, const uint64_t *seq)
{
    baton_error error;
    if (seq != NULL)
        baton_error_setf(&error, BATON_E_NOT_FOUND, "find the snapshot",
                         "baton snapshot ls shows what is there",
                         "there is none of seq %" PRIu64 " and that epoch", *seq);
    else
        baton_error_set(&error, BATON_E_NOT_FOUND, "find the snapshot", "there is none",
                        "baton snapshot ls shows what is there");
    baton_error_at(&error, directory, UINT64_MAX);
    return fail_with(&error);
}

/* The digits of `text` up to the end or to stop. */
static bool parse_part(const char *text, char stop, const char **ret_rest, uint64_t *ret_number)
{
    char *rest = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(text, &rest, 10);
    *ret_rest = rest;
    return errno == 0 && (*rest == '\0' || *rest == stop);
}

/* What follows the last @ when that is SEQ or SEQ-EPOCH; false: the word is a path as it stands. */
static bool parse_at(const char *at, snapshot_choices *chosen)
{
    const char *rest;
    if (!parse_part(at + 1, '-', &rest, &chosen->seqs[0]))
        return false;
    chosen->seqs_count = 1;
    chosen->with_epoch = *rest == '-';
    return !chosen->with_epoch ||
           (parse_part(rest + 1, '\0', &rest, &chosen->epoch) && *rest == '\0');
}

int snapshot_pick(const snapshot_choices *chosen, const char *manifest_path,
                  baton_snapshot_listed *ret_listed)
{
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    uint32_t at = 0;
    int code = snapshot_list(chosen, &found, &count);
    if (code != 0)
        return code;
    while (at < count && (!snapshot_is_wanted(chosen, &found[at]) ||
                          (manifest_path != NULL &&
                           strcmp(strrchr(found[at].manifest_path, '/'), manifest_path) != 0)))
        at++;
    if (at < count)
        *ret_listed = found[at];
    else
        code =
            snapshot_none_such(chosen->directory, chosen->seqs_count > 0 ? &chosen->seqs[0] : NULL);
    free(found);
    return code;
}

int snapshot_by_word(const char *word, char directory[SNAPSHOT_PATH_BYTES],
                     baton_snapshot_listed *ret_listed)
{
    static const char suffix[] = ".manifest";
    snapshot_choices chosen = {0};
    char path[SNAPSHOT_PATH_BYTES];
    const size_t bytes = strlen(word);
    const char *at = strrchr(word, '@');
    char *slash = NULL;
    if (bytes + 2 >= sizeof(path))
        return fail_usage("snapshot", "its path is too long", "use a shorter one");
    snprintf(path, sizeof(path), "%s%s", strchr(word, '/') == NULL ? "./" : "", word);
    if (bytes > strlen(suffix) && strcmp(word + bytes - strlen(suffix), suffix) == 0 &&
        !is_directory(word)) {
        slash = strrchr(path, '/');
        char name[SNAPSHOT_PATH_BYTES];
        snprintf(name, sizeof(name), "%s", slash);
        *slash = '\0';
        snprintf(directory, SNAPSHOT_PATH_BYTES, "%s", path[0] != '\0' ? path : "/");
        snprintf(chosen.directory, sizeof(chosen.directory), "%s", directory);
        return snapshot_pick(&chosen, name, ret_listed);
    }
    snprintf(path, sizeof(path), "%s", word);
    if (at != NULL && !is_directory(word) && parse_at(at, &chosen))
        path[at - word] = '\0';
    else
        chosen = (snapshot_choices){0};
    if (!snapshot_directory(path, false, directory))
        return 1;
    snprintf(chosen.directory, sizeof(chosen.directory), "%s", directory);
    return snapshot_pick(&chosen, NULL, ret_listed);
}

/* ---- the lock ---- */

int snapshot_lock(const char *directory, const char *what, int *ret_fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[SNAPSHOT_PATH_BYTES + 32];
    baton_error error;
    snprintf(path, sizeof(path), "%s/../journal/LOCK", directory);
    *ret_fd = open(path, O_RDWR | O_CLOEXEC);
    if (*ret_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (*ret_fd >= 0 && fcntl(*ret_fd, F_OFD_SETLK, &whole) == 0)
        return 0;
    const bool held = *ret_fd >= 0 && (errno == EAGAIN || errno == EACCES);
    baton_error_set(
        &error, held ? BATON_E_LOCKED : -errno, what, held ? "the service is running" : NULL,
        held ? "stop it first, or leave it to the service" : "check the rights of LOCK");
    baton_error_at(&error, path, UINT64_MAX);
    if (*ret_fd >= 0)
        close(*ret_fd);
    return fail_with(&error);
}
