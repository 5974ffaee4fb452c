#include "examples/exchange/load/timeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

uint32_t timeline_row_of(const timeline *own, uint64_t at_ns)
{
    const uint64_t row = at_ns > own->began_ns ? (at_ns - own->began_ns) / own->window_ns : 0;
    return row < own->count ? (uint32_t)row : own->count - 1;
}

static bool counts(const command_result *of)
{
    return of->intended_ns != 0 && of->measured != MEASURED_NOT;
}

static uint64_t end_of(const run_result *result, uint32_t count)
{
    uint64_t end_ns = result->began_ns;
    for (uint32_t i = 0; i < count; i++) {
        const command_result *of = &result->results[i];
        const uint64_t last_ns = of->acked_ns > of->sent_ns ? of->acked_ns : of->sent_ns;
        if (counts(of) && last_ns > end_ns)
            end_ns = last_ns;
    }
    return end_ns;
}

static int by_value(const void *one, const void *other)
{
    const uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return a < b ? -1 : a > b;
}

/* The smallest of them that at least so many percent of them do not exceed; they are sorted. */
static uint64_t at_percent(const uint64_t *sorted, uint32_t count, uint32_t percent)
{
    return sorted[((uint64_t)count * percent + 99) / 100 - 1];
}

static void fill_latencies(timeline_row *row, uint64_t *latencies)
{
    if (row->measured == 0)
        return;
    qsort(latencies, row->measured, sizeof(*latencies), by_value);
    row->p50_ns = at_percent(latencies, row->measured, 50);
    row->p99_ns = at_percent(latencies, row->measured, 99);
    row->max_ns = latencies[row->measured - 1];
}

static void count_row(timeline *own, const command_result *of)
{
    timeline_row *row = &own->rows[timeline_row_of(own, of->intended_ns)];
    row->due++;
    row->unanswered += of->acked_ns == 0;
    row->measured += of->acked_ns != 0 && of->measured == MEASURED;
    own->rows[timeline_row_of(own, of->sent_ns)].sent++;
    if (of->acked_ns != 0)
        own->rows[timeline_row_of(own, of->acked_ns)].acked++;
}

/* Commands are due in their order, so a window's are neighbours. */
static void measure(timeline *own, const run_result *result, uint32_t count, uint64_t *latencies)
{
    uint32_t row = 0, taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        const command_result *of = &result->results[i];
        if (!counts(of) || of->acked_ns == 0 || of->measured != MEASURED)
            continue;
        const uint32_t here = timeline_row_of(own, of->intended_ns);
        if (here != row) {
            fill_latencies(&own->rows[row], latencies);
            row = here;
            taken = 0;
        }
        latencies[taken++] = of->acked_ns - of->intended_ns;
    }
    fill_latencies(&own->rows[row], latencies);
}

int timeline_make(timeline *own, const run_result *result, uint32_t count, uint64_t window_ns,
                  uint32_t rows_max)
{
    const uint64_t length_ns = end_of(result, count) - result->began_ns;
    *own = (timeline){.began_ns = result->began_ns, .window_ns = window_ns};
    while (length_ns / own->window_ns >= rows_max)
        own->window_ns += window_ns;
    own->count = (uint32_t)(length_ns / own->window_ns) + 1;
    own->rows = calloc(own->count, sizeof(*own->rows));
    uint64_t *latencies = malloc((count + 1u) * sizeof(*latencies));
    if (own->rows && latencies) {
        for (uint32_t i = 0; i < count; i++)
            if (counts(&result->results[i]))
                count_row(own, &result->results[i]);
        measure(own, result, count, latencies);
    }
    free(latencies);
    return own->rows && latencies ? 0 : -ENOMEM;
}

void timeline_fini(timeline *own)
{
    free(own->rows);
    *own = (timeline){0};
}

/* ---- the table ---- */

static void print_event(FILE *file, const load_event *event)
{
    static const char *const names[] = {"made", "lost", "storm"};
    if (event->kind != EVENT_MARK) {
        fprintf(file, "%s %u", names[event->kind], event->count);
        return;
    }
    fputs("mark ", file);
    for (const char *at = event->text; *at != '\0'; at++)
        fprintf(file, *at == '"' ? "\"\"" : "%c", *at);
}

/* All of this window, in one quoted field. *next: the first event that no window has had. */
static void print_events(FILE *file, const timeline *own, uint32_t row, const events *happened,
                         uint32_t *next)
{
    const char *between = "";
    fputc('"', file);
    for (; *next < happened->count && timeline_row_of(own, happened->list[*next].at_ns) == row;
         ++*next) {
        fputs(between, file);
        print_event(file, &happened->list[*next]);
        between = "; ";
    }
    fputs("\"\n", file);
}

int timeline_write_csv(const char *path, const timeline *own, const events *happened)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    uint32_t next = 0;
    fprintf(file, "start_s,due,sent,acked,unanswered,p50_us,p99_us,max_us,events\n");
    for (uint32_t i = 0; i < own->count; i++) {
        const timeline_row *row = &own->rows[i];
        fprintf(file, "%.3f,%u,%u,%u,%u,", (double)i * (double)own->window_ns / 1e9, row->due,
                row->sent, row->acked, row->unanswered);
        if (row->measured > 0)
            fprintf(file, "%.1f,%.1f,%.1f,", (double)row->p50_ns / 1e3, (double)row->p99_ns / 1e3,
                    (double)row->max_ns / 1e3);
        else
            fputs(",,,", file);
        print_events(file, own, i, happened, &next);
    }
    int bad = ferror(file);
    return fclose(file) != 0 || bad ? -EIO : 0;
}
