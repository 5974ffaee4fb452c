/* tests/unit/engine_way_back_test.c: the authority goes to and fro between two directories (H2): what
 * handed over follows, in place or by a new start, and takes over again. */
#include "tests/unit/engine_pair.h"

#include <stdlib.h>

#define NONCE 9

static engine_fixture a;
static engine_fixture b;
static engine_expected *expected;

static int set_up(void **unused)
{
    (void)unused;
    engine_pair_make(&a, &b, "way_back");
    a.options.checkpoint_every = b.options.checkpoint_every = 70;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    engine_pair_remove(&a, &b);
    return 0;
}

/* Every effect once, by the one or by the other, in order. */
static void assert_released_up_to(engine_fixture *f, uint64_t *seen_to_seq, uint64_t epoch,
                                  uint64_t seq)
{
    for (uint32_t i = 0; i < f->seen_count; i++) {
        assert_true(f->seen[i].seq == *seen_to_seq || f->seen[i].seq == *seen_to_seq + 1);
        *seen_to_seq = f->seen[i].seq;
        assert_int_equal(f->seen[i].epoch, epoch);
    }
    assert_int_equal(*seen_to_seq, seq);
    f->seen_count = 0;
}

static void stand_by(engine_fixture *f)
{
    int r;
    while ((r = baton_engine_stand_by(f->engine, &f->error)) == BATON_E_AGAIN)
        engine_fixture_turn(f);
    assert_int_equal(r, 0);
}

/* 20 handovers; the old one is opened anew as a standby, or follows on in place. */
static void to_and_fro(bool in_place)
{
    const baton_service *const services[] = {&toy_service_v1, &toy_service_v2};
    engine_fixture *active = &a;
    engine_fixture *standby = &b;
    uint64_t seen_to_seq = 0;
    engine_fixture_open(active, &toy_service_v1);
    engine_pair_open_standby(standby, &toy_service_v2);
    for (uint64_t round = 0; round < 20; round++) {
        engine_feed feed = {0};
        const uint64_t n = round * 100 + 1;
        engine_feed_open(&feed, active, standby);
        engine_fixture_submit_stream(active, n, n + 49);
        engine_fixture_settle(active);
        if (round % 3 == 2)
            assert_int_equal(engine_fixture_snapshot(active), 0);
        assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), 0);
        engine_fixture_submit_stream(active, n + 50, n + 99);
        engine_pair_assert_equal(&feed);
        engine_pair_grant(active, (uint8_t)(round + 1));
        engine_feed_catch_up(&feed);
        engine_feed_close(&feed);
        assert_released_up_to(active, &seen_to_seq, round + 1, n + 99);

        engine_pair_promote(standby, round + 2);
        engine_fixture *const was = active;
        active = standby;
        standby = was;
        if (in_place) {
            stand_by(standby);
        } else {
            engine_fixture_close(standby);
            engine_pair_open_standby(standby, services[round % 2]);
        }
        engine_assert_uninterrupted(active, expected);
        engine_assert_uninterrupted(standby, expected);
    }
    engine_fixture_submit_stream(active, 2001, 2100);
    engine_fixture_settle(active);
    engine_assert_uninterrupted(active, expected);
    engine_fixture_close(active);
    engine_pair_assert_one_chain(standby, active);
    engine_fixture_open(active, in_place ? &toy_service_v2 : &toy_service_v1);
    engine_assert_uninterrupted(active, expected);
}

static void twenty_handovers_to_and_fro_end_as_if_there_had_been_none(void **unused)
{
    (void)unused;
    to_and_fro(false);
}

static void twenty_handovers_in_place_end_as_if_there_had_been_none(void **unused)
{
    (void)unused;
    to_and_fro(true);
}

static void only_who_named_a_successor_follows_it_in_place(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_pair_follow(&feed, &a, &b);
    assert_int_equal(baton_engine_stand_by(a.engine, &a.error), BATON_E_INVALID);
    assert_int_equal(baton_engine_stand_by(b.engine, &b.error), BATON_E_INVALID);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    stand_by(&a);
    assert_int_equal(engine_fixture_add(&a, 1, 1), BATON_E_STANDBY);
    engine_fixture_close(&a); /* killed before it got anything: it still may not start by itself */
    assert_int_equal(engine_fixture_try_open(&a, &toy_service_v1), BATON_E_REFUSED);
    engine_pair_promote(&b, 2);
    engine_fixture_submit_stream(&b, 501, 600);
    engine_fixture_settle(&b);
    engine_pair_open_standby(&a, &toy_service_v1);
    engine_feed_open(&feed, &b, &a);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
    engine_fixture_close(&a); /* nor now: its own term is over, and another one's was followed */
    assert_int_equal(engine_fixture_try_open(&a, &toy_service_v1), BATON_E_REFUSED);
    assert_non_null(strstr(a.error.why, "followed"));
}

/* The other one does not have it, and says so in the journal: here it is what a start needs. */
static void a_standby_goes_on_from_its_own_snapshot_that_the_active_forgot(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    baton_digest named = {0};
    engine_pair_follow(&feed, &a, &b);
    assert_int_equal(engine_fixture_snapshot(&a), 0);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_pair_promote(&b, 2);
    stand_by(&a);
    const baton_facts *facts = baton_engine_facts(a.engine);
    assert_int_equal(facts->roots_count, 1);
    memcpy(named.bytes, facts->roots[0].root, sizeof(named.bytes));

    engine_feed_open(&feed, &b, &a);
    for (uint64_t n = 501; n <= 900; n += 100) {
        engine_fixture_submit_stream(&b, n, n + 99);
        assert_int_equal(engine_fixture_snapshot(&b), 0);
    }
    engine_fixture_submit_stream(&b, 901, 950);
    engine_fixture_settle(&b);
    engine_fixture_turn(&b);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
    for (uint32_t i = 0; i < facts->roots_count; i++)
        assert_memory_not_equal(facts->roots[i].root, named.bytes, sizeof(named.bytes));
    engine_fixture_close(&a);

    engine_pair_open_standby(&a, &toy_service_v1);
    assert_int_equal(a.report.snapshot_seq, 500);
    assert_int_equal(a.report.snapshots_skipped, 0);
    engine_assert_expected(&a, expected);
    engine_pair_grant(&b, NONCE + 1);
    engine_feed_open(&feed, &b, &a);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_pair_promote(&a, 3);
    bool again = false; /* as the active it names what is here */
    for (uint32_t i = 0; i < baton_engine_facts(a.engine)->roots_count; i++)
        again = again || memcmp(baton_engine_facts(a.engine)->roots[i].root, named.bytes, 16) == 0;
    assert_true(again);
    engine_fixture_submit_stream(&a, 951, 960);
    engine_fixture_settle(&a);
    engine_fixture_close(&a);
    engine_fixture_open(&a, &toy_service_v1);
    assert_int_equal(a.report.snapshot_seq, 500);
    engine_assert_uninterrupted(&a, expected);
}

/* R11: it is not named, gets the record in the stream, and follows whoever goes on. */
static void another_standby_follows_the_successor(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_feed other = {0};
    engine_fixture c;
    engine_fixture_make(&c, "way_back_c");
    engine_pair_follow(&feed, &a, &b);
    engine_pair_open_standby(&c, &toy_service_v1);
    engine_feed_open(&other, &a, &c);
    assert_int_equal(engine_feed_pump(&other, 3), 0); /* it lags */
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_feed_close(&other);
    engine_pair_promote(&b, 2);
    engine_fixture_submit_stream(&b, 501, 700);
    engine_fixture_settle(&b);
    engine_feed_open(&other, &b, &c); /* what it lacks of the first term, too */
    engine_pair_assert_equal(&other);
    engine_assert_expected(&c, expected);
    engine_feed_close(&other);
    engine_fixture_close(&c);
    engine_fixture_remove(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(twenty_handovers_to_and_fro_end_as_if_there_had_been_none,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(twenty_handovers_in_place_end_as_if_there_had_been_none,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_standby_follows_the_successor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_who_named_a_successor_follows_it_in_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_standby_goes_on_from_its_own_snapshot_that_the_active_forgot, set_up, tear_down),
    };
    expected = engine_stream_expected(3000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
