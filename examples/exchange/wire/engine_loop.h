/* examples/exchange/wire/engine_loop.h: Baton's loop, for what stands in wire/. */
#pragma once

#include <baton/engine.h>

#include "examples/exchange/wire/loop.h"

static inline int engine_loop_watch(void *loop, int fd, uint32_t events, loop_ready ready,
                                    void *context)
{
    return baton_engine_watch(loop, fd, events, ready, context);
}

static inline void engine_loop_unwatch(void *loop, int fd)
{
    baton_engine_unwatch(loop, fd);
}

static inline wire_loop engine_loop(baton_engine *engine)
{
    return (wire_loop){.watch = engine_loop_watch, .unwatch = engine_loop_unwatch, .loop = engine};
}
