/* drain/batond/routes.c: what each path answers. */
#include <stdlib.h>
#include <string.h>

#include <baton/clock.h>

#include "drain/batond/body.h"
#include "drain/batond/sidecar.h"
#include "drain/batond/token.h"
#include "drain/describe.h"

#define TELL_REFUSED_NS UINT64_C(1000000000)

typedef enum { ROUTE_LOOK, ROUTE_METRICS, ROUTE_ACT } route_kind;

typedef struct {
    const char *path;
    route_kind kind;
    bool at_once;              /* answers from what is known: never waits for the service */
    const char *word;          /* of the control protocol */
    const char *const *fields; /* that the body may hold; ends with NULL */
    unsigned (*look)(const batond_view *view, json_t **ret_body);
} endpoint;

static const char *const only_nonce[] = {"nonce", NULL};
static const char *const of_handover[] = {"nonce", "to", "max_gap_ms", NULL};

static const endpoint routes[] = {
    {.path = "/health", .kind = ROUTE_LOOK, .look = batond_view_health},
    {.path = "/livez", .kind = ROUTE_LOOK, .at_once = true, .look = batond_view_live},
    {.path = "/readyz", .kind = ROUTE_LOOK, .look = batond_view_ready},
    {.path = "/startupz", .kind = ROUTE_LOOK, .look = batond_view_started},
    {.path = "/metrics", .kind = ROUTE_METRICS},
    {.path = "/drain", .kind = ROUTE_ACT, .word = "drain", .fields = only_nonce},
    {.path = "/snapshot", .kind = ROUTE_ACT, .word = "snapshot", .fields = only_nonce},
    {.path = "/finalize", .kind = ROUTE_ACT, .word = "finalize", .fields = only_nonce},
    {.path = "/handover", .kind = ROUTE_ACT, .word = "handover", .fields = of_handover},
};
#define ROUTES ((uint32_t)(sizeof(routes) / sizeof(routes[0])))

static uint32_t find(const char *path)
{
    uint32_t i = 0;
    while (i < ROUTES && strcmp(routes[i].path, path) != 0)
        i++;
    return i;
}

static bool is_allowed(const endpoint *route, const char *method)
{
    if (route->kind == ROUTE_ACT)
        return strcmp(method, "POST") == 0;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* ---- who may change something ---- */

static void tell_refused(batond_sidecar *sidecar, const batond_request *request, const char *why)
{
    sidecar->refused_total++;
    if (sidecar->refused_told_ns != 0 &&
        request->arrived_ns - sidecar->refused_told_ns < TELL_REFUSED_NS)
        return;
    baton_log(WARN, "batond.refused", BATON_LOG_TEXT("path", routes[request->route].path),
              BATON_LOG_TEXT("why", why),
              BATON_LOG_NUMBER("times", sidecar->refused_total - sidecar->refused_told_total));
    sidecar->refused_told_ns = request->arrived_ns;
    sidecar->refused_told_total = sidecar->refused_total;
}

static int refuse(batond_sidecar *sidecar, batond_request *request, unsigned code, const char *why,
                  const char *todo)
{
    tell_refused(sidecar, request, why);
    baton_error_set(&request->error, BATON_E_REFUSED, routes[request->route].path, why, todo);
    return (int)code;
}

/* 0, or the HTTP status of the refusal, with request->error. */
static int check_token(batond_sidecar *sidecar, batond_request *request)
{
    batond_token token;
    baton_error error = {0};
    if (!request->is_private)
        return refuse(sidecar, request, 403,
                      "a token may not come in the clear from another machine",
                      "serve TLS (--tls-cert, --tls-key), or ask from this machine; and replace "
                      "that token");
    if (sidecar->config->token_path == NULL)
        return refuse(sidecar, request, 403, "nothing can be changed here without a token",
                      "start batond with --token-file");
    int r = batond_token_read(&token, sidecar->config->token_path, &error);
    const bool fits = r == 0 && batond_token_fits(&token, request->authorization);
    batond_token_wipe(&token);
    if (r < 0)
        return refuse(sidecar, request, 503, error.why, error.todo);
    return fits ? 0
                : refuse(sidecar, request, 401, "the bearer token is missing or wrong",
                         "send Authorization: Bearer TOKEN");
}

static bool read_query(batond_request *request)
{
    const char *wait =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "wait");
    request->wait_for_end = wait != NULL && strcmp(wait, "yes") == 0;
    return wait == NULL || request->wait_for_end || strcmp(wait, "no") == 0;
}

static void begin_action(batond_sidecar *sidecar, batond_request *request)
{
    const endpoint *route = &routes[request->route];
    json_t *fields = NULL;
    request->status = check_token(sidecar, request);
    if (request->status == 0 &&
        (!batond_body_read(request->body, request->body_bytes, route->fields, &fields) ||
         !read_query(request)))
        request->status = refuse(sidecar, request, 400, "the body or the query is not understood",
                                 "send no body, or {\"nonce\":\"...\"}; of /drain, wait is yes or "
                                 "no; see batond --help");
    if (request->status == 0 &&
        batond_watch_reach(&sidecar->watch, request->arrived_ns) == BATOND_SILENT) {
        request->status = 503;
        baton_error_set(&request->error, BATON_E_AGAIN, route->path,
                        "the service does not answer; it was not asked", "look at /health");
    }
    if (request->status == 0) {
        const int r = batond_action_begin(&sidecar->actions, route->word, fields, &request->action,
                                          &request->error);
        if (r < 0)
            request->status = r == BATON_E_FULL ? 429 : 503;
        else
            baton_log(INFO, "batond.asked", BATON_LOG_TEXT("path", route->path));
    }
    json_decref(fields);
}

/* ---- when ---- */

uint64_t batond_route_deadline_ns(const batond_sidecar *sidecar, const batond_request *request)
{
    return request->arrived_ns + (routes[request->route].kind == ROUTE_ACT
                                      ? sidecar->config->action_timeout_ns
                                      : sidecar->config->answer_timeout_ns);
}

static bool action_is_answered(const batond_request *request)
{
    switch (request->action->state) {
    case BATOND_ACTION_ACCEPTED:
        return !request->wait_for_end;
    case BATOND_ACTION_DONE:
    case BATOND_ACTION_LOST:
        return true;
    case BATOND_ACTION_ASKED:
    case BATOND_ACTION_LISTENS:
    case BATOND_ACTION_FREE:
        return false;
    }
    return true;
}

static void begin(batond_sidecar *sidecar, batond_request *request)
{
    request->begun = true;
    request->route = find(request->path);
    if (request->route == ROUTES || !is_allowed(&routes[request->route], request->method))
        return;
    if (routes[request->route].kind == ROUTE_ACT)
        begin_action(sidecar, request);
    else
        batond_watch_want_status(&sidecar->watch, request->arrived_ns);
    if (routes[request->route].kind == ROUTE_METRICS)
        batond_watch_want_metrics(&sidecar->watch, request->arrived_ns);
}

bool batond_route_ready(void *context, batond_request *request, uint64_t now_ns)
{
    batond_sidecar *sidecar = context;
    if (!request->begun)
        begin(sidecar, request);
    if (request->route == ROUTES || !is_allowed(&routes[request->route], request->method))
        return true;
    const endpoint *route = &routes[request->route];
    if (route->kind == ROUTE_ACT)
        return request->action == NULL || action_is_answered(request) ||
               now_ns >= batond_route_deadline_ns(sidecar, request);
    if (route->at_once)
        return true;
    if (route->kind == ROUTE_METRICS &&
        !batond_watch_metrics_settled(&sidecar->watch, request->arrived_ns, now_ns))
        return false;
    return batond_watch_settled(&sidecar->watch, request->arrived_ns, now_ns);
}

/* ---- what ---- */

/* Takes over object. */
static void set_body(batond_reply *reply, json_t *object)
{
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    reply->body = line;
    if (line != NULL) {
        reply->body_bytes = strlen(line) + 1;
        line[reply->body_bytes - 1] = '\n'; /* its terminator's place: the length is known */
    }
}

static void reply_error(batond_reply *reply, unsigned code, const baton_error *error,
                        const json_t *instance)
{
    reply->code = code;
    reply->ask_for_token = code == 401;
    reply->come_again = code == 429 || code == 503;
    set_body(reply, json_pack("{s:b, s:o, s:o}", "ok", 0, "instance",
                              instance != NULL ? json_deep_copy(instance) : json_null(), "error",
                              baton_describe_error(error)));
}

static void reply_plain_error(batond_reply *reply, unsigned code, const char *what, const char *why,
                              const char *todo, const json_t *instance)
{
    baton_error error;
    baton_error_set(&error, BATON_E_INVALID, what, why, todo);
    reply_error(reply, code, &error, instance);
}

/* A service that says no: to come again, that it can't be now, or that it went wrong. */
static unsigned code_of_refusal(const json_t *answer)
{
    const char *status =
        json_string_value(json_object_get(json_object_get(answer, "error"), "status"));
    if (status == NULL)
        return 500;
    if (strcmp(status, "BATON_E_AGAIN") == 0)
        return 503;
    return strcmp(status, "BATON_E_SEALED") == 0 || strcmp(status, "BATON_E_REFUSED") == 0 ? 409
                                                                                           : 500;
}

static void reply_action(const batond_request *request, batond_reply *reply, const json_t *instance)
{
    const batond_action *action = request->action;
    const bool ok = json_is_true(json_object_get(action->answer, "ok"));
    const json_t *named = json_object_get(action->answer, "instance");
    if (!action_is_answered(request)) {
        reply_plain_error(reply, 504, routes[request->route].path,
                          "no answer in time; the service was asked, and may still do it",
                          "look at /health", instance);
        return;
    }
    if (action->state == BATOND_ACTION_LOST) {
        reply_plain_error(reply, 502, routes[request->route].path,
                          "the service ended without an answer; it may have done it",
                          "look at /health and at its log", named != NULL ? named : instance);
        return;
    }
    reply->code = !ok                                       ? code_of_refusal(action->answer)
                  : action->state == BATOND_ACTION_ACCEPTED ? 202
                                                            : 200;
    reply->come_again = reply->code == 503;
    batond_view_instance_text(named != NULL ? named : instance, reply->instance);
    set_body(reply, json_incref(action->answer));
}

static void reply_act(const batond_request *request, batond_reply *reply, const json_t *instance)
{
    if (request->action == NULL)
        reply_error(reply, request->status > 0 ? (unsigned)request->status : 500, &request->error,
                    instance);
    else
        reply_action(request, reply, instance);
}

static void reply_look(batond_sidecar *sidecar, const batond_request *request, batond_reply *reply,
                       const batond_view *view)
{
    const endpoint *route = &routes[request->route];
    json_t *body = NULL;
    reply->code = route->look(view, &body);
    reply->come_again = reply->code == 503;
    set_body(reply, body);
    const json_t *drained = json_object_get(view->last_drain, "instance");
    if (sidecar->drain_seen && route->look == batond_view_health && drained != NULL &&
        json_equal(drained, view->instance))
        sidecar->report_was_fetched = true;
}

void batond_route_reply(void *context, batond_request *request, batond_reply *reply)
{
    batond_sidecar *sidecar = context;
    const batond_view view =
        batond_sidecar_view(sidecar, baton_clock_monotonic_ns(baton_clock_system()));
    char text[BATOND_INSTANCE_TEXT_BYTES];
    snprintf(reply->instance, sizeof(reply->instance), "%s",
             batond_view_instance_text(view.instance, text));
    if (!request->begun)
        request->route = find(request->path);
    const endpoint *route = request->route < ROUTES ? &routes[request->route] : NULL;
    if (request->is_too_large) {
        reply_plain_error(reply, 413, "request", "its body is larger than 1024 bytes",
                          "send none, or {\"nonce\":\"...\"}", view.instance);
    } else if (route == NULL) {
        reply_plain_error(reply, 404, "request", "there is no such path", "see batond --help",
                          view.instance);
    } else if (!is_allowed(route, request->method)) {
        reply->allow = route->kind == ROUTE_ACT ? "POST" : "GET, HEAD";
        reply_plain_error(reply, 405, route->path, "not by this method", "see batond --help",
                          view.instance);
    } else if (route->kind == ROUTE_ACT) {
        reply_act(request, reply, view.instance);
    } else if (route->kind == ROUTE_LOOK) {
        reply_look(sidecar, request, reply, &view);
    } else {
        reply->code = 200;
        reply->type = "text/plain; version=0.0.4; charset=utf-8";
        reply->body = batond_numbers_print(sidecar, &view, &reply->body_bytes);
    }
    batond_numbers_count(sidecar, route != NULL ? route->path : "other", reply->code);
}

void batond_route_forget(void *context, batond_request *request)
{
    (void)context;
    if (request->action != NULL)
        batond_action_release(request->action);
    request->action = NULL;
}
