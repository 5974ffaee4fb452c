/* drain/batond/view.c: see view.h. */
#include "drain/batond/view.h"

#include <stdlib.h>
#include <string.h>

#include "drain/compatibility.h"
#include "drain/describe.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

const char *batond_view_phase(const batond_view *view)
{
    switch (view->reach) {
    case BATOND_ANSWERS: {
        const char *phase = text_of(view->status, "phase");
        return phase[0] != '\0' ? phase : "unknown";
    }
    case BATOND_SILENT:
        return "silent";
    case BATOND_ABSENT:
        return "absent";
    case BATOND_UNKNOWN:
        return "unknown";
    }
    return "unknown";
}

static bool is_in(const batond_view *view, const char *phase)
{
    return strcmp(batond_view_phase(view), phase) == 0;
}

bool batond_phase_is_starting(const char *phase)
{
    return strcmp(phase, "hydrating") == 0 || strcmp(phase, "fetching") == 0;
}

static bool is_starting(const batond_view *view)
{
    return batond_phase_is_starting(batond_view_phase(view));
}

/* The word for a phase. None of those for trouble contains "healthy": people look for it. */
static const char *status_word(const batond_view *view)
{
    static const char *const words[][2] = {
        {"running", "healthy"},   {"hydrating", "starting"}, {"draining", "draining"},
        {"fetching", "starting"}, {"following", "standby"},  {"handing over", "handing over"},
        {"silent", "silent"},     {"absent", "absent"},      {"undecided", "undecided"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (is_in(view, words[i][0]))
            return words[i][1];
    return "unknown";
}

bool batond_view_is_ready(const batond_view *view)
{
    return is_in(view, "running") && json_is_false(json_object_get(view->status, "sealed")) &&
           !view->ending;
}

static const char *why_not_ready(const batond_view *view)
{
    if (view->ending)
        return "batond ends";
    switch (view->reach) {
    case BATOND_SILENT:
        return "the service does not answer";
    case BATOND_ABSENT:
        return view->why[0] != '\0' ? view->why : "no service answers there";
    case BATOND_UNKNOWN:
        return "the service has not answered yet";
    case BATOND_ANSWERS:
        break;
    }
    if (is_in(view, "hydrating"))
        return "the service hydrates";
    if (is_in(view, "fetching"))
        return "the service is a standby that gets its first snapshot";
    if (is_in(view, "draining"))
        return "the service drains";
    if (is_in(view, "following"))
        return "the service is a standby";
    if (is_in(view, "undecided"))
        return "the service can't know whether the other one serves: it waits for it, or for the "
               "operator";
    return is_in(view, "running") ? "the service takes no more entries"
                                  : "the service does not take requests in this phase";
}

double batond_view_hydrate_progress(const batond_view *view)
{
    const json_t *progress = json_object_get(view->status, "hydrating");
    if (view->reach != BATOND_ANSWERS)
        return 0;
    if (progress == NULL)
        return 1;
    const double done = json_number_value(json_object_get(progress, "done"));
    const double of = json_number_value(json_object_get(progress, "of"));
    if (of <= 0)
        return 0;
    return done < of ? done / of : 1;
}

/* What the service itself goes by, unless batond was told otherwise; of one that does not say, what it
 * would go by. */
static json_t *window(const batond_view *view, const char *version)
{
    const json_t *told = json_object_get(view->status, "compatibility");
    baton_compatible compatible;
    if (view->instance == NULL)
        return json_null();
    if (json_is_object(told) && view->compatible_min == NULL && view->compatible_max == NULL)
        return json_deep_copy(told);
    if (baton_compatible_init(&compatible, version, view->compatible_min, view->compatible_max,
                              false, NULL) < 0)
        return json_null();
    return baton_compatible_describe(&compatible);
}

const char *batond_view_instance_text(const json_t *instance, char text[BATOND_INSTANCE_TEXT_BYTES])
{
    if (instance == NULL)
        return "none";
    snprintf(text, BATOND_INSTANCE_TEXT_BYTES, "%.64s/%.64s pid=%lld nonce=%.64s",
             text_of(instance, "service"), text_of(instance, "version"),
             (long long)json_integer_value(json_object_get(instance, "pid")),
             text_of(instance, "nonce"));
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~') /* it goes into a header */
            *c = '?';
    return text;
}

static json_t *shared(const json_t *value)
{
    json_t *copy = value != NULL ? json_deep_copy(value) : NULL;
    return copy != NULL ? copy : json_null();
}

static json_t *hydrate(const batond_view *view)
{
    const char *key = is_starting(view) ? "hydrating" : "hydrate";
    json_t *object = shared(json_object_get(view->status, key));
    if (json_is_object(object))
        json_object_set_new(object, "progress", json_real(batond_view_hydrate_progress(view)));
    return object;
}

unsigned batond_view_health(const batond_view *view, json_t **ret_body)
{
    static const char *const passed_on[] = {
        "epoch",        "seq",           "durable_seq", "released_seq", "schema",
        "state_digest", "effect_digest", "snapshot",    "rto",          "journal",
        "drain",        "follow",        "handover",    "undecided",    "forced_promotions",
        "run_epoch"};
    const char *version = text_of(view->instance, "version");
    const bool answers = view->reach == BATOND_ANSWERS;
    json_t *body =
        json_pack("{s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:o}", "status", status_word(view),
                  "version", view->instance != NULL ? baton_describe_text(version) : json_null(),
                  "compatibility", window(view, version), "phase", batond_view_phase(view), "ready",
                  (int)batond_view_is_ready(view), "instance", shared(view->instance), "hydrate",
                  hydrate(view), "last_drain", shared(view->last_drain));
    for (size_t i = 0; body != NULL && i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
        const json_t *value = json_object_get(view->status, passed_on[i]);
        if (value != NULL)
            json_object_set_new(body, passed_on[i], shared(value));
    }
    json_t *batond = json_pack(
        "{s:s, s:o, s:b, s:o, s:o}", "version", view->batond_version, "uptime_ms",
        baton_describe_number(view->batond_uptime_ms), "ending", (int)view->ending, "answer_age_ms",
        answers ? baton_describe_number(view->age_ms) : json_null(), "silent_ms",
        view->reach == BATOND_SILENT ? baton_describe_number(view->silent_ms) : json_null());
    if (body != NULL)
        json_object_set_new(body, "batond", batond);
    if (body != NULL && !batond_view_is_ready(view))
        json_object_set_new(body, "why", baton_describe_text(why_not_ready(view)));
    *ret_body = body;
    return answers ? 200 : 503;
}

static unsigned verdict(const batond_view *view, const char *word, bool is, const char *why,
                        json_t **ret_body)
{
    *ret_body = json_pack("{s:b, s:s, s:o}", word, (int)is, "phase", batond_view_phase(view),
                          "instance", shared(view->instance));
    if (*ret_body != NULL && !is)
        json_object_set_new(*ret_body, "why", baton_describe_text(why));
    return is ? 200 : 503;
}

/* Who holds the socket and does not answer is stuck. Who does not hold it yet may be recovering its
 * journal, and a probe that killed it then would kill it again next time; and when its process has
 * ended, whoever started it knows by itself. */
unsigned batond_view_live(const batond_view *view, json_t **ret_body)
{
    return verdict(view, "live", !view->hangs, "the service hangs", ret_body);
}

unsigned batond_view_ready(const batond_view *view, json_t **ret_body)
{
    return verdict(view, "ready", batond_view_is_ready(view), why_not_ready(view), ret_body);
}

unsigned batond_view_started(const batond_view *view, json_t **ret_body)
{
    const bool started = view->reach == BATOND_ANSWERS && !is_starting(view);
    return verdict(view, "started", started, why_not_ready(view), ret_body);
}
