/* Cases `stall`, `stall_fork`, `memory`: what taking an image does to a loop of updates, beside the
 * same loop without one in the same run; and what it needs beyond the state. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/region.h"

#define ALONE_NS (UINT64_C(2) * 1000000000)

/* ---- the loop, alone and with an image ---- */

static bool until(void *context, uint64_t now_ns)
{
    return now_ns < *(const uint64_t *)context;
}

static void alone(const snap_run *run, baton_histogram *latency)
{
    uint64_t end_ns = (uint64_t)bench_now_ns() + (run->options->smoke ? ALONE_NS / 10 : ALONE_NS);
    region_update(run->region, until, &end_ns, latency);
}

static bool until_published(void *context, uint64_t now_ns)
{
    (void)now_ns;
    return !region_step(context);
}

/* ---- stall, stall_fork ---- */

/* What the processor needs for as many pages scattered over the region, gathered as the pause gathers
 * them: the median of several times, each of other pages. */
static double copy_ms(snap_region *region, uint32_t pages)
{
    enum { TIMES = 5, PAGES_MIN = 1024 };
    const uint32_t count = pages < PAGES_MIN ? PAGES_MIN : pages;
    const uint32_t stride = region->pages / count > 0 ? region->pages / count : 1;
    double taken_ms[TIMES];
    uint8_t *staging = malloc((size_t)count * REGION_PAGE_BYTES);
    if (staging == NULL)
        snap_die("measure copying", -ENOMEM, NULL);
    memset(staging, 1, (size_t)count * REGION_PAGE_BYTES);
    for (uint32_t time = 0; time < TIMES; time++) {
        const int64_t begun_ns = bench_now_ns();
        for (uint64_t i = 0; i < count; i++)
            memcpy(staging + i * REGION_PAGE_BYTES,
                   region->base + (i * stride + time) % region->pages * REGION_PAGE_BYTES,
                   REGION_PAGE_BYTES);
        __asm__ volatile("" : : "r"(staging) : "memory");
        taken_ms[time] = (double)(bench_now_ns() - begun_ns) / 1e6;
    }
    free(staging);
    return snap_median(taken_ms, TIMES) * pages / count;
}

static void tell_result(const snap_run *run, const char *name, const baton_image_result *result)
{
    char rounds[256];
    size_t used = 0;
    rounds[0] = '\0';
    for (uint32_t i = 0; i < result->rounds && used < sizeof(rounds) - 16; i++)
        used +=
            (size_t)snprintf(rounds + used, sizeof(rounds) - used, " %u", result->round_pages[i]);
    bench_note(run->output,
               "%s: pause %.2f ms (asking %.2f; %u pages by the writer; %u retreats), taken in "
               "%.2f s%s; pages:%s",
               name, (double)result->pause_ns / 1e6, (double)result->pause_scan_ns / 1e6,
               result->helped_pages, result->retreats, (double)result->taken_ns / 1e9,
               result->overflowed ? ", overflowed" : "", rounds);
}

static void print_pauses(const snap_run *run, const char *name, double *pause_ms, double *over_ms,
                         int rounds)
{
    bench_row row = {.bench_case = name, .unit = "ms", .lower_is_better = true};
    (void)snap_median(pause_ms, rounds); /* sorts */
    row.metric = "pause";
    row.value = pause_ms[rounds - 1]; /* the worst */
    snap_print(run, &row, 0);
    (void)snap_median(over_ms, rounds);
    row.metric = "pause_over_copy";
    row.value = over_ms[rounds - 1];
    snap_print(run, &row, 0);
}

static void print_latencies(const snap_run *run, const char *name, const bench_sides *sides)
{
    static const struct {
        const char *metric;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        const double fraction = quantiles[i].fraction;
        const double with_us = (double)baton_histogram_quantile(sides->baton, fraction) / 1e3;
        const double raw_us = (double)baton_histogram_quantile(sides->raw, fraction) / 1e3;
        const double again_us = (double)baton_histogram_quantile(sides->raw_again, fraction) / 1e3;
        const bench_row row = {.bench_case = name,
                               .metric = quantiles[i].metric,
                               .unit = "us",
                               .lower_is_better = true,
                               .value = with_us,
                               .reference = "raw loop",
                               .reference_value = raw_us};
        snap_print(run, &row, again_us);
        if (strcmp(quantiles[i].metric, "p99.9") != 0)
            continue;
        const double apart_us = raw_us > again_us ? raw_us - again_us : again_us - raw_us;
        snap_print(run,
                   &(bench_row){.bench_case = name,
                                .metric = "p99.9_added",
                                .unit = "ms",
                                .lower_is_better = true,
                                .value = (with_us - raw_us) / 1e3,
                                .spread = 1 + apart_us / 1e3}, /* of a bar of 1 ms */
                   0);
    }
}

static void stall(const snap_run *run, const char *name, baton_image_choice choice)
{
    const int rounds = snap_rounds(run, 2, 4);
    double pause_ms[SNAP_ROUNDS];
    double over_ms[SNAP_ROUNDS];
    bench_sides sides;
    int r = bench_sides_create(&sides);
    if (r < 0)
        snap_die("make histograms", r, NULL);
    for (int round = 0; round < rounds; round++) {
        region_taking taking;
        alone(run, snap_first(round) ? sides.raw_again : sides.raw);
        region_begin(run->region, true, choice, &taking);
        region_update(run->region, until_published, &taking, sides.baton);
        alone(run, snap_first(round) ? sides.raw : sides.raw_again);
        tell_result(run, name, &taking.result);
        pause_ms[round] = (double)taking.result.pause_ns / 1e6;
        over_ms[round] = pause_ms[round] - copy_ms(run->region, taking.result.residual_pages);
        region_remove_newest(run->region);
        bench_progress(round + 1, rounds);
    }
    print_latencies(run, name, &sides);
    print_pauses(run, name, pause_ms, over_ms, rounds);
    bench_sides_destroy(&sides);
}

void snap_case_stall(const snap_run *run)
{
    stall(run, "stall", BATON_IMAGE_AUTO);
}

void snap_case_stall_fork(const snap_run *run)
{
    stall(run, "stall_fork", BATON_IMAGE_FORK);
}

/* ---- memory ---- */

typedef struct {
    uint64_t state_bytes;
    uint64_t beyond_bytes;
} memory_report;

/* Of /proc/self/status, in bytes. */
static uint64_t status_bytes(const char *name)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        snap_die("/proc/self/status", 0, NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            (void)sscanf(line + strlen(name), ": %llu", &kib);
    fclose(file);
    return (uint64_t)kib * 1024;
}

/* VmHWM begins again from now. */
static void forget_peak(void)
{
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "5", 1) != 1)
        snap_die("/proc/self/clear_refs", 0, NULL);
    close(fd);
}

/* A process of its own: nothing that was kept for reuse makes room for what is measured. Page tables
 * count: tracking splits huge pages. */
void snap_child_memory(const snap_run *run)
{
    snap_region region;
    region_taking taking;
    region_open(run, "memory", &region);
    forget_peak();
    const uint64_t before = status_bytes("VmRSS") + status_bytes("VmPTE");
    region_begin(&region, true, BATON_IMAGE_AUTO, &taking);
    region_update(&region, until_published, &taking, NULL);
    const uint64_t peak = status_bytes("VmHWM") + status_bytes("VmPTE");
    const memory_report report = {.state_bytes = region.bytes,
                                  .beyond_bytes = peak > before ? peak - before : 0};
    region_close(&region);
    snap_tell(&report, sizeof(report));
}

void snap_case_memory(const snap_run *run)
{
    memory_report report;
    int fd = -1;
    const pid_t pid = snap_spawn(run, "memory", run->options->directory, 0, &fd);
    snap_hear(fd, &report, sizeof(report));
    snap_join(pid, fd);
    bench_row row = {.bench_case = "memory",
                     .metric = "beyond_state",
                     .unit = "B",
                     .lower_is_better = true,
                     .value = (double)report.beyond_bytes,
                     .reference = "limit (5 % + 64 MiB)",
                     .reference_value = (double)report.state_bytes / 20 + 64 * (double)BENCH_MIB};
    snap_print(run, &row, 0);
    row.reference = "state";
    row.reference_value = (double)report.state_bytes;
    snap_print(run, &row, 0);
}
