/* drain/hydrating.h: what a service does beside a start that takes long, fetching and hydrating: a line in the
 * log now and then, and `status` on the control socket. It lives on the calls that say how far it is. */
#pragma once

#include "drain/control.h"
#include "drain/pace.h"

typedef struct {
    baton_loop loop;
    const char *control_path;
    const baton_instance *instance;
    const baton_control_actions *actions;
    baton_control *control; /* NULL: not long enough, or it could not be opened; open tries again */
    bool tried;
    uint64_t begin_ns;
    uint64_t told_ns; /* in the log */
    baton_start_progress progress;
    uint64_t mark_ns, mark_done; /* where the rate is measured from */
} baton_hydrating;

/* The strings and actions stay the caller's. 0 or -errno; end in every case. */
BATON_MUST_USE int baton_hydrating_begin(baton_hydrating *self, const char *control_path,
                                         const baton_instance *instance,
                                         const baton_control_actions *actions);
/* Before a fetch, which no journal's lock guards: the control socket's does from here on. BATON_E_LOCKED: another
 * one works there. */
BATON_MUST_USE int baton_hydrating_open(baton_hydrating *self, baton_error *error);
/* What a fetch says (pace.h). */
void baton_hydrating_fetch(baton_hydrating *self, const baton_fetch_progress *progress);
/* baton_engine_options.on_progress; context is the baton_hydrating. */
void baton_hydrating_progress(void *context, const baton_hydrate_progress *progress);
/* Hydrated: the control socket, opened now if it was not, goes on on the engine's loop and is the
 * caller's, also when this fails. */
BATON_MUST_USE int baton_hydrating_serve(baton_hydrating *self, baton_engine *engine,
                                         baton_control **ret_control, baton_error *error);
void baton_hydrating_end(baton_hydrating *self);
