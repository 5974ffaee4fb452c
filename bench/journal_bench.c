/* Suite `journal`: what Baton costs beside what the device costs, in blocks that alternate. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common.h"

static const char usage[] =
    "Usage: journal-bench --dir DIR [--quick] [--json FILE] [--io uring|threads|both]\n"
    "                     [--case NAME] [--curves FILE] [--list]\n"
    "\n"
    "Measures the journal beside the raw device, in blocks that alternate.\n"
    "  --dir DIR      an existing, empty directory on the device to measure\n"
    "  --quick        a few short blocks of each case\n"
    "  --smoke        fewer still: whether it works, not how fast\n"
    "  --json FILE    rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --io WHICH     default: both\n"
    "  --case NAME    only this one; --list prints the names\n"
    "  --curves FILE  points for the drawing: latencies, throughput over size and depth\n"
    "\n"
    "Example: journal-bench --dir /var/lib/exchange --quick --json -\n";

static const struct {
    const char *name;
    int (*run)(const bench_run *run);
} cases[] = {
    {"append_one_in_flight", bench_case_one},
    {"append_peak", bench_case_peak},
    {"append_128_in_flight", bench_case_128},
    {"append_1024_in_flight", bench_case_1024},
    {"append_open_loop", bench_case_open},
    {"recover_scan", bench_case_scan},
    {"tail_lag", bench_case_tail},
    {"instructions_per_entry", bench_case_callgrind},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static int print_header(const bench_run *run)
{
    bench_journal journal;
    int r = bench_journal_open(run, "header", NULL, &journal);
    if (r < 0)
        return r;
    const char *primitive = baton_journal_commit_primitive(journal.journal);
    const char *cache = strstr(primitive, "device cache ");
    bench_header header = {.suite = BENCH_SUITE,
                           .commit_primitive = primitive,
                           .device_write_cache =
                               cache ? cache + strlen("device cache ") : "unknown"};
    bench_print_header(run->output, &header);
    return bench_journal_close(&journal);
}

static int run_cases(const bench_options *options, const bench_output *output, FILE *curves)
{
    double shared[CASES] = {0};
    int r = 0;
    for (uint32_t c = 0; c < CASES && r == 0; c++) {
        if (options->only_case && strcmp(options->only_case, cases[c].name) != 0)
            continue;
        for (uint32_t i = 0; i < options->backends_count && r == 0; i++) {
            bool uring = options->backends[i] == BATON_BACKEND_URING;
            bench_run run = {.options = options,
                             .output = output,
                             .curves = curves,
                             .backend = options->backends[i],
                             .backend_name = uring ? "uring" : "threads",
                             .shared = &shared[c]};
            r = cases[c].run(&run);
        }
        if (output->json)
            fflush(output->json);
    }
    return r;
}

static int parse_backends(const char *text, bench_options *options)
{
    options->backends[0] = BATON_BACKEND_URING;
    options->backends[1] = BATON_BACKEND_THREADS;
    options->backends_count = strcmp(text, "both") == 0 ? 2 : 1;
    if (strcmp(text, "threads") == 0)
        options->backends[0] = BATON_BACKEND_THREADS;
    else if (strcmp(text, "both") != 0 && strcmp(text, "uring") != 0)
        return -EINVAL;
    return 0;
}

static int parse_case(const char *text, bench_options *options)
{
    options->only_case = text;
    for (uint32_t c = 0; c < CASES; c++)
        if (strcmp(text, cases[c].name) == 0)
            return 0;
    fprintf(stderr, "baton: --case %s: no such case: see --list\n", text);
    return -EINVAL;
}

static _Noreturn void list(void)
{
    for (uint32_t c = 0; c < CASES; c++)
        puts(cases[c].name);
    exit(0);
}

static int parse_options(int argc, char **argv, bench_options *options)
{
    static const struct option known[] = {{"dir", required_argument, NULL, 'd'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"smoke", no_argument, NULL, 's'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"io", required_argument, NULL, 'i'},
                                          {"case", required_argument, NULL, 'c'},
                                          {"list", no_argument, NULL, 'l'},
                                          {"curves", required_argument, NULL, 'p'},
                                          {"count", required_argument, NULL, 'n'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int r = parse_backends("both", options);
    for (int option; r == 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'l')
            list();
        if (option == 'd')
            options->directory = optarg;
        else if (option == 'q')
            options->quick = true;
        else if (option == 's')
            options->quick = options->smoke = true;
        else if (option == 'j')
            options->json = optarg;
        else if (option == 'p')
            options->curves = optarg;
        else if (option == 'n')
            options->count_entries = strtoull(optarg, NULL, 10);
        else if (option == 'c')
            r = parse_case(optarg, options);
        else
            r = option == 'i' ? parse_backends(optarg, options) : -EINVAL;
    }
    return r == 0 && options->directory && optind == argc ? 0 : -EINVAL;
}

static int open_outputs(const bench_options *options, bench_output *output, FILE **ret_curves)
{
    *output = (bench_output){.human = stdout};
    if (options->json && strcmp(options->json, "-") == 0)
        *output = (bench_output){.json = stdout};
    else if (options->json && !(output->json = fopen(options->json, "we")))
        return bench_fail(options->json, -errno);
    if (options->curves && !(*ret_curves = fopen(options->curves, "we")))
        return bench_fail(options->curves, -errno);
    return 0;
}

int main(int argc, char **argv)
{
    bench_options options = {0};
    bench_output output;
    FILE *curves = NULL;
    if (parse_options(argc, argv, &options) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    bench_run first = {.options = &options,
                       .output = &output,
                       .backend = options.backends[0],
                       .backend_name =
                           options.backends[0] == BATON_BACKEND_URING ? "uring" : "threads"};
    if (options.count_entries > 0)
        return bench_count_entries(&first, options.count_entries) < 0;
    if (open_outputs(&options, &output, &curves) < 0)
        return 1;

    int r = print_header(&first);
    if (r == 0)
        r = run_cases(&options, &output, curves);
    if (output.json && fflush(output.json) != 0 && r == 0)
        r = bench_fail("write the rows", -errno);
    if (curves && fclose(curves) != 0 && r == 0)
        r = bench_fail("write the curves", -errno);
    return r < 0 ? 1 : 0;
}
