#include "examples/exchange/load/hgrm.h"

#include <errno.h>
#include <math.h>

enum {
    TICKS_OF_HALF = 5, /* rows from 0 to 0.5, from 0.5 to 0.75, and so on: HdrHistogram's default */
    /* What HdrHistogram's footer calls so, of baton_histogram: an octave each, half of 2048 values in each. */
    BUCKETS = 53,
    SUB_BUCKETS = 2048,
};
#define US_OF_NS 1e-3

/* In percent, as HdrHistogram counts: so every level is exact. */
static double next_level(double percent)
{
    const double halves = floor(log2(100 / (100 - percent))) + 1;
    return percent + 100 / (TICKS_OF_HALF * exp2(halves));
}

static double deviation(const baton_histogram *latency)
{
    const double mean = baton_histogram_mean(latency);
    double sum = 0;
    uint64_t value, count;
    for (uint32_t cursor = 0; baton_histogram_next(latency, &cursor, &value, &count);)
        sum += ((double)value - mean) * ((double)value - mean) * (double)count;
    const uint64_t total = baton_histogram_count(latency);
    return total > 0 ? sqrt(sum / (double)total) : 0;
}

void hgrm_print(FILE *file, const baton_histogram *latency)
{
    const uint64_t total = baton_histogram_count(latency);
    uint64_t value = 0, count, seen = 0;
    double percent = 0;
    fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    for (uint32_t cursor = 0; baton_histogram_next(latency, &cursor, &value, &count);) {
        seen += count;
        for (; 100.0 * (double)seen / (double)total >= percent; percent = next_level(percent)) {
            fprintf(file, "%12.3f %2.12f %10llu %14.2f\n", (double)value * US_OF_NS, percent / 100,
                    (unsigned long long)seen, 1 / (1 - percent / 100));
            if (seen == total)
                break; /* the last value has one more row: 1 */
        }
    }
    if (total > 0)
        fprintf(file, "%12.3f %2.12f %10llu\n", (double)value * US_OF_NS, 1.0,
                (unsigned long long)total);
    fprintf(file, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n",
            baton_histogram_mean(latency) * US_OF_NS, deviation(latency) * US_OF_NS);
    fprintf(file, "#[Max     = %12.3f, Total count    = %12llu]\n",
            (double)baton_histogram_max(latency) * US_OF_NS, (unsigned long long)total);
    fprintf(file, "#[Buckets = %12d, SubBuckets     = %12d]\n", BUCKETS, SUB_BUCKETS);
}

int hgrm_write(const char *path, const baton_histogram *latency)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    hgrm_print(file, latency);
    int bad = ferror(file);
    return fclose(file) != 0 || bad ? -EIO : 0;
}

static void print_row(FILE *file, const char *name, const baton_histogram *latency)
{
    static const double fractions[] = {0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    fprintf(file, "%-13s", name);
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++)
        fprintf(file, "%10.3f", (double)baton_histogram_quantile(latency, fractions[i]) / 1e6);
    fprintf(file, "%10.3f%10llu\n", baton_histogram_mean(latency) / 1e6,
            (unsigned long long)baton_histogram_count(latency));
}

void hgrm_print_table(FILE *file, const baton_histogram *latency, const baton_histogram *slow)
{
    fprintf(file, "%-13s%10s%10s%10s%10s%10s%10s%10s%10s\n", "latency, ms", "p50", "p90", "p99",
            "p99.9", "p99.99", "max", "mean", "count");
    print_row(file, "clients", latency);
    if (baton_histogram_count(slow) > 0)
        print_row(file, "slow readers", slow);
}
