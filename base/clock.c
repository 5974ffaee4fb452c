/* base/clock.c: the system's clocks behind baton/clock.h. */
#include <baton/clock.h>

#include <time.h>

#include "base/assert.h"

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    int r = clock_gettime(id, &now);
    baton_assert(r == 0);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t system_monotonic_ns(const baton_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ns(const baton_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_REALTIME);
}

const baton_clock *baton_clock_system(void)
{
    static const baton_clock system_clock = {
        .monotonic_ns = system_monotonic_ns,
        .wall_ns = system_wall_ns,
    };
    return &system_clock;
}
