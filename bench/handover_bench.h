/* bench/handover_bench.h: what the cases of suite `handover` share: two real instances of the matching
 * engine, a real load, and the record of what its clients were told and when. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include <baton/histogram.h>
#include <baton/status.h>

#include "bench/common.h"
#include "bench/raw.h"
#include "bench/rows.h"
#include "bench/sizes.h"

#define HAND_SUITE      "handover"
#define HAND_PATH_BYTES 512
#define HAND_CLIENTS    64u /* of one load */
#define HAND_WAIT_NS    INT64_C(120000000000)

typedef struct {
    const char *directory;
    const char *json;
    const char *only_case; /* NULL: all */
    bool quick;
    bool smoke;
    const char *backend;            /* "uring", "threads" */
    char programs[HAND_PATH_BYTES]; /* the folder of the other programs */
    bench_sizes sizes;
} hand_options;

/* What the clients' records came to, over everything that ran. */
typedef struct {
    uint64_t commands;
    uint64_t lost;
    uint64_t doubled;
    uint64_t reordered;
} hand_count;

typedef struct {
    const hand_options *options;
    const bench_output *output;
    uint64_t bytes;     /* of the state */
    const char *suffix; /* of a case's name */
    hand_count *count;
    double *gap_p50_min, *gap_p50_max; /* over the sizes, in ms */
} hand_run;

_Noreturn void hand_die(const char *what, const char *why);
/* Prints *row with suite, backend and the size's name filled in. */
void hand_print(const hand_run *run, const bench_row *row);
/* What a histogram of nanoseconds has at q, in ms. */
double hand_ms(const baton_histogram *histogram, double q);
baton_histogram *hand_histogram(void);

/* ---- processes (handover_pair.c) ---- */

/* Directories "a" and "b"; 1.0.0 in a, 1.1.0 in b. */
typedef struct {
    const hand_run *run;
    pid_t pids[2]; /* 0: not running */
    int active;    /* 0, 1 */
    uint32_t clients_max;
    uint32_t clients_next; /* the first id that no load has had */
    char directories[2][HAND_PATH_BYTES];
    char address[HAND_PATH_BYTES];
} hand_pair;

/* a is the active with a state of run->bytes and a snapshot of it; b follows, unless it is not wanted. */
void hand_pair_open(const hand_run *run, bool with_standby, hand_pair *ret_pair);
void hand_pair_close(hand_pair *pair);
/* From then on it follows, and is level. */
void hand_start_standby(hand_pair *pair);
void hand_start_fresh_standby(
    hand_pair *pair); /* in an empty directory, instead of the one there is */
void hand_stop(hand_pair *pair, int which, int signal);
/* Until the successor is there: *ret_seq is the last entry of the old one, *ret_asked_ns when it
 * was asked for. */
void hand_over(hand_pair *pair, uint64_t *ret_seq, int64_t *ret_asked_ns);
/* The same through a portable snapshot (R13), whichever versions they are. */
void hand_over_by_snapshot(hand_pair *pair, uint64_t *ret_seq, int64_t *ret_asked_ns);
/* After it: the other one follows. */
void hand_wait_followed(const hand_pair *pair);
/* The service alone on what a killed one left: until it is ready. */
int64_t hand_cold_start(hand_pair *pair, uint64_t *ret_replayed, bool *ret_from_image);
json_t *hand_ask(const char *directory, const char *word); /* dies when it refuses */
uint64_t hand_number(const json_t *object, const char *key);

typedef struct {
    pid_t pid;
    uint32_t first_client;
    char acks[HAND_PATH_BYTES];
} hand_load;
/* `rate` orders a second, from now on, when it returns; `seconds` of them are ready. */
void hand_load_begin(hand_pair *pair, double rate, double seconds, uint32_t clients,
                     hand_load *ret_load);
void hand_load_end(hand_load *load, bool at_once); /* at once, or when all was sent */

/* ---- the clients' record (handover_record.c) ---- */

typedef struct {
    uint64_t seq; /* of its entry */
    uint64_t due_ns, acked_ns;
    uint32_t client, client_seq;
} hand_ack;

typedef struct {
    hand_ack *acks; /* by seq */
    uint64_t count;
    uint64_t unanswered;
    uint64_t refused;
    uint32_t sent;
    uint32_t first_client;
} hand_record;

void hand_record_read(const hand_load *load, hand_record *ret_record);
void hand_record_free(hand_record *record);
/* The last answer up to seq, the first after it. False: there is none on one side. */
bool hand_record_gap(const hand_record *record, uint64_t seq, uint64_t *ret_last_ns,
                     uint64_t *ret_first_ns);
/* Latencies of what was due in [from, to). */
void hand_record_latencies(const hand_record *record, uint64_t from_ns, uint64_t to_ns,
                           baton_histogram *into);
/* Compared with the journal of whichever directory holds all of it; adds to run->count. */
void hand_record_judge(const hand_pair *pair, const hand_record *record);

/* ---- the cases ---- */

void hand_case_gap(
    const hand_run *run); /* handover_gap, handover_fresh, cutover_orders, warm_rollback */
void hand_case_follow(const hand_run *run);   /* follow_lag, follow_cost */
void hand_case_rollback(const hand_run *run); /* portable_rollback */
void hand_case_cold(const hand_run *run);     /* cold_start */
