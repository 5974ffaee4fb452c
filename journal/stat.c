/* journal/stat.c: what an operator asks of a journal, at rest or beside its writer: all that verify
 * knows, and times, space, rates, the commit primitive. Changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "journal/primitive.h"
#include "journal/verify.h"
#include "journal/walk.h"
#include "journal/watch.h"

#define STAT_OPS 16u

typedef struct {
    const char *directory;
    uint64_t bytes;
} other_files;

/* Everything in the directory that is no segment, one level deep. */
static int add_other(void *context, const char *name)
{
    other_files *other = context;
    char path[BATON_JOURNAL_PATH_BYTES];
    struct stat status;
    uint64_t epoch, index;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        baton_segment_name_parse(name, &epoch, &index))
        return 0;
    int n = snprintf(path, sizeof(path), "%s/%s", other->directory, name);
    if (n > 0 && (size_t)n < sizeof(path) && stat(path, &status) == 0 && S_ISREG(status.st_mode))
        other->bytes += (uint64_t)status.st_size;
    return 0;
}

static uint64_t bytes_in(baton_io *io, const char *directory)
{
    other_files other = {.directory = directory};
    int r = baton_io_directory_list(io, directory, add_other, &other);
    return r < 0 ? 0 : other.bytes; /* it may have gone since */
}

static const char *state_of(const baton_segment_info *info)
{
    switch (info->state) {
    case BATON_SEGMENT_ACCEPTED:
    case BATON_SEGMENT_UNCHECKED:
        return "accepted";
    case BATON_SEGMENT_READY:
        return "ready";
    case BATON_SEGMENT_VOID:
        return "void";
    }
    return "void";
}

static int take_segments(const baton_recovery *recovery, baton_journal_stat *stat)
{
    uint64_t epoch = 0;
    if (recovery->segments_count == 0)
        return 0;
    stat->segments = calloc(recovery->segments_count, sizeof(*stat->segments));
    if (stat->segments == NULL) {
        stat->summary.segments_count = 0;
        return -ENOMEM;
    }
    for (uint32_t at = 0; at < recovery->segments_count; at++) {
        const baton_segment_info *info = &recovery->segments[at];
        stat->segments[at] = (baton_segment_stat){.epoch = info->epoch,
                                                  .index = info->index,
                                                  .file_bytes = info->file_bytes,
                                                  .used_bytes = info->end_offset,
                                                  .first_seq = info->first_seq,
                                                  .state = state_of(info)};
        stat->used_bytes += info->end_offset;
        if (info->state == BATON_SEGMENT_ACCEPTED && info->epoch != epoch) {
            stat->epochs_count++;
            epoch = info->epoch;
        }
        if (info->state == BATON_SEGMENT_ACCEPTED && info->first_seq != 0 &&
            info->first_seq <= recovery->report.last.seq)
            stat->recent_seq = info->first_seq;
    }
    return 0;
}

/* 0 where it can't be read any more. */
static uint64_t time_of(const char *directory, baton_backend backend, uint64_t seq)
{
    const baton_reader_options options = {.from_seq = seq, .backend = backend};
    baton_reader *reader;
    baton_entry entry;
    baton_error error;
    if (seq == 0 || baton_reader_open(directory, &options, &reader, &error) < 0)
        return 0;
    const uint64_t time_ns = baton_reader_next(reader, &entry, &error) == 1 ? entry.time_ns : 0;
    baton_reader_close(reader);
    return time_ns;
}

static void take_primitive(baton_io *io, const char *directory, bool written_mode,
                           baton_journal_stat *stat)
{
    baton_io_probe probe;
    journal_primitive primitive;
    if (baton_io_probe_directory(io, directory, &probe) < 0)
        return;
    stat->free_bytes = probe.free_bytes;
    if (journal_primitive_choose(&probe, written_mode, &primitive) == 0)
        memcpy(stat->commit_primitive, primitive.text, sizeof(stat->commit_primitive));
    else
        (void)snprintf(stat->commit_refused, sizeof(stat->commit_refused), "%.60s: %.120s",
                       probe.file_system, primitive.why);
}

static int look(baton_io *io, const char *directory, baton_backend backend,
                const baton_recover_options *options, baton_journal_stat *stat, baton_error *error)
{
    const baton_clock *clock = baton_clock_system();
    char torn[BATON_JOURNAL_PATH_BYTES];
    baton_recovery recovery = {0};
    const uint64_t begin_ns = baton_clock_monotonic_ns(clock);

    int r = baton_recover_beside(io, directory, options, &recovery, error);
    stat->read_ns = baton_clock_monotonic_ns(clock) - begin_ns;
    baton_verify_summary(&recovery, &stat->summary);
    stat->written_mode = recovery.written_mode;
    stat->last_time_ns = recovery.last_time_ns;
    const int taken = take_segments(&recovery, stat);
    if (taken < 0 && r == 0)
        r = baton_segment_error(error, taken, "look at the journal", directory);
    if (r == 0 && stat->summary.torn)
        r = baton_verify_torn(directory, &recovery, error);
    (void)snprintf(torn, sizeof(torn), "%.1000s/torn", directory);
    stat->other_bytes = bytes_in(io, directory) + bytes_in(io, torn);
    if (r == 0 || r == BATON_E_TORN) {
        stat->first_time_ns = time_of(directory, backend, recovery.report.first_seq);
        stat->recent_time_ns = time_of(directory, backend, stat->recent_seq);
    }
    baton_recovery_fini(&recovery);
    return r;
}

int baton_journal_stat_get(const char *directory, baton_backend backend, baton_progress progress,
                           void *progress_context, baton_journal_stat *ret_stat, baton_error *error)
{
    const baton_io_options io_options = {.choice = baton_watch_io_choice(backend),
                                         .ops_max = STAT_OPS};
    const baton_recover_options options = {.progress = progress,
                                           .progress_context = progress_context};
    baton_io *io = NULL;

    *ret_stat = (baton_journal_stat){0};
    int r = baton_io_open(&io_options, &io, error);
    if (r < 0)
        return r;
    r = look(io, directory, backend, &options, ret_stat, error);
    if (ret_stat->summary.segments_count > 0)
        take_primitive(io, directory, ret_stat->written_mode, ret_stat);
    baton_io_close(io);
    return r;
}

void baton_journal_stat_fini(baton_journal_stat *stat)
{
    free(stat->segments);
    stat->segments = NULL;
}
