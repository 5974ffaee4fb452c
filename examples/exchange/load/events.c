#include "examples/exchange/load/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAME_NS = 10000000, LOOK_EVERY_NS = 20000000 };

int events_init(events *own)
{
    *own = (events){.list = calloc(EVENTS_MAX, sizeof(*own->list))};
    return own->list ? 0 : -ENOMEM;
}

void events_fini(events *own)
{
    free(own->list);
    *own = (events){0};
}

void events_note(events *own, uint64_t at_ns, event_kind kind, uint32_t count, const char *text)
{
    const bool together = kind == EVENT_MADE || kind == EVENT_LOST;
    for (uint32_t i = own->count; together && i-- > 0;) {
        load_event *before = &own->list[i];
        if (before->at_ns + SAME_NS < at_ns)
            break;
        if (before->kind == kind) {
            before->count += count;
            return;
        }
    }
    if (own->count == EVENTS_MAX) {
        own->dropped++;
        return;
    }
    load_event *made = &own->list[own->count++];
    *made = (load_event){.at_ns = at_ns, .kind = kind, .count = count};
    snprintf(made->text, sizeof(made->text), "%s", text ? text : "");
}

static void look_at_file(marks *own, events *to, uint64_t now_ns)
{
    char line[1024];
    FILE *file = fopen(own->path, "re");
    if (!file)
        return;
    if (fseek(file, (long)own->taken_bytes, SEEK_SET) == 0) {
        while (fgets(line, sizeof(line), file) && strchr(line, '\n')) {
            own->taken_bytes += strlen(line);
            line[strcspn(line, "\n")] = '\0';
            if (line[0] != '\0')
                events_note(to, now_ns, EVENT_MARK, 1, line);
        }
    }
    fclose(file);
}

void marks_look(marks *own, events *to, uint32_t signals, uint64_t now_ns)
{
    while (own->signals_seen != signals) {
        char text[EVENT_TEXT_BYTES];
        snprintf(text, sizeof(text), "signal %u", ++own->signals_seen);
        events_note(to, now_ns, EVENT_MARK, 1, text);
    }
    if (!own->path || now_ns < own->look_at_ns)
        return;
    own->look_at_ns = now_ns + LOOK_EVERY_NS;
    look_at_file(own, to, now_ns);
}
