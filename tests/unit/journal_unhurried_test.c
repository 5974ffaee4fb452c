/* Entries that nobody waits for share the write of a later one, and are never late by more than a bound: on a clock
 * that stands still until it is moved. */
#include <stdio.h>

#include "tests/unit/journal_fixture.h"

static test_dir dir;
static io_fault *fault;
static fixture_clock clock_;
static baton_journal_options options;
static baton_journal *journal;
static char journal_dir[TEST_PATH_BYTES];

static void polls(int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
}

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_unhurried");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    fault = io_fault_new();
    fixture_clock_init(&clock_);
    options = fixture_options();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    options.clock = &clock_.clock;
    options.idle_mark_ns = UINT64_C(3600000000000);
    journal = fixture_begin(journal_dir, &options);
    polls(60); /* the next segment stands ready */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(baton_journal_close(journal), 0);
    io_fault_free(fault);
    test_dir_remove(&dir);
    return 0;
}

static void pass(uint64_t ns)
{
    clock_.monotonic_ns += ns;
    clock_.wall_ns += ns;
}

static void append(bool hurried)
{
    assert_int_equal(fixture_append(journal), 0);
    if (!hurried)
        baton_journal_unhurried(journal);
}

static void an_unhurried_entry_shares_the_write_of_the_next(void **state)
{
    (void)state;
    const uint64_t batch = baton_journal_durable_position(journal).batch;
    append(false);
    append(false);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 0);
    append(true);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 3);
    assert_int_equal(baton_journal_durable_position(journal).batch, batch + 1);
}

static void one_behind_a_hurried_one_goes_with_it(void **state)
{
    (void)state;
    append(true);
    append(false);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 2);
    append(false); /* the batch before counts no more */
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 2);
}

static void it_is_written_alone_when_its_time_is_over(void **state)
{
    (void)state;
    append(false);
    assert_int_equal(baton_journal_poll_within_ns(journal), BATON_UNHURRIED_NS);
    pass(BATON_UNHURRIED_NS / 2);
    append(false); /* the older one's time counts */
    assert_int_equal(baton_journal_poll_within_ns(journal), BATON_UNHURRIED_NS / 2);
    pass(BATON_UNHURRIED_NS / 2 - 1);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 0);
    pass(1);
    assert_int_equal(baton_journal_poll_within_ns(journal), 0);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 2);
}

static void who_waits_ends_the_wait(void **state)
{
    (void)state;
    append(false);
    assert_int_equal(baton_journal_wait(journal, 1, FIXTURE_WAIT_NS), 0);
    append(false);
    assert_int_equal(baton_journal_flush(journal), 0);
    assert_int_equal(baton_journal_durable_seq(journal), 2);
    append(false);
    baton_journal_seal(journal);
    polls(3);
    assert_int_equal(baton_journal_durable_seq(journal), 3);
}

static void close_writes_it(void **state)
{
    (void)state;
    append(false);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 1);
    journal = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unhurried_entry_shares_the_write_of_the_next, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_behind_a_hurried_one_goes_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_written_alone_when_its_time_is_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_waits_ends_the_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_writes_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
