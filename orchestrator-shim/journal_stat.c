/* orchestrator-shim/journal_stat.c: `baton journal stat`. */
#include "orchestrator-shim/command.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char stat_help[] =
    "baton journal stat DIR [--io auto|uring|threads] [-o text|json]\n"
    "\n"
    "What the journal holds, from reading and checking all of it: segments, seqs, epochs, rates by "
    "the entries' own times,\n"
    "space, how a writer here would make commits durable, and how long a replay would take to read "
    "it: that is the time\n"
    "this reading took, so a cold disk says more than a warm one; applying the entries comes on "
    "top, see `SERVICE baton\n"
    "replay`. Beside a living writer it tells what that one has published. Exit codes as "
    "`verify`.\n"
    "\n"
    "Examples:\n"
    "  baton journal stat /var/lib/orders/journal\n"
    "  baton journal stat /var/lib/orders/journal -o json\n";

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Null where there is no time to divide by. */
static json_t *rate(uint64_t count, uint64_t ns)
{
    return ns > 0 ? json_real((double)count / seconds(ns)) : json_null();
}

static json_t *moment(uint64_t time_ns)
{
    char text[64];
    char whole[32];
    struct tm t;
    const time_t s = (time_t)(time_ns / 1000000000u);
    if (time_ns == 0 || gmtime_r(&s, &t) == NULL ||
        strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &t) == 0)
        return json_null();
    snprintf(text, sizeof(text), "%s.%09lluZ", whole, (unsigned long long)(time_ns % 1000000000u));
    return json_string(text);
}

static json_t *describe_times(const baton_journal_stat *stat)
{
    const uint64_t last_seq = stat->summary.recovery.last.seq;
    const uint64_t all_ns =
        stat->last_time_ns > stat->first_time_ns ? stat->last_time_ns - stat->first_time_ns : 0;
    const uint64_t recent_ns =
        stat->recent_time_ns != 0 && stat->last_time_ns > stat->recent_time_ns
            ? stat->last_time_ns - stat->recent_time_ns
            : 0;
    return json_pack("{s:o, s:o, s:f, s:o, s:o}", "first", moment(stat->first_time_ns), "last",
                     moment(stat->last_time_ns), "span_seconds", seconds(all_ns),
                     "entries_per_second", rate(stat->summary.entries_count, all_ns),
                     "recent_entries_per_second",
                     rate(stat->recent_seq != 0 ? last_seq - stat->recent_seq + 1 : 0, recent_ns));
}

static json_t *describe_space(const baton_journal_stat *stat)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "segments_bytes",
                     json_number(stat->summary.stored_bytes), "used_bytes",
                     json_number(stat->used_bytes), "other_bytes", json_number(stat->other_bytes),
                     "free_bytes", json_number(stat->free_bytes));
}

static json_t *describe_replay(const baton_journal_stat *stat)
{
    return json_pack("{s:o, s:f, s:s}", "read_bytes_per_second",
                     rate(stat->used_bytes, stat->read_ns), "predicted_read_seconds",
                     seconds(stat->read_ns), "estimate",
                     "all of it was read and checked just now; applying it comes on top");
}

static json_t *describe_segments(const baton_journal_stat *stat)
{
    json_t *segments = json_array();
    for (uint64_t i = 0; i < stat->summary.segments_count; i++) {
        const baton_segment_stat *s = &stat->segments[i];
        json_array_append_new(
            segments, json_pack("{s:o, s:o, s:s, s:o, s:o, s:o}", "epoch", json_number(s->epoch),
                                "index", json_number(s->index), "state", s->state, "first_seq",
                                json_number(s->first_seq), "used_bytes", json_number(s->used_bytes),
                                "file_bytes", json_number(s->file_bytes)));
    }
    return segments;
}

static json_t *describe(const char *directory, int status, const baton_journal_stat *stat,
                        bool with_segments, const baton_error *error)
{
    json_t *object = journal_describe(directory, status, &stat->summary, error);
    if (object == NULL || stat->summary.segments_count == 0)
        return object;
    json_object_set_new(object, "epochs", json_number(stat->epochs_count));
    json_object_set_new(object, "mode", json_string(stat->written_mode ? "written" : "durable"));
    if (stat->commit_refused[0] != '\0')
        json_object_set_new(object, "commit_refused", json_text(stat->commit_refused));
    else
        json_object_set_new(object, "commit_primitive", json_text(stat->commit_primitive));
    json_object_set_new(object, "times", describe_times(stat));
    json_object_set_new(object, "space", describe_space(stat));
    json_object_set_new(object, "replay", describe_replay(stat));
    if (with_segments)
        json_object_set_new(object, "segment_list", describe_segments(stat));
    return object;
}

static void print_segments(const baton_journal_stat *stat)
{
    printf("\n%-33s  %-8s  %12s  %12s  %12s\n", "segment", "state", "first seq", "used bytes",
           "file bytes");
    for (uint64_t i = 0; i < stat->summary.segments_count; i++) {
        const baton_segment_stat *s = &stat->segments[i];
        printf("%016llx-%016llx  %-8s  %12llu  %12llu  %12llu\n", (unsigned long long)s->epoch,
               (unsigned long long)s->index, s->state, (unsigned long long)s->first_seq,
               (unsigned long long)s->used_bytes, (unsigned long long)s->file_bytes);
    }
}

int journal_stat(int argc, char **argv)
{
    check_options chosen;
    baton_error error = {.offset = UINT64_MAX};
    baton_journal_stat stat = {0};
    int code = 0;
    static char label[] = "reading";
    if (!read_check_options(argc, argv, stat_help, false, &chosen, &code))
        return code;
    const char *directory = one_directory(argc, argv);
    if (directory == NULL)
        return 1;
    int r = baton_journal_stat_get(directory, chosen.backend, show_progress, label, &stat, &error);
    end_progress();
    error.status = r;
    json_t *object = describe(directory, r, &stat, chosen.json, &error);
    code = chosen.json ? print_json(object) : print_text(object);
    if (!chosen.json && stat.summary.segments_count > 0)
        print_segments(&stat);
    baton_journal_stat_fini(&stat);
    return r < 0 ? worse_code(fail_with(&error), code) : code;
}
