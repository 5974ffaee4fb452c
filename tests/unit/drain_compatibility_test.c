/* tests/unit/drain_compatibility_test.c: which versions may talk to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drain/compatibility.h"

static baton_compatible window;
static baton_error error;

static void check_window(const char *version, const char *min, const char *max,
                         const char *expected)
{
    assert_int_equal(baton_compatible_init(&window, version, min, max, false, &error), 0);
    json_t *object = baton_compatible_describe(&window);
    char *text = json_dumps(object, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, expected);
    free(text);
    json_decref(object);
}

static void the_window_is_one_minor_version_around(void **state)
{
    (void)state;
#define WINDOW(min, max) "{\"min_agent_version\":\"" min "\",\"max_agent_version\":\"" max "\"}"
    check_window("1.6.0", NULL, NULL, WINDOW("1.5.0", "1.7.0"));
    check_window("1.6.9", NULL, NULL, WINDOW("1.5.0", "1.7.0"));
    check_window("2.0.1", NULL, NULL, WINDOW("2.0.0", "2.1.0"));
    check_window("1.10.0-rc1", NULL, NULL, WINDOW("1.9.0", "1.11.0"));
    check_window("1.10.0+git5", "1.0.0", NULL, WINDOW("1.0.0", "1.11.0"));
    check_window("1.6.0", NULL, "1.9.9", WINDOW("1.5.0", "1.9.9"));
    check_window("today", "1.0.0", "2.0.0", WINDOW("1.0.0", "2.0.0"));
    check_window("today", NULL, NULL, "null");
    check_window("1.6", NULL, NULL, "null");
    check_window("1.6.0.1", NULL, NULL, "null");
    check_window("", NULL, NULL, "null");
    check_window("1.-6.0", NULL, NULL, "null");
    check_window("99999999999999999999.1.1", NULL, NULL, "null");
}

static bool is_in(const char *version)
{
    error = (baton_error){0};
    return baton_compatible_check(&window, version, "follow", &error) == 0;
}

static void in_it_are_all_patch_levels_of_both_ends(void **state)
{
    (void)state;
    assert_int_equal(baton_compatible_init(&window, "1.5.3", NULL, NULL, false, &error), 0);
    assert_true(is_in("1.4.0"));
    assert_true(is_in("1.4.17"));
    assert_true(is_in("1.5.0"));
    assert_true(is_in("1.6.0"));
    assert_true(is_in("1.6.99-rc1"));
    assert_false(is_in("1.3.99"));
    assert_false(is_in("1.7.0"));
    assert_false(is_in("2.5.0"));
    assert_false(is_in("0.5.0"));
    assert_false(is_in("1.5"));
    assert_false(is_in(""));
    assert_int_equal(baton_compatible_init(&window, "1.5.3", "1.4.2", "1.5.0", true, &error), 0);
    assert_false(is_in("1.4.1"));
    assert_true(is_in("1.4.2"));
    assert_true(is_in("1.5.9"));
    assert_true(window.warn_only);
}

static void who_is_outside_is_told_the_range_and_the_remedy(void **state)
{
    (void)state;
    assert_int_equal(baton_compatible_init(&window, "1.6.0", NULL, NULL, false, &error), 0);
    assert_int_equal(baton_compatible_check(&window, "1.4.0", "follow", &error), BATON_E_REFUSED);
    assert_string_equal(error.why, "version 1.4.0 outside allowed range [1.5.0, 1.7.0]");
    assert_non_null(strstr(error.todo, "--compatible-min"));
}

static void a_version_that_is_no_number_is_not_judged_by_default(void **state)
{
    (void)state;
    assert_int_equal(baton_compatible_init(&window, "today", NULL, NULL, false, &error), 0);
    assert_true(is_in("1.0.0") && is_in("tomorrow"));
    assert_int_equal(baton_compatible_init(&window, "today", "1.0.0", "1.1.0", false, &error), 0);
    assert_true(is_in("1.0.0"));
    assert_false(is_in("tomorrow"));
}

static void an_end_that_is_no_version_and_an_empty_range_are_refused(void **state)
{
    static const char *const ends[][2] = {{"1", NULL},   {NULL, "x"},        {"", NULL},
                                          {NULL, "1.2"}, {"1.8.0", "1.7.9"}, {"1.9.0", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        error = (baton_error){0};
        assert_int_equal(
            baton_compatible_init(&window, "1.6.0", ends[i][0], ends[i][1], false, &error),
            BATON_E_INVALID);
        assert_non_null(strstr(error.what, "option --compatible-m"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_window_is_one_minor_version_around),
        cmocka_unit_test(in_it_are_all_patch_levels_of_both_ends),
        cmocka_unit_test(who_is_outside_is_told_the_range_and_the_remedy),
        cmocka_unit_test(a_version_that_is_no_number_is_not_judged_by_default),
        cmocka_unit_test(an_end_that_is_no_version_and_an_empty_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
