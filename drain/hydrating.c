/* drain/hydrating.c: a service that hydrates can be asked how far it is. */
#include "drain/hydrating.h"

#include <baton/clock.h>
#include <baton/log.h>

/* A start that is over sooner leaves the socket's directory alone until then. By now the journal's
 * lock is ours: no other service of this directory is disturbed. */
#define OPEN_AFTER_NS UINT64_C(200000000)
#define TELL_EVERY_NS UINT64_C(1000000000)

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

static void tell(const baton_hydrate_progress *progress, uint64_t since_ns)
{
    const bool loading = progress->phase == BATON_HYDRATE_LOADING;
    baton_log(INFO, "service.hydrating", BATON_LOG_TEXT("phase", loading ? "loading" : "replaying"),
              BATON_LOG_NUMBER(loading ? "bytes" : "entries", progress->done),
              BATON_LOG_NUMBER("of", progress->of), BATON_LOG_NUMBER("seq", progress->seq),
              BATON_LOG_NUMBER("since_ms", since_ns / 1000000));
}

/* A socket that can't be had yet is no reason to stop: serve says what is wrong. */
static void open_control(baton_hydrating *self)
{
    baton_error error = {0};
    self->tried = true;
    int r = baton_control_open(self->control_path, self->instance, &self->loop, self->actions,
                               &self->control, &error);
    if (r < 0) {
        self->control = NULL;
        baton_log(WARN, "control.not_yet", BATON_LOG_TEXT("path", self->control_path),
                  BATON_LOG_TEXT("why", error.why));
    }
}

void baton_hydrating_progress(void *context, const baton_hydrate_progress *progress)
{
    baton_hydrating *self = context;
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    self->progress = *progress;
    if (now_ns - self->told_ns >= TELL_EVERY_NS) {
        self->told_ns = now_ns;
        tell(progress, now_ns - self->begin_ns);
    }
    if (!self->tried && now_ns - self->begin_ns >= OPEN_AFTER_NS)
        open_control(self);
    if (self->control != NULL) {
        int r = baton_loop_turn(&self->loop, 0);
        (void)r; /* it is tried again in 20 ms, and the engine's loop has its own */
    }
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
