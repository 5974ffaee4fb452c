/* orchestrator-shim/output.c: results and errors, for machines and for people. */
#include "orchestrator-shim/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator-shim/progress.h"

int exit_code(int status)
{
    if (status >= 0)
        return 0;
    switch (status) {
    case BATON_E_LOCKED:
        return 7;
    case BATON_E_TIMEOUT:
        return 8;
    case BATON_E_TORN:
        return 10;
    case BATON_E_DAMAGED:
        return 11;
    }
    return 1;
}

int fail_with(const baton_error *error)
{
    char text[1200];
    end_progress();
    fflush(stdout);
    fprintf(stderr, "baton: %s\n", baton_error_text(error, text, sizeof(text)));
    return exit_code(error->status);
}

int fail_usage(const char *what, const char *why, const char *todo)
{
    baton_error error;
    baton_error_set(&error, BATON_E_INVALID, what, why, todo);
    return fail_with(&error);
}

static int stdout_failed(void)
{
    baton_error error;
    baton_error_set(&error, -EIO, "stdout", "it can't be written",
                    "is its disk full, or its reader gone?");
    return fail_with(&error);
}

int finish_output(int code)
{
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? code : code != 0 ? code : stdout_failed();
}

int print_json(json_t *object)
{
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (line == NULL)
        return fail_usage("output", "memory is short", "give the process more memory");
    const bool written = printf("%s\n", line) >= 0 && fflush(stdout) == 0;
    free(line);
    return written ? 0 : stdout_failed();
}

#define INDENT_STEP 2
#define KEY_WIDTH   18

static void print_value(const char *key, json_t *value, int indent)
{
    const char *inner_key;
    json_t *inner;
    size_t index;
    if (json_is_object(value)) {
        printf("%*s%s\n", indent, "", key);
        json_object_foreach(value, inner_key, inner)
            print_value(inner_key, inner, indent + INDENT_STEP);
        return;
    }
    if (json_is_array(value)) {
        printf("%*s%s\n", indent, "", key);
        json_array_foreach(value, index, inner) print_value("-", inner, indent + INDENT_STEP);
        return;
    }
    printf("%*s%-*s ", indent, "", KEY_WIDTH, key);
    if (json_is_string(value))
        printf("%s\n", json_string_value(value));
    else if (json_is_integer(value))
        printf("%lld\n", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.3f\n", json_real_value(value));
    else
        printf("%s\n", json_is_null(value) ? "-" : json_is_true(value) ? "yes" : "no");
}

int print_text(json_t *object)
{
    const char *key;
    json_t *value;
    if (object == NULL)
        return fail_usage("output", "memory is short", "give the process more memory");
    json_object_foreach(object, key, value) print_value(key, value, 0);
    json_decref(object);
    return fflush(stdout) == 0 ? 0 : stdout_failed();
}

json_t *json_text(const char *text)
{
    json_t *whole = json_string(text);
    char *copy = whole == NULL ? strdup(text) : NULL;
    if (copy == NULL)
        return whole;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    whole = json_string(copy);
    free(copy);
    return whole;
}

json_t *json_number(uint64_t number)
{
    return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

json_t *json_digest(baton_digest digest)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    return json_string(baton_digest_text(digest, text));
}

json_t *json_error(const baton_error *error)
{
    json_t *object = json_pack("{s:s, s:o, s:o, s:o}", "status", baton_status_name(error->status),
                               "what", json_text(error->what), "why", json_text(error->why), "todo",
                               json_text(error->todo));
    if (object != NULL && error->path[0] != '\0')
        json_object_set_new(object, "file", json_text(error->path));
    if (object != NULL && error->offset != UINT64_MAX)
        json_object_set_new(object, "offset", json_number(error->offset));
    return object;
}

static json_t *position(const baton_position *at)
{
    return json_pack("{s:o, s:o, s:o}", "epoch", json_number(at->epoch), "batch",
                     json_number(at->batch), "seq", json_number(at->seq));
}

json_t *json_recovery(const baton_recovery_report *report)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "last", position(&report->last),
                     "evidence", position(&report->evidence), "evidence_from",
                     json_text(report->evidence_from), "first_seq", json_number(report->first_seq),
                     "acked_lost", json_number(report->acked_lost), "torn_cut",
                     json_number(report->torn_cut), "unproven", json_number(report->unproven),
                     "torn_kept_in", json_text(report->torn_path));
}

static progress bar;

void show_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    if (bar.file == NULL)
        progress_init(&bar, stderr, isatty(STDERR_FILENO) == 1, baton_clock_system());
    progress_step(&bar, context, done_bytes, all_bytes);
}

void end_progress(void)
{
    progress_end(&bar);
}
