/* bench/case_one.c: one durable append beside one raw durable 4 KiB overwrite, one in flight. */
#include "bench/common.h"

enum {
    RAW_WRITE_BYTES = 4096,
    BLOCK_OPERATIONS = 25, /* of one side before the other has its turn: about 3 ms */
    WARM_UP_BLOCKS = 40,   /* also sees the next segment made ready */
    QUICK_BLOCKS = 120,
    FULL_BLOCKS = 1200,
};

static int append_block(baton_journal *journal, baton_histogram *histogram)
{
    static const unsigned char payload[BENCH_ENTRY_BYTES] = {1};
    for (int i = 0; i < BLOCK_OPERATIONS; i++) {
        int64_t begin = bench_now_ns();
        baton_entry entry;
        int r = baton_journal_append(journal, 1, payload, sizeof(payload), &entry);
        if (r == 0)
            r = baton_journal_wait(journal, entry.seq, BENCH_WAIT_NS);
        if (r < 0)
            return r;
        if (histogram)
            baton_histogram_record(histogram, (uint64_t)(bench_now_ns() - begin));
    }
    return 0;
}

static int raw_block(raw_device *raw, baton_histogram *histogram)
{
    for (int i = 0; i < BLOCK_OPERATIONS; i++) {
        int64_t took_ns = raw_write(raw, RAW_WRITE_BYTES);
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
    for (int block = blocks > 2 ? -WARM_UP_BLOCKS : -1; block < blocks; block++) {
        bool counts = block >= 0;
        baton_histogram *first = block % 2 == 0 ? sides->raw : sides->raw_again;
        baton_histogram *second = block % 2 == 0 ? sides->raw_again : sides->raw;
        int r = raw_block(raw, counts ? first : NULL);
        if (r == 0)
            r = append_block(journal, counts ? sides->baton : NULL);
        if (r == 0)
            r = raw_block(raw, counts ? second : NULL);
        if (r < 0)
            return r;
        if (counts)
            bench_progress(block + 1, blocks);
    }
    return 0;
}

int bench_case_one(const bench_run *run)
{
    bench_journal journal = {0};
    raw_device *raw = NULL;
    bench_sides sides;
    int r = bench_sides_create(&sides);
    /* One segment holds a whole quick run; a full one rolls, as a service does. */
    baton_journal_options options = {.first_segment_bytes = 64 * BENCH_MIB};
    if (r == 0)
        r = bench_journal_open(run, "one", &options, &journal);
    if (r == 0)
        r = bench_raw_open(run, "one",
                           (raw_options){.file_bytes = 64 * BENCH_MIB,
                                         .write_bytes_max = RAW_WRITE_BYTES,
                                         .depth_max = 1},
                           &raw);
    if (r < 0)
        goto done;
    r = run_blocks(journal.journal, raw, &sides, bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS));
    if (r < 0)
        bench_fail("measure append_one_in_flight", r);
    else
        bench_compare_latencies(run, "append_one_in_flight", NULL, &sides);

done:
    raw_close(raw);
    int closed = bench_journal_close(&journal);
    bench_sides_destroy(&sides);
    return r < 0 ? r : closed;
}
