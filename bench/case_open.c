/* bench/case_open.c: open loop. Entries are due at fixed times, whatever the disk does; a latency
 * counts from the time an entry was due, so that waiting is never left out (no coordinated
 * omission). The raw side keeps the same schedule and the same rule: what is due goes into one
 * write, of the size that the journal's batch would have, as soon as one of its slots is free. */
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench/common.h"

enum {
    QUICK_BLOCKS = 2,
    FULL_BLOCKS = 16,
    SHORTEST_SLEEP_NS = 20000, /* what is due in less is taken with the next turn: a sleep as short
                                  as that costs more than it waits */
};
/* At the highest rate a segment lasts a second: its change costs the file system's own commit, some
 * milliseconds, and must stay under one in a hundred. */
#define FULL_SEGMENT_BYTES  (256 * BENCH_MIB)
#define QUICK_SEGMENT_BYTES (64 * BENCH_MIB)
#define STEADY_TURNS                                                                               \
    6u /* segments filled and retired before it is measured: two are kept as spares */
#define QUICK_BLOCK_NS INT64_C(100000000)
#define FULL_BLOCK_NS  INT64_C(300000000)
#define LATE_NS        INT64_C(20000000000) /* a side that is so late is not measured on */

/* When entry i of a block is due. */
typedef struct {
    int64_t begin_ns;
    uint64_t rate;
    uint64_t count;
} bench_schedule;

static int64_t due_ns(const bench_schedule *plan, uint64_t i)
{
    return plan->begin_ns + (int64_t)(i * UINT64_C(1000000000) / plan->rate);
}

static uint64_t due_count(const bench_schedule *plan, int64_t now_ns)
{
    uint64_t due = (uint64_t)(now_ns - plan->begin_ns) * plan->rate / UINT64_C(1000000000) + 1;
    return due < plan->count ? due : plan->count;
}

static bench_schedule schedule_begin(uint64_t rate, int64_t block_ns)
{
    uint64_t count = (uint64_t)block_ns * rate / UINT64_C(1000000000);
    return (bench_schedule){.begin_ns = bench_now_ns() + 1000000, .rate = rate, .count = count};
}

static void record(const bench_schedule *plan, uint64_t from, uint64_t to,
                   baton_histogram *histogram)
{
    int64_t now_ns = bench_now_ns();
    for (uint64_t i = from; histogram && i < to; i++) {
        int64_t late_ns = now_ns - due_ns(plan, i);
        baton_histogram_record(histogram, late_ns > 0 ? (uint64_t)late_ns : 0);
    }
}

/* How long to sleep before entry `next` is due; for ever when all were. */
static uint64_t sleep_ns(const bench_schedule *plan, uint64_t next)
{
    if (next == plan->count)
        return UINT64_MAX;
    int64_t left_ns = due_ns(plan, next) - bench_now_ns();
    return left_ns > SHORTEST_SLEEP_NS ? (uint64_t)left_ns : SHORTEST_SLEEP_NS;
}

static void sleep_until_due(const bench_schedule *plan, uint64_t next)
{
    const int64_t at_ns = due_ns(plan, next);
    const struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* ---- the journal ---- */

static int journal_block(baton_journal *journal, uint64_t rate, int64_t block_ns,
                         baton_histogram *histogram)
{
    uint64_t base = baton_journal_last_seq(journal);
    bench_schedule plan = schedule_begin(rate, block_ns);
    uint64_t next = 0; /* to be appended */
    uint64_t seen = 0; /* durable and recorded */
    while (seen < plan.count) {
        uint64_t due = next;
        int64_t now_ns = bench_now_ns();
        if (now_ns >= plan.begin_ns)
            due = due_count(&plan, now_ns);
        int r = 0;
        while (next < due && (r = bench_append(journal)) == 0)
            next++;
        if (r < 0 && r != BATON_E_FULL && r != BATON_E_NO_SPACE)
            return r;
        r = baton_journal_poll(journal);
        uint64_t durable = baton_journal_durable_seq(journal) - base;
        if (r == 0 && durable == seen && durable < next) {
            r = baton_journal_wait(journal, base + seen + 1, sleep_ns(&plan, next));
            r = r == BATON_E_TIMEOUT ? 0 : r;
            durable = baton_journal_durable_seq(journal) - base;
        } else if (r == 0 && durable == next && next < plan.count) {
            sleep_until_due(&plan, next);
        }
        if (r < 0)
            return r;
        record(&plan, seen, durable, histogram);
        seen = durable;
        if (now_ns - due_ns(&plan, seen) > LATE_NS)
            return BATON_E_TIMEOUT;
    }
    return 0;
}

/* ---- the raw device ---- */

typedef struct {
    uint64_t from;
    uint64_t to;
} raw_batch;

static int raw_submit_due(raw_device *raw, uint64_t due, uint64_t *next,
                          raw_batch batches[RAW_DEPTH_MAX], uint64_t *tag)
{
    const uint64_t entries_max = bench_batch_entries(BENCH_BATCH_BYTES_MAX);
    if (*next == due || raw_in_flight(raw) == BENCH_DEPTH)
        return 0;
    uint64_t count = due - *next < entries_max ? due - *next : entries_max;
    /* A slot is free, so fewer than DEPTH tags are in use; find one that is. */
    while (batches[*tag % RAW_DEPTH_MAX].to != 0)
        (*tag)++;
    batches[*tag % RAW_DEPTH_MAX] = (raw_batch){.from = *next, .to = *next + count};
    *next += count;
    return raw_submit(raw, bench_batch_bytes(count), *tag % RAW_DEPTH_MAX);
}

static int raw_block(raw_device *raw, uint64_t rate, int64_t block_ns, baton_histogram *histogram)
{
    bench_schedule plan = schedule_begin(rate, block_ns);
    raw_batch batches[RAW_DEPTH_MAX] = {0};
    uint64_t next = 0;
    uint64_t done = 0;
    uint64_t tag = 0;
    while (done < plan.count) {
        uint64_t due = next;
        int64_t now_ns = bench_now_ns();
        if (now_ns >= plan.begin_ns)
            due = due_count(&plan, now_ns);
        int r = raw_submit_due(raw, due, &next, batches, &tag);
        if (r == 0)
            r = raw_turn(raw, 0);
        uint64_t before = done;
        uint64_t finished;
        for (bool waited = false; r >= 0;) {
            while ((r = raw_reap(raw, &finished)) == 1) {
                record(&plan, batches[finished].from, batches[finished].to, histogram);
                done += batches[finished].to - batches[finished].from;
                batches[finished] = (raw_batch){0};
            }
            if (r < 0 || done > before || waited)
                break;
            waited = true;
            if (raw_in_flight(raw) > 0)
                r = raw_turn(raw, sleep_ns(&plan, next));
            else if (next < plan.count)
                sleep_until_due(&plan, next);
        }
        if (r < 0)
            return r;
        if (now_ns - due_ns(&plan, done) > LATE_NS)
            return BATON_E_TIMEOUT;
    }
    return 0;
}

/* ---- the case ---- */

static int run_rate(const bench_run *run, bench_journal *journal, raw_device *raw, const char *name,
                    uint64_t rate)
{
    bool quick = run->options->quick;
    int blocks = bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS);
    int64_t block_ns = quick ? QUICK_BLOCK_NS : FULL_BLOCK_NS;
    bench_sides sides;
    int r = bench_sides_create(&sides);
    for (int block = -1; block < blocks && r == 0; block++) {
        bool counts = block >= 0;
        baton_histogram *first = block % 2 == 0 ? sides.raw : sides.raw_again;
        baton_histogram *second = block % 2 == 0 ? sides.raw_again : sides.raw;
        int64_t ns = counts ? block_ns : block_ns / 4;
        uint32_t removed;
        r = raw_block(raw, rate, ns, counts ? first : NULL);
        if (r == 0)
            r = journal_block(journal->journal, rate, ns, counts ? sides.baton : NULL);
        if (r == 0)
            r = raw_block(raw, rate, ns, counts ? second : NULL);
        if (r == 0)
            r = baton_journal_retire(journal->journal, baton_journal_durable_seq(journal->journal),
                                     &removed);
        bench_progress(block + 1, blocks);
    }
    if (r == 0)
        bench_compare_latencies(run, name, NULL, &sides);
    else
        bench_fail(name, r);
    bench_sides_destroy(&sides);
    return r;
}

/* The state that a journal is in for most of its life: all its segments are retired ones. */
static int reach_steady(bench_journal *journal, uint64_t segment_bytes)
{
    int r = 0;
    for (uint32_t turn = 0; turn < STEADY_TURNS && r == 0; turn++) {
        uint64_t left = segment_bytes / BENCH_FRAME_BYTES;
        while (left > 0 && r == 0) {
            r = bench_append(journal->journal);
            left -= r == 0;
            if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
                r = bench_wait_for_room(journal->journal);
        }
        if (r == 0)
            r = baton_journal_flush(journal->journal);
        uint32_t removed;
        if (r == 0)
            r = baton_journal_retire(journal->journal, baton_journal_durable_seq(journal->journal),
                                     &removed);
    }
    return r < 0 ? r : bench_journal_settle(journal);
}

/* The highest rate again, while every segment is new: what zeroing it beside the commits costs. */
static int run_new(const bench_run *run, raw_device *raw)
{
    bench_journal journal = {0};
    baton_journal_options options = {.first_segment_bytes = 64 * BENCH_MIB, .no_spares = true};
    int r = bench_journal_open(run, "new", &options, &journal);
    if (r == 0)
        r = bench_journal_settle(&journal);
    if (r == 0)
        r = run_rate(run, &journal, raw, "append_open_loop_1m_new", 1000000);
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

int bench_case_open(const bench_run *run)
{
    static const struct {
        const char *name;
        uint64_t rate;
    } rates[] = {{"append_open_loop_10k", 10000},
                 {"append_open_loop_100k", 100000},
                 {"append_open_loop_1m", 1000000}};
    bench_journal journal = {0};
    raw_device *raw = NULL;
    uint64_t segment_bytes = run->options->quick ? QUICK_SEGMENT_BYTES : FULL_SEGMENT_BYTES;
    baton_journal_options options = {.segment_bytes = segment_bytes,
                                     .first_segment_bytes = segment_bytes};

    /* The kernel rounds sleeps up by 50 us unless told otherwise; for both sides. */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    int r = bench_journal_open(run, "open", &options, &journal);
    if (r == 0)
        r = reach_steady(&journal, segment_bytes);
    if (r == 0)
        r = bench_raw_open(run, "open",
                           (raw_options){.file_bytes = 256 * BENCH_MIB,
                                         .write_bytes_max = BENCH_BATCH_BYTES_MAX,
                                         .depth_max = BENCH_DEPTH},
                           &raw);
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]) && r == 0; i++)
        r = run_rate(run, &journal, raw, rates[i].name, rates[i].rate);
    if (r == 0)
        r = run_new(run, raw);
    raw_close(raw);
    int closed = bench_journal_close(&journal);
    (void)prctl(PR_SET_TIMERSLACK, 0); /* the default again */
    return r < 0 ? r : closed;
}
