/* drain/unix_address.c: paths that no socket's address holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drain/unix_address.h"
#include "tests/support/test_dir.h"

#define DEEP "a-directory-whose-name-takes-up-more-than-half-of-what-an-address-holds"

static test_dir dir;
static char path[2 * TEST_PATH_BYTES];
static int listen_fd, fd;

static int set_up(void **unused)
{
    (void)unused;
    test_dir_make(&dir, "unix_address");
    assert_int_equal(mkdir(test_path(&dir, DEEP), 0777), 0);
    assert_int_equal(mkdir(test_path(&dir, DEEP "/" DEEP), 0777), 0);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return listen_fd < 0 || fd < 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    close(fd);
    close(listen_fd);
    test_dir_remove(&dir);
    return 0;
}

static void in(const char *name)
{
    assert_true(snprintf(path, sizeof(path), "%s/%s", test_path(&dir, DEEP "/" DEEP), name) > 108);
}

static void a_long_path_is_bound_and_connected_to(void **unused)
{
    (void)unused;
    in("socket");
    assert_int_equal(baton_unix_connect(fd, path), -ENOENT);
    assert_int_equal(baton_unix_bind(listen_fd, path), 0);
    assert_int_equal(baton_unix_connect(fd, path), -ECONNREFUSED);
    assert_int_equal(listen(listen_fd, 1), 0);
    assert_int_equal(baton_unix_connect(fd, path), 0);
    assert_true(baton_unix_may_talk(fd));
}

static void what_cannot_be_reached_so_leaves_no_descriptor_open(void **unused)
{
    (void)unused;
    in(DEEP "-and-some-more-of-it-so-that-its-descriptor-does-not-help");
    const int next = dup(fd);
    close(next);
    assert_int_equal(baton_unix_bind(listen_fd, path), -ENAMETOOLONG);
    assert_int_equal(baton_unix_connect(fd, path), -ENAMETOOLONG);
    in("no-directory/socket");
    assert_int_equal(baton_unix_connect(fd, path), -ENOENT);
    const int again = dup(fd);
    close(again);
    assert_int_equal(again, next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_long_path_is_bound_and_connected_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_reached_so_leaves_no_descriptor_open, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
