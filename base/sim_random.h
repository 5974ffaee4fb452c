/* base/sim_random.h: the one source of chance in a simulation (splitmix64): the same seed gives the
 * same numbers on every machine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t state;
} sim_random;

static inline uint64_t sim_random_next(sim_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0..below-1; 0 when below is 0. The bias of the remainder is far below what a test could see. */
static inline uint64_t sim_random_below(sim_random *random, uint64_t below)
{
    const uint64_t number = sim_random_next(random);
    return below == 0 ? 0 : number % below;
}

static inline uint64_t sim_random_between(sim_random *random, uint64_t from, uint64_t to)
{
    return from + sim_random_below(random, to - from + 1);
}

/* True `per_million` times in a million. Without a rate nothing is drawn, so that a fault that is
 * switched off does not move the others. */
static inline bool sim_random_chance(sim_random *random, uint32_t per_million)
{
    return per_million != 0 && sim_random_next(random) % 1000000 < per_million;
}
