/* A standby's journal (follow.h): the same batches, byte for byte; and the writer that it becomes. What a
 * killed or a wrong one leaves: journal_follow_again_test.c; a fault at every operation:
 * tests/sim/journal_follow_sim.c. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/journal_pair.h"

static baton_backend backend; /* set by main for a whole run of the tests */

static int set_up(void **state)
{
    (void)state;
    pair_set_up("journal_follow", backend);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_tear_down();
    return 0;
}

/* ---- tests ---- */

static void a_standby_has_every_batch_byte_for_byte(void **state)
{
    (void)state;
    pair_write_epoch(400, true);
    pair_write_epoch(300, false);
    pair_write_epoch(500, true);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    const uint32_t batches = pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(pair_expect_same_batches(pair_standby_dir), batches);
    assert_int_equal(fixture_read_all(pair_standby_dir), fixture_read_all(pair_active_dir));
}

static void a_standby_that_starts_again_goes_on_where_it_stood(void **state)
{
    (void)state;
    pair_write_epoch(300, false);
    pair_write_epoch(200, false);
    uint32_t all = 0;
    for (uint32_t n = 1;; n++) {
        baton_journal *standby;
        uint32_t batches;
        assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
        assert_int_equal(pair_follow_some(standby, n % 5 + 1, &batches), 0);
        all += batches;
        assert_int_equal(baton_journal_poll(standby), 0); /* what came is on its way */
        if (n % 2 == 0)
            assert_int_equal(baton_journal_close(standby), 0);
        else
            baton_journal_abandon(standby);
        if (batches == 0)
            break;
    }
    assert_int_equal(pair_expect_same_batches(pair_standby_dir), all);
    assert_int_equal(fixture_read_all(pair_standby_dir), fixture_read_all(pair_active_dir));
}

static void a_standby_appends_nothing_and_takes_no_epoch(void **state)
{
    (void)state;
    pair_write_epoch(20, false);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(baton_journal_append(standby, 1, "x", 1, NULL), BATON_E_INVALID);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_epoch(standby), 1);
    assert_int_equal(baton_journal_append(standby, 1, "x", 1, NULL), BATON_E_INVALID);
    baton_error error = {0};
    assert_int_equal(baton_journal_begin(standby, NULL, &error), BATON_E_INVALID);
    assert_int_equal(baton_journal_close(standby), 0);
    pair_expect_same_batches(pair_standby_dir); /* no mark of its own either */
}

static void a_promoted_standby_goes_on_with_the_next_seq_and_an_unbroken_chain(void **state)
{
    (void)state;
    pair_write_epoch(200, false);
    const uint64_t last = fixture_read_all(pair_active_dir);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    baton_error error = {0};
    assert_int_equal(baton_journal_promote(standby, 1, &error), BATON_E_INVALID);
    pair_fail_on(baton_journal_prepare_promotion(standby, 2, &error), &error);
    pair_promote(standby, 2);
    fixture_append_durable(standby, 300);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, 1, last + 300);
    pair_fail_on(baton_journal_verify_continues(pair_active_dir, pair_standby_dir,
                                                BATON_BACKEND_THREADS, &error),
                 &error);

    baton_journal *again =
        fixture_begin(pair_standby_dir, &pair_options); /* an ordinary journal now */
    assert_int_equal(baton_journal_epoch(again), 3);
    fixture_append_durable(again, 3);
    assert_int_equal(baton_journal_close(again), 0);
    fixture_expect(pair_standby_dir, 1, last + 303);
}

static void what_was_prepared_for_an_epoch_that_was_not_granted_goes_away(void **state)
{
    (void)state;
    pair_write_epoch(30, false);
    baton_journal *standby;
    baton_error error = {0};
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    pair_fail_on(baton_journal_prepare_promotion(standby, 2, &error), &error);
    pair_write_epoch(400,
                     false); /* the active goes on, in that very epoch, over several segments */
    pair_follow_all(standby);
    pair_fail_on(baton_journal_prepare_promotion(standby, 3, &error), &error);
    baton_journal_abandon(standby); /* killed: its file stays */
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_write_epoch(30, true);
    pair_follow_all(standby);
    pair_promote(standby, 4);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, 1, fixture_read_all(pair_active_dir) + 5);
}

static void the_old_one_can_follow_the_new_one(void **state)
{
    (void)state;
    pair_write_epoch(100,
                     true); /* its close mark is not a part of the new one's chain: it is cut */
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    uint32_t batches;
    assert_int_equal(pair_follow_some(standby, 12, &batches), 0);
    assert_int_equal(batches, 12);
    pair_follow_all(standby);
    pair_promote(standby, 2);
    fixture_append_durable(standby, 200);
    assert_int_equal(baton_journal_close(standby), 0);

    char swap[TEST_PATH_BYTES];
    memcpy(swap, pair_active_dir, sizeof(swap));
    memcpy(pair_active_dir, pair_standby_dir, sizeof(swap));
    memcpy(pair_standby_dir, swap, sizeof(swap));
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    pair_promote(standby, 3);
    fixture_append_durable(standby, 9);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, 1, fixture_read_all(pair_active_dir) + 9);
}

static void a_standby_may_begin_in_the_middle(void **state)
{
    (void)state;
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    healthy.no_spares = true;
    baton_journal *active = fixture_begin(pair_active_dir, &healthy);
    pair_append_record(active, 3);
    for (uint32_t i = 0; i < 40; i++)
        fixture_append_durable(active, 100);
    uint32_t removed = 0;
    assert_int_equal(baton_journal_retire(active, 3000, &removed), 0);
    assert_true(removed > 0);
    assert_int_equal(baton_journal_close(active), 0);

    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    baton_reader *reader = NULL;
    baton_error error = {0};
    const baton_batch_header *batch;
    const baton_reader_options from = {.backend = BATON_BACKEND_THREADS, .from_seq = 3001};
    pair_fail_on(baton_reader_open(pair_active_dir, &from, &reader, &error), &error);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    baton_follow_start start;
    baton_reader_follow_start(reader, &start);
    assert_true(start.before.batch > 0);
    assert_true(start.before.seq <= 3000);
    assert_int_equal(start.facts.roots_count, 1); /* the record stands in a retired segment */
    pair_fail_on(baton_journal_follow_start(standby, &start, &error), &error);
    pair_fail_on(pair_take(standby, batch, &error), &error);
    baton_reader_close(reader);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_facts(standby)->roots_count, 1);
    pair_promote(standby, 2);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_true(pair_expect_same_batches(pair_active_dir) > 0);
    fixture_expect(pair_standby_dir, start.before.seq + 1, 4005);

    assert_int_equal(pair_try_begin_standby(test_path(&pair_dir, "other"), &standby), 0);
    const baton_reader_options retired = {.backend = BATON_BACKEND_THREADS, .from_seq = 5};
    assert_int_equal(baton_reader_open(pair_active_dir, &retired, &reader, &error), BATON_E_GONE);
    assert_int_equal(baton_journal_close(standby), 0);
}

static void what_does_not_go_on_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static _Alignas(4096) uint8_t bytes[128 << 10];
    pair_write_epoch(30, true);
    baton_journal *standby;
    uint32_t batches;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 3, &batches), 0);
    baton_reader *reader = pair_open_source(standby);
    const baton_batch_header *batch;
    baton_error error = {0};
    baton_digest digest;
    const baton_position end = baton_journal_follow_end(standby, &digest);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    const uint32_t size = baton_le32_get(batch->batch_bytes);
    baton_batch_header *changed = (baton_batch_header *)bytes;

    for (uint32_t at = 0; at < size; at += at < 256 ? 1 : 61) { /* every bit counts */
        memcpy(bytes, batch, size);
        bytes[at] ^= 1;
        const int r = baton_journal_follow(standby, changed, size, &error);
        assert_true(r == BATON_E_DAMAGED || r == BATON_E_NEWER_FORMAT);
    }
    for (uint32_t less = 0; less < size; less += 512)
        assert_int_equal(baton_journal_follow(standby, batch, less, &error), BATON_E_DAMAGED);
    memcpy(bytes, batch, size);
    changed->previous_digest[3] ^= 1;
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DIVERGED);
    memcpy(bytes, batch, size);
    changed->journal_id[3] ^= 1;
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_OTHER_JOURNAL);
    memcpy(bytes, batch, size);
    changed->batch = baton_le64_put(end.batch + 2);
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DIVERGED);
    memcpy(bytes, batch, size);
    changed->durable_batch = changed->batch; /* recovery would not accept it */
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DAMAGED);

    assert_int_equal(baton_journal_follow(standby, batch, size, &error), 0);
    assert_int_equal(baton_journal_follow(standby, batch, size, &error), BATON_E_DIVERGED);
    baton_reader_close(reader);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(pair_standby_dir), fixture_read_all(pair_active_dir));
}

static void an_epoch_that_was_begun_here_is_not_followed_over(void **state)
{
    (void)state;
    pair_write_epoch(30, false);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    pair_promote(standby, 2);
    baton_journal_abandon(standby); /* nothing written yet but the header */
    pair_write_epoch(7, true);      /* epoch 2 as well: two writers, which must be told */
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    uint32_t batches;
    assert_int_equal(pair_follow_some(standby, 1, &batches), BATON_E_DIVERGED);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(pair_standby_dir), 35);
}

/* Else a disk that was slow for a moment would leave a standby behind for long: the active's batches of the
 * time before it are small, and each would cost a durable write. */
static void batches_that_come_while_all_writes_are_under_way_become_one_write(void **state)
{
    (void)state;
    enum { IN_FLIGHT = 2, BATCHES = 14 };
    pair_write_epoch(400, true);
    io_fault *fault = io_fault_new();
    pair_options.io_backend = io_fault_backend();
    pair_options.io_context = fault;
    pair_options.batches_in_flight_max = IN_FLIGHT;
    baton_journal *standby;
    uint32_t batches;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 3, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    const uint64_t before = baton_journal_durable_position(standby).batch;

    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    baton_reader *reader = pair_open_source(standby);
    const baton_batch_header *batch;
    baton_error error = {0};
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
        pair_fail_on(
            baton_journal_follow(standby, batch, baton_le32_get(batch->batch_bytes), &error),
            &error);
        assert_int_equal(baton_journal_poll(standby), 0);
    }
    baton_reader_close(reader);
    assert_int_equal(io_fault_held(fault), IN_FLIGHT);
    assert_int_equal(baton_journal_durable_position(standby).batch, before);
    assert_int_equal(baton_journal_promote(standby, 2, &error), BATON_E_AGAIN);

    const uint64_t writes = io_fault_count_kind(fault, BATON_IO_WRITE_DURABLE);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    assert_int_equal(baton_journal_flush(standby), 0);
    assert_int_equal(baton_journal_durable_position(standby).batch, before + BATCHES);
    assert_int_equal(io_fault_count_kind(fault, BATON_IO_WRITE_DURABLE) - writes, IN_FLIGHT + 1);

    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    pair_expect_same_batches(pair_standby_dir);
    io_fault_free(fault);
}

int main(void)
{
    const struct CMUnitTest on_both[] = {
        cmocka_unit_test_setup_teardown(a_standby_has_every_batch_byte_for_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_that_starts_again_goes_on_where_it_stood, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_standby_appends_nothing_and_takes_no_epoch, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_promoted_standby_goes_on_with_the_next_seq_and_an_unbroken_chain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_was_prepared_for_an_epoch_that_was_not_granted_goes_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_old_one_can_follow_the_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_may_begin_in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_go_on_is_refused_and_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_epoch_that_was_begun_here_is_not_followed_over, set_up,
                                        tear_down),
    };
    const struct CMUnitTest on_neither[] = {
        cmocka_unit_test_setup_teardown(
            batches_that_come_while_all_writes_are_under_way_become_one_write, set_up, tear_down),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("faults", on_neither, NULL, NULL);
    failed += cmocka_run_group_tests_name("threads", on_both, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("uring", on_both, NULL, NULL);
}
