/* drain/kept_snapshots.c: how a snapshot gets into a standby's directory from elsewhere (S1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "drain/kept_snapshots.h"
#include "snapshot/names.h"
#include "tests/support/test_dir.h"

#define SEQ   7u
#define EPOCH 3u

static test_dir dir;
static char from[TEST_PATH_BYTES], to[TEST_PATH_BYTES];
static ino_t flushed[64];
static uint32_t flushed_count;

/* Instead of the C library's: what was flushed, in that order. */
int fsync(int fd)
{
    struct stat there;
    if (fstat(fd, &there) == 0 && flushed_count < 64)
        flushed[flushed_count++] = there.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

static ino_t inode_of(const char *path)
{
    struct stat there;
    return stat(path, &there) == 0 ? there.st_ino : 0;
}

static ino_t inode_in(const char *directory, baton_snapshot_name kind)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    assert_int_equal(baton_snapshot_path(path, directory, SEQ, EPOCH, kind), 0);
    return inode_of(path);
}

static void put(const char *directory, baton_snapshot_name kind, const char *text)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    assert_int_equal(baton_snapshot_path(path, directory, SEQ, EPOCH, kind), 0);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(baton_kept_write(fd, text, strlen(text), 0), 0);
    close(fd);
}

static int set_up(void **unused)
{
    (void)unused;
    test_dir_make(&dir, "kept_snapshots");
    snprintf(from, sizeof(from), "%s", test_path(&dir, "from"));
    snprintf(to, sizeof(to), "%s", test_path(&dir, "to"));
    assert_int_equal(mkdir(from, 0777), 0);
    put(from, BATON_NAME_CHUNKS, "chunks");
    put(from, BATON_NAME_MANIFEST, "manifest");
    flushed_count = 0;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    test_dir_remove(&dir);
    return 0;
}

static bool was_flushed(ino_t inode)
{
    for (uint32_t i = 0; i < flushed_count; i++)
        if (flushed[i] == inode)
            return true;
    return false;
}

static int fill(void *context, int fd, bool manifest, baton_error *error)
{
    (void)context;
    (void)error;
    return baton_kept_write(fd, manifest ? "m" : "c", 1, 0);
}

static void both_names_are_of_the_same_files(void **unused)
{
    (void)unused;
    assert_int_equal(baton_kept_link(from, to, SEQ, EPOCH), 0);
    assert_int_equal(inode_in(to, BATON_NAME_CHUNKS), inode_in(from, BATON_NAME_CHUNKS));
    assert_int_equal(inode_in(to, BATON_NAME_MANIFEST), inode_in(from, BATON_NAME_MANIFEST));
    assert_int_equal(baton_kept_link(from, to, SEQ, EPOCH), 0); /* killed behind it, and again */
}

/* Such as --hydrate-from found damaged: under its name the active's manifest would vouch for them. */
static void chunks_that_a_copy_left_are_not_taken_for_the_actives(void **unused)
{
    (void)unused;
    assert_int_equal(mkdir(to, 0777), 0);
    put(to, BATON_NAME_CHUNKS, "chunkz");
    put(to, BATON_NAME_MANIFEST, "manifest");
    baton_kept_give_up(to, SEQ, EPOCH);
    assert_int_equal(baton_kept_link(from, to, SEQ, EPOCH), 0);
    assert_int_equal(inode_in(to, BATON_NAME_CHUNKS), inode_in(from, BATON_NAME_CHUNKS));
    assert_int_equal(inode_in(to, BATON_NAME_MANIFEST), inode_in(from, BATON_NAME_MANIFEST));
}

/* Older ones are pruned, and journal is retired, because of what is in it. */
static void a_directory_that_was_made_for_it_is_durable(void **unused)
{
    (void)unused;
    assert_int_equal(baton_kept_link(from, to, SEQ, EPOCH), 0);
    assert_true(was_flushed(inode_of(to)));
    assert_true(was_flushed(inode_of(dir.path)));

    baton_error error = {0};
    flushed_count = 0;
    assert_int_equal(baton_kept_take(test_path(&dir, "taken"), SEQ, EPOCH, fill, NULL, &error), 0);
    assert_true(was_flushed(inode_of(test_path(&dir, "taken"))));
    assert_true(was_flushed(inode_of(dir.path)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_names_are_of_the_same_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunks_that_a_copy_left_are_not_taken_for_the_actives,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_directory_that_was_made_for_it_is_durable, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
