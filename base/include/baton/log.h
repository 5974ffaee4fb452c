/* baton/log.h: structured log, one line per event: `2026-11-21T10:00:00.123456Z info journal.opened
 * dir=/x epoch=4`.
 *
 * The library never writes to a file descriptor of its own accord: a program installs a sink;
 * without one, events are dropped. Values with spaces, quotes, '=' or control characters are quoted
 * and escaped, so a line is one event. Any thread may log; the sink is called with the finished
 * line, serialised. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { BATON_LOG_DEBUG, BATON_LOG_INFO, BATON_LOG_WARN, BATON_LOG_ERROR } baton_log_level;

typedef void (*baton_log_sink)(void *context, baton_log_level level, const char *line);
/* NULL removes it. The context must outlive the sink. */
void baton_log_set_sink(baton_log_sink sink, void *context, baton_log_level lowest);
/* A ready sink for programs: writes the line and a newline to the fd in context (a pointer to
 * int). */
void baton_log_to_fd(void *context, baton_log_level level, const char *line);

typedef struct {
    const char *key;  /* [a-z0-9_]+ */
    const char *text; /* used when not NULL */
    int64_t number;   /* used otherwise */
} baton_log_field;
#define BATON_LOG_TEXT(key, value)   ((baton_log_field){(key), (value), 0})
#define BATON_LOG_NUMBER(key, value) ((baton_log_field){(key), 0, (int64_t)(value)})

void baton_log_event(baton_log_level level, const char *event, const baton_log_field *fields,
                     uint32_t fields_count);
/* baton_log(INFO, "journal.opened", BATON_LOG_NUMBER("epoch", 4)); C only */
#define baton_log(level, event, ...)                                                               \
    baton_log_event(                                                                               \
        BATON_LOG_##level, (event), (const baton_log_field[]){__VA_ARGS__},                        \
        (uint32_t)(sizeof((const baton_log_field[]){__VA_ARGS__}) / sizeof(baton_log_field)))

#ifdef __cplusplus
}
#endif
