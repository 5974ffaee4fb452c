/* drain/bring.h: a thread of a standby's that brings the snapshots of its active into its own directory while it
 * follows: by a second name where both directories are on one file system, else by a connection of its own, at a
 * bounded rate. It knows no engine: which ones are wanted it is told, and what there is it gives back. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "drain/bootstrap.h"
#include "journal/format.h"
#include "snapshot/store.h"

#define BATON_BRING_BYTES_PER_S (UINT64_C(64) << 20)

typedef struct {
    uint64_t seq;
    baton_digest root;
} baton_wanted_snapshot;

typedef struct {
    /* the caller's, before begin */
    baton_follower_target target; /* its own copy */
    char active_directory[256];   /* "": on another host */
    bool same_layout;             /* the active's images can be read here */
    baton_wanted_snapshot wanted[BATON_SEGMENT_ROOTS_MAX]; /* newest first */
    uint32_t wanted_count;
    /* the thread's; the caller's after end */
    baton_snapshot_listed *listed; /* what is there now, newest first; malloc'ed */
    uint32_t listed_count;
    uint32_t brought_count;
    baton_error error; /* status 0: all that can be had is there */
    /* between both */
    pthread_t thread;
    bool runs;
    atomic_bool stop, done;
    /* the thread's own */
    uint64_t begin_ns, came_bytes;
    baton_fetch_watch watch;
} baton_bring;

/* -errno. */
BATON_MUST_USE int baton_bring_begin(baton_bring *bring);
/* True: what it gives back is the caller's, until the next begin; listed is his to free. */
bool baton_bring_is_done(baton_bring *bring);
/* It ends soon. */
void baton_bring_stop(baton_bring *bring);
/* Waits for that. */
void baton_bring_end(baton_bring *bring);
