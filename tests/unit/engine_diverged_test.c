/* tests/unit/engine_diverged_test.c: a version that decides otherwise than the active (R13): found by what
 * each batch says (J4), it copies the journal, and takes its state from a snapshot of the last entry. */
#include "tests/unit/engine_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static engine_fixture a, b;
static engine_expected *expected;

static int make(void **unused)
{
    (void)unused;
    engine_pair_make(&a, &b, "diverged");
    a.options.checkpoint_every = b.options.checkpoint_every = UINT64_MAX; /* batches alone say it */
    b.options.copies_when_diverged = true;
    return 0;
}

static int take_down(void **unused)
{
    (void)unused;
    engine_pair_remove(&a, &b);
    return 0;
}

static void submit(engine_fixture *f, uint64_t from_n, uint64_t to_n)
{
    for (uint64_t n = from_n; n <= to_n; n += 10) { /* a batch or two each */
        engine_fixture_submit_stream(f, n, n + 9 < to_n ? n + 9 : to_n);
        engine_fixture_settle(f);
    }
}

static void catch_up_copying(engine_feed *feed)
{
    baton_position end;
    baton_digest digest;
    bool needs_start;
    do {
        int r = engine_feed_pump(feed, UINT64_MAX);
        assert_true(r == 0 || r == BATON_E_DIVERGED);
        engine_fixture_turn(feed->to);
        baton_engine_follow_end(feed->to->engine, &end, &digest, &needs_start);
    } while (end.seq < engine_fixture_status(feed->from).durable_seq ||
             baton_position_compare(baton_engine_follow_durable(feed->to->engine), end) != 0);
}

/* ---- found by a start ---- */

static void a_start_compares_what_each_batch_says_of_its_effects(void **unused)
{
    (void)unused;
    engine_fixture_open(&a, &toy_service_v1);
    submit(&a, 1, 95);
    assert_int_equal(baton_engine_close(a.engine), 0); /* no handover record, no checkpoint */
    a.engine = NULL;
    toy_set_skew(TOY_SKEW_EFFECT, 42);
    assert_int_equal(engine_fixture_try_open(&a, &toy_service_v1), BATON_E_DIVERGED);
    unsigned long long first = 0, last = 0;
    assert_int_equal(sscanf(a.error.why, "entries %llu to %llu: ", &first, &last), 2);
    assert_in_range(first, 31, 42);
    assert_in_range(last, 42, 60);
    assert_non_null(strstr(a.error.why, "effect digest is "));
    assert_non_null(strstr(a.error.why, " now, it was "));
    toy_set_skew(TOY_WELL, 0);
    engine_fixture_open(&a, &toy_service_v1); /* the refusal changed nothing */
    assert_int_equal(a.report.effects_good_seq, 95);
    assert_int_equal(a.report.checkpoints_compared, 0);
    assert_int_equal(baton_engine_epoch(a.engine), 2);
    engine_assert_expected(&a, expected);
}

static void the_very_last_batch_is_compared_too(void **unused)
{
    (void)unused;
    engine_fixture_open(&a, &toy_service_v1);
    submit(&a, 1, 95);
    assert_int_equal(baton_engine_close(a.engine), 0);
    a.engine = NULL;
    toy_set_skew(TOY_SKEW_EFFECT, 95);
    assert_int_equal(engine_fixture_try_open(&a, &toy_service_v1), BATON_E_DIVERGED);
}

/* ---- a standby ---- */

/* b follows a, and decides otherwise from entry 42 on; a has 100. */
static void part(engine_feed *feed)
{
    engine_fixture_open(&a, &toy_service_v1);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(feed, &a, &b);
    submit(&a, 1, 40);
    engine_pair_assert_equal(feed);
    submit(&a, 41, 100);
    toy_set_skew(TOY_SKEW_EFFECT, 42);
    assert_int_equal(engine_feed_pump(feed, UINT64_MAX), BATON_E_DIVERGED);
    toy_set_skew(TOY_WELL, 0);
}

static void assert_copies(void)
{
    baton_engine_point point;
    assert_non_null(baton_engine_divergence(b.engine));
    assert_int_equal(baton_engine_digests(b.engine, 0, &point, &b.error), BATON_E_DIVERGED);
    assert_non_null(strstr(b.error.why, "entries "));
    assert_int_equal(baton_engine_promote(b.engine, 2, &b.error), BATON_E_DIVERGED);
    assert_int_equal(baton_engine_turn(b.engine, 0, &b.error), 0);
}

static void one_that_differs_copies_on_and_is_never_promoted(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    part(&feed);
    assert_copies();
    assert_int_equal(baton_engine_forget_state(b.engine, &b.error), 0);
    submit(&a, 101, 120);
    catch_up_copying(&feed);
    assert_copies();
    engine_feed_close(&feed);
    assert_int_equal(baton_engine_close(b.engine), 0);
    b.engine = NULL;
    toy_set_skew(TOY_SKEW_EFFECT, 42); /* and again after a start */
    engine_pair_open_standby(&b, &toy_service_v1);
    toy_set_skew(TOY_WELL, 0);
    assert_copies();
    engine_feed_open(&feed, &a, &b);
    submit(&a, 121, 130);
    catch_up_copying(&feed);
    assert_copies();
    engine_feed_close(&feed);
}

static void without_the_option_it_ends(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    b.options.copies_when_diverged = false;
    part(&feed);
    assert_null(baton_engine_divergence(b.engine));
    assert_int_equal(baton_engine_turn(b.engine, 0, &b.error), BATON_E_DIVERGED);
    engine_feed_close(&feed);
    assert_int_equal(baton_engine_close(b.engine), BATON_E_DIVERGED);
    b.engine = NULL;
}

/* ---- its way to a state ---- */

/* Of a, sealed: as the active does it at a handover. */
static baton_snapshot_info take_snapshot(void)
{
    baton_snapshot_info info = {0};
    int r;
    baton_engine_seal(a.engine);
    while ((r = baton_engine_snapshot_for_successor(a.engine, &info, &a.error)) == BATON_E_AGAIN)
        engine_fixture_turn(&a);
    assert_int_equal(r, 0);
    return info;
}

static void copy_snapshots(void)
{
    char command[3 * TEST_PATH_BYTES];
    snprintf(command, sizeof(command),
             "mkdir -p '%s/snapshots' && cp '%s'/snapshots/*[0-9a-f].* '%s/snapshots'", b.path,
             a.path, b.path);
    assert_int_equal(system(command), 0);
}

static void it_takes_the_active_s_state_from_a_snapshot_of_the_last_entry(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    part(&feed);
    const baton_snapshot_info info = take_snapshot();
    assert_int_equal(info.seq, 100);
    assert_string_equal(info.form, "portable");
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error),
                     BATON_E_NOT_FOUND);
    copy_snapshots();
    catch_up_copying(&feed);
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error), 0);
    assert_null(baton_engine_divergence(b.engine));
    engine_pair_assert_equal(&feed);
    engine_pair_grant(&a, 7);
    engine_feed_catch_up(&feed);
    engine_pair_promote(&b, 2);
    engine_fixture_submit_stream(&b, 101, 150);
    engine_fixture_settle(&b);
    engine_feed_close(&feed);
    engine_fixture_close(&a);
    assert_int_equal(baton_engine_close(b.engine), 0); /* as a kill: no handover record */
    b.engine = NULL;
    toy_set_skew(TOY_SKEW_EFFECT, 42); /* what it would decide of entry 42 is not asked any more */
    engine_fixture_open(&b, &toy_service_v1);
    assert_int_equal(b.report.snapshot_seq, 100);
    engine_assert_expected(&b, expected);
    engine_fixture_close(&b);
    engine_pair_assert_one_chain(&a, &b);
}

static void one_that_the_journal_here_does_not_name_or_of_another_entry_is_refused(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    part(&feed);
    catch_up_copying(&feed);
    const baton_snapshot_info info = take_snapshot();
    copy_snapshots();
    /* The record that names it has not come. */
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error),
                     BATON_E_UNTRUSTED);
    assert_int_equal(baton_engine_unseal(a.engine, &a.error), 0);
    submit(&a, 101, 110);
    catch_up_copying(&feed);
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error),
                     BATON_E_GONE);
    assert_copies();
    engine_feed_close(&feed);
}

static void a_damaged_one_leaves_it_a_copy(void **unused)
{
    (void)unused;
    char command[2 * TEST_PATH_BYTES];
    engine_feed feed = {0};
    part(&feed);
    const baton_snapshot_info info = take_snapshot();
    copy_snapshots();
    snprintf(
        command, sizeof(command),
        "for f in '%s'/snapshots/*.chunks; do printf XXXX | dd of=$f bs=1 seek=100 conv=notrunc "
        "status=none; done",
        b.path);
    assert_int_equal(system(command), 0);
    catch_up_copying(&feed);
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error),
                     BATON_E_DAMAGED);
    assert_copies();
    copy_snapshots(); /* whole again */
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error), 0);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
}

/* The try that it was taken for has ended: the active went on. */
static void it_follows_on_from_there_and_is_found_out_again(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    part(&feed);
    const baton_snapshot_info info = take_snapshot();
    copy_snapshots();
    catch_up_copying(&feed);
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error), 0);
    assert_int_equal(baton_engine_unseal(a.engine, &a.error), 0);
    submit(&a, 101, 140);
    engine_pair_assert_equal(&feed);
    submit(&a, 141, 200);
    toy_set_skew(TOY_SKEW_EFFECT, 155);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_DIVERGED);
    assert_copies();
    engine_feed_close(&feed);
}

static void an_arena_is_watched_anew_after_it(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_fixture_open(&a, &toy_service_arena);
    engine_pair_open_standby(&b, &toy_service_arena);
    engine_feed_open(&feed, &a, &b);
    submit(&a, 1, 40);
    engine_pair_assert_equal(&feed);
    submit(&a, 41, 100);
    toy_set_skew(TOY_SKEW_EFFECT, 42);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_DIVERGED);
    toy_set_skew(TOY_WELL, 0);
    const baton_snapshot_info info = take_snapshot();
    assert_string_equal(info.form, "portable"); /* though images are what this service has */
    copy_snapshots();
    catch_up_copying(&feed);
    assert_int_equal(baton_engine_follow_snapshot(b.engine, info.root, NULL, NULL, &b.error), 0);
    engine_pair_grant(&a, 7);
    engine_feed_catch_up(&feed);
    engine_pair_promote(&b, 2);
    for (uint64_t n = 101; n < 161; n += 20) { /* a full image, then what was added to it */
        engine_fixture_submit_stream(&b, n, n + 19);
        engine_fixture_settle(&b);
        assert_int_equal(engine_fixture_snapshot(&b), 0);
    }
    engine_feed_close(&feed);
    assert_int_equal(baton_engine_close(b.engine), 0);
    b.engine = NULL;
    engine_fixture_open(&b, &toy_service_arena);
    assert_string_equal(b.report.snapshot_form, "image");
    engine_assert_expected(&b, expected);
    assert_int_equal(engine_fixture_status(&b).seq, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_start_compares_what_each_batch_says_of_its_effects, make,
                                        take_down),
        cmocka_unit_test_setup_teardown(the_very_last_batch_is_compared_too, make, take_down),
        cmocka_unit_test_setup_teardown(one_that_differs_copies_on_and_is_never_promoted, make,
                                        take_down),
        cmocka_unit_test_setup_teardown(without_the_option_it_ends, make, take_down),
        cmocka_unit_test_setup_teardown(
            it_takes_the_active_s_state_from_a_snapshot_of_the_last_entry, make, take_down),
        cmocka_unit_test_setup_teardown(
            one_that_the_journal_here_does_not_name_or_of_another_entry_is_refused, make,
            take_down),
        cmocka_unit_test_setup_teardown(a_damaged_one_leaves_it_a_copy, make, take_down),
        cmocka_unit_test_setup_teardown(it_follows_on_from_there_and_is_found_out_again, make,
                                        take_down),
        cmocka_unit_test_setup_teardown(an_arena_is_watched_anew_after_it, make, take_down),
    };
    expected = engine_stream_expected(200);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
