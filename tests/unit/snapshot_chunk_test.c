/* tests/unit/snapshot_chunk_test.c: codecs, and which one AUTO takes. The clock is the test's. */
#include "tests/unit/snapshot_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "snapshot/chunk.h"
#include "snapshot/token.h"

#define CHUNK_BYTES 65536u

/* Each look at it takes step_ns. */
typedef struct {
    baton_clock clock;
    uint64_t now_ns;
    uint64_t step_ns;
} step_clock;

static uint64_t step(const baton_clock *clock)
{
    step_clock *self = (step_clock *)(uintptr_t)clock;
    return self->now_ns += self->step_ns;
}

static step_clock clock_of(uint64_t step_ns)
{
    return (step_clock){.clock = {.monotonic_ns = step, .wall_ns = step}, .step_ns = step_ns};
}

static uint8_t raw[CHUNK_BYTES];

static void fill_repeating(void)
{
    for (uint32_t i = 0; i < CHUNK_BYTES; i++)
        raw[i] = (uint8_t)(i % 64);
}

static void fill_random(void)
{
    uint32_t random = 12345;
    for (uint32_t i = 0; i < CHUNK_BYTES; i++) {
        random = random * 1664525u + 1013904223u;
        raw[i] = (uint8_t)(random >> 24);
    }
}

static baton_snapshot_chunk encode(baton_chunk_encoder *encoder, const uint8_t **ret_stored)
{
    baton_snapshot_chunk chunk = {0};
    baton_chunk_encode(encoder, raw, CHUNK_BYTES, &chunk, ret_stored);
    return chunk;
}

static void lz4_comes_back_and_a_changed_byte_does_not_pass_the_digest(void **state)
{
    (void)state;
    baton_chunk_encoder encoder;
    const uint8_t *stored;
    fill_repeating();
    assert_int_equal(baton_chunk_encoder_init(&encoder, BATON_COMPRESS_LZ4, CHUNK_BYTES, 0, NULL),
                     0);
    baton_snapshot_chunk chunk = encode(&encoder, &stored);
    assert_int_equal(chunk.codec, BATON_CODEC_LZ4);
    const uint64_t padded_bytes = baton_snapshot_padded(chunk.stored_bytes);
    uint8_t *padded = calloc(1, padded_bytes);
    uint8_t *back = malloc(CHUNK_BYTES);
    assert_true(padded != NULL && back != NULL);
    memcpy(padded, stored, chunk.stored_bytes);
    chunk.digest = baton_digest_of(padded, padded_bytes);
    assert_true(baton_chunk_digest_fits(&chunk, padded));
    assert_true(baton_chunk_decompress(&chunk, padded, back));
    assert_memory_equal(back, raw, CHUNK_BYTES);
    for (uint64_t i = 0; i < padded_bytes; i++) { /* the zeros after it too */
        padded[i] ^= 1;
        assert_false(baton_chunk_digest_fits(&chunk, padded));
        padded[i] ^= 1;
    }
    /* A digest over nonsense may fit; then decompressing says no, within its bounds. */
    chunk.stored_bytes--;
    assert_false(baton_chunk_decompress(&chunk, padded, back));
    free(padded);
    free(back);
    baton_chunk_encoder_fini(&encoder);
}

static void what_lz4_does_not_shrink_is_stored_raw(void **state)
{
    (void)state;
    baton_chunk_encoder encoder;
    const uint8_t *stored;
    fill_random();
    assert_int_equal(baton_chunk_encoder_init(&encoder, BATON_COMPRESS_LZ4, CHUNK_BYTES, 0, NULL),
                     0);
    const baton_snapshot_chunk chunk = encode(&encoder, &stored);
    assert_int_equal(chunk.codec, BATON_CODEC_RAW);
    assert_int_equal(chunk.stored_bytes, CHUNK_BYTES);
    assert_ptr_equal(stored, raw);
    baton_chunk_encoder_fini(&encoder);
}

static void the_choice_is_lz4_when_saved_bytes_cost_more_than_its_time(void **state)
{
    (void)state;
    /* 15 units saved each way at 1 GB/s: 122,880 ns. */
    baton_chunk_measured measured = {.raw_bytes = 65536,
                                     .stored_bytes = 4096,
                                     .lz4_ns = 122879,
                                     .device_bytes_per_s = 1000000000};
    assert_true(baton_chunk_prefers_lz4(&measured));
    measured.lz4_ns = 122880;
    assert_false(baton_chunk_prefers_lz4(&measured));
    measured.device_bytes_per_s = 500000000;
    assert_true(baton_chunk_prefers_lz4(&measured));
    measured.lz4_ns = 0;
    measured.stored_bytes = 65535; /* saves bytes, no unit */
    assert_false(baton_chunk_prefers_lz4(&measured));
    measured.raw_bytes = BATON_SNAPSHOT_CHUNK_BYTES_MAX;
    measured.stored_bytes = 1;
    measured.device_bytes_per_s = 1;
    measured.lz4_ns = UINT64_C(8000000) * 1000000000;
    assert_true(baton_chunk_prefers_lz4(&measured)); /* nothing overflowed */
}

static void auto_follows_the_measured_times(void **state)
{
    (void)state;
    baton_chunk_encoder encoder;
    const uint8_t *stored;
    step_clock fast = clock_of(1000);
    step_clock slow = clock_of(10000000);
    fill_repeating();
    for (uint32_t turn = 0; turn < 2; turn++) {
        const baton_clock *clock = turn == 0 ? &fast.clock : &slow.clock;
        assert_int_equal(
            baton_chunk_encoder_init(&encoder, BATON_COMPRESS_AUTO, CHUNK_BYTES, 1000000000, clock),
            0);
        for (uint32_t i = 0; i < 3 * BATON_CHUNK_MEASURE_EVERY; i++)
            assert_int_equal(encode(&encoder, &stored).codec,
                             turn == 0 ? BATON_CODEC_LZ4 : BATON_CODEC_RAW);
        baton_chunk_encoder_fini(&encoder);
    }
}

static void auto_notices_when_the_data_changes(void **state)
{
    (void)state;
    baton_chunk_encoder encoder;
    const uint8_t *stored;
    step_clock fast = clock_of(1000);
    assert_int_equal(baton_chunk_encoder_init(&encoder, BATON_COMPRESS_AUTO, CHUNK_BYTES,
                                              1000000000, &fast.clock),
                     0);
    fill_random();
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(encode(&encoder, &stored).codec, BATON_CODEC_RAW);
    fill_repeating();
    for (uint32_t i = 5; i < BATON_CHUNK_MEASURE_EVERY; i++)
        assert_int_equal(encode(&encoder, &stored).codec, BATON_CODEC_RAW);
    assert_int_equal(encode(&encoder, &stored).codec, BATON_CODEC_LZ4);
    assert_int_equal(encode(&encoder, &stored).codec, BATON_CODEC_LZ4);
    baton_chunk_encoder_fini(&encoder);
}

static void only_large_writes_measure_the_device(void **state)
{
    (void)state;
    baton_chunk_device_measured(64u << 20, 32000000);
    const uint64_t rate = baton_chunk_device_bytes_per_s();
    assert_int_equal(rate, UINT64_C(67108864) * 1000000000 / 32000000);
    baton_chunk_device_measured(4096, 1000000);
    baton_chunk_device_measured(64u << 20, 0);
    assert_int_equal(baton_chunk_device_bytes_per_s(), rate);
}

static void utf8_is_told_from_what_only_looks_like_it(void **state)
{
    static const char *const good[] = {"", "a", "é", "€", "𐍈", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xe0\x80\x80",
                                      "\xe2\x82",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xe2\x28\xa1"};
    (void)state;
    for (uint32_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(baton_utf8_valid(good[i], strlen(good[i])));
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(baton_utf8_valid(bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lz4_comes_back_and_a_changed_byte_does_not_pass_the_digest),
        cmocka_unit_test(what_lz4_does_not_shrink_is_stored_raw),
        cmocka_unit_test(the_choice_is_lz4_when_saved_bytes_cost_more_than_its_time),
        cmocka_unit_test(auto_follows_the_measured_times),
        cmocka_unit_test(auto_notices_when_the_data_changes),
        cmocka_unit_test(only_large_writes_measure_the_device),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
