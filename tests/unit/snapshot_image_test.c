/* tests/unit/snapshot_image_test.c: images are the region as it was at the boundary, whoever writes
 * to it meanwhile and however they are taken. */
#include "tests/unit/snapshot_image_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB   (UINT64_C(1) << 20)
#define BYTES (8 * MIB)

static image_region region;

static const CMFixtureFunction set_up = place_make_auto, tear_down = place_remove;

/* ---- live, under a thread that writes ---- */

typedef struct {
    pthread_mutex_t boundary; /* held while an entry is applied */
    atomic_bool stop;
    uint32_t among_pages;
} service;

static void *service_main(void *context)
{
    service *self = context;
    while (!atomic_load(&self->stop)) {
        pthread_mutex_lock(&self->boundary);
        image_scribble(&region, 4, self->among_pages);
        pthread_mutex_unlock(&self->boundary);
        sched_yield();
    }
    return NULL;
}

/* At the boundary the region is copied; what the image gives back must be that copy. */
static uint8_t *take_under_writes(baton_image_source *source, const baton_image_options *options,
                                  service *self)
{
    baton_image *image = NULL;
    uint8_t *copy = NULL;
    int r;
    assert_int_equal(baton_image_begin(source, options, region.bytes, &image, NULL), 0);
    do {
        image_poll_until(image, region.bytes, BATON_IMAGE_READY);
        pthread_mutex_lock(&self->boundary);
        r = baton_image_finish(image, region.bytes, NULL);
        if (r == 0)
            copy = image_copy(&region, region.bytes);
        pthread_mutex_unlock(&self->boundary);
    } while (r == BATON_E_AGAIN);
    assert_int_equal(r, 0);
    image_poll_until(image, region.bytes, BATON_IMAGE_DONE);
    assert_int_equal(baton_image_result_of(image)->by, BATON_IMAGE_BY_LIVE);
    assert_true(baton_image_result_of(image)->rounds >= 2);
    image_publish(io, source, image, options->seq);
    return copy;
}

static void live_under_writes(image_backing backing, baton_compress compress)
{
    service self = {.boundary = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    uint8_t *copies[4];
    image_region_make(&region, BYTES, backing, 20261121u + (uint64_t)backing);
    if (image_no_kernel_tracker(&region)) {
        image_region_free(&region);
        skip();
    }
    self.among_pages = region.pages;
    baton_image_source *source = image_source(&region, NULL, 3); /* full, two that add, full */
    assert_int_equal(pthread_create(&thread, NULL, service_main, &self), 0);
    for (uint32_t i = 0; i < 4; i++) {
        baton_image_options options = image_wish(dir.path, 10 + i);
        options.compress = compress;
        copies[i] = take_under_writes(source, &options, &self);
    }
    atomic_store(&self.stop, true);
    pthread_join(thread, NULL);
    baton_image_source_close(source);
    for (uint32_t i = 0; i < 4; i++) {
        const baton_snapshot_listed listed = fixture_listed(io, dir.path, 10 + i);
        assert_int_equal(baton_digest_is_zero(listed.info.parent), i == 0 || i == 3);
        image_check(io, dir.path, 10 + i, &region, copies[i], BYTES);
        assert_int_equal(baton_snapshot_verify(dir.path, &listed, NULL), 0);
        free(copies[i]);
    }
    image_region_free(&region);
}

static void an_image_taken_under_writes_is_the_region_at_the_boundary(void **state)
{
    (void)state;
    live_under_writes(REGION_PRIVATE, BATON_COMPRESS_RAW);
}

static void so_it_is_with_lz4(void **state)
{
    (void)state;
    live_under_writes(REGION_PRIVATE, BATON_COMPRESS_LZ4);
}

static void so_it_is_in_a_memfd(void **state)
{
    (void)state;
    live_under_writes(REGION_MEMFD, BATON_COMPRESS_RAW);
}

static void so_it_is_with_huge_pages(void **state)
{
    (void)state;
    live_under_writes(REGION_HUGE, BATON_COMPRESS_AUTO);
}

static atomic_bool disk_is_full;
static atomic_bool write_failed;
static const char *unfinished;

static int full_from_now_on(void *context, uint64_t n, const baton_io_op *op)
{
    (void)context;
    (void)n;
    if (op == NULL || op->kind != BATON_IO_WRITE || !atomic_load(&disk_is_full))
        return 0;
    atomic_store(&write_failed, true);
    return -ENOSPC;
}

static pthread_t the_service; /* who calls finish() */

/* In the pause, after the first slice: goes on when the writer's first write has failed. A writer
 * that cleans up before the service is out of the way would have removed the file soon after. */
static int peek_late(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                     baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                     uint32_t *ret_next_page)
{
    if (pthread_equal(pthread_self(), the_service) && first_page > 0) {
        while (!atomic_load(&write_failed))
            sched_yield();
        for (uint32_t i = 0; i < 5000; i++) {
            assert_int_equal(access(unfinished, F_OK), 0);
            sched_yield();
        }
    }
    return image_tracker()->peek(tracker, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                                 ret_next_page);
}

/* The thread gives up while the service fills the staging that it would write. */
static void a_disk_that_fills_up_in_the_pause_is_named_and_the_service_goes_on(void **state)
{
    (void)state;
    io_fault *fault = io_fault_new();
    io_fault_set_decide(fault, full_from_now_on, NULL);
    baton_tracker_ops late = *image_tracker();
    late.peek = peek_late;
    the_service = pthread_self();
    image_region_make(&region, 80 * MIB, REGION_PRIVATE, 18); /* more than the staging */
    baton_image_source *source = image_source(&region, &late, 0);
    for (uint32_t i = 0; i < 2; i++) {
        baton_image *image = NULL;
        baton_error error = {0};
        baton_image_options options = image_wish(dir.path, 40 + i);
        options.io = (baton_io_options){.custom = io_fault_backend(), .custom_context = fault};
        atomic_store(&disk_is_full, false);
        atomic_store(&write_failed, false);
        unfinished = test_path(&dir, i == 0 ? "0000000000000028-0000000000000001.chunks.partial"
                                            : "0000000000000029-0000000000000001.chunks.partial");
        assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
        image_poll_until(image, region.bytes, BATON_IMAGE_READY);
        for (uint32_t page = 0; page < region.pages; page++)
            image_touch(&region, page, (uint8_t)page);
        atomic_store(&disk_is_full, true);
        int r = baton_image_finish(image, region.bytes, &error);
        assert_int_equal(r, BATON_E_NO_SPACE);
        assert_int_equal(error.status, BATON_E_NO_SPACE);
        while (baton_image_poll(image, region.bytes) != BATON_IMAGE_FAILED)
            sched_yield();
        assert_int_equal(baton_image_error(image)->status, BATON_E_NO_SPACE);
        baton_image_end(image);
        assert_int_equal(fixture_files(dir.path), 0);
    }
    io_fault_free(fault);
    baton_image_source_close(source);
    image_region_free(&region);
}

/* Pages that are written again behind a collection must wait for the next one: within a round pages
 * only ascend. */
static void the_kernels_tracker_never_goes_back(void **state)
{
    (void)state;
    enum { RUNS = 2048, WRITTEN = 3000 };
    static baton_page_run runs[RUNS];
    const baton_tracker_ops *ops = baton_tracker_kernel();
    baton_tracker *tracker = NULL;
    image_region_make(&region, 32 * MIB, REGION_PRIVATE, 12);
    if (image_no_kernel_tracker(&region)) {
        image_region_free(&region);
        skip();
    }
    assert_int_equal(ops->open(NULL, region.base, region.bytes, &tracker, NULL), 0);
    assert_int_equal(ops->arm(tracker, 0, region.pages), 0);
    for (uint32_t i = 0; i < WRITTEN; i++)
        image_touch(&region, 2 * i, 1);
    uint32_t next_page = 0;
    uint32_t found = 0;
    while (next_page < region.pages) {
        uint32_t count;
        uint32_t at = next_page;
        assert_int_equal(
            ops->collect(tracker, next_page, region.pages, runs, RUNS, &count, &next_page), 0);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(runs[i].first_page >= at && runs[i].pages_count > 0);
            at = runs[i].first_page + runs[i].pages_count;
            found += runs[i].pages_count;
        }
        assert_true(next_page >= at);
        for (uint32_t page = 0; page < next_page; page += 2)
            image_touch(&region, page, 2);
    }
    assert_int_equal(found, WRITTEN);
    ops->close(tracker);
    image_region_free(&region);
}

static void a_system_call_that_writes_is_seen_too(void **state)
{
    (void)state;
    const baton_tracker_ops *ops = baton_tracker_kernel();
    baton_tracker *tracker = NULL;
    baton_page_run runs[4];
    uint32_t count;
    uint32_t next_page;
    int ends[2];
    image_region_make(&region, BYTES, REGION_PRIVATE, 17);
    if (image_no_kernel_tracker(&region)) {
        image_region_free(&region);
        skip();
    }
    assert_int_equal(ops->open(NULL, region.base, region.bytes, &tracker, NULL), 0);
    assert_int_equal(ops->arm(tracker, 0, region.pages), 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "entry", 5), 5);
    assert_int_equal(read(ends[0], region.base + 7 * (size_t)region.page_bytes, 5), 5);
    assert_int_equal(ops->collect(tracker, 0, region.pages, runs, 4, &count, &next_page), 0);
    assert_int_equal(count, 1);
    assert_int_equal(runs[0].first_page, 7);
    assert_int_equal(runs[0].pages_count, 1);
    close(ends[0]);
    close(ends[1]);
    ops->close(tracker);
    image_region_free(&region);
}

/* ---- the other ways ---- */

static void fallback(baton_image_choice choice, baton_image_by by, bool refuse, const char *why)
{
    baton_image_result result;
    baton_snapshot_manifest manifest;
    image_region_make(&region, BYTES + 3 * baton_page_bytes(), REGION_PRIVATE, 7);
    region.refuse = refuse;
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    baton_image_options options = image_wish(dir.path, 20);
    options.choice = choice;
    uint8_t *copy = image_copy(&region, region.bytes);
    image_take(io, source, &options, region.bytes, &result);
    baton_image_source_close(source);
    assert_int_equal(result.by, by);
    assert_string_equal(result.why, why);
    image_check(io, dir.path, 20, &region, copy, region.bytes);

    const baton_snapshot_listed listed = fixture_listed(io, dir.path, 20);
    assert_int_equal(baton_snapshot_manifest_load(io, listed.manifest_path, 20, 1, &manifest, NULL),
                     0);
    assert_string_equal(manifest.image.taken_by, by == BATON_IMAGE_BY_FORK ? "fork" : "stop");
    assert_string_equal(manifest.image.taken_why, why);
    baton_snapshot_manifest_free(&manifest);
    free(copy);
    image_region_free(&region);
}

static void where_pages_are_not_tracked_a_child_writes_and_the_manifest_says_why(void **state)
{
    (void)state;
    fallback(BATON_IMAGE_AUTO, BATON_IMAGE_BY_FORK, true,
             "userfaultfd is denied, most likely by seccomp");
}

static void stop_and_copy_gives_the_same(void **state)
{
    (void)state;
    fallback(BATON_IMAGE_STOP, BATON_IMAGE_BY_STOP, false, "asked for");
}

static void what_is_written_after_the_fork_is_not_in_the_image(void **state)
{
    (void)state;
    baton_image *image = NULL;
    image_region_make(&region, BYTES, REGION_PRIVATE, 8);
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    baton_image_options options = image_wish(dir.path, 21);
    options.choice = BATON_IMAGE_FORK;
    assert_int_equal(baton_image_begin(source, &options, BYTES, &image, NULL), 0);
    assert_int_equal(baton_image_poll(image, BYTES), BATON_IMAGE_READY);
    uint8_t *copy = image_copy(&region, BYTES);
    assert_int_equal(baton_image_finish(image, BYTES, NULL), 0);
    for (uint32_t page = 0; page < region.pages; page++)
        image_touch(&region, page, 0x55);
    image_poll_until(image, BYTES, BATON_IMAGE_DONE);
    image_publish(io, source, image, 21);
    baton_image_source_close(source);
    image_check(io, dir.path, 21, &region, copy, BYTES);
    free(copy);
    image_region_free(&region);
}

/* In the child: it never gets further. */
static int stay(void *context, uint64_t n, const baton_io_op *op)
{
    (void)context;
    (void)n;
    while (op != NULL && op->kind == BATON_IO_WRITE)
        pause();
    return 0;
}

static baton_image *begin_fork(baton_image_source *source, io_fault *fault, uint64_t seq)
{
    baton_image *image = NULL;
    baton_image_options options = image_wish(dir.path, seq);
    options.choice = BATON_IMAGE_FORK;
    options.io = (baton_io_options){.custom = io_fault_backend(), .custom_context = fault};
    io_fault_set_decide(fault, stay, NULL);
    assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
    assert_int_equal(baton_image_finish(image, region.bytes, NULL), 0);
    return image;
}

static void a_killed_child_is_named_and_leaves_nothing(void **state)
{
    (void)state;
    io_fault *fault = io_fault_new();
    image_region_make(&region, BYTES, REGION_PRIVATE, 9);
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    baton_image *image = begin_fork(source, fault, 22);
    const pid_t child = baton_image_result_of(image)->child;
    assert_true(child > 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    baton_image_state now;
    while ((now = baton_image_poll(image, region.bytes)) == BATON_IMAGE_WRITING)
        continue;
    assert_int_equal(now, BATON_IMAGE_FAILED);
    assert_string_equal(baton_image_error(image)->why,
                        "the child that wrote it was ended by signal 9");
    baton_image_end(image);
    assert_int_equal(
        access(test_path(&dir, "0000000000000016-0000000000000001.chunks.partial"), F_OK), -1);
    io_fault_free(fault);
    baton_image_source_close(source);
    image_region_free(&region);
}

static void the_child_holds_none_of_the_services_descriptors(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    io_fault *fault = io_fault_new();
    image_region_make(&region, BYTES, REGION_PRIVATE, 14);
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    assert_int_equal(pipe(ends), 0);
    baton_image *image = begin_fork(source, fault, 23);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* its end: the child, still there, has none */
    assert_int_equal(baton_image_poll(image, region.bytes), BATON_IMAGE_WRITING);
    close(ends[0]);
    baton_image_end(image);
    io_fault_free(fault);
    baton_image_source_close(source);
    image_region_free(&region);
}

static void the_child_dies_with_the_service(void **state)
{
    (void)state;
    pid_t child = 0;
    int status = 0;
    int ends[2];
    image_region_make(&region, BYTES, REGION_PRIVATE, 15);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become ours */
    assert_int_equal(pipe(ends), 0);
    const pid_t served = fork();
    if (served == 0) { /* a service that begins an image, and is gone */
        baton_image_source *source = image_source(&region, image_tracker(), 0);
        baton_image *image = begin_fork(source, io_fault_new(), 24);
        child = baton_image_result_of(image)->child;
        _exit(write(ends[1], &child, sizeof(child)) == sizeof(child) ? 0 : 1);
    }
    assert_true(served > 0);
    assert_int_equal(read(ends[0], &child, sizeof(child)), sizeof(child));
    assert_int_equal(waitpid(served, &status, 0), served);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) == 1); /* killed, or saw it in time */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    close(ends[0]);
    close(ends[1]);
    image_region_free(&region);
}

static void ending_one_early_stops_the_writer_and_leaves_nothing(void **state)
{
    (void)state;
    static const baton_image_choice choices[] = {BATON_IMAGE_LIVE, BATON_IMAGE_FORK};
    const uint32_t before = fixture_files(dir.path);
    image_region_make(&region, 64 * MIB, REGION_PRIVATE, 10);
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    for (uint32_t i = 0; i < 8; i++) {
        baton_image *image = NULL;
        baton_image_options options = image_wish(dir.path, 30 + i);
        options.choice = choices[i % 2];
        assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
        if (i >= 2)
            (void)baton_image_poll(image, region.bytes);
        if (i >= 4)
            image_poll_until(image, region.bytes, BATON_IMAGE_READY);
        if (i >= 6)
            while (baton_image_finish(image, region.bytes, NULL) == BATON_E_AGAIN)
                image_poll_until(image, region.bytes, BATON_IMAGE_READY);
        baton_image_end(image);
    }
    assert_int_equal(fixture_files(dir.path), before);
    baton_image_source_close(source);
    image_region_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_taken_under_writes_is_the_region_at_the_boundary,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_it_is_with_lz4, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_it_is_in_a_memfd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_it_is_with_huge_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_disk_that_fills_up_in_the_pause_is_named_and_the_service_goes_on, set_up, tear_down),
        cmocka_unit_test(the_kernels_tracker_never_goes_back),
        cmocka_unit_test(a_system_call_that_writes_is_seen_too),
        cmocka_unit_test_setup_teardown(
            where_pages_are_not_tracked_a_child_writes_and_the_manifest_says_why, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(stop_and_copy_gives_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_after_the_fork_is_not_in_the_image, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_killed_child_is_named_and_leaves_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_child_holds_none_of_the_services_descriptors, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_child_dies_with_the_service, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ending_one_early_stops_the_writer_and_leaves_nothing,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
