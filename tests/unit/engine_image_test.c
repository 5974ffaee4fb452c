/* tests/unit/engine_image_test.c: snapshots in the form image, beside a serving engine and back
 * into the next one; where the form does not fit; damage; each way of taking one (S1-S4). */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static engine_expected *expected;

static void make(engine_fixture *f, const char *name)
{
    engine_fixture_make(f, name);
    f->options.snapshot_form = BATON_FORM_IMAGE;
}

static const baton_engine_snapshot_state *status_of(const engine_fixture *f)
{
    return baton_engine_snapshot_status(f->engine);
}

/* Entries up to the seq, then a snapshot of them. */
static void go_and_take(engine_fixture *f, uint64_t from, uint64_t to)
{
    engine_fixture_submit_stream(f, from, to);
    engine_fixture_settle(f);
    if (engine_fixture_snapshot(f) != 0)
        fail_msg("%s: %s", status_of(f)->last_error.what, status_of(f)->last_error.why);
    assert_int_equal(status_of(f)->last_seq, to);
}

static void reopen(engine_fixture *f, const baton_service *service)
{
    engine_fixture_close(f);
    engine_fixture_open(f, service);
}

/* Without the rights to watch pages. */
static int refuse_open(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                       baton_error *error)
{
    (void)context;
    (void)base;
    (void)bytes;
    (void)ret_tracker;
    return baton_error_set(error, BATON_E_DEVICE, "watch pages", "refused by this test", NULL);
}
static const baton_tracker_ops refusing = {.open = refuse_open};

/* ---- well ---- */

static void an_image_and_the_journal_after_it_give_the_state(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_tail");
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 500);
    assert_string_equal(status_of(&f)->last_form, "image");
    assert_true(status_of(&f)->last_full);
    assert_true(status_of(&f)->last_pause_ns > 0);
    engine_fixture_submit_stream(&f, 501, 900);
    engine_fixture_settle(&f);
    reopen(&f, &toy_service_arena);
    assert_string_equal(f.report.snapshot_form, "image");
    assert_int_equal(f.report.snapshot_seq, 500);
    assert_int_equal(f.report.replayed_entries, 400);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_submit_stream(&f, 901, 1200); /* the arena goes on where it was */
    engine_fixture_settle(&f);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_look_at_rest_starts_from_the_image(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_replay_result result;
    make(&f, "image_rest");
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 300);
    engine_fixture_submit_stream(&f, 301, 400);
    engine_fixture_settle(&f);
    engine_fixture_close(&f);
    assert_int_equal(baton_replay(&toy_service_arena, f.path, NULL, 1, &result, &f.error), 0);
    assert_int_equal(result.seq, 400);
    assert_string_equal(result.hydrate.snapshot_form, "image");
    assert_int_equal(result.hydrate.replayed_entries, 100);
    assert_memory_equal(&result.state_digest, &expected[400].state, sizeof(baton_digest));
    assert_memory_equal(&result.effect_digest, &expected[400].effects, sizeof(baton_digest));
    assert_int_equal(result.effects_count, expected[400].effects_count);
    engine_fixture_remove(&f);
}

/* The state is that of the boundary, whatever was submitted before and after it. */
static void entries_go_on_while_it_is_taken(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_busy");
    engine_fixture_open(&f, &toy_service_arena);
    engine_fixture_submit_stream(&f, 1, 200);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), BATON_E_AGAIN);
    uint64_t n = 200;
    for (; status_of(&f)->running && n < 1900; n += 5) {
        engine_fixture_submit_stream(&f, n + 1, n + 5);
        engine_fixture_turn(&f);
    }
    while (status_of(&f)->running)
        engine_fixture_turn(&f);
    assert_int_equal(status_of(&f)->last_status, 0);
    assert_in_range(status_of(&f)->last_seq, 200, n);
    const uint64_t taken_seq = status_of(&f)->last_seq;
    engine_fixture_settle(&f);
    reopen(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, taken_seq);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void images_add_to_one_another_and_stay_together(void **unused)
{
    (void)unused;
    engine_fixture f;
    bool added = false;
    make(&f, "image_chain");
    engine_fixture_open(&f, &toy_service_arena);
    for (uint64_t n = 0; n < 20; n++) {
        go_and_take(&f, n * 50 + 1, n * 50 + 50);
        added = added || !status_of(&f)->last_full;
    }
    if (strcmp(status_of(&f)->last_by, "live") != 0)
        print_message("pages can't be watched here (%s): every image is full\n",
                      status_of(&f)->last_why);
    else
        assert_true(added);
    engine_fixture_submit_stream(&f, 1001, 1100); /* what the names wait for, then pruning */
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    engine_fixture_turn(&f);
    assert_in_range(engine_fixture_snapshots_count(&f), 2, 16);
    reopen(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 1000);
    assert_int_equal(f.report.snapshots_skipped, 0);
    assert_true(f.report.load_bytes >
                TOY_KEYS * 4096); /* all of it, and not the last one's pages */
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);

    engine_damage(engine_snapshot_path(&f, 0, "manifest"), 100); /* every chain before is whole */
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 950);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void the_outbox_and_what_was_confirmed_are_in_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_outbox");
    engine_fixture_open(&f, &toy_service_arena);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    const engine_seen *confirmed = NULL;
    for (uint32_t i = 0; i < f.seen_count / 2; i++)
        if (f.seen[i].consumer == 1)
            confirmed = &f.seen[i];
    assert_non_null(confirmed);
    assert_int_equal(
        baton_engine_confirm(f.engine, 1, confirmed->epoch, confirmed->seq, confirmed->index), 0);
    assert_int_equal(engine_fixture_burst(&f, 300, BATON_EFFECT_BYTES_MAX, 3), 0);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    const baton_engine_status before = engine_fixture_status(&f);
    reopen(&f, &toy_service_arena);
    assert_string_equal(f.report.snapshot_form, "image");
    assert_int_equal(f.report.replayed_entries, 0);
    const baton_engine_status after = engine_fixture_status(&f);
    assert_int_equal(after.outbox_effects, before.outbox_effects);
    assert_int_equal(after.outbox_bytes, before.outbox_bytes);
    assert_int_equal(after.effects_count, before.effects_count);
    /* Below what was confirmed nothing is confirmed anew, and what is kept can be. */
    assert_int_equal(
        baton_engine_confirm(f.engine, 1, confirmed->epoch, confirmed->seq, confirmed->index), 0);
    assert_int_equal(baton_engine_confirm(f.engine, 3, before.epoch, 101, 299), 0);
    assert_int_equal(engine_fixture_status(&f).outbox_effects, before.outbox_effects - 300);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void where_pages_cant_be_watched_a_child_or_a_pause_takes_it(void **unused)
{
    (void)unused;
    static const struct {
        baton_image_choice choice;
        const baton_tracker_ops *tracker;
        bool memfd;
        const char *by;
        const char *why;
    } ways[] = {
        {BATON_IMAGE_AUTO, &refusing, false, "fork", "refused by this test"},
        {BATON_IMAGE_FORK, NULL, false, "fork", "asked for"},
        {BATON_IMAGE_STOP, &refusing, false, "stop", "asked for"},
        /* a child would share the pages */
        {BATON_IMAGE_AUTO, &refusing, true, "stop", "asked for"},
    };
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        engine_fixture f;
        make(&f, "image_ways");
        f.options.image_choice = ways[i].choice;
        f.options.image_tracker = ways[i].tracker;
        f.options.config.arena_options.memfd = ways[i].memfd;
        engine_fixture_open(&f, &toy_service_arena);
        for (uint64_t n = 0; n < 3; n++) {
            go_and_take(&f, n * 100 + 1, n * 100 + 100);
            assert_string_equal(status_of(&f)->last_by, ways[i].by);
            assert_string_equal(status_of(&f)->last_why, ways[i].why);
            assert_true(status_of(&f)->last_full);
        }
        engine_fixture_submit_stream(&f, 301, 350);
        engine_fixture_settle(&f);
        reopen(&f, &toy_service_arena);
        assert_int_equal(f.report.snapshot_seq, 300);
        assert_string_equal(f.report.snapshot_form, "image");
        engine_assert_uninterrupted(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void after_a_handover_the_successor_trusts_it_by_its_digests(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_handover");
    engine_fixture_open(&f, &toy_service_arena);
    engine_fixture_submit_stream(&f, 1, 400);
    engine_fixture_hand_over(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    reopen(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 400);
    assert_string_equal(f.report.snapshot_form, "image");
    assert_int_equal(f.report.replayed_entries, 0);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* ---- where it does not fit ---- */

static void another_layout_takes_the_portable_one_by_itself(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_layout");
    f.options.snapshot_form = BATON_FORM_PORTABLE;
    f.options.retire = true;
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 100);
    f.options.snapshot_form = BATON_FORM_IMAGE;
    reopen(&f, &toy_service_arena);
    for (uint64_t n = 1; n < 20; n++) /* so many that images alone would be kept */
        go_and_take(&f, n * 100 + 1, n * 100 + 100);
    engine_fixture_turn(&f);
    reopen(&f, &toy_service_arena_other);
    assert_string_equal(f.report.snapshot_form, "portable");
    assert_int_equal(f.report.snapshot_seq, 100);
    assert_int_equal(f.report.replayed_entries, 1900);
    assert_true(f.report.snapshots_skipped >= 2);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "layout"));
    engine_assert_uninterrupted(&f, expected);
    f.options.snapshot_form = BATON_FORM_PORTABLE;
    reopen(&f, &toy_service_v1); /* and one that has no arena at all */
    assert_int_equal(f.report.snapshot_seq, 100);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_service_without_a_layout_cant_choose_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_refused");
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_INVALID);
    assert_non_null(strstr(f.error.why, "arena"));
    assert_non_null(strstr(f.error.todo, "--snapshot-form portable"));
    assert_int_not_equal(access(f.path, F_OK), 0); /* refusals change nothing */
    f.options.snapshots_keep = 33;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_arena), BATON_E_INVALID);
    engine_fixture_remove(&f);
}

/* E4: the build before must be able to read what is written now. */
static void pinned_to_an_older_schema_it_is_portable(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_pinned");
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 100);
    reopen(&f, &toy_service_arena_v2);
    assert_string_equal(f.report.snapshot_form, "image");
    go_and_take(&f, 101, 200);
    assert_string_equal(status_of(&f)->last_form, "portable");
    assert_int_equal(engine_fixture_finalize(&f), 0);
    go_and_take(&f, 201, 300);
    assert_string_equal(status_of(&f)->last_form, "image");
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void at_an_address_that_is_taken_the_journal_gives_the_state(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_address");
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 100);
    engine_fixture_close(&f);
    baton_arena *in_the_way;
    assert_int_equal(baton_arena_create(NULL, toy_service_arena.layout, &in_the_way, NULL), 0);
    engine_fixture_open(&f, &toy_service_arena);
    assert_false(f.report.from_snapshot);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "not free"));
    engine_assert_uninterrupted(&f, expected);
    go_and_take(&f, 101, 200); /* where it is now */
    engine_fixture_close(&f);
    baton_arena_destroy(in_the_way);
    engine_fixture_open(&f, &toy_service_arena); /* which is not where it would be made */
    assert_int_equal(f.report.snapshot_seq, 200);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    f.options.config.arena_options.address = BATON_ARENA_ADDRESS;
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 100);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "--arena-address"));
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* ---- damage ---- */

static void a_damaged_image_falls_back_and_the_journal_does_the_rest(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_damage");
    f.options.image_choice = BATON_IMAGE_FORK; /* each stands alone */
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 300);
    go_and_take(&f, 301, 600);
    engine_fixture_close(&f);
    engine_damage(engine_snapshot_path(&f, 0, "chunks"), 4096);
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshots_skipped, 1);
    assert_int_equal(f.report.snapshot_seq, 300);
    assert_int_equal(f.report.replayed_entries, 300);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "chunks"));
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_damage(engine_snapshot_path(&f, 1, "chunks"), 4096);
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshots_skipped, 2);
    assert_false(f.report.from_snapshot);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_failing_disk_costs_the_image_and_not_the_service(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    make(&f, "image_full");
    f.options.image_io_backend = io_fault_backend();
    f.options.image_io_context = fault;
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 1, 100);
    engine_fixture_submit_stream(&f, 101, 200);
    io_fault_fail_all(fault, BATON_IO_WRITE, ENOSPC);
    assert_int_equal(engine_fixture_snapshot(&f), BATON_E_NO_SPACE);
    assert_true(status_of(&f)->last_error.todo[0] != '\0');
    assert_int_equal(status_of(&f)->taken_count, 1);
    io_fault_fail_all(fault, BATON_IO_WRITE, 0);
    engine_fixture_submit_stream(&f, 201, 300);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    assert_true(status_of(&f)->last_full); /* what was watched meanwhile is forgotten */
    reopen(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 300);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void an_arena_without_room_for_the_outbox_costs_the_image_only(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_no_room");
    f.options.config.arena_options.reserve_bytes = BATON_ARENA_RESERVE_MIN;
    engine_fixture_open(&f, &toy_service_arena);
    engine_fixture_submit_stream(&f, 1, 100);
    assert_int_equal(engine_fixture_burst(&f, 400, BATON_EFFECT_BYTES_MAX, 3), 0);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_snapshot(&f), BATON_E_FULL);
    assert_non_null(strstr(status_of(&f)->last_error.todo, "--arena-size"));
    const baton_engine_status status = engine_fixture_status(&f);
    assert_int_equal(baton_engine_confirm(f.engine, 3, status.epoch, 101, 399), 0);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0); /* nothing of the other one is in the way */
    engine_fixture_close(&f);
    f.options.config.arena_options.reserve_bytes = 0;
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 101);
    assert_string_equal(f.report.snapshot_form, "image");
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* What adds to a lost one is neither counted nor in the way of pruning. */
static void increments_without_their_parent_are_no_generations(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "image_orphans");
    engine_fixture_open(&f, &toy_service_arena);
    for (uint64_t n = 0; n < 4; n++)
        go_and_take(&f, n * 10 + 1, n * 10 + 10);
    const bool live = strcmp(status_of(&f)->last_by, "live") == 0;
    engine_fixture_close(&f);
    if (!live) {
        print_message("pages can't be watched here: there are no increments\n");
        engine_fixture_remove(&f);
        return;
    }
    const uint32_t count = engine_fixture_snapshots_count(&f);
    assert_int_equal(count, 4);
    assert_int_equal(unlink(engine_snapshot_path(&f, 3, "manifest")), 0); /* the full one */
    engine_fixture_open(&f, &toy_service_arena);
    assert_false(f.report.from_snapshot);
    assert_int_equal(f.report.snapshots_skipped, 3);
    engine_assert_uninterrupted(&f, expected);
    for (uint64_t n = 4; n < 30; n++)
        go_and_take(&f, n * 10 + 1, n * 10 + 10);
    engine_fixture_submit_stream(&f, 301, 310);
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    engine_fixture_turn(&f);
    assert_in_range(engine_fixture_snapshots_count(&f), 9, 17);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_and_the_journal_after_it_give_the_state),
        cmocka_unit_test(a_look_at_rest_starts_from_the_image),
        cmocka_unit_test(entries_go_on_while_it_is_taken),
        cmocka_unit_test(images_add_to_one_another_and_stay_together),
        cmocka_unit_test(the_outbox_and_what_was_confirmed_are_in_it),
        cmocka_unit_test(where_pages_cant_be_watched_a_child_or_a_pause_takes_it),
        cmocka_unit_test(after_a_handover_the_successor_trusts_it_by_its_digests),
        cmocka_unit_test(another_layout_takes_the_portable_one_by_itself),
        cmocka_unit_test(a_service_without_a_layout_cant_choose_it),
        cmocka_unit_test(pinned_to_an_older_schema_it_is_portable),
        cmocka_unit_test(at_an_address_that_is_taken_the_journal_gives_the_state),
        cmocka_unit_test(a_damaged_image_falls_back_and_the_journal_does_the_rest),
        cmocka_unit_test(a_failing_disk_costs_the_image_and_not_the_service),
        cmocka_unit_test(an_arena_without_room_for_the_outbox_costs_the_image_only),
        cmocka_unit_test(increments_without_their_parent_are_no_generations),
    };
    expected = engine_stream_expected(2000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
