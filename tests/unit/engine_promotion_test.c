/* tests/unit/engine_promotion_test.c: the authority goes from one engine to the other and back (H2,
 * H3): one writer of every entry, nothing lost, nothing twice. */
#include "tests/unit/engine_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NONCE 9

static engine_fixture a;
static engine_fixture b;
static engine_expected *expected;

static int set_up(void **unused)
{
    (void)unused;
    engine_pair_make(&a, &b, "promotion");
    a.options.checkpoint_every = b.options.checkpoint_every = 70;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    engine_pair_remove(&a, &b);
    return 0;
}

/* ---- the grant ---- */

static void
a_promoted_standby_goes_on_with_the_next_seq_and_releases_its_own_term_only(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_pair_follow(&feed, &a, &b);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_pair_promote(&b, 2);
    assert_int_equal(baton_engine_promote(b.engine, 3, &b.error), BATON_E_INVALID);
    engine_fixture_submit_stream(&b, 501, 800); /* says that the first seq is 501 */
    engine_fixture_settle(&b);
    assert_true(b.seen_count > 300);
    for (uint32_t i = 0; i < b.seen_count; i++) {
        assert_true(b.seen[i].seq > 500);
        assert_int_equal(b.seen[i].epoch, 2);
        assert_false(b.seen[i].resent);
    }
    engine_assert_uninterrupted(&b, expected);
    engine_fixture_close(&a);
    engine_fixture_close(&b);
    engine_pair_assert_one_chain(&a, &b);

    engine_fixture_open(&b, &toy_service_v1); /* an ordinary directory from here on */
    assert_int_equal(baton_engine_epoch(b.engine), 3);
    engine_fixture_submit_stream(&b, 801, 900);
    engine_fixture_settle(&b);
    engine_assert_uninterrupted(&b, expected);
}

static void what_consumers_have_not_confirmed_is_sent_again_verbatim(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    uint64_t count_a[2];
    uint64_t count_b[2];
    engine_pair_follow(&feed, &a, &b);
    for (uint32_t i = 0; i < a.seen_count; i++)
        if (a.seen[i].consumer == 1 && a.seen[i].seq == 250)
            assert_int_equal(
                baton_engine_confirm(a.engine, 1, a.seen[i].epoch, a.seen[i].seq, a.seen[i].index),
                0);
    const engine_seen *last = NULL;
    for (uint32_t i = 0; i < a.seen_count && a.seen[i].seq <= 300; i++)
        if (a.seen[i].consumer == 1)
            last = &a.seen[i];
    assert_non_null(last);
    assert_int_equal(baton_engine_confirm(a.engine, 1, last->epoch, last->seq, last->index), 0);
    const baton_digest first_a = engine_pair_resend_digest(&a, 1, &count_a[0]);
    const baton_digest second_a = engine_pair_resend_digest(&a, 2, &count_a[1]);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_pair_promote(&b, 2);
    const baton_digest first_b = engine_pair_resend_digest(&b, 1, &count_b[0]);
    const baton_digest second_b = engine_pair_resend_digest(&b, 2, &count_b[1]);
    assert_true(count_a[0] > 0 && count_a[0] < count_a[1] * 3);
    assert_int_equal(count_a[0], count_b[0]);
    assert_int_equal(count_a[1], count_b[1]);
    assert_memory_equal(&first_a, &first_b, sizeof(first_a));
    assert_memory_equal(&second_a, &second_b, sizeof(second_a));

    /* What the old term released may be confirmed to the new one, by its old key. */
    assert_int_equal(baton_engine_confirm(b.engine, 1, last->epoch, last->seq, last->index), 0);
    const engine_seen *newest = NULL;
    for (uint32_t i = 0; i < a.seen_count; i++)
        if (a.seen[i].consumer == 1)
            newest = &a.seen[i];
    assert_int_equal(baton_engine_confirm(b.engine, 1, newest->epoch, newest->seq, newest->index),
                     0);
    (void)engine_pair_resend_digest(&b, 1, &count_b[0]);
    assert_int_equal(count_b[0], 0);
}

static void the_old_one_writes_nothing_after_the_grant(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_pair_follow(&feed, &a, &b);
    const uint8_t nobody[16] = {0};
    const uint8_t other[16] = {NONCE + 1};
    assert_int_equal(baton_engine_handover_record_to(a.engine, other, &a.error), BATON_E_INVALID);
    engine_pair_grant(&a, NONCE);
    baton_engine_point before = {0};
    assert_int_equal(baton_engine_digests(a.engine, 0, &before, &a.error), 0);
    assert_int_equal(baton_engine_handover_record_to(a.engine, other, &a.error), BATON_E_SEALED);
    assert_int_equal(baton_engine_handover_record_to(a.engine, nobody, &a.error), BATON_E_INVALID);
    assert_int_equal(baton_engine_handover_record(a.engine, &a.error), BATON_E_SEALED);
    assert_int_equal(baton_engine_unseal(a.engine, &a.error), BATON_E_SEALED);
    assert_int_equal(engine_fixture_add(&a, 1, 1), BATON_E_SEALED);
    const engine_seen *seen = a.seen;
    while (seen->consumer != 1)
        seen++;
    assert_int_equal(baton_engine_confirm(a.engine, 1, seen->epoch, seen->seq, seen->index),
                     BATON_E_SEALED);
    assert_int_equal(engine_fixture_snapshot(&a), 0); /* for its own next start; not named */
    for (int i = 0; i < 5; i++)
        assert_int_equal(baton_engine_turn(a.engine, 3000000, &a.error), 0); /* idle: no mark */
    engine_fixture_close(&a);

    engine_feed_catch_up(&feed);
    baton_engine_point after = {0};
    assert_int_equal(baton_engine_digests(b.engine, 0, &after, &b.error), 0);
    assert_int_equal(baton_position_compare(before.position, after.position), 0);
    assert_memory_equal(&before.chain, &after.chain, sizeof(before.chain));
    engine_feed_close(&feed);

    assert_int_equal(engine_fixture_try_open(&a, &toy_service_v1), BATON_E_REFUSED);
    assert_non_null(strstr(a.error.todo, "standby"));
    engine_pair_open_standby(&a, &toy_service_v1);
    assert_int_equal(a.report.snapshot_seq, 500); /* the record vouches for it */
    engine_assert_expected(&a, expected);
}

static void until_the_record_is_queued_the_old_one_may_go_on(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_pair_follow(&feed, &a, &b);
    assert_int_equal(baton_engine_prepare_promotion(b.engine, 2, &b.error), 0);
    for (uint64_t n = 501; n <= 1000; n += 100) {
        baton_engine_seal(a.engine);
        assert_int_equal(engine_fixture_add(&a, 1, 1), BATON_E_SEALED);
        engine_fixture_settle(&a);
        engine_pair_assert_equal(&feed);
        assert_int_equal(baton_engine_unseal(a.engine, &a.error), 0);
        engine_fixture_submit_stream(&a, n, n + 99);
        engine_fixture_settle(&a);
        assert_int_equal(baton_engine_epoch(a.engine), 1);
    }
    engine_pair_assert_equal(&feed);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_pair_promote(&b, 2);
    engine_fixture_submit_stream(&b, 1001, 1100);
    engine_fixture_settle(&b);
    engine_assert_uninterrupted(&b, expected);
}

static void what_is_not_durable_yet_keeps_a_standby_from_acting(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    io_fault *fault = io_fault_new();
    b.options.io_backend = io_fault_backend();
    b.options.io_context = fault;
    engine_pair_follow(&feed, &a, &b);
    engine_pair_grant(&a, NONCE);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), 0);
    assert_int_equal(baton_engine_turn(b.engine, 0, &b.error), 0);
    assert_int_equal(baton_engine_promote(b.engine, 2, &b.error), BATON_E_AGAIN);
    assert_true(baton_engine_is_standby(b.engine));
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    engine_feed_catch_up(&feed);
    engine_pair_promote(&b, 2);
    engine_feed_close(&feed);
    engine_fixture_close(&b);
    b.options.io_backend = NULL;
    b.options.io_context = NULL;
    io_fault_free(fault);
}

static void a_pinned_successor_refuses_what_the_old_one_does_not_know(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    const toy_extra extra = {baton_le32_put(4)};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 100);
    engine_pair_open_standby(&b, &toy_service_v2);
    engine_feed_open(&feed, &a, &b);
    engine_pair_assert_equal(&feed);
    engine_pair_grant(&a, NONCE);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_fixture_close(&a);
    engine_pair_promote(&b, 2);
    assert_int_equal(baton_engine_submit(b.engine, TOY_EXTRA, &extra, sizeof(extra), NULL),
                     BATON_E_SCHEMA);
    engine_fixture_submit_stream(&b, 101, 200);
    engine_fixture_settle(&b);

    engine_pair_open_standby(&a, &toy_service_v1); /* the old build follows it: a warm way back */
    engine_feed_open(&feed, &b, &a);
    engine_pair_assert_equal(&feed);
    assert_int_equal(engine_fixture_finalize(&b), 0);
    assert_int_equal(baton_engine_submit(b.engine, TOY_EXTRA, &extra, sizeof(extra), NULL), 0);
    engine_fixture_settle(&b);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_SCHEMA); /* no way back now */
    engine_feed_close(&feed);
    assert_int_equal(baton_engine_close(a.engine), BATON_E_SCHEMA);
    a.engine = NULL;
    engine_fixture_close(&b);
    engine_fixture_open(&b, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&b).schema, 2);
}

/* ---- faults ---- */

/* The disk dies, or one operation fails, while a standby becomes the active. */
static bool promotion_round(uint64_t n, bool dies)
{
    engine_feed feed = {0};
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "promotion_fault");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_pair_open_standby(&f, &toy_service_v1);
    engine_feed_open(&feed, &a, &f);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    const uint64_t at = io_fault_count(fault) + n;
    if (dies)
        io_fault_crash_after(fault, at);
    else
        io_fault_fail(fault, at, EIO);
    int r = baton_engine_prepare_promotion(f.engine, 2, &f.error);
    if (r == 0)
        r = baton_engine_promote(f.engine, 2, &f.error);
    const bool promoted = r == 0;
    const bool done = io_fault_count(fault) < at;
    if (promoted)
        engine_fixture_submit_stream(&f, 501, 510);
    r = baton_engine_close(f.engine);
    f.engine = NULL;
    f.options.io_backend = NULL;
    f.options.io_context = NULL;
    io_fault_free(fault);

    engine_pair_open_standby(&f, &toy_service_v1);
    assert_true(baton_engine_applied_seq(f.engine) >= 500);
    engine_assert_expected(&f, expected);
    engine_pair_promote(&f, 4);
    const uint64_t next = baton_engine_applied_seq(f.engine) + 1;
    engine_fixture_submit_stream(&f, next, next + 40);
    engine_fixture_settle(&f);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_pair_assert_one_chain(&a, &f);
    engine_fixture_remove(&f);
    return done && promoted;
}

static void a_disk_that_fails_in_a_promotion_leaves_a_standby_or_an_active(void **unused)
{
    (void)unused;
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 500);
    engine_pair_grant(&a, NONCE);
    for (int dies = 0; dies < 2; dies++) {
        uint64_t n = 1;
        while (!promotion_round(n, dies != 0))
            n += engine_sweep_stride();
        assert_true(n > 3);
    }
    engine_fixture_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_promoted_standby_goes_on_with_the_next_seq_and_releases_its_own_term_only, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(what_consumers_have_not_confirmed_is_sent_again_verbatim,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_old_one_writes_nothing_after_the_grant, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(until_the_record_is_queued_the_old_one_may_go_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_durable_yet_keeps_a_standby_from_acting, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pinned_successor_refuses_what_the_old_one_does_not_know,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_disk_that_fails_in_a_promotion_leaves_a_standby_or_an_active, set_up, tear_down),
    };
    expected = engine_stream_expected(3000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
