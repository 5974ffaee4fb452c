/* baton/histogram.h: log-linear latency histogram, 3 significant digits, mergeable. Range 0..2^63-1
 * (nanoseconds by convention); the relative error of a reported value is below 1/1000. One thread
 * per histogram; merge into a third one to combine threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_histogram baton_histogram;

/* About 450 KiB; -ENOMEM. */
BATON_MUST_USE int baton_histogram_create(baton_histogram **ret_histogram);
void baton_histogram_destroy(baton_histogram *histogram); /* NULL is fine */
/* Never allocates, never fails. */
void baton_histogram_record(baton_histogram *histogram, uint64_t value);
void baton_histogram_merge(baton_histogram *into, const baton_histogram *from);
void baton_histogram_reset(baton_histogram *histogram);
uint64_t baton_histogram_count(const baton_histogram *histogram);
/* The smallest recorded value v such that at least fraction of all values are <= v, rounded up
 * inside its bucket but never above the maximum. fraction is 0.0..1.0; 0 when empty. */
uint64_t baton_histogram_quantile(const baton_histogram *histogram, double fraction);
uint64_t baton_histogram_min(const baton_histogram *histogram); /* exact; 0 when empty */
uint64_t baton_histogram_max(const baton_histogram *histogram); /* exact; 0 when empty */
double baton_histogram_mean(
    const baton_histogram *histogram); /* exact up to double rounding; 0 when empty */
/* What was recorded, lowest first, one bucket after the other: *cursor begins at 0 and is the function's own. *ret_value
 * is the highest value that falls into the bucket, but never above the maximum; *ret_count, how many did: 1 or more.
 * False: there are no more, and nothing is set. */
bool baton_histogram_next(const baton_histogram *histogram, uint32_t *cursor, uint64_t *ret_value,
                          uint64_t *ret_count);

#ifdef __cplusplus
}
#endif
