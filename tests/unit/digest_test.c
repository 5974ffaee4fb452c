/* base/digest.c; judged by known values and by xxHash's own one-shot function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <xxhash.h>

#include <baton/digest.h>
#include <baton/status.h>

#define SAMPLE_BYTES 1100 /* past 240 and 1024, where XXH3 changes its ways */

static uint8_t sample[SAMPLE_BYTES];

static int fill_sample(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sample); i++)
        sample[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 5);
    return 0;
}

static baton_digest judge(const void *bytes, size_t count)
{
    XXH128_canonical_t canonical;
    baton_digest digest;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    memcpy(digest.bytes, canonical.digest, sizeof(digest.bytes));
    return digest;
}

/* As `xxh128sum` prints them. */
static void known_values_are_met(void **state)
{
    (void)state;
    char text[BATON_DIGEST_TEXT_BYTES];
    assert_string_equal(baton_digest_text(baton_digest_of("", 0), text),
                        "99aa06d3014798d86001c324468d497f");
    assert_string_equal(baton_digest_text(baton_digest_of("abc", 3), text),
                        "06b05ab6733a618578af5f94892f3950");
}

static void one_shot_agrees_with_the_library_at_every_length(void **state)
{
    (void)state;
    for (size_t count = 0; count <= SAMPLE_BYTES; count++)
        assert_true(baton_digest_equal(baton_digest_of(sample, count), judge(sample, count)));
}

static void a_stream_agrees_wherever_it_is_cut(void **state)
{
    (void)state;
    const baton_digest whole = judge(sample, SAMPLE_BYTES);
    for (size_t cut = 0; cut <= SAMPLE_BYTES; cut++) {
        baton_digest_stream stream;
        baton_digest_init(&stream);
        baton_digest_update(&stream, sample, cut);
        assert_true(baton_digest_equal(baton_digest_final(&stream), judge(sample, cut)));
        baton_digest_update(&stream, sample + cut, SAMPLE_BYTES - cut); /* final does not end it */
        assert_true(baton_digest_equal(baton_digest_final(&stream), whole));
    }
}

static void a_stream_agrees_in_single_bytes(void **state)
{
    (void)state;
    baton_digest_stream stream;
    baton_digest_init(&stream);
    for (size_t i = 0; i < SAMPLE_BYTES; i++)
        baton_digest_update(&stream, sample + i, 1);
    assert_true(baton_digest_equal(baton_digest_final(&stream), judge(sample, SAMPLE_BYTES)));
}

static void a_chain_is_the_digest_of_the_previous_one_and_the_bytes(void **state)
{
    (void)state;
    uint8_t joined[16 + SAMPLE_BYTES];
    const baton_digest previous = baton_digest_of("before", 6);
    memcpy(joined, previous.bytes, 16);
    memcpy(joined + 16, sample, SAMPLE_BYTES);
    for (size_t count = 0; count <= SAMPLE_BYTES; count += 37)
        assert_true(baton_digest_equal(baton_digest_chain(previous, sample, count),
                                       judge(joined, 16 + count)));
}

static void any_flipped_bit_changes_it(void **state)
{
    (void)state;
    const baton_digest whole = baton_digest_of(sample, 300);
    for (size_t bit = 0; bit < 300 * 8; bit++) {
        sample[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(baton_digest_equal(baton_digest_of(sample, 300), whole));
        sample[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_sum_depends_neither_on_order_nor_on_what_was_removed(void **state)
{
    (void)state;
    baton_digest forward = {{0}};
    baton_digest backward = {{0}};
    for (size_t i = 0; i < 100; i++)
        baton_digest_add(&forward, sample + i, 20);
    baton_digest_add(&backward, "other", 5);
    for (size_t i = 100; i-- > 0;)
        baton_digest_add(&backward, sample + i, 20);
    assert_false(baton_digest_equal(forward, backward));
    baton_digest_remove(&backward, "other", 5);
    assert_true(baton_digest_equal(forward, backward));
    for (size_t i = 0; i < 100; i++)
        baton_digest_remove(&forward, sample + i, 20);
    assert_true(baton_digest_is_zero(forward));
}

static void a_sum_of_one_is_its_digest_and_counts_twice_the_second_time(void **state)
{
    (void)state;
    baton_digest sum = {{0}};
    baton_digest_add(&sum, "item", 4);
    assert_true(baton_digest_equal(sum, baton_digest_of("item", 4)));
    const uint64_t once = baton_digest_low64(sum);
    baton_digest_add(&sum, "item", 4);
    assert_int_equal(baton_digest_low64(sum), once + once);
}

static void low64_is_the_last_eight_bytes_as_printed(void **state)
{
    (void)state;
    baton_digest digest;
    assert_int_equal(baton_digest_parse("00112233445566778899aabbccddeeff", &digest), 0);
    assert_int_equal(baton_digest_low64(digest), UINT64_C(0x8899aabbccddeeff));
}

static void text_and_parse_are_inverse(void **state)
{
    (void)state;
    char text[BATON_DIGEST_TEXT_BYTES];
    for (size_t i = 0; i < 50; i++) {
        baton_digest digest = baton_digest_of(sample, i);
        baton_digest parsed;
        assert_int_equal(strlen(baton_digest_text(digest, text)), 32);
        assert_int_equal(baton_digest_parse(text, &parsed), 0);
        assert_true(baton_digest_equal(digest, parsed));
    }
}

static void parse_refuses_all_but_32_hex_digits(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0",
        "0011223344556677889900112233445",
        "001122334455667788990011223344556",
        "0011223344556677889900112233445g",
        " 0112233445566778899001122334455",
        "0x112233445566778899001122334455",
    };
    baton_digest digest = baton_digest_of("kept", 4);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(baton_digest_parse(bad[i], &digest), BATON_E_INVALID);
    assert_true(baton_digest_equal(digest, baton_digest_of("kept", 4)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_are_met),
        cmocka_unit_test(one_shot_agrees_with_the_library_at_every_length),
        cmocka_unit_test(a_stream_agrees_wherever_it_is_cut),
        cmocka_unit_test(a_stream_agrees_in_single_bytes),
        cmocka_unit_test(a_chain_is_the_digest_of_the_previous_one_and_the_bytes),
        cmocka_unit_test(any_flipped_bit_changes_it),
        cmocka_unit_test(a_sum_depends_neither_on_order_nor_on_what_was_removed),
        cmocka_unit_test(a_sum_of_one_is_its_digest_and_counts_twice_the_second_time),
        cmocka_unit_test(low64_is_the_last_eight_bytes_as_printed),
        cmocka_unit_test(text_and_parse_are_inverse),
        cmocka_unit_test(parse_refuses_all_but_32_hex_digits),
    };
    return cmocka_run_group_tests(tests, fill_sample, NULL);
}
