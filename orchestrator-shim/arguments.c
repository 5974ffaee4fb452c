/* orchestrator-shim/arguments.c: command lines. */
#include "orchestrator-shim/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <baton/clock.h>

int next_option(int argc, char **argv, const struct option *options, const char *help)
{
    char what[160];
    opterr = 0;
    const int option = getopt_long(argc, argv, ":o:h", options, NULL);
    switch (option) {
    case 'h':
        fputs(help, stdout);
        return OPTION_HELP;
    case ':':
        snprintf(what, sizeof(what), "option %.120s", argv[optind - 1]);
        fail_usage(what, "its value is missing", "see --help");
        return OPTION_WRONG;
    case '?':
        snprintf(what, sizeof(what), "option %.120s", argv[optind - 1]);
        fail_usage(what, "there is no such option, or not with a value", "see --help");
        return OPTION_WRONG;
    default:
        return option;
    }
}

static bool refuse_value(const char *option, const char *text, const char *wanted)
{
    char what[160], why[160];
    snprintf(what, sizeof(what), "option %s", option);
    snprintf(why, sizeof(why), "'%.100s' does not fit", text);
    fail_usage(what, why, wanted);
    return false;
}

static bool parse_number(const char *text, char **ret_rest, uint64_t *ret_number)
{
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(text, ret_rest, 10);
    return errno == 0;
}

bool read_number(const char *option, const char *text, uint64_t *ret_number)
{
    char *rest = NULL;
    if (parse_number(text, &rest, ret_number) && *rest == '\0')
        return true;
    return refuse_value(option, text, "give a whole number");
}

bool read_seq_or_time(const char *option, const char *text, uint64_t *ret_seq, uint64_t *ret_ns)
{
    char *rest = NULL;
    *ret_seq = *ret_ns = 0;
    if (parse_number(text, &rest, ret_seq) && *rest == '\0')
        return true;
    *ret_seq = 0;
    if (baton_time_parse(text, ret_ns) == 0 && *ret_ns != 0) /* 0 would mean the end */
        return true;
    return refuse_value(option, text, "give a seq, 2026-11-21T14:00:00Z, or @nanoseconds");
}

bool read_duration(const char *option, const char *text, uint64_t *ret_ns)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {{"ms", 1000000}, {"s", 1000000000}, {"m", UINT64_C(60000000000)}};
    char *rest = NULL;
    uint64_t number;
    if (parse_number(text, &rest, &number))
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strcmp(rest, units[i].suffix) == 0 &&
                !__builtin_mul_overflow(number, units[i].factor, ret_ns))
                return true;
    return refuse_value(option, text, "give a time like 30s, 500ms or 2m");
}

bool read_output(const char *text, bool *ret_json)
{
    *ret_json = strcmp(text, "json") == 0;
    if (*ret_json || strcmp(text, "text") == 0)
        return true;
    return refuse_value("-o", text, "give text or json");
}

bool read_backend(const char *text, baton_backend *ret_backend)
{
    static const char *const names[] = {[BATON_BACKEND_AUTO] = "auto",
                                        [BATON_BACKEND_URING] = "uring",
                                        [BATON_BACKEND_THREADS] = "threads"};
    for (int i = BATON_BACKEND_AUTO; i <= BATON_BACKEND_THREADS; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_backend = (baton_backend)i;
            return true;
        }
    return refuse_value("--io", text, "give auto, uring or threads");
}

const char *journal_in(const char *directory, char room[JOURNAL_DIRECTORY_BYTES])
{
    struct stat status;
    const int n = snprintf(room, JOURNAL_DIRECTORY_BYTES, "%s/journal", directory);
    const bool fits = n >= 0 && n < JOURNAL_DIRECTORY_BYTES;
    return fits && stat(room, &status) == 0 && S_ISDIR(status.st_mode) ? room : directory;
}

const char *one_directory(int argc, char **argv)
{
    static char room[JOURNAL_DIRECTORY_BYTES];
    if (argc - optind == 1)
        return journal_in(argv[optind], room);
    if (argc == optind)
        fail_usage("journal", "the directory is missing", "see --help");
    else
        fail_usage(argv[optind + 1], "one directory at a time", "see --help");
    return NULL;
}

int run_verb(const verb *verbs, size_t count, const char *of, const char *help, int argc,
             char **argv)
{
    char why[64];
    char known[160] = "";
    if (argc < 2) {
        fputs(help, stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
        const size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", verbs[i].name);
    }
    snprintf(why, sizeof(why), "there is no such verb of `%s`", of);
    char todo[224];
    snprintf(todo, sizeof(todo), "the verbs are %s; see --help", known);
    return fail_usage(argv[1], why, todo);
}
