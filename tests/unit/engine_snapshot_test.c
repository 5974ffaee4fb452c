/* tests/unit/engine_snapshot_test.c: taking snapshots beside a serving engine; generations,
 * retention, a full disk (S1). */
#include "tests/unit/engine_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <baton/log.h>

#include "journal/records.h"

static engine_expected *expected;

static uint32_t files_count(const engine_fixture *f)
{
    char path[TEST_PATH_BYTES + 32];
    uint32_t count = 0;
    snprintf(path, sizeof(path), "%s/snapshots", f->path);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    for (struct dirent *item = readdir(directory); item != NULL; item = readdir(directory))
        count += item->d_name[0] != '.';
    closedir(directory);
    return count;
}

static uint32_t roots_count(const engine_fixture *f)
{
    char path[TEST_PATH_BYTES + 64];
    baton_journal *journal;
    baton_recovery_report report;
    snprintf(path, sizeof(path), "%s/journal", f->path);
    assert_int_equal(baton_journal_open(path, NULL, &journal, &report, NULL), 0);
    const uint32_t count = baton_journal_facts(journal)->roots_count;
    baton_journal_abandon(journal);
    return count;
}

static void scheduled_snapshots_keep_as_many_as_asked(void **unused)
{
    (void)unused;
    for (uint32_t keep = 0; keep <= 3; keep = keep == 0 ? 2 : keep + 1) {
        engine_fixture f;
        engine_fixture_make(&f, "snapshot_schedule");
        f.options.snapshot_every = 100;
        f.options.snapshots_keep = keep;
        engine_fixture_open(&f, &toy_service_v1);
        for (uint64_t n = 1; n <= 1000; n += 10) {
            engine_fixture_submit_stream(&f, n, n + 9);
            engine_fixture_settle(&f);
            while (baton_engine_snapshot_status(f.engine)->running)
                engine_fixture_turn(&f);
        }
        const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
        assert_in_range(state->taken_count, 8, 10);
        assert_int_equal(state->last_status, 0);
        assert_int_equal(engine_fixture_add(&f, 2, 1),
                         0); /* the entry that proves the last name durable */
        engine_fixture_settle(&f);
        engine_fixture_turn(&f);
        engine_fixture_turn(&f);
        assert_int_equal(engine_fixture_snapshots_count(&f), keep == 0 ? 2 : keep);
        assert_int_equal(files_count(&f), 2 * (keep == 0 ? 2 : keep));
        engine_fixture_close(&f);
        assert_int_equal(roots_count(&f), keep == 0 ? 2 : keep); /* and forgets their names */
        engine_fixture_open(&f, &toy_service_v1);
        assert_true(f.report.snapshot_seq >= 800);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

/* Seq 100 is pinned: newer ones come and go, it stays, and the journal still names it. */
static void a_pinned_one_outlives_newer_ones_and_stays_named(void **unused)
{
    (void)unused;
    char snapshots[TEST_PATH_BYTES + 32];
    engine_fixture f;
    engine_fixture_make(&f, "snapshot_pinned");
    snprintf(snapshots, sizeof(snapshots), "%s/snapshots", f.path);
    f.options.snapshots_keep = 2;
    engine_fixture_open(&f, &toy_service_v1);
    for (uint64_t n = 1; n <= 1000; n += 100) {
        engine_fixture_submit_stream(&f, n, n + 99);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
        if (n == 1)
            assert_int_equal(baton_snapshot_pin(snapshots, 100, baton_engine_epoch(f.engine), NULL),
                             0);
    }
    assert_int_equal(engine_fixture_add(&f, 2, 1), 0); /* proves the last name durable */
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    engine_fixture_turn(&f);
    assert_int_equal(engine_fixture_snapshots_count(&f), 3);
    assert_int_equal(files_count(&f), 2 * 3 + 1);
    const uint64_t epoch = baton_engine_epoch(f.engine);
    engine_fixture_close(&f);
    assert_int_equal(roots_count(&f), 3);
    assert_int_equal(baton_snapshot_unpin(snapshots, 100, epoch, NULL), 0);
    engine_fixture_open(&f, &toy_service_v1); /* a start prunes what no longer has to stay */
    engine_fixture_turn(&f);
    assert_int_equal(engine_fixture_snapshots_count(&f), 2);
    engine_fixture_close(&f);
    assert_int_equal(roots_count(&f), 2);
    engine_fixture_remove(&f);
}

static void one_at_a_time(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "snapshot_one");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 10);
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
    assert_true(state->running);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), BATON_E_AGAIN);
    while (state->running)
        engine_fixture_turn(&f);
    assert_int_equal(state->taken_count, 1);
    assert_int_equal(state->last_seq, 10);
    assert_false(baton_digest_is_zero(state->last_root));
    assert_int_equal(engine_fixture_snapshot(&f), 0); /* nothing new: the same one serves */
    assert_int_equal(state->taken_count, 1);
    assert_int_equal(engine_fixture_snapshots_count(&f), 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void it_is_of_the_moment_it_was_asked_for(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "snapshot_moment");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 500);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
    engine_fixture_submit_stream(&f, 501, 900); /* while it is written */
    while (baton_engine_snapshot_status(f.engine)->running)
        engine_fixture_turn(&f);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(f.report.snapshot_seq, 500);
    assert_int_equal(f.report.replayed_entries, 400);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void it_is_not_published_before_its_seq_is_durable(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_durable");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_settle(&f);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    engine_fixture_submit_stream(&f, 1, 50);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(baton_engine_turn(f.engine, 1000000, &f.error), 0);
    assert_true(baton_engine_snapshot_status(f.engine)->running);
    assert_int_equal(engine_fixture_snapshots_count(&f), 0);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    while (baton_engine_snapshot_status(f.engine)->running)
        engine_fixture_turn(&f);
    assert_int_equal(engine_fixture_snapshots_count(&f), 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void a_full_disk_costs_the_snapshot_and_not_the_service(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_full");
    f.options.snapshot_io_backend = io_fault_backend();
    f.options.snapshot_io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 100);
    io_fault_fail_all(fault, BATON_IO_WRITE, ENOSPC);
    assert_int_equal(engine_fixture_snapshot(&f), BATON_E_NO_SPACE);
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
    assert_int_equal(state->taken_count, 0);
    assert_int_equal(state->last_error.status, BATON_E_NO_SPACE);
    assert_true(state->last_error.todo[0] != '\0');
    assert_int_equal(files_count(&f), 0); /* nothing half-made stays */
    engine_fixture_submit_stream(&f, 101, 200);
    engine_fixture_settle(&f);

    io_fault_fail_all(fault, BATON_IO_WRITE, 0);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    assert_int_equal(state->taken_count, 1);
    engine_fixture_close(&f);
    f.options.snapshot_io_backend = NULL;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(f.report.snapshot_seq, 200);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static char heard[4096];

static void hear(void *context, baton_log_level level, const char *line)
{
    (void)context;
    (void)level;
    if (strstr(line, "engine.snapshot_failed") != NULL)
        snprintf(heard, sizeof(heard), "%s", line);
}

static unsigned long failed_total(const engine_fixture *f)
{
    static const char name[] = "\nbaton_snapshots_failed_total ";
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(baton_metrics_print(baton_engine_metrics(f->engine), &text, &bytes), 0);
    const char *at = strstr(text, name);
    assert_non_null(at);
    const unsigned long total = strtoul(at + strlen(name), NULL, 10);
    free(text);
    return total;
}

/* Wherever the disk turns out to be full: the generations that there are stay, metric and log say so,
 * and when there is space the next one is taken. */
static void on_a_full_disk_the_old_ones_stay_and_it_is_said(void **unused)
{
    (void)unused;
    static const baton_io_kind kinds[] = {BATON_IO_OPEN, BATON_IO_WRITE, BATON_IO_SYNC_DATA,
                                          BATON_IO_RENAME, BATON_IO_SYNC};
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_full_generations");
    f.options.snapshot_io_backend = io_fault_backend();
    f.options.snapshot_io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    for (uint64_t n = 0; n < 2; n++) {
        engine_fixture_submit_stream(&f, 100 * n + 1, 100 * n + 100);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
    }
    baton_log_set_sink(hear, NULL, BATON_LOG_WARN);
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        heard[0] = '\0';
        io_fault_fail_all(fault, kinds[i], i % 2 == 0 ? ENOSPC : EDQUOT);
        engine_fixture_submit_stream(&f, 201 + 10 * i, 210 + 10 * i);
        assert_int_equal(engine_fixture_snapshot(&f), BATON_E_NO_SPACE);
        io_fault_fail_all(fault, kinds[i], 0);
        engine_fixture_settle(&f); /* the service goes on */
        assert_int_equal(engine_fixture_snapshots_count(&f), 2);
        assert_int_equal(files_count(&f), 4);
        assert_int_equal(failed_total(&f), i + 1);
        assert_non_null(strstr(heard, "BATON_E_NO_SPACE"));
        assert_non_null(strstr(heard, "space"));
    }
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    f.options.snapshot_io_backend = NULL;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(f.report.snapshot_seq, 250);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

/* The journal's disk is full: what room is left is for the handover, and nothing else takes it. */
static void fill_the_disk(engine_fixture *f, io_fault *fault)
{
    f->options.segment_bytes = 1 << 20;
    f->options.io_backend = io_fault_backend();
    f->options.io_context = fault;
    engine_fixture_open(f, &toy_service_v1);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    int r = 0;
    while (r != BATON_E_NO_SPACE) {
        r = engine_fixture_burst(f, 0, 0, 0);
        assert_true(r == 0 || r == BATON_E_FULL || r == BATON_E_NO_SPACE);
        engine_fixture_turn(f);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(engine_fixture_snapshot(f), BATON_E_NO_SPACE);
        engine_fixture_turn(f);
    }
}

static void on_a_full_disk_the_handover_still_finds_its_room(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_journal_full");
    fill_the_disk(&f, fault);
    const uint64_t seq = baton_engine_applied_seq(f.engine);
    engine_fixture_hand_over(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0); /* the successor names it */
    engine_fixture_close(&f);
    f.options.io_backend = NULL;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(baton_engine_applied_seq(f.engine), seq);
    assert_int_equal(f.report.snapshot_seq, seq);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void when_space_returns_a_snapshot_needs_no_new_entry(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_space_returns");
    fill_the_disk(&f, fault);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    int r = BATON_E_NO_SPACE;
    while (r == BATON_E_NO_SPACE) { /* the test's time limit bounds it */
        engine_fixture_turn(&f);
        r = engine_fixture_snapshot(&f);
    }
    assert_int_equal(r, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

/* Every operation of a snapshot fails once, or is the last before the disk dies: the service goes
 * on, and starts again from whatever is there. */
static void any_failing_operation_leaves_a_good_start(void **unused)
{
    (void)unused;
    const uint64_t stride = engine_sweep_stride();
    for (int dies = 0; dies < 2; dies++) {
        uint32_t failed_count = 0;
        bool whole = false;
        for (uint64_t n = 1 + (uint64_t)dies; !whole; n += stride) {
            engine_fixture f;
            io_fault *fault = io_fault_new();
            engine_fixture_make(&f, "snapshot_sweep");
            f.options.snapshot_io_backend = io_fault_backend();
            f.options.snapshot_io_context = fault;
            engine_fixture_open(&f, &toy_service_v1);
            engine_fixture_submit_stream(&f, 1, 100);
            assert_int_equal(engine_fixture_snapshot(&f), 0);
            engine_fixture_submit_stream(&f, 101, 200);
            engine_fixture_settle(&f);
            const uint64_t before = io_fault_count(fault);
            if (dies)
                io_fault_crash_after(fault, before + n - 1);
            else
                io_fault_fail(fault, before + n, EIO);
            whole = engine_fixture_snapshot(&f) == 0; /* n is past its last operation */
            failed_count += !whole;
            engine_fixture_submit_stream(&f, 201, 300);
            engine_fixture_settle(&f);
            engine_fixture_close(&f);
            f.options.snapshot_io_backend = NULL;
            engine_fixture_open(&f, &toy_service_v1);
            assert_true(f.report.snapshot_seq == 100 || f.report.snapshot_seq == 200);
            assert_int_equal(baton_engine_applied_seq(f.engine), 300);
            engine_assert_expected(&f, expected);
            engine_fixture_close(&f);
            assert_int_equal(files_count(&f) % 2, 0); /* the start removed leftovers */
            engine_fixture_remove(&f);
            io_fault_free(fault);
            assert_true(n < 200);
        }
        assert_true(failed_count * stride > 5);
    }
}

static void old_ones_stay_until_the_new_name_is_durable(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "snapshot_prune");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    for (uint64_t n = 1; n <= 201; n += 100) {
        engine_fixture_submit_stream(&f, n, n + 99);
        engine_fixture_settle(&f);
        if (n == 201) /* the record that names the third one can not become durable */
            io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(baton_engine_turn(f.engine, 1000000, &f.error), 0);
    assert_int_equal(engine_fixture_snapshots_count(&f), 3);
    engine_fixture_submit_stream(&f, 301, 310);
    for (int i = 0; i < 20; i++)
        assert_int_equal(baton_engine_turn(f.engine, 1000000, &f.error), 0);
    assert_int_equal(engine_fixture_snapshots_count(&f), 3);

    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    engine_fixture_turn(&f);
    assert_int_equal(engine_fixture_snapshots_count(&f), 2);
    engine_fixture_close(&f);
    f.options.io_backend = NULL;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(f.report.snapshot_seq, 300);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void every_compression_gives_the_same_state(void **unused)
{
    (void)unused;
    static const baton_compress kinds[] = {BATON_COMPRESS_AUTO, BATON_COMPRESS_LZ4,
                                           BATON_COMPRESS_RAW};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        engine_fixture f;
        engine_fixture_make(&f, "snapshot_compress");
        f.options.compress = kinds[i];
        engine_fixture_open(&f, &toy_service_v1);
        engine_fixture_submit_stream(&f, 1, 1500);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
        engine_fixture_close(&f);
        engine_fixture_open(&f, &toy_service_v1);
        assert_int_equal(f.report.snapshot_seq, 1500);
        engine_assert_expected(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void an_empty_state_can_be_kept_too(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "snapshot_empty");
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_submit_stream(&f, 1, 20);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1);
    assert_true(f.report.from_snapshot);
    assert_int_equal(f.report.replayed_entries, 20);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void closing_while_one_is_written_leaves_none_half_made(void **unused)
{
    (void)unused;
    for (int turns = 0; turns < 12; turns++) {
        engine_fixture f;
        engine_fixture_make(&f, "snapshot_closing");
        engine_fixture_open(&f, &toy_service_v1);
        engine_fixture_submit_stream(&f, 1, 100);
        assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
        for (int i = 0; i < turns; i++)
            engine_fixture_turn(&f);
        engine_fixture_close(&f);
        assert_int_equal(files_count(&f), 2 * engine_fixture_snapshots_count(&f));
        engine_fixture_open(&f, &toy_service_v1);
        engine_assert_expected(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scheduled_snapshots_keep_as_many_as_asked),
        cmocka_unit_test(a_pinned_one_outlives_newer_ones_and_stays_named),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(it_is_of_the_moment_it_was_asked_for),
        cmocka_unit_test(it_is_not_published_before_its_seq_is_durable),
        cmocka_unit_test(a_full_disk_costs_the_snapshot_and_not_the_service),
        cmocka_unit_test(on_a_full_disk_the_old_ones_stay_and_it_is_said),
        cmocka_unit_test(on_a_full_disk_the_handover_still_finds_its_room),
        cmocka_unit_test(when_space_returns_a_snapshot_needs_no_new_entry),
        cmocka_unit_test(any_failing_operation_leaves_a_good_start),
        cmocka_unit_test(old_ones_stay_until_the_new_name_is_durable),
        cmocka_unit_test(every_compression_gives_the_same_state),
        cmocka_unit_test(an_empty_state_can_be_kept_too),
        cmocka_unit_test(closing_while_one_is_written_leaves_none_half_made),
    };
    expected = engine_stream_expected(2000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
