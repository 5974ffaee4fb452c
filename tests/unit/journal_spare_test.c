/* Retired files under spare names: which are kept, and what the next segment that is made of one holds
 * (J3, J4). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "journal/format.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static char journal_dir[TEST_PATH_BYTES];
static baton_journal_options options;
static baton_backend backend; /* set by main for a whole run of the tests */

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_spare");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    options = fixture_options();
    options.first_segment_bytes = options.segment_bytes; /* the first one can be kept, too */
    options.backend = backend;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_dir_remove(&dir);
    return 0;
}

static uint32_t retire_all(baton_journal *journal)
{
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, baton_journal_durable_seq(journal), &removed),
                     0);
    return removed;
}

static bool there(const char *name)
{
    char path[TEST_PATH_BYTES + 16];
    snprintf(path, sizeof(path), "%s/%s", journal_dir, name);
    return fixture_exists(path);
}

/* ---- what is in a segment file ---- */

typedef struct {
    bool header; /* is there; and its flags */
    uint32_t flags;
    bool middle; /* something stands in the middle of the file, and in its last unit */
    bool last;
} file_look;

static bool read_unit(const char *path, uint64_t offset, uint8_t unit[4096])
{
    static const uint8_t zero[4096];
    memset(unit, 0, 4096); /* a file that is being made may be shorter, or not be there */
    if (fixture_exists(path))
        (void)fixture_read_file(path, offset, unit, 4096);
    return memcmp(unit, zero, 4096) != 0;
}

static file_look look_at(uint64_t epoch, uint64_t index)
{
    char name[BATON_SEGMENT_NAME_BYTES];
    char path[TEST_PATH_BYTES + BATON_SEGMENT_NAME_BYTES];
    uint8_t unit[4096] __attribute__((aligned(8)));
    file_look look = {0};
    baton_segment_name(epoch, index, name);
    snprintf(path, sizeof(path), "%s/%s", journal_dir, name);
    look.middle = read_unit(path, options.segment_bytes / 2, unit);
    look.last = read_unit(path, options.segment_bytes - 4096, unit);
    look.header = read_unit(path, 0, unit);
    look.flags = baton_le32_get(((const baton_segment_header *)(const void *)unit)->flags);
    return look;
}

static uint64_t newest_index(void)
{
    char first[TEST_PATH_BYTES], newest[TEST_PATH_BYTES];
    uint64_t epoch, index;
    assert_true(fixture_segments(journal_dir, first, newest) > 0);
    assert_true(baton_segment_name_parse(strrchr(newest, '/') + 1, &epoch, &index));
    return index;
}

/* Entries, retired behind themselves, until the segment in use is a recycled one, and the one after it
 * too, and ready. The index of the one in use. */
static uint64_t recycle(baton_journal *journal)
{
    const uint64_t epoch = baton_journal_epoch(journal);
    for (uint32_t i = 0; i < 2000; i++) {
        fixture_append_durable(journal, 60);
        (void)retire_all(journal);
        const uint64_t next = newest_index();
        const file_look ready = look_at(epoch, next);
        const file_look in_use = look_at(epoch, next - 1);
        if (!ready.header && ready.middle && in_use.header && !in_use.last &&
            in_use.flags == BATON_SEGMENT_RECYCLED)
            return next - 1;
    }
    fail_msg("no segment was recycled");
    return 0;
}

/* ---- tests ---- */

/* Of what a ready segment held before, only what stood in the places of header and trailer is gone. */
static void only_the_first_and_the_last_unit_of_a_spare_are_zeroed(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    const uint64_t in_use = recycle(journal);
    const file_look ready = look_at(baton_journal_epoch(journal), in_use + 1);
    assert_false(ready.header || ready.last);
    assert_true(ready.middle);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* Not of a killed writer's segment in use, nor of the one that it had made ahead: nothing is torn,
 * nothing is kept aside, and the next epoch goes on where it ended. */
static void what_a_segment_held_before_is_no_torn_tail(void **state)
{
    (void)state;
    baton_journal_summary summary;
    for (uint32_t round = 0; round < 3; round++) {
        baton_journal *journal = fixture_begin(journal_dir, &options);
        (void)recycle(journal);
        const uint64_t last_seq = baton_journal_last_seq(journal);
        baton_journal_abandon(journal);
        assert_int_equal(baton_journal_verify(journal_dir, backend, NULL, NULL, &summary, NULL), 0);
        assert_int_equal(summary.recovery.torn_cut, 0);
        assert_int_equal(summary.recovery.last.seq, last_seq);
    }
    assert_false(there("torn"));
}

static void the_header_of_a_new_file_does_not_say_recycled(void **state)
{
    (void)state;
    options.no_spares = true;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    for (uint32_t gone = 0, i = 0; gone < 3; i++) {
        assert_true(i < 1000);
        fixture_append_durable(journal, 500);
        gone += retire_all(journal);
        char first[TEST_PATH_BYTES], newest[TEST_PATH_BYTES];
        uint8_t unit[4096] __attribute__((aligned(8)));
        (void)fixture_segments(journal_dir, first, newest);
        assert_true(read_unit(first, 0, unit));
        const baton_segment_header *header = (const void *)unit;
        assert_int_equal(baton_le32_get(header->flags), 0);
    }
    assert_int_equal(baton_journal_close(journal), 0);
}

static int change_blocks(const char *path, int mode)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = fallocate(fd, mode, 64 << 10, 64 << 10);
    assert_int_equal(close(fd), 0);
    return r;
}

/* As `cp` does where the file system can: both have the same blocks, until one is written to. */
static int clone_to(const char *path, const char *clone)
{
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(clone, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(from >= 0 && to >= 0);
    int r = ioctl(to, FICLONE, from);
    assert_int_equal(close(from), 0);
    assert_int_equal(close(to), 0);
    return r;
}

/* A hard link is somebody's archive; what lacks blocks would have to allocate them under a commit. */
static void a_file_that_is_not_whole_or_not_only_ours_is_not_written_anew(void **state)
{
    (void)state;
    static const char *const names[] = {"whole", "linked", "short", "holes", "unwritten", "cloned"};
    char first[TEST_PATH_BYTES], newest[TEST_PATH_BYTES];
    for (int how = 0; how < 6; how++) {
        snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, names[how]));
        baton_journal *journal = fixture_begin(journal_dir, &options);
        fixture_append_durable(journal, 1000); /* into the second segment */
        (void)fixture_segments(journal_dir, first, newest);
        int r = 0;
        if (how == 1)
            r = link(first, test_path(&dir, "kept"));
        else if (how == 2)
            r = truncate(first, 64 << 10);
        else if (how == 3)
            r = change_blocks(first, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
        else if (how == 4) /* blocks that are there and read as zeros, but were never written */
            r = change_blocks(first, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
        else if (how == 5)
            r = clone_to(first, test_path(&dir, "clone"));
        if (how >= 3 && r < 0)
            print_message("%s: not on this file system\n", names[how]);
        else
            assert_int_equal(r, 0);
        while (retire_all(journal) == 0) /* its trailer is on the way */
            fixture_append_durable(journal, 1);
        assert_false(fixture_exists(first));
        if (r == 0)
            assert_int_equal(there("SPARE-0"), how == 0);
        assert_int_equal(baton_journal_close(journal), 0);
    }
}

#define SPARE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPARE(only_the_first_and_the_last_unit_of_a_spare_are_zeroed),
        SPARE(what_a_segment_held_before_is_no_torn_tail),
        SPARE(the_header_of_a_new_file_does_not_say_recycled),
        SPARE(a_file_that_is_not_whole_or_not_only_ours_is_not_written_anew),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("spares, threads", tests, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("spares, uring", tests, NULL, NULL);
}
