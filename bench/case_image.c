/* Cases `image_write`, `image_load`, `increment`: images beside sequential direct I/O of the same
 * bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/image_raw.h"
#include "bench/region.h"
#include "snapshot/image_load.h"

typedef struct {
    double ours;
    double raw[2]; /* the same work twice: before ours in one round, after it in the next */
    double filled;
} sums;

static image_raw raw_job(const snap_run *run, const char *path, uint64_t bytes)
{
    return (image_raw){.path = path, .bytes = bytes, .threads = run->io == BATON_IO_THREADS};
}

static void print_rate(const snap_run *run, const char *name, double bytes, const sums *all)
{
    const double per_s = bytes * 1e9;
    bench_row row = {.bench_case = name,
                     .metric = "bytes_per_s",
                     .unit = "B/s",
                     .value = per_s / all->ours,
                     .reference = "raw",
                     .reference_value = per_s / all->raw[0]};
    snap_print(run, &row, per_s / all->raw[1]);
    if (all->filled <= 0)
        return;
    row.reference = "raw filled";
    row.reference_value = per_s / all->filled;
    snap_print(run, &row, 0);
}

/* ---- image_write ---- */

void snap_case_write(const snap_run *run)
{
    snap_region *region = run->region;
    const int rounds = snap_rounds(run, 2, 4);
    char path[BENCH_PATH_BYTES + 8];
    sums all = {0};
    snprintf(path, sizeof(path), "%s/raw", region->directory);
    image_raw job = raw_job(run, path, region->bytes);
    job.memory = region->base;
    job.memory_bytes = region->bytes;
    for (int round = 0; round < rounds; round++) {
        all.raw[snap_first(round)] += (double)image_raw_write(&job);
        const int64_t begun_ns = bench_now_ns();
        region_take(region, true);
        all.ours += (double)(bench_now_ns() - begun_ns);
        region_remove_newest(region);
        all.raw[!snap_first(round)] += (double)image_raw_write(&job);
        bench_progress(round + 1, rounds);
    }
    remove(path);
    print_rate(run, "image_write", (double)region->bytes * rounds, &all);
}

/* ---- image_load ---- */

static void load(const snap_run *run, const baton_snapshot_listed *listed)
{
    baton_error error;
    uint64_t bytes = 0;
    const baton_image_load_options options = {.directory = run->region->directory,
                                              .base = run->region->base,
                                              .bytes_max = run->region->bytes,
                                              .io = {.choice = run->io}};
    int r = baton_image_load(&options, listed, &bytes, &error);
    if (r < 0)
        snap_die("load an image", r, &error);
}

static void load_round(const snap_run *run, const baton_snapshot_listed *listed, int round,
                       sums *all, double *cpu_ns)
{
    snap_region *region = run->region;
    char path[BENCH_PATH_BYTES + 64];
    snprintf(path, sizeof(path), "%s/%016llx-%016x.chunks", region->directory,
             (unsigned long long)region->seq, 1);
    const image_raw job = raw_job(run, path, listed->info.stored_bytes);
    image_raw filled = job;
    filled.memory = region->base;
    filled.memory_bytes = region->bytes;

    all->raw[snap_first(round)] += (double)image_raw_read(&job);
    madvise(region->base, region->bytes, MADV_DONTNEED);
    if (filled.bytes > region->bytes)
        filled.bytes = region->bytes;
    all->filled += (double)image_raw_read(&filled);
    madvise(region->base, region->bytes, MADV_DONTNEED); /* as after a start */
    const int64_t begun_ns = bench_now_ns();
    const int64_t begun_cpu_ns = bench_cpu_ns();
    load(run, listed);
    all->ours += (double)(bench_now_ns() - begun_ns);
    *cpu_ns += (double)(bench_cpu_ns() - begun_cpu_ns);
    all->raw[!snap_first(round)] += (double)image_raw_read(&job);
}

void snap_case_load(const snap_run *run)
{
    snap_region *region = run->region;
    const int rounds = snap_rounds(run, 2, 4);
    baton_snapshot_listed *list = NULL;
    baton_error error;
    uint32_t count = 0;
    double cpu_ns = 0;
    sums all = {0};
    region_take(region, true);
    int r = baton_snapshot_list(region->directory, &list, &count, &error);
    if (r < 0 || count == 0)
        snap_die("list the images", r, r < 0 ? &error : NULL);
    region_forget(region);
    for (int round = 0; round < rounds; round++) {
        load_round(run, &list[0], round, &all, &cpu_ns);
        bench_progress(round + 1, rounds);
    }
    print_rate(run, "image_load", (double)list[0].info.stored_bytes * rounds, &all);
    snap_print(run,
               &(bench_row){.bench_case = "image_load",
                            .metric = "cpu",
                            .unit = "s",
                            .lower_is_better = true,
                            .value = cpu_ns / rounds / 1e9},
               0);
    free(list);
    region_remove_newest(region);
    region_watch(region);
}

/* ---- increment ---- */

static void dirty_one_percent(snap_region *region)
{
    for (uint32_t i = 0; i < region->pages / 100; i++)
        region_random_page(region)[64]++;
}

void snap_case_increment(const snap_run *run)
{
    snap_region *region = run->region;
    const int rounds = snap_rounds(run, 3, SNAP_ROUNDS);
    char path[BENCH_PATH_BYTES + 8];
    double ours_ms[SNAP_ROUNDS];
    double raw_ms[2][SNAP_ROUNDS];
    snprintf(path, sizeof(path), "%s/raw", region->directory);
    region_take(region, true);
    const uint64_t full = region->seq;
    for (int round = 0; round < rounds; round++) {
        image_raw job = raw_job(run, path, region->pages / 100 * REGION_PAGE_BYTES);
        job.memory = region->base;
        job.memory_bytes = region->bytes;
        raw_ms[snap_first(round)][round] = (double)image_raw_write(&job) / 1e6;
        dirty_one_percent(region);
        const int64_t begun_ns = bench_now_ns();
        region_take(region, false);
        ours_ms[round] = (double)(bench_now_ns() - begun_ns) / 1e6;
        raw_ms[!snap_first(round)][round] = (double)image_raw_write(&job) / 1e6;
        bench_progress(round + 1, rounds);
    }
    remove(path);
    for (; region->seq >= full; region->seq--)
        region_remove_newest(region);
    region->seq = full + (uint64_t)rounds;
    bench_row row = {.bench_case = "increment",
                     .metric = "p50",
                     .unit = "ms",
                     .lower_is_better = true,
                     .value = snap_median(ours_ms, rounds)};
    snap_print(run, &row, 0); /* the bar is absolute */
    row.reference = "raw";
    row.reference_value = snap_median(raw_ms[0], rounds);
    snap_print(run, &row, snap_median(raw_ms[1], rounds));
}
