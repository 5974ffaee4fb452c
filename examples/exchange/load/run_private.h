/* examples/exchange/load/run_private.h: a run of the load, between its files. */
#pragma once

#include "examples/exchange/load/line.h"
#include "examples/exchange/load/run.h"
#include "examples/exchange/load/visitors.h"

/* A lane's connection and what came over it. */
typedef struct {
    line line;
    uint64_t last_answer_ns;
    uint32_t last_answer_connection;
    uint32_t again_open; /* second answers under way on this connection that must come */
    uint64_t asked_ns;   /* when it last sent again for want of an answer, or connected */
} run_lane;

typedef struct {
    const run_options *options;
    run_result *result;
    baton_error *error;
    lanes lanes;
    answers answers;
    run_lane *list; /* one a lane */
    uint32_t lanes_count;
    uint32_t lanes_down;
    uint32_t phase_end; /* only commands before this one are sent */
    int epoll_fd;
    line_addresses to;
    line_addresses admin;
    uint64_t last_answer_ns;
    uint64_t quiet_since_ns;
    bool owed_before;
    uint64_t stopping_since_ns;
    uint64_t last_progress_ns;
    uint64_t storm_at_ns;
    uint64_t random;
    visitors visitors;
    marks marks;
} runner;

/* sending.c: what the lane may send now, is queued; how long it can wait, if nothing happens. */
void run_send(runner *own, uint32_t lane_index, uint64_t now_ns);
uint64_t run_next_ns(const runner *own, uint32_t lane_index);
/* A command may be sent twice, on purpose: how. */
typedef enum { DOUBLE_NOT, DOUBLE_AT_ONCE, DOUBLE_WHEN_ANSWERED } double_manner;
double_manner run_double_manner(const runner *own, uint32_t index);
void run_queue(run_lane *over, const load_command *command);

/* receiving.c: what came. BATON_E_REFUSED. */
BATON_MUST_USE int run_receive(runner *own, uint32_t lane_index);
