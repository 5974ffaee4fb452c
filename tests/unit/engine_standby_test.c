/* tests/unit/engine_standby_test.c: an engine that follows another one (H2, E2): equal in everything,
 * whatever happens to it, and never in the other one's way. */
#include "tests/unit/engine_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/machine.h"
#include "journal/records.h"

static engine_fixture a;
static engine_fixture b;
static engine_expected *expected;

static int set_up(void **unused)
{
    (void)unused;
    engine_pair_make(&a, &b, "standby");
    a.options.checkpoint_every = 100;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    engine_pair_remove(&a, &b);
    return 0;
}

/* What is released to consumer 1 up to here is confirmed. */
static void confirm_some(engine_fixture *f)
{
    for (uint32_t i = f->seen_count; i-- > 0;) {
        const engine_seen *seen = &f->seen[i];
        if (seen->consumer != 1)
            continue;
        const int r = baton_engine_confirm(f->engine, 1, seen->epoch, seen->seq, seen->index);
        assert_int_equal(r, 0);
        return;
    }
}

static void a_standby_beside_a_living_active_ends_equal(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    a.options.snapshot_every = 500; /* roots among the records */
    engine_fixture_open(&a, &toy_service_v1);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    for (uint64_t n = 1; n <= 3000; n += 50) {
        engine_fixture_submit_stream(&a, n, n + 49);
        engine_fixture_turn(&a);
        if (n % 200 == 1)
            confirm_some(&a);
        assert_int_equal(engine_feed_pump(&feed, 5), 0);
        engine_fixture_turn(&b);
    }
    engine_pair_assert_equal(&feed);
    engine_assert_expected(&b, expected);
    assert_int_equal(b.seen_count, 0); /* it released nothing */
    assert_int_equal(engine_fixture_snapshots_count(&b), 0);
    engine_feed_close(&feed);
    engine_fixture_close(&b);

    baton_error error = {0}; /* and its directory says the same */
    const baton_replay_options options = {.backend = BATON_BACKEND_THREADS};
    baton_replay_result result;
    assert_int_equal(baton_replay(&toy_service_v1, b.path, &options, 0, &result, &error), 0);
    assert_int_equal(result.seq, 3000);
    assert_memory_equal(&result.state_digest, &expected[3000].state, sizeof(baton_digest));
    assert_true(result.hydrate.checkpoints_compared >= 29);
}

static int no_visit(void *context, const baton_effect *effect)
{
    (void)context;
    (void)effect;
    fail();
    return 0;
}

static void a_standby_does_nothing_that_only_an_active_may(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    const uint8_t nonce[16] = {7};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 300);
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_v1);
    baton_engine *engine = b.engine;
    assert_int_equal(baton_engine_promote(engine, 2, &b.error), BATON_E_INVALID); /* of nothing */
    assert_true(baton_engine_is_standby(engine));
    engine_feed_open(&feed, &a, &b);
    engine_feed_catch_up(&feed);

    assert_int_equal(engine_fixture_add(&b, 1, 1), BATON_E_STANDBY);
    assert_int_equal(baton_engine_confirm(engine, 1, 1, 1, 0), BATON_E_STANDBY);
    assert_int_equal(baton_engine_resend(engine, 1, no_visit, NULL), BATON_E_STANDBY);
    assert_int_equal(baton_engine_snapshot_begin(engine, &b.error), BATON_E_STANDBY);
    assert_int_equal(baton_engine_finalize(engine, &b.error), BATON_E_STANDBY);
    assert_int_equal(baton_engine_handover_record(engine, &b.error), BATON_E_STANDBY);
    assert_int_equal(baton_engine_handover_record_to(engine, nonce, &b.error), BATON_E_STANDBY);
    assert_int_equal(baton_engine_promote(engine, 1, &b.error),
                     BATON_E_INVALID); /* a known epoch */
    assert_true(engine_fixture_status(&b).standby);
    assert_true(baton_engine_is_standby(engine));
    baton_batch_header none = {0};
    assert_int_equal(baton_engine_follow(a.engine, &none, sizeof(none), &a.error), BATON_E_INVALID);
    assert_int_equal(baton_engine_promote(a.engine, 9, &a.error), BATON_E_INVALID);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
}

static void it_starts_again_at_any_point_and_goes_on(void **unused)
{
    (void)unused;
    uint64_t given = 0;
    engine_fixture_open(&a, &toy_service_v1);
    for (uint64_t n = 1; n <= 1000; n += 20) {
        engine_fixture_submit_stream(&a, n, n + 19);
        engine_fixture_settle(&a);
    }
    for (uint32_t round = 0;; round++) {
        engine_feed feed = {0};
        engine_pair_open_standby(&b, &toy_service_v1);
        engine_feed_open(&feed, &a, &b);
        assert_int_equal(engine_feed_pump(&feed, round % 7), 0);
        const uint64_t count = feed.batches_count;
        given += count;
        if (round % 7 != 0 && count == 0) {
            engine_pair_assert_equal(&feed);
            engine_feed_close(&feed);
            break;
        }
        engine_feed_close(&feed);
        engine_fixture_close(&b);
    }
    assert_true(given >= 50); /* each batch once */
    engine_assert_expected(&b, expected);
}

/* ---- faults ---- */

/* The standby's disk dies after its n-th operation, or one fails; then it starts again. */
static bool fault_round(uint64_t n, bool dies)
{
    engine_feed feed = {0};
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "standby_fault");
    if (dies)
        io_fault_crash_after(fault, n);
    else
        io_fault_fail(fault, n, EIO);
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    f.options.standby = true;
    if (engine_fixture_try_open(&f, &toy_service_v1) == 0) {
        int r = 0;
        engine_feed_open(&feed, &a, &f);
        while (r == 0 && engine_fixture_status(&f).durable_seq < 120) {
            r = engine_feed_pump(&feed, 3);
            if (r == 0)
                r = baton_engine_turn(f.engine, 1000000, &f.error);
        }
        engine_feed_close(&feed);
        r = baton_engine_close(f.engine);
        f.engine = NULL;
    }
    const bool done = io_fault_count(fault) < n;
    f.options.io_backend = NULL;
    f.options.io_context = NULL;
    io_fault_free(fault);

    engine_pair_open_standby(&f, &toy_service_v1);
    engine_feed_open(&feed, &a, &f);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
    engine_fixture_remove(&f);
    return done;
}

static void a_failing_disk_costs_nothing_but_a_new_start(void **unused)
{
    (void)unused;
    engine_fixture_open(&a, &toy_service_v1);
    for (uint64_t n = 1; n <= 120; n += 10) {
        engine_fixture_submit_stream(&a, n, n + 9);
        engine_fixture_settle(&a);
    }
    for (int dies = 0; dies < 2; dies++) {
        uint64_t n = 1;
        while (!fault_round(n, dies != 0))
            n += engine_sweep_stride();
        assert_true(n > 20);
    }
    assert_int_equal(engine_fixture_add(&a, 1, 1), 0); /* it noticed nothing of all that */
    engine_fixture_settle(&a);
}

/* ---- another result ---- */

static void diverge(toy_skew skew)
{
    char text[1024];
    engine_feed feed = {0};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 1000);
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    toy_set_skew(skew, 555);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_DIVERGED);
    baton_error_text(&b.error, text, sizeof(text));
    assert_non_null(strstr(text, "entries 501 to 600: the "));
    assert_non_null(strstr(text, skew == TOY_SKEW_STATE ? "state digest" : "effect digest"));
    assert_int_equal(baton_engine_turn(b.engine, 0, &b.error), BATON_E_DIVERGED);
    assert_int_equal(baton_engine_promote(b.engine, 2, &b.error), BATON_E_BROKEN);
    engine_feed_close(&feed);
    assert_int_equal(baton_engine_close(b.engine), BATON_E_DIVERGED);
    b.engine = NULL;

    b.options.standby = true; /* that build gives the same answer again */
    assert_int_equal(engine_fixture_try_open(&b, &toy_service_v1), BATON_E_DIVERGED);
    assert_non_null(strstr(b.error.why, "entries 501 to 600"));
    toy_set_skew(TOY_WELL, 0);

    engine_fixture_submit_stream(&a, 1001, 1200); /* the active goes on */
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_v1); /* and so does a build that is right */
    engine_feed_open(&feed, &a, &b);
    engine_pair_assert_equal(&feed);
    engine_assert_expected(&b, expected);
    engine_feed_close(&feed);
}

static void a_state_that_differs_is_named_with_its_interval(void **unused)
{
    (void)unused;
    diverge(TOY_SKEW_STATE);
}

static void an_effect_that_differs_is_named_with_its_interval(void **unused)
{
    (void)unused;
    diverge(TOY_SKEW_EFFECT);
}

/* Digests were equal at 500; it starts again at 560, and the next checkpoint is at 600. */
static void the_interval_counts_from_the_last_good_one_across_a_restart(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 560);
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    engine_feed_catch_up(&feed);
    engine_feed_close(&feed);
    engine_fixture_close(&b);

    toy_set_skew(TOY_SKEW_STATE, 540);
    engine_pair_open_standby(&b, &toy_service_v1);
    toy_set_skew(TOY_WELL, 0);
    engine_fixture_submit_stream(&a, 561, 700);
    engine_fixture_settle(&a);
    engine_feed_open(&feed, &a, &b);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_DIVERGED);
    assert_non_null(strstr(b.error.why, "entries 501 to 600"));
    engine_feed_close(&feed);
}

static void an_entry_that_the_build_does_not_know_stops_it(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    const toy_extra extra = {baton_le32_put(4)};
    engine_fixture_open(&a, &toy_service_v2);
    assert_int_equal(baton_engine_submit(a.engine, TOY_EXTRA, &extra, sizeof(extra), NULL), 0);
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_SCHEMA); /* finalized as 2 */
    engine_feed_close(&feed);
    engine_fixture_settle(&a);
}

/* ---- facts ---- */

static void what_is_pinned_and_finalized_goes_along(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    const toy_extra extra = {baton_le32_put(4)};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 200);
    engine_fixture_close(&a);
    engine_fixture_open(&a, &toy_service_v2); /* not finalized: pinned to 1 */
    engine_pair_open_standby(&b, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&b).schema, 2); /* nothing is known yet */
    engine_feed_open(&feed, &a, &b);
    engine_feed_catch_up(&feed);
    assert_int_equal(engine_fixture_status(&b).schema, 1);
    engine_pair_assert_equal(&feed);

    assert_int_equal(engine_fixture_finalize(&a), 0);
    assert_int_equal(baton_engine_submit(a.engine, TOY_EXTRA, &extra, sizeof(extra), NULL), 0);
    engine_fixture_submit_stream(&a, 202, 400);
    engine_pair_assert_equal(&feed);
    assert_int_equal(engine_fixture_status(&b).schema, 2);
    assert_int_equal(toy_extra_sum(baton_engine_state(b.engine)), 4);
    engine_feed_close(&feed);
    engine_fixture_close(&b);

    engine_pair_open_standby(&b, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&b).schema, 2);
    engine_fixture_close(&b);
    b.options.standby = true;
    assert_int_equal(engine_fixture_try_open(&b, &toy_service_v1), BATON_E_SCHEMA);
    engine_pair_open_standby(&b, &toy_service_v2);
}

static void a_journal_of_another_service_or_another_past_is_refused(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_fixture_open(&a, &toy_service_v1);
    engine_fixture_submit_stream(&a, 1, 50);
    engine_fixture_settle(&a);
    engine_pair_open_standby(&b, &toy_service_other);
    engine_feed_open(&feed, &a, &b);
    assert_int_equal(engine_feed_pump(&feed, UINT64_MAX), BATON_E_OTHER_SERVICE);
    engine_feed_close(&feed);
    engine_fixture_close(&b);

    engine_pair_open_standby(&b, &toy_service_v1); /* nothing had happened */
    engine_feed_open(&feed, &a, &b);
    feed.from_seq = 0;
    baton_follow_start late = {.before = {.epoch = 1, .batch = 9, .seq = 40}};
    strcpy(late.service, "toy");
    assert_int_equal(baton_engine_follow_start(b.engine, &late, &b.error), BATON_E_GONE);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
}

/* ---- from a snapshot ---- */

static void copy_snapshots(const engine_fixture *from, engine_fixture *to)
{
    char source[TEST_PATH_BYTES + 32];
    char target[TEST_PATH_BYTES + 32];
    snprintf(source, sizeof(source), "%s/snapshots", from->path);
    snprintf(target, sizeof(target), "%s/snapshots", to->path);
    assert_int_equal(mkdir(to->path, 0750), 0);
    engine_copy_directory(source, target);
}

static void a_standby_may_begin_with_a_snapshot_in_the_middle(void **unused)
{
    (void)unused;
    engine_feed feed = {.from_seq = 150};
    engine_fixture_open(&a, &toy_service_v1);
    for (uint64_t n = 1; n <= 200; n += 20) {
        engine_fixture_submit_stream(&a, n, n + 19);
        engine_fixture_settle(&a);
        if (n > 160) /* two: a start would look at no entry before the older one */
            assert_int_equal(engine_fixture_snapshot(&a), 0);
    }
    const baton_digest root = baton_engine_snapshot_status(a.engine)->last_root;
    engine_fixture_submit_stream(&a, 201, 300);
    engine_fixture_settle(&a);
    copy_snapshots(&a, &b);
    b.options.standby = true;
    assert_int_equal(engine_fixture_try_open(&b, &toy_service_v1), BATON_E_UNTRUSTED);
    b.options.trust_root = root;
    for (int round = 0; round < 2; round++) { /* the journal's end is behind the snapshot yet */
        engine_pair_open_standby(&b, &toy_service_v1);
        assert_int_equal(b.report.snapshot_seq, 200);
        assert_int_equal(baton_engine_applied_seq(b.engine), 200);
        engine_feed_open(&feed, &a, &b);
        assert_int_equal(engine_feed_pump(&feed, 1), 0);
        assert_int_equal(baton_engine_applied_seq(b.engine), 200);
        assert_int_equal(baton_engine_promote(b.engine, 2, &b.error), BATON_E_AGAIN);
        assert_true(engine_fixture_status(&b).durable_seq < 180);
        engine_feed_close(&feed);
        engine_fixture_close(&b);
    }
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    engine_pair_assert_equal(&feed);
    engine_assert_uninterrupted(&b, expected);
    engine_feed_close(&feed);
    engine_fixture_close(&b);

    b.options.trust_root = (baton_digest){0}; /* the active's record names it now */
    engine_pair_open_standby(&b, &toy_service_v1);
    assert_int_equal(b.report.snapshot_seq, 200);
    engine_feed_open(&feed, &a, &b);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
}

static void a_standby_may_begin_with_an_image(void **unused)
{
    (void)unused;
    engine_feed feed = {.from_seq = 201};
    a.options.snapshot_form = BATON_FORM_IMAGE;
    engine_fixture_open(&a, &toy_service_arena);
    engine_fixture_submit_stream(&a, 1, 200);
    assert_int_equal(engine_fixture_snapshot(&a), 0);
    assert_string_equal(baton_engine_snapshot_status(a.engine)->last_form, "image");
    b.options.trust_root = baton_engine_snapshot_status(a.engine)->last_root;
    engine_fixture_submit_stream(&a, 201, 300);
    engine_fixture_settle(&a);
    engine_fixture_close(&a); /* its address is free now, as in another process */
    copy_snapshots(&a, &b);
    engine_pair_open_standby(&b, &toy_service_arena);
    assert_int_equal(b.report.snapshot_seq, 200);
    assert_string_equal(b.report.snapshot_form, "image");
    engine_feed_open(&feed, &a, &b);
    engine_feed_catch_up(&feed);
    engine_assert_uninterrupted(&b, expected);
    engine_feed_close(&feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_standby_beside_a_living_active_ends_equal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_standby_does_nothing_that_only_an_active_may, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_starts_again_at_any_point_and_goes_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failing_disk_costs_nothing_but_a_new_start, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_state_that_differs_is_named_with_its_interval, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_effect_that_differs_is_named_with_its_interval, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_interval_counts_from_the_last_good_one_across_a_restart,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_that_the_build_does_not_know_stops_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_pinned_and_finalized_goes_along, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_journal_of_another_service_or_another_past_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_may_begin_with_a_snapshot_in_the_middle, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_standby_may_begin_with_an_image, set_up, tear_down),
    };
    expected = engine_stream_expected(3000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
