/* drain/run.c: `SERVICE run`: hydrate, serve until SIGTERM, drain. One thread, one loop (the
 * engine's). */
#include "drain/undecided.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drain/now.h"

#define DRAIN_TURN_NS UINT64_C(1000000) /* all_sent and a snapshot may change without an event */

/* ---- the engine's hooks ---- */

static void on_release(void *context, const baton_effect *effect)
{
    service_run *run = context;
    if (run->cutover.higher_epoch !=
        0) /* R12: fenced in this very turn; nothing is answered any more */
        return;
    if (run->doors->program->release != NULL && run->program_started)
        run->doors->program->release(run->doors->context, effect);
}

static void on_turn(void *context)
{
    service_run *run = context;
    if (run->doors->program->turn != NULL && run->program_started)
        run->doors->program->turn(run->doors->context);
    if (run->control != NULL)
        baton_control_turn(run->control);
}

static void on_signal(void *context, int fd, uint32_t events)
{
    service_run *run = context;
    struct signalfd_siginfo info;
    (void)events;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        baton_run_begin_drain(run, info.ssi_signo == (uint32_t)SIGINT ? "SIGINT" : "SIGTERM");
}

bool baton_run_told_to_end(service_run *run)
{
    struct signalfd_siginfo info;
    while (read(run->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        baton_log(
            INFO, "service.start_ended",
            BATON_LOG_TEXT("because", info.ssi_signo == (uint32_t)SIGINT ? "SIGINT" : "SIGTERM"));
        run->leaving = true;
    }
    return run->leaving;
}

/* ---- the life ---- */

/* Before anything that makes threads, so that all of them leave the signals to the signalfd. */
static int take_signals(service_run *run, baton_error *error)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    run->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (run->signal_fd < 0)
        return baton_error_set(error, -errno, "signals", "no signalfd",
                               "raise the limit of open files");
    return 0;
}

static int name_instance(service_run *run, baton_error *error)
{
    uint8_t nonce[BATON_NONCE_BYTES];
    run->instance = (baton_instance){
        .service = run->doors->service->name,
        .version = run->doors->service->version,
        .pid = getpid(),
    };
    if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        return baton_error_set(error, -errno, "start nonce", "no random bytes",
                               "look at the kernel's log");
    (void)baton_nonce_text(nonce, run->instance.nonce);
    return 0;
}

static int write_line_to_fd(int fd, json_t *object)
{
    FILE *file = object != NULL ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        close(fd);
        json_decref(object);
        return -EBADF;
    }
    int r = baton_describe_write(file, object);
    return fclose(file) != 0 && r == 0 ? -errno : r;
}

static void tell_ready(const service_run *run)
{
    baton_log(INFO, "service.ready", BATON_LOG_TEXT("service", run->instance.service),
              BATON_LOG_TEXT("version", run->instance.version),
              BATON_LOG_TEXT("control", run->options->control_path),
              BATON_LOG_TEXT("nonce", run->instance.nonce));
    if (run->options->ready_fd < 0)
        return;
    json_t *line = baton_describe_instance(&run->instance);
    if (line != NULL) {
        json_object_set_new(line, "ready", json_true());
        json_object_set_new(line, "epoch", baton_describe_number(baton_engine_epoch(run->engine)));
        json_object_set_new(line, "seq",
                            baton_describe_number(baton_engine_applied_seq(run->engine)));
        json_object_set_new(line, "control", baton_describe_text(run->options->control_path));
        json_object_set_new(line, "hydrate", baton_describe_hydrate(&run->hydrate));
    }
    int r = write_line_to_fd(run->options->ready_fd, line);
    if (r < 0)
        baton_log(WARN, "service.ready_fd", BATON_LOG_TEXT("error", baton_status_text(r)));
}

static int start_program(service_run *run, const baton_passed *passed, baton_error *error)
{
    const baton_program *program = run->doors->program;
    int r = 0;
    if (program->take_fds != NULL)
        program->take_fds(run->doors->context, passed->listeners, passed->listeners_count);
    for (uint32_t i = 0; i < passed->listeners_count && program->take_fds == NULL; i++)
        close(passed->listeners[i].fd);
    if (program->start != NULL)
        r = program->start(run->doors->context, run->engine, run->options->program_values, error);
    run->program_started = r >= 0;
    if (r < 0)
        return r;
    baton_connections_hand_on(&passed->connections, program, run->doors->context);
    return 0;
}

static void let_follow(service_run *run)
{
    baton_cutover_open(&run->cutover, run->doors, run->engine, run->options, &run->instance,
                       &run->place, run->door.fd >= 0 ? &run->door : NULL, &run->faults);
    baton_undecided_serves(run);
    run->to_let_follow = false;
}

/* The standby is the active now. Its clients come first, who wait for an answer: that it may be
 * followed, and is ready, comes after the turn that takes their orders. */
static int promoted(void *context, const baton_passed *passed, baton_error *error)
{
    service_run *run = context;
    run->following = false;
    baton_cutover_close(&run->cutover); /* of a start that was undecided */
    run->cutover = (baton_cutover){.engine = NULL};
    run->undecided = false;
    run->to_let_follow = true;
    return start_program(run, passed, error);
}

static void finish_promotion(service_run *run)
{
    let_follow(run);
    baton_engine_note_ready(run->engine, run->hydrate.total_ns);
    tell_ready(run);
}

static int start_following(service_run *run, baton_error *error)
{
    if (run->follower != NULL) /* of an earlier time as a standby */
        baton_follower_close(run->follower);
    free(run->follower);
    run->follower = calloc(1, sizeof(*run->follower));
    if (run->follower == NULL)
        return baton_error_set(error, -ENOMEM, "follow", NULL, "give the process more memory");
    run->target.if_diverged = run->options->if_diverged;
    run->follower->promoted = promoted;
    run->follower->context = run;
    run->follower->seen_epoch =
        baton_higher_epoch(run->partner.fenced_by, /* R12: nor is a lower one followed */
                           run->place.forced_epoch);
    baton_log(INFO, "service.standby", BATON_LOG_TEXT("of", run->target.active.text),
              BATON_LOG_TEXT("control", run->options->control_path),
              BATON_LOG_TEXT("nonce", run->instance.nonce));
    return baton_follower_open(run->follower, run->doors, run->engine, &run->target, error);
}

static int start(service_run *run, baton_error *error)
{
    const baton_engine_hooks hooks = {.release = on_release, .turn = on_turn, .context = run};
    baton_control_actions actions = baton_run_control_actions;
    actions.context = run;

    if (run->doors->program->give_connections != NULL)
        baton_connections_make_room();
    int r = baton_hydrating_begin(&run->hydrating, run->options->control_path, &run->instance,
                                  &actions);
    if (r < 0)
        return baton_error_set(error, r, "start", NULL, "raise the limit of open files");
    if (run->options->peer_listen.bytes > 0)
        r = baton_peer_door_open(&run->door, &run->options->peer_listen, error);
    if (r == 0)
        r = baton_run_open_engine(run, &hooks, error);
    if (r < 0)
        return r;
    baton_peer_faults_count(&run->faults, baton_engine_metrics(run->engine));
    baton_describe_hydrated(run->engine, &run->hydrate);
    r = baton_engine_watch(run->engine, run->signal_fd, EPOLLIN, on_signal, run);
    if (r < 0)
        return baton_error_set(error, r, "signals", "they can't be watched", "report this");
    r = baton_hydrating_serve(&run->hydrating, run->engine, &run->control, error);
    if (r < 0)
        return r;
    if (run->following) {
        r = start_following(run, error);
        return r == 0 && run->undecided ? baton_undecided_start(run, error) : r;
    }
    r = start_program(run, &(baton_passed){.listeners_count = 0}, error);
    if (r == 0)
        let_follow(run);
    return r;
}

/* What comes from the other instance, after a turn. */
static int turn_handover(service_run *run, uint64_t *ret_sleep_ns, baton_error *error)
{
    uint64_t follower_ns = UINT64_MAX;
    int r = 0;
    if (run->follower != NULL) {
        r = baton_follower_turn(run->follower, error);
        follower_ns = baton_follower_sleep_ns(run->follower);
    }
    if (r == 0)
        r = baton_cutover_turn(&run->cutover, ret_sleep_ns, error);
    if (r == 0)
        r = baton_undecided_turn(run, error);
    if (follower_ns < *ret_sleep_ns)
        *ret_sleep_ns = follower_ns;
    return r;
}

/* One on another host has to say where. */
static bool can_follow_successor(const service_run *run)
{
    if (!run->cutover.peer.far || run->cutover.peer.address[0] != '\0')
        return true;
    baton_log(WARN, "handover.not_standby",
              BATON_LOG_TEXT("why", "the successor has no --peer-listen: this one ends"));
    return false;
}

/* The successor serves: what was the active follows it, with the state that is there. */
static int stand_by(service_run *run, baton_error *error)
{
    const baton_partner to = run->cutover.peer;
    const char *where = to.far && to.address[0] != '\0' ? to.address : to.directory;
    run->partner = to;
    baton_undecided_close(run);
    if (run->control != NULL)
        baton_control_turn(run->control); /* who waits for the handover gets its answer */
    if (run->program_started && run->doors->program->stop != NULL)
        run->doors->program->stop(run->doors->context);
    run->program_started = false;
    baton_cutover_close(&run->cutover);
    run->cutover = (baton_cutover){.engine = NULL};
    run->following = true; /* also while a snapshot that is being taken keeps it waiting */
    int r;
    while ((r = baton_engine_stand_by(run->engine, error)) == BATON_E_AGAIN)
        if ((r = baton_engine_turn(run->engine, DRAIN_TURN_NS, error)) < 0)
            break;
    if (r == 0)
        r = baton_run_aim(run, where, error);
    run->following = r == 0;
    return r < 0 ? r : start_following(run, error);
}

/* R12: nothing more is answered. What this one has and the other has not, was logged. */
static int tell_fenced(const service_run *run, baton_error *error)
{
    const baton_cutover *cutover = &run->cutover;
    const uint64_t last = baton_engine_applied_seq(run->engine);
    char only_here[96] = "it has no entry that the other one has not";
    if (!cutover->higher_after_known)
        snprintf(only_here, sizeof(only_here), "hold both directories against each other");
    else if (last > cutover->higher_after.seq)
        snprintf(only_here, sizeof(only_here), "entries %llu to %llu stand only here",
                 (unsigned long long)cutover->higher_after.seq + 1, (unsigned long long)last);
    return baton_error_setf(
        error, BATON_E_REFUSED, "serve",
        "look at what stands only here with `baton journal dump --from`, set the "
        "directory aside, and start an empty one with --standby-of the other",
        "fenced: %.100s on %.50s serves in epoch %llu, here it is %llu; %s",
        cutover->higher.directory, cutover->higher.host, (unsigned long long)cutover->higher_epoch,
        (unsigned long long)cutover->highest_header, only_here);
}

/* The loop, from ready to CLOSING, or until another instance serves. A negative result is the
 * engine's, and is in *error. */
static int serve(service_run *run, baton_error *error)
{
    for (;;) {
        uint64_t handover_ns = UINT64_MAX;
        uint64_t sleep_ns = baton_drain_plan_step(&run->plan);
        int r = turn_handover(run, &handover_ns, error);
        if (r < 0)
            return r;
        const bool fenced = run->cutover.old.state == BATON_OLD_FENCED && !run->cutover.found &&
                            (run->leaving || baton_cutover_may_leave(&run->cutover));
        if (fenced && run->cutover.higher_epoch != 0)
            return tell_fenced(run, error);
        if (fenced && run->options->standby_after_handover && !run->leaving &&
            can_follow_successor(run)) {
            r = stand_by(run, error);
            if (r < 0)
                return r;
            continue;
        }
        if (run->plan.state == BATON_DRAIN_CLOSING || run->leaving || fenced)
            return 0;
        if (run->plan.state != BATON_DRAIN_RUNNING && sleep_ns > DRAIN_TURN_NS)
            sleep_ns = DRAIN_TURN_NS;
        r = baton_engine_turn(run->engine, sleep_ns < handover_ns ? sleep_ns : handover_ns, error);
        if (r < 0) {
            error->status = r;
            baton_drain_plan_fail(&run->plan, error);
            if (run->plan.status < 0)
                return r;
        }
        if (run->to_let_follow && r == 0)
            finish_promotion(run);
    }
}

/* Whatever has been built is taken down; the lock goes last but for the control socket, whose
 * waiting clients get the report. Returns the final status. */
static int finish(service_run *run, int status, baton_error *error)
{
    const uint64_t last_seq = run->engine != NULL ? baton_engine_applied_seq(run->engine) : 0;
    if (run->program_started && run->doors->program->stop != NULL)
        run->doors->program->stop(run->doors->context);
    if (run->control != NULL)
        baton_control_turn(run->control); /* who waits for the handover gets its answer */
    if (run->control != NULL)
        baton_control_detach(run->control);
    if (run->follower != NULL)
        baton_follower_close(run->follower);
    baton_undecided_close(run);
    baton_cutover_close(&run->cutover);
    if (run->engine != NULL)
        baton_engine_unwatch(run->engine, run->signal_fd);
    int r = baton_engine_close(run->engine);
    run->engine = NULL;
    baton_drain_plan_closed(&run->plan, r);

    json_t *report = NULL;
    if (run->plan.state != BATON_DRAIN_RUNNING) {
        baton_run_tell_drained(run);
        report =
            json_pack("{s:i, s:b, s:s, s:o, s:o, s:o}", "baton", BATON_CONTROL_PROTOCOL, "ok",
                      (int)(run->plan.status == 0), "do", "drain", "instance",
                      baton_describe_instance(&run->instance), "seq",
                      baton_describe_number(last_seq), "drain", baton_describe_drain(&run->plan));
        if (run->options->report_fd >= 0)
            (void)write_line_to_fd(run->options->report_fd, json_incref(report));
        if (run->plan.status < 0 && status >= 0) {
            status = run->plan.status;
            *error = run->plan.error;
        }
    }
    if (run->leaving)
        report =
            json_pack("{s:i, s:b, s:s, s:o, s:o, s:{s:s}}", "baton", BATON_CONTROL_PROTOCOL, "ok",
                      1, "do", "drain", "instance", baton_describe_instance(&run->instance), "seq",
                      baton_describe_number(last_seq), "drain", "outcome", "left");
    baton_control_close(run->control, report);
    free(run->follower);
    run->follower = NULL;
    if (run->signal_fd >= 0)
        close(run->signal_fd);
    baton_peer_door_close(&run->door);
    baton_last_resort_disarm(&run->last_resort);
    return status;
}

static int run_service(const baton_doors *doors, const baton_run_options *options)
{
    baton_error error = {.offset = UINT64_MAX};
    service_run run = {
        .doors = doors,
        .options = options,
        .signal_fd = -1,
        .door.fd = -1,
        .partner_lock_fd = -1,
        .hydrating.loop.epoll_fd = -1,
        .started_ns = baton_now_ns(),
        .drain_actions = baton_run_drain_actions,
    };
    run.drain_actions.context = &run;
    baton_drain_plan_init(&run.plan, &run.drain_actions, options->drain_deadline_ns,
                          options->snapshot_at_drain);

    baton_peer_faults_init(&run.faults);
    int r = take_signals(&run, &error);
    if (r == 0)
        r = name_instance(&run, &error);
    if (r == 0)
        r = start(&run, &error);
    baton_hydrating_end(&run.hydrating);
    run.target.watch = NULL;
    if (r == 0 && !run.following) {
        baton_engine_note_ready(run.engine, baton_now_ns() - run.started_ns);
        tell_ready(&run);
    }
    if (r < 0 && run.leaving) /* it was told to end before it was one */
        r = 0;
    else if (r == 0)
        r = serve(&run, &error);
    if (r < 0)
        error.status = r;
    r = finish(&run, r, &error);
    baton_peer_faults_fini(&run.faults);
    if (r < 0)
        baton_describe_failure(stderr, &error);
    return baton_exit_code(r);
}

static void print_help(const baton_doors *doors, const baton_option_set *set)
{
    printf("%s run --dir DIR [options]\n\nServe until SIGTERM or SIGINT, then drain: stop intake, "
           "finish what was taken "
           "in, make it\ndurable, hand over, take a snapshot. kill -9 loses nothing "
           "acknowledged.\n\nOptions:\n",
           doors->path);
    baton_options_print(stdout, set->options, baton_run_option_count);
    if (set->options_count > baton_run_option_count) {
        printf("\nOf %s:\n", doors->service->name);
        baton_options_print(stdout, set->options + baton_run_option_count,
                            set->options_count - baton_run_option_count);
    }
    printf("\nExamples:\n  %s run --dir /var/lib/%s --snapshot-every 1000000\n"
           "  %s run --dir /var/lib/%s --retire yes --rto-target 30s --journal-max 2GiB\n"
           "  baton service status /var/lib/%s/control.sock\n",
           doors->path, doors->service->name, doors->path, doors->service->name,
           doors->service->name);
}

int baton_run_command(const baton_doors *doors, int argc, char **argv)
{
    static int log_fd = STDERR_FILENO;
    baton_error error = {.offset = UINT64_MAX};
    baton_option_set set = {0};
    baton_run_options *options = calloc(1, sizeof(*options));
    int code = 1;
    int r = options != NULL
                ? baton_option_set_init(&set, baton_run_option_table, baton_run_option_count, doors,
                                        true, &error)
                : baton_error_set(&error, -ENOMEM, "options", NULL, "give the process more memory");
    baton_arguments arguments = {
        .options = set.options, .options_count = set.options_count, .values = set.values};
    if (r == 0)
        r = baton_options_parse(&arguments, argc, argv, &error);
    if (r == 0 && arguments.help) {
        print_help(doors, &set);
        code = 0;
    } else if (r == 0 && arguments.positionals_count > 0) {
        r = baton_error_set(&error, BATON_E_INVALID, arguments.positionals[0],
                            "`run` takes options only", "name the directory with --dir");
    } else if (r == 0) {
        r = baton_run_options_read(options, &set, doors->service->version, &error);
        if (options->peer_security.name == NULL)
            options->peer_security.name = doors->service->name;
        if (r == 0) {
            baton_log_set_sink(baton_log_to_fd, &log_fd, options->log_level);
            code = run_service(doors, options);
        }
    }
    if (r < 0)
        baton_describe_failure(stderr, &error);
    baton_option_set_fini(&set);
    free(options);
    return code;
}
