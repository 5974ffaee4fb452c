/* drain/hydrating.h: what a service does beside hydrating when that takes long: a line in the log each
 * second, and `status` on the control socket. It lives on the engine's calls to say how far it is. */
#pragma once

#include "drain/control.h"

typedef struct {
    baton_loop loop;
    const char *control_path;
    const baton_instance *instance;
    const baton_control_actions *actions;
    baton_control *control; /* NULL: not long enough, or it could not be opened; open tries again */
    bool tried;
    uint64_t begin_ns;
    uint64_t told_ns; /* in the log */
    baton_hydrate_progress progress;
} baton_hydrating;

/* The strings and actions stay the caller's. 0 or -errno; end in every case. */
BATON_MUST_USE int baton_hydrating_begin(baton_hydrating *self, const char *control_path,
                                         const baton_instance *instance,
                                         const baton_control_actions *actions);
/* baton_engine_options.on_progress; context is the baton_hydrating. */
void baton_hydrating_progress(void *context, const baton_hydrate_progress *progress);
/* Hydrated: the control socket, opened now if it was not, goes on on the engine's loop and is the
 * caller's, also when this fails. */
BATON_MUST_USE int baton_hydrating_serve(baton_hydrating *self, baton_engine *engine,
                                         baton_control **ret_control, baton_error *error);
void baton_hydrating_end(baton_hydrating *self);
