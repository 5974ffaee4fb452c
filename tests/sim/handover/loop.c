/* tests/sim/handover/loop.c: the engine's loop: it sleeps as a fiber, and asks descriptors of the simulation. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "engine/loop.h"
#include "tests/sim/handover/handover_run.h"

#define WATCHES_MAX 12u

typedef struct {
    int fd;
    uint32_t events;
    baton_watch watch;
    void *context;
} loop_watch;

static bool is_due(const loop_watch *one)
{
    const sim_fd *fd = one->watch != NULL ? fd_of(one->fd) : NULL;
    return fd != NULL &&
           (((one->events & EPOLLIN) != 0 && fd_is_readable(fd)) ||
            ((one->events & EPOLLOUT) != 0 && fd->end != NULL && network_can_write(fd->end)));
}

int __wrap_baton_loop_init(baton_loop *loop);
void __wrap_baton_loop_fini(baton_loop *loop);
int __wrap_baton_loop_watch_fd(baton_loop *loop, int fd, uint32_t events, baton_watch watch,
                               void *context);
void __wrap_baton_loop_unwatch_fd(baton_loop *loop, int fd);
int __wrap_baton_loop_turn(baton_loop *loop, uint64_t timeout_ns);

static loop_watch *watches_of(const baton_loop *loop)
{
    return (loop_watch *)(void *)loop->watches;
}

int __wrap_baton_loop_init(baton_loop *loop)
{
    *loop = (baton_loop){.epoll_fd = -1, .watches = calloc(WATCHES_MAX, sizeof(loop_watch))};
    return loop->watches != NULL ? 0 : -ENOMEM;
}

void __wrap_baton_loop_fini(baton_loop *loop)
{
    free(loop->watches);
    *loop = (baton_loop){.epoll_fd = -1};
}

void __wrap_baton_loop_unwatch_fd(baton_loop *loop, int fd)
{
    loop_watch *watches = watches_of(loop);
    for (uint32_t i = 0; watches != NULL && i < WATCHES_MAX; i++)
        if (watches[i].watch != NULL && watches[i].fd == fd)
            watches[i].watch = NULL;
}

int __wrap_baton_loop_watch_fd(baton_loop *loop, int fd, uint32_t events, baton_watch watch,
                               void *context)
{
    loop_watch *watches = watches_of(loop);
    __wrap_baton_loop_unwatch_fd(loop, fd);
    for (uint32_t i = 0; i < WATCHES_MAX; i++)
        if (watches[i].watch == NULL) {
            watches[i] = (loop_watch){fd, events, watch, context};
            return 0;
        }
    return -ENOMEM;
}

static bool loop_is_ready(void *context)
{
    const loop_watch *watches = watches_of(context);
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        const sim_fd *fd = watches[i].watch != NULL ? fd_of(watches[i].fd) : NULL;
        if (is_due(&watches[i]) || (fd != NULL && fd->life != NULL && fd->life->kicked))
            return true;
    }
    return false;
}

int __wrap_baton_loop_turn(baton_loop *loop, uint64_t timeout_ns)
{
    sim_life *life = life_current();
    loop_watch *watches = watches_of(loop);
    const uint64_t now = world_now(life->w);
    fiber_wait(loop_is_ready, loop, timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns);
    life->kicked = false;
    if (life_is_dead(life))
        return -EIO;
    int ready[WATCHES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < WATCHES_MAX; i++)
        if (is_due(&watches[i]))
            ready[count++] = (int)i;
    for (uint32_t i = 0; i < count; i++) {
        const loop_watch *one = &watches[ready[i]];
        if (one->watch != NULL)
            one->watch(one->context, one->fd, one->events);
    }
    return 0;
}
