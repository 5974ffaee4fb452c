/* base/clock.c */
#include <errno.h>
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

static void a_moment_is_read_as_people_write_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-21T14:00:00Z", UINT64_C(1795269600000000000)},
        {"2026-11-21T15:00:00+01:00", UINT64_C(1795269600000000000)},
        {"2026-11-21T08:30:00-05:30", UINT64_C(1795269600000000000)},
        {"2026-11-21 14:00:00.000000001z", UINT64_C(1795269600000000001)},
        {"2024-02-29T00:00:00.25Z", UINT64_C(1709164800250000000)},
        {"@0", 0},
        {"@1795269600000000000", UINT64_C(1795269600000000000)},
    };
    static const char *const bad[] = {
        "",
        "@",
        "@-1",
        "@1 ",
        "@99999999999999999999999",
        "2026-11-21",
        "2026-11-21T14:00:00",
        "2026-13-21T14:00:00Z",
        "2026-02-29T14:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T14:00:00.Z",
        "2026-11-21T14:00:00.0000000001Z",
        "2026-11-21T14:00:00Zx",
        "2026-06-31T00:00:00Z",
        "1970-01-01T00:00:00+01:00",
        "12",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t ns = 1;
        assert_int_equal(baton_time_parse(good[i].text, &ns), 0);
        assert_true(ns == good[i].ns);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ns;
        if (baton_time_parse(bad[i], &ns) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(the_wall_clock_counts_from_1970),
        cmocka_unit_test(another_clock_can_stand_in),
        cmocka_unit_test(a_moment_is_read_as_people_write_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
