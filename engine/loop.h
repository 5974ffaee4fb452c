/* engine/loop.h: one epoll loop: watched descriptors, and how long to sleep. Internal; services see
 * baton_engine_watch.
 *
 * A watch is known by its descriptor and a generation that changes with every watch and unwatch. An
 * event carries both, so one that was collected before its watch ended, or was replaced by another
 * on the same number, is dropped. */
#pragma once

#include <baton/engine.h>

typedef struct {
    baton_watch watch; /* NULL: not watched */
    void *context;
    uint32_t generation;
} baton_loop_watch;

typedef struct {
    int epoll_fd;
    baton_loop_watch *watches; /* by descriptor */
    uint32_t watches_count;
    bool whole_ms_only; /* the kernel or a seccomp filter denies epoll_pwait2 */
} baton_loop;

/* *loop is caller's memory; fini also after a failed init. */
BATON_MUST_USE int baton_loop_init(baton_loop *loop);
void baton_loop_fini(baton_loop *loop);

BATON_MUST_USE int baton_loop_watch_fd(baton_loop *loop, int fd, uint32_t events, baton_watch watch,
                                       void *context);
void baton_loop_unwatch_fd(baton_loop *loop, int fd);
/* Sleep until an event or for at most timeout_ns (UINT64_MAX: no limit), then dispatch. 0, also
 * after a signal; -errno. */
BATON_MUST_USE int baton_loop_turn(baton_loop *loop, uint64_t timeout_ns);
