/* tests/unit/drain_control_test.c: the control socket's sixteen places, on a loop that turns when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drain/control_client.h"
#include "drain/unix_address.h"
#include "tests/support/test_dir.h"

static json_t *status(void *context)
{
    (void)context;
    return json_pack("{s:s}", "phase", "running");
}

static int call(const char *path)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(baton_unix_connect(fd, path), 0);
    return fd;
}

static void ask(int fd)
{
    static const char line[] = "{\"baton\":1,\"do\":\"status\"}\n";
    assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
}

static bool is_answered(int fd)
{
    char answer[4096] = "";
    return recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT) > 0 &&
           strstr(answer, "\"phase\":\"running\"") != NULL;
}

static test_dir dir;
static char path[2 * TEST_PATH_BYTES];
static baton_loop loop;
static baton_control *control;
static int fds[BATON_CONTROL_CLIENTS_MAX + 1];

static int set_up(void **unused)
{
    static const baton_control_actions actions = {.status = status};
    const baton_instance instance = {.service = "toy", .version = "1.0.0", .pid = 1};
    baton_error error;
    (void)unused;
    test_dir_make(&dir, "control");
    (void)snprintf(path, sizeof(path), "%s", test_path(&dir, "control.sock"));
    assert_int_equal(baton_loop_init(&loop), 0);
    assert_int_equal(baton_control_open(path, &instance, &loop, &actions, &control, &error), 0);
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++)
        fds[i] = call(path);
    assert_true(baton_loop_turn(&loop, 0) >= 0); /* all places are taken, by silent ones */
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
    baton_control_close(control, NULL);
    baton_loop_fini(&loop);
    test_dir_remove(&dir);
    return 0;
}

/* The loop hears of the new one first, and of the request in the same turn. */
static void one_that_has_just_asked_is_answered_before_it_makes_room(void **unused)
{
    (void)unused;
    fds[BATON_CONTROL_CLIENTS_MAX] = call(path);
    ask(fds[0]);
    assert_true(baton_loop_turn(&loop, 0) >= 0);
    assert_true(is_answered(fds[0]));
    ask(fds[BATON_CONTROL_CLIENTS_MAX]);
    assert_true(baton_loop_turn(&loop, 0) >= 0);
    assert_true(is_answered(fds[BATON_CONTROL_CLIENTS_MAX]));
}

static void the_longest_silent_one_makes_room_and_no_other(void **unused)
{
    char byte;
    (void)unused;
    fds[BATON_CONTROL_CLIENTS_MAX] = call(path);
    assert_true(baton_loop_turn(&loop, 0) >= 0);
    assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0);
    for (uint32_t i = 1; i <= BATON_CONTROL_CLIENTS_MAX; i++)
        ask(fds[i]);
    assert_true(baton_loop_turn(&loop, 0) >= 0);
    for (uint32_t i = 1; i <= BATON_CONTROL_CLIENTS_MAX; i++)
        assert_true(is_answered(fds[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_has_just_asked_is_answered_before_it_makes_room,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_silent_one_makes_room_and_no_other, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
