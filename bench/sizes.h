/* bench/sizes.h: what the suites share that measure a state at several sizes: the sizes that are asked for, whether
 * there is room for one, how its rows are named, and the header of a suite that writes to a directory.
 * Sizes are in MiB (BENCH_MIB bytes). Nothing here is allocated or kept: every pointer stays the caller's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "bench/rows.h"

enum { BENCH_SIZES_MAX = 8, BENCH_SUFFIX_BYTES = 32 };

typedef struct {
    uint64_t mib[BENCH_SIZES_MAX]; /* from small to large */
    uint32_t count;
} bench_sizes;

typedef struct {
    uint64_t least_mib;
    uint64_t most_mib;
} bench_size_limits;

/* One more. -EINVAL: no number, outside the limits, or too many. */
int bench_sizes_add(bench_sizes *sizes, const char *text, bench_size_limits limits);
/* These, from small to large, when none was asked for: the first alone when quick. */
void bench_sizes_default(bench_sizes *sizes, const uint64_t mib[3], bool quick);
static inline uint64_t bench_sizes_largest(const bench_sizes *sizes)
{
    return sizes->mib[sizes->count - 1];
}

/* What a case's name ends with at the index-th size: "" at the largest, else "_256m", "_1g". */
void bench_size_suffix(const bench_sizes *sizes, uint32_t index,
                       char ret_suffix[BENCH_SUFFIX_BYTES]);

/* Where a state is measured, and what it may take there. */
typedef struct {
    const char *directory;
    double memory_share; /* of the free memory: for one state */
    double times_disk;   /* free disk, in states: with what is written beside it */
} bench_room;

/* 1: there is room for a state of that size. 0: there is not, and that is said. -errno: can't be told. */
int bench_fits(const bench_output *output, const bench_room *room, uint64_t mib);

/* bench_print_header() with the write cache of the directory's device, as that backend sees it. Says why
 * it could not. */
int bench_print_header_of(const bench_output *output, const bench_header *header,
                          const char *directory, baton_io_choice choice);
