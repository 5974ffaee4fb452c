/* base/log.c: one finished line per event, handed to the program's sink. */
#include <baton/log.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <baton/clock.h>

#define LINE_BYTES_MAX 4096u
#define CUT_MARK       " cut=1" /* stands at the end of a line from which fields were left out */
#define LEVEL_NONE     (BATON_LOG_ERROR + 1)

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static baton_log_sink sink; /* under sink_lock, as sink_context */
static void *sink_context;
static atomic_int lowest_level = LEVEL_NONE; /* so that a dropped event costs one load */

/* Another thread may have been in the sink at a fork: in the child that one is not there to leave
 * it. */
static void unlock_in_child(void)
{
    pthread_mutex_init(&sink_lock, NULL);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, unlock_in_child); /* no memory: as it was */
}

void baton_log_set_sink(baton_log_sink new_sink, void *context, baton_log_level lowest)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&sink_lock);
    sink = new_sink;
    sink_context = context;
    atomic_store_explicit(&lowest_level, new_sink != NULL ? (int)lowest : LEVEL_NONE,
                          memory_order_relaxed);
    pthread_mutex_unlock(&sink_lock);
}

void baton_log_to_fd(void *context, baton_log_level level, const char *line)
{
    (void)level;
    const int fd = *(const int *)context;
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line)},
        {.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1},
    };
    size_t first = 0;
    while (first < 2) {
        ssize_t n = writev(fd, parts + first, (int)(2 - first));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* nowhere to report it */
        size_t written = (size_t)n;
        while (first < 2 && written >= parts[first].iov_len)
            written -= parts[first++].iov_len;
        if (first < 2) {
            parts[first].iov_base = (char *)parts[first].iov_base + written;
            parts[first].iov_len -= written;
        }
    }
}

/* A line being written; what does not fit is noticed, never written past the end. */
typedef struct {
    char *text;
    size_t used;
    size_t limit;
    bool full;
} line_buffer;

static void put_bytes(line_buffer *line, const char *bytes, size_t count)
{
    if (line->full || count > line->limit - line->used) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->used, bytes, count);
    line->used += count;
}

static void put_text(line_buffer *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

static bool needs_quotes(const char *text)
{
    if (text[0] == '\0')
        return true;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if (*c <= ' ' || *c == '"' || *c == '\\' || *c == '=' || *c == 0x7f)
            return true;
    return false;
}

static void put_escaped(line_buffer *line, const char *text)
{
    put_text(line, "\"");
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        char code[5];
        if (byte == '"' || byte == '\\')
            snprintf(code, sizeof(code), "\\%c", byte);
        else if (byte == '\n')
            snprintf(code, sizeof(code), "\\n");
        else if (byte == '\t')
            snprintf(code, sizeof(code), "\\t");
        else if (byte < ' ' || byte == 0x7f)
            snprintf(code, sizeof(code), "\\x%02x", byte);
        else
            snprintf(code, sizeof(code), "%c", byte);
        put_text(line, code);
    }
    put_text(line, "\"");
}

static void put_field(line_buffer *line, const baton_log_field *field)
{
    char number[24];
    put_text(line, " ");
    put_text(line, field->key);
    put_text(line, "=");
    if (field->text == NULL) {
        snprintf(number, sizeof(number), "%" PRId64, field->number);
        put_text(line, number);
    } else if (needs_quotes(field->text)) {
        put_escaped(line, field->text);
    } else {
        put_text(line, field->text);
    }
}

static void put_time_and_level(line_buffer *line, baton_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const uint64_t wall_ns = baton_clock_wall_ns(baton_clock_system());
    const time_t seconds = (time_t)(wall_ns / UINT64_C(1000000000));
    const unsigned micros = (unsigned)(wall_ns % UINT64_C(1000000000) / 1000);
    struct tm utc;
    char date[32];
    char rest[32];

    gmtime_r(&seconds, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(rest, sizeof(rest), ".%06uZ %s ", micros, names[level]);
    put_text(line, date);
    put_text(line, rest);
}

void baton_log_event(baton_log_level level, const char *event, const baton_log_field *fields,
                     uint32_t fields_count)
{
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed))
        return;

    char text[LINE_BYTES_MAX];
    line_buffer line = {.text = text, .limit = sizeof(text) - sizeof(CUT_MARK)};
    put_time_and_level(&line, level);
    put_text(&line, event);
    size_t whole = line.used; /* the end of the last field that fits */
    for (uint32_t i = 0; i < fields_count && !line.full; i++) {
        put_field(&line, &fields[i]);
        if (!line.full)
            whole = line.used;
    }
    if (line.full)
        memcpy(text + whole, CUT_MARK, sizeof(CUT_MARK));
    else
        text[whole] = '\0';

    pthread_mutex_lock(&sink_lock);
    if (sink != NULL)
        sink(sink_context, level, text);
    pthread_mutex_unlock(&sink_lock);
}
