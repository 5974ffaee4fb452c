/* Suite `handover`: authority moves between two real instances of the matching engine under a real load,
 * as its clients see it; following, and what it costs; ways back, and a cold start. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/handover_bench.h"
#include "bench/spawn.h"

#define SHARE_MEMORY 0.25 /* of what is free, for one of the two states */
#define TIMES_DISK   6    /* of a state, with images and journals beside it */
#define COLD_MIB     1024u
#define FOLLOW_MIB   64u

static const char usage[] =
    "Usage: handover-bench --dir DIR [--quick] [--json FILE] [--io uring|threads] [--mib N]... "
    "[--case "
    "NAME]\n"
    "                      [--list]\n"
    "\n"
    "Two instances of the matching engine, 1.0.0 and 1.1.0, hand over to and fro under a load of "
    "50,000\n"
    "orders a second; what their clients saw, beside as many durable writes as no handover can do "
    "without.\n"
    "  --dir DIR    an existing, empty directory on the device to measure\n"
    "  --quick      20 handovers with a state of 64 MiB, and less of the rest\n"
    "  --smoke      fewer and smaller still: whether it works, not how fast\n"
    "  --json FILE  rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --io WHICH   how the instances write their files; default: uring\n"
    "  --mib N      size of the state, may be repeated; default: 64, 1024, 4096; with --quick: 64\n"
    "  --case NAME  only this one; --list, or the name `list`, prints the names\n"
    "\n"
    "A case has its plain name at the largest of the sizes, and the size behind it at the others\n"
    "(handover_gap_64m). A size that needs more than a quarter of the free memory is left out, and "
    "that is\n"
    "said. follow_* have 64 MiB, portable_rollback has 1 GiB, cold_start that and 1 million "
    "entries, or the\n"
    "largest size if that is smaller.\n"
    "\n"
    "Example: handover-bench --dir /var/lib/exchange/empty --quick --json -\n";

static const struct {
    const char *name;
    void (*run)(const hand_run *run);
    uint32_t mib_max; /* it runs once, with the largest size, but no larger; 0: with each */
} cases[] = {
    {"handover_gap", hand_case_gap, 0},
    {"follow", hand_case_follow, FOLLOW_MIB},
    {"portable_rollback", hand_case_rollback, COLD_MIB},
    {"cold_start", hand_case_cold, COLD_MIB},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

_Noreturn void hand_die(const char *what, const char *why)
{
    fprintf(stderr, "baton: %s: %s\n", what, why);
    exit(1);
}

void hand_print(const hand_run *run, const bench_row *row)
{
    char name[64];
    bench_row all = *row;
    snprintf(name, sizeof(name), "%s%s", row->bench_case, run->suffix);
    all.suite = HAND_SUITE;
    all.bench_case = name;
    all.backend = run->options->backend;
    bench_print_row(run->output, &all);
    if (run->output->json != NULL)
        fflush(run->output->json);
}

double hand_ms(const baton_histogram *histogram, double q)
{
    return (double)(q >= 1 ? baton_histogram_max(histogram)
                           : baton_histogram_quantile(histogram, q)) /
           1e6;
}

baton_histogram *hand_histogram(void)
{
    baton_histogram *histogram = NULL;
    if (baton_histogram_create(&histogram) < 0)
        hand_die("a histogram", "no memory");
    return histogram;
}

static bool fits(const hand_run *run, uint64_t mib)
{
    const char *directory = run->options->directory;
    const bench_room room = {directory, SHARE_MEMORY, TIMES_DISK};
    const int r = bench_fits(run->output, &room, mib);
    if (r < 0)
        hand_die(directory, baton_status_text(r));
    return r > 0;
}

/* ---- running ---- */

static bool is_wanted(const hand_options *options, uint32_t c)
{
    return options->only_case == NULL || strcmp(options->only_case, cases[c].name) == 0;
}

static void run_sizes(hand_run run, uint32_t c)
{
    const bench_sizes *sizes = &run.options->sizes;
    for (uint32_t i = 0; i < sizes->count; i++) {
        char suffix[BENCH_SUFFIX_BYTES];
        if (!fits(&run, sizes->mib[i]))
            continue;
        bench_size_suffix(sizes, i, suffix);
        run.bytes = sizes->mib[i] * BENCH_MIB;
        run.suffix = suffix;
        cases[c].run(&run);
    }
}

static void run_once(hand_run run, uint32_t c)
{
    uint64_t mib = bench_sizes_largest(&run.options->sizes);
    if (mib > cases[c].mib_max)
        mib = cases[c].mib_max;
    run.bytes = mib * BENCH_MIB;
    if (fits(&run, mib))
        cases[c].run(&run);
}

static void print_counts(const hand_run *run)
{
    const hand_count *count = run->count;
    const struct {
        const char *metric;
        uint64_t value;
    } rows[] = {
        {"lost", count->lost}, {"doubled", count->doubled}, {"reordered", count->reordered}};
    bench_note(run->output, "the clients' record: %llu commands",
               (unsigned long long)count->commands);
    for (uint32_t i = 0; i < 3; i++) {
        const bench_row row = {.bench_case = "orders",
                               .metric = rows[i].metric,
                               .unit = "none",
                               .value = (double)rows[i].value,
                               .lower_is_better = true};
        hand_print(run, &row);
    }
}

static void run_all(const hand_options *options, const bench_output *output)
{
    hand_count count = {0};
    double p50_min = 0, p50_max = 0;
    const hand_run run = {.options = options,
                          .output = output,
                          .suffix = "",
                          .count = &count,
                          .gap_p50_min = &p50_min,
                          .gap_p50_max = &p50_max};
    for (uint32_t c = 0; c < CASES; c++)
        if (is_wanted(options, c)) {
            if (cases[c].mib_max == 0)
                run_sizes(run, c);
            else
                run_once(run, c);
        }
    if (p50_max > p50_min) {
        const bench_row row = {.bench_case = "handover_gap_sizes",
                               .metric = "p50",
                               .unit = "ms",
                               .value = p50_max,
                               .lower_is_better = true,
                               .reference = "the smallest",
                               .reference_value = p50_min};
        hand_print(&run, &row);
    }
    if (count.commands > 0)
        print_counts(&run);
}

/* ---- options ---- */

static _Noreturn void list(void)
{
    for (uint32_t c = 0; c < CASES; c++)
        puts(cases[c].name);
    exit(0);
}

static int parse_case(const char *text, hand_options *options)
{
    if (strcmp(text, "list") == 0)
        list();
    options->only_case = text;
    for (uint32_t c = 0; c < CASES; c++)
        if (strcmp(text, cases[c].name) == 0)
            return 0;
    fprintf(stderr, "baton: --case %s: no such case: see --list\n", text);
    return -EINVAL;
}

static int parse_one(int option, hand_options *options)
{
    static const bench_size_limits limits = {.least_mib = 16, .most_mib = 8192};
    if (option == 'd')
        options->directory = optarg;
    else if (option == 'q' || option == 's')
        options->quick = true;
    else if (option == 'j')
        options->json = optarg;
    else if (option == 'm')
        return bench_sizes_add(&options->sizes, optarg, limits);
    else if (option == 'i' && (strcmp(optarg, "uring") == 0 || strcmp(optarg, "threads") == 0))
        options->backend = optarg[0] == 'u' ? "uring" : "threads";
    else if (option == 'c')
        return parse_case(optarg, options);
    else
        return -EINVAL;
    options->smoke = options->smoke || option == 's';
    return 0;
}

static int parse_options(int argc, char **argv, hand_options *options)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},  {"quick", no_argument, NULL, 'q'},
        {"smoke", no_argument, NULL, 's'},      {"json", required_argument, NULL, 'j'},
        {"io", required_argument, NULL, 'i'},   {"mib", required_argument, NULL, 'm'},
        {"case", required_argument, NULL, 'c'}, {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    static const uint64_t sizes[3] = {64, 1024, 4096};
    int r = 0;
    *options = (hand_options){.backend = "uring"};
    for (int option; r == 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'l')
            list();
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        r = parse_one(option, options);
    }
    bench_sizes_default(&options->sizes, sizes, options->quick);
    return r == 0 && optind == argc && options->directory != NULL ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    hand_options options;
    if (parse_options(argc, argv, &options) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    if (bench_check_empty(options.directory) < 0)
        return 1;
    if (bench_own_folder(options.programs, sizeof(options.programs)) < 0)
        hand_die("find the other programs", strerror(errno));
    const bool to_stdout = options.json != NULL && strcmp(options.json, "-") == 0;
    FILE *json = to_stdout ? stdout : options.json != NULL ? fopen(options.json, "we") : NULL;
    if (options.json != NULL && json == NULL)
        hand_die(options.json, strerror(errno));
    if (chdir(options.directory) < 0) /* sockets have short names there, however deep it is */
        hand_die(options.directory, strerror(errno));
    options.directory = ".";
    const bench_output output = {.json = json, .human = to_stdout ? NULL : stdout};
    const bench_header header = {.suite = HAND_SUITE,
                                 .commit_primitive = "O_DIRECT write, RWF_DSYNC"};
    if (bench_print_header_of(&output, &header, options.directory, BATON_IO_THREADS) < 0)
        return 1;
    run_all(&options, &output);
    if (json != NULL && fclose(json) != 0)
        hand_die("write the rows", strerror(errno));
    return 0;
}
