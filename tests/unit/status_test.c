/* base/status.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <baton/status.h>

static const int all[] = {
#define VALUE(name, class, text) BATON_E_##name,
    BATON_STATUS_LIST(VALUE)
#undef VALUE
};
#define ALL_COUNT (sizeof(all) / sizeof(all[0]))

static void names_texts_and_numbers_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALL_COUNT; i++) {
        assert_true(all[i] < BATON_E_BASE);
        assert_int_equal(strncmp(baton_status_name(all[i]), "BATON_E_", 8), 0);
        assert_true(strlen(baton_status_text(all[i])) > 0);
        assert_null(strchr(baton_status_text(all[i]), '\n'));
        assert_int_not_equal(baton_status_text(all[i])[strlen(baton_status_text(all[i])) - 1], '.');
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(all[i], all[j]);
            assert_string_not_equal(baton_status_name(all[i]), baton_status_name(all[j]));
            assert_string_not_equal(baton_status_text(all[i]), baton_status_text(all[j]));
        }
    }
}

static void every_status_has_the_class_of_its_list(void **state)
{
    (void)state;
#define CHECK(name, class, text)                                                                   \
    assert_int_equal(baton_status_class(BATON_E_##name), BATON_CLASS_##class);                     \
    assert_string_equal(baton_status_name(BATON_E_##name), "BATON_E_" #name);                      \
    assert_string_equal(baton_status_text(BATON_E_##name), text);
    BATON_STATUS_LIST(CHECK)
#undef CHECK
}

/* A change here breaks programs that were built before. */
static void numbers_are_part_of_the_abi(void **state)
{
    (void)state;
    assert_int_equal(BATON_E_FULL, -10001);
    assert_int_equal(BATON_E_NO_SPACE, -10004);
    assert_int_equal(BATON_E_LOCKED, -10006);
    assert_int_equal(BATON_E_DAMAGED, -10022);
    assert_int_equal(BATON_E_BROKEN, -10024);
}

static void success_and_counts_are_ok(void **state)
{
    (void)state;
    assert_string_equal(baton_status_name(0), "OK");
    assert_string_equal(baton_status_name(17), "OK");
    assert_int_equal(baton_status_class(0), BATON_CLASS_OK);
    assert_int_equal(baton_status_class(INT32_MAX), BATON_CLASS_OK);
}

static void errno_keeps_the_systems_name(void **state)
{
    (void)state;
    assert_string_equal(baton_status_name(-ENOSPC), "ENOSPC");
    assert_string_equal(baton_status_text(-ENOENT), "No such file or directory");
    assert_int_equal(baton_status_class(-EIO), BATON_CLASS_SYSTEM);
}

static void unknown_numbers_have_a_name_too(void **state)
{
    (void)state;
    const int unknown[] = {BATON_E_BASE, BATON_E_BASE - (int)ALL_COUNT - 1, -9999, INT32_MIN};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_string_equal(baton_status_name(unknown[i]), "UNKNOWN");
        assert_string_equal(baton_status_text(unknown[i]), "an unknown error");
        assert_int_equal(baton_status_class(unknown[i]), BATON_CLASS_SYSTEM);
    }
}

static void an_error_says_what_why_and_what_to_do(void **state)
{
    (void)state;
    char text[1024];
    baton_error error;

    assert_int_equal(baton_error_set(&error, BATON_E_LOCKED, "open /j", NULL, "stop it"),
                     BATON_E_LOCKED);
    assert_string_equal(baton_error_text(&error, text, sizeof(text)),
                        "open /j: another process holds the directory: stop it");
    assert_string_equal(error.path, "");
    assert_int_equal(error.offset, UINT64_MAX);

    baton_error_at(&error, "/j/seg", 4096);
    assert_string_equal(
        baton_error_text(&error, text, sizeof(text)),
        "open /j: another process holds the directory (/j/seg, offset 4096): stop it");
    baton_error_at(&error, "/j", 8192); /* the text names it already */
    assert_string_equal(baton_error_text(&error, text, sizeof(text)),
                        "open /j: another process holds the directory (offset 8192): stop it");
}

static void an_error_without_some_parts_has_no_empty_ones(void **state)
{
    (void)state;
    char text[256];
    baton_error error;
    assert_int_equal(baton_error_set(&error, -EIO, "read", NULL, NULL), -EIO);
    assert_string_equal(baton_error_text(&error, text, sizeof(text)), "read: Input/output error");
    assert_int_equal(baton_error_set(&error, -EIO, "read", "", "look"), -EIO);
    assert_string_equal(baton_error_text(&error, text, sizeof(text)), "read: look");
    baton_error_at(&error, "/f", UINT64_MAX);
    assert_string_equal(baton_error_text(&error, text, sizeof(text)), "read: (/f): look");
}

static void a_null_error_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(baton_error_set(NULL, -EIO, "a", "b", "c"), -EIO);
    assert_int_equal(baton_error_setf(NULL, -EPERM, "a", "c", "%d", 1), -EPERM);
    baton_error_at(NULL, "x", 0);
}

static void an_error_can_wrap_its_own_text(void **state)
{
    (void)state;
    char text[256];
    baton_error error;
    assert_int_equal(baton_error_setf(&error, -EIO, "read", "look", "byte %d of %s", 7, "x"), -EIO);
    assert_string_equal(error.why, "byte 7 of x");
    assert_int_equal(
        baton_error_setf(&error, -EIO, "recover", error.todo, "%s: %s", error.what, error.why),
        -EIO);
    assert_string_equal(baton_error_text(&error, text, sizeof(text)),
                        "recover: read: byte 7 of x: look");
}

static void long_texts_are_cut_and_terminated(void **state)
{
    (void)state;
    char large[2000];
    char text[100];
    baton_error error;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';

    assert_int_equal(baton_error_set(&error, -EIO, large, large, large), -EIO);
    baton_error_at(&error, large, 1);
    assert_int_equal(strlen(error.what), sizeof(error.what) - 1);
    assert_int_equal(strlen(error.why), sizeof(error.why) - 1);
    assert_int_equal(strlen(error.todo), sizeof(error.todo) - 1);
    assert_int_equal(strlen(error.path), sizeof(error.path) - 1);
    for (size_t bytes = 1; bytes <= sizeof(text); bytes++) {
        memset(text, 1, sizeof(text));
        baton_error_text(&error, text, bytes);
        assert_int_equal(strlen(text), bytes - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_texts_and_numbers_are_unique),
        cmocka_unit_test(every_status_has_the_class_of_its_list),
        cmocka_unit_test(numbers_are_part_of_the_abi),
        cmocka_unit_test(success_and_counts_are_ok),
        cmocka_unit_test(errno_keeps_the_systems_name),
        cmocka_unit_test(unknown_numbers_have_a_name_too),
        cmocka_unit_test(an_error_says_what_why_and_what_to_do),
        cmocka_unit_test(an_error_without_some_parts_has_no_empty_ones),
        cmocka_unit_test(a_null_error_is_accepted),
        cmocka_unit_test(an_error_can_wrap_its_own_text),
        cmocka_unit_test(long_texts_are_cut_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
