/* base/include/baton/wire.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <baton/wire.h>

static void the_lowest_byte_comes_first(void **state)
{
    (void)state;
    const uint8_t expected[8] = {0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    baton_le64 wide = baton_le64_put(UINT64_C(0x0102030405060708));
    baton_le32 middle = baton_le32_put(UINT32_C(0x05060708));
    baton_le16 narrow = baton_le16_put(UINT16_C(0x0708));
    assert_memory_equal(wide.bytes, expected, 8);
    assert_memory_equal(middle.bytes, expected, 4);
    assert_memory_equal(narrow.bytes, expected, 2);
}

static void what_was_put_is_what_is_got(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t value = UINT64_C(1) << bit | (uint64_t)bit;
        assert_int_equal(baton_le64_get(baton_le64_put(value)), value);
        assert_int_equal(baton_le32_get(baton_le32_put((uint32_t)value)), (uint32_t)value);
        assert_int_equal(baton_le16_get(baton_le16_put((uint16_t)value)), (uint16_t)value);
        assert_int_equal(baton_le64_get(baton_le64_put(~value)), ~value);
    }
}

/* So that a struct of them has no holes and may stand anywhere in a buffer. */
static void they_need_no_alignment(void **state)
{
    (void)state;
    typedef struct {
        uint8_t one;
        baton_le16 two;
        baton_le32 four;
        baton_le64 eight;
    } packed;
    assert_int_equal(sizeof(packed), 15);
    assert_int_equal(_Alignof(packed), 1);
    assert_int_equal(offsetof(packed, eight), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_byte_comes_first),
        cmocka_unit_test(what_was_put_is_what_is_got),
        cmocka_unit_test(they_need_no_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
