/* examples/exchange/load/run.h: drive an exchange, or one of its services, open loop: every command goes out when it is
 * due, whatever became of the ones before, and its latency counts from the moment it was due (no
 * coordinated omission). When a connection ends the load connects again and resends, in order,
 * what has no answer yet. */
#pragma once

#include <signal.h>

#include <baton/histogram.h>

#include "examples/exchange/load/answers.h"
#include "examples/exchange/load/events.h"

typedef enum { PROGRESS_NONE, PROGRESS_TERMINAL, PROGRESS_LINES } run_progress;

enum { RUN_ADDRESSES_MAX = 16, RUN_CONNECTIONS_MAX = 1000 };

typedef struct {
    const char *const *addresses; /* connections begin spread over them */
    uint32_t addresses_count;
    const char *admin; /* where deposits go; NULL: where their clients' commands go */
    const load_command *commands;
    uint32_t count;
    uint32_t
        deposits_count; /* so many of them come first, and are answered before the others begin */
    uint32_t connections;
    uint32_t slow_readers;    /* so many of these */
    uint64_t seed;            /* of what follows */
    uint32_t resend_permille; /* of all commands are sent twice on purpose */
    uint64_t storm_every_ns;  /* on average; 0: none */
    uint32_t storm_count;     /* connections of a storm */
    uint64_t ask_again_ns; /* what has no answer for so long is sent again; 0: only after a cut */
    uint64_t give_up_ns;   /* without any answer for so long: BATON_E_TIMEOUT */
    run_progress progress; /* on stderr */
    const char *mark_file; /* NULL: none */
    /* Set by signals: send nothing more, take what comes, return soon; how many marks there are. */
    const volatile sig_atomic_t *stop;
    const volatile sig_atomic_t *marks;
} run_options;

typedef struct {
    uint32_t sent;        /* commands that went out at least once */
    uint32_t resent;      /* after a cut, or when there was no answer for ask_again_ns */
    uint32_t asked_again; /* how often the latter happened */
    uint32_t doubled;     /* sent twice on purpose */
    uint32_t
        doubled_told; /* and answered twice, as they must be when the first answer was there already */
    uint32_t connections;
    uint32_t storms;
    uint64_t gap_ns; /* the longest: last answer of a connection to the first answer of the next */
    uint64_t silence_ns; /* the longest that a connection was without an answer while one was due */
    uint64_t began_ns;   /* of the flow: CLOCK_MONOTONIC */
    uint64_t elapsed_ns;
    answers_counts counts;
    answers_sums sums;
    command_result *results; /* count of them */
    events events;
    baton_histogram *latency; /* of all but slow readers, and deposits */
    baton_histogram *slow_latency;
} run_result;

/* 0 also when stopped. BATON_E_TIMEOUT, -ENOMEM, BATON_E_REFUSED (the other side said ERROR, or refused a deposit),
 * BATON_E_INVALID. *ret_result is filled in every case, and the caller's to end. */
BATON_MUST_USE int load_run(const run_options *options, run_result *ret_result, baton_error *error);
void run_result_fini(run_result *result);
