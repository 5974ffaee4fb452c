/* tests/unit/snapshot_image_share_test.c: the pause that two threads share gives what one gives, and
 * never depends on the writer's. The tracker tells who asks, and makes one wait for the other. */
#include "tests/unit/snapshot_image_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MIB       (UINT64_C(1) << 20)
#define SEEDS     4u
#define MIB_PAGES 256u /* where a page has 4 KiB */

static test_dir dir;
static baton_io *io;
static image_region region;

/* ---- who asks ---- */

static pthread_t service; /* who calls finish() */
static atomic_uint asked; /* by the writer, in this pause */
static atomic_bool pause_is_over;
static uint32_t wait_for;     /* the service's first one, until the writer has asked that often */
static uint32_t writer_fails; /* that one of the writer's, and those after it; 0: never */
static bool writer_is_late;   /* gets its answer when the pause is over */
static bool all_fails;        /* for the service alone it may never come to that */

static int peek(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                uint32_t *ret_next_page)
{
    if (pthread_equal(pthread_self(), service)) {
        while (first_page == 0 && atomic_load(&asked) < wait_for)
            sched_yield();
    } else {
        const uint32_t n = atomic_fetch_add(&asked, 1) + 1;
        while (writer_is_late && !atomic_load(&pause_is_over))
            sched_yield();
        if (writer_fails > 0 && n >= writer_fails)
            return -EPERM;
    }
    if (all_fails)
        return -EPERM;
    return image_tracker()->peek(tracker, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                                 ret_next_page);
}

static baton_image_source *open_source(void)
{
    static baton_tracker_ops watched;
    watched = *image_tracker();
    watched.peek = peek;
    return image_source(&region, &watched, 2);
}

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "snapshot-image-share");
    io = fixture_io(BATON_IO_AUTO);
    service = pthread_self();
    wait_for = 0;
    writer_fails = 0;
    writer_is_late = false;
    all_fails = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    baton_io_close(io);
    test_dir_remove(&dir);
    return 0;
}

/* ---- one image ---- */

static int finish(baton_image *image)
{
    atomic_store(&asked, 0);
    atomic_store(&pause_is_over, false);
    return baton_image_finish(image, region.bytes, NULL);
}

/* These pages are written just before every attempt at the pause. */
typedef struct {
    uint32_t random; /* so many, anywhere */
    uint32_t first;  /* and all from here ... */
    uint32_t end;    /* ... to there */
} writes;

static void write_pages(const writes *some)
{
    image_scribble(&region, some->random, region.pages);
    for (uint32_t page = some->first; page < some->end; page++)
        image_touch(&region, page, (uint8_t)page);
}

/* What was the region at the boundary; the image is taken from there on. */
static uint8_t *take(baton_image_source *source, uint64_t seq, const writes *some, bool no_thread,
                     baton_image_result *ret_result)
{
    baton_image *image = NULL;
    baton_image_options options = image_wish(dir.path, seq);
    int r;
    options.no_thread = no_thread;
    options.pause_ns_max = UINT64_MAX / 4; /* settled by the number of pages alone */
    assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
    do {
        image_poll_until(image, region.bytes, BATON_IMAGE_READY);
        write_pages(some);
    } while ((r = finish(image)) == BATON_E_AGAIN);
    assert_int_equal(r, 0);
    uint8_t *copy = image_copy(&region, region.bytes);
    write_pages(some); /* a late copy would have that */
    atomic_store(&pause_is_over, true);
    image_poll_until(image, region.bytes, BATON_IMAGE_DONE);
    *ret_result = *baton_image_result_of(image);
    image_publish(io, source, image, seq);
    return copy;
}

/* Of the last round. */
static bool *last_pages(uint64_t seq)
{
    baton_snapshot_manifest manifest;
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, seq);
    bool *pages = calloc(region.pages, sizeof(*pages));
    assert_non_null(pages);
    assert_int_equal(
        baton_snapshot_manifest_load(io, listed.manifest_path, seq, 1, &manifest, NULL), 0);
    for (uint32_t i = 0; i < manifest.info.chunks_count; i++)
        for (uint32_t j = 0; j < manifest.pages[i].runs_count; j++) {
            const baton_page_run run = manifest.runs[manifest.pages[i].runs_first + j];
            for (uint32_t k = 0; k < run.pages_count; k++)
                if (manifest.pages[i].round == manifest.image.rounds - 1)
                    pages[run.first_page + k] = true;
        }
    baton_snapshot_manifest_free(&manifest);
    return pages;
}

/* A full one and one that adds to it, each with that many pages left for the pause. */
static void take_two(uint64_t seed, uint64_t seq, const writes *some, bool no_thread,
                     bool *ret_pages[2], baton_image_result ret_results[2])
{
    uint8_t *copies[2];
    image_region_make(&region, 64 * MIB, REGION_PRIVATE, seed);
    baton_image_source *source = open_source();
    for (uint32_t i = 0; i < 2; i++)
        copies[i] = take(source, seq + i, some, no_thread, &ret_results[i]);
    baton_image_source_close(source);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(ret_results[i].full, i == 0);
        image_check(io, dir.path, seq + i, &region, copies[i], region.bytes);
        ret_pages[i] = last_pages(seq + i);
        free(copies[i]);
    }
}

/* ---- tests ---- */

static void two_threads_gather_what_one_does(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        const writes some = {.random = seed * seed * 50, .first = seed * 99, .end = seed * 999};
        bool *pages[2][2];
        baton_image_result results[2][2];
        wait_for = 1 + seed % 3;
        take_two(seed, 10 * seed, &some, false, pages[0], results[0]);
        image_region_free(&region);
        wait_for = 0;
        take_two(seed, 10 * seed + 2, &some, true, pages[1], results[1]);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(results[1][i].helped_pages, 0);
            assert_int_equal(results[0][i].residual_pages, results[1][i].residual_pages);
            assert_memory_equal(pages[0][i], pages[1][i], region.pages * sizeof(bool));
            free(pages[0][i]);
            free(pages[1][i]);
        }
        image_region_free(&region);
    }
}

static void check_two(const writes *some, uint64_t seed, baton_image_result results[2])
{
    bool *pages[2];
    take_two(seed, 10, some, false, pages, results);
    free(pages[0]);
    free(pages[1]);
    image_region_free(&region);
}

static void the_writer_does_its_share(void **state)
{
    (void)state;
    baton_image_result results[2];
    wait_for = 3; /* two slices are gathered then, more than a slot */
    check_two(&(writes){.random = 2000}, 21, results);
    assert_true(results[0].helped_pages > 0 && results[1].helped_pages > 0);
}

static void a_writer_that_does_not_get_on_is_not_waited_for(void **state)
{
    (void)state;
    baton_image_result results[2];
    wait_for = 1;
    writer_is_late = true;
    check_two(&(writes){.random = 2000}, 22, results);
    assert_int_equal(results[0].helped_pages, 0);
    assert_int_equal(results[1].helped_pages, 0);
}

static void what_fails_for_the_writer_the_service_does(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 3; n++) {
        baton_image_result results[2];
        set_up(NULL);
        wait_for = n;
        writer_fails = n;
        check_two(&(writes){.random = 2000}, 30 + n, results);
        tear_down(NULL);
    }
}

static void what_fails_for_both_ends_the_image_and_the_next_is_right(void **state)
{
    (void)state;
    baton_image *image = NULL;
    baton_image_result result;
    image_region_make(&region, 64 * MIB, REGION_PRIVATE, 40);
    baton_image_source *source = open_source();
    const baton_image_options options = image_wish(dir.path, 40);
    assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
    image_poll_until(image, region.bytes, BATON_IMAGE_READY);
    image_scribble(&region, 2000, region.pages);
    all_fails = true;
    wait_for = 1;
    assert_int_equal(finish(image), -EPERM);
    atomic_store(&pause_is_over, true);
    while (baton_image_poll(image, region.bytes) != BATON_IMAGE_FAILED)
        sched_yield();
    assert_int_equal(baton_image_error(image)->status, -EPERM);
    baton_image_end(image);
    assert_int_equal(fixture_files(dir.path), 0);
    all_fails = false;
    uint8_t *copy = take(source, 41, &(writes){.random = 2000}, false, &result);
    baton_image_source_close(source);
    image_check(io, dir.path, 41, &region, copy, region.bytes);
    free(copy);
    image_region_free(&region);
}

/* The writer's end is dense: it has not the slots for all of that, the service does the rest. */
static void a_writer_out_of_slots_leaves_the_rest(void **state)
{
    (void)state;
    baton_image_result results[2];
    wait_for = 3;
    check_two(&(writes){.first = 26 * MIB_PAGES, .end = 64 * MIB_PAGES}, 50, results);
    assert_int_equal(results[0].residual_pages, 38 * MIB_PAGES);
    assert_in_range(results[0].helped_pages, 16 * MIB_PAGES, 24 * MIB_PAGES);
    assert_int_equal(results[0].retreats, 0);
}

/* More than all of the staging. Given up, or waited for the disk, or neither when that was quick:
 * what happens without a thread snapshot_image_fault_test.c counts. */
static void more_than_the_staging_takes_gives_the_right_image_too(void **state)
{
    (void)state;
    baton_image_result results[2];
    wait_for = 1;
    check_two(&(writes){.first = 0, .end = 64 * MIB_PAGES}, 60, results);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(results[i].retreats == 2 || !results[i].overflowed);
        assert_int_equal(results[i].residual_pages, 64 * MIB_PAGES);
    }
}

static void a_kernels_peek_changes_nothing(void **state)
{
    (void)state;
    enum { RUNS = 600, WRITTEN = 500 };
    const baton_tracker_ops *ops = baton_tracker_kernel();
    baton_tracker *tracker = NULL;
    baton_page_run runs[3][RUNS];
    image_region_make(&region, 8 * MIB, REGION_PRIVATE, 70);
    if (image_no_kernel_tracker(&region)) {
        image_region_free(&region);
        skip();
    }
    assert_int_equal(ops->open(NULL, region.base, region.bytes, &tracker, NULL), 0);
    assert_int_equal(ops->arm(tracker, 0, region.pages), 0);
    for (uint32_t i = 0; i < WRITTEN; i++)
        image_touch(&region, 3 * i, 1);
    for (uint32_t i = 0; i < 3; i++) { /* peek, peek, collect */
        uint32_t total = 0;
        for (uint32_t at = 0; at < region.pages;) {
            uint32_t count;
            int r = i < 2 ? ops->peek(tracker, at, region.pages, runs[i] + total, RUNS - total,
                                      &count, &at)
                          : ops->collect(tracker, at, region.pages, runs[i] + total, RUNS - total,
                                         &count, &at);
            assert_int_equal(r, 0);
            total += count;
        }
        assert_int_equal(total, WRITTEN);
        assert_memory_equal(runs[i], runs[0], WRITTEN * sizeof(runs[0][0]));
    }
    uint32_t count;
    uint32_t next_page;
    assert_int_equal(ops->peek(tracker, 0, region.pages, runs[0], RUNS, &count, &next_page), 0);
    assert_int_equal(count, 0);
    ops->close(tracker);
    image_region_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_threads_gather_what_one_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_writer_does_its_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_does_not_get_on_is_not_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test(what_fails_for_the_writer_the_service_does),
        cmocka_unit_test_setup_teardown(what_fails_for_both_ends_the_image_and_the_next_is_right,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_out_of_slots_leaves_the_rest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_the_staging_takes_gives_the_right_image_too,
                                        set_up, tear_down),
        cmocka_unit_test(a_kernels_peek_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
