/* bench/exchange_bench.h: what the cases of suite `exchange` share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/exchange_flow.h"
#include "bench/rows.h"

#define EXCHANGE_PATH_BYTES 512

typedef struct {
    bool quick, smoke;
    double rate; /* of whole_exchange, alone; 0: all of them, and the highest */
    const char *json, *only;
    const char *data;      /* recorded order flow; NULL: none */
    const char *directory; /* empty; NULL: what needs a disk is left out */
    const char *backends[2];
    uint32_t backends_count;
    char programs[EXCHANGE_PATH_BYTES]; /* the folder of the other programs */
} exchange_choice;

/* One case on one backend. */
typedef struct {
    const exchange_choice *choice;
    const bench_output *output;
    const char *backend; /* "uring", "threads"; NULL: it needs no disk */
    const flow_command *commands;
    uint64_t commands_count;
} exchange_run;

/* A matching engine that is measured without the other services. */
typedef struct {
    const char *name;   /* of the case */
    const char *outbox; /* who is told */
    bool linked;        /* commands come from the risk engine, not from clients of its own */
} engine_kind;
#define ENGINE_OPTIONS(outbox)                                                                     \
    {                                                                                              \
        "65536", "65536", "1024", outbox, "1", "allow"                                             \
    }

_Noreturn void exchange_die(const char *what, int status);
/* Prints *row with suite and backend filled in. */
void exchange_print(const exchange_run *run, const bench_row *row);
/* One that has no reference. */
void exchange_plain(const exchange_run *run, const char *bench_case, const char *metric,
                    const char *unit, double value);
/* A case that can't run here, and why: always said. */
void exchange_left_out(const exchange_run *run, const char *bench_case, const char *why);
/* Of a number of ours, and the raw side's twice. */
typedef struct {
    const char *bench_case;
    const char *metric;
    const char *unit;
    const char *reference;
    double value;
    double raw;
    double raw_again;
} exchange_comparison;
void exchange_compare(const exchange_run *run, const exchange_comparison *comparison);
static inline int exchange_rounds(const exchange_run *run, int quick, int full)
{
    return run->choice->smoke ? 1 : run->choice->quick ? quick : full;
}

/* ---- the cases ---- */

void exchange_case_apply(const exchange_run *run);        /* case_apply.c */
void exchange_case_apply_linked(const exchange_run *run); /* from the risk engine */
void exchange_case_replay(const exchange_run *run);       /* replay_hour */
void exchange_case_durable(const exchange_run *run);      /* case_durable.c: durable */
void exchange_case_whole(const exchange_run *run);        /* case_whole.c: whole_exchange */
