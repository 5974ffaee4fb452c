/* examples/exchange/load/events.h: what happened beside the commands, and when: for the timeline. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

typedef enum { EVENT_MADE, EVENT_LOST, EVENT_STORM, EVENT_MARK } event_kind;

enum { EVENTS_MAX = 16384, EVENT_TEXT_BYTES = 64 };

typedef struct {
    uint64_t at_ns; /* CLOCK_MONOTONIC, of the first of them */
    event_kind kind;
    uint32_t count; /* connections made or lost at about that time, those of a storm; else 1 */
    char text[EVENT_TEXT_BYTES]; /* of a mark */
} load_event;

typedef struct {
    load_event *list; /* in the order of time */
    uint32_t count;
    uint32_t dropped; /* there were more than EVENTS_MAX */
} events;

BATON_MUST_USE int events_init(events *own); /* -ENOMEM */
void events_fini(events *own);
/* text: NULL, or up to EVENT_TEXT_BYTES - 1 of it. Made and lost ones of the same 10 ms are one event. */
void events_note(events *own, uint64_t at_ns, event_kind kind, uint32_t count, const char *text);

/* Marks from outside: lines that somebody appends to a file, and signals. */
typedef struct {
    const char *path; /* NULL: none; it need not exist yet */
    uint64_t taken_bytes;
    uint64_t look_at_ns;
    uint32_t signals_seen;
} marks;
/* Notes what is new. signals: how many have come. A line counts when it has ended. */
void marks_look(marks *own, events *to, uint32_t signals, uint64_t now_ns);
