/* tests/unit/engine_effect_queue_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/effect_queue.h"

static uint8_t payload[BATON_EFFECT_BYTES_MAX];

static void push(baton_effect_queue *queue, uint64_t n, uint32_t bytes)
{
    memset(payload, (int)(n & 0xff), bytes);
    const baton_effect effect = {.epoch = n / 100,
                                 .seq = n,
                                 .index = (uint32_t)n + 1,
                                 .consumer = (uint32_t)(n % 9),
                                 .type = (uint16_t)n,
                                 .payload = payload,
                                 .payload_bytes = bytes};
    assert_int_equal(baton_effect_queue_push(queue, &effect), 0);
}

static void check(const baton_effect *effect, uint64_t n, uint32_t bytes)
{
    assert_int_equal(effect->seq, n);
    assert_int_equal(effect->epoch, n / 100);
    assert_int_equal(effect->index, n + 1);
    assert_int_equal(effect->consumer, n % 9);
    assert_int_equal(effect->type, (uint16_t)n);
    assert_int_equal(effect->payload_bytes, bytes);
    for (uint32_t i = 0; i < bytes; i++)
        assert_int_equal(((const uint8_t *)effect->payload)[i], n & 0xff);
}

static uint32_t bytes_of(uint64_t n)
{
    return (uint32_t)(n * 2654435761u >> 7) % (BATON_EFFECT_BYTES_MAX + 1);
}

static void what_goes_in_comes_out_in_order(void **state)
{
    (void)state;
    baton_effect_queue queue = {0};
    baton_effect effect;
    uint64_t in = 0;
    uint64_t out = 0;
    unsigned seed = 7;
    while (out < 5000) {
        seed = seed * 1103515245u + 12345u;
        if (in < 5000 && (seed >> 16) % 100 < 55) {
            push(&queue, in, bytes_of(in));
            in++;
        } else if (out < in) {
            assert_true(baton_effect_queue_front(&queue, &effect));
            check(&effect, out, bytes_of(out));
            baton_effect_queue_pop(&queue);
            out++;
        }
        assert_int_equal(queue.count, in - out);
    }
    assert_false(baton_effect_queue_front(&queue, &effect));
    assert_int_equal(queue.bytes, 0);
    baton_effect_queue_fini(&queue);
}

static void a_payload_stays_in_place_while_others_are_pushed(void **state)
{
    (void)state;
    baton_effect_queue queue = {0};
    baton_effect first;
    push(&queue, 1, 100);
    assert_true(baton_effect_queue_front(&queue, &first));
    for (uint64_t n = 2; n < 2000; n++)
        push(&queue, n, BATON_EFFECT_BYTES_MAX);
    check(&first, 1, 100);
    baton_effect_queue_fini(&queue);
}

static void a_walk_sees_what_is_pushed_during_it(void **state)
{
    (void)state;
    baton_effect_queue queue = {0};
    baton_effect effect;
    push(&queue, 0, bytes_of(0));
    baton_effect_cursor cursor = baton_effect_queue_begin(&queue);
    uint64_t seen = 0;
    while (baton_effect_queue_next(&cursor, &effect)) {
        check(&effect, seen, bytes_of(seen));
        seen++;
        if (seen < 1000)
            push(&queue, seen, bytes_of(seen));
    }
    assert_int_equal(seen, 1000);
    baton_effect_queue_fini(&queue);
}

static void steady_state_makes_no_blocks(void **state)
{
    (void)state;
    baton_effect_queue queue = {0};
    assert_int_equal(baton_effect_queue_reserve(&queue, 4u << 20), 0);
    const uint64_t made = queue.blocks_made;
    assert_int_equal(made, (4u << 20) / BATON_EFFECT_BLOCK_BYTES);
    for (uint64_t n = 0; n < 20000; n++) {
        push(&queue, n, 512);
        if (queue.count > 3000)
            baton_effect_queue_pop(&queue);
    }
    assert_int_equal(queue.blocks_made, made);
    while (queue.count > 0)
        baton_effect_queue_pop(&queue);
    baton_effect_queue_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out_in_order),
        cmocka_unit_test(a_payload_stays_in_place_while_others_are_pushed),
        cmocka_unit_test(a_walk_sees_what_is_pushed_during_it),
        cmocka_unit_test(steady_state_makes_no_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
