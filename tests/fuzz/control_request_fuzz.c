/* tests/fuzz/control_request_fuzz.c: any bytes as a line to the control socket of a service that hydrates, and of one
 * that runs. Each is answered by one line of JSON that names the instance, or waits for what it asked for. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "drain/control_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static json_t *status(void *context)
{
    (void)context;
    return json_pack("{s:s}", "phase", "running");
}

static bool drain(void *context)
{
    (void)context;
    return true;
}

static bool draining(void *context)
{
    (void)context;
    return false;
}

/* What comes through is within its bounds. */
static int handover(void *context, const baton_handover_request *request, baton_error *error)
{
    (void)context;
    baton_assert(request->max_gap_ns >= 1000000 && request->max_gap_ns <= UINT64_C(60000000000));
    baton_assert(request->snapshot_gap_ns >= 1000000 &&
                 request->snapshot_gap_ns <= UINT64_C(600000000000));
    baton_assert(request->path >= BATON_PATH_AUTO && request->path <= BATON_PATH_SNAPSHOT);
    return request->to != NULL ? baton_error_set(error, BATON_E_NOT_FOUND, "handover", "nobody", "")
                               : 0;
}

static int promote(void *context, baton_error *error)
{
    (void)context;
    return baton_error_set(error, BATON_E_REFUSED, "promote", "it serves", "");
}

static int follow(void *context, const char *of, baton_error *error)
{
    (void)context;
    baton_assert(of[0] != '\0');
    return baton_error_set(error, BATON_E_REFUSED, "follow", "it serves", "");
}

static const baton_control_actions actions = {.status = status,
                                              .drain = drain,
                                              .draining = draining,
                                              .handover = handover,
                                              .promote = promote,
                                              .follow = follow};

static void check_answer(const baton_control_client *client)
{
    json_error_t why;
    json_t *answer = json_loadb(client->out, client->out_bytes - 1, 0, &why);
    baton_assert(client->out[client->out_bytes - 1] == '\n' && json_is_object(answer));
    baton_assert(memchr(client->out, '\n', client->out_bytes - 1) == NULL);
    baton_assert(json_is_boolean(json_object_get(answer, "ok")));
    baton_assert(json_is_object(json_object_get(answer, "instance")));
    if (json_is_false(json_object_get(answer, "ok")))
        baton_assert(json_string_length(json_object_get(json_object_get(answer, "error"), "why")) >
                     0);
    json_decref(answer);
}

/* It asks for numbers of an engine that is not there. */
static bool asks_for_metrics(const uint8_t *data, size_t bytes)
{
    json_t *request = json_loadb((const char *)data, bytes, 0, NULL);
    const char *word = json_string_value(json_object_get(request, "do"));
    const bool asks = word != NULL && strcmp(word, "metrics") == 0;
    json_decref(request);
    return asks;
}

static void ask(const uint8_t *data, size_t bytes, bool running)
{
    static long no_engine;
    baton_control *control = calloc(1, sizeof(*control));
    baton_assert(control != NULL);
    control->instance = (baton_instance){.service = "toy", .version = "1.0.0", .pid = 1};
    memset(control->instance.nonce, 'a', 32);
    control->actions = actions;
    control->engine = running ? (baton_engine *)(void *)&no_engine : NULL; /* never looked at */
    baton_control_client *client = &control->clients[0];
    *client = (baton_control_client){.control = control, .fd = -1};
    baton_control_request(client, (const char *)data, bytes);
    baton_assert(client->out_bytes > 0 || client->waits != BATON_CONTROL_WAITS_NONE);
    if (client->out_bytes > 0)
        check_answer(client);
    free(client->out);
    free(control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > BATON_CONTROL_LINE_BYTES)
        return 0;
    ask(data, bytes, false);
    if (!asks_for_metrics(data, bytes))
        ask(data, bytes, true);
    return 0;
}
