/* drain/peer_channel.c: whether somebody is there still, over what an active and a standby talk by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drain/peer_channel.h"

#define WORDS      "its last words"
#define PATIENCE_S 60

static bool is_alive(int fd)
{
    baton_peer_channel channel = BATON_PEER_CHANNEL_NONE;
    channel.fd = fd;
    return baton_peer_channel_is_alive(&channel);
}

/* A FIN comes when the network brings it. */
static bool is_gone_soon(int fd)
{
    for (uint32_t i = 0; i < PATIENCE_S * 1000; i++) {
        if (!is_alive(fd))
            return true;
        (void)poll(NULL, 0, 1);
    }
    return false;
}

static void say(int fd)
{
    assert_int_equal(send(fd, WORDS, sizeof(WORDS), MSG_NOSIGNAL), (ssize_t)sizeof(WORDS));
}

static void hear(int fd)
{
    char heard[sizeof(WORDS)];
    assert_int_equal(recv(fd, heard, sizeof(heard), MSG_WAITALL), (ssize_t)sizeof(heard));
    assert_string_equal(heard, WORDS);
}

/* ends[1] is the other one's; both are closed. */
static void assert_seen_through(int ends[2])
{
    assert_true(is_alive(ends[0]));
    say(ends[1]);
    assert_true(is_alive(ends[0]));
    hear(ends[0]);
    assert_true(is_alive(ends[0]));
    say(ends[1]);
    close(ends[1]);
    assert_true(is_gone_soon(ends[0]));
    hear(ends[0]); /* which were there all the time */
    assert_false(is_alive(ends[0]));
    close(ends[0]);
}

static void a_unix_socket_whose_other_end_died_is_dead_with_unread_bytes(void **unused)
{
    (void)unused;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_seen_through(ends);
}

static void tcp_whose_other_end_died_is_dead_with_unread_bytes(void **unused)
{
    (void)unused;
    int ends[2];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);
    const int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listen_fd, (const struct sockaddr *)&at, bytes), 0);
    assert_int_equal(listen(listen_fd, 1), 0);
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&at, &bytes), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(ends[0], (const struct sockaddr *)&at, bytes), 0);
    ends[1] = accept(listen_fd, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listen_fd);
    assert_seen_through(ends);
}

static void nobody_is_there_without_a_connection(void **unused)
{
    (void)unused;
    assert_false(is_alive(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_socket_whose_other_end_died_is_dead_with_unread_bytes),
        cmocka_unit_test(tcp_whose_other_end_died_is_dead_with_unread_bytes),
        cmocka_unit_test(nobody_is_there_without_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
