/* drain/run_private.h: a running service, as run.c (its life) and run_control.c (what it is asked) see
 * it. */
#pragma once

#include "drain/cutover.h"
#include "drain/follower.h"
#include "drain/herald.h"
#include "drain/hydrating.h"
#include "drain/last_resort.h"

typedef struct {
    const baton_doors *doors;
    const baton_run_options *options;
    baton_instance instance;
    baton_engine *engine;
    baton_control *control;
    baton_hydrate_report hydrate;
    baton_hydrating hydrating;
    baton_drain_actions drain_actions;
    baton_drain_plan plan;
    baton_last_resort last_resort;
    baton_peer_faults faults;
    baton_cutover cutover;    /* while it is the active */
    bool to_let_follow;       /* it is, since this turn: cutover is to be opened */
    baton_follower *follower; /* NULL: it never was a standby */
    baton_follower_target target;
    baton_fetch_watch start_watch; /* what a start that waits does beside it */
    baton_place place;
    baton_partner partner; /* of the last handover; directory "": there was none */
    bool undecided;        /* a start that may begin nothing by itself (undecided.h) */
    uint64_t undecided_since_ns, undecided_told_ns; /* 0: it is not */
    uint64_t undecided_looked_ns;
    int partner_lock_fd; /* while it begins the term that both LOCKs allow it (R7); else -1 */
    uint64_t forced_epoch, forced_counted;
    uint64_t told_epoch; /* that it serves in, and the herald and the log have said */
    baton_metric *forced_metric;
    baton_herald *herald; /* NULL: there is nobody to be told */
    baton_peer_door door; /* fd -1: none */
    bool following;       /* a standby, that was not promoted */
    bool leaving;         /* a standby that is to end */
    int signal_fd;
    bool program_started;
    bool drain_snapshot_begun;
    uint64_t started_ns;
} service_run;

/* Whom to follow from here on. */
BATON_MUST_USE int baton_run_aim(service_run *run, const char *standby_of, baton_error *error);
/* run_open.c: run->engine, run->place, run->partner; run->following: it is a standby, or run->undecided. */
BATON_MUST_USE int baton_run_open_engine(service_run *run, const baton_engine_hooks *hooks,
                                         baton_error *error);
/* A signal has come before there is anything to drain: run->leaving. */
bool baton_run_told_to_end(service_run *run);
/* run_control.c */
extern const baton_control_actions baton_run_control_actions; /* without the context */
extern const baton_drain_actions baton_run_drain_actions;     /* likewise */
void baton_run_tell_drained(const service_run *run);          /* in the log */
void baton_run_begin_drain(service_run *run, const char *because);
