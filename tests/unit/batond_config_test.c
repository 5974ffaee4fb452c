/* tests/unit/batond_config_test.c: what batond's command line means, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drain/batond/config.h"

static batond_config config;
static baton_error error;

static int read_config(int argc, const char *const *argv)
{
    error = (baton_error){0};
    return batond_config_read(&config, argc, (char *const *)argv, &error);
}
#define READ(...)                                                                                  \
    read_config((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                     \
                (const char *[]){__VA_ARGS__})

static const struct sockaddr *address(void)
{
    return (const struct sockaddr *)&config.address.address;
}

static void without_options_it_serves_this_machine_only_and_changes_nothing(void **state)
{
    char text[BATON_TCP_ADDRESS_TEXT_BYTES];
    (void)state;
    assert_int_equal(READ("--service", "/run/x"), 0);
    assert_string_equal(config.service_path, "/run/x");
    assert_string_equal(baton_tcp_address_text(address(), text), "127.0.0.1:9464");
    assert_true(baton_tcp_is_loopback(address()));
    assert_null(config.token_path);
    assert_null(config.certificate_path);
    assert_false(config.drain_on_term);
    assert_int_equal(config.answer_timeout_ns, 500000000);
    assert_int_equal(config.connections_max, 64);
}

static void addresses_are_numbers(void **state)
{
    static const char *const good[] = {"127.0.0.1:0", "0.0.0.0:65535",        "[::1]:9464",
                                       "[::]:80",     "[::ffff:127.0.0.1]:1", "[fe80::1]:9464"};
    static const char *const bad[] = {
        "",
        ":",
        "127.0.0.1",
        ":9464",
        "::1:9464",
        "[::1]",
        "localhost:1",
        "127.0.0.1:",
        "127.1:5",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "[]:1",
        "[::1:9464",
        "127.0.0.1:1 ",
        "127.0.0.1:+1",
        "[1.2.3.4]:1",
        "*:9464",
        "[1111111111111111111111111111111111111111111111111111111]:1"};
    char text[BATON_TCP_ADDRESS_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(READ("--service", "x", "--listen", good[i]), 0);
        assert_string_equal(baton_tcp_address_text(address(), text), good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(READ("--service", "x", "--listen", bad[i]), BATON_E_INVALID);
        assert_string_equal(error.what, "option --listen");
    }
}

static void loopback_is_told_from_the_rest(void **state)
{
    static const struct {
        const char *address;
        bool is;
    } cases[] = {{"127.0.0.1:1", true}, {"127.255.0.9:1", true},
                 {"[::1]:1", true},     {"[::ffff:127.0.0.1]:1", true},
                 {"0.0.0.0:1", false},  {"128.0.0.1:1", false},
                 {"[::]:1", false},     {"[::ffff:128.0.0.1]:1", false},
                 {"[::2]:1", false},    {"126.255.255.255:1", false}};
    const struct sockaddr local = {.sa_family = AF_UNIX};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(READ("--service", "x", "--listen", cases[i].address), 0);
        assert_int_equal(baton_tcp_is_loopback(address()), cases[i].is);
    }
    assert_false(baton_tcp_is_loopback(&local));
}

static void every_option_arrives_in_its_place(void **state)
{
    (void)state;
    assert_int_equal(READ("--service", "s", "--token-file", "t", "--tls-cert", "c", "--tls-key",
                          "k", "--compatible-min", "1.2.3", "--compatible-max", "1.4.0",
                          "--answer-timeout", "1s", "--hang-after", "2s", "--action-timeout", "3s",
                          "--connections", "5", "--connection-timeout", "6s", "--drain-on-term",
                          "--term-deadline", "7s", "--term-grace", "0s", "--linger", "8s",
                          "--log-level", "error"),
                     0);
    assert_string_equal(config.token_path, "t");
    assert_string_equal(config.certificate_path, "c");
    assert_string_equal(config.key_path, "k");
    assert_string_equal(config.compatible_min, "1.2.3");
    assert_string_equal(config.compatible_max, "1.4.0");
    assert_int_equal(config.answer_timeout_ns, UINT64_C(1000000000));
    assert_int_equal(config.hang_after_ns, UINT64_C(2000000000));
    assert_int_equal(config.action_timeout_ns, UINT64_C(3000000000));
    assert_int_equal(config.connections_max, 5);
    assert_int_equal(config.connection_timeout_ns, UINT64_C(6000000000));
    assert_true(config.drain_on_term);
    assert_int_equal(config.term_deadline_ns, UINT64_C(7000000000));
    assert_int_equal(config.term_grace_ns, 0);
    assert_int_equal(config.linger_ns, UINT64_C(8000000000));
    assert_int_equal(config.log_level, BATON_LOG_ERROR);
}

static void what_does_not_fit_is_refused_by_its_name(void **state)
{
    (void)state;
    assert_int_equal(READ("--drain-on-term"), BATON_E_INVALID);
    assert_non_null(strstr(error.what, "--service"));
    assert_int_equal(READ("--service", ""), BATON_E_INVALID);
    assert_int_equal(READ("--service", "x", "--tls-key", "k"), BATON_E_INVALID);
    assert_non_null(strstr(error.todo, "both"));
    static const char *const wrong[][2] = {
        {"--connections", "3"},        {"--connections", "4097"}, {"--connections", "-1"},
        {"--answer-timeout", "9ms"},   {"--answer-timeout", "1"}, {"--answer-timeout", "25h"},
        {"--hang-after", "0s"},        {"--linger", "-1s"},       {"--log-level", "loud"},
        {"--connection-timeout", "0s"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(READ("--service", "x", wrong[i][0], wrong[i][1]), BATON_E_INVALID);
        assert_non_null(strstr(error.what, wrong[i][0]));
        assert_true(error.todo[0] != '\0');
    }
    assert_int_equal(READ("--service", "x", "y"), BATON_E_INVALID);
    assert_int_equal(READ("--help"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_it_serves_this_machine_only_and_changes_nothing),
        cmocka_unit_test(addresses_are_numbers),
        cmocka_unit_test(loopback_is_told_from_the_rest),
        cmocka_unit_test(every_option_arrives_in_its_place),
        cmocka_unit_test(what_does_not_fit_is_refused_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
