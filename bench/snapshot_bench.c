/* Suite `snapshot`: images and portable snapshots beside the device alone, beside the same loop
 * without a snapshot and beside Redis, in rounds that alternate. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/region.h"

#define COLD_MIB     1024u
#define SHARE_MEMORY 0.4 /* of what is free: for one state */
#define TIMES_DISK   3   /* of a state, with what is written beside it */

static const char usage[] =
    "Usage: snapshot-bench --dir DIR [--quick] [--json FILE] [--io uring|threads|both] [--mib "
    "N]...\n"
    "                      [--case NAME] [--peers yes|no] [--list]\n"
    "\n"
    "Measures snapshots beside the raw device, beside the same loop without one, and beside "
    "Redis.\n"
    "  --dir DIR      an existing, empty directory on the device to measure; one that is not empty "
    "is\n"
    "                 refused: make a fresh one\n"
    "  --quick        states of 256 MiB, fewer rounds, a tenth of the records\n"
    "  --smoke        smaller still: whether it works, not how fast\n"
    "  --json FILE    rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --io WHICH     how snapshots are written and read; default: uring\n"
    "  --mib N        size of the state, may be repeated; default: 256, 1024, 4096; with --quick: "
    "256\n"
    "  --case NAME    only this one; --list, or the name `list`, prints the names\n"
    "  --peers WHICH  portable_write, portable_load: beside Redis? default: yes\n"
    "\n"
    "A case has its plain name at the largest of the sizes, and the size behind it at the others:\n"
    "image_write (4 GiB), image_write_1g, image_write_256m. A size that needs more than 40 % of "
    "the\n"
    "free memory, or a third of the free disk, is left out, and that is said.\n"
    "cold_start has 1 GiB and 1 million entries, or the largest size if that is smaller (with "
    "--quick:\n"
    "200,000 entries); portable_* have 2 million records (with --quick: 200,000).\n"
    "\n"
    "Example: snapshot-bench --dir /var/lib/exchange/empty --quick --json -\n";

typedef enum { ALONE, WITH_REGION, COLD, NO_STATE } case_kind;

static const struct {
    const char *name;
    void (*run)(const snap_run *run);
    case_kind kind;
} cases[] = {
    {"image_write", snap_case_write, WITH_REGION},
    {"increment", snap_case_increment, WITH_REGION},
    {"stall", snap_case_stall, WITH_REGION},
    {"stall_fork", snap_case_stall_fork, WITH_REGION},
    {"image_load", snap_case_load, WITH_REGION},
    {"memory", snap_case_memory, ALONE},
    {"drain_final", snap_case_drain, ALONE},
    {"cold_start", snap_case_cold, COLD},
    {"portable", snap_case_portable, NO_STATE},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static const struct {
    const char *name;
    void (*run)(const snap_run *run);
} children[] = {
    {"memory", snap_child_memory},         {"drain-ready", snap_child_drain_ready},
    {"drain-cold", snap_child_drain_cold}, {"cold-make", snap_child_cold_make},
    {"cold-start", snap_child_cold_start},
};

static bool fits(const snap_run *run, uint64_t mib)
{
    const char *directory = run->options->directory;
    const bench_room room = {directory, SHARE_MEMORY, TIMES_DISK};
    const int r = bench_fits(run->output, &room, mib);
    if (r < 0)
        snap_die(directory, r, NULL);
    return r > 0;
}

/* ---- running ---- */

static bool is_wanted(const snap_options *options, uint32_t c)
{
    const char *only = options->only_case;
    if (only == NULL || strcmp(only, cases[c].name) == 0)
        return true;
    return cases[c].kind == NO_STATE && strncmp(only, "portable_", strlen("portable_")) == 0;
}

static bool any_is_wanted(const snap_options *options, case_kind kind)
{
    for (uint32_t c = 0; c < CASES; c++)
        if (cases[c].kind == kind && is_wanted(options, c))
            return true;
    return false;
}

static void run_kind(const snap_run *run, case_kind kind)
{
    for (uint32_t c = 0; c < CASES; c++) {
        if (cases[c].kind != kind || !is_wanted(run->options, c))
            continue;
        cases[c].run(run);
        if (run->output->json != NULL)
            fflush(run->output->json);
    }
}

static void run_size(snap_run run, uint32_t size)
{
    const uint64_t mib = run.options->sizes.mib[size];
    char suffix[BENCH_SUFFIX_BYTES];
    snap_region region;
    if (!fits(&run, mib))
        return;
    bench_size_suffix(&run.options->sizes, size, suffix);
    run.bytes = mib * BENCH_MIB;
    run.suffix = suffix;
    if (any_is_wanted(run.options, WITH_REGION)) {
        region_open(&run, "image", &region);
        bench_note(run.output, "%llu MiB; live: %s", (unsigned long long)mib,
                   baton_image_source_why_not_live(region.source)[0] == '\0'
                       ? "yes"
                       : baton_image_source_why_not_live(region.source));
        run.region = &region;
        run_kind(&run, WITH_REGION);
        region_close(&region);
        run.region = NULL;
    }
    run_kind(&run, ALONE);
}

static void run_all(const snap_options *options, const bench_output *output)
{
    const uint64_t largest = bench_sizes_largest(&options->sizes);
    const uint64_t cold = largest < COLD_MIB ? largest : COLD_MIB;
    for (uint32_t i = 0; i < options->backends_count; i++) {
        snap_run run = {.options = options,
                        .output = output,
                        .io = options->backends[i],
                        .backend_name =
                            options->backends[i] == BATON_IO_URING ? "uring" : "threads",
                        .suffix = ""};
        for (uint32_t size = 0; size < options->sizes.count; size++)
            run_size(run, size);
        run.bytes = cold * BENCH_MIB;
        if (any_is_wanted(options, COLD) && fits(&run, cold))
            run_kind(&run, COLD);
        run_kind(&run, NO_STATE);
    }
}

static int run_child(const snap_options *options)
{
    const bench_output output = {0};
    const snap_run run = {.options = options,
                          .output = &output,
                          .io = options->backends[0],
                          .bytes = options->sizes.mib[0] * BENCH_MIB,
                          .suffix = ""};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++)
        if (strcmp(options->child, children[i].name) == 0) {
            children[i].run(&run);
            return 0;
        }
    return 1;
}

/* ---- options ---- */

static _Noreturn void list(void)
{
    for (uint32_t c = 0; c < CASES; c++)
        if (cases[c].kind == NO_STATE)
            puts("portable_write\nportable_load");
        else
            puts(cases[c].name);
    exit(0);
}

static int parse_case(const char *text, snap_options *options)
{
    if (strcmp(text, "list") == 0)
        list();
    options->only_case = text;
    for (uint32_t c = 0; c < CASES; c++)
        if (cases[c].kind != NO_STATE && strcmp(text, cases[c].name) == 0)
            return 0;
    if (strcmp(text, "portable_write") == 0 || strcmp(text, "portable_load") == 0)
        return 0;
    fprintf(stderr, "baton: --case %s: no such case: see --list\n", text);
    return -EINVAL;
}

static int parse_io(const char *text, snap_options *options)
{
    options->backends[0] = strcmp(text, "threads") == 0 ? BATON_IO_THREADS : BATON_IO_URING;
    options->backends[1] = BATON_IO_THREADS;
    options->backends_count = strcmp(text, "both") == 0 ? 2 : 1;
    return strcmp(text, "uring") == 0 || strcmp(text, "threads") == 0 || strcmp(text, "both") == 0
               ? 0
               : -EINVAL;
}

static void default_sizes(snap_options *options)
{
    static const uint64_t sizes[3] = {256, 1024, 4096};
    const bool none = options->sizes.count == 0;
    bench_sizes_default(&options->sizes, sizes, options->quick);
    if (none && options->smoke)
        options->sizes.mib[0] = 32;
}

static int parse_one(int option, snap_options *options)
{
    static const bench_size_limits limits = {.least_mib = 4, .most_mib = UINT32_MAX};
    if (option == 'd')
        options->directory = optarg;
    else if (option == 'q' || option == 's')
        options->quick = true;
    else if (option == 'j')
        options->json = optarg;
    else if (option == 'p' && (strcmp(optarg, "yes") == 0 || strcmp(optarg, "no") == 0))
        options->peers = optarg[0] == 'y';
    else if (option == 'm')
        return bench_sizes_add(&options->sizes, optarg, limits);
    else if (option == 'i')
        return parse_io(optarg, options);
    else if (option == 'c')
        return parse_case(optarg, options);
    else if (option == 'x')
        options->child = optarg;
    else if (option == 'n')
        options->entries = strtoull(optarg, NULL, 10);
    else
        return -EINVAL;
    options->smoke = options->smoke || option == 's';
    return 0;
}

static int parse_options(int argc, char **argv, snap_options *options)
{
    static const struct option known[] = {{"dir", required_argument, NULL, 'd'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"smoke", no_argument, NULL, 's'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"io", required_argument, NULL, 'i'},
                                          {"mib", required_argument, NULL, 'm'},
                                          {"case", required_argument, NULL, 'c'},
                                          {"peers", required_argument, NULL, 'p'},
                                          {"list", no_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"child", required_argument, NULL, 'x'},
                                          {"entries", required_argument, NULL, 'n'},
                                          {NULL, 0, NULL, 0}};
    *options = (snap_options){.peers = true};
    int r = parse_io("uring", options);
    for (int option; r == 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'l')
            list();
        r = parse_one(option, options);
    }
    default_sizes(options);
    return r == 0 && options->directory && optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    snap_options options;
    bench_output output = {.human = stdout};
    if (parse_options(argc, argv, &options) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    if (options.child != NULL)
        return run_child(&options);
    if (bench_check_empty(options.directory) < 0)
        return 1;
    if (options.json && strcmp(options.json, "-") == 0)
        output = (bench_output){.json = stdout};
    else if (options.json && !(output.json = fopen(options.json, "we")))
        return bench_fail(options.json, -errno) < 0;
    const bench_header header = {.suite = SNAP_SUITE,
                                 .commit_primitive = "O_DIRECT writes, fdatasync, rename, fsync"};
    if (bench_print_header_of(&output, &header, options.directory, options.backends[0]) < 0)
        return 1;
    run_all(&options, &output);
    if (output.json && fflush(output.json) != 0)
        return bench_fail("write the rows", -errno) < 0;
    return 0;
}
