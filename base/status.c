/* base/status.c: names, texts and classes of results; baton_error. */
#include <baton/status.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    const char *text;
    baton_class class;
} status_entry;

static const status_entry entries[] = {
#define STATUS_ENTRY(name, class, text) {"BATON_E_" #name, text, BATON_CLASS_##class},
    BATON_STATUS_LIST(STATUS_ENTRY)
#undef STATUS_ENTRY
};

#define ENTRIES_COUNT ((int)(sizeof(entries) / sizeof(entries[0])))

/* The entry of one of our own numbers, or NULL. */
static const status_entry *find(int status)
{
    int ordinal = BATON_E_BASE - status; /* from 1 */
    if (status >= BATON_E_BASE || ordinal > ENTRIES_COUNT || ordinal < 1)
        return NULL;
    return &entries[ordinal - 1];
}

const char *baton_status_name(int status)
{
    if (status >= 0)
        return "OK";
    const status_entry *entry = find(status);
    if (entry != NULL)
        return entry->name;
    const char *name = status > BATON_E_BASE ? strerrorname_np(-status) : NULL;
    return name != NULL ? name : "UNKNOWN";
}

const char *baton_status_text(int status)
{
    if (status >= 0)
        return "done";
    const status_entry *entry = find(status);
    if (entry != NULL)
        return entry->text;
    const char *text = status > BATON_E_BASE ? strerrordesc_np(-status) : NULL;
    return text != NULL ? text : "an unknown error";
}

baton_class baton_status_class(int status)
{
    if (status >= 0)
        return BATON_CLASS_OK;
    const status_entry *entry = find(status);
    return entry != NULL ? entry->class : BATON_CLASS_SYSTEM;
}

/* ---- baton_error ---- */

static void copy_text(char *into, size_t into_bytes, const char *text)
{
    size_t bytes = text != NULL ? strnlen(text, into_bytes - 1) : 0;
    if (bytes > 0)
        memcpy(into, text, bytes);
    into[bytes] = '\0';
}

int baton_error_set(baton_error *error, int status, const char *what, const char *why,
                    const char *todo)
{
    if (error == NULL)
        return status;

    /* Built aside, because a caller that wraps an error passes the texts of the same one. */
    baton_error built = {.status = status, .offset = UINT64_MAX};
    copy_text(built.what, sizeof(built.what), what);
    copy_text(built.why, sizeof(built.why), why != NULL ? why : baton_status_text(status));
    copy_text(built.todo, sizeof(built.todo), todo);
    *error = built;
    return status;
}

void baton_error_at(baton_error *error, const char *path, uint64_t offset)
{
    if (error == NULL)
        return;
    if (path != error->path)
        copy_text(error->path, sizeof(error->path), path);
    error->offset = offset;
}

int baton_error_setf(baton_error *error, int status, const char *what, const char *todo,
                     const char *why_format, ...)
{
    if (error == NULL)
        return status;

    char why[sizeof(error->why)];
    va_list arguments;
    va_start(arguments, why_format);
    vsnprintf(why, sizeof(why), why_format, arguments);
    va_end(arguments);
    return baton_error_set(error, status, what, why, todo);
}

/* "(path, offset N)" of what the texts do not already say; "" when there is nothing to add. */
static void place_text(const baton_error *error, char *text, size_t text_bytes)
{
    const bool path_known = error->path[0] != '\0' && strstr(error->what, error->path) == NULL &&
                            strstr(error->why, error->path) == NULL;
    const bool offset_known = error->offset != UINT64_MAX;

    text[0] = '\0';
    if (path_known && offset_known)
        snprintf(text, text_bytes, "(%s, offset %" PRIu64 ")", error->path, error->offset);
    else if (path_known)
        snprintf(text, text_bytes, "(%s)", error->path);
    else if (offset_known)
        snprintf(text, text_bytes, "(offset %" PRIu64 ")", error->offset);
}

char *baton_error_text(const baton_error *error, char *text, size_t text_bytes)
{
    char place[sizeof(error->path) + 48];
    place_text(error, place, sizeof(place));

    char why[sizeof(error->why) + sizeof(place)];
    const bool both = error->why[0] != '\0' && place[0] != '\0';
    snprintf(why, sizeof(why), "%s%s%s", error->why, both ? " " : "", place);

    const char *parts[] = {error->what, why, error->todo};
    size_t used = 0;
    if (text_bytes == 0)
        return text;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i][0] == '\0')
            continue;
        int n = snprintf(text + used, text_bytes - used, "%s%s", used > 0 ? ": " : "", parts[i]);
        if (n < 0 || (size_t)n >= text_bytes - used)
            return text; /* full; snprintf has terminated it */
        used += (size_t)n;
    }
    return text;
}
