/* drain/now.h: the time of everything here that waits: monotonic. */
#pragma once

#include <baton/clock.h>

static inline uint64_t baton_now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}
