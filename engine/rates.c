/* engine/rates.c: sampled costs by entry type. */
#include "engine/rates.h"

#include <errno.h>
#include <stdlib.h>

#define CLOCK_TRIES 32u
/* A pause of the machine must not pass for the cost of an entry: a longer sample counts as this, or
 * as OUTLIER_TIMES the mean, whichever is more. What that cuts off a replay's entries is not lost: it
 * counts as time for reading. */
#define OUTLIER_NS    10000.0
#define OUTLIER_TIMES 8.0
#define RATIO_LEAST                                                                                \
    0.25 /* of a replay to a live apply; beyond it the samples are not to be believed */
#define RATIO_MOST 4.0

static uint64_t clock_cost_ns(const baton_clock *clock)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < CLOCK_TRIES; i++) {
        const uint64_t begin_ns = baton_clock_monotonic_ns(clock);
        const uint64_t ns = baton_clock_monotonic_ns(clock) - begin_ns;
        least = ns < least ? ns : least;
    }
    return least;
}

int baton_rates_init(baton_rates *rates, const baton_service *service, const baton_clock *clock)
{
    *rates = (baton_rates){.clock = clock != NULL ? clock : baton_clock_system()};
    rates->types = calloc(service->entry_types_count, sizeof(*rates->types));
    if (rates->types == NULL)
        return -ENOMEM;
    rates->types_count = service->entry_types_count;
    for (uint32_t i = 0; i < rates->types_count; i++)
        rates->types[i].type = service->entry_types[i].type;
    rates->clock_ns = clock_cost_ns(rates->clock);
    return 0;
}

void baton_rates_fini(baton_rates *rates)
{
    free(rates->types);
    *rates = (baton_rates){0};
}

void baton_rates_begin_anew(baton_rates *rates)
{
    for (uint32_t i = 0; i < rates->types_count; i++)
        rates->types[i].applied = 0;
}

static void take_sample(baton_rate *rate, double ns)
{
    if (rate->count > 0) {
        double most = OUTLIER_TIMES * rate->ns;
        most = most > OUTLIER_NS ? most : OUTLIER_NS;
        ns = ns < most ? ns : most;
    }
    if (rate->count < BATON_RATES_MEMORY)
        rate->count++;
    rate->ns += (ns - rate->ns) / rate->count;
}

baton_type_rate *baton_rates_begin(baton_rates *rates, uint16_t type, uint64_t *ret_begin_ns)
{
    for (uint32_t i = 0; i < rates->types_count; i++) {
        baton_type_rate *slot = &rates->types[i];
        if (slot->type != type)
            continue;
        if (slot->applied++ % BATON_RATES_EVERY != 0)
            return NULL;
        *ret_begin_ns = baton_clock_monotonic_ns(rates->clock);
        return slot;
    }
    return NULL;
}

void baton_rates_end(baton_rates *rates, baton_type_rate *timed, uint64_t begin_ns)
{
    const uint64_t ns = baton_clock_monotonic_ns(rates->clock) - begin_ns;
    baton_rate *rate = rates->live ? &timed->live : &timed->replay;
    take_sample(rate, ns > rates->clock_ns ? (double)(ns - rates->clock_ns) : 0);
    if (rates->live && rate->count == BATON_RATES_MEMORY && timed->live_first_ns == 0)
        timed->live_first_ns = rate->ns;
}

/* The latest live cost, times what a replay took of what live did when both were measured. */
double baton_rates_replay_ns(const baton_type_rate *type)
{
    const bool replayed = type->replay.count >= BATON_RATES_REPLAYED;
    if (replayed && type->live_first_ns > 0) {
        double ratio = type->replay.ns / type->live_first_ns;
        ratio = ratio < RATIO_LEAST ? RATIO_LEAST : ratio > RATIO_MOST ? RATIO_MOST : ratio;
        return type->live.ns * ratio;
    }
    if (replayed || (type->replay.count > 0 && type->live.count == 0))
        return type->replay.ns;
    if (type->live.count > 0)
        return type->live.ns * BATON_RATES_RATIO;
    return BATON_RATES_DEFAULT;
}

double baton_rates_replayed_ns(const baton_rates *rates)
{
    double sum = 0;
    for (uint32_t i = 0; i < rates->types_count; i++)
        sum += (double)rates->types[i].applied * rates->types[i].replay.ns;
    return sum;
}
