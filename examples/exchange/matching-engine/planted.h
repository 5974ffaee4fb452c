/* examples/exchange/matching-engine/planted.h: a mistake, planted in release 1.2.0 only, for
 * scripts/demo and the tests: "under pressure an order that would rest is matched and let go". It looks
 * harmless, passes every test that has one engine, and is what E5 forbids: pressure is told by this
 * machine's clock, so two engines with the same entries come to different books. */
#pragma once

#include <stdbool.h>

#ifdef MATCHING_ENGINE_PLANTED_NONDETERMINISM
#include <time.h>

/* True now and then: about once in 64 orders, on each machine at other ones. */
static inline bool planted_is_under_pressure(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_nsec / 512) % 64 == 0;
}
#else
static inline bool planted_is_under_pressure(void)
{
    return false;
}
#endif
