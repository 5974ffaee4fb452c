/* tests/unit/standard_fds_test.c: no file gets the number of a closed standard stream. Each in a
 * child, which may close its own. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <baton/standard_fds.h>

#define LEAST_FREE 3

static bool is_null_device(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
           status.st_rdev == makedev(1, 3); /* what /dev/null is on every Linux */
}

/* The child's exit code: 0, or what was wrong. closed: a bit for each of 0, 1 and 2. */
static int in_child(uint32_t closed)
{
    for (int fd = LEAST_FREE; fd < 16; fd++)
        close(fd);
    const int other = open("/proc/self/status", O_RDONLY); /* stands for what is there already */
    for (int fd = 0; fd < LEAST_FREE; fd++)
        if (closed & 1u << fd)
            close(fd);
        else
            dup2(other, fd);
    baton_standard_fds_keep();
    for (int fd = 0; fd < LEAST_FREE; fd++)
        if (is_null_device(fd) != ((closed & 1u << fd) != 0))
            return 1; /* a closed one was left, or an open one was taken */
    const int next = open("/proc/self/status", O_RDONLY);
    return next == other + 1 ? 0 : 2; /* else one of its own was left open */
}

static void closed_ones_are_the_null_device_and_the_others_stay(void **state)
{
    (void)state;
    for (uint32_t closed = 0; closed < 1u << LEAST_FREE; closed++) {
        const pid_t child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0)
            _exit(in_child(closed));
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_ones_are_the_null_device_and_the_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
