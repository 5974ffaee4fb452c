/* base/io_probe.c, on whatever file systems this machine has. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/io_backend.h"
#include "tests/support/test_dir.h"

#define TMPFS_MAGIC_NUMBER 0x01021994

static int count_name(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return 0;
}

static void a_directory_on_a_disk_is_described_and_left_empty(void **state)
{
    (void)state;
    test_dir dir;
    baton_io_probe probe;
    int names = 0;
    test_dir_make(&dir, "probe");
    assert_int_equal(baton_io_posix_probe_directory(NULL, dir.path, &probe), 0);
    printf("%s on %s: cache %s, fua %d, direct %d (alignment %u), durable %d, refuse '%s', warning "
           "'%s'\n",
           probe.file_system, probe.device, probe.write_cache, probe.device_fua, probe.direct_io,
           probe.direct_alignment, probe.write_durable, probe.refuse_why, probe.warning);
    assert_true(strlen(probe.file_system) > 0);
    assert_true(strlen(probe.write_cache) > 0);
    assert_true(probe.free_bytes > 0);
    assert_int_equal(probe.refuse_durable, probe.refuse_why[0] != '\0');
    if (strcmp(probe.file_system, "ext4") == 0 || strcmp(probe.file_system, "xfs") == 0) {
        assert_true(probe.direct_io);
        assert_true(probe.write_durable);
        assert_true(strlen(probe.device) > 0);
    }
    assert_int_equal(baton_io_posix_directory_list(NULL, dir.path, count_name, &names), 0);
    assert_int_equal(names, 0);
    test_dir_remove(&dir);
}

static void tmpfs_is_refused(void **state)
{
    (void)state;
    struct statfs fs;
    baton_io_probe probe;
    if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC_NUMBER ||
        access("/dev/shm", W_OK) != 0) {
        print_message("skipped: /dev/shm is no writable tmpfs here\n");
        skip();
    }
    assert_int_equal(baton_io_posix_probe_directory(NULL, "/dev/shm", &probe), 0);
    assert_string_equal(probe.file_system, "tmpfs");
    assert_true(probe.refuse_durable);
    assert_non_null(strstr(probe.refuse_why, "memory"));
}

static void a_path_through_a_link_is_judged_by_where_it_leads(void **state)
{
    (void)state;
    test_dir dir;
    baton_io_probe direct, linked;
    test_dir_make(&dir, "probe");
    assert_int_equal(mkdir(test_path(&dir, "a b"), 0700), 0);
    assert_int_equal(symlink("a b", test_path(&dir, "link")), 0);
    assert_int_equal(baton_io_posix_probe_directory(NULL, test_path(&dir, "a b"), &direct), 0);
    assert_int_equal(baton_io_posix_probe_directory(NULL, test_path(&dir, "link"), &linked), 0);
    assert_string_equal(direct.file_system, linked.file_system);
    assert_string_equal(direct.device, linked.device);
    test_dir_remove(&dir);
}

static void what_is_no_directory_is_an_error(void **state)
{
    (void)state;
    test_dir dir;
    baton_io_probe probe = {.direct_alignment = 7};
    test_dir_make(&dir, "probe");
    const int fd = open(test_path(&dir, "file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(baton_io_posix_probe_directory(NULL, test_path(&dir, "none"), &probe),
                     -ENOENT);
    assert_int_equal(baton_io_posix_probe_directory(NULL, test_path(&dir, "file"), &probe),
                     -ENOTDIR);
    assert_int_equal(probe.direct_alignment, 7); /* written on success only */
    test_dir_remove(&dir);
}

static void a_read_only_place_is_an_error(void **state)
{
    (void)state;
    baton_io_probe probe;
    const int r = baton_io_posix_probe_directory(NULL, "/proc/self", &probe);
    assert_true(r < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_on_a_disk_is_described_and_left_empty),
        cmocka_unit_test(tmpfs_is_refused),
        cmocka_unit_test(a_path_through_a_link_is_judged_by_where_it_leads),
        cmocka_unit_test(what_is_no_directory_is_an_error),
        cmocka_unit_test(a_read_only_place_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
