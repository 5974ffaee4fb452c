/* A full disk (J6): back-pressure that ends when space returns, never a half-made file, and room
 * enough to go down well. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "journal/format.h"
#include "journal/records.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static io_fault *fault;
static fixture_clock clock_;
static baton_journal_options options;
static char journal_dir[TEST_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_full");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    fault = io_fault_new();
    fixture_clock_init(&clock_);
    options = fixture_options();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    options.clock = &clock_.clock;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    io_fault_free(fault);
    test_dir_remove(&dir);
    return 0;
}

static void turn(baton_journal *journal, int times)
{
    for (int i = 0; i < times; i++) {
        assert_int_equal(baton_journal_poll(journal), 0);
        clock_.monotonic_ns += 10000000;
        clock_.wall_ns += 10000000;
    }
}

/* Append until the answer is something else than yes; everything taken becomes durable. */
static int fill(baton_journal *journal)
{
    int r;
    for (int i = 0; i < 100000; i++) {
        r = fixture_append(journal);
        if (r != 0 && r != BATON_E_FULL)
            break;
        turn(journal, 1);
    }
    assert_int_equal(baton_journal_flush(journal), 0);
    return r;
}

static void a_full_disk_is_back_pressure_whatever_hits_it_first(void **state)
{
    (void)state;
    const baton_io_kind kinds[] = {BATON_IO_OPEN, BATON_IO_ALLOCATE, BATON_IO_WRITE,
                                   BATON_IO_SYNC_DATA, BATON_IO_SYNC};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        char path[TEST_PATH_BYTES];
        snprintf(path, sizeof(path), "%.400s/k%d", dir.path, (int)k);
        baton_journal *journal = fixture_begin(path, &options);
        io_fault_fail_all(fault, kinds[k], k % 2 == 0 ? ENOSPC : EDQUOT);
        assert_int_equal(fill(journal), BATON_E_NO_SPACE);
        uint64_t last = baton_journal_last_seq(journal);
        assert_true(last > 40);
        assert_int_equal(baton_journal_durable_seq(journal), last);
        turn(journal, 30);
        for (int i = 0; i < 10;
             i++) /* a try that has begun comes to its end, and no new one begins */
            assert_int_equal(baton_journal_poll(journal), 0);
        assert_int_equal(fixture_append(journal), BATON_E_NO_SPACE);
        assert_int_equal(fixture_segments(path, NULL, NULL), 1); /* nothing half made stays */

        io_fault_fail_all(fault, kinds[k], 0);
        turn(journal, 40);
        fixture_append_durable(journal, 50);
        assert_int_equal(baton_journal_close(journal), 0);
        fixture_expect(path, 1, last + 50);
    }
}

static void a_full_segment_on_a_full_disk_still_takes_the_handover_and_closes(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    assert_int_equal(fill(journal), BATON_E_NO_SPACE);
    uint8_t nothing[1] = {0};
    while (baton_journal_append(journal, fixture_type(1), nothing, 0, NULL) ==
           0) /* the last bytes too */
        ;
    assert_int_equal(baton_journal_flush(journal), 0);
    uint64_t last = baton_journal_last_seq(journal);
    baton_handover_wire handover = {.epoch = baton_le64_put(1), .last_seq = baton_le64_put(last)};
    assert_int_equal(
        baton_journal_append_record(journal, BATON_RECORD_HANDOVER, &handover, sizeof(handover)),
        0);
    assert_int_equal(baton_journal_flush(journal), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);

    baton_journal_summary summary;
    assert_int_equal(
        baton_journal_verify(journal_dir, BATON_BACKEND_THREADS, NULL, NULL, &summary, NULL), 0);
    assert_true(summary.closed);
    assert_int_equal(summary.recovery.last.seq, last);
    assert_int_equal(summary.recovery.unproven, 0);
    journal = fixture_begin(journal_dir, &options);
    assert_memory_equal(&baton_journal_facts(journal)->handover, &handover, sizeof(handover));
    assert_int_equal(baton_journal_close(journal), 0);
}

/* Idle between the last entries, the records and the handover, again and again: each mark takes
 * its own place, none the handover's. */
static void marks_and_records_leave_the_handover_its_room(void **state)
{
    (void)state;
    const uint8_t nothing[1] = {0};
    const baton_checkpoint_wire checkpoint = {.state_schema = baton_le32_put(1)};
    for (uint32_t records = 0; records < 4; records++) {
        char path[TEST_PATH_BYTES];
        snprintf(path, sizeof(path), "%.400s/r%u", dir.path, records);
        baton_journal *journal = fixture_begin(path, &options);
        io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
        assert_int_equal(fill(journal), BATON_E_NO_SPACE);
        do { /* to the last entry, with an idle time after each */
            assert_int_equal(baton_journal_flush(journal), 0);
            turn(journal, 10);
        } while (baton_journal_append(journal, fixture_type(1), nothing, 0, NULL) == 0);
        int r = 0;
        for (uint32_t i = 0; i < records * 3; i++) { /* to the last record, and beyond */
            r = baton_journal_append_record(journal, BATON_RECORD_CHECKPOINT, &checkpoint,
                                            sizeof(checkpoint));
            assert_int_equal(baton_journal_flush(journal), 0);
            turn(journal, 10);
        }
        assert_int_equal(r, records == 0 ? 0 : BATON_E_NO_SPACE);
        baton_handover_wire handover = {.epoch = baton_le64_put(1),
                                        .last_seq =
                                            baton_le64_put(baton_journal_last_seq(journal))};
        assert_int_equal(baton_journal_append_record(journal, BATON_RECORD_HANDOVER, &handover,
                                                     sizeof(handover)),
                         0);
        uint64_t batch = baton_journal_queued_batch(journal);
        assert_true(baton_journal_durable_position(journal).batch < batch);
        assert_int_equal(baton_journal_flush(journal), 0);
        assert_int_equal(baton_journal_durable_position(journal).batch, batch);
        assert_int_equal(baton_journal_queued_batch(journal), batch);
        turn(journal, 10); /* the handover's own mark: killed now, it is proven */
        assert_true(baton_journal_durable_position(journal).batch == batch + 1);
        assert_int_equal(baton_journal_close(journal), 0);
        io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);

        baton_journal_summary summary;
        assert_int_equal(
            baton_journal_verify(path, BATON_BACKEND_THREADS, NULL, NULL, &summary, NULL), 0);
        assert_true(summary.closed);
        journal = fixture_begin(path, &options);
        assert_memory_equal(&baton_journal_facts(journal)->handover, &handover, sizeof(handover));
        assert_int_equal(baton_journal_close(journal), 0);
    }
}

/* Every entry that append took, and none that it refused, is there when the disk had room again
 * and when it never had (J6). */
static void back_pressure_loses_no_entry_that_was_taken(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    uint64_t taken = 0;
    uint32_t refused = 0;
    for (uint32_t phase = 0; phase < 7; phase++) { /* full in the even ones */
        io_fault_fail_all(fault, BATON_IO_ALLOCATE, phase % 2 == 0 ? ENOSPC : 0);
        uint32_t refused_before = refused;
        for (uint32_t i = 0; i < 6000 && refused - refused_before < 50; i++) {
            int r = fixture_append(journal);
            assert_true(r == 0 || r == BATON_E_FULL || r == BATON_E_NO_SPACE);
            taken += r == 0;
            refused += r == BATON_E_NO_SPACE;
            assert_int_equal(baton_journal_last_seq(journal), taken);
            if (r != 0 || i % 5 == 0)
                turn(journal, 1);
        }
    }
    assert_true(refused > 100);
    assert_int_equal(baton_journal_close(journal), 0);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    fixture_expect(journal_dir, 1, taken);
}

static void no_space_in_the_commit_path_breaks_the_journal(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    turn(journal, 60);
    io_fault_fail_kind(fault, BATON_IO_WRITE_DURABLE, 1, ENOSPC);
    assert_int_equal(fixture_append(journal), 0);
    int r = 0;
    for (int i = 0; i < 5 && r == 0; i++)
        r = baton_journal_poll(journal);
    assert_int_equal(r, BATON_E_BROKEN);
    assert_int_equal(baton_journal_durable_seq(journal), 0);
    assert_int_equal(baton_journal_close(journal), BATON_E_BROKEN);
}

/* The n-th operation that may need room meets a full disk. */
static int full_at(void *context, uint64_t n, const baton_io_op *op)
{
    uint64_t *left = context;
    (void)n;
    bool needs_room = !op || (op->kind != BATON_IO_READ && op->kind != BATON_IO_UNLINK &&
                              (op->kind != BATON_IO_OPEN || op->open_flags & BATON_IO_CREATE));
    return needs_room && --*left == 0 ? -ENOSPC : 0;
}

/* Every operation of a begin meets a full disk once: it says so, leaves nothing behind, and the
 * next one works. */
static void a_begin_on_a_full_disk_says_so_and_leaves_nothing_half_made(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    turn(journal, 60);
    fixture_append_durable(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);
    uint32_t there = fixture_segments(journal_dir, NULL, NULL);
    bool worked = false;
    uint32_t refused = 0;
    for (uint64_t n = 1; !worked; n++) {
        assert_true(n < 1000);
        uint64_t left = n;
        io_fault_set_decide(fault, full_at, &left);
        baton_recovery_report report;
        baton_error error = {0};
        int r = baton_journal_open(journal_dir, &options, &journal, &report, &error);
        if (r == 0) {
            r = baton_journal_begin(journal, &report, &error);
            worked = r == 0;
            baton_journal_abandon(journal);
        }
        if (r < 0) {
            assert_int_equal(r, BATON_E_NO_SPACE);
            assert_true(error.what[0] != '\0' && error.todo[0] != '\0' && error.path[0] != '\0');
            assert_int_equal(fixture_segments(journal_dir, NULL, NULL), there);
            refused++;
        }
    }
    io_fault_set_decide(fault, NULL, NULL);
    assert_true(refused > 5);
    fixture_expect(journal_dir, 1, 3);
}

/* ALLOCATE fails while the ballast is there: its room is what the first segment then takes. */
static int full_until_ballast_is_gone(void *context, uint64_t n, const baton_io_op *op)
{
    (void)n;
    const char *ballast = context;
    return op && op->kind == BATON_IO_ALLOCATE && op->bytes > 4096 && fixture_exists(ballast)
               ? -ENOSPC
               : 0;
}

static void a_begin_on_a_full_disk_lives_on_the_ballast_and_makes_it_again(void **state)
{
    (void)state;
    options.no_ballast = false;
    char ballast[TEST_PATH_BYTES];
    snprintf(ballast, sizeof(ballast), "%.400s/BALLAST", journal_dir);
    baton_journal *journal = fixture_begin(journal_dir, &options);
    for (int i = 0; i < 1000 && !fixture_exists(ballast); i++)
        turn(journal, 1);
    turn(journal, 5);
    assert_true(fixture_exists(ballast));
    fixture_append_durable(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);

    io_fault_set_decide(fault, full_until_ballast_is_gone, ballast);
    journal = fixture_begin(journal_dir, &options);
    assert_false(fixture_exists(ballast));
    fixture_append_durable(journal, 3);
    io_fault_set_decide(fault, NULL, NULL);
    for (int i = 0; i < 1000 && !fixture_exists(ballast); i++)
        turn(journal, 1);
    assert_true(fixture_exists(ballast));
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 6);
}

static void retries_on_a_full_disk_are_spaced_by_the_clock(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    assert_int_equal(fill(journal), BATON_E_NO_SPACE);
    turn(journal, 20);
    uint64_t before = io_fault_count(fault);
    for (int i = 0; i < 500; i++) /* the clock stands still */
        assert_int_equal(baton_journal_poll(journal), 0);
    assert_true(io_fault_count(fault) - before <= 6);
    uint64_t within = baton_journal_poll_within_ns(journal);
    assert_true(within > 0 && within <= 100000000);
    clock_.monotonic_ns += within; /* passes between a poll and the sleep after it */
    assert_int_equal(baton_journal_poll_within_ns(journal), 0);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    assert_int_equal(baton_journal_close(journal), 0);
}

#define FULL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FULL(a_full_disk_is_back_pressure_whatever_hits_it_first),
        FULL(a_full_segment_on_a_full_disk_still_takes_the_handover_and_closes),
        FULL(marks_and_records_leave_the_handover_its_room),
        FULL(back_pressure_loses_no_entry_that_was_taken),
        FULL(no_space_in_the_commit_path_breaks_the_journal),
        FULL(a_begin_on_a_full_disk_says_so_and_leaves_nothing_half_made),
        FULL(a_begin_on_a_full_disk_lives_on_the_ballast_and_makes_it_again),
        FULL(retries_on_a_full_disk_are_spaced_by_the_clock),
    };
    return cmocka_run_group_tests_name("journal on a full disk", tests, NULL, NULL);
}
