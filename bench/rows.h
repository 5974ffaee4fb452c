/* bench/rows.h: result rows of a suite, printed for a person and as JSON (one object a line). */
#pragma once

#include <stdbool.h>
#include <stdio.h>

typedef struct {
    const char *suite;
    const char *bench_case; /* "case" in the output */
    const char *backend;    /* "uring", "threads" or NULL */
    const char *metric;     /* p50 p99 p99.9 max bytes_per_s entries_per_s ... */
    const char *unit;       /* ns us ms s B/s 1/s none */
    double value;
    bool lower_is_better;
    const char *reference; /* NULL: the row has none */
    double reference_value;
    double spread; /* the reference over itself, measured again; 0: not known */
} bench_row;

/* The line that comes before all rows: what was measured on. Every pointer outlives the call
 * only. */
typedef struct {
    const char *suite;
    const char *commit_primitive;
    const char *device_write_cache;
} bench_header;

typedef struct {
    FILE *json;  /* NULL: none */
    FILE *human; /* NULL: none */
} bench_output;

void bench_print_header(const bench_output *output, const bench_header *header);
/* For a person, a row whose case and metric have a bar (bars in rows.c) says whether it is met;
 * a miss by no more than the spread is inconclusive. */
void bench_print_row(const bench_output *output, const bench_row *row);
/* A line for a person only. */
__attribute__((format(printf, 2, 3))) void bench_note(const bench_output *output,
                                                      const char *format, ...);
