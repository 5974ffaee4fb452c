/* baton/clock.h: time through a replaceable source, so that a test or simulator owns it. Any
 * thread. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_clock baton_clock;
struct baton_clock {
    uint64_t (*monotonic_ns)(const baton_clock *clock); /* never goes back */
    uint64_t (*wall_ns)(const baton_clock *clock);      /* since 1970-01-01 UTC; may step */
};

const baton_clock *baton_clock_system(void);

/* "2026-11-21T14:00:00.25+01:00", "...Z" (RFC 3339), or "@" and nanoseconds since 1970-01-01 UTC.
 * 0 or -EINVAL. */
int baton_time_parse(const char *text, uint64_t *ret_ns);

static inline uint64_t baton_clock_monotonic_ns(const baton_clock *clock)
{
    return clock->monotonic_ns(clock);
}

static inline uint64_t baton_clock_wall_ns(const baton_clock *clock)
{
    return clock->wall_ns(clock);
}

#ifdef __cplusplus
}
#endif
