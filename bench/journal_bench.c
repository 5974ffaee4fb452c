/* Suite `journal`: what an append costs beside what the device costs, in blocks that alternate. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <baton/histogram.h>
#include <baton/journal.h>

#include "bench/raw.h"
#include "bench/rows.h"

enum {
    ENTRY_BYTES = 256,
    RAW_WRITE_BYTES = 4096,
    RAW_FILE_BYTES = 64 << 20,
    BLOCK_OPERATIONS = 25, /* of one side before the other has its turn: about 3 ms */
    WARM_UP_BLOCKS = 40,   /* also sees the next segment made ready */
    QUICK_BLOCKS = 120,
    FULL_BLOCKS = 1200,
    JOURNAL_WAIT_S = 60,
};

#define SUITE "journal"

typedef struct {
    const char *directory;
    const char *json;
    bool quick;
    baton_backend backends[2];
    uint32_t backends_count;
} bench_options;

/* One side of the comparison. */
typedef struct {
    baton_histogram *journal;
    baton_histogram *raw;
    baton_histogram *raw_again;
} bench_sides;

static const char usage[] =
    "Usage: journal-bench --dir DIR [--quick] [--json FILE] [--io uring|threads|both]\n"
    "\n"
    "Measures one durable append of 256 B beside one raw durable 4 KiB overwrite, interleaved.\n"
    "  --dir DIR     an existing, empty directory on the device to measure\n"
    "  --quick       3,000 appends a backend instead of 30,000\n"
    "  --json FILE   rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --io WHICH    default: both\n"
    "\n"
    "Example: journal-bench --dir /var/lib/exchange --quick --json -\n";

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int fail(const char *what, int status)
{
    fprintf(stderr, "baton: %s: %s: see --help\n", what, baton_status_text(status));
    return status;
}

static int append_block(baton_journal *journal, baton_histogram *histogram)
{
    static const unsigned char payload[ENTRY_BYTES] = {1};
    for (int i = 0; i < BLOCK_OPERATIONS; i++) {
        int64_t begin = now_ns();
        baton_entry entry;
        int r = baton_journal_append(journal, 1, payload, sizeof(payload), &entry);
        if (r == 0)
            r = baton_journal_wait(journal, entry.seq, JOURNAL_WAIT_S * UINT64_C(1000000000));
        if (r < 0)
            return r;
        if (histogram)
            baton_histogram_record(histogram, (uint64_t)(now_ns() - begin));
    }
    return 0;
}

static int raw_block(raw_device *raw, baton_histogram *histogram)
{
    for (int i = 0; i < BLOCK_OPERATIONS; i++) {
        int64_t took_ns = raw_write(raw);
        if (took_ns < 0)
            return (int)took_ns;
        if (histogram)
            baton_histogram_record(histogram, (uint64_t)took_ns);
    }
    return 0;
}

/* raw, journal, raw again, journal, ...: which raw side comes first changes every round. */
static int run_blocks(baton_journal *journal, raw_device *raw, const bench_sides *sides, int blocks)
{
    for (int block = -WARM_UP_BLOCKS; block < blocks; block++) {
        bool counts = block >= 0;
        baton_histogram *first = block % 2 == 0 ? sides->raw : sides->raw_again;
        baton_histogram *second = block % 2 == 0 ? sides->raw_again : sides->raw;
        int r = raw_block(raw, counts ? first : NULL);
        if (r == 0)
            r = append_block(journal, counts ? sides->journal : NULL);
        if (r == 0)
            r = raw_block(raw, counts ? second : NULL);
        if (r < 0)
            return r;
        if (isatty(STDERR_FILENO) && block % 10 == 0)
            fprintf(stderr, "\r%3d %%", counts ? 100 * (block + 1) / blocks : 0);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r     \r");
    return 0;
}

static void print_rows(const bench_output *output, const char *backend, const bench_sides *sides)
{
    static const struct {
        const char *metric;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double fraction = quantiles[i].fraction;
        double raw = (double)baton_histogram_quantile(sides->raw, fraction) / 1000;
        double again = (double)baton_histogram_quantile(sides->raw_again, fraction) / 1000;
        bench_row row = {.suite = SUITE,
                         .bench_case = "append_one_in_flight",
                         .backend = backend,
                         .metric = quantiles[i].metric,
                         .unit = "us",
                         .value = (double)baton_histogram_quantile(sides->journal, fraction) / 1000,
                         .lower_is_better = true,
                         .reference = "raw",
                         .reference_value = raw};
        bench_print_row(output, &row);
        row.value = raw;
        row.reference = "raw again";
        row.reference_value = again;
        bench_print_row(output, &row);
    }
}

static int histograms_create(bench_sides *sides)
{
    int r = baton_histogram_create(&sides->journal);
    if (r == 0)
        r = baton_histogram_create(&sides->raw);
    if (r == 0)
        r = baton_histogram_create(&sides->raw_again);
    return r;
}

static void histograms_destroy(bench_sides *sides)
{
    baton_histogram_destroy(sides->journal);
    baton_histogram_destroy(sides->raw);
    baton_histogram_destroy(sides->raw_again);
}

static void print_header(const bench_output *output, const baton_journal *journal)
{
    const char *primitive = baton_journal_commit_primitive(journal);
    const char *cache = strstr(primitive, "device cache ");
    bench_header header = {.suite = SUITE,
                           .commit_primitive = primitive,
                           .device_write_cache =
                               cache ? cache + strlen("device cache ") : "unknown",
#ifdef __OPTIMIZE__
                           .build = "release"};
#else
                           .build = "debug"};
#endif
    bench_print_header(output, &header);
}

static int bench_backend(const bench_options *options, const bench_output *output, uint32_t index)
{
    bool uring = options->backends[index] == BATON_BACKEND_URING;
    char journal_path[512];
    char raw_path[512];
    snprintf(journal_path, sizeof(journal_path), "%s/journal-%u", options->directory, index);
    snprintf(raw_path, sizeof(raw_path), "%s/raw-%u", options->directory, index);
    bench_sides sides = {0};
    baton_journal *journal = NULL;
    raw_device *raw = NULL;
    baton_error error = {0};

    int r = histograms_create(&sides);
    if (r < 0)
        goto done;
    /* One segment holds a whole quick run; a full one rolls, as a service does. */
    baton_journal_options journal_options = {.backend = options->backends[index],
                                             .first_segment_bytes = UINT64_C(64) << 20};
    baton_recovery_report report;
    r = baton_journal_open(journal_path, &journal_options, &journal, &report, &error);
    if (r == 0)
        r = baton_journal_begin(journal, &report, &error);
    if (r < 0) {
        char text[1024];
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
        goto done;
    }
    r = raw_open(raw_path, RAW_FILE_BYTES, RAW_WRITE_BYTES, uring, &raw);
    if (r < 0) {
        fail("open the raw file", r);
        goto done;
    }
    if (index == 0)
        print_header(output, journal);
    r = run_blocks(journal, raw, &sides, options->quick ? QUICK_BLOCKS : FULL_BLOCKS);
    if (r < 0)
        fail("measure", r);
    else
        print_rows(output, baton_journal_backend(journal), &sides);

done:
    raw_close(raw);
    int closed = baton_journal_close(journal);
    histograms_destroy(&sides);
    return r < 0 ? r : closed;
}

static int parse_backends(const char *text, bench_options *options)
{
    if (strcmp(text, "both") == 0) {
        options->backends[0] = BATON_BACKEND_URING;
        options->backends[1] = BATON_BACKEND_THREADS;
        options->backends_count = 2;
        return 0;
    }
    options->backends_count = 1;
    if (strcmp(text, "uring") == 0)
        options->backends[0] = BATON_BACKEND_URING;
    else if (strcmp(text, "threads") == 0)
        options->backends[0] = BATON_BACKEND_THREADS;
    else
        return -EINVAL;
    return 0;
}

static int parse_options(int argc, char **argv, bench_options *options)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},  {"quick", no_argument, NULL, 'q'},
        {"json", required_argument, NULL, 'j'}, {"io", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    parse_backends("both", options);
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'd')
            options->directory = optarg;
        else if (option == 'q')
            options->quick = true;
        else if (option == 'j')
            options->json = optarg;
        else if (option != 'i' || parse_backends(optarg, options) < 0)
            return -EINVAL;
    }
    return options->directory && optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    bench_options options = {0};
    if (parse_options(argc, argv, &options) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    bench_output output = {.human = stdout};
    if (options.json && strcmp(options.json, "-") == 0)
        output = (bench_output){.json = stdout};
    else if (options.json && !(output.json = fopen(options.json, "we"))) {
        fail(options.json, -errno);
        return 1;
    }

    int r = 0;
    for (uint32_t i = 0; i < options.backends_count && r == 0; i++)
        r = bench_backend(&options, &output, i);
    if (output.json && fflush(output.json) != 0 && r == 0)
        r = fail("write the rows", -errno);
    return r < 0 ? 1 : 0;
}
