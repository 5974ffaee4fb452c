/* drain/pace.h: how a standby's start waits for what it fetches: never without an end, never deaf to a signal, and
 * saying how far it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <baton/status.h>

#define BATON_FETCH_BYTES_MIN (UINT64_C(1) << 20) /* further, in each stall_ns: else it ends */
#define BATON_FETCH_STALL_NS  UINT64_C(30000000000)

typedef struct {
    const char *step;  /* "fetching", "copying", "checking", "waiting"; NULL: nothing yet */
    uint64_t done, of; /* bytes; of 0: not known yet */
    uint64_t seq;      /* of the snapshot; 0: not known yet */
} baton_fetch_progress;

/* What goes on beside it. */
typedef struct {
    /* Between two pieces, and each 50 ms of a wait. Not 0: it ends with that. */
    int (*step)(void *context, const baton_fetch_progress *progress);
    void *context;
    int wake_fd; /* readable: step is called at once; -1: none */
} baton_fetch_watch;

typedef struct {
    const baton_fetch_watch *watch; /* NULL: nobody */
    uint64_t stall_ns;              /* 0: BATON_FETCH_STALL_NS */
    baton_fetch_progress progress;
    uint64_t since_ns, moved_bytes; /* of the present window of stall_ns */
    int stopped;                    /* what step said, once it was not 0 */
} baton_pace;

/* Something else begins. */
void baton_pace_begin(baton_pace *pace, const char *step, uint64_t seq, uint64_t of_bytes);
/* So much further; then what the watch says. */
BATON_MUST_USE int baton_pace_moved(baton_pace *pace, uint64_t bytes);
/* The watch alone: 0, or what it ends with. */
BATON_MUST_USE int baton_pace_step(baton_pace *pace);
/* 0: something may have happened to fd. BATON_E_TIMEOUT: nothing in 10 s, or stall_ns without
 * BATON_FETCH_BYTES_MIN; error says which, and of whom. Or what the watch says. */
BATON_MUST_USE int baton_pace_wait(baton_pace *pace, int fd, short events, baton_error *error);
/* For what ends because the watch said so: r, and why. */
int baton_pace_ended(int r, const char *what, baton_error *error);
BATON_MUST_USE int baton_pace_sleep(baton_pace *pace, uint64_t ns);
