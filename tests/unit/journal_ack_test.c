/* Acknowledgements: in order, for the contiguous prefix only, never after a failure (J1, J2,
 * J6). The backend fails, holds and reorders on purpose. A fault at every operation:
 * journal_fault_test.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "journal/format.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static io_fault *fault;
static baton_journal_options options;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_ack");
    fault = io_fault_new();
    options = fixture_options();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    io_fault_free(fault);
    test_dir_remove(&dir);
    return 0;
}

static void wait_for_next_segment(baton_journal *journal)
{
    /* The blocking wait drives the steps of the next segment too: flush() returns when nothing
     * is in flight but them. */
    for (int i = 0; i < 2000; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
}

static void acks_never_skip_however_writes_finish(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        char name[32];
        snprintf(name, sizeof(name), "j%d", (int)seed);
        io_fault_set_order(fault, seed == 1 ? IO_FAULT_REVERSED : IO_FAULT_RANDOM, seed);
        io_fault_set_gather(fault, 4);
        baton_journal *journal = fixture_begin(test_path(&dir, name), &options);
        uint64_t seen = 0;
        for (uint32_t i = 0; i < 400;) {
            int r = fixture_append(journal);
            if (r == 0) {
                i++;
            } else { /* what it waits for may be too few to gather */
                assert_int_equal(r, BATON_E_FULL);
                io_fault_set_gather(fault, 0);
            }
            assert_int_equal(baton_journal_poll(journal), 0);
            io_fault_set_gather(fault, 4);
            uint64_t durable = baton_journal_durable_seq(journal);
            assert_true(durable >= seen && durable <= baton_journal_last_seq(journal));
            seen = durable;
        }
        io_fault_set_gather(fault, 0);
        assert_int_equal(baton_journal_wait(journal, 400, FIXTURE_WAIT_NS), 0);
        assert_int_equal(baton_journal_close(journal), 0);
        fixture_expect(test_path(&dir, name), 1, 400);
    }
}

static void the_later_of_two_writes_waits_for_the_earlier(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(test_path(&dir, "j"), &options);
    wait_for_next_segment(journal);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(fixture_append(journal), 0);
        assert_int_equal(baton_journal_poll(journal), 0);
    }
    assert_int_equal(io_fault_held(fault), 3);
    io_fault_release(fault, 2);
    io_fault_release(fault, 1);
    assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(io_fault_held(fault), 1);
    assert_int_equal(baton_journal_durable_seq(journal), 0);
    assert_int_equal(baton_journal_wait(journal, 1, 0), BATON_E_TIMEOUT);
    io_fault_release(fault, 0);
    assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(baton_journal_durable_seq(journal), 3);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(test_path(&dir, "j"), 1, 3);
}

/* Held: the header of the next segment, and the first batch in it. */
static void nothing_in_a_segment_is_acked_before_its_header(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(test_path(&dir, "j"), &options);
    wait_for_next_segment(journal);
    uint8_t payload[65000] = {0};
    for (uint32_t i = 0; i < 3; i++) { /* 3 of 64 KiB fill a first segment of 256 KiB */
        assert_int_equal(baton_journal_append(journal, 1, payload, sizeof(payload), NULL), 0);
        assert_int_equal(baton_journal_wait(journal, i + 1, FIXTURE_WAIT_NS), 0);
    }
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    assert_int_equal(baton_journal_append(journal, 1, payload, sizeof(payload), NULL), 0);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(io_fault_held(fault),
                     3);        /* header, batch, and the trailer of the segment before */
    io_fault_release(fault, 1); /* the batch */
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(io_fault_held(fault), 2);
    assert_int_equal(baton_journal_durable_seq(journal), 3);
    io_fault_release(fault, 0); /* the header */
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(baton_journal_durable_seq(journal), 4);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void after_a_failed_write_nothing_more_is_acked(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 4; at++) {
        char path[TEST_PATH_BYTES];
        snprintf(path, sizeof(path), "%.400s/n%d", dir.path, (int)at);
        baton_journal *journal = fixture_begin(path, &options);
        wait_for_next_segment(journal);
        io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(fixture_append(journal), 0);
            assert_int_equal(baton_journal_poll(journal), 0);
        }
        io_fault_fail_kind(fault, BATON_IO_WRITE_DURABLE, at + 1, EIO);
        io_fault_release_all(fault);
        int r = 0;
        for (uint32_t i = 0; i < 10 && r == 0; i++)
            r = baton_journal_poll(journal);
        assert_int_equal(r, BATON_E_BROKEN);
        uint64_t durable = baton_journal_durable_seq(journal);
        assert_true(durable <= at);
        assert_int_equal(fixture_append(journal), BATON_E_BROKEN);
        assert_int_equal(baton_journal_poll(journal), BATON_E_BROKEN);
        assert_int_equal(baton_journal_wait(journal, 4, 1000), BATON_E_BROKEN);
        assert_int_equal(baton_journal_flush(journal), BATON_E_BROKEN);
        assert_int_equal(baton_journal_durable_seq(journal), durable);
        assert_int_equal(baton_journal_close(journal), BATON_E_BROKEN);
        io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
        io_fault_fail_kind(fault, BATON_IO_WRITE_DURABLE, 0, 0);
    }
}

static void a_failed_flush_breaks_mode_written(void **state)
{
    (void)state;
    options.mode = BATON_MODE_WRITTEN;
    baton_journal *journal = fixture_begin(test_path(&dir, "j"), &options);
    wait_for_next_segment(journal);
    assert_int_equal(fixture_append(journal), 0);
    assert_int_equal(baton_journal_flush(journal), 0);
    io_fault_fail_all(fault, BATON_IO_SYNC_DATA, EIO);
    io_fault_fail_kind(fault, BATON_IO_SYNC, 1, EIO);
    assert_int_not_equal(baton_journal_close(journal), 0);
}

/* The durable position that a batch carries was true when it was submitted. */
static void headers_carry_the_position_known_at_submit(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(test_path(&dir, "j"), &options);
    const baton_digest effects = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2}};
    assert_int_equal(fixture_append(journal), 0);
    assert_int_equal(baton_journal_wait(journal, 1, FIXTURE_WAIT_NS), 0);
    baton_journal_note_applied(journal, 1, effects);
    assert_int_equal(fixture_append(journal), 0);
    assert_int_equal(baton_journal_wait(journal, 2, FIXTURE_WAIT_NS), 0);
    char path[TEST_PATH_BYTES];
    fixture_segments(test_path(&dir, "j"), path, NULL);
    baton_batch_header header;
    fixture_read_file(path, 2 * BATON_IO_UNIT, &header, sizeof(header));
    assert_int_equal(baton_le64_get(header.batch), 2);
    assert_int_equal(baton_le64_get(header.first_seq), 2);
    assert_int_equal(baton_le64_get(header.durable_seq), 1);
    assert_int_equal(baton_le64_get(header.durable_epoch), 1);
    assert_int_equal(baton_le64_get(header.durable_batch), 1);
    assert_int_equal(baton_le64_get(header.applied_seq), 1);
    assert_int_equal(baton_le64_get(header.effect_digest), baton_digest_low64(effects));
    assert_int_equal(baton_journal_close(journal), 0);
}

#define FAULT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT(acks_never_skip_however_writes_finish),
        FAULT(the_later_of_two_writes_waits_for_the_earlier),
        FAULT(nothing_in_a_segment_is_acked_before_its_header),
        FAULT(after_a_failed_write_nothing_more_is_acked),
        FAULT(a_failed_flush_breaks_mode_written),
        FAULT(headers_carry_the_position_known_at_submit),
    };
    return cmocka_run_group_tests_name("journal acks", tests, NULL, NULL);
}
