/* drain/options.c: what a command line means, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drain/options.h"

static const baton_option table[] = {
    {"dir", "DIR", NULL, "a directory"},         {"io", "auto|uring", "auto", "a choice"},
    {"drain-deadline", "TIME", "25s", "a time"}, {"from-start", NULL, NULL, "a flag"},
    {"output", "text|json", "text", "a format"},
};
#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

static const char *values[TABLE_COUNT];
static baton_arguments arguments;
static baton_error error;

static int parse(int argc, const char *const *argv)
{
    arguments = (baton_arguments){.options = table, .options_count = TABLE_COUNT, .values = values};
    error = (baton_error){0};
    return baton_options_parse(&arguments, argc, (char *const *)argv, &error);
}
#define PARSE(...)                                                                                 \
    parse((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                           \
          (const char *[]){__VA_ARGS__})

static void defaults_hold_where_nothing_is_given(void **state)
{
    (void)state;
    assert_int_equal(parse(0, NULL), 0);
    assert_null(values[0]);
    assert_string_equal(values[1], "auto");
    assert_string_equal(values[2], "25s");
    assert_null(values[3]);
    assert_int_equal(arguments.positionals_count, 0);
}

static void both_spellings_of_a_value_are_taken(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--dir", "/a", "--io=uring", "there"), 0);
    assert_string_equal(values[0], "/a");
    assert_string_equal(values[1], "uring");
    assert_int_equal(arguments.positionals_count, 1);
    assert_string_equal(arguments.positionals[0], "there");
}

static void the_last_of_two_counts(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--dir=/a", "--dir=/b"), 0);
    assert_string_equal(values[0], "/b");
}

static void a_value_may_begin_with_dashes_or_be_empty(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--dir", "--io", "--drain-deadline="), 0);
    assert_string_equal(values[0], "--io");
    assert_string_equal(values[2], "");
}

static void a_flag_takes_no_value(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--from-start"), 0);
    assert_string_equal(values[3], "yes");
    assert_int_equal(PARSE("--from-start=no"), BATON_E_INVALID);
}

static void dash_o_means_output(void **state)
{
    (void)state;
    assert_int_equal(PARSE("-o", "json"), 0);
    assert_string_equal(values[4], "json");
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--", "--dir"), 0);
    assert_null(values[0]);
    assert_string_equal(arguments.positionals[0], "--dir");
}

static void an_unknown_option_is_refused_with_the_nearest_name(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--drain-deadlin", "1s"), BATON_E_INVALID);
    assert_non_null(strstr(error.what, "--drain-deadlin"));
    assert_non_null(strstr(error.todo, "--drain-deadline"));
    assert_int_equal(PARSE("--quite-another"), BATON_E_INVALID);
    assert_null(strstr(error.todo, "did you mean"));
    assert_int_equal(PARSE("-x"), BATON_E_INVALID);
}

static void a_very_long_unknown_option_is_refused_too(void **state)
{
    (void)state;
    char word[4096];
    memset(word, 'd', sizeof(word) - 1);
    memcpy(word, "--", 2);
    word[sizeof(word) - 1] = '\0';
    assert_int_equal(PARSE(word), BATON_E_INVALID);
}

static void a_missing_value_is_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--dir"), BATON_E_INVALID);
    assert_non_null(strstr(error.what, "--dir"));
}

static void too_many_arguments_are_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "b"), 0);
    assert_int_equal(PARSE("a", "b", "c"), BATON_E_INVALID);
    assert_string_equal(error.what, "c");
}

static void help_stops_everything_else(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--help", "--no-such"), 0);
    assert_true(arguments.help);
}

static void durations_have_units_and_bounds(void **state)
{
    (void)state;
    uint64_t ns = 0;
    assert_int_equal(baton_option_duration("t", "25s", &ns, &error), 0);
    assert_int_equal(ns, UINT64_C(25000000000));
    assert_int_equal(baton_option_duration("t", "500ms", &ns, &error), 0);
    assert_int_equal(ns, 500000000);
    assert_int_equal(baton_option_duration("t", "2m", &ns, &error), 0);
    assert_int_equal(ns, UINT64_C(120000000000));
    static const char *const wrong[] = {"",
                                        "25",
                                        "s",
                                        "-1s",
                                        "1.5s",
                                        "25 s",
                                        "25sec",
                                        "99999999999999999999s",
                                        "18446744073709551615h",
                                        "+1s",
                                        " 1s"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(baton_option_duration("t", wrong[i], &ns, &error), BATON_E_INVALID);
    assert_int_equal(baton_option_duration("t", NULL, &ns, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.what, "--t"));
}

static void sizes_are_binary(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_int_equal(baton_option_size("s", "64MiB", &bytes, &error), 0);
    assert_int_equal(bytes, 64u << 20);
    assert_int_equal(baton_option_size("s", "4K", &bytes, &error), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(baton_option_size("s", "4096", &bytes, &error), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(baton_option_size("s", "64MB", &bytes, &error), BATON_E_INVALID);
    assert_int_equal(baton_option_size("s", "99999999999GiB", &bytes, &error), BATON_E_INVALID);
}

static void counts_have_a_largest_value(void **state)
{
    (void)state;
    uint64_t count = 0;
    assert_int_equal(baton_option_count("n", "64", 64, &count, &error), 0);
    assert_int_equal(count, 64);
    assert_int_equal(baton_option_count("n", "65", 64, &count, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.todo, "64"));
    assert_int_equal(baton_option_count("n", "0x10", 64, &count, &error), BATON_E_INVALID);
}

static void a_choice_is_one_of_its_words(void **state)
{
    (void)state;
    static const char *const words[] = {"auto", "uring", "threads", NULL};
    uint32_t index = 9;
    assert_int_equal(baton_option_choice("io", "threads", words, &index, &error), 0);
    assert_int_equal(index, 2);
    assert_int_equal(baton_option_choice("io", "thread", words, &index, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.todo, "auto, uring, threads"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_where_nothing_is_given),
        cmocka_unit_test(both_spellings_of_a_value_are_taken),
        cmocka_unit_test(the_last_of_two_counts),
        cmocka_unit_test(a_value_may_begin_with_dashes_or_be_empty),
        cmocka_unit_test(a_flag_takes_no_value),
        cmocka_unit_test(dash_o_means_output),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(an_unknown_option_is_refused_with_the_nearest_name),
        cmocka_unit_test(a_very_long_unknown_option_is_refused_too),
        cmocka_unit_test(a_missing_value_is_refused),
        cmocka_unit_test(too_many_arguments_are_refused),
        cmocka_unit_test(help_stops_everything_else),
        cmocka_unit_test(durations_have_units_and_bounds),
        cmocka_unit_test(sizes_are_binary),
        cmocka_unit_test(counts_have_a_largest_value),
        cmocka_unit_test(a_choice_is_one_of_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
