/* examples/exchange/replay/lobster.h: `exchange-replay lobster`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <baton/status.h>
#include "examples/exchange/replay/lobster_apply.h"

#define LOBSTER_LEVELS_MAX 10000u

typedef struct {
    const char *messages_path;
    const char *seed_path;  /* NULL: the book begins empty */
    const char *book_path;  /* NULL: no book rows */
    const char *fills_path; /* NULL: no fill rows */
    uint32_t levels;        /* in a book row; 1..LOBSTER_LEVELS_MAX */
    lobster_mode mode;
    replay_memory memory;
} lobster_options;

typedef struct {
    lobster_counts counts;
    book_level bid, ask; /* best of each side at the end; orders_count 0: empty */
    uint32_t orders_resting;
    baton_digest digest;
} lobster_summary;

/* Files are written complete or not at all. */
BATON_MUST_USE int lobster_run(const lobster_options *options, lobster_summary *ret_summary,
                               baton_error *error);
