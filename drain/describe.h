/* drain/describe.h: what the doors and the control socket say, as JSON (jansson), and how errors
 * become exit codes. Texts from outside (paths, error texts) may be any bytes; they are made
 * valid UTF-8 here, so that an answer never gets lost by one. Every function returns a new
 * object, or NULL when memory is short. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "drain/plan.h"
#include "engine/run.h"

#define BATON_NONCE_BYTES      16u
#define BATON_NONCE_TEXT_BYTES (2 * BATON_NONCE_BYTES + 1)

/* Names one life of one service; in every answer, so that an old process can't answer for a new
 * one. */
typedef struct {
    const char *service;
    const char *version;
    int64_t pid;
    char nonce[BATON_NONCE_TEXT_BYTES];
} baton_instance;

/* How far a start is. */
typedef struct {
    bool fetching;    /* a standby's first snapshot; else the service hydrates */
    const char *step; /* NULL: not begun */
    const char *unit; /* "bytes", "entries" */
    uint64_t done, of;
    uint64_t seq;
    uint64_t per_s; /* of the last second or more; 0: not known yet */
} baton_start_progress;

/* As an instance has it: text. */
char *baton_nonce_text(const uint8_t nonce[BATON_NONCE_BYTES], char text[BATON_NONCE_TEXT_BYTES]);
void baton_instance_nonce(const baton_instance *instance, uint8_t ret_nonce[BATON_NONCE_BYTES]);

json_t *baton_describe_text(const char *text);
json_t *baton_describe_number(uint64_t number);
json_t *baton_describe_digest(baton_digest digest);
json_t *baton_describe_error(const baton_error *error);
json_t *baton_describe_instance(const baton_instance *instance);
json_t *baton_describe_recovery(const baton_recovery_report *report);
json_t *baton_describe_hydrate(const baton_hydrate_report *report);
json_t *baton_describe_engine(const baton_engine_status *status);
json_t *baton_describe_progress(const baton_start_progress *progress);
json_t *baton_describe_rto(const baton_rto_prediction *prediction, const baton_rates *rates);
json_t *baton_describe_snapshots(const baton_engine_snapshot_state *state);
json_t *baton_describe_drain(const baton_drain_plan *plan);
json_t *baton_describe_replay(const baton_replay_result *result);
json_t *baton_describe_journal(const baton_journal_summary *summary);

/* One line to file, flushed; takes over object (NULL: out of memory). 0 or -errno. */
int baton_describe_write(FILE *file, json_t *object);
/* `baton: what: why: what to do` */
void baton_describe_failure(FILE *file, const baton_error *error);
/* design: 7 locked, 10 torn, 11 damaged, 1 everything else, 0 success */
int baton_exit_code(int status);
/* How a start went, in the log. */
void baton_describe_hydrated(const baton_engine *engine, const baton_hydrate_report *report);
