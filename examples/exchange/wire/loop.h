/* examples/exchange/wire/loop.h: the loop that sockets wait in: Baton's in a service (engine_loop.h), a
 * loop of its own in a plain program (plain_loop.h). As in <baton/engine.h>: callbacks come one at a time,
 * events are epoll's, watching a watched fd changes it, and after unwatch no event of it comes. */
#pragma once

#include <stdint.h>

#include <baton/status.h>

typedef void (*loop_ready)(void *context, int fd, uint32_t events);

typedef struct {
    int (*watch)(void *loop, int fd, uint32_t events, loop_ready ready, void *context);
    void (*unwatch)(void *loop, int fd);
    void *loop;
} wire_loop;

BATON_MUST_USE static inline int loop_watch(const wire_loop *own, int fd, uint32_t events,
                                            loop_ready ready, void *context)
{
    return own->watch(own->loop, fd, events, ready, context);
}

static inline void loop_unwatch(const wire_loop *own, int fd)
{
    own->unwatch(own->loop, fd);
}
