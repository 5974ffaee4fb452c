/* base/histogram.c: log-linear buckets: values below 2048 have one each; above, every power of two
 * is divided into 1024 equal ones, so a bucket is at most 1/1024 as wide as the values in it. */
#include <baton/histogram.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINEAR_BITS   11u
#define LINEAR_COUNT  (1u << LINEAR_BITS)
#define OCTAVE_BITS   (LINEAR_BITS - 1)
#define OCTAVE_COUNT  (1u << OCTAVE_BITS)
#define VALUE_BITS    63u
#define VALUE_MAX     ((UINT64_C(1) << VALUE_BITS) - 1)
#define BUCKETS_COUNT (LINEAR_COUNT + (VALUE_BITS - LINEAR_BITS) * OCTAVE_COUNT)

struct baton_histogram {
    uint64_t count;
    uint64_t min; /* UINT64_MAX when empty */
    uint64_t max;
    unsigned __int128 sum;
    uint64_t buckets[BUCKETS_COUNT];
};

static uint32_t bucket_index(uint64_t value)
{
    if (value < LINEAR_COUNT)
        return (uint32_t)value;
    uint32_t top_bit = 63u - (uint32_t)__builtin_clzll(value); /* 11..62 */
    uint32_t octave = top_bit - LINEAR_BITS;
    uint32_t within = (uint32_t)(value >> (top_bit - OCTAVE_BITS)) & (OCTAVE_COUNT - 1);
    return LINEAR_COUNT + octave * OCTAVE_COUNT + within;
}

/* The highest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t index)
{
    if (index < LINEAR_COUNT)
        return index;
    uint32_t octave = (index - LINEAR_COUNT) >> OCTAVE_BITS;
    uint64_t within = (index - LINEAR_COUNT) & (OCTAVE_COUNT - 1);
    return ((OCTAVE_COUNT + within + 1) << (octave + 1)) - 1;
}

static_assert(BUCKETS_COUNT == 55296, "the size the header names");

int baton_histogram_create(baton_histogram **ret_histogram)
{
    baton_histogram *histogram = malloc(sizeof(*histogram));
    if (histogram == NULL)
        return -ENOMEM;
    baton_histogram_reset(histogram);
    *ret_histogram = histogram;
    return 0;
}

void baton_histogram_destroy(baton_histogram *histogram)
{
    free(histogram);
}

void baton_histogram_record(baton_histogram *histogram, uint64_t value)
{
    if (value > VALUE_MAX)
        value = VALUE_MAX;
    histogram->buckets[bucket_index(value)]++;
    histogram->count++;
    histogram->sum += value;
    if (value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
}

void baton_histogram_merge(baton_histogram *into, const baton_histogram *from)
{
    for (uint32_t i = 0; i < BUCKETS_COUNT; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
}

void baton_histogram_reset(baton_histogram *histogram)
{
    /* Touches every page too, so that record() never faults one in. */
    memset(histogram, 0, sizeof(*histogram));
    histogram->min = UINT64_MAX;
}

uint64_t baton_histogram_count(const baton_histogram *histogram)
{
    return histogram->count;
}

/* ceil(fraction * count), at least 1. A product that misses a whole number only by the rounding of
 * the fraction (0.07 * 100 is 7.000000000000001) counts as that number. */
static uint64_t rank_of(double fraction, uint64_t count)
{
    if (!(fraction > 0.0))
        return 1;
    if (fraction >= 1.0)
        return count;
    double exact = fraction * (double)count;
    uint64_t rank = (uint64_t)exact;
    if (exact - (double)rank > exact * 1e-12)
        rank++;
    if (rank < 1)
        rank = 1;
    return rank < count ? rank : count;
}

uint64_t baton_histogram_quantile(const baton_histogram *histogram, double fraction)
{
    if (histogram->count == 0)
        return 0;
    uint64_t rank = rank_of(fraction, histogram->count);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < BUCKETS_COUNT; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            uint64_t top = bucket_top(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}

uint64_t baton_histogram_min(const baton_histogram *histogram)
{
    return histogram->count > 0 ? histogram->min : 0;
}

uint64_t baton_histogram_max(const baton_histogram *histogram)
{
    return histogram->max;
}

double baton_histogram_mean(const baton_histogram *histogram)
{
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0.0;
}

bool baton_histogram_next(const baton_histogram *histogram, uint32_t *cursor, uint64_t *ret_value,
                          uint64_t *ret_count)
{
    while (*cursor < BUCKETS_COUNT) {
        const uint32_t index = (*cursor)++;
        if (histogram->buckets[index] == 0)
            continue;
        const uint64_t top = bucket_top(index);
        *ret_value = top < histogram->max ? top : histogram->max;
        *ret_count = histogram->buckets[index];
        return true;
    }
    return false;
}
