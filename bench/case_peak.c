/* bench/case_peak.c: flat out. How many durable bytes a second, beside the raw device at its own
 * best write size and depth, which a sweep finds first; and what an entry costs the processor. */
#include <string.h>

#include "bench/common.h"

enum {
    TURN_ENTRIES = 4096, /* appended between two turns: about what a whole batch takes */
    QUICK_BLOCKS = 5,
    FULL_BLOCKS = 14,
    SIZES = 5,
    DEPTHS = 4,
};
#define SWEEP_BYTES (48 * BENCH_MIB)

static const uint32_t sizes[SIZES] = {64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20};
static const uint32_t depths[DEPTHS] = {1, 2, 4, 8};

static uint64_t block_bytes(const bench_run *run)
{
    return (run->options->smoke ? 8 : 64) * BENCH_MIB;
}

/* ---- the two sides ---- */

static int raw_stream(raw_device *raw, uint32_t write_bytes, uint32_t depth, uint64_t all_bytes,
                      bench_total *total)
{
    uint64_t left = all_bytes / write_bytes;
    uint64_t tag;
    int r = 0;
    int64_t begin_ns = bench_now_ns();
    while (r >= 0 && (left > 0 || raw_in_flight(raw) > 0)) {
        for (; r >= 0 && left > 0 && raw_in_flight(raw) < depth; left--)
            r = raw_submit(raw, write_bytes, 0);
        if (r >= 0)
            r = raw_turn(raw, UINT64_MAX);
        while (r >= 0 && (r = raw_reap(raw, &tag)) == 1)
            ;
    }
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)(all_bytes / write_bytes * write_bytes);
    return r < 0 ? r : 0;
}

static int journal_stream(baton_journal *journal, uint64_t entries, bench_total *total)
{
    int64_t begin_ns = bench_now_ns();
    int r = 0;
    for (uint64_t done = 0; done < entries && r == 0;) {
        uint32_t turn = 0;
        while (turn < TURN_ENTRIES && done < entries && (r = bench_append(journal)) == 0) {
            turn++;
            done++;
        }
        if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
            r = bench_wait_for_room(journal);
        else if (r == 0)
            r = baton_journal_poll(journal);
    }
    if (r == 0)
        r = baton_journal_wait(journal, baton_journal_last_seq(journal), BENCH_WAIT_NS);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)entries;
    return r;
}

int bench_count_entries(const bench_run *run, uint64_t entries)
{
    bench_journal journal;
    baton_journal_options options = {.segment_bytes = 128 * BENCH_MIB,
                                     .first_segment_bytes = 128 * BENCH_MIB};
    int r = bench_journal_open(run, "count", &options, &journal);
    if (r < 0)
        return r;
    /* Whole batches, for the slow processor that callgrind is would otherwise never fill one; and
     * committed by the wait, so that an append's own count holds no batch's digest. */
    const uint64_t batch_entries = bench_batch_entries(BENCH_BATCH_BYTES_MAX);
    for (uint64_t done = 1; done <= entries && r == 0; done++) {
        r = bench_append(journal.journal);
        if (r == 0 && done % batch_entries == 0)
            r = baton_journal_wait(journal.journal, done, BENCH_WAIT_NS);
    }
    if (r == 0)
        r = baton_journal_flush(journal.journal);
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

/* ---- the sweep ---- */

typedef struct {
    uint32_t write_bytes;
    uint32_t depth;
    double bytes_per_s;
} raw_best;

static void throughput_point(const bench_run *run, const char *side, uint32_t write_bytes,
                             uint32_t depth, double bytes_per_s)
{
    if (run->curves)
        fprintf(run->curves,
                "{\"curve\":\"throughput\",\"backend\":\"%s\",\"side\":\"%s\","
                "\"write_bytes\":%u,\"depth\":%u,\"bytes_per_s\":%.0f}\n",
                run->backend_name, side, write_bytes, depth, bytes_per_s);
}

static int raw_sweep(const bench_run *run, raw_device *raw, raw_best *ret_best)
{
    bench_total totals[SIZES][DEPTHS] = {0};
    int rounds = run->options->quick ? 1 : 3;
    *ret_best = (raw_best){0};
    for (int round = 0; round < rounds; round++)
        for (uint32_t s = 0; s < SIZES; s++)
            for (uint32_t d = 0; d < DEPTHS; d++) {
                int r = raw_stream(raw, sizes[s], depths[d],
                                   run->options->smoke   ? 2 * BENCH_MIB
                                   : run->options->quick ? SWEEP_BYTES / 3
                                                         : SWEEP_BYTES,
                                   &totals[s][d]);
                if (r < 0)
                    return r;
            }
    for (uint32_t s = 0; s < SIZES; s++)
        for (uint32_t d = 0; d < DEPTHS; d++) {
            double rate = bench_rate(totals[s][d]);
            throughput_point(run, "raw", sizes[s], depths[d], rate);
            if (rate > ret_best->bytes_per_s)
                *ret_best =
                    (raw_best){.write_bytes = sizes[s], .depth = depths[d], .bytes_per_s = rate};
        }
    return 0;
}

/* The journal over the same sizes and depths, for the drawing: 128 KiB is its smallest limit. */
static int journal_sweep(const bench_run *run)
{
    for (uint32_t s = 1; s < SIZES; s++)
        for (uint32_t d = 0; d < DEPTHS; d++) {
            bench_journal journal;
            bench_total total = {0};
            baton_journal_options options = {.batch_bytes_max = sizes[s],
                                             .batches_in_flight_max = depths[d],
                                             .segment_bytes = 96 * BENCH_MIB,
                                             .first_segment_bytes = 96 * BENCH_MIB};
            int r = bench_journal_open(run, "sweep", &options, &journal);
            if (r < 0)
                return r;
            r = bench_journal_settle(&journal);
            if (r == 0)
                r = journal_stream(journal.journal, SWEEP_BYTES / BENCH_FRAME_BYTES, &total);
            int closed = bench_journal_close(&journal);
            if (r < 0 || closed < 0)
                return r < 0 ? r : closed;
            throughput_point(run, "baton", sizes[s], depths[d],
                             bench_rate(total) * BENCH_FRAME_BYTES);
        }
    return 0;
}

/* ---- the blocks ---- */

typedef struct {
    bench_total entries;
    bench_total raw;
    bench_total raw_again;
    double cpu_ns;
    double bytes;
} peak_totals;

static int run_blocks(const bench_run *run, bench_journal *journal, raw_device *raw, raw_best best,
                      peak_totals *totals)
{
    int blocks = bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS);
    for (int block = -1; block < blocks; block++) {
        peak_totals warm_up = {0};
        peak_totals *sums = block < 0 ? &warm_up : totals;
        bool swap = block % 2 != 0;
        int r = raw_stream(raw, best.write_bytes, best.depth, block_bytes(run),
                           swap ? &sums->raw_again : &sums->raw);
        if (r < 0)
            return r;
        uint64_t bytes = bench_journal_count(journal, "baton_journal_bytes_total");
        int64_t cpu_ns = bench_cpu_ns();
        r = journal_stream(journal->journal, block_bytes(run) / BENCH_FRAME_BYTES, &sums->entries);
        if (r < 0)
            return r;
        sums->cpu_ns += (double)(bench_cpu_ns() - cpu_ns);
        sums->bytes += (double)(bench_journal_count(journal, "baton_journal_bytes_total") - bytes);
        r = raw_stream(raw, best.write_bytes, best.depth, block_bytes(run),
                       swap ? &sums->raw : &sums->raw_again);
        if (r == 0) /* the mark of the pause, not in the next block */
            r = bench_journal_settle(journal);
        if (r < 0)
            return r;
        bench_progress(block + 2, blocks + 1);
    }
    return 0;
}

static void print_rows(const bench_run *run, const peak_totals *totals, raw_best best)
{
    double raw = bench_rate(totals->raw);
    double again = bench_rate(totals->raw_again);
    double bytes = totals->bytes * 1e9 / totals->entries.ns;
    bench_compare(run, &(bench_comparison){.bench_case = "append_peak",
                                           .metric = "bytes_per_s",
                                           .unit = "B/s",
                                           .value = bytes,
                                           .raw = raw,
                                           .raw_again = again});
    /* Against payloads alone, written raw without frame or header: the stricter comparison. */
    bench_compare(run, &(bench_comparison){.bench_case = "append_peak",
                                           .metric = "entries_per_s",
                                           .unit = "1/s",
                                           .reference = "raw payload",
                                           .value = bench_rate(totals->entries),
                                           .raw = raw / BENCH_ENTRY_BYTES});
    bench_plain(run, "append_peak", "cpu_ns_per_entry", "ns",
                totals->cpu_ns / totals->entries.amount);
    if (*run->shared > 0)
        bench_compare(run, &(bench_comparison){.bench_case = "append_peak",
                                               .metric = "bytes_per_s",
                                               .unit = "B/s",
                                               .reference = "uring backend",
                                               .value = bytes,
                                               .raw = *run->shared});
    *run->shared = bytes;
    bench_note(run->output, "append_peak: raw at its best: %u KiB x %u in flight",
               best.write_bytes >> 10, best.depth);
}

/* Segments of the size in use, made ready while the appends run, retired behind them. */
static int sustained(const bench_run *run, raw_device *raw, raw_best best)
{
    bench_journal journal;
    bench_total entries = {0};
    bench_total raw_total = {0};
    bench_total raw_again = {0};
    int blocks = bench_blocks(run, 6, 40);
    int r = bench_journal_open(run, "sustained", NULL, &journal);
    if (r < 0)
        return r;
    for (int block = -4; block < blocks && r == 0; block++) {
        bench_total ignored = {0};
        uint32_t removed;
        bool counts = block >= 0;
        r = raw_stream(raw, best.write_bytes, best.depth, block_bytes(run),
                       !counts          ? &ignored
                       : block % 2 == 0 ? &raw_total
                                        : &raw_again);
        if (r == 0)
            r = journal_stream(journal.journal, block_bytes(run) / BENCH_FRAME_BYTES,
                               counts ? &entries : &ignored);
        if (r == 0)
            r = baton_journal_retire(journal.journal, baton_journal_durable_seq(journal.journal),
                                     &removed);
    }
    if (r == 0)
        bench_compare(run, &(bench_comparison){.bench_case = "append_sustained",
                                               .metric = "bytes_per_s",
                                               .unit = "B/s",
                                               .value = bench_rate(entries) * BENCH_FRAME_BYTES,
                                               .raw = bench_rate(raw_total),
                                               .raw_again = bench_rate(raw_again)});
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

int bench_case_peak(const bench_run *run)
{
    bench_journal journal = {0};
    raw_device *raw = NULL;
    raw_best best;
    peak_totals totals = {0};
    int blocks = bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS) + 1;
    /* All blocks fit the first segment, and the next one is ready before: what is measured is the
     * commit path. Sustained says what making segments costs beside it. */
    uint64_t segment_bytes = ((uint64_t)blocks + 1) * (block_bytes(run) + 2 * BENCH_MIB);
    baton_journal_options options = {.segment_bytes = segment_bytes,
                                     .first_segment_bytes = segment_bytes};
    int r = bench_raw_open(run, "peak",
                           (raw_options){.file_bytes = 8 * block_bytes(run),
                                         .write_bytes_max = BENCH_BATCH_BYTES_MAX,
                                         .depth_max = BENCH_DEPTH},
                           &raw);
    if (r == 0)
        r = bench_journal_open(run, "peak", &options, &journal);
    if (r == 0)
        r = bench_journal_settle(&journal);
    if (r == 0)
        r = raw_sweep(run, raw, &best);
    if (r == 0)
        r = run_blocks(run, &journal, raw, best, &totals);
    if (r == 0)
        print_rows(run, &totals, best);
    if (r == 0)
        r = sustained(run, raw, best);
    if (r == 0 && run->curves && !run->options->quick)
        r = journal_sweep(run);
    if (r < 0)
        bench_fail("measure append_peak", r);
    raw_close(raw);
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}
