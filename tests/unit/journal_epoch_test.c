/* Who may write: locks, epochs, what a dead writer left behind (J10), and time (J11). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/format.h"
#include "journal/records.h"
#include "tests/unit/journal_fixture.h"

static baton_backend backend; /* set by main for a whole run of the tests */
static test_dir dir;
static baton_journal_options options;
static char journal_dir[TEST_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_epoch");
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

static void overwrite(const char *path, uint64_t offset, const void *bytes, size_t count)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, count, (off_t)offset), count);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

static void wait_for_segments(baton_journal *journal, uint32_t count)
{
    uint32_t there = 0;
    for (int i = 0; i < 60000 && (there = fixture_segments(journal_dir, NULL, NULL)) < count; i++) {
        assert_int_equal(baton_journal_poll(journal), 0);
        usleep(1000);
    }
    assert_int_equal(there, count);
}

static void a_second_writer_is_refused_and_the_first_goes_on(void **state)
{
    (void)state;
    baton_journal *first = fixture_begin(journal_dir, &options);
    fixture_append_durable(first, 5);
    options.lock_wait_ns = 20000000;
    baton_journal *second;
    baton_recovery_report report;
    baton_error error = {0};
    assert_int_equal(baton_journal_open(journal_dir, &options, &second, &report, &error),
                     BATON_E_LOCKED);
    assert_non_null(strstr(error.path, "LOCK"));
    assert_true(error.todo[0] != '\0');
    fixture_append_durable(first, 5);
    assert_int_equal(baton_journal_close(first), 0);
    fixture_expect(journal_dir, 1, 10);
    assert_int_equal(fixture_try_begin(journal_dir, &options, &second), 0);
    assert_int_equal(baton_journal_close(second), 0);
}

static void open_without_begin_changes_nothing_of_the_journal(void **state)
{
    (void)state;
    baton_journal *journal;
    baton_recovery_report report;
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_int_equal(report.last.seq, 0);
    assert_int_equal(baton_journal_epoch(journal), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(fixture_segments(journal_dir, NULL, NULL), 0);

    journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 2);
    assert_int_equal(baton_journal_close(journal), 0);
    uint32_t count = fixture_segments(journal_dir, NULL, NULL);
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_int_equal(report.last.seq, 2);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(fixture_segments(journal_dir, NULL, NULL), count);
}

static void every_begin_takes_a_higher_epoch_and_a_new_segment(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (uint32_t i = 1; i <= 6; i++) {
        baton_journal *journal = fixture_begin(journal_dir, &options);
        assert_int_equal(baton_journal_epoch(journal), i);
        if (i % 2 == 0) /* some terms pass without an entry, some end without a close mark */
            fixture_append_durable(journal, 4);
        if (i % 2 == 0)
            last += 4;
        if (i % 3 == 0)
            baton_journal_abandon(journal);
        else
            assert_int_equal(baton_journal_close(journal), 0);
    }
    fixture_expect(journal_dir, 1, last);
}

static void the_id_is_made_once_and_the_chain_goes_on(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    baton_digest id = baton_journal_id(journal);
    assert_false(baton_digest_is_zero(id));
    fixture_append_durable(journal, 3);
    baton_position end = baton_journal_durable_position(journal);
    baton_journal_abandon(journal);

    journal = fixture_begin(journal_dir, &options);
    assert_true(baton_digest_equal(baton_journal_id(journal), id));
    char first[TEST_PATH_BYTES];
    char last[TEST_PATH_BYTES];
    fixture_segments(journal_dir, first, last);
    baton_segment_header header;
    baton_batch_header batch;
    fixture_read_file(last, 0, &header, sizeof(header));
    assert_int_equal(baton_segment_header_check(&header), BATON_UNIT_VALID);
    baton_position continues = baton_position_get(&header.continues);
    assert_int_equal(baton_position_compare(continues, end), 0);
    assert_int_equal(continues.seq, 3);
    assert_int_equal(baton_le64_get(header.continues_index), 1);
    fixture_read_file(first, baton_le64_get(header.continues_offset) - BATON_IO_UNIT, &batch,
                      sizeof(batch));
    assert_int_equal(baton_le64_get(batch.batch), end.batch);
    assert_memory_equal(batch.digest, header.continues_digest, 16);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_dead_writers_ready_segment_is_removed_and_its_current_one_left_alone(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 3);
    wait_for_segments(journal, 2);
    char current[TEST_PATH_BYTES];
    char ready[TEST_PATH_BYTES];
    fixture_segments(journal_dir, current, ready);
    baton_journal_abandon(journal); /* as if killed: the ready one stays */
    assert_true(fixture_exists(ready));
    static uint8_t before[256 << 10];
    static uint8_t after[256 << 10];
    fixture_read_file(current, 0, before, sizeof(before));

    journal = fixture_begin(journal_dir, &options);
    assert_false(fixture_exists(ready));
    fixture_append_durable(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_read_file(current, 0, after, sizeof(after));
    assert_memory_equal(before, after, sizeof(before));
    fixture_expect(journal_dir, 1, 6);
}

static void a_torn_tail_is_cut_and_its_bytes_are_kept_aside(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 3);
    baton_journal_abandon(journal);
    char path[TEST_PATH_BYTES];
    fixture_segments(journal_dir, path, NULL);
    baton_batch_header batch;
    uint64_t end = BATON_IO_UNIT;
    while (fixture_read_file(path, end, &batch, sizeof(batch)) == sizeof(batch) &&
           baton_le64_get(batch.batch) != 0)
        end += baton_le32_get(batch.batch_bytes);
    uint8_t garbage[5000];
    memset(garbage, 0xab, sizeof(garbage));
    overwrite(path, end, garbage, sizeof(garbage));

    baton_recovery_report report;
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_true(report.torn_cut > 0);
    assert_int_equal(report.acked_lost, 0);
    assert_int_equal(report.last.seq, 3);
    assert_int_equal(baton_journal_begin(journal, &report, NULL), 0);
    uint8_t kept[5000];
    assert_non_null(strstr(report.torn_path, "/torn/"));
    assert_int_equal(fixture_read_file(report.torn_path, 0, kept, sizeof(kept)), sizeof(kept));
    assert_memory_equal(kept, garbage, sizeof(kept));
    fixture_append_durable(journal, 2);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 5);

    /* Void now: the next open has nothing torn to report. */
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_int_equal(report.torn_cut, 0);
    baton_journal_abandon(journal);
}

/* What a killed writer's write does when it lands after the next epoch has begun. */
static void a_dead_writers_late_write_is_void(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 3);
    char path[TEST_PATH_BYTES];
    fixture_segments(journal_dir, path, NULL);
    static uint8_t before[256 << 10];
    static uint8_t after[256 << 10];
    fixture_read_file(path, 0, before, sizeof(before));
    fixture_append_durable(journal, 4); /* a batch that chains on: valid in every way */
    baton_journal_abandon(journal);
    fixture_read_file(path, 0, after, sizeof(after));
    overwrite(path, 0, before, sizeof(before)); /* it has not landed yet */

    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), 3);
    overwrite(path, 0, after, sizeof(after)); /* and now it has */
    fixture_append_durable(journal, 2);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 5);
    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), 5);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* Crash at every operation of an open and begin: the next one works, with an epoch above every
 * name that was left. */
static void a_begin_that_dies_anywhere_is_followed_by_another(void **state)
{
    (void)state;
    uint64_t died = 0;
    for (bool worked = false; !worked; died++) {
        assert_true(died < 1000);
        snprintf(journal_dir, sizeof(journal_dir), "%.400s/n%d", dir.path, (int)died);
        baton_journal *journal = fixture_begin(journal_dir, &options);
        fixture_append_durable(journal, 3);
        baton_journal_abandon(journal);

        io_fault *fault = io_fault_new();
        baton_journal_options dying = fixture_options();
        dying.io_backend = io_fault_backend();
        dying.io_context = fault;
        io_fault_crash_after(fault, died);
        worked = fixture_try_begin(journal_dir, &dying, &journal) == 0;
        if (worked)
            baton_journal_abandon(journal);
        io_fault_free(fault);

        char last[TEST_PATH_BYTES];
        uint64_t burnt, index;
        fixture_segments(journal_dir, NULL, last);
        assert_true(baton_segment_name_parse(strrchr(last, '/') + 1, &burnt, &index));
        journal = fixture_begin(journal_dir, &options);
        assert_true(baton_journal_epoch(journal) > burnt);
        assert_int_equal(baton_journal_last_seq(journal), 3);
        baton_journal_abandon(journal);
        fixture_expect(journal_dir, 1, 3);
    }
    assert_true(died > 10);
}

static void entry_time_follows_the_monotonic_clock_and_never_goes_back(void **state)
{
    (void)state;
    fixture_clock clock;
    fixture_clock_init(&clock);
    options.clock = &clock.clock;
    baton_metrics *metrics;
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options.metrics = metrics;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    baton_entry first, second, third;
    assert_int_equal(baton_journal_append(journal, 1, "a", 1, &first), 0);
    assert_int_equal(first.time_ns, clock.wall_ns);
    assert_int_equal(baton_journal_flush(journal), 0);
    clock.monotonic_ns += 3000000000;
    clock.wall_ns -= UINT64_C(3600000000000); /* somebody sets the clock back by an hour */
    assert_int_equal(baton_journal_append(journal, 1, "b", 1, &second), 0);
    assert_int_equal(second.time_ns, first.time_ns + 3000000000);
    assert_int_equal(baton_journal_flush(journal), 0);
    char *text;
    size_t bytes;
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    assert_non_null(strstr(text, "\nbaton_journal_clock_steps_total 1\n"));
    free(text);
    assert_int_equal(baton_journal_close(journal), 0);

    journal = fixture_begin(journal_dir, &options); /* the wall clock is still behind */
    assert_int_equal(baton_journal_append(journal, 1, "c", 1, &third), 0);
    assert_true(third.time_ns >= second.time_ns);
    assert_int_equal(baton_journal_close(journal), 0);
    baton_metrics_destroy(metrics);
}

static void a_turn_reads_the_clock_anew_and_eight_entries_share_a_reading(void **state)
{
    (void)state;
    fixture_clock clock;
    fixture_clock_init(&clock);
    options.clock = &clock.clock;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    const uint64_t begin_ns = clock.wall_ns;
    const uint64_t begin_monotonic_ns = clock.monotonic_ns;
    uint64_t reading_ns = begin_ns;
    for (uint32_t i = 0; i < 24; i++) {
        baton_entry entry;
        if (i % 8 == 0)
            reading_ns = begin_ns + (clock.monotonic_ns - begin_monotonic_ns);
        assert_int_equal(baton_journal_append(journal, 1, "a", 1, &entry), 0);
        assert_int_equal(entry.time_ns, reading_ns);
        clock.monotonic_ns += 1000;
    }
    for (uint32_t i = 0; i < 3; i++) { /* after a poll, none has an older time */
        baton_entry entry;
        clock.monotonic_ns += 5000000000;
        assert_int_equal(baton_journal_poll(journal), 0);
        assert_int_equal(baton_journal_append(journal, 1, "b", 1, &entry), 0);
        assert_int_equal(entry.time_ns, begin_ns + (clock.monotonic_ns - begin_monotonic_ns));
    }
    assert_int_equal(baton_journal_close(journal), 0);
}

#define EPOCH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EPOCH(a_second_writer_is_refused_and_the_first_goes_on),
        EPOCH(open_without_begin_changes_nothing_of_the_journal),
        EPOCH(every_begin_takes_a_higher_epoch_and_a_new_segment),
        EPOCH(the_id_is_made_once_and_the_chain_goes_on),
        EPOCH(a_dead_writers_ready_segment_is_removed_and_its_current_one_left_alone),
        EPOCH(a_torn_tail_is_cut_and_its_bytes_are_kept_aside),
        EPOCH(a_dead_writers_late_write_is_void),
        EPOCH(a_begin_that_dies_anywhere_is_followed_by_another),
        EPOCH(entry_time_follows_the_monotonic_clock_and_never_goes_back),
        EPOCH(a_turn_reads_the_clock_anew_and_eight_entries_share_a_reading),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("journal epochs, threads", tests, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("journal epochs, uring", tests, NULL, NULL);
}
