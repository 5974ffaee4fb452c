#include "bench/common.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "journal/journal_private.h"

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
           (int64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

int bench_fail(const char *what, int status)
{
    fprintf(stderr, "baton: %s: %s: see --help\n", what, baton_status_text(status));
    return status;
}

void bench_progress(int done, int all)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (done < all)
        fprintf(stderr, "\r%3d %%", 100 * done / all);
    else
        fprintf(stderr, "\r     \r");
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void bench_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int bench_check_empty(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return bench_fail(path, -errno);
    int entries = 0;
    while (readdir(directory) != NULL)
        entries++;
    closedir(directory);
    if (entries <= 2)
        return 0;
    fprintf(stderr,
            "baton: --dir %s: not empty: choose an empty directory, or make a new one in it\n",
            path);
    return -ENOTEMPTY;
}

/* ---- a journal ---- */

int bench_journal_open(const bench_run *run, const char *name, const baton_journal_options *options,
                       bench_journal *ret_journal)
{
    baton_journal_options all = options ? *options : (baton_journal_options){0};
    baton_recovery_report report;
    baton_error error = {0};

    *ret_journal = (bench_journal){0};
    snprintf(ret_journal->path, sizeof(ret_journal->path), "%s/%s-%s", run->options->directory,
             name, run->backend_name);
    int r = baton_metrics_create(&ret_journal->metrics);
    if (r < 0)
        return bench_fail("measure", r);
    all.metrics = ret_journal->metrics;
    all.backend = run->backend;
    r = baton_journal_open(ret_journal->path, &all, &ret_journal->journal, &report, &error);
    if (r == 0)
        r = baton_journal_begin(ret_journal->journal, &report, &error);
    if (r < 0) {
        char text[1024];
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
        (void)bench_journal_close(ret_journal);
    }
    return r;
}

int bench_journal_close(bench_journal *journal)
{
    int r = baton_journal_close(journal->journal);
    baton_metrics_destroy(journal->metrics);
    if (journal->path[0])
        bench_remove_tree(journal->path);
    *journal = (bench_journal){0};
    return r;
}

uint64_t bench_journal_count(const bench_journal *journal, const char *name)
{
    char *text = NULL;
    size_t bytes;
    size_t name_bytes = strlen(name);
    uint64_t value = 0;
    if (baton_metrics_print(journal->metrics, &text, &bytes) < 0)
        return 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_bytes) == 0 && line[name_bytes] == ' ')
            value = (uint64_t)strtod(line + name_bytes, NULL);
    }
    free(text);
    return value;
}

/* The two looks into the writer: nothing public says when a segment is ready, or sleeps until it is
 * without the fd, whose signals are not free. */
int bench_journal_settle(bench_journal *journal)
{
    int r = baton_journal_flush(journal->journal);
    int64_t end_ns = bench_now_ns() + (int64_t)BENCH_WAIT_NS;
    while (r == 0 &&
           !(journal->journal->next && journal->journal->next->state == SEGMENT_PREPARED)) {
        r = baton_journal_poll(journal->journal);
        if (r == 0)
            r = journal_wait_io(journal->journal, JOURNAL_MILLISECOND_NS);
        if (r == 0 && bench_now_ns() > end_ns)
            r = BATON_E_TIMEOUT;
    }
    return r;
}

int bench_wait_for_room(baton_journal *journal)
{
    uint64_t durable = baton_journal_durable_seq(journal);
    if (durable < baton_journal_last_seq(journal))
        return baton_journal_wait(journal, durable + 1, BENCH_WAIT_NS);
    int r = baton_journal_poll(journal);
    return r == 0 ? journal_wait_io(journal, JOURNAL_MILLISECOND_NS) : r;
}

int bench_append(baton_journal *journal)
{
    static const unsigned char payload[BENCH_ENTRY_BYTES] = {1};
    return baton_journal_append(journal, 1, payload, sizeof(payload), NULL);
}

int bench_raw_open(const bench_run *run, const char *name, raw_options options,
                   raw_device **ret_raw)
{
    char path[BENCH_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/raw-%s-%s", run->options->directory, name, run->backend_name);
    options.path = path;
    options.threads = run->backend == BATON_BACKEND_THREADS;
    int r = raw_open(&options, ret_raw);
    return r < 0 ? bench_fail("open the raw file", r) : 0;
}

/* ---- rows ---- */

void bench_compare(const bench_run *run, const bench_comparison *comparison)
{
    bench_row row = {.suite = BENCH_SUITE,
                     .bench_case = comparison->bench_case,
                     .backend = run->backend_name,
                     .metric = comparison->metric,
                     .unit = comparison->unit,
                     .value = comparison->value,
                     .lower_is_better = comparison->lower_is_better,
                     .reference = comparison->reference ? comparison->reference : "raw",
                     .reference_value = comparison->raw};
    if (comparison->raw_again > 0)
        row.spread = comparison->raw / comparison->raw_again;
    bench_print_row(run->output, &row);
    if (comparison->raw_again <= 0)
        return;
    row.value = comparison->raw;
    row.reference = "raw again";
    row.reference_value = comparison->raw_again;
    bench_print_row(run->output, &row);
}

void bench_plain(const bench_run *run, const char *bench_case, const char *metric, const char *unit,
                 double value)
{
    bench_row row = {.suite = BENCH_SUITE,
                     .bench_case = bench_case,
                     .backend = run->backend_name,
                     .metric = metric,
                     .unit = unit,
                     .value = value,
                     .lower_is_better = true};
    bench_print_row(run->output, &row);
}

/* ---- latencies ---- */

int bench_sides_create(bench_sides *sides)
{
    *sides = (bench_sides){0};
    int r = baton_histogram_create(&sides->baton);
    if (r == 0)
        r = baton_histogram_create(&sides->raw);
    if (r == 0)
        r = baton_histogram_create(&sides->raw_again);
    return r;
}

void bench_sides_destroy(bench_sides *sides)
{
    baton_histogram_destroy(sides->baton);
    baton_histogram_destroy(sides->raw);
    baton_histogram_destroy(sides->raw_again);
}

static double microseconds(const baton_histogram *histogram, double fraction)
{
    return (double)baton_histogram_quantile(histogram, fraction) / 1000;
}

void bench_curve(const bench_run *run, const char *bench_case, const char *side,
                 const baton_histogram *histogram)
{
    static const double fractions[] = {0,     0.1,   0.2,    0.3,    0.4,     0.5,     0.6,
                                       0.7,   0.8,   0.9,    0.95,   0.98,    0.99,    0.995,
                                       0.998, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 1.0};
    if (!run->curves || baton_histogram_count(histogram) == 0)
        return;
    fprintf(run->curves,
            "{\"curve\":\"latency\",\"case\":\"%s\",\"backend\":\"%s\",\"side\":\"%s\","
            "\"count\":%llu,\"points\":[",
            bench_case, run->backend_name, side,
            (unsigned long long)baton_histogram_count(histogram));
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++)
        fprintf(run->curves, "%s[%.5f,%.3f]", i ? "," : "", fractions[i],
                microseconds(histogram, fractions[i]));
    fprintf(run->curves, "]}\n");
}

void bench_compare_latencies(const bench_run *run, const char *bench_case, const char *reference,
                             const bench_sides *sides)
{
    static const struct {
        const char *metric;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double fraction = quantiles[i].fraction;
        bench_comparison comparison = {.bench_case = bench_case,
                                       .metric = quantiles[i].metric,
                                       .unit = "us",
                                       .reference = reference,
                                       .lower_is_better = true,
                                       .value = microseconds(sides->baton, fraction),
                                       .raw = microseconds(sides->raw, fraction),
                                       .raw_again = microseconds(sides->raw_again, fraction)};
        bench_compare(run, &comparison);
    }
    bench_curve(run, bench_case, "baton", sides->baton);
    bench_curve(run, bench_case, reference ? reference : "raw", sides->raw);
}
