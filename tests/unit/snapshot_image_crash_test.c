/* tests/unit/snapshot_image_crash_test.c: a crash after any operation of taking, publishing or
 * removing images leaves each of them complete or absent, and the ones before as they were. */
#include "tests/unit/snapshot_image_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static image_region region;

static int set_up(void **state)
{
    place_make(state);
    image_region_make(&region, 3 * MIB / 2, REGION_PRIVATE, 16);
    return 0;
}

static int tear_down(void **state)
{
    image_region_free(&region);
    return place_remove(state);
}

/* All of it with failing operations; 0 when it was published. */
static int take_with(io_fault *fault, baton_image_source *source, uint64_t seq, bool full)
{
    baton_image *image = NULL;
    baton_snapshot_publisher *publisher = NULL;
    baton_snapshot_info info = fixture_info(seq, 1);
    baton_image_options options = image_wish(dir.path, seq);
    baton_image_state now;
    options.no_thread = true;
    options.full = full;
    options.io = (baton_io_options){.custom = io_fault_backend(), .custom_context = fault};
    assert_int_equal(baton_image_begin(source, &options, region.bytes, &image, NULL), 0);
    while ((now = baton_image_poll(image, region.bytes)) != BATON_IMAGE_DONE &&
           now != BATON_IMAGE_FAILED)
        if (now == BATON_IMAGE_READY)
            assert_int_equal(baton_image_finish(image, region.bytes, NULL), 0);
    if (now == BATON_IMAGE_FAILED) {
        const int status = baton_image_error(image)->status;
        baton_image_end(image);
        return status;
    }
    baton_io *faulty = fixture_fault_io(fault, 16);
    int r = baton_image_publish_begin(image, faulty, &info, &publisher, NULL);
    while (r == 0 && (r = baton_snapshot_publish_step(publisher, true, NULL)) == BATON_E_AGAIN) {
        const int waited = baton_io_wait(faulty, UINT64_MAX);
        assert_true(waited == 0 || waited == BATON_E_TIMEOUT || waited == -EINTR);
        r = 0;
    }
    baton_snapshot_publish_end(publisher);
    baton_io_close(faulty);
    if (r == 0)
        baton_image_source_published(source, info.root);
    baton_image_end(image);
    return r;
}

static bool is_listed(uint64_t seq)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count;
    bool found = false;
    assert_int_equal(baton_snapshot_list_with(io, dir.path, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        found = found || list[i].info.seq == seq;
    free(list);
    return found;
}

/* Seq 1 is full and there; seq 2 adds to it, and the machine stops after n operations. Returns
 * whether seq 2 was reported as published. */
static bool crash_at(uint64_t n, uint64_t torn_bytes)
{
    io_fault *fault = io_fault_new();
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    uint32_t removed;
    assert_int_equal(take_with(fault, source, 1, true), 0);
    uint8_t *first = image_copy(&region, region.bytes);
    image_scribble(&region, 300, region.pages); /* two chunks */
    uint8_t *second = image_copy(&region, region.bytes);

    io_fault_crash_after(fault, io_fault_count(fault) + n);
    if (torn_bytes > 0)
        io_fault_tear(fault, io_fault_count(fault) + n, torn_bytes);
    const bool published = take_with(fault, source, 2, false) == 0;
    baton_image_source_close(source);
    io_fault_free(fault);

    fixture_whole(io, dir.path);
    image_check(io, dir.path, 1, &region, first, region.bytes);
    const bool listed = is_listed(2);
    if (published && !listed)
        fail_msg("after operation %" PRIu64 " it was published, and is not there", n);
    if (listed)
        image_check(io, dir.path, 2, &region, second, region.bytes);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(fixture_files(dir.path), listed ? 4 : 2); /* no leftover */
    if (listed)
        assert_int_equal(baton_snapshot_remove(io, dir.path, 2, 1), 0);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    free(first);
    free(second);
    return published;
}

static void a_crash_after_any_operation_leaves_it_complete_or_absent(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (!crash_at(n, 0)) {
        n++;
        assert_true(n < 64); /* far fewer operations than that */
    }
    assert_true(n > 8);
}

static void a_torn_write_is_never_taken_for_a_whole_one(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++)
        crash_at(n, 100);
}

static void a_crash_in_the_middle_of_a_prune_leaves_whole_chains(void **state)
{
    (void)state;
    bool done = false;
    for (uint64_t n = 0; !done; n++) {
        io_fault *fault = io_fault_new();
        baton_image_source *source = image_source(&region, image_tracker(), 2);
        uint8_t *copies[6];
        uint32_t removed;
        for (uint64_t seq = 1; seq <= 6; seq++) {
            image_scribble(&region, 30, region.pages);
            copies[seq - 1] = image_copy(&region, region.bytes);
            assert_int_equal(take_with(fault, source, seq, false), 0);
        }
        baton_image_source_close(source);
        baton_io *faulty = fixture_fault_io(fault, 16);
        io_fault_crash_after(fault, io_fault_count(fault) + n);
        done = baton_snapshot_prune_with(faulty, dir.path, 2, &removed, NULL) == 0;
        baton_io_close(faulty);
        io_fault_free(fault);

        fixture_whole(io, dir.path); /* whatever is listed has all that it adds to */
        for (uint64_t seq = 1; seq <= 6; seq++) {
            if (seq >= 3)
                assert_true(is_listed(seq));
            if (is_listed(seq))
                image_check(io, dir.path, seq, &region, copies[seq - 1], region.bytes);
            free(copies[seq - 1]);
        }
        for (uint64_t seq = 6; seq >= 1; seq--) {
            int r = baton_snapshot_remove(io, dir.path, seq, 1);
            assert_true(r == 0 || r == -ENOENT);
        }
        assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
        assert_int_equal(fixture_files(dir.path), 0);
        assert_true(n < 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crash_after_any_operation_leaves_it_complete_or_absent,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_write_is_never_taken_for_a_whole_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_crash_in_the_middle_of_a_prune_leaves_whole_chains,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
