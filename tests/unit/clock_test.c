/* base/clock.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include <baton/clock.h>

static uint64_t now_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void the_monotonic_clock_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = baton_clock_monotonic_ns(baton_clock_system());
        assert_true(now >= last);
        last = now;
    }
    assert_true(last <= now_ns(CLOCK_MONOTONIC));
}

static void the_wall_clock_counts_from_1970(void **state)
{
    (void)state;
    const int64_t system = (int64_t)now_ns(CLOCK_REALTIME);
    const int64_t ours = (int64_t)baton_clock_wall_ns(baton_clock_system());
    assert_true(ours - system < INT64_C(3600000000000) && system - ours < INT64_C(3600000000000));
}

typedef struct {
    baton_clock clock;
    uint64_t ns;
} manual_clock;

static uint64_t manual_read(const baton_clock *clock)
{
    return ((const manual_clock *)clock)->ns;
}

static void another_clock_can_stand_in(void **state)
{
    (void)state;
    manual_clock manual = {.clock = {manual_read, manual_read}, .ns = 7};
    assert_int_equal(baton_clock_monotonic_ns(&manual.clock), 7);
    manual.ns = 9;
    assert_int_equal(baton_clock_wall_ns(&manual.clock), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(the_wall_clock_counts_from_1970),
        cmocka_unit_test(another_clock_can_stand_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
