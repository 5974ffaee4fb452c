/* drain/batond/sidecar.c: batond's loop, and its end.
 *
 *   serving ──SIGTERM──▶ ending: /readyz says no, all else is served on
 *                          │ the service is gone and its drain's report has been fetched, or
 *                          │   linger is over; or it has no drain within grace; or term_deadline
 *                          ▼
 *                        closed
 *
 * SIGTERM is not passed on, unless drain_on_term: in a pod the service gets its own. */
#include "drain/batond/sidecar.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <baton/clock.h>

#include "drain/batond/token.h"
#include "drain/describe.h"

#define EXIT_TOO_LATE 8

static uint64_t now(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

batond_view batond_sidecar_view(const batond_sidecar *sidecar, uint64_t now_ns)
{
    const batond_watch *watch = &sidecar->watch;
    const batond_reach reach = batond_watch_reach(watch, now_ns);
    const uint64_t silent_ns = reach == BATOND_SILENT ? now_ns - watch->silent_since_ns : 0;
    return (batond_view){
        .reach = reach,
        .status = reach == BATOND_ANSWERS ? watch->status : NULL,
        .instance = watch->instance,
        .why = reach == BATOND_ABSENT ? watch->why.why : "",
        .age_ms = reach == BATOND_ANSWERS ? (now_ns - watch->status_ns) / 1000000 : 0,
        .silent_ms = silent_ns / 1000000,
        .hangs = silent_ns >= sidecar->config->hang_after_ns,
        .last_drain = sidecar->actions.last_drain,
        .ending = sidecar->term_ns != 0,
        .compatible_min = sidecar->config->compatible_min,
        .compatible_max = sidecar->config->compatible_max,
        .batond_version = BATON_VERSION,
        .batond_uptime_ms = (now_ns - sidecar->started_ns) / 1000000,
    };
}

/* ---- the end ---- */

static void on_signal(void *context, int fd, uint32_t events)
{
    batond_sidecar *sidecar = context;
    struct signalfd_siginfo info;
    (void)events;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (sidecar->term_ns != 0)
            continue; /* a second one changes nothing */
        sidecar->term_ns = now();
        sidecar->drains_before_term = sidecar->actions.drains_count;
        sidecar->watch.wants_status = true;
        baton_log(
            INFO, "batond.ending",
            BATON_LOG_TEXT("because", info.ssi_signo == (uint32_t)SIGINT ? "SIGINT" : "SIGTERM"));
        batond_notify_stopping(&sidecar->notify);
    }
}

/* Once; one that hydrates can't drain yet. */
static void drain_for_term(batond_sidecar *sidecar)
{
    baton_error error = {0};
    const bool can = strcmp(batond_watch_phase(&sidecar->watch), "running") == 0;
    if (!sidecar->config->drain_on_term || sidecar->term_action != NULL || sidecar->drain_seen ||
        !can)
        return;
    const int r = batond_action_begin_drain(&sidecar->actions, batond_watch_nonce(&sidecar->watch),
                                            &sidecar->term_action, &error);
    if (r < 0) /* tried again when something happens, to the deadline */
        baton_log(WARN, "batond.drain_not_asked", BATON_LOG_TEXT("why", error.why));
}

/* Of the drain that was waited for: refused, or its report says so, or none came. */
static bool went_wrong(const batond_sidecar *sidecar)
{
    const batond_action *asked = sidecar->term_action;
    const bool refused = asked != NULL && asked->state == BATOND_ACTION_DONE &&
                         !json_is_true(json_object_get(asked->answer, "ok"));
    const bool lost = asked != NULL && asked->state == BATOND_ACTION_LOST;
    return refused || lost ||
           (sidecar->drain_seen &&
            json_is_false(json_object_get(sidecar->actions.last_drain, "ok")));
}

/* True when batond may go, with the exit code. *ret_next_ns: when to look again. */
static bool is_over(batond_sidecar *sidecar, uint64_t now_ns, int *ret_code, uint64_t *ret_next_ns)
{
    const batond_config *config = sidecar->config;
    const batond_reach reach = batond_watch_reach(&sidecar->watch, now_ns);
    const bool draining = batond_actions_drain_under_way(&sidecar->actions) ||
                          strcmp(batond_watch_phase(&sidecar->watch), "draining") == 0;
    sidecar->drain_seen = sidecar->drain_seen || draining ||
                          sidecar->actions.drains_count != sidecar->drains_before_term;
    /* Its last words may still stand in our socket. */
    const bool listening = reach == BATOND_ABSENT && batond_actions_is_listening(&sidecar->actions);
    const uint64_t deadline_ns = sidecar->term_ns + config->term_deadline_ns;
    const bool none_yet = !sidecar->drain_seen && reach != BATOND_ABSENT;
    /* A standby has nothing to drain. */
    const bool asks =
        config->drain_on_term && strcmp(batond_watch_phase(&sidecar->watch), "following") != 0;
    uint64_t until_ns = UINT64_MAX; /* for as long as it drains, or may be asked to */
    if (!draining && !none_yet && !listening && reach != BATOND_UNKNOWN) {
        sidecar->over_ns = sidecar->over_ns != 0 ? sidecar->over_ns : now_ns;
        until_ns = sidecar->over_ns +
                   (sidecar->drain_seen && !sidecar->report_was_fetched ? config->linger_ns : 0);
    } else if (none_yet && !asks) {
        until_ns = sidecar->term_ns + config->term_grace_ns;
    }
    *ret_next_ns = earlier(until_ns, deadline_ns);
    *ret_code = went_wrong(sidecar) ? 1 : 0;
    if (until_ns > now_ns && (draining || (none_yet && asks)))
        *ret_code = EXIT_TOO_LATE;
    return *ret_next_ns <= now_ns;
}

/* ---- the loop ---- */

static void tell_status(batond_sidecar *sidecar, uint64_t now_ns)
{
    char text[160];
    const batond_view view = batond_sidecar_view(sidecar, now_ns);
    const char *version = json_string_value(json_object_get(view.instance, "version"));
    const char *service = json_string_value(json_object_get(view.instance, "service"));
    if (view.reach == BATOND_UNKNOWN)
        return; /* soon it is known */
    snprintf(text, sizeof(text), "%.60s %.40s: %.40s%s", service != NULL ? service : "service",
             version != NULL ? version : "", batond_view_phase(&view),
             batond_view_is_ready(&view) ? ", ready" : "");
    batond_notify_status(&sidecar->notify, text);
}

static void listen_for_drain(batond_sidecar *sidecar)
{
    const char *phase = batond_watch_phase(&sidecar->watch);
    if (phase[0] != '\0' && !batond_phase_is_starting(phase) && sidecar->watch.instance != NULL)
        batond_actions_listen(&sidecar->actions, sidecar->watch.instance,
                              strcmp(phase, "draining") == 0);
}

static uint64_t next_waiter_ns(const batond_sidecar *sidecar)
{
    uint64_t next_ns = UINT64_MAX;
    for (const batond_request *request = batond_http_waiting(sidecar->http); request != NULL;
         request = request->next)
        next_ns = earlier(next_ns, batond_route_deadline_ns(sidecar, request));
    return next_ns;
}

static int serve(batond_sidecar *sidecar, baton_error *error)
{
    for (;;) {
        int code = 0;
        uint64_t now_ns = now();
        uint64_t over_ns = UINT64_MAX;
        uint64_t next_ns = batond_http_step(sidecar->http, now_ns);
        next_ns = earlier(next_ns, batond_watch_step(&sidecar->watch, now_ns));
        listen_for_drain(sidecar);
        next_ns = earlier(next_ns, batond_notify_step(&sidecar->notify, now_ns));
        next_ns = earlier(next_ns, next_waiter_ns(sidecar));
        tell_status(sidecar, now_ns);
        if (sidecar->term_ns != 0) {
            drain_for_term(sidecar);
            if (is_over(sidecar, now_ns, &code, &over_ns))
                return code;
        }
        next_ns = earlier(next_ns, over_ns);
        now_ns = now();
        const int r = baton_loop_turn(&sidecar->loop, next_ns == UINT64_MAX ? UINT64_MAX
                                                      : next_ns <= now_ns   ? 0
                                                                            : next_ns - now_ns);
        if (r < 0) {
            baton_error_set(error, r, "batond", "its loop can't go on", "report this");
            return 1;
        }
    }
}

/* ---- the life ---- */

static int take_signals(batond_sidecar *sidecar, baton_error *error)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sidecar->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    const int r = sidecar->signal_fd < 0 ? -errno
                                         : baton_loop_watch_fd(&sidecar->loop, sidecar->signal_fd,
                                                               EPOLLIN, on_signal, sidecar);
    return r < 0 ? baton_error_set(error, r, "signals", NULL, "raise the limit of open files") : 0;
}

/* Found out now, and not when somebody needs it. */
static int check_secrets(const batond_config *config, baton_error *error)
{
    batond_token token;
    if (config->token_path == NULL)
        return 0;
    const int r = batond_token_read(&token, config->token_path, error);
    batond_token_wipe(&token);
    return r;
}

static int start(batond_sidecar *sidecar, baton_error *error)
{
    const batond_config *config = sidecar->config;
    const batond_routes routes = {.ready = batond_route_ready,
                                  .reply = batond_route_reply,
                                  .forget = batond_route_forget,
                                  .context = sidecar};
    char text[BATON_TCP_ADDRESS_TEXT_BYTES];
    int r = check_secrets(config, error);
    if (r < 0)
        return r;
    r = batond_numbers_init(sidecar);
    if (r == 0)
        r = baton_loop_init(&sidecar->loop);
    if (r < 0)
        return baton_error_set(error, r, "start", NULL, "raise the limit of open files");
    batond_watch_init(&sidecar->watch, &sidecar->loop, config->service_path,
                      config->answer_timeout_ns);
    batond_actions_init(&sidecar->actions, &sidecar->loop, config->service_path);
    r = take_signals(sidecar, error);
    if (r == 0)
        r = batond_http_open(&sidecar->http, config, &sidecar->loop, &routes, error);
    if (r < 0)
        return r;
    batond_notify_init(&sidecar->notify);
    batond_notify_ready(&sidecar->notify);
    baton_log(
        INFO, "batond.listening",
        BATON_LOG_TEXT("address", baton_tcp_address_text(batond_http_address(sidecar->http), text)),
        BATON_LOG_TEXT("tls", config->certificate_path != NULL ? "yes" : "no"),
        BATON_LOG_TEXT("service", config->service_path));
    return 0;
}

static void finish(batond_sidecar *sidecar)
{
    batond_http_close(sidecar->http); /* before the actions: its requests hold some */
    if (sidecar->term_action != NULL)
        batond_action_release(sidecar->term_action);
    batond_actions_fini(&sidecar->actions);
    batond_watch_fini(&sidecar->watch);
    batond_notify_fini(&sidecar->notify);
    if (sidecar->signal_fd >= 0)
        close(sidecar->signal_fd);
    baton_loop_fini(&sidecar->loop);
    baton_metrics_destroy(sidecar->metrics);
}

int batond_run(const batond_config *config)
{
    baton_error error = {.offset = UINT64_MAX};
    batond_sidecar sidecar = {.config = config,
                              .started_ns = now(),
                              .signal_fd = -1,
                              .loop.epoll_fd = -1,
                              .notify.fd = -1,
                              .watch.call.fd = -1};
    batond_actions_init(&sidecar.actions, &sidecar.loop, config->service_path);
    int code;
    const int r = start(&sidecar, &error);
    if (r < 0) {
        error.status = r;
        code = baton_exit_code(r);
    } else {
        code = serve(&sidecar, &error);
        baton_log(INFO, "batond.end", BATON_LOG_NUMBER("exit", code));
    }
    finish(&sidecar);
    if (error.status < 0)
        baton_describe_failure(stderr, &error);
    return code;
}
