/* Retired segments that are used again: what is gained, and that neither a crash, nor a failure, nor
 * a reader that still looks at the old one takes harm (J3, J10, J11). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io_sim.h"
#include "journal/format.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static char journal_dir[TEST_PATH_BYTES];
static baton_journal_options options;
static baton_backend backend; /* set by main for a whole run of the tests */

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_recycle");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    options = fixture_options();
    options.backend = backend;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_dir_remove(&dir);
    return 0;
}

static bool spare_exists(uint32_t number)
{
    char path[TEST_PATH_BYTES + 16];
    snprintf(path, sizeof(path), "%s/SPARE-%" PRIu32, journal_dir, number);
    return fixture_exists(path);
}

/* Large entries: segments fill in few operations. */
#define BIG_BYTES 50000u
#define KEEP      10u /* entries that are still wanted */
static int append_big(baton_journal *journal)
{
    static uint8_t payload[BIG_BYTES];
    memset(payload, (int)((baton_journal_last_seq(journal) + 1) % 251), sizeof(payload));
    return baton_journal_append(journal, 1, payload, sizeof(payload), NULL);
}

static void expect_big(const baton_entry *entry)
{
    const uint8_t *payload = entry->payload;
    assert_int_equal(entry->payload_bytes, BIG_BYTES);
    for (uint32_t i = 0; i < BIG_BYTES; i++) {
        if (payload[i] != entry->seq % 251)
            fail_msg("entry %" PRIu64 " is wrong at byte %" PRIu32, entry->seq, i);
    }
}

static void append_big_durable(baton_journal *journal, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int r;
        while ((r = append_big(journal)) == BATON_E_FULL) {
            assert_int_equal(baton_journal_poll(journal), 0);
            usleep(50); /* leaves the CPU to the workers; nothing depends on how long */
        }
        assert_int_equal(r, 0);
    }
    assert_int_equal(baton_journal_flush(journal), 0);
}

static uint32_t retire_all(baton_journal *journal)
{
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, baton_journal_durable_seq(journal), &removed),
                     0);
    return removed;
}

/* Entries until `retirements` more segments are gone. */
static void grow(baton_journal *journal, uint32_t retirements)
{
    for (uint32_t gone = 0, i = 0; gone < retirements; i++) {
        assert_true(i < 1000);
        fixture_append_durable(journal, 1000);
        gone += retire_all(journal);
    }
}

static double metric_of(baton_metrics *metrics, const char *name)
{
    char *text;
    size_t bytes;
    char line[128];
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    assert_non_null(at);
    double value = atof(at + strlen(line));
    free(text);
    return value;
}

static void a_retired_segment_becomes_the_next_one(void **state)
{
    (void)state;
    baton_metrics *metrics;
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options.metrics = metrics;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    grow(journal, 4);
    assert_true(metric_of(metrics, "baton_journal_segments_recycled_total") >= 1);
    grow(journal, 6);
    assert_true(metric_of(metrics, "baton_journal_segments_recycled_total") >= 5);
    uint64_t last = baton_journal_last_seq(journal);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_false(spare_exists(0) || spare_exists(1)); /* an orderly end gives the room back */

    baton_reader *reader;
    baton_entry entry;
    assert_int_equal(baton_reader_open(journal_dir, NULL, &reader, NULL), 0);
    assert_int_equal(baton_reader_next(reader, &entry, NULL), 1);
    baton_reader_close(reader);
    fixture_expect(journal_dir, entry.seq, last);
    baton_journal_summary summary;
    assert_int_equal(baton_journal_verify(journal_dir, backend, NULL, NULL, &summary, NULL), 0);
    assert_true(summary.closed);
    baton_metrics_destroy(metrics);
}

static void without_spares_every_segment_is_a_new_file(void **state)
{
    (void)state;
    baton_metrics *metrics;
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options.metrics = metrics;
    options.no_spares = true;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    grow(journal, 4);
    assert_true(metric_of(metrics, "baton_journal_segments_recycled_total") == 0);
    assert_false(spare_exists(0) || spare_exists(1));
    assert_int_equal(baton_journal_close(journal), 0);
    baton_metrics_destroy(metrics);
}

/* Nobody knows what a dead writer may still write into its files. */
static void spares_of_an_earlier_writer_are_not_used(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    grow(journal, 4);
    fixture_append_durable(journal, 12000);
    assert_true(retire_all(journal) >= 2);
    assert_true(spare_exists(0) || spare_exists(1));
    uint64_t last = baton_journal_last_seq(journal);
    baton_journal_abandon(journal);
    assert_true(spare_exists(0) || spare_exists(1));
    journal = fixture_begin(journal_dir, &options);
    assert_false(spare_exists(0) || spare_exists(1));
    assert_int_equal(baton_journal_last_seq(journal), last);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* A reader that has the old file open while it becomes another segment: right entries, or gone. */
static void a_reader_of_a_recycled_segment_is_told_that_it_is_gone(void **state)
{
    (void)state;
    baton_entry entry;
    baton_error error;
    options.segment_bytes = 12 << 20; /* more than a reader reads ahead */
    options.first_segment_bytes = 12 << 20;
    const uint32_t per_segment = (12 << 20) / BIG_BYTES;
    for (int live = 0; live < 2; live++) {
        snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, live ? "live" : "rest"));
        baton_journal *journal = fixture_begin(journal_dir, &options);
        baton_reader *reader;
        const baton_reader_options reading = {.live = live, .backend = backend};
        append_big_durable(journal, per_segment + per_segment / 2);
        assert_int_equal(baton_reader_open(journal_dir, &reading, &reader, &error), 0);
        uint64_t seq = 0;
        while (++seq <= 3)
            assert_int_equal(baton_reader_next(reader, &entry, &error), 1);
        assert_true(retire_all(journal) == 1);
        append_big_durable(journal, 3 * per_segment); /* written over to its end */
        int r;
        while ((r = baton_reader_next(reader, &entry, &error)) == 1) {
            assert_int_equal(entry.seq, ++seq - 1);
            expect_big(&entry);
        }
        assert_true(seq < per_segment); /* not everything was read ahead */
        assert_int_equal(r, BATON_E_GONE);
        baton_reader_close(reader);
        assert_int_equal(baton_journal_close(journal), 0);
    }
}

/* ---- with a backend that fails on purpose ---- */

static io_fault *fault;

static void use_faults(void)
{
    fault = io_fault_new();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
}

/* No room for one new file, and still it goes on: each retired segment makes room for the next. */
static void a_full_disk_lives_on_what_is_retired(void **state)
{
    (void)state;
    use_faults();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    append_big_durable(journal, 60);
    assert_true(retire_all(journal) > 1);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    for (uint32_t tries = 0; baton_journal_last_seq(journal) < 300; tries++) {
        assert_true(tries < 1000000);
        int r = append_big(journal);
        assert_true(r == 0 || r == BATON_E_FULL || r == BATON_E_NO_SPACE);
        assert_int_equal(baton_journal_poll(journal), 0);
        if (r != 0 || baton_journal_last_seq(journal) % 10 == 0)
            (void)retire_all(journal);
    }
    assert_int_equal(baton_journal_close(journal), 0);
    io_fault_free(fault);
}

static baton_sim *sim; /* on which the journal lives now, or NULL: time passes by itself */

/* The writer's life with retirement, until something breaks it. What was durable by then. */
static uint64_t live_on(baton_journal *journal, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t removed;
        int r = 0;
        for (uint32_t taken = 0, tries = 0; r == 0 && taken < 4 && tries < 200; tries++) {
            r = append_big(journal);
            taken += r == 0;
            if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
                r = baton_journal_poll(journal);
            if (sim)
                baton_sim_advance(sim, 200000);
        }
        if (r == 0)
            r = baton_journal_flush(journal);
        uint64_t durable_seq = baton_journal_durable_seq(journal);
        if (r == 0)
            r = baton_journal_retire(journal, durable_seq > KEEP ? durable_seq - KEEP : 0,
                                     &removed);
        if (r == BATON_E_BROKEN)
            break;
    }
    return baton_journal_durable_seq(journal);
}

/* All that was acknowledged and is wanted, dense, and right. */
static void expect_all(const baton_reader_options *reading, const char *path, uint64_t acked)
{
    baton_reader *reader;
    baton_entry entry;
    baton_error error = {0};
    char text[1024];
    uint64_t first = 0;
    uint64_t seq = 0;
    int r = baton_reader_open(path, reading, &reader, &error);
    while (r >= 0 && (r = baton_reader_next(reader, &entry, &error)) == 1) {
        first = first == 0 ? entry.seq : first;
        assert_true(seq == 0 || entry.seq == seq + 1);
        seq = entry.seq;
        expect_big(&entry);
    }
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    baton_reader_close(reader);
    assert_true(seq >= acked);
    assert_true(first <= (acked > KEEP ? acked - KEEP : 1));
}

static uint64_t stride(uint64_t release, uint64_t sanitized)
{
    const char *sanitize = getenv("BATON_SANITIZE");
    return sanitize != NULL && sanitize[0] != '\0' ? sanitized : release;
}

/* Operation n fails, or the process dies after it: nothing acknowledged and not retired is lost. */
static void no_failure_on_the_way_loses_an_entry(void **state)
{
    (void)state;
    const int errors[] = {ENOSPC, EIO, 0};
    const baton_reader_options reading = {.backend = BATON_BACKEND_THREADS};
    uint64_t renames = 0;
    for (size_t e = 0; e < 3; e++) {
        bool over = false;
        for (uint64_t n = 20 + e; !over; n += stride(11, 37)) {
            snprintf(journal_dir, sizeof(journal_dir), "%.400s/e%zu-%" PRIu64, dir.path, e, n);
            use_faults();
            baton_journal *journal = fixture_begin(journal_dir, &options);
            if (errors[e] != 0)
                io_fault_fail(fault, n, errors[e]);
            else
                io_fault_crash_after(fault, n);
            uint64_t acked = live_on(journal, 25);
            renames += io_fault_count_kind(fault, BATON_IO_RENAME);
            over = io_fault_count(fault) < n;
            int r = baton_journal_close(journal);
            assert_true(io_fault_count(fault) >= n || r == 0);
            io_fault_free(fault);
            expect_all(&reading, journal_dir, acked);
            test_dir_remove(&dir);
            test_dir_make(&dir, "journal_recycle");
        }
    }
    assert_true(renames > 50);
}

/* ---- power cuts, on a disk that forgets what was not flushed ---- */

static void power_cut_at(uint64_t n, bool *ret_over)
{
    sim = baton_sim_new(n);
    baton_sim_process *process = baton_sim_start(sim);
    baton_metrics *metrics;
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options.metrics = metrics;
    options.io_backend = baton_sim_backend();
    options.io_context = process;
    options.clock = baton_sim_clock(sim);
    baton_journal *journal = fixture_begin("/j", &options);
    baton_sim_crash_at(sim, n, BATON_SIM_POWER_CUT);
    uint64_t acked = live_on(journal, 25);
    *ret_over = !baton_sim_is_dead(process);
    baton_sim_crash_at(sim, 0, BATON_SIM_POWER_CUT);
    baton_journal_abandon(journal);
    if (*ret_over)
        assert_true(metric_of(metrics, "baton_journal_segments_recycled_total") >= 2);
    baton_metrics_destroy(metrics);

    options.metrics = NULL;
    options.io_context = baton_sim_start(sim);
    journal = fixture_begin("/j", &options);
    if (baton_journal_last_seq(journal) < acked)
        fail_msg("power cut at operation %" PRIu64 ": %" PRIu64 " acknowledged, %" PRIu64 " there",
                 n, acked, baton_journal_last_seq(journal));
    acked = live_on(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);
    const baton_reader_options reading = {.io_backend = baton_sim_backend(),
                                          .io_context = baton_sim_start(sim)};
    expect_all(&reading, "/j", acked);
    baton_sim_free(sim);
    sim = NULL;
}

static void no_power_cut_on_the_way_loses_an_entry(void **state)
{
    (void)state;
    bool over = false;
    for (uint64_t n = 20; !over; n += stride(1, 7))
        power_cut_at(n, &over);
}

#define RECYCLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECYCLE(a_retired_segment_becomes_the_next_one),
        RECYCLE(without_spares_every_segment_is_a_new_file),
        RECYCLE(spares_of_an_earlier_writer_are_not_used),
        RECYCLE(a_reader_of_a_recycled_segment_is_told_that_it_is_gone),
    };
    const struct CMUnitTest failing[] = {
        RECYCLE(a_full_disk_lives_on_what_is_retired),
        RECYCLE(no_failure_on_the_way_loses_an_entry),
        RECYCLE(no_power_cut_on_the_way_loses_an_entry),
    };
    int failed = cmocka_run_group_tests_name("recycling, faults", failing, NULL, NULL);
    backend = BATON_BACKEND_THREADS;
    failed += cmocka_run_group_tests_name("recycling, threads", tests, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("recycling, uring", tests, NULL, NULL);
}
