/* drain/control_request.c: the words of control protocol 1.
 *
 *   {"baton":1,"do":"status"}    {"baton":1,"ok":true,"do":"status","instance":{...},"seq":...}
 *   {"baton":1,"do":"metrics"}   "metrics": the service's own, as Prometheus text
 *   {"baton":1,"do":"drain"}     "accepted" at once, and a report line at the end of the process
 *   {"baton":1,"do":"await_drain"}    that report line alone, whoever begins the drain
 *   {"baton":1,"do":"snapshot"}  when it is published
 *   {"baton":1,"do":"finalize"}  the schema that is written from here on
 *   {"baton":1,"do":"handover","to":"...","max_gap_ms":250,"path":"auto","snapshot_gap_ms":10000,
 *    "run_epoch":7}              when the successor serves, or this one again
 *   {"baton":1,"do":"promote","force":true}   when this standby, or undecided one, serves
 *   {"baton":1,"do":"follow","of":"..."}   a standby: whom, from here on
 *
 * With "nonce":"...", a request is refused unless it names this very instance. Unknown words and
 * fields are refused, never skipped (E7). */
#include "drain/control_client.h"

#include <stdlib.h>
#include <string.h>

#define MAX_GAP_MS          250
#define GAP_MS_MAX          60000
#define SNAPSHOT_GAP_MS     10000
#define SNAPSHOT_GAP_MS_MAX 600000

static const char *const words[] = {"status",   "drain",   "snapshot",    "finalize", "follow",
                                    "handover", "metrics", "await_drain", "promote",  NULL};
typedef enum {
    WORD_STATUS,
    WORD_DRAIN,
    WORD_SNAPSHOT,
    WORD_FINALIZE,
    WORD_FOLLOW,
    WORD_HANDOVER,
    WORD_METRICS,
    WORD_AWAIT_DRAIN,
    WORD_PROMOTE,
    WORDS
} request_word;

static json_t *envelope(const baton_control *control, const char *word, bool ok)
{
    return json_pack("{s:i, s:b, s:o*, s:o}", "baton", BATON_CONTROL_PROTOCOL, "ok", (int)ok, "do",
                     word != NULL ? json_string(word) : NULL, "instance",
                     baton_describe_instance(&control->instance));
}

json_t *baton_control_refusal(const baton_control *control, const char *word,
                              const baton_error *error)
{
    json_t *answer = envelope(control, word, false);
    if (answer != NULL)
        json_object_set_new(answer, "error", baton_describe_error(error));
    return answer;
}

static void refuse(baton_control_client *client, const char *word, int status, const char *why,
                   const char *todo)
{
    baton_error error;
    baton_error_set(&error, status, "control request", why, todo);
    baton_control_answer(client, baton_control_refusal(client->control, word, &error));
}

/* What was asked for has begun, or not. */
static void wait_or_refuse(baton_control_client *client, request_word word,
                           baton_control_waits waits, int began, const baton_error *error)
{
    if (began < 0)
        baton_control_answer(client, baton_control_refusal(client->control, words[word], error));
    else
        client->waits = waits;
}

/* It is over when `state` says so, with a report of it under that name, or why it was not done. */
static bool report_step(baton_control_client *client, request_word word, const char *name,
                        int (*state)(void *context, json_t **ret_report, baton_error *error))
{
    const baton_control *control = client->control;
    json_t *report = NULL;
    baton_error error = {0};
    int r = state(control->actions.context, &report, &error);
    if (r == 0)
        return false;
    client->waits = BATON_CONTROL_WAITS_NONE;
    json_t *answer = r < 0 ? baton_control_refusal(control, words[word], &error)
                           : envelope(control, words[word], true);
    if (report != NULL)
        json_object_set_new(answer, name, report); /* which it takes, also without memory */
    baton_control_answer(client, answer);
    return true;
}

static void answer_status(baton_control_client *client)
{
    const baton_control *control = client->control;
    json_t *answer = envelope(control, words[WORD_STATUS], true);
    json_t *status = control->actions.status(control->actions.context);
    if (answer != NULL && status != NULL)
        json_object_update(answer, status);
    json_decref(status);
    baton_control_answer(client, answer);
}

static void answer_metrics(baton_control_client *client)
{
    const baton_control *control = client->control;
    char *text = NULL;
    size_t bytes = 0;
    const int r = baton_metrics_print(baton_engine_metrics(control->engine), &text, &bytes);
    if (r < 0) {
        refuse(client, words[WORD_METRICS], r, NULL, "give the process more memory");
        return;
    }
    json_t *answer = envelope(control, words[WORD_METRICS], true);
    if (answer != NULL)
        json_object_set_new(answer, "metrics", baton_describe_text(text));
    free(text);
    baton_control_answer(client, answer);
}

static void begin_drain(baton_control_client *client)
{
    const baton_control *control = client->control;
    const bool began = control->actions.drain(control->actions.context);
    json_t *answer = envelope(control, words[WORD_DRAIN], true);
    if (answer != NULL) {
        json_object_set_new(answer, "accepted", json_true());
        json_object_set_new(answer, "already", json_boolean(!began));
    }
    baton_control_answer(client, answer);
    client->waits = BATON_CONTROL_WAITS_DRAIN;
}

/* Answered when the fact is durable: who is told so may throw the old version away. */
static bool finalize_step(baton_control_client *client)
{
    const baton_control *control = client->control;
    baton_error error = {0};
    baton_engine_status status;
    int r = baton_engine_finalize(control->engine, &error);
    if (r == BATON_E_AGAIN)
        return false;
    client->waits = BATON_CONTROL_WAITS_NONE;
    if (r == 0)
        r = baton_engine_status_get(control->engine, &status);
    if (r < 0) {
        baton_control_answer(client, baton_control_refusal(control, words[WORD_FINALIZE], &error));
        return true;
    }
    json_t *answer = envelope(control, words[WORD_FINALIZE], true);
    if (answer != NULL)
        json_object_set_new(answer, "schema", baton_describe_number(status.schema));
    baton_control_answer(client, answer);
    return true;
}

static bool is_one_of(const char *key, const char *const *keys)
{
    while (*keys != NULL && strcmp(key, *keys) != 0)
        keys++;
    return *keys != NULL;
}

static bool knows_field(const char *word, const char *key)
{
    static const char *const all[] = {"baton", "do", "nonce", NULL};
    static const char *const of_handover[] = {"to",        "max_gap_ms", "path", "snapshot_gap_ms",
                                              "run_epoch", NULL};
    static const char *const of_promote[] = {"force", NULL};
    static const char *const of_follow[] = {"of", NULL};
    return is_one_of(key, all) ||
           (strcmp(word, words[WORD_HANDOVER]) == 0 && is_one_of(key, of_handover)) ||
           (strcmp(word, words[WORD_PROMOTE]) == 0 && is_one_of(key, of_promote)) ||
           (strcmp(word, words[WORD_FOLLOW]) == 0 && is_one_of(key, of_follow));
}

/* The request's own checks; -1 when it was answered with a refusal. */
static int check(baton_control_client *client, json_t *request)
{
    const json_t *protocol = json_object_get(request, "baton");
    const char *word = json_string_value(json_object_get(request, "do"));
    const json_t *nonce = json_object_get(request, "nonce");
    const char *key;
    json_t *value;

    if (!json_is_integer(protocol) || word == NULL) {
        refuse(client, NULL, BATON_E_INVALID, "it is no {\"baton\":1,\"do\":\"...\"}",
               "send one JSON object per line");
        return -1;
    }
    if (json_integer_value(protocol) != BATON_CONTROL_PROTOCOL) {
        refuse(client, NULL, BATON_E_NEWER_FORMAT, "this service speaks control protocol 1",
               "use the baton command of its version");
        return -1;
    }
    json_object_foreach(request, key, value)
    {
        if (!knows_field(word, key)) {
            refuse(client, NULL, BATON_E_UNKNOWN_TYPE,
                   "it has a field that this service does not know",
                   "use the baton command of its version");
            return -1;
        }
    }
    if (nonce != NULL && (!json_is_string(nonce) ||
                          strcmp(json_string_value(nonce), client->control->instance.nonce) != 0)) {
        refuse(client, NULL, BATON_E_REFUSED, "another instance is meant: the nonce differs",
               "ask for status, and look what runs here now");
        return -1;
    }
    for (int i = 0; i < WORDS; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    refuse(client, NULL, BATON_E_UNKNOWN_TYPE,
           "it asks for something that this service does not know",
           "ask for status, drain, snapshot, finalize, follow, handover or promote");
    return -1;
}

/* A number of milliseconds, or not said. */
static bool read_ms(const json_t *request, const char *key, json_int_t otherwise, json_int_t max,
                    uint64_t *ret_ns)
{
    const json_t *value = json_object_get(request, key);
    const json_int_t ms = value == NULL ? otherwise : json_integer_value(value);
    *ret_ns = (uint64_t)ms * 1000000;
    return (value == NULL || json_is_integer(value)) && ms >= 1 && ms <= max;
}

static bool read_handover(const json_t *request, baton_handover_request *ret_asked)
{
    static const char *const paths[] = {"auto", "cutover", "snapshot"};
    const json_t *to = json_object_get(request, "to");
    const json_t *path = json_object_get(request, "path");
    const json_t *run = json_object_get(request, "run_epoch");
    int chosen = path == NULL ? BATON_PATH_AUTO : -1;
    for (int i = BATON_PATH_AUTO; json_is_string(path) && i <= BATON_PATH_SNAPSHOT; i++)
        if (strcmp(json_string_value(path), paths[i]) == 0)
            chosen = i;
    *ret_asked = (baton_handover_request){.to = json_string_value(to),
                                          .path = (baton_handover_path)chosen,
                                          .run_epoch = (uint64_t)json_integer_value(run)};
    return chosen >= 0 && (to == NULL || json_is_string(to)) &&
           (run == NULL || (json_is_integer(run) && json_integer_value(run) >= 1)) &&
           read_ms(request, "max_gap_ms", MAX_GAP_MS, GAP_MS_MAX, &ret_asked->max_gap_ns) &&
           read_ms(request, "snapshot_gap_ms", SNAPSHOT_GAP_MS, SNAPSHOT_GAP_MS_MAX,
                   &ret_asked->snapshot_gap_ns);
}

static void begin_handover(baton_control_client *client, const json_t *request)
{
    const baton_control *control = client->control;
    baton_handover_request asked;
    baton_error error = {0};
    if (!read_handover(request, &asked)) {
        refuse(client, words[WORD_HANDOVER], BATON_E_INVALID,
               "to is a nonce, max_gap_ms 1 to 60000, snapshot_gap_ms 1 to 600000, path auto, "
               "cutover or snapshot, run_epoch 1 or more",
               "take the nonce from the standby's status");
        return;
    }
    if (control->actions.draining(control->actions.context)) {
        refuse(client, words[WORD_HANDOVER], BATON_E_SEALED, "the service drains",
               "ask its successor");
        return;
    }
    int r = control->actions.handover(control->actions.context, &asked, &error);
    wait_or_refuse(client, WORD_HANDOVER, BATON_CONTROL_WAITS_HANDOVER, r, &error);
}

static void begin_promotion(baton_control_client *client, const json_t *request)
{
    const baton_control *control = client->control;
    baton_error error = {0};
    if (!json_is_true(json_object_get(request, "force"))) {
        refuse(client, words[WORD_PROMOTE], BATON_E_REFUSED,
               "an instance is promoted by a handover; without one only by force",
               "use `handover` on the active; when that one is dead and stays so: promote --force");
        return;
    }
    int r = control->actions.promote(control->actions.context, &error);
    wait_or_refuse(client, WORD_PROMOTE, BATON_CONTROL_WAITS_PROMOTE, r, &error);
}

static void follow(baton_control_client *client, const json_t *request)
{
    const baton_control *control = client->control;
    const char *of = json_string_value(json_object_get(request, "of"));
    baton_error error = {0};
    if (of == NULL || of[0] == '\0') {
        refuse(client, words[WORD_FOLLOW], BATON_E_INVALID, "of is missing: whom to follow",
               "name the active's directory, or its handover socket");
        return;
    }
    int r = control->actions.follow(control->actions.context, of, &error);
    baton_control_answer(client, r < 0 ? baton_control_refusal(control, words[WORD_FOLLOW], &error)
                                       : envelope(control, words[WORD_FOLLOW], true));
}

void baton_control_request(baton_control_client *client, const char *line, size_t line_bytes)
{
    const baton_control *control = client->control;
    json_t *request = json_loadb(line, line_bytes, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(request)) {
        refuse(client, NULL, BATON_E_INVALID, "it is no JSON object",
               "send one JSON object per line");
        json_decref(request);
        return;
    }
    const int word = check(client, request);
    if (word == WORD_HANDOVER && control->engine != NULL)
        begin_handover(client, request);
    if (word == WORD_PROMOTE && control->engine != NULL)
        begin_promotion(client, request);
    if (word == WORD_FOLLOW && control->engine != NULL)
        follow(client, request);
    json_decref(request);
    if (word > WORD_STATUS && control->engine == NULL) {
        refuse(client, words[word], BATON_E_AGAIN, "the service hydrates",
               "ask again when `status` says that it runs");
        return;
    }
    switch (word) {
    case WORD_STATUS:
        answer_status(client);
        break;
    case WORD_METRICS:
        answer_metrics(client);
        break;
    case WORD_AWAIT_DRAIN:
        client->waits = BATON_CONTROL_WAITS_DRAIN; /* whoever begins it */
        break;
    case WORD_DRAIN:
        begin_drain(client);
        break;
    case WORD_SNAPSHOT:
        if (control->actions.draining(control->actions.context))
            refuse(client, words[word], BATON_E_SEALED, "the service drains",
                   "the drain takes a snapshot by itself, unless told not to");
        else
            client->waits = BATON_CONTROL_WAITS_SNAPSHOT_BEGIN;
        break;
    case WORD_FINALIZE:
        if (control->actions.draining(control->actions.context))
            refuse(client, words[word], BATON_E_SEALED, "the service drains", "ask its successor");
        else
            client->waits = BATON_CONTROL_WAITS_FINALIZE;
        break;
    default:
        break; /* answered by check, or begun */
    }
}

static bool snapshot_begin_step(baton_control_client *client)
{
    baton_control *control = client->control;
    baton_error error = {0};
    if (control->actions.draining(control->actions.context)) {
        client->waits = BATON_CONTROL_WAITS_NONE;
        refuse(client, words[WORD_SNAPSHOT], BATON_E_SEALED, "the service drains",
               "the drain takes a snapshot by itself, unless told not to");
        return true;
    }
    const uint64_t before = baton_engine_snapshot_status(control->engine)->taken_count;
    int r = baton_engine_snapshot_begin(control->engine, &error);
    if (r == BATON_E_AGAIN)
        return false;
    if (r < 0) {
        client->waits = BATON_CONTROL_WAITS_NONE;
        baton_control_answer(client, baton_control_refusal(control, words[WORD_SNAPSHOT], &error));
        return true;
    }
    client->snapshots_before = before;
    client->waits = BATON_CONTROL_WAITS_SNAPSHOT_END;
    return false;
}

static bool snapshot_end_step(baton_control_client *client)
{
    const baton_control *control = client->control;
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(control->engine);
    const bool published = state->taken_count > client->snapshots_before;
    if (!published && state->running)
        return false;

    json_t *answer;
    if (published || state->last_status == 0) { /* 0 alone: the newest one held this very state */
        answer = envelope(control, words[WORD_SNAPSHOT], true);
        if (answer != NULL)
            json_object_set_new(answer, "snapshot", baton_describe_snapshots(state));
    } else {
        answer = baton_control_refusal(control, words[WORD_SNAPSHOT], &state->last_error);
    }
    client->waits = BATON_CONTROL_WAITS_NONE;
    baton_control_answer(client, answer);
    return true;
}

bool baton_control_waiting_step(baton_control_client *client)
{
    switch (client->waits) {
    case BATON_CONTROL_WAITS_SNAPSHOT_BEGIN:
        return snapshot_begin_step(client);
    case BATON_CONTROL_WAITS_SNAPSHOT_END:
        return snapshot_end_step(client);
    case BATON_CONTROL_WAITS_FINALIZE:
        return finalize_step(client);
    case BATON_CONTROL_WAITS_HANDOVER:
        return report_step(client, WORD_HANDOVER, "handover",
                           client->control->actions.handover_state);
    case BATON_CONTROL_WAITS_PROMOTE:
        return report_step(client, WORD_PROMOTE, "promotion",
                           client->control->actions.promote_state);
    case BATON_CONTROL_WAITS_DRAIN:
    case BATON_CONTROL_WAITS_NONE:
        return false;
    }
    return false;
}
