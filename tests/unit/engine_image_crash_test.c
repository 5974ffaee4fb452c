/* tests/unit/engine_image_crash_test.c: all disks of an engine that takes images end after their
 * n-th operation: what was released is there at the next start, and every snapshot is whole. */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static engine_expected *expected;

typedef struct {
    uint64_t done;
    uint64_t last;
} world;

static int decide(void *context, uint64_t n, const baton_io_op *op)
{
    world *now = context;
    (void)n;
    (void)op;
    return ++now->done > now->last ? -EIO : 0;
}

/* Images all the way, until the world ends. Returns what was released. */
static uint64_t live(engine_fixture *f, world *now, io_fault *const faults[3])
{
    uint64_t n = 0;
    int r = 0;
    for (int i = 0; i < 3; i++)
        io_fault_set_decide(faults[i], decide, now);
    if (engine_fixture_try_open(f, &toy_service_arena) != 0)
        return 0;
    while (n < 150 && r == 0) {
        const toy_add add = engine_stream_entry(n + 1);
        r = baton_engine_submit(f->engine, TOY_ADD, &add, sizeof(add), NULL);
        n += r == 0;
        r = r == BATON_E_FULL ? 0 : r;
        if (r == 0 && n % 3 == 0)
            r = baton_engine_turn(f->engine, 1000000, NULL);
        if (r == 0 && n % 15 == 0)
            (void)!baton_engine_snapshot_begin(f->engine, NULL);
    }
    for (int i = 0; r == 0 && i < 500 && baton_engine_snapshot_status(f->engine)->running; i++)
        r = baton_engine_turn(f->engine, 1000000, NULL);
    const uint64_t released = baton_engine_released_seq(f->engine);
    r = baton_engine_close(f->engine);
    f->engine = NULL;
    return released;
}

/* Complete or absent, and with all that it adds to. One that the journal did not come to name may be
 * there: it was skipped. */
static void assert_all_whole(const engine_fixture *f)
{
    char directory[TEST_PATH_BYTES + 32];
    baton_snapshot_listed *listed;
    uint32_t count;
    baton_error error;
    snprintf(directory, sizeof(directory), "%s/snapshots", f->path);
    assert_int_equal(baton_snapshot_list(directory, &listed, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        if (baton_snapshot_verify(directory, &listed[i], &error) != 0)
            fail_msg("%s: %s", listed[i].manifest_path, error.why);
    free(listed);
    if (f->report.snapshots_skipped > 0)
        assert_non_null(strstr(f->report.snapshot_skipped_why, "nothing durable"));
}

static uint64_t one_end(uint64_t last, baton_image_choice choice)
{
    engine_fixture f;
    world now = {.last = last};
    io_fault *const faults[3] = {io_fault_new(), io_fault_new(), io_fault_new()};
    engine_fixture_make(&f, "image_crash");
    f.options.snapshot_form = BATON_FORM_IMAGE;
    f.options.image_choice = choice;
    f.options.image_full_every = 2; /* so that chains are pruned, too */
    const baton_engine_options well = f.options;
    f.options.io_backend = io_fault_backend();
    f.options.io_context = faults[0];
    f.options.snapshot_io_backend = io_fault_backend();
    f.options.snapshot_io_context = faults[1];
    f.options.image_io_backend = io_fault_backend();
    f.options.image_io_context = faults[2];
    const uint64_t released = live(&f, &now, faults);
    for (int i = 0; i < 3; i++)
        io_fault_free(faults[i]);

    f.options = well;
    engine_fixture_open(&f, &toy_service_arena);
    const baton_engine_status status = engine_fixture_status(&f);
    if (status.seq < released)
        fail_msg("after %llu operations: released %llu, found %llu", (unsigned long long)last,
                 (unsigned long long)released, (unsigned long long)status.seq);
    engine_assert_uninterrupted(&f, expected);
    assert_all_whole(&f);
    engine_fixture_submit_stream(&f, status.seq + 1, status.seq + 50);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_arena);
    assert_int_equal(f.report.snapshot_seq, status.seq + 50);
    engine_assert_uninterrupted(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    return now.done;
}

/* Every 7th operation of each run, from another first one each time. */
static void sweep(baton_image_choice choice)
{
    const char *given = getenv("BATON_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    const uint64_t step = 7 * engine_sweep_stride();
    const uint64_t all = one_end(UINT64_MAX, choice);
    print_message("%llu operations; BATON_SEED=%llu\n", (unsigned long long)all,
                  (unsigned long long)seed);
    for (uint64_t last = seed % step; last < all; last += step)
        (void)one_end(last, choice);
}

static void wherever_the_disks_end_nothing_released_is_lost(void **unused)
{
    (void)unused;
    sweep(BATON_IMAGE_AUTO);
}

static void nor_when_the_service_stops_for_it(void **unused)
{
    (void)unused;
    sweep(BATON_IMAGE_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wherever_the_disks_end_nothing_released_is_lost),
        cmocka_unit_test(nor_when_the_service_stops_for_it),
    };
    expected = engine_stream_expected(500);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
