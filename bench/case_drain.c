/* Case `drain_final`: a service under load is told to end: from the signal's send until the last of
 * its pages are durable and the manifest has its name. With an image that was begun before and is kept
 * ready, and (`drain_final_cold`) with nothing prepared. Beside it the same bytes, written raw. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/image_raw.h"
#include "bench/region.h"

#define BEFORE_NS_MAX UINT64_C(300000000) /* of serving between ready and the signal */
#define WARM_NS       UINT64_C(300000000) /* of serving before a cold one says that it is ready */
#define RAW_BYTES_MAX (64 * BENCH_MIB)

typedef struct {
    int64_t published_ns;
    uint64_t last_bytes; /* written since it was ready last before the signal */
    uint64_t pause_ns;
} drain_report;

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

/* ---- the service ---- */

typedef struct {
    region_taking *taking; /* NULL: none was begun */
    uint64_t ready_at_ns;  /* cold: when to say so */
    bool told;
} serving;

static bool until_ended(void *context, uint64_t now_ns)
{
    serving *self = context;
    const char ready = 1;
    bool is_ready = now_ns >= self->ready_at_ns;
    if (self->taking != NULL) {
        (void)region_step(self->taking); /* held: it does not end */
        is_ready = self->taking->ready;
    }
    if (is_ready && !self->told) {
        snap_tell(&ready, 1);
        self->told = true;
    }
    return ended == 0;
}

static void serve(const snap_run *run, bool kept_ready)
{
    snap_region region;
    region_taking taking = {0};
    region_open(run, "drain", &region);
    if (signal(SIGTERM, end) == SIG_ERR)
        snap_die("signal", 0, NULL);
    serving self = {.ready_at_ns = (uint64_t)bench_now_ns() + WARM_NS};
    if (kept_ready) {
        region_begin(&region, true, BATON_IMAGE_AUTO, &taking);
        taking.hold = true;
        self.taking = &taking;
    }
    region_update(&region, until_ended, &self, NULL);
    if (!kept_ready)
        region_begin(&region, true, BATON_IMAGE_AUTO, &taking);
    taking.hold = false;
    region_finish(&taking);
    const baton_image_result *result = &taking.result;
    const drain_report report = {.published_ns = bench_now_ns(),
                                 .last_bytes =
                                     (result->pages - taking.ready_pages) * REGION_PAGE_BYTES,
                                 .pause_ns = result->pause_ns};
    region_close(&region);
    snap_tell(&report, sizeof(report));
}

void snap_child_drain_ready(const snap_run *run)
{
    serve(run, true);
}

void snap_child_drain_cold(const snap_run *run)
{
    serve(run, false);
}

/* ---- who tells it to end ---- */

/* As many bytes, written raw. */
static double raw_ms(const snap_run *run, uint8_t *memory, uint64_t bytes)
{
    char path[BENCH_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/drain-raw", run->options->directory);
    const image_raw job = {.path = path,
                           .bytes = bytes,
                           .threads = run->io == BATON_IO_THREADS,
                           .memory = memory,
                           .memory_bytes = RAW_BYTES_MAX};
    const double taken_ms = (double)image_raw_write(&job) / 1e6;
    remove(path);
    return taken_ms;
}

static double drain_once(const snap_run *run, const char *child, int round, drain_report *ret)
{
    int fd = -1;
    char ready;
    const pid_t pid = snap_spawn(run, child, run->options->directory, 0, &fd);
    snap_hear(fd, &ready, 1);
    /* Anywhere between two of the image's own rounds, the same in each run. */
    const struct timespec before = {
        .tv_nsec = (long)((uint64_t)(round + 1) * UINT64_C(97000003) % BEFORE_NS_MAX)};
    nanosleep(&before, NULL);
    const int64_t sent_ns = bench_now_ns();
    if (kill(pid, SIGTERM) < 0)
        snap_die("tell the service to end", 0, NULL);
    snap_hear(fd, ret, sizeof(*ret));
    snap_join(pid, fd);
    return (double)(ret->published_ns - sent_ns) / 1e6;
}

static void drain(const snap_run *run, const char *name, const char *child, uint8_t *memory)
{
    const int rounds = snap_rounds(run, 2, 5);
    double ours[SNAP_ROUNDS];
    double raw[2][SNAP_ROUNDS];
    for (int round = 0; round < rounds; round++) {
        drain_report report;
        ours[round] = drain_once(run, child, round, &report);
        for (int i = 0; i < 2; i++)
            raw[i ^ snap_first(round)][round] = raw_ms(run, memory, report.last_bytes);
        bench_note(run->output, "%s: %.1f ms; last %.1f MiB; pause %.2f ms", name, ours[round],
                   (double)report.last_bytes / (double)BENCH_MIB, (double)report.pause_ns / 1e6);
        bench_progress(round + 1, rounds);
    }
    bench_row row = {.bench_case = name,
                     .metric = "p50",
                     .unit = "ms",
                     .lower_is_better = true,
                     .value = snap_median(ours, rounds)};
    snap_print(run, &row, 0); /* the bar is absolute */
    row.reference = "raw";
    row.reference_value = snap_median(raw[0], rounds);
    snap_print(run, &row, snap_median(raw[1], rounds));
    row.metric = "max";
    row.value = ours[rounds - 1];
    row.reference = NULL;
    row.reference_value = 0;
    snap_print(run, &row, 0);
}

void snap_case_drain(const snap_run *run)
{
    uint8_t *memory = aligned_alloc(2 * BENCH_MIB, RAW_BYTES_MAX);
    if (memory == NULL)
        snap_die("memory", 0, NULL);
    for (uint64_t i = 0; i < RAW_BYTES_MAX; i++)
        memory[i] = (uint8_t)(i * 131 + i / 4096);
    drain(run, "drain_final", "drain-ready", memory);
    drain(run, "drain_final_cold", "drain-cold", memory);
    free(memory);
}
