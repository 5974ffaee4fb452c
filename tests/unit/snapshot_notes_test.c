/* tests/unit/snapshot_notes_test.c: pins, notes of verifications, and which snapshots a policy
 * leaves. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/catalogue.h"

#define DAY_NS (UINT64_C(86400) * UINT64_C(1000000000))
#define NOON   (UINT64_C(20000) * DAY_NS + DAY_NS / 2)

static const CMFixtureFunction set_up = place_make, tear_down = place_remove;

static void make_at(uint64_t seq, uint64_t created_wall_ns)
{
    baton_snapshot_writer *writer = NULL;
    baton_snapshot_info info = fixture_info(seq, 1);
    info.created_wall_ns = created_wall_ns;
    assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
    fixture_pack(writer, (uint32_t)seq);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, NULL), 0);
}

/* Runs the policy; fates as one letter each, newest first: n d p x (damaged) - (removed). */
static const char *fates_of(const baton_snapshot_policy *policy)
{
    static const char letters[] = {
        [BATON_FATE_REMOVED] = '-', [BATON_FATE_NEWEST] = 'n', [BATON_FATE_DAY] = 'd',
        [BATON_FATE_PINNED] = 'p',  [BATON_FATE_NEEDED] = '+', [BATON_FATE_DAMAGED] = 'x',
        [BATON_FATE_PORTABLE] = 'o'};
    static char text[64];
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_retain(dir.path, policy, &list, &fates, &count, NULL), 0);
    assert_true(count < sizeof(text));
    for (uint32_t i = 0; i < count; i++)
        text[i] = letters[fates[i]];
    text[count] = '\0';
    free(list);
    free(fates);
    return text;
}

static void a_pinned_one_is_removed_by_nobody(void **state)
{
    (void)state;
    uint32_t removed = 9;
    for (uint64_t seq = 1; seq <= 5; seq++)
        make_at(seq, NOON);
    assert_int_equal(baton_snapshot_pin(dir.path, 2, 1, NULL), 0);
    assert_int_equal(baton_snapshot_pin(dir.path, 2, 1, NULL), 0); /* again is fine */
    assert_true(fixture_listed(io, dir.path, 2).pinned);
    assert_false(fixture_listed(io, dir.path, 3).pinned);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 2, 1), BATON_E_REFUSED);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 2); /* 1 and 3 */
    assert_int_equal(fixture_whole(io, dir.path), 3);
    assert_int_equal(baton_snapshot_unpin(dir.path, 2, 1, NULL), 0);
    assert_int_equal(baton_snapshot_unpin(dir.path, 2, 1, NULL), 0);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 1);
    assert_int_equal(fixture_files(dir.path), 4);
}

static void what_is_not_there_can_not_be_pinned(void **state)
{
    (void)state;
    baton_error error = {0};
    make_at(1, NOON);
    assert_int_equal(baton_snapshot_pin(dir.path, 2, 1, &error), BATON_E_NOT_FOUND);
    assert_int_equal(baton_snapshot_pin(dir.path, 1, 2, &error), BATON_E_NOT_FOUND);
    assert_int_equal(fixture_files(dir.path), 2); /* no pin stays behind */
    assert_int_equal(baton_snapshot_pin(test_path(&dir, "nowhere"), 1, 1, &error), -ENOENT);
}

static void a_pin_that_could_not_be_looked_for_protects(void **state)
{
    (void)state;
    io_fault *fault = io_fault_new();
    baton_io *failing = fixture_fault_io(fault, 4);
    make_at(1, NOON);
    io_fault_fail(fault, 1, EIO);
    assert_int_equal(baton_snapshot_remove(failing, dir.path, 1, 1), -EIO);
    baton_io_close(failing);
    io_fault_free(fault);
    assert_int_equal(fixture_whole(io, dir.path), 1);
}

static void a_pin_without_its_snapshot_is_a_leftover(void **state)
{
    (void)state;
    uint32_t removed = 9;
    make_at(1, NOON);
    fixture_write(test_path(&dir, "0000000000000007-0000000000000001.pin"), "", 0);
    fixture_write(test_path(&dir, "0000000000000007-0000000000000001.verified"), "x", 1);
    fixture_write(test_path(&dir, "0000000000000001-0000000000000001.pin"), "", 0);
    assert_int_equal(baton_snapshot_prune(dir.path, 2, &removed, NULL), 0);
    assert_int_equal(fixture_files(dir.path), 3);
}

static void a_verification_is_remembered_until_it_is_forgotten(void **state)
{
    (void)state;
    make_at(1, NOON);
    baton_snapshot_listed listed = fixture_listed(io, dir.path, 1);
    assert_int_equal(listed.verified_wall_ns, 0);
    assert_int_equal(baton_snapshot_note_verified(dir.path, &listed, NOON, NULL), 0);
    assert_int_equal(fixture_listed(io, dir.path, 1).verified_wall_ns, NOON);
    assert_int_equal(baton_snapshot_note_verified(dir.path, &listed, UINT64_MAX, NULL), 0);
    assert_true(fixture_listed(io, dir.path, 1).verified_wall_ns == UINT64_MAX);
    assert_int_equal(baton_snapshot_note_verified(dir.path, &listed, 0, NULL), 0);
    assert_int_equal(fixture_listed(io, dir.path, 1).verified_wall_ns, 0);
    assert_int_equal(fixture_files(dir.path), 2);
    assert_int_equal(baton_snapshot_note_verified(dir.path, &listed, NOON, NULL), 0);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    assert_int_equal(fixture_files(dir.path), 0);
}

/* Any other byte anywhere, any other length, or the root of another one: no claim. */
static void a_torn_or_foreign_note_claims_nothing(void **state)
{
    (void)state;
    static const char name[] = "0000000000000001-0000000000000001.verified";
    size_t bytes = 0;
    make_at(1, NOON);
    baton_snapshot_listed listed = fixture_listed(io, dir.path, 1);
    assert_int_equal(baton_snapshot_note_verified(dir.path, &listed, NOON, NULL), 0);
    uint8_t *note = fixture_read(test_path(&dir, name), &bytes);
    for (size_t length = 0; length < bytes; length++) {
        fixture_write(test_path(&dir, name), note, length);
        assert_int_equal(fixture_listed(io, dir.path, 1).verified_wall_ns, 0);
    }
    for (size_t at = 0; at < bytes; at++) {
        note[at] ^= 0x40;
        fixture_write(test_path(&dir, name), note, bytes);
        assert_int_equal(fixture_listed(io, dir.path, 1).verified_wall_ns, 0);
        note[at] ^= 0x40;
    }
    fixture_write(test_path(&dir, name), note, bytes);
    assert_int_equal(fixture_listed(io, dir.path, 1).verified_wall_ns, NOON);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    make_at(2, NOON);
    fixture_write(test_path(&dir, "0000000000000002-0000000000000001.verified"), note, bytes);
    assert_int_equal(fixture_listed(io, dir.path, 2).verified_wall_ns, 0);
    free(note);
}

static void a_full_disk_leaves_no_note(void **state)
{
    (void)state;
    make_at(1, NOON);
    baton_error error = {0};
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, 1);
    io_fault *fault = io_fault_new();
    baton_io *failing = fixture_fault_io(fault, 4);
    io_fault_fail_all(fault, BATON_IO_WRITE, ENOSPC);
    assert_int_equal(baton_snapshot_note_verified_with(failing, dir.path, &listed, NOON, &error),
                     -ENOSPC);
    assert_non_null(strstr(error.todo, "make room"));
    baton_io_close(failing);
    io_fault_free(fault);
    assert_int_equal(fixture_files(dir.path), 2);
}

/* Seq 1..10: two a day, noon and an hour later; 9 and 10 on the newest day. */
static void make_ten(void)
{
    for (uint64_t seq = 1; seq <= 10; seq++)
        make_at(seq, NOON + (seq - 1) / 2 * DAY_NS + seq % 2 * (DAY_NS / 24));
}

static void a_policy_keeps_the_newest_and_one_of_each_day(void **state)
{
    (void)state;
    make_ten();
    const baton_snapshot_policy dry = {.keep = 2, .keep_days = 3, .dry_run = true};
    fixture_write(test_path(&dir, "0000000000000099-0000000000000001.chunks"), "left over", 9);
    assert_string_equal(fates_of(&dry), "nnd-d-----");
    assert_int_equal(fixture_files(dir.path), 21); /* nothing was touched */
    assert_int_equal(baton_snapshot_pin(dir.path, 1, 1, NULL), 0);
    const baton_snapshot_policy policy = {.keep = 2, .keep_days = 3};
    assert_string_equal(fates_of(&policy), "nnd-d----p");
    assert_int_equal(fixture_files(dir.path), 2 * 5 + 1);
    assert_string_equal(fates_of(&policy), "nnddp");
    const baton_snapshot_policy all_days = {.keep = 3, .keep_days = UINT32_MAX};
    assert_string_equal(fates_of(&all_days), "nnndd");
    const baton_snapshot_policy no_days = {.keep = 2};
    assert_string_equal(fates_of(&no_days), "nn--p");
    assert_int_equal(fixture_whole(io, dir.path), 3);
}

static void a_clock_that_was_set_back_makes_no_second_newest_of_a_day(void **state)
{
    (void)state;
    make_at(1, NOON);
    make_at(2, NOON + 2 * DAY_NS);
    make_at(3, NOON + DAY_NS);
    make_at(4, NOON + 2 * DAY_NS);
    make_at(5, NOON + DAY_NS);
    make_at(6, NOON + DAY_NS);
    const baton_snapshot_policy policy = {.keep = 2, .keep_days = 3};
    assert_string_equal(fates_of(&policy), "nnd--d");
}

static void damaged_ones_stay_and_do_not_stand_for_a_day(void **state)
{
    (void)state;
    make_ten();
    fixture_write(test_path(&dir, "000000000000000a-0000000000000001.manifest"), "BATONMAN", 8);
    assert_int_equal(truncate(test_path(&dir, "0000000000000008-0000000000000001.chunks"), 1), 0);
    const baton_snapshot_policy policy = {.keep = 2, .keep_days = 3};
    assert_string_equal(fates_of(&policy), "xnxnd-----");
    const baton_snapshot_policy fewer = {.keep = 1, .keep_days = 30};
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_retain(dir.path, &fewer, &list, &fates, &count, NULL),
                     BATON_E_INVALID);
}

/* Cut short at any operation: at least the two newest are whole, and a second run finishes. */
static void a_crash_at_any_operation_leaves_enough_and_a_second_run_finishes(void **state)
{
    (void)state;
    const baton_snapshot_policy policy = {.keep = 2};
    bool finished = false;
    for (uint64_t n = 0; !finished; n++) {
        baton_snapshot_listed *list = NULL;
        baton_snapshot_fate *fates = NULL;
        uint32_t count = 0;
        for (uint64_t seq = 1; seq <= 4; seq++)
            make_at(seq, NOON);
        const baton_snapshot_listed oldest = fixture_listed(io, dir.path, 1);
        assert_int_equal(baton_snapshot_note_verified(dir.path, &oldest, NOON, NULL), 0);
        io_fault *fault = io_fault_new();
        baton_io *crashing = fixture_fault_io(fault, 4);
        io_fault_crash_after(fault, n);
        finished = baton_snapshot_retain_with(crashing, dir.path, &policy, &list, &fates, &count,
                                              NULL) == 0 &&
                   !io_fault_crashed(fault);
        baton_io_close(crashing);
        io_fault_free(fault);
        free(list);
        free(fates);
        fixture_listed(io, dir.path, 4);
        fixture_listed(io, dir.path, 3);
        assert_true(fixture_whole(io, dir.path) >= 2);
        const char *left = fates_of(&policy);
        assert_int_equal(strncmp(left, "nn", 2), 0);
        assert_int_equal(fixture_files(dir.path), 4);
        for (uint64_t seq = 3; seq <= 4; seq++)
            assert_int_equal(baton_snapshot_remove(io, dir.path, seq, 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pinned_one_is_removed_by_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_there_can_not_be_pinned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pin_that_could_not_be_looked_for_protects, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pin_without_its_snapshot_is_a_leftover, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_verification_is_remembered_until_it_is_forgotten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_torn_or_foreign_note_claims_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_no_note, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_policy_keeps_the_newest_and_one_of_each_day, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_clock_that_was_set_back_makes_no_second_newest_of_a_day,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_ones_stay_and_do_not_stand_for_a_day, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_crash_at_any_operation_leaves_enough_and_a_second_run_finishes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
