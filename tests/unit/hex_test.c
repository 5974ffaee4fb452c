/* tests/unit/hex_test.c: one number has one name. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hex.h"

#define UNSET UINT64_C(77)

static void what_is_printed_comes_back(void **state)
{
    static const uint64_t values[] = {
        0, 1, 9, 10, 15, 16, UINT64_C(0x0123456789abcdef), UINT64_C(1) << 63, UINT64_MAX,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[32];
        uint64_t value = UNSET;
        snprintf(text, sizeof(text), "%016" PRIx64 ".seg",
                 values[i]); /* what follows is not read */
        assert_true(baton_hex_parse(text, &value));
        assert_int_equal(value, values[i]);
    }
}

static void any_other_character_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < BATON_HEX_DIGITS; at++) {
        for (int c = 0; c < 256; c++) {
            char text[] = "0123456789abcdef";
            uint64_t value = UNSET;
            const bool is_digit = c != 0 && strchr("0123456789abcdef", c) != NULL;
            text[at] = (char)c;
            assert_int_equal(baton_hex_parse(text, &value), is_digit);
            if (!is_digit)
                assert_int_equal(value, UNSET);
        }
    }
}

static void a_text_that_ends_early_is_refused_and_not_read_past(void **state)
{
    (void)state;
    for (uint32_t length = 0; length < BATON_HEX_DIGITS; length++) {
        char *text = test_calloc(length + 1, 1); /* a sanitizer sees a read behind it */
        uint64_t value = UNSET;
        memset(text, 'a', length);
        assert_false(baton_hex_parse(text, &value));
        assert_int_equal(value, UNSET);
        test_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_comes_back),
        cmocka_unit_test(any_other_character_is_refused_wherever_it_stands),
        cmocka_unit_test(a_text_that_ends_early_is_refused_and_not_read_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
