/* tests/unit/engine_retention_test.c: segments go when no kept snapshot needs them, and never
 * earlier: with its newest generation gone the service still starts from the one before, whenever
 * the machine stopped. */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRIES 800u /* each in a batch of its own: some segments of 1 MiB */
#define EVERY   120u /* entries between snapshots */

static engine_expected *expected;

static uint64_t first_seq(const engine_fixture *f)
{
    char path[TEST_PATH_BYTES + 64];
    baton_journal_summary summary;
    baton_error error;
    snprintf(path, sizeof(path), "%s/journal", f->path);
    assert_int_equal(baton_journal_verify(path, BATON_BACKEND_AUTO, NULL, NULL, &summary, &error),
                     0);
    return summary.recovery.first_seq;
}

/* Entries one by one until `to`, each in a batch of its own, and no snapshot left behind: how many
 * segments and snapshots there are depends on no disk's speed. False: the disk died on the way. */
static bool go_on(engine_fixture *f, uint64_t to)
{
    int r = 0;
    while (r == 0 && baton_engine_applied_seq(f->engine) < to) {
        const toy_add add = engine_stream_entry(baton_engine_applied_seq(f->engine) + 1);
        uint64_t seq;
        r = baton_engine_submit(f->engine, TOY_ADD, &add, sizeof(add), &seq);
        if (r == BATON_E_FULL)
            r = 0;
        do {
            if (r == 0)
                r = baton_engine_turn(f->engine, 1000000, &f->error);
        } while (r == 0 &&
                 (baton_engine_released_seq(f->engine) < baton_engine_applied_seq(f->engine) ||
                  baton_engine_snapshot_status(f->engine)->running));
    }
    return r == 0;
}

static void make(engine_fixture *f, const char *name)
{
    engine_fixture_make(f, name);
    f->options.retire = true;
    f->options.snapshot_every = EVERY;
    f->options.checkpoint_every = 100;
}

static void copy_tree(const char *from, const char *to)
{
    char command[4 * TEST_PATH_BYTES];
    snprintf(command, sizeof(command), "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

/* Not only the newest generation: with it gone, the one before and the journal give the same. */
static void expect_start_from_the_one_before(engine_fixture *f, uint64_t seq)
{
    char copy[TEST_PATH_BYTES + 32];
    snprintf(copy, sizeof(copy), "%s-copy", f->path);
    copy_tree(f->path, copy);
    char was[sizeof(f->path)];
    memcpy(was, f->path, sizeof(was));
    snprintf(f->path, sizeof(f->path), "%s", copy);
    const uint32_t there = engine_fixture_snapshots_count(f);
    if (there > 0)
        engine_damage(engine_snapshot_path(f, 0, "manifest"), 100);
    if (engine_fixture_try_open(f, &toy_service_v1) != 0) {
        char text[1024];
        fail_msg("with %" PRIu32 " snapshots, the newest one damaged: %s", there,
                 baton_error_text(&f->error, text, sizeof(text)));
    }
    assert_true(baton_engine_applied_seq(f->engine) >= seq);
    engine_assert_expected(f, expected);
    engine_fixture_close(f);
    memcpy(f->path, was, sizeof(was));
}

static void what_two_generations_need_stays_and_the_rest_goes(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "retention");
    uint64_t oldest = 1;
    for (uint64_t to = ENTRIES / 2; to <= 3 * ENTRIES; to += ENTRIES / 2) {
        engine_fixture_open(&f, &toy_service_v1);
        assert_true(go_on(&f, to));
        engine_fixture_settle(&f);
        engine_fixture_close(&f);
        const uint64_t first = first_seq(&f);
        assert_true(first >= oldest && first <= to);
        oldest = first;
        expect_start_from_the_one_before(&f, to);
    }
    assert_true(oldest > ENTRIES);
    engine_fixture_remove(&f);
}

/* The journal's disk, or the snapshots', stops after operation n of a life in which segments go:
 * one that goes on from `base`. Returns the operations done. */
static uint64_t one_cut(const char *base, bool of_snapshots, uint64_t n)
{
    engine_fixture f;
    io_fault *fault = io_fault_new();
    make(&f, "retention_cut");
    copy_tree(base, f.path);
    if (of_snapshots)
        f.options.snapshot_io_backend = io_fault_backend();
    else
        f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    f.options.snapshot_io_context = fault;
    f.options.snapshot_every = EVERY / 4;
    io_fault_crash_after(fault, n);
    uint64_t released = 0;
    if (engine_fixture_try_open(&f, &toy_service_v1) == 0) {
        (void)go_on(&f, ENTRIES + EVERY);
        released = baton_engine_released_seq(f.engine);
        (void)!baton_engine_close(f.engine);
        f.engine = NULL;
    }
    const uint64_t done = io_fault_count(fault);
    if (n == UINT64_MAX) /* segments, or snapshots, did go in this life */
        assert_true(io_fault_count_kind(fault, BATON_IO_UNLINK) > 2);
    f.options.io_backend = f.options.snapshot_io_backend = NULL;
    f.options.io_context = f.options.snapshot_io_context = NULL;
    io_fault_free(fault);

    expect_start_from_the_one_before(&f, released);
    engine_fixture_open(&f, &toy_service_v1);
    assert_true(baton_engine_applied_seq(f.engine) >= released);
    engine_assert_expected(&f, expected);
    assert_true(go_on(&f, baton_engine_applied_seq(f.engine) + 10));
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    return done;
}

static void a_stop_on_the_way_removes_nothing_that_is_needed(void **unused)
{
    (void)unused;
    engine_fixture base;
    make(&base, "retention_base");
    engine_fixture_open(&base, &toy_service_v1);
    assert_true(go_on(&base, ENTRIES));
    engine_fixture_settle(&base);
    engine_fixture_close(&base);
    for (int of_snapshots = 0; of_snapshots < 2; of_snapshots++) {
        const uint64_t all = one_cut(base.path, of_snapshots, UINT64_MAX);
        const uint64_t cuts = engine_sweep_stride() > 1 ? 4 : 12;
        for (uint64_t i = 0; i < cuts; i++) {
            const uint64_t n = 1 + (2 * i + 1) * all / (2 * cuts);
            print_message("%s, operation %" PRIu64 " of %" PRIu64 "\n",
                          of_snapshots ? "snapshots" : "journal", n, all);
            (void)one_cut(base.path, of_snapshots, n);
        }
    }
    engine_fixture_remove(&base);
}

static void what_a_pinned_image_adds_to_stays_with_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    char snapshots[TEST_PATH_BYTES + 16];
    uint64_t pinned_seq = 0;
    engine_fixture_make(&f, "retention_pinned_image");
    f.options.snapshot_form = BATON_FORM_IMAGE;
    f.options.snapshots_keep = 2;
    snprintf(snapshots, sizeof(snapshots), "%s/snapshots", f.path);
    engine_fixture_open(&f, &toy_service_arena);
    for (uint64_t n = 0; n < 26; n++) { /* three times a full one, and what adds to it */
        engine_fixture_submit_stream(&f, n * 20 + 1, n * 20 + 20);
        engine_fixture_settle(&f);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
        if (n == 3) {
            pinned_seq = n * 20 + 20;
            assert_int_equal(
                baton_snapshot_pin(snapshots, pinned_seq, baton_engine_epoch(f.engine), NULL), 0);
        }
    }
    engine_fixture_submit_stream(&f, 521, 540);
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    engine_fixture_turn(&f);
    engine_fixture_close(&f);

    baton_snapshot_listed *list;
    uint32_t count, pinned_count = 0;
    baton_error error = {0};
    assert_int_equal(baton_snapshot_list(snapshots, &list, &count, &error), 0);
    assert_true(count < 26); /* others went */
    for (uint32_t i = 0; i < count; i++) {
        pinned_count += list[i].pinned;
        if (list[i].info.seq == pinned_seq)
            assert_int_equal(baton_snapshot_verify(snapshots, &list[i], &error), 0);
    }
    assert_int_equal(pinned_count, 1);
    free(list);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_two_generations_need_stays_and_the_rest_goes),
        cmocka_unit_test(a_stop_on_the_way_removes_nothing_that_is_needed),
        cmocka_unit_test(what_a_pinned_image_adds_to_stays_with_it),
    };
    expected = engine_stream_expected(4 * ENTRIES);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
