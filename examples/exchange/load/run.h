/* examples/exchange/load/run.h: drive an engine open loop: every command goes out when it is
 * due, whatever became of the ones before, and its latency counts from the moment it was due (no
 * coordinated omission). When the connection ends the load connects again and resends, in order,
 * what has no answer yet. */
#pragma once

#include <baton/histogram.h>

#include "examples/exchange/load/stream.h"

/* What became of a command. Times are CLOCK_MONOTONIC; 0: not yet. */
typedef struct {
    uint64_t intended_ns;
    uint64_t acked_ns;
    uint64_t seq;
    uint64_t filled;
    uint64_t remaining;
    uint32_t connection; /* number of the connection that the answer came on, from 1 */
    uint16_t outcome;
} command_result;

typedef struct {
    const char *address;
    const load_command *commands;
    uint32_t count;
    uint64_t give_up_ns; /* without any answer for so long: BATON_E_TIMEOUT */
    bool progress;       /* a line on stderr */
    const volatile bool
        *stop; /* set by a signal: send nothing more, take what comes, return soon */
} run_options;

typedef struct {
    uint32_t sent; /* commands that went out at least once */
    uint32_t acked;
    uint32_t resent;
    uint32_t conflicts; /* a second answer that differs from the first: applied twice, or worse */
    uint32_t refused;   /* answers that say "not applied" */
    uint32_t connections;
    uint64_t fills;  /* FILL frames */
    uint64_t gap_ns; /* the longest: last answer of a connection to the first answer of the next */
    uint64_t silence_ns; /* the longest without an answer while one was due */
    uint64_t elapsed_ns;
    command_result *results;  /* count of them; malloc'ed, the caller frees it */
    baton_histogram *latency; /* the caller destroys it */
} run_result;

/* 0 also when stopped. BATON_E_TIMEOUT, -ENOMEM, BATON_E_REFUSED (the engine said ERROR).
 * *ret_result is filled in every case. */
BATON_MUST_USE int load_run(const run_options *options, run_result *ret_result, baton_error *error);
