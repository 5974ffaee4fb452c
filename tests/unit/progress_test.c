/* tests/unit/progress_test.c: what a person sees of long work, by a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "orchestrator-shim/progress.h"

#define MS UINT64_C(1000000)

static uint64_t now_ns;

static uint64_t tell_now(const baton_clock *clock)
{
    (void)clock;
    return now_ns;
}

static const baton_clock clock_here = {tell_now, tell_now};

/* Steps of 1 % that take step_ms each; what was written, malloc'ed. */
static char *run(bool is_terminal, uint64_t step_ms)
{
    char *text = NULL;
    size_t bytes = 0;
    progress bar;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    now_ns = 77;
    progress_init(&bar, file, is_terminal, &clock_here);
    for (uint64_t percent = 0; percent <= 100; percent++, now_ns += step_ms * MS)
        progress_step(&bar, "verify", percent << 20, UINT64_C(100) << 20);
    progress_end(&bar);
    assert_int_equal(fclose(file), 0);
    return text;
}

static uint32_t count_of(const char *text, const char *what)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void what_takes_less_than_a_second_is_silent(void **state)
{
    (void)state;
    for (int terminal = 0; terminal < 2; terminal++) {
        char *text = run(terminal == 1, 9);
        assert_string_equal(text, "");
        free(text);
    }
}

static void on_a_terminal_a_bar_overwrites_itself_and_goes(void **state)
{
    (void)state;
    char *text = run(true, 50); /* 5 s: from the first second on, every 100 ms */
    assert_int_equal(count_of(text, "\rverify  ["), 41);
    assert_int_equal(count_of(text, "\n"), 0);
    assert_non_null(strstr(text, "[#####-------------------]  22 %  22.0 MiB of 100.0 MiB  "
                                 "20.0 MiB/s  3 s left"));
    assert_string_equal(text + strlen(text) - 4, "\r\033[K");
    free(text);
}

static void elsewhere_it_is_a_line_every_ten_seconds(void **state)
{
    (void)state;
    char *text = run(false, 300); /* 30 s: at 1.2, 11.4 and 21.6 s or so */
    assert_int_equal(count_of(text, "\n"), 3);
    assert_int_equal(count_of(text, "\r"), 0);
    assert_int_equal(strncmp(text, "verify  [", 9), 0);
    free(text);
}

static void sizes_and_times_are_short_and_never_lie_upwards(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1048575, "1.0 MiB"},
                 {UINT64_C(1782579), "1.7 MiB"},
                 {UINT64_C(1) << 30, "1.0 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    static const struct {
        uint64_t ns;
        const char *text;
    } times[] = {{0, "-"},
                 {999, "999 ns"},
                 {1000, "1 us"},
                 {1999 * MS, "1 s"},
                 {UINT64_C(59999) * MS, "59 s"},
                 {UINT64_C(60000) * MS, "1 min"},
                 {UINT64_C(3600000) * MS, "1 h"},
                 {UINT64_C(86400000) * MS * 17, "17 d"}};
    char text[HUMAN_BYTES];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_string_equal(human_size(sizes[i].bytes, text), sizes[i].text);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        assert_string_equal(human_time(times[i].ns, text), times[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_takes_less_than_a_second_is_silent),
        cmocka_unit_test(on_a_terminal_a_bar_overwrites_itself_and_goes),
        cmocka_unit_test(elsewhere_it_is_a_line_every_ten_seconds),
        cmocka_unit_test(sizes_and_times_are_short_and_never_lie_upwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
