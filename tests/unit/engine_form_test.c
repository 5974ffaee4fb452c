/* tests/unit/engine_form_test.c: which form a snapshot has, and why; portable ones packed by a child
 * while the service goes on; what builds with another layout start from (S1, S3, S4, S7). */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRIES 12000u

static engine_expected *expected;

/* What a packing child and its parent both see. */
typedef struct {
    volatile sig_atomic_t hold; /* a child waits in the service's snapshot function */
    volatile pid_t child;       /* that waits, or waited */
} shared;
static shared *seen;
static pid_t parent_pid;
static baton_service held_service; /* toy_service_arena */

static int held_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    if (getpid() != parent_pid) {
        seen->child = getpid();
        while (seen->hold)
            usleep(500);
    }
    return toy_service_arena.snapshot(state, schema, writer);
}

static int make_expected(void **unused)
{
    (void)unused;
    expected = engine_stream_expected(ENTRIES);
    parent_pid = getpid();
    held_service = toy_service_arena;
    held_service.snapshot = held_snapshot;
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return seen == MAP_FAILED;
}

static int free_expected(void **unused)
{
    (void)unused;
    free(expected);
    munmap(seen, sizeof(*seen));
    return 0;
}

static const baton_engine_snapshot_state *status_of(const engine_fixture *f)
{
    return baton_engine_snapshot_status(f->engine);
}

static void go(engine_fixture *f, uint64_t to)
{
    engine_fixture_submit_stream(f, baton_engine_applied_seq(f->engine) + 1, to);
    engine_fixture_settle(f);
}

static void go_and_take(engine_fixture *f, uint64_t to)
{
    go(f, to);
    if (engine_fixture_snapshot(f) != 0)
        fail_msg("%s: %s", status_of(f)->last_error.what, status_of(f)->last_error.why);
    assert_int_equal(status_of(f)->last_seq, to);
}

static int finish(engine_fixture *f)
{
    while (status_of(f)->running)
        engine_fixture_turn(f);
    return status_of(f)->last_status;
}

/* As drain/ does it. */
static int drain(engine_fixture *f, uint64_t within_ns)
{
    engine_fixture_hand_over(f);
    baton_engine_snapshot_give_up_older(f->engine);
    while (status_of(f)->running)
        engine_fixture_turn(f);
    const int r = baton_engine_snapshot_begin_within(f->engine, within_ns, &f->error);
    return r < 0 ? r : finish(f);
}

/* Begins to pack by a child, which waits in the service's function. */
static void begin_and_hold(engine_fixture *f)
{
    seen->hold = 1;
    seen->child = 0;
    assert_int_equal(baton_engine_snapshot_begin(f->engine, &f->error), 0);
    while (seen->child == 0)
        engine_fixture_turn(f);
}

/* For one that is due at once: by the journal, of which a byte is too much. */
static void make_due(engine_fixture *f)
{
    f->options.retire = true;
    f->options.journal_bytes_max = 1;
}

static bool file_has(const char *path, const char *text)
{
    static char bytes[1 << 16];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t n = fread(bytes, 1, sizeof(bytes), file);
    assert_int_equal(fclose(file), 0);
    return memmem(bytes, n, text, strlen(text)) != NULL;
}

static void assert_gone(pid_t child)
{
    assert_true(child > 0);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static int oom_score_adj(pid_t process)
{
    char path[64];
    int score = 0;
    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &score), 1);
    assert_int_equal(fclose(file), 0);
    return score;
}

static uint32_t partial_files(const engine_fixture *f)
{
    char command[TEST_PATH_BYTES + 96];
    snprintf(command, sizeof(command), "test -z \"$(find '%s/snapshots' -name '*.partial')\"",
             f->path);
    return system(command) != 0;
}

/* ---- the choice ---- */

static void while_serving_it_is_an_image_and_at_a_drain_portable(void **unused)
{
    (void)unused;
    static const baton_service *const next[] = {&toy_service_arena, &toy_service_arena_other,
                                                &toy_service_v1};
    for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
        engine_fixture f;
        engine_fixture_make(&f, "form_drain");
        engine_fixture_open(&f, &toy_service_arena);
        go_and_take(&f, 300);
        assert_string_equal(status_of(&f)->last_form, "image");
        assert_string_equal(status_of(&f)->last_form_why, "for a start of this layout");
        go(&f, 400);
        assert_int_equal(drain(&f, UINT64_C(25000000000)), 0);
        assert_string_equal(status_of(&f)->last_form, "portable");
        assert_string_equal(status_of(&f)->portable_by, "fork");
        assert_string_equal(status_of(&f)->portable_why, "");
        assert_true(status_of(&f)->portable_pause_ns > 0);
        assert_int_equal(status_of(&f)->portable_seq, 400);
        engine_fixture_close(&f);
        const char *manifest = engine_snapshot_path(&f, 0, "manifest");
        assert_true(file_has(manifest, "a drain: the next build may have another layout"));
        assert_true(file_has(manifest, "fork"));
        engine_fixture_open(&f, next[i]);
        assert_string_equal(f.report.snapshot_form, "portable");
        assert_int_equal(f.report.snapshot_seq, 400);
        assert_int_equal(f.report.replayed_entries, 0);
        assert_int_equal(f.report.snapshots_skipped, 0);
        engine_assert_uninterrupted(&f, expected);
        go(&f, 500);
        engine_assert_uninterrupted(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void a_drain_without_the_time_takes_an_image(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_late");
    engine_fixture_open(&f, &toy_service_arena);
    go(&f, 300);
    assert_int_equal(drain(&f, 1), 0);
    assert_string_equal(status_of(&f)->last_form, "image");
    assert_string_equal(status_of(&f)->last_form_why,
                        "a drain without the time for a portable one");
    engine_fixture_close(&f);
    assert_true(file_has(engine_snapshot_path(&f, 0, "manifest"), "a drain without the time"));
    engine_fixture_open(&f, &toy_service_arena);
    assert_string_equal(f.report.snapshot_form, "image");
    assert_int_equal(f.report.replayed_entries, 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_arena_other); /* has the journal only */
    assert_false(f.report.from_snapshot);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void what_keeps_it_portable_is_said(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_portable");
    engine_fixture_open(&f, &toy_service_v1);
    go_and_take(&f, 100);
    assert_string_equal(status_of(&f)->last_form, "portable");
    assert_string_equal(status_of(&f)->last_form_why, "the service has no arena");
    assert_string_equal(status_of(&f)->portable_by, "loop");
    engine_fixture_close(&f);

    f.options.snapshot_form = BATON_FORM_PORTABLE;
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 200);
    assert_string_equal(status_of(&f)->last_form, "portable");
    assert_string_equal(status_of(&f)->last_form_why, "asked for");
    engine_fixture_close(&f);

    f.options.snapshot_form = BATON_FORM_AUTO;
    engine_fixture_open(&f, &toy_service_arena_v2); /* not finalized: pinned */
    go_and_take(&f, 300);
    assert_string_equal(status_of(&f)->last_form, "portable");
    assert_non_null(strstr(status_of(&f)->last_form_why, "pinned"));
    assert_string_equal(status_of(&f)->portable_by, "fork");
    assert_int_equal(engine_fixture_finalize(&f), 0);
    go_and_take(&f, 400);
    assert_string_equal(status_of(&f)->last_form, "image");
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* ---- a portable one while the service runs ---- */

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

static void go_slowly(engine_fixture *f, uint64_t to)
{
    while (baton_engine_applied_seq(f->engine) < to) {
        const uint64_t n = baton_engine_applied_seq(f->engine) + 1;
        engine_fixture_submit_stream(f, n, n + 3 < to ? n + 3 : to);
        engine_fixture_turn(f);
    }
    engine_fixture_settle(f);
    assert_int_equal(finish(f), 0);
}

/* With nothing said about forms, the journal does not grow for ever, and two portable ones are there
 * for a build with another layout. */
static void the_journal_goes_and_another_layout_has_two_to_start_from(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_retire");
    f.options.retire = true;
    f.options.snapshot_every = 300;
    f.options.journal_bytes_max = UINT64_C(4) << 20;
    engine_fixture_open(&f, &toy_service_arena);
    uint64_t portable_seq = 0, portables = 0, images = 0;
    for (uint64_t to = 100; to <= ENTRIES; to += 100) {
        go_slowly(&f, to);
        images += strcmp(status_of(&f)->last_form, "image") == 0;
        if (status_of(&f)->portable_seq == portable_seq)
            continue;
        portable_seq = status_of(&f)->portable_seq;
        portables++;
        assert_string_equal(status_of(&f)->portable_by, "fork");
    }
    print_message("%llu portable ones, journal from %llu\n", (unsigned long long)portables,
                  (unsigned long long)first_seq(&f));
    assert_true(portables >= 3);
    assert_true(images > portables);
    assert_true(first_seq(&f) > 1);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshots_skipped, 0);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &toy_service_arena_other);
    assert_string_equal(f.report.snapshot_form, "portable");
    assert_int_equal(f.report.snapshot_seq, portable_seq);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);

    uint32_t n = 0;
    while (!file_has(engine_snapshot_path(&f, n, "manifest"), "portable"))
        n++;
    engine_damage(engine_snapshot_path(&f, n, "chunks"), 10);
    engine_fixture_open(&f, &toy_service_arena_other);
    assert_string_equal(f.report.snapshot_form, "portable");
    assert_true(f.report.snapshot_seq < portable_seq);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void one_is_due_when_another_layout_would_start_too_late(void **unused)
{
    (void)unused;
    engine_fixture f;
    bool image_before = false;
    engine_fixture_make(&f, "form_rto");
    f.options.rto_target_ns = 100000; /* any start takes longer: an image is due, too, and first */
    engine_fixture_open(&f, &toy_service_arena);
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    while (status_of(&f)->portable_seq == 0 && baton_engine_applied_seq(f.engine) < ENTRIES) {
        const uint64_t n = baton_engine_applied_seq(f.engine) + 1;
        engine_fixture_submit_stream(&f, n, n);
        engine_fixture_turn(&f);
        image_before = image_before || strcmp(status_of(&f)->last_form, "image") == 0;
    }
    print_message("after %llu ms\n",
                  (unsigned long long)((baton_clock_monotonic_ns(baton_clock_system()) - begin_ns) /
                                       1000000));
    assert_true(status_of(&f)->portable_seq > 0);
    assert_true(image_before);
    assert_string_equal(status_of(&f)->portable_by, "fork");
    assert_true(status_of(&f)->portable_start_ns > 0);
    assert_int_equal(finish(&f), 0);
    engine_fixture_settle(&f);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_arena_other);
    assert_string_equal(f.report.snapshot_form, "portable");
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void the_service_goes_on_while_a_child_packs_what_was(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_beside");
    make_due(&f);
    engine_fixture_open(&f, &held_service);
    seen->hold = 1;
    seen->child = 0;
    uint64_t n = 0;
    while (seen->child == 0) /* due by itself */
        go(&f, ++n);
    assert_true(status_of(&f)->running);
    go(&f, n + 1500); /* released, so durable, while it packs */
    assert_true(status_of(&f)->running);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), BATON_E_AGAIN);
    assert_int_equal(oom_score_adj(seen->child), 1000); /* it goes first where memory runs out */
    seen->hold = 0;
    assert_int_equal(finish(&f), 0);
    assert_string_equal(status_of(&f)->last_form, "portable");
    assert_string_equal(status_of(&f)->last_form_why, "the journal can't be let go without one");
    assert_in_range(status_of(&f)->last_seq, 1, n);
    const uint64_t taken_seq = status_of(&f)->last_seq;
    assert_gone(seen->child);
    engine_fixture_close(&f);
    f.options.retire = false;
    engine_fixture_open(&f, &toy_service_arena_other);
    assert_int_equal(f.report.snapshot_seq, taken_seq);
    assert_int_equal(f.report.replayed_entries, n + 1500 - taken_seq);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* The pages that a child froze are watched again afterwards: increments miss nothing. */
static void images_go_on_around_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_around");
    engine_fixture_open(&f, &held_service);
    go_and_take(&f, 100);
    go_and_take(&f, 200);
    engine_fixture_close(&f);
    make_due(&f);
    engine_fixture_open(&f, &held_service);
    uint64_t n = 200;
    for (int round = 0; round < 4; round++) {
        f.options.retire = true;
        seen->hold = 1;
        seen->child = 0;
        while (seen->child == 0)
            go(&f, ++n);
        go(&f, n += 40); /* into frozen pages */
        seen->hold = 0;
        assert_int_equal(finish(&f), 0);
        assert_string_equal(status_of(&f)->last_form, "portable");
        const uint64_t portable_seq = status_of(&f)->last_seq;
        assert_int_equal(engine_fixture_snapshot(&f), 0); /* at once: no look was between */
        assert_true(status_of(&f)->last_seq >= portable_seq);
    }
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_arena);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* ---- where it goes wrong ---- */

static void without_a_child_the_loop_packs_and_says_so(void **unused)
{
    (void)unused;
    for (int memfd = 0; memfd < 2; memfd++) {
        engine_fixture f;
        engine_fixture_make(&f, "form_loop");
        f.options.pack_fork_error = memfd ? 0 : -EAGAIN;
        f.options.config.arena_options.memfd = memfd;
        engine_fixture_open(&f, &toy_service_arena);
        go(&f, 200);
        assert_int_equal(drain(&f, UINT64_MAX), 0);
        assert_string_equal(status_of(&f)->last_form, "portable");
        assert_string_equal(status_of(&f)->portable_by, "loop");
        const char *why = memfd ? "--arena-memory memfd" : "fork: ";
        assert_non_null(strstr(status_of(&f)->portable_why, why));
        engine_fixture_close(&f);
        assert_true(file_has(engine_snapshot_path(&f, 0, "manifest"), why));
        engine_fixture_open(&f, &toy_service_arena_other);
        assert_int_equal(f.report.replayed_entries, 0);
        engine_assert_uninterrupted(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void a_killed_child_costs_its_snapshot_only(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_killed");
    f.options.pin_schema = 1; /* every one is portable */
    held_service.schema.write = 2;
    engine_fixture_open(&f, &held_service);
    go(&f, 100);
    begin_and_hold(&f);
    assert_int_equal(kill(seen->child, SIGKILL), 0);
    go(&f, 200);
    assert_int_equal(finish(&f), -ECHILD);
    assert_non_null(strstr(status_of(&f)->last_error.why, "signal 9"));
    assert_int_equal(engine_fixture_snapshots_count(&f), 0);
    assert_int_equal(partial_files(&f), 0);
    seen->hold = 0;
    go_and_take(&f, 300);
    assert_string_equal(status_of(&f)->portable_by, "fork");
    engine_fixture_close(&f);

    /* Closed while one packs: it ends, and leaves nothing. */
    engine_fixture_open(&f, &held_service);
    go(&f, 400);
    begin_and_hold(&f);
    engine_fixture_close(&f);
    assert_gone(seen->child);
    assert_int_equal(partial_files(&f), 0);
    held_service.schema.write = 1;
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, 300);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_drain_does_not_wait_for_an_older_one(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "form_older");
    make_due(&f);
    engine_fixture_open(&f, &held_service);
    uint64_t n = 0;
    seen->hold = 1;
    seen->child = 0;
    while (seen->child == 0)
        go(&f, ++n);
    const pid_t older = seen->child;
    go(&f, n + 100);
    engine_fixture_hand_over(&f);
    baton_engine_snapshot_give_up_older(f.engine);
    assert_false(status_of(&f)->running);
    assert_gone(older);
    seen->hold = 0;
    assert_int_equal(baton_engine_snapshot_begin_within(f.engine, UINT64_MAX, &f.error), 0);
    assert_int_equal(finish(&f), 0);
    assert_int_equal(status_of(&f)->last_seq, n + 100);
    assert_string_equal(status_of(&f)->last_form, "portable");
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_arena_other);
    assert_int_equal(f.report.replayed_entries, 0);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_full_disk_costs_the_snapshot_and_not_the_service(void **unused)
{
    (void)unused;
    static const struct {
        baton_io_kind kind;
        bool in_the_child;
    } cases[] = {{BATON_IO_WRITE, true},
                 {BATON_IO_OPEN, true},
                 {BATON_IO_SYNC_DATA, true},
                 {BATON_IO_WRITE, false},
                 {BATON_IO_RENAME, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine_fixture f;
        io_fault *child = io_fault_new();
        io_fault *parent = io_fault_new();
        engine_fixture_make(&f, "form_full");
        f.options.image_io_backend = io_fault_backend();
        f.options.image_io_context = child;
        f.options.snapshot_io_backend = io_fault_backend();
        f.options.snapshot_io_context = parent;
        f.options.pin_schema = 1;
        held_service.schema.write = 2;
        engine_fixture_open(&f, &held_service);
        go_and_take(&f, 100);
        go(&f, 200);
        io_fault *fault = cases[i].in_the_child ? child : parent;
        io_fault_fail_all(fault, cases[i].kind, ENOSPC);
        assert_int_equal(engine_fixture_snapshot(&f), BATON_E_NO_SPACE);
        assert_non_null(strstr(status_of(&f)->last_error.todo, "free space"));
        assert_int_equal(engine_fixture_snapshots_count(&f), 1);
        io_fault_fail_all(fault, cases[i].kind, 0);
        assert_int_equal(partial_files(&f), 0);
        go_and_take(&f, 300);
        assert_string_equal(status_of(&f)->portable_by, "fork");
        engine_fixture_close(&f);
        held_service.schema.write = 1;
        f.options.image_io_backend = f.options.snapshot_io_backend = NULL;
        engine_fixture_open(&f, &toy_service_arena_other);
        assert_int_equal(f.report.snapshot_seq, 300);
        engine_assert_uninterrupted(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
        io_fault_free(child);
        io_fault_free(parent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_serving_it_is_an_image_and_at_a_drain_portable),
        cmocka_unit_test(a_drain_without_the_time_takes_an_image),
        cmocka_unit_test(what_keeps_it_portable_is_said),
        cmocka_unit_test(the_journal_goes_and_another_layout_has_two_to_start_from),
        cmocka_unit_test(one_is_due_when_another_layout_would_start_too_late),
        cmocka_unit_test(the_service_goes_on_while_a_child_packs_what_was),
        cmocka_unit_test(images_go_on_around_it),
        cmocka_unit_test(without_a_child_the_loop_packs_and_says_so),
        cmocka_unit_test(a_killed_child_costs_its_snapshot_only),
        cmocka_unit_test(a_drain_does_not_wait_for_an_older_one),
        cmocka_unit_test(a_full_disk_costs_the_snapshot_and_not_the_service),
    };
    return cmocka_run_group_tests(tests, make_expected, free_expected);
}
