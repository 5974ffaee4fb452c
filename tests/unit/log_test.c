/* base/log.c */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <baton/log.h>

#define TIME_BYTES 28 /* "2026-11-21T10:00:00.123456Z " */

typedef struct {
    char line[8192];
    baton_log_level level;
    int count;
    int bad;
} caught;

static void catch_line(void *context, baton_log_level level, const char *line)
{
    caught *into = context;
    snprintf(into->line, sizeof(into->line), "%s", line);
    into->level = level;
    into->count++;
    if (strchr(line, '\n') != NULL || strlen(line) < TIME_BYTES)
        into->bad++;
}

static int remove_sink(void **state)
{
    (void)state;
    baton_log_set_sink(NULL, NULL, BATON_LOG_DEBUG);
    return 0;
}

/* What follows the time. */
static const char *body(const caught *one)
{
    assert_true(strlen(one->line) > TIME_BYTES);
    return one->line + TIME_BYTES;
}

static void an_event_is_one_line_of_time_level_name_and_fields(void **state)
{
    (void)state;
    caught one = {0};
    baton_log_set_sink(catch_line, &one, BATON_LOG_DEBUG);
    const time_t before = time(NULL);
    baton_log(INFO, "journal.opened", BATON_LOG_TEXT("dir", "/var/x"), BATON_LOG_NUMBER("epoch", 4),
              BATON_LOG_NUMBER("delta", INT64_MIN));
    const time_t after = time(NULL);

    assert_int_equal(one.count, 1);
    assert_int_equal(one.level, BATON_LOG_INFO);
    assert_string_equal(body(&one),
                        "info journal.opened dir=/var/x epoch=4 delta=-9223372036854775808");
    struct tm utc = {0};
    const char *rest = strptime(one.line, "%Y-%m-%dT%H:%M:%S", &utc);
    assert_non_null(rest);
    assert_int_equal(rest[0], '.');
    assert_int_equal(strspn(rest + 1, "0123456789"), 6);
    assert_int_equal(rest[7], 'Z');
    assert_int_equal(rest[8], ' ');
    const time_t written = timegm(&utc);
    assert_true(written >= before - 1 && written <= after + 1);
}

static void levels_below_the_lowest_are_dropped(void **state)
{
    (void)state;
    caught one = {0};
    baton_log_set_sink(catch_line, &one, BATON_LOG_WARN);
    baton_log_event(BATON_LOG_DEBUG, "a", NULL, 0);
    baton_log_event(BATON_LOG_INFO, "a", NULL, 0);
    assert_int_equal(one.count, 0);
    baton_log_event(BATON_LOG_WARN, "a", NULL, 0);
    assert_string_equal(body(&one), "warn a");
    baton_log_event(BATON_LOG_ERROR, "a", NULL, 0);
    assert_string_equal(body(&one), "error a");
    assert_int_equal(one.count, 2);
}

static void without_a_sink_events_are_dropped(void **state)
{
    (void)state;
    caught one = {0};
    baton_log_set_sink(catch_line, &one, BATON_LOG_DEBUG);
    baton_log_set_sink(NULL, NULL, BATON_LOG_DEBUG);
    baton_log_event(BATON_LOG_ERROR, "a", NULL, 0);
    assert_int_equal(one.count, 0);
}

static void awkward_values_are_quoted_and_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *expected;
    } cases[] = {
        {"plain", "info e v=plain"},
        {"", "info e v=\"\""},
        {"two words", "info e v=\"two words\""},
        {"a=b", "info e v=\"a=b\""},
        {"say \"x\"", "info e v=\"say \\\"x\\\"\""},
        {"back\\slash", "info e v=\"back\\\\slash\""},
        {"line\nline\ttab\r", "info e v=\"line\\nline\\ttab\\x0d\""},
        {"\x01\x7f", "info e v=\"\\x01\\x7f\""},
        {"gr\xc3\xbc\xc3\x9f", "info e v=gr\xc3\xbc\xc3\x9f"},
    };
    caught one = {0};
    baton_log_set_sink(catch_line, &one, BATON_LOG_DEBUG);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        baton_log(INFO, "e", BATON_LOG_TEXT("v", cases[i].value));
        assert_string_equal(body(&one), cases[i].expected);
    }
}

static void fields_that_do_not_fit_are_left_out_whole_and_that_is_said(void **state)
{
    (void)state;
    caught one = {0};
    char large[5000];
    baton_log_set_sink(catch_line, &one, BATON_LOG_DEBUG);
    for (size_t length = 3900; length < 4200; length++) {
        memset(large, 'x', length);
        large[length] = '\0';
        baton_log(INFO, "e", BATON_LOG_NUMBER("first", 1), BATON_LOG_TEXT("large", large),
                  BATON_LOG_NUMBER("last", 2));
        assert_true(strlen(one.line) < 4096);
        const char *cut = strstr(one.line, " cut=1");
        if (cut != NULL) {
            assert_string_equal(cut, " cut=1");
            assert_true(strcmp(body(&one), "info e first=1 cut=1") == 0 ||
                        cut[-1] == 'x'); /* only the last field was left out */
        } else {
            assert_string_equal(one.line + strlen(one.line) - 7, " last=2");
        }
    }
    assert_string_equal(body(&one), "info e first=1 cut=1");
}

static void the_fd_sink_writes_lines(void **state)
{
    (void)state;
    int pipe_fds[2];
    char text[256];
    assert_int_equal(pipe(pipe_fds), 0);
    baton_log_set_sink(baton_log_to_fd, &pipe_fds[1], BATON_LOG_DEBUG);
    baton_log_event(BATON_LOG_INFO, "one", NULL, 0);
    baton_log_event(BATON_LOG_INFO, "two", NULL, 0);
    baton_log_set_sink(NULL, NULL, BATON_LOG_DEBUG);
    close(pipe_fds[1]);
    ssize_t total = 0;
    for (ssize_t n; (n = read(pipe_fds[0], text + total, sizeof(text) - 1 - (size_t)total)) > 0;)
        total += n;
    text[total] = '\0';
    close(pipe_fds[0]);
    assert_int_equal(total, 2 * (TIME_BYTES + 9));
    assert_memory_equal(text + TIME_BYTES, "info one\n", 9);
    assert_string_equal(text + TIME_BYTES + 9 + TIME_BYTES, "info two\n");
}

enum { THREADS = 4, EVENTS = 500 };

static void *log_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < EVENTS; i++)
        baton_log(DEBUG, "tick", BATON_LOG_NUMBER("i", i));
    return NULL;
}

/* The sink itself takes no lock: TSan and the count see it if the library did not. */
static void threads_reach_the_sink_one_at_a_time(void **state)
{
    (void)state;
    static caught one;
    pthread_t threads[THREADS];
    baton_log_set_sink(catch_line, &one, BATON_LOG_DEBUG);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(one.count, THREADS * EVENTS);
    assert_int_equal(one.bad, 0);
}

static int in_sink[2]; /* a pipe: a byte says that a thread is in the sink */
static int leave_sink[2];
static pid_t logging_pid;

static void stay_in_sink(void *context, baton_log_level level, const char *line)
{
    char byte = 0;
    (void)context;
    (void)level;
    (void)line;
    if (getpid() != logging_pid)
        return;
    assert_int_equal(write(in_sink[1], &byte, 1), 1);
    assert_int_equal(read(leave_sink[0], &byte, 1), 1);
}

static void *log_one(void *argument)
{
    (void)argument;
    baton_log(INFO, "stays", BATON_LOG_NUMBER("i", 1));
    return NULL;
}

/* A child that packs a snapshot runs the service's code, which may log. */
static void a_child_logs_whatever_another_thread_was_doing(void **state)
{
    (void)state;
    pthread_t thread;
    char byte = 0;
    int status = 0;
    logging_pid = getpid();
    assert_int_equal(pipe(in_sink), 0);
    assert_int_equal(pipe(leave_sink), 0);
    baton_log_set_sink(stay_in_sink, NULL, BATON_LOG_DEBUG);
    assert_int_equal(pthread_create(&thread, NULL, log_one, NULL), 0);
    assert_int_equal(read(in_sink[0], &byte, 1), 1);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60); /* bounds a hang */
        baton_log(INFO, "child", BATON_LOG_NUMBER("i", 2));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(write(leave_sink[1], &byte, 1), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(WIFEXITED(status));
    for (int i = 0; i < 2; i++) {
        close(in_sink[i]);
        close(leave_sink[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_event_is_one_line_of_time_level_name_and_fields, remove_sink),
        cmocka_unit_test_teardown(levels_below_the_lowest_are_dropped, remove_sink),
        cmocka_unit_test_teardown(without_a_sink_events_are_dropped, remove_sink),
        cmocka_unit_test_teardown(awkward_values_are_quoted_and_escaped, remove_sink),
        cmocka_unit_test_teardown(fields_that_do_not_fit_are_left_out_whole_and_that_is_said,
                                  remove_sink),
        cmocka_unit_test_teardown(the_fd_sink_writes_lines, remove_sink),
        cmocka_unit_test_teardown(threads_reach_the_sink_one_at_a_time, remove_sink),
        cmocka_unit_test_teardown(a_child_logs_whatever_another_thread_was_doing, remove_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
