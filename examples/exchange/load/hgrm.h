/* examples/exchange/load/hgrm.h: a histogram of nanoseconds as HdrHistogram prints one (.hgrm): value, percentile, how many
 * are at or below it, and 1/(1-percentile), from 0 in steps that halve towards 1. Values are microseconds. Plotters and
 * diff tools of the field read it. */
#pragma once

#include <stdio.h>

#include <baton/histogram.h>

void hgrm_print(FILE *file, const baton_histogram *latency);
BATON_MUST_USE int hgrm_write(const char *path, const baton_histogram *latency); /* -errno */

/* For people: p50 to the maximum in a line each. slow may be empty: then it has none. */
void hgrm_print_table(FILE *file, const baton_histogram *latency, const baton_histogram *slow);
