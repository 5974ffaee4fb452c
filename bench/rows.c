#include "bench/rows.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef __OPTIMIZE__
static const char build[] = "release";
#else
static const char build[] = "debug";
#endif

static void cpu_name(char *name, size_t name_bytes)
{
    snprintf(name, name_bytes, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    char line[512];
    while (fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, name_bytes, "%s", colon + 2);
        break;
    }
    fclose(file);
}

static void print_json(FILE *file, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text)
        fprintf(file, "%s\n", text);
    free(text);
    json_decref(object);
}

void bench_print_header(const bench_output *output, const bench_header *header)
{
    struct utsname kernel;
    char cpu[256];
    if (uname(&kernel) < 0)
        memset(&kernel, 0, sizeof(kernel));
    cpu_name(cpu, sizeof(cpu));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    if (output->json)
        print_json(output->json,
                   json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "suite", header->suite,
                             "kernel", kernel.release, "cpu", cpu, "cpus", (json_int_t)cpus,
                             "device_write_cache", header->device_write_cache, "commit_primitive",
                             header->commit_primitive, "build", build));
    if (output->human) {
        fprintf(output->human, "suite %s on %s (%ld CPUs), kernel %s, device write cache: %s\n",
                header->suite, cpu, cpus, kernel.release, header->device_write_cache);
        fprintf(output->human, "commit primitive: %s; build: %s\n\n", header->commit_primitive,
                build);
        fprintf(output->human, "%-22s %-8s %-14s %15s %-24s %15s %7s\n", "case", "backend",
                "metric", "value", "reference", "its value", "ratio");
    }
}

/* ---- bars ---- */

/* What Baton is held to with io_uring. reference NULL: the value itself, else the ratio
 * against that; "peer": against each peer (anything that is neither raw nor a backend). */
static const struct {
    const char *bench_case;
    const char *metric;
    const char *backend;
    const char *reference;
    double bar;
} bars[] = {
    {"append_one_in_flight", "p50", "uring", "raw", 1.05},
    {"append_one_in_flight", "p99", "uring", "raw", 1.20},
    {"append_peak", "bytes_per_s", "uring", "raw", 0.85},
    {"append_peak", "cpu_ns_per_entry", "uring", NULL, 80},
    {"append_call", "instructions_per_entry", "uring", NULL, 250},
    {"append_peak", "bytes_per_s", "threads", "uring backend", 0.6},
    {"append_128_in_flight", "entries_per_s", "uring", "raw", 0.85},
    {"append_1024_in_flight", "entries_per_s", "uring", "raw", 0.85},
    {"append_128_in_flight", "entries_per_s", "uring", "peer", 7},
    {"append_1024_in_flight", "entries_per_s", "uring", "peer", 20},
    {"append_open_loop_10k", "p50", "uring", "raw", 1.3},
    {"append_open_loop_10k", "p99", "uring", "raw", 1.3},
    {"append_open_loop_100k", "p50", "uring", "raw", 1.3},
    {"append_open_loop_100k", "p99", "uring", "raw", 1.3},
    {"append_open_loop_1m", "p50", "uring", "raw", 1.3},
    {"append_open_loop_1m", "p99", "uring", "raw", 1.3},
    {"recover_scan", "bytes_per_s", "uring", "raw", 0.85},
    {"recover_scan_replay", "bytes_per_s", "uring", "raw", 0.85},
    {"tail_lag", "p50", "uring", "raw ping", 3},
    {"image_write", "bytes_per_s", "uring", "raw", 0.85},
    {"image_load", "bytes_per_s", "uring", "raw", 0.85},
    {"increment", "p50", "uring", NULL, 100},
    {"stall", "p99.9_added", "uring", NULL, 1},
    {"stall", "pause", "uring", NULL, 5},
    {"stall", "pause_over_copy", "uring", NULL, 1},
    {"memory", "beyond_state", "uring", "limit (5 % + 64 MiB)", 1},
    {"drain_final", "p50", "uring", NULL, 50},
    {"cold_start", "p50", "uring", "raw", 1.5},
    {"portable_write", "entries_per_s", "uring", "peer", 8},
    {"portable_load", "entries_per_s", "uring", "peer", 6},
    {"handover_gap", "p50", "uring", NULL, 2},
    {"handover_gap", "p99", "uring", NULL, 10},
    {"handover_gap", "max", "uring", NULL, 50},
    {"handover_gap_sizes", "p50", "uring", "the smallest", 1.5},
    {"cutover_orders", "p99_over_allowed", "uring", NULL, 1},
    {"follow_lag", "p99", "uring", NULL, 2},
    {"follow_cost", "entries_per_s", "uring", "without a standby", 0.95},
    {"warm_rollback", "max", "uring", NULL, 50},
    {"portable_rollback", "max", "uring", NULL, 3000},
    {"cold_start", "value", "uring", NULL, 3000},
    {"apply", "entries_per_s", NULL, NULL, 4e6},
    {"apply", "p99", NULL, NULL, 1000},
    {"durable", "entries_per_s", "uring", NULL, 1e6},
    {"whole_exchange_5k", "p50", "uring", "raw (3 bare processes)", 1.5},
    {"replay_hour", "entries_per_s", NULL, NULL, 3e6},
    {"orders", "lost", "uring", NULL, 0},
    {"orders", "doubled", "uring", NULL, 0},
    {"orders", "reordered", "uring", NULL, 0},
};

/* The bar's case, or that case at another size: its name, '_', digits, 'm' or 'g'. */
static bool case_fits(const char *bar, const char *bench_case)
{
    const size_t bytes = strlen(bar);
    if (strncmp(bar, bench_case, bytes) != 0)
        return false;
    const char *rest = bench_case + bytes;
    if (*rest == '\0')
        return true;
    const size_t digits = *rest == '_' ? strspn(rest + 1, "0123456789") : 0;
    return digits > 0 &&
           (strcmp(rest + 1 + digits, "m") == 0 || strcmp(rest + 1 + digits, "g") == 0);
}

static bool reference_fits(const char *bar, const char *reference)
{
    if (!bar || !reference)
        return bar == reference;
    if (strcmp(bar, "peer") == 0)
        return strncmp(reference, "raw", 3) != 0 && !strstr(reference, " backend");
    return strcmp(bar, reference) == 0;
}

/* NULL: what needs no disk. */
static bool backend_fits(const char *bar, const char *backend)
{
    return bar && backend ? strcmp(bar, backend) == 0 : bar == backend;
}

/* "" when there is no bar. */
static void verdict(const bench_row *row, double ratio, char *text, size_t text_bytes)
{
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
        if (!backend_fits(bars[i].backend, row->backend) ||
            !case_fits(bars[i].bench_case, row->bench_case) ||
            strcmp(bars[i].metric, row->metric) != 0 ||
            !reference_fits(bars[i].reference, row->reference))
            continue;
        double value = row->reference ? ratio : row->value;
        bool met = row->lower_is_better ? value <= bars[i].bar : value >= bars[i].bar;
        double miss = fabs(value / bars[i].bar - 1);
        bool inside = row->spread > 0 && miss <= fabs(row->spread - 1);
        snprintf(text, text_bytes, "  %s (bar: %s %g)",
                 met      ? "met"
                 : inside ? "inconclusive: inside the spread of raw"
                          : "MISSED",
                 row->lower_is_better ? "at most" : "at least", bars[i].bar);
    }
}

void bench_note(const bench_output *output, const char *format, ...)
{
    if (!output->human)
        return;
    va_list arguments;
    va_start(arguments, format);
    fputs("  ", output->human);
    vfprintf(output->human, format, arguments);
    fputs("\n", output->human);
    va_end(arguments);
}

/* Bytes and entries in millions: the table stays narrow. */
static double for_people(const bench_row *row, double value, const char **ret_unit)
{
    bool bytes = strcmp(row->unit, "B/s") == 0;
    bool count = strcmp(row->unit, "1/s") == 0;
    bool size = strcmp(row->unit, "B") == 0;
    *ret_unit = bytes ? "MB/s" : count ? "k/s" : size ? "MiB" : row->unit;
    return bytes ? value / 1e6 : count ? value / 1e3 : size ? value / 1048576 : value;
}

static void print_for_people(FILE *file, const bench_row *row, bool has_ratio, double ratio)
{
    const char *unit;
    char judged[128];
    bool of_itself = row->reference && strcmp(row->reference, "raw again") == 0;
    double value = for_people(row, row->value, &unit);
    fprintf(file, "%-22s %-8s %-14s %10.1f %-4s", of_itself ? "  (raw itself)" : row->bench_case,
            row->backend ? row->backend : "-", row->metric, value, unit);
    if (has_ratio)
        fprintf(file, " %-24s %10.1f %-4s %7.3f", row->reference,
                for_people(row, row->reference_value, &unit), unit, ratio);
    verdict(row, ratio, judged, sizeof(judged));
    fprintf(file, "%s\n", judged);
    fflush(file);
}

void bench_print_row(const bench_output *output, const bench_row *row)
{
    bool has_ratio = row->reference && row->reference_value > 0;
    double ratio = has_ratio ? row->value / row->reference_value : 0;

    if (output->json)
        print_json(output->json,
                   json_pack("{s:s, s:s, s:s?, s:s, s:s, s:f, s:s, s:s?, s:o, s:o}", "suite",
                             row->suite, "case", row->bench_case, "backend", row->backend, "metric",
                             row->metric, "unit", row->unit, "value", row->value, "better",
                             row->lower_is_better ? "lower" : "higher", "reference", row->reference,
                             "reference_value",
                             row->reference ? json_real(row->reference_value) : json_null(),
                             "ratio", has_ratio ? json_real(ratio) : json_null()));
    if (output->human)
        print_for_people(output->human, row, has_ratio, ratio);
}
