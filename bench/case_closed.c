/* bench/case_closed.c: closed loops. So many entries are appended and not yet durable; as soon as
 * one is durable, the next one is appended. The raw side makes the very writes that the journal
 * made in the block before, as many in flight, and waits for entries in the same way. Raw filled: the
 * same, and the entries are copied into each write before, as one who has something to write must. */
#include <errno.h>
#include <stdlib.h>

#include "bench/common.h"

enum {
    QUICK_BLOCKS = 20,
    FULL_BLOCKS = 120,
    WARM_UP_BLOCKS = 4,
    WRITES_MAX = 1 << 16, /* in a block: more than any device here does in BLOCK_NS */
};
#define BLOCK_NS INT64_C(30000000)

/* The batches of one block, in order: how many entries each took. */
typedef struct {
    uint32_t *entries;
    uint32_t count;
    baton_reader *reader; /* where the trace comes from: the journal's own words */
    uint64_t batch;       /* of the last entry read */
} write_trace;

int bench_closed_loop(baton_journal *journal, uint32_t entries_in_flight, int64_t ns,
                      bench_total *total, baton_histogram *batch_ns)
{
    int64_t begin_ns = bench_now_ns();
    int64_t end_ns = begin_ns + ns;
    int64_t now_ns = begin_ns;
    uint64_t first_seq = baton_journal_last_seq(journal);
    int r = 0;
    while (r == 0 && now_ns < end_ns) {
        uint64_t durable = baton_journal_durable_seq(journal);
        while (r == 0 && baton_journal_last_seq(journal) - durable < entries_in_flight)
            r = bench_append(journal);
        if (r == 0 || r == BATON_E_FULL || r == BATON_E_NO_SPACE)
            r = bench_wait_for_room(journal);
        int64_t turn_ns = bench_now_ns();
        if (batch_ns)
            baton_histogram_record(batch_ns, (uint64_t)(turn_ns - now_ns));
        now_ns = turn_ns;
    }
    if (r == 0)
        r = baton_journal_wait(journal, baton_journal_last_seq(journal), BENCH_WAIT_NS);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)(baton_journal_last_seq(journal) - first_seq);
    return r;
}

/* What the journal wrote since the last call. */
static int trace_read(write_trace *trace)
{
    baton_entry entry;
    baton_error error;
    int r;
    trace->count = 0;
    while ((r = baton_reader_next(trace->reader, &entry, &error)) == 1) {
        uint64_t batch = baton_reader_position(trace->reader).batch;
        if (batch == trace->batch && trace->count > 0) {
            trace->entries[trace->count - 1]++;
            continue;
        }
        if (trace->count == WRITES_MAX)
            return -EOVERFLOW;
        trace->entries[trace->count++] = 1;
        trace->batch = batch;
    }
    return r;
}

static int raw_closed_loop(raw_device *raw, const write_trace *trace, uint32_t entries_in_flight,
                           bool filled, bench_total *total)
{
    int64_t begin_ns = bench_now_ns();
    uint32_t next = 0;
    uint64_t outstanding = 0;
    uint64_t done = 0;
    int r = 0;
    while (r >= 0 && (next < trace->count || raw_in_flight(raw) > 0)) {
        while (r >= 0 && next < trace->count && raw_in_flight(raw) < BENCH_DEPTH &&
               outstanding + trace->entries[next] <= entries_in_flight) {
            uint32_t bytes = bench_batch_bytes(trace->entries[next]);
            if (filled)
                raw_fill(raw, bytes);
            r = raw_submit(raw, bytes, trace->entries[next]);
            outstanding += trace->entries[next++];
        }
        if (r >= 0)
            r = raw_turn(raw, UINT64_MAX);
        uint64_t entries;
        while (r >= 0 && (r = raw_reap(raw, &entries)) == 1) {
            outstanding -= entries;
            done += entries;
        }
    }
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)done;
    return r < 0 ? r : 0;
}

typedef struct {
    bench_total baton;
    bench_total raw;
    bench_total raw_again;
    bench_total raw_filled;
    double batches;
} closed_totals;

static int run_blocks(const bench_run *run, bench_journal *journal, raw_device *raw,
                      write_trace *trace, uint32_t in_flight, closed_totals *totals)
{
    int blocks = bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS);
    for (int block = -WARM_UP_BLOCKS; block < blocks; block++) {
        closed_totals warm_up = {0};
        closed_totals *sums = block < 0 ? &warm_up : totals;
        bool swap = block % 2 != 0;
        int r = raw_closed_loop(raw, trace, in_flight, false, swap ? &sums->raw_again : &sums->raw);
        if (r == 0)
            r = bench_closed_loop(journal->journal, in_flight, BLOCK_NS, &sums->baton, NULL);
        if (r == 0)
            r = trace_read(trace);
        if (r == 0)
            r = raw_closed_loop(raw, trace, in_flight, false, swap ? &sums->raw : &sums->raw_again);
        if (r == 0)
            r = raw_closed_loop(raw, trace, in_flight, true, &sums->raw_filled);
        uint32_t removed;
        if (r == 0)
            r = baton_journal_retire(journal->journal, baton_journal_durable_seq(journal->journal),
                                     &removed);
        if (r == 0)
            r = bench_journal_settle(journal);
        if (r < 0)
            return r;
        sums->batches += trace->count;
        bench_progress(block < 0 ? 0 : block + 1, blocks);
    }
    return 0;
}

static int closed_case(const bench_run *run, const char *name, uint32_t in_flight)
{
    bench_journal journal = {0};
    raw_device *raw = NULL;
    write_trace trace = {.entries = calloc(WRITES_MAX, sizeof(*trace.entries))};
    closed_totals totals = {0};
    baton_error error = {0};
    int r = trace.entries ? 0 : -ENOMEM;
    baton_journal_options options = {.first_segment_bytes = 64 * BENCH_MIB};
    if (r == 0)
        r = bench_journal_open(run, name, &options, &journal);
    if (r == 0)
        r = bench_raw_open(run, name,
                           (raw_options){.file_bytes = 128 * BENCH_MIB,
                                         .write_bytes_max = bench_batch_bytes(in_flight),
                                         .depth_max = BENCH_DEPTH},
                           &raw);
    if (r == 0)
        r = baton_reader_open(journal.path,
                              &(baton_reader_options){.live = true, .backend = run->backend},
                              &trace.reader, &error);
    if (r == 0)
        r = run_blocks(run, &journal, raw, &trace, in_flight, &totals);
    if (r < 0) {
        bench_fail(name, r);
    } else {
        bench_compare(run, &(bench_comparison){.bench_case = name,
                                               .metric = "entries_per_s",
                                               .unit = "1/s",
                                               .value = bench_rate(totals.baton),
                                               .raw = bench_rate(totals.raw),
                                               .raw_again = bench_rate(totals.raw_again)});
        bench_compare(run, &(bench_comparison){.bench_case = name,
                                               .metric = "entries_per_s",
                                               .unit = "1/s",
                                               .reference = "raw filled",
                                               .value = bench_rate(totals.baton),
                                               .raw = bench_rate(totals.raw_filled)});
        bench_note(run->output, "%s: %.1f entries a batch", name,
                   totals.baton.amount / totals.batches);
    }
    baton_reader_close(trace.reader);
    free(trace.entries);
    raw_close(raw);
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

int bench_case_128(const bench_run *run)
{
    return closed_case(run, "append_128_in_flight", 128);
}

int bench_case_1024(const bench_run *run)
{
    return closed_case(run, "append_1024_in_flight", 1024);
}
