/* bench/whole_exchange.h: the whole exchange as processes: gateway, order service, risk engine, matching engine; a
 * thousand clients with money, and the flow of their commands (exchange_flow.h). */
#pragma once

#include <sys/types.h>

#include "bench/exchange_bench.h"
#include "bench/exchange_flow.h"
#include "bench/whole_load.h"

enum { WHOLE_PROCESSES = 4, WHOLE_NAMES = FLOW_CLIENTS + 1 };

typedef struct {
    const exchange_run *run;
    pid_t pids[WHOLE_PROCESSES]; /* 0: not running */
    whole_side side;             /* what the clients see of it */
    const flow_command *commands;
    uint64_t commands_count;
    /* The block under way: commands [begin, end). A client's commands have seqs without gaps. */
    uint64_t begin, end;
    uint64_t seq_before[WHOLE_NAMES]; /* of each client, before the block */
    uint32_t first_of[WHOLE_NAMES];   /* of each client's in `places` */
    uint32_t *places;                 /* which of the block it is, by client and seq */
    uint64_t refused;                 /* outcomes other than DONE, ever */
} whole_exchange;

/* Dies when something does not start. The commands stay the caller's. */
void whole_exchange_open(const exchange_run *run, const flow_command *commands, uint64_t count,
                         whole_exchange *ret_exchange);
/* The next `count` commands are the block. False: there are not so many left. */
bool whole_exchange_block(whole_exchange *own, uint64_t count);
void whole_exchange_close(whole_exchange *own);
