/* tests/unit/snapshot_catalogue_test.c: what a directory of snapshots holds, and what prune
 * takes away. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/names.h"

static const CMFixtureFunction set_up = place_make, tear_down = place_remove;

static void make(uint64_t seq, uint64_t epoch)
{
    const fixture_wish wish = {seq, epoch, BATON_COMPRESS_RAW, 4096, 50, 0};
    fixture_publish(io, dir.path, &wish);
}

static bool is_there(const char *name)
{
    return access(test_path(&dir, name), F_OK) == 0;
}

static void the_listing_is_newest_first(void **state)
{
    static const uint64_t order[][2] = {{300, 1}, {20, 9}, {20, 3},
                                        {20, 2},  {4, 1},  {3, 4294967296}};
    static const uint32_t made[] = {3, 0, 5, 1, 4, 2};
    (void)state;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < 6; i++)
        make(order[made[i]][0], order[made[i]][1]);
    assert_int_equal(baton_snapshot_list(dir.path, &list, &count, NULL), 0);
    assert_int_equal(count, 6);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(list[i].status, 0);
        assert_int_equal(list[i].info.seq, order[i][0]);
        assert_int_equal(list[i].info.epoch, order[i][1]);
        assert_int_equal(access(list[i].manifest_path, F_OK), 0);
        assert_int_equal(baton_snapshot_verify(dir.path, &list[i], NULL), 0);
    }
    free(list);
}

static void an_absent_or_empty_directory_holds_none(void **state)
{
    (void)state;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 9;
    uint32_t removed = 9;
    baton_error error = {0};
    assert_int_equal(baton_snapshot_list(test_path(&dir, "nowhere"), &list, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(list);
    count = 9;
    assert_int_equal(baton_snapshot_list(dir.path, &list, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(list);
    assert_int_equal(baton_snapshot_prune(test_path(&dir, "nowhere"), 2, &removed, NULL), 0);
    assert_int_equal(removed, 0);
    fixture_write(test_path(&dir, "file"), "", 0);
    assert_int_equal(baton_snapshot_list(test_path(&dir, "file"), &list, &count, &error), -ENOTDIR);
    assert_string_equal(error.path, test_path(&dir, "file"));
}

/* Neither a snapshot nor a leftover of one: nobody touches them. */
static const char *const foreign[] = {
    "notes.txt",
    "0000000000000001-0000000000000001",
    "0000000000000001-0000000000000001.manifest.old",
    "000000000000000A-0000000000000001.manifest",
    "1-1.manifest",
    "0000000000000001-0000000000000001.chunksx",
    "x0000000000000001-000000000000001.chunks",
};

static const char *const leftovers[] = {
    "0000000000000009-0000000000000001.chunks.partial",
    "0000000000000009-0000000000000001.manifest.partial",
    "0000000000000001-0000000000000001.chunks.partial",
    "0000000000000008-0000000000000002.chunks",
};

static void leftovers_are_not_listed_and_prune_removes_only_them(void **state)
{
    (void)state;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    uint32_t removed = 9;
    make(1, 1);
    make(8, 1);
    for (uint32_t i = 0; i < 7; i++)
        fixture_write(test_path(&dir, foreign[i]), "mine", 4);
    for (uint32_t i = 0; i < 4; i++)
        fixture_write(test_path(&dir, leftovers[i]), "half", 4);
    assert_int_equal(baton_snapshot_list(dir.path, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    free(list);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_false(is_there(leftovers[i]));
    for (uint32_t i = 0; i < 7; i++)
        assert_true(is_there(foreign[i]));
    assert_int_equal(fixture_files(dir.path), 4 + 7);
}

static void prune_keeps_the_newest_and_never_fewer_than_two(void **state)
{
    (void)state;
    uint32_t removed = 9;
    baton_error error = {0};
    for (uint64_t seq = 1; seq <= 6; seq++)
        make(seq, 1);
    assert_int_equal(baton_snapshot_prune(dir.path, 1, &removed, &error), BATON_E_INVALID);
    assert_int_equal(baton_snapshot_prune(dir.path, 0, &removed, &error), BATON_E_INVALID);
    assert_int_equal(fixture_files(dir.path), 12);
    assert_int_equal(baton_snapshot_prune(dir.path, 4, &removed, &error), 0);
    assert_int_equal(removed, 2);
    assert_int_equal(fixture_files(dir.path), 8);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, &error), 0);
    assert_int_equal(removed, 2);
    fixture_listed(io, dir.path, 6);
    fixture_listed(io, dir.path, 5);
    assert_int_equal(fixture_files(dir.path), 4);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, &error), 0);
    assert_int_equal(removed, 0);
}

static void damaged_ones_are_listed_kept_and_do_not_count(void **state)
{
    (void)state;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    uint32_t removed = 9;
    for (uint64_t seq = 1; seq <= 5; seq++)
        make(seq, 1);
    fixture_write(test_path(&dir, "0000000000000005-0000000000000001.manifest"), "BATONMAN", 8);
    assert_int_equal(unlink(test_path(&dir, "0000000000000004-0000000000000001.chunks")), 0);
    assert_int_equal(baton_snapshot_list(dir.path, &list, &count, NULL), 0);
    assert_int_equal(count, 5);
    assert_int_equal(list[0].info.seq, 5);
    assert_int_equal(list[0].info.epoch, 1);
    assert_int_equal(list[0].status, BATON_E_DAMAGED);
    assert_int_equal(list[1].status, 0); /* its manifest is fine */
    assert_int_equal(baton_snapshot_verify(dir.path, &list[0], NULL), BATON_E_DAMAGED);
    assert_int_equal(baton_snapshot_verify(dir.path, &list[1], NULL), BATON_E_DAMAGED);
    free(list);

    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 1); /* 3 and 2 are the two readable ones */
    fixture_listed(io, dir.path, 3);
    fixture_listed(io, dir.path, 2);
    assert_true(is_there("0000000000000005-0000000000000001.manifest"));
    assert_true(is_there("0000000000000005-0000000000000001.chunks"));
    assert_true(is_there("0000000000000004-0000000000000001.manifest"));
    assert_false(is_there("0000000000000001-0000000000000001.manifest"));
    assert_false(is_there("0000000000000001-0000000000000001.chunks"));
}

static void a_file_under_another_ones_name_is_damaged(void **state)
{
    (void)state;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    make(5, 1);
    const char *from = test_path(&dir, "0000000000000005-0000000000000001.manifest");
    const char *to = test_path(&dir, "0000000000000006-0000000000000001.manifest");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(baton_snapshot_list(dir.path, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].status, BATON_E_DAMAGED);
    assert_int_equal(list[0].info.seq, 6);
    free(list);
}

static void a_crash_at_any_operation_of_remove_leaves_it_complete_or_absent(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 8; n++) { /* 1 looks for a pin */
        io_fault *fault = io_fault_new();
        baton_io *crashing = NULL;
        baton_snapshot_listed *list = NULL;
        uint32_t count = 0;
        uint32_t removed = 0;
        make(5, 1);
        const baton_io_options options = {.custom = io_fault_backend(), .custom_context = fault};
        assert_int_equal(baton_io_open(&options, &crashing, NULL), 0);
        io_fault_crash_after(fault, n);
        int r = baton_snapshot_remove(crashing, dir.path, 5, 1);
        assert_true(r == 0 || n < 6);
        baton_io_close(crashing);
        io_fault_free(fault);
        assert_int_equal(baton_snapshot_list_with(io, dir.path, &list, &count, NULL), 0);
        assert_int_equal(count, n <= 1 ? 1 : 0);
        if (count == 1)
            assert_int_equal(baton_snapshot_verify_with(io, dir.path, &list[0], NULL), 0);
        free(list);
        if (n <= 1)
            assert_int_equal(baton_snapshot_remove(io, dir.path, 5, 1), 0);
        assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
        assert_int_equal(fixture_files(dir.path), 0);
    }
    assert_int_equal(baton_snapshot_remove(io, dir.path, 5, 1), -ENOENT);
}

static void names_have_one_spelling(void **state)
{
    (void)state;
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_snapshot_name kind;
    uint64_t seq;
    uint64_t epoch;
    for (unsigned wanted = 0; wanted <= BATON_NAME_VERIFIED; wanted++) {
        assert_int_equal(
            baton_snapshot_path(path, "d", UINT64_MAX, 16, (baton_snapshot_name)wanted), 0);
        assert_true(baton_snapshot_name_parse(path + 2, &kind, &seq, &epoch));
        assert_int_equal(kind, wanted);
        assert_true(seq == UINT64_MAX && epoch == 16);
    }
    for (uint32_t i = 0; i < 7; i++)
        assert_false(baton_snapshot_name_parse(foreign[i], &kind, &seq, &epoch));
    assert_false(baton_snapshot_name_parse("", &kind, &seq, &epoch));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_listing_is_newest_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_absent_or_empty_directory_holds_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leftovers_are_not_listed_and_prune_removes_only_them,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(prune_keeps_the_newest_and_never_fewer_than_two, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damaged_ones_are_listed_kept_and_do_not_count, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_under_another_ones_name_is_damaged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_crash_at_any_operation_of_remove_leaves_it_complete_or_absent, set_up, tear_down),
        cmocka_unit_test(names_have_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
