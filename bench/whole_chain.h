/* bench/whole_chain.h: what any exchange of this shape costs at least: bare processes that pass a token along, over
 * Unix sockets, without any code of Baton's or the exchange's. The first passes tokens on to the second, and those that
 * come back from the last to the load, as a gateway would; three others each make one raw durable write for a token
 * before they pass it on. What waits meanwhile shares the next write (group commit); as many writes are in flight as
 * is best. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "bench/whole_load.h"

enum { CHAIN_LINKS = 3, CHAIN_TOKEN_BYTES = 64 /* about an order's */ };

typedef struct {
    pid_t pids[CHAIN_LINKS + 1];
    whole_side side;
} whole_chain;

typedef struct {
    const char *directory; /* files are made in it, and removed */
    bool threads;   /* pwritev2 in the process's only thread: one in flight; else io_uring: */
    uint32_t depth; /* writes in flight */
} whole_chain_options;

/* 0 or -errno. It may hold still while something else is measured: it sleeps then. */
int whole_chain_open(const whole_chain_options *options, whole_chain *ret_chain);
/* Each process ends when the one before it has; waits for them. -ECHILD: one ended badly. */
int whole_chain_close(whole_chain *chain);
