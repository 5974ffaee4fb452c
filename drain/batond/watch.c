/* drain/batond/watch.c: see watch.h. */
#include "drain/batond/watch.h"

#include <string.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <baton/clock.h>
#include <baton/log.h>

static uint64_t now(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

void batond_watch_init(batond_watch *watch, baton_loop *loop, const char *path,
                       uint64_t answer_timeout_ns)
{
    *watch = (batond_watch){.loop = loop,
                            .path = path,
                            .answer_timeout_ns = answer_timeout_ns,
                            .call = BATON_CONTROL_CALL_CLOSED,
                            .wants_status = true};
}

/* What this connection told is over; who it was stays known. */
static void hang_up(batond_watch *watch)
{
    if (watch->call.fd >= 0)
        baton_loop_unwatch_fd(watch->loop, watch->call.fd);
    baton_control_call_close(&watch->call);
    json_decref(watch->status);
    watch->status = NULL;
    watch->status_ns = 0;
    free(watch->metrics);
    watch->metrics = NULL;
    watch->metrics_ns = 0;
    watch->asked = BATOND_ASKS_NOTHING;
}

void batond_watch_fini(batond_watch *watch)
{
    hang_up(watch);
    json_decref(watch->instance);
    watch->instance = NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

const char *batond_watch_phase(const batond_watch *watch)
{
    return text_of(watch->status, "phase");
}

const char *batond_watch_nonce(const batond_watch *watch)
{
    return text_of(watch->instance, "nonce");
}

/* ---- answers ---- */

static void tell_instance(const batond_watch *watch)
{
    const json_t *pid = json_object_get(watch->instance, "pid");
    baton_log(INFO, "batond.service_seen",
              BATON_LOG_TEXT("service", text_of(watch->instance, "service")),
              BATON_LOG_TEXT("version", text_of(watch->instance, "version")),
              BATON_LOG_NUMBER("pid", json_integer_value(pid)),
              BATON_LOG_TEXT("nonce", batond_watch_nonce(watch)),
              BATON_LOG_TEXT("phase", batond_watch_phase(watch)));
}

/* An answer of a Baton service names its instance; anything else is somebody else's socket. */
static bool take_instance(batond_watch *watch, const json_t *answer)
{
    json_t *instance = json_object_get(answer, "instance");
    if (text_of(instance, "nonce")[0] == '\0' || text_of(instance, "service")[0] == '\0' ||
        !json_is_string(json_object_get(instance, "version")) ||
        !json_is_integer(json_object_get(instance, "pid")))
        return false;
    const bool is_new = strcmp(batond_watch_nonce(watch), text_of(instance, "nonce")) != 0;
    json_decref(watch->instance);
    watch->instance = json_incref(instance);
    if (is_new)
        watch->instances_count++;
    if (is_new || watch->told_absent)
        tell_instance(watch);
    watch->told_absent = false;
    return true;
}

static void take_metrics(batond_watch *watch, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "metrics"));
    free(watch->metrics);
    watch->metrics = text != NULL ? strdup(text) : NULL; /* refused: it hydrates, or is older */
    watch->metrics_ns = now();
    watch->wants_metrics = false;
}

static void take_status(batond_watch *watch, json_t *answer)
{
    json_decref(watch->status);
    watch->status = json_incref(answer);
    watch->status_ns = now();
    watch->wants_status = false;
}

static int take_answer(batond_watch *watch, const char *line)
{
    json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const bool refused = !json_is_true(json_object_get(answer, "ok"));
    if (watch->asked == BATOND_ASKS_STATUS && json_is_object(answer))
        take_status(watch, answer); /* before its instance is told: with its phase */
    const bool fits = watch->asked != BATOND_ASKS_NOTHING && take_instance(watch, answer) &&
                      !(refused && watch->asked == BATOND_ASKS_STATUS);
    if (fits && watch->asked == BATOND_ASKS_METRICS)
        take_metrics(watch, answer);
    if (fits && watch->told_silent)
        baton_log(INFO, "batond.service_answers_again",
                  BATON_LOG_NUMBER("after_ms", (now() - watch->silent_since_ns) / 1000000));
    if (fits)
        watch->told_silent = false;
    watch->asked = BATOND_ASKS_NOTHING;
    watch->silent_since_ns = 0;
    if (!fits)
        baton_error_set(&watch->why, BATON_E_INVALID, watch->path,
                        refused ? text_of(json_object_get(answer, "error"), "why")
                                : "its answer is none of a Baton service",
                        "is this its control socket, and yours to use?");
    json_decref(answer);
    return fits ? 0 : BATON_E_INVALID;
}

static void note_absent(batond_watch *watch)
{
    if (!watch->told_absent)
        baton_log(WARN, "batond.no_service", BATON_LOG_TEXT("socket", watch->path),
                  BATON_LOG_TEXT("why", watch->why.why));
    watch->told_absent = true;
    watch->absent = true;
    watch->absent_ns = now();
    watch->wants_status = watch->wants_metrics = false;
    watch->silent_since_ns = 0;
    watch->told_silent = false;
}

static void on_socket(void *context, int fd, uint32_t events);

/* False when it had to hang up. */
static bool go_on(batond_watch *watch)
{
    const int r = baton_control_call_send(&watch->call);
    const uint32_t events = EPOLLIN | (r == 1 ? EPOLLOUT : 0);
    if (r >= 0 && baton_loop_watch_fd(watch->loop, watch->call.fd, events, on_socket, watch) == 0)
        return true;
    hang_up(watch);
    return false;
}

static void on_socket(void *context, int fd, uint32_t events)
{
    batond_watch *watch = context;
    const char *line;
    int r;
    (void)fd, (void)events;
    while ((r = baton_control_call_line(&watch->call, &line)) == 1)
        if (take_answer(watch, line) < 0)
            break;
    if (r == 1) { /* not one of ours: as good as nobody, and not tried again at once */
        hang_up(watch);
        note_absent(watch);
    } else if (r < 0) {
        hang_up(watch); /* it ended, or made room for others: the next step finds out */
    } else {
        (void)go_on(watch);
    }
}

/* ---- questions ---- */

static void reach_out(batond_watch *watch, uint64_t now_ns)
{
    baton_error error = {0};
    watch->tried_ns = now_ns;
    const int r = baton_control_call_open(&watch->call, watch->path, &error);
    if (r == 0) {
        watch->absent = false;
        watch->wants_status = true;
        return;
    }
    watch->why = error;
    if (r != BATON_E_AGAIN)
        note_absent(watch);
    else if (watch->silent_since_ns == 0)
        watch->silent_since_ns = now_ns;
}

static void ask(batond_watch *watch, batond_question question, uint64_t now_ns)
{
    watch->asked = question;
    watch->asked_ns[question] = now_ns;
    if (watch->silent_since_ns == 0)
        watch->silent_since_ns = now_ns;
    if (baton_control_call_ask(&watch->call, question == BATOND_ASKS_STATUS ? "status" : "metrics",
                               NULL) == 0)
        (void)go_on(watch);
    else
        hang_up(watch);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the next attempt or question is due: soon for somebody who waits, else the probe's. */
static uint64_t due(uint64_t last_ns, bool wanted)
{
    return last_ns == 0 ? 0 : last_ns + (wanted ? BATOND_PACE_NS : BATOND_PROBE_NS);
}

static void note_silent(batond_watch *watch)
{
    if (!watch->told_silent)
        baton_log(WARN, "batond.service_silent", BATON_LOG_TEXT("socket", watch->path),
                  BATON_LOG_TEXT("phase", batond_watch_phase(watch)));
    watch->told_silent = true;
}

uint64_t batond_watch_step(batond_watch *watch, uint64_t now_ns)
{
    const uint64_t tries_ns =
        due(watch->tried_ns, watch->wants_status || watch->wants_metrics || !watch->absent);
    if (watch->call.fd < 0 && tries_ns <= now_ns)
        reach_out(watch, now_ns);
    if (batond_watch_reach(watch, now_ns) == BATOND_SILENT)
        note_silent(watch);
    if (watch->call.fd < 0)
        return due(watch->tried_ns, watch->wants_status || watch->wants_metrics || !watch->absent);

    const uint64_t metrics_ns =
        watch->wants_metrics ? due(watch->asked_ns[BATOND_ASKS_METRICS], true) : UINT64_MAX;
    const uint64_t status_ns = due(watch->asked_ns[BATOND_ASKS_STATUS], watch->wants_status);
    if (watch->asked == BATOND_ASKS_NOTHING && status_ns <= now_ns)
        ask(watch, BATOND_ASKS_STATUS, now_ns);
    else if (watch->asked == BATOND_ASKS_NOTHING && metrics_ns <= now_ns)
        ask(watch, BATOND_ASKS_METRICS, now_ns);
    else if (watch->asked == BATOND_ASKS_NOTHING)
        return earlier(status_ns, metrics_ns);
    if (watch->call.fd < 0)
        return now_ns + BATOND_PACE_NS;
    const uint64_t silent_ns = watch->silent_since_ns + watch->answer_timeout_ns;
    return silent_ns > now_ns ? silent_ns : UINT64_MAX; /* its answer wakes us */
}

/* ---- what those who wait are told ---- */

static bool is_of_that_time(uint64_t told_ns, uint64_t since_ns)
{
    return told_ns != 0 && told_ns + BATOND_PACE_NS >= since_ns;
}

void batond_watch_want_status(batond_watch *watch, uint64_t since_ns)
{
    const uint64_t told_ns = watch->absent ? watch->absent_ns : watch->status_ns;
    if (!is_of_that_time(told_ns, since_ns))
        watch->wants_status = true;
}

void batond_watch_want_metrics(batond_watch *watch, uint64_t since_ns)
{
    const uint64_t told_ns = watch->absent ? watch->absent_ns : watch->metrics_ns;
    if (!is_of_that_time(told_ns, since_ns))
        watch->wants_metrics = true;
}

batond_reach batond_watch_reach(const batond_watch *watch, uint64_t now_ns)
{
    if (watch->silent_since_ns != 0 && now_ns - watch->silent_since_ns > watch->answer_timeout_ns)
        return BATOND_SILENT;
    if (watch->call.fd < 0)
        return watch->absent ? BATOND_ABSENT : BATOND_UNKNOWN;
    return watch->status != NULL ? BATOND_ANSWERS : BATOND_UNKNOWN;
}

bool batond_watch_settled(const batond_watch *watch, uint64_t since_ns, uint64_t now_ns)
{
    const bool late = now_ns >= since_ns && now_ns - since_ns >= watch->answer_timeout_ns;
    switch (batond_watch_reach(watch, now_ns)) {
    case BATOND_ANSWERS:
        return late || is_of_that_time(watch->status_ns, since_ns);
    case BATOND_ABSENT:
        return late || is_of_that_time(watch->absent_ns, since_ns);
    case BATOND_SILENT:
        return true;
    case BATOND_UNKNOWN:
        return late;
    }
    return true;
}

bool batond_watch_metrics_settled(const batond_watch *watch, uint64_t since_ns, uint64_t now_ns)
{
    const bool late = now_ns >= since_ns && now_ns - since_ns >= watch->answer_timeout_ns;
    if (batond_watch_reach(watch, now_ns) == BATOND_ANSWERS)
        return late || is_of_that_time(watch->metrics_ns, since_ns);
    return batond_watch_settled(watch, since_ns, now_ns);
}
