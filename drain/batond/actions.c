/* drain/batond/actions.c: see actions.h. */
#include "drain/batond/actions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <baton/log.h>

void batond_actions_init(batond_actions *actions, baton_loop *loop, const char *path)
{
    *actions = (batond_actions){.loop = loop, .path = path};
    for (uint32_t i = 0; i < BATOND_ACTIONS_MAX; i++)
        actions->all[i] = (batond_action){.actions = actions, .call = BATON_CONTROL_CALL_CLOSED};
}

static void hang_up(batond_action *action)
{
    if (action->call.fd >= 0)
        baton_loop_unwatch_fd(action->actions->loop, action->call.fd);
    baton_control_call_close(&action->call);
}

static void make_free(batond_action *action)
{
    hang_up(action);
    json_decref(action->answer);
    action->answer = NULL;
    action->state = BATOND_ACTION_FREE;
}

void batond_actions_fini(batond_actions *actions)
{
    for (uint32_t i = 0; i < BATOND_ACTIONS_MAX; i++)
        make_free(&actions->all[i]);
    json_decref(actions->last_drain);
    actions->last_drain = NULL;
}

/* Nobody waits for it, and nothing more of it will come. */
static void free_when_over(batond_action *action)
{
    if (action->waiters == 0 &&
        (action->state == BATOND_ACTION_DONE || action->state == BATOND_ACTION_LOST))
        make_free(action);
}

void batond_action_release(batond_action *action)
{
    action->waiters--;
    if (action->waiters == 0 && action->state == BATOND_ACTION_ASKED)
        make_free(action); /* it may never answer */
    else
        free_when_over(action);
}

/* The report; or, without one, that there is none: the service was killed, or ended itself. */
static void keep_report(batond_action *action, json_t *report)
{
    batond_actions *actions = action->actions;
    const bool ok = json_is_true(json_object_get(report, "ok"));
    const json_t *drain = json_object_get(report, "drain");
    const char *outcome = json_string_value(json_object_get(drain, "outcome"));
    json_t *instance = json_object_get(report != NULL ? report : action->answer, "instance");
    if (json_is_object(json_object_get(actions->last_drain, "drain")) &&
        json_equal(json_object_get(actions->last_drain, "instance"), instance))
        return; /* it came on another connection, too */
    json_decref(actions->last_drain);
    actions->drains_count++;
    actions->last_drain = json_pack("{s:b, s:O?, s:O?, s:O?}", "ok", (int)ok, "instance", instance,
                                    "seq", json_object_get(report, "seq"), "drain", drain);
    const char *nonce = json_string_value(json_object_get(instance, "nonce"));
    baton_log_event(ok ? BATON_LOG_INFO : BATON_LOG_WARN, "batond.drain_end",
                    (const baton_log_field[]){
                        BATON_LOG_TEXT("outcome", outcome != NULL ? outcome : "no report"),
                        BATON_LOG_TEXT("nonce", nonce != NULL ? nonce : ""),
                    },
                    2);
}

static const char *nonce_of(const json_t *instance)
{
    const char *nonce = json_string_value(json_object_get(instance, "nonce"));
    return nonce != NULL ? nonce : "";
}

static void take_line(batond_action *action, const char *line)
{
    json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const bool ok = json_is_true(json_object_get(answer, "ok"));
    const bool listens = action->state == BATOND_ACTION_LISTENS;
    const bool is_report = action->state == BATOND_ACTION_ACCEPTED || listens;
    if (is_report && (!listens || json_is_object(json_object_get(answer, "drain"))))
        keep_report(action, answer);
    else if (listens) /* an older service: follow its drain when it is seen to drain */
        snprintf(action->actions->deaf, sizeof(action->actions->deaf), "%s",
                 nonce_of(json_object_get(action->answer, "instance")));
    json_decref(action->answer);
    action->answer = answer;
    action->state =
        action->is_drain && ok && !is_report ? BATOND_ACTION_ACCEPTED : BATOND_ACTION_DONE;
}

static void on_socket(void *context, int fd, uint32_t events);

static void lose(batond_action *action)
{
    hang_up(action);
    if (action->state == BATOND_ACTION_ACCEPTED)
        keep_report(action, NULL);
    action->state = BATOND_ACTION_LOST;
}

static void go_on(batond_action *action)
{
    const int r = baton_control_call_send(&action->call);
    const uint32_t events = EPOLLIN | (r == 1 ? EPOLLOUT : 0);
    /* Hung up: it may have answered before, so that is read. */
    if (baton_loop_watch_fd(action->actions->loop, action->call.fd, events, on_socket, action) < 0)
        lose(action);
}

static void on_socket(void *context, int fd, uint32_t events)
{
    batond_action *action = context;
    const char *line;
    int r = 0;
    (void)fd, (void)events;
    while (action->state != BATOND_ACTION_DONE &&
           (r = baton_control_call_line(&action->call, &line)) == 1)
        take_line(action, line);
    if (action->state == BATOND_ACTION_DONE)
        hang_up(action);
    else if (r < 0)
        lose(action);
    else
        go_on(action);
    free_when_over(action);
}

static int begin(batond_action *action, const char *word, const json_t *fields, baton_error *error)
{
    int r = baton_control_call_open(&action->call, action->actions->path, error);
    if (r < 0)
        return r;
    r = baton_control_call_ask(&action->call, word, fields);
    if (r < 0) {
        hang_up(action);
        return baton_error_set(error, r, "control request", NULL, "give the process more memory");
    }
    action->state = BATOND_ACTION_ASKED;
    action->is_drain = strcmp(word, "drain") == 0;
    go_on(action);
    return 0;
}

int batond_action_begin(batond_actions *actions, const char *word, const json_t *fields,
                        batond_action **ret_action, baton_error *error)
{
    for (uint32_t i = 0; i < BATOND_ACTIONS_MAX - 1; i++) {
        batond_action *action = &actions->all[i];
        if (action->state != BATOND_ACTION_FREE)
            continue;
        const int r = begin(action, word, fields, error);
        if (r < 0)
            return r;
        action->waiters = 1;
        *ret_action = action;
        return 0;
    }
    return baton_error_set(error, BATON_E_FULL, "control request",
                           "too many are waiting for their answers", "ask again later");
}

int batond_action_begin_drain(batond_actions *actions, const char *nonce,
                              batond_action **ret_action, baton_error *error)
{
    json_t *fields = json_pack("{s:s}", "nonce", nonce);
    const int r = fields != NULL ? batond_action_begin(actions, "drain", fields, ret_action, error)
                                 : baton_error_set(error, -ENOMEM, "control request", NULL,
                                                   "give the process more memory");
    json_decref(fields);
    return r;
}

bool batond_actions_drain_under_way(const batond_actions *actions)
{
    for (uint32_t i = 0; i < BATOND_ACTIONS_MAX; i++) {
        const batond_action *action = &actions->all[i];
        if (action->is_drain &&
            (action->state == BATOND_ACTION_ASKED || action->state == BATOND_ACTION_ACCEPTED))
            return true;
    }
    return false;
}

bool batond_actions_is_listening(const batond_actions *actions)
{
    return actions->all[BATOND_ACTIONS_MAX - 1].state == BATOND_ACTION_LISTENS;
}

/* Asking a drain that has begun to begin changes nothing (H1): so an older service is asked. The
 * nonce is why no other instance could be hit. */
void batond_actions_listen(batond_actions *actions, const json_t *instance, bool drains)
{
    baton_error error = {0};
    const char *nonce = nonce_of(instance);
    batond_action *action = &actions->all[BATOND_ACTIONS_MAX - 1];
    const bool deaf = strcmp(actions->deaf, nonce) == 0;
    if (action->state == BATOND_ACTION_LISTENS && drains)
        action->state = BATOND_ACTION_ACCEPTED;
    if (action->state != BATOND_ACTION_FREE || (deaf && !drains) ||
        strcmp(nonce_of(json_object_get(actions->last_drain, "instance")), nonce) == 0)
        return;
    json_t *fields = json_pack("{s:s}", "nonce", nonce);
    const int r =
        fields != NULL ? begin(action, deaf ? "drain" : "await_drain", fields, &error) : -ENOMEM;
    json_decref(fields);
    if (r < 0) { /* it has just ended, or is about to be asked again */
        baton_log(DEBUG, "batond.drain_not_followed", BATON_LOG_TEXT("why", error.why));
        return;
    }
    if (!deaf && action->state == BATOND_ACTION_ASKED) {
        action->state = drains ? BATOND_ACTION_ACCEPTED : BATOND_ACTION_LISTENS;
        action->is_drain = true;
        action->answer = json_pack("{s:O}", "instance", instance);
    }
}
