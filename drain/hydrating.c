/* drain/hydrating.c: a service that fetches or hydrates can be asked how far it is. */
#include "drain/hydrating.h"

#include <baton/clock.h>
#include <baton/log.h>

/* A start that is over sooner leaves the socket's directory alone until then. By now the journal's
 * lock is ours: no other service of this directory is disturbed. */
#define OPEN_AFTER_NS UINT64_C(200000000)
#define TELL_EVERY_NS UINT64_C(1000000000)
#define TELL_FETCH_NS UINT64_C(3000000000) /* that may take hours */
#define MEASURE_NS    UINT64_C(1000000000)

int baton_hydrating_begin(baton_hydrating *self, const char *control_path,
                          const baton_instance *instance, const baton_control_actions *actions)
{
    *self = (baton_hydrating){
        .control_path = control_path,
        .instance = instance,
        .actions = actions,
        .begin_ns = baton_clock_monotonic_ns(baton_clock_system()),
    };
    self->told_ns = self->begin_ns;
    return baton_loop_init(&self->loop);
}

static void tell(baton_hydrating *self, uint64_t now_ns)
{
    const baton_start_progress *progress = &self->progress;
    self->told_ns = now_ns;
    baton_log(INFO, progress->fetching ? "service.fetching" : "service.hydrating",
              BATON_LOG_TEXT("phase", progress->step),
              BATON_LOG_NUMBER(progress->unit, progress->done),
              BATON_LOG_NUMBER("of", progress->of), BATON_LOG_NUMBER("per_s", progress->per_s),
              BATON_LOG_NUMBER("seq", progress->seq),
              BATON_LOG_NUMBER("since_ms", (now_ns - self->begin_ns) / 1000000));
}

/* A socket that can't be had yet is no reason to stop: serve says what is wrong. */
static int open_control(baton_hydrating *self, baton_error *error)
{
    self->tried = true;
    int r = baton_control_open(self->control_path, self->instance, &self->loop, self->actions,
                               &self->control, error);
    if (r < 0) {
        self->control = NULL;
        baton_log(WARN, "control.not_yet", BATON_LOG_TEXT("path", self->control_path),
                  BATON_LOG_TEXT("why", error->why));
    }
    return r;
}

int baton_hydrating_open(baton_hydrating *self, baton_error *error)
{
    return self->control == NULL && open_control(self, error) == BATON_E_LOCKED ? BATON_E_LOCKED
                                                                                : 0;
}

/* Of the last second or more. */
static void measure(baton_hydrating *self, const char *step, uint64_t done, uint64_t now_ns)
{
    baton_start_progress *progress = &self->progress;
    if (progress->step != step || done < self->mark_done) {
        progress->per_s = 0;
        self->mark_ns = now_ns;
        self->mark_done = done;
    } else if (now_ns - self->mark_ns >= MEASURE_NS) {
        progress->per_s =
            (uint64_t)((double)(done - self->mark_done) * 1e9 / (double)(now_ns - self->mark_ns));
        self->mark_ns = now_ns;
        self->mark_done = done;
    }
}

static void go_on(baton_hydrating *self, const baton_start_progress *at, uint64_t tell_every_ns)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    measure(self, at->step, at->done, now_ns);
    const uint64_t per_s = self->progress.per_s;
    self->progress = *at;
    self->progress.per_s = per_s;
    if (now_ns - self->told_ns >= tell_every_ns)
        tell(self, now_ns);
    if (!self->tried && now_ns - self->begin_ns >= OPEN_AFTER_NS)
        (void)!open_control(self, &(baton_error){0});
    if (self->control != NULL) {
        int r = baton_loop_turn(&self->loop, 0);
        (void)r; /* it is tried again in 20 ms, and the engine's loop has its own */
    }
}

void baton_hydrating_progress(void *context, const baton_hydrate_progress *progress)
{
    const bool loading = progress->phase == BATON_HYDRATE_LOADING;
    const baton_start_progress at = {.step = loading ? "loading" : "replaying",
                                     .unit = loading ? "bytes" : "entries",
                                     .done = progress->done,
                                     .of = progress->of,
                                     .seq = progress->seq};
    go_on(context, &at, TELL_EVERY_NS);
}

void baton_hydrating_fetch(baton_hydrating *self, const baton_fetch_progress *progress)
{
    const baton_start_progress at = {.fetching = true,
                                     .step = progress->step,
                                     .unit = "bytes",
                                     .done = progress->done,
                                     .of = progress->of,
                                     .seq = progress->seq};
    go_on(self, &at, TELL_FETCH_NS);
}

int baton_hydrating_serve(baton_hydrating *self, baton_engine *engine, baton_control **ret_control,
                          baton_error *error)
{
    int r = 0;
    if (self->control == NULL)
        r = baton_control_open(self->control_path, self->instance, &self->loop, self->actions,
                               &self->control, error);
    if (r < 0)
        return r;
    *ret_control = self->control;
    self->control = NULL;
    return baton_control_serve(*ret_control, engine, error);
}

void baton_hydrating_end(baton_hydrating *self)
{
    baton_control_close(self->control, NULL);
    self->control = NULL;
    baton_loop_fini(&self->loop);
}
