/* examples/exchange/load/timeline.h: a run in windows of equal length, for a table and a picture. Made when the run is over,
 * from what became of each command, so it costs the run nothing.
 *
 * Latencies are those of the commands that were *due* in a window, whenever they were answered: what a client that
 * came at that moment saw. Slow readers' are left out, deposits altogether. */
#pragma once

#include "examples/exchange/load/run.h"

typedef struct {
    uint32_t due;
    uint32_t sent;       /* for the first time, in this window */
    uint32_t acked;      /* in this window */
    uint32_t unanswered; /* of those that were due, until the end */
    uint32_t
        measured; /* of those that were due: so many latencies are below; 0: they mean nothing */
    uint64_t p50_ns;
    uint64_t p99_ns;
    uint64_t max_ns;
} timeline_row;

typedef struct {
    uint64_t began_ns;
    uint64_t window_ns;
    uint32_t count;
    timeline_row *rows;
} timeline;

enum { TIMELINE_ROWS_MAX = 1 << 20 };

/* window_ns is made longer if there were more than rows_max (up to TIMELINE_ROWS_MAX). -ENOMEM; timeline_fini also then. */
BATON_MUST_USE int timeline_make(timeline *own, const run_result *result, uint32_t count,
                                 uint64_t window_ns, uint32_t rows_max);
void timeline_fini(timeline *own);

/* -errno. Times in the table are seconds since the flow began, latencies microseconds. */
BATON_MUST_USE int timeline_write_csv(const char *path, const timeline *own,
                                      const events *happened);
/* One self-contained picture, for light and dark pages. */
BATON_MUST_USE int timeline_write_svg(const char *path, const timeline *own,
                                      const events *happened);

/* The window of a moment; the first and the last one take what is before and after. */
uint32_t timeline_row_of(const timeline *own, uint64_t at_ns);
