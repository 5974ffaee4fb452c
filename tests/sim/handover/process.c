/* tests/sim/handover/process.c: a process is a fiber that runs `SERVICE run`, and its threads. It ends
 * by itself, or is killed: then it asks in vain from there on, and takes itself down by that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/io_backend.h"
#include "drain/hydrating.h"
#include "drain/last_resort.h"
#include "drain/run_private.h"
#include "tests/sim/handover/handover_run.h"

bool life_is_dead(const sim_life *life)
{
    return baton_sim_is_dead(life->process);
}

bool life_is_stopped(const sim_life *life)
{
    return world_now(life->w) < life->stopped_until_ns;
}

bool life_decides(const sim_life *life)
{
    if (life->actions == NULL)
        return life->role == ROLE_ACTIVE;
    const service_run *run = life->actions->context;
    return run->undecided ||
           (run->cutover.engine != NULL && (run->cutover.old.state == BATON_OLD_SUBMITTED ||
                                            run->cutover.old.state == BATON_OLD_GRANTED));
}

/* ---- its disk: other processes run between two operations, and it may hang ---- */

static baton_io_backend backend;
static int64_t (*run_on_disk)(void *self, baton_io_op *op);
static baton_io_op *(*reap_of_disk)(void *self);
static int (*enter_to_disk)(void *self);

static bool is_stuck(void)
{
    const sim_life *life = life_current();
    return life != NULL && world_now(life->w) < life->stuck_until_ns && !life_is_dead(life);
}

static int64_t run(void *self, baton_io_op *op)
{
    sim_life *life = life_current();
    if (life != NULL && op->kind != BATON_IO_CLOSE) {
        if (world_one_in(life->w, 3))
            fiber_sleep(world_draw(life->w, 60000));
        while (is_stuck())
            fiber_wait(NULL, NULL, life->stuck_until_ns);
    }
    return run_on_disk(self, op);
}

/* What was queued while it hung goes to the disk when it does not any more. */
static baton_io_op *reap(void *self)
{
    if (!is_stuck())
        (void)enter_to_disk(self);
    return reap_of_disk(self);
}

static int enter(void *self)
{
    return is_stuck() ? 0 : enter_to_disk(self);
}

const baton_io_backend *life_backend(void)
{
    if (backend.run == NULL) {
        backend = *baton_sim_backend();
        run_on_disk = backend.run;
        reap_of_disk = backend.reap;
        enter_to_disk = backend.enter;
        backend.run = run;
        backend.reap = reap;
        backend.enter = enter;
    }
    return &backend;
}

int __real_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error);
int __wrap_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error);

/* Whoever opens I/O of its own gets the process's disk. */
int __wrap_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error)
{
    baton_io_options simulated = *options;
    simulated.custom = fiber_current() != NULL ? life_backend() : baton_sim_backend();
    simulated.custom_context = wrap_process();
    simulated.clock = baton_sim_clock(wrap_sim());
    return __real_baton_io_open(&simulated, ret_io, error);
}

/* ---- in place of the control socket, and of what stands beside it ---- */

int baton_hydrating_begin(baton_hydrating *self, const char *control_path,
                          const baton_instance *instance, const baton_control_actions *actions)
{
    *self =
        (baton_hydrating){.control_path = control_path, .instance = instance, .actions = actions};
    return 0;
}

int baton_hydrating_open(baton_hydrating *self, baton_error *error)
{
    (void)self;
    (void)error;
    return 0;
}

void baton_hydrating_fetch(baton_hydrating *self, const baton_fetch_progress *progress)
{
    (void)self;
    (void)progress;
}

void baton_hydrating_progress(void *context, const baton_hydrate_progress *progress)
{
    (void)context;
    (void)progress;
}

/* The actions are the caller's local variable: as the control socket, it copies them. */
int baton_hydrating_serve(baton_hydrating *self, baton_engine *engine, baton_control **ret_control,
                          baton_error *error)
{
    sim_life *life = life_current();
    baton_control_actions *copy = malloc(sizeof(*copy));
    (void)error;
    baton_assert(copy != NULL);
    *copy = *self->actions;
    life->actions = copy;
    *ret_control = (baton_control *)(void *)life;
    judge_found(life, engine);
    return 0;
}

void baton_hydrating_end(baton_hydrating *self)
{
    (void)self;
}

/* The nonce of one of those that follow, or NULL: when there is one it need not be named. */
static const char *choose(const sim_life *life, json_t *status)
{
    const json_t *followers = json_object_get(status, "followers");
    const size_t count = json_array_size(followers);
    if (count < 2)
        return NULL;
    return json_string_value(
        json_object_get(json_array_get(followers, world_draw(life->w, count)), "nonce"));
}

static void hand_over(sim_life *life)
{
    baton_error error = {0};
    void *context = life->actions->context;
    json_t *status = life->actions->status(context);
    const baton_handover_request request = {.to = choose(life, status),
                                            .max_gap_ns = life->wanted_gap_ns,
                                            .snapshot_gap_ns = life->wanted_gap_ns};
    const int r = life->actions->handover(context, &request, &error);
    json_decref(status);
    world_note(life->w, "-- %s is asked to hand over: %s %s", instance_path(life->instance),
               baton_status_name(r), r < 0 ? error.why : "");
}

/* What it was asked. */
void baton_control_turn(baton_control *control)
{
    sim_life *life = (sim_life *)(void *)control;
    if (life_is_dead(life))
        return;
    if (life->wants_handover) {
        life->wants_handover = false;
        hand_over(life);
    }
    if (life->wants_look || life->wants_promote)
        hosts_asked(life);
    if (life->wants_drain) {
        life->wants_drain = false;
        (void)life->actions->drain(life->actions->context);
    }
}

void baton_control_detach(baton_control *control)
{
    (void)control;
}

void baton_control_close(baton_control *control, json_t *report)
{
    (void)control;
    json_decref(report);
}

void baton_last_resort_arm(baton_last_resort *resort, uint64_t deadline_ns, const char *step)
{
    (void)resort;
    (void)deadline_ns;
    (void)step;
}

void baton_last_resort_reached(baton_last_resort *resort, const char *step)
{
    (void)resort;
    (void)step;
}

void baton_last_resort_disarm(baton_last_resort *resort)
{
    (void)resort;
}

void __wrap_baton_describe_failure(FILE *file, const baton_error *error);
void __wrap_baton_describe_failure(FILE *file, const baton_error *error)
{
    sim_life *life = life_current();
    (void)file;
    life->failure = *error;
}

/* ---- its life ---- */

static void *life_main(void *argument)
{
    sim_life *life = argument;
    const baton_doors doors = {
        .path = "sim", .service = &sim_service, .program = &sim_program, .context = life};
    char *argv[20], address[2][SOCKET_NAME_BYTES];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "--dir";
    argv[argc++] = (char *)(uintptr_t)instance_directory(life->w, life->instance);
    argv[argc++] = (char *)(uintptr_t) "--segment-size";
    argv[argc++] = (char *)(uintptr_t) "1MiB";
    argv[argc++] = (char *)(uintptr_t) "--checkpoint-every";
    argv[argc++] = (char *)(uintptr_t) "2000";
    argv[argc++] = (char *)(uintptr_t) "--snapshot-at-drain";
    argv[argc++] = (char *)(uintptr_t) "no";
    if (life->role == ROLE_STANDBY) {
        argv[argc++] = (char *)(uintptr_t) "--standby-of";
        argv[argc++] = life->w->hosts == 2
                           ? address[1]
                           : (char *)(uintptr_t)instance_directory(life->w, life->standby_of);
    }
    if (life->w->hosts == 2) {
        tcp_text_of(life->instance, address[0]);
        tcp_text_of(life->standby_of, address[1]);
        argv[argc++] = (char *)(uintptr_t) "--peer-listen";
        argv[argc++] = address[0];
        argv[argc++] = (char *)(uintptr_t) "--peer-plaintext";
    }
    if (life->after_handover_standby) {
        argv[argc++] = (char *)(uintptr_t) "--after-handover";
        argv[argc++] = (char *)(uintptr_t) "standby";
    }
    life->exit_code = baton_run_command(&doors, argc, argv);
    return NULL;
}

sim_life *life_start(world *w, uint32_t instance, life_role role, uint32_t standby_of)
{
    sim_life *life = calloc(1, sizeof(*life));
    baton_assert(life != NULL);
    life->w = w;
    life->id = ++w->lives_count;
    life->instance = instance;
    life->role = role;
    life->standby_of = standby_of;
    life->process = baton_sim_start_on(w->sim, w->hosts == 2 ? host_name(w, instance) : NULL);
    life->main = fiber_start(life, life_main, life);
    life->after_handover_standby = world_one_in(w, 2);
    w->totals->starts++;
    return life;
}

void life_bury(sim_life *life)
{
    const bool died = life_is_dead(life);
    network_life_ended(life, died);
    while (!life->main->finished)
        fiber_resume(life->main);
    fiber_free(life->main);
    for (uint32_t i = 0; i < FIBERS_MAX; i++)
        baton_assert(fiber_at(i) == NULL || fiber_at(i)->life != life);
    fd_close_all(life);
    wrap_become(life->w->sim, life->process);
    baton_io_close(life->io);
    if (!died)
        baton_sim_kill(life->process);
    free((void *)(uintptr_t)life->actions);
    free(life);
}
