/* journal/verify.c: read and check all that recovery accepts; prove that one journal goes on where
 * another ends (H3). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "journal/verify.h"
#include "journal/walk.h"
#include "journal/watch.h"

#define VERIFY_OPS 16u

static int open_io(baton_backend backend, baton_io **ret_io, baton_error *error)
{
    baton_io_options options = {.choice = baton_watch_io_choice(backend), .ops_max = VERIFY_OPS};
    return baton_io_open(&options, ret_io, error);
}

void baton_verify_summary(const baton_recovery *recovery, baton_journal_summary *summary)
{
    summary->recovery = recovery->report;
    summary->id = recovery->id;
    memcpy(summary->service, recovery->service, sizeof(summary->service));
    summary->epoch = recovery->epoch_highest;
    summary->segments_count = recovery->segments_count;
    summary->batches_count = recovery->batches_count;
    summary->entries_count = recovery->entries_count;
    summary->records_count = recovery->records_count;
    summary->payload_bytes = recovery->payload_bytes;
    for (uint32_t at = 0; at < recovery->segments_count; at++)
        summary->stored_bytes += recovery->segments[at].file_bytes;
    summary->closed = recovery->closed;
    summary->torn = recovery->report.torn_cut > 0;
    summary->last_digest = recovery->last_digest;
}

int baton_verify_torn(const char *directory, const baton_recovery *recovery, baton_error *error)
{
    char path[BATON_JOURNAL_PATH_BYTES] = "";

    baton_error_setf(error, BATON_E_TORN, "verify the journal",
                     "nothing: the next start cuts it, or `baton journal repair DIR` now",
                     "%" PRIu64 " bytes of an unfinished write stand behind entry %" PRIu64
                     "; nothing proves that they were acknowledged",
                     recovery->report.torn_cut, recovery->report.last.seq);
    for (uint32_t at = 0; at < recovery->segments_count; at++) {
        if (recovery->segments[at].index == recovery->torn_index &&
            recovery->segments[at].epoch == recovery->torn[0].epoch)
            baton_segment_path(directory, recovery->segments[at].epoch, recovery->torn_index, path);
    }
    baton_error_at(error, path, recovery->torn_offset);
    return BATON_E_TORN;
}

int baton_journal_verify(const char *directory, baton_backend backend, baton_progress progress,
                         void *progress_context, baton_journal_summary *ret_summary,
                         baton_error *error)
{
    const baton_recover_options options = {.progress = progress,
                                           .progress_context = progress_context};
    baton_recovery recovery = {0};
    baton_io *io = NULL;

    *ret_summary = (baton_journal_summary){0};
    int r = open_io(backend, &io, error);
    if (r < 0)
        return r;
    r = baton_recover_beside(io, directory, &options, &recovery, error);
    baton_verify_summary(&recovery, ret_summary);
    if (r == 0 && ret_summary->torn)
        r = baton_verify_torn(directory, &recovery, error);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    return r;
}

/* ---- one journal after the other ---- */

static bool same_end(baton_position position, baton_digest digest, const baton_recovery *previous)
{
    const baton_position *last = &previous->report.last;
    return position.epoch == last->epoch && position.batch == last->batch &&
           position.seq == last->seq && baton_digest_equal(digest, previous->last_digest);
}

typedef struct {
    baton_beside beside; /* first */
    const baton_recovery *previous;
    baton_walk walk;
    bool found;
} find_end;

/* Somewhere in `next` stands the last batch of `previous`, or its first segment goes on from it. */
static int find_once(baton_beside *beside, baton_error *error)
{
    find_end *self = (find_end *)(void *)beside;
    const baton_recovery *previous = self->previous;
    baton_walk *walk = &self->walk;
    const baton_batch_header *batch;

    self->found = false;
    int r = baton_walk_begin(walk, &beside->options, error);
    if (r == 0 && walk->start < walk->segments.count) {
        const baton_segment *first = &walk->segments.list[walk->start];
        self->found = same_end(first->continues, first->continues_digest, previous);
    }
    while (r == 0 && (r = baton_walk_next(walk, &batch, error)) == 1) {
        self->found |= same_end(walk->end.position, walk->end.digest, previous);
        r = 0;
    }
    beside->last = walk->end.position;
    return r;
}

static int judge_continues(const baton_recovery *previous, const baton_walk *next, bool found,
                           const char *next_directory, baton_error *error)
{
    static const char todo[] = "look for the journal that was handed over to, or restore it";
    uint64_t epoch = next->end.position.epoch;
    int r = 0;

    if (next->segments.count > 0 && next->segments.list[next->current].info.epoch > epoch)
        epoch = next->segments.list[next->current].info.epoch;
    if (previous->empty || !next->segments.any_header)
        r = baton_error_set(error, BATON_E_NOT_FOUND, "compare two journals",
                            "one of them is empty", todo);
    else if (!baton_digest_equal(previous->id, next->segments.id))
        r = baton_error_set(error, BATON_E_OTHER_JOURNAL, "compare two journals",
                            "their ids differ: the second was not handed over from the first",
                            todo);
    else if (!found)
        r = baton_error_setf(
            error, BATON_E_DIVERGED, "compare two journals", todo,
            "batch %" PRIu64 " of epoch %" PRIu64 ", the end of the first (entry %" PRIu64
            "), is not in the chain of the second",
            previous->report.last.batch, previous->report.last.epoch, previous->report.last.seq);
    else if (epoch <= previous->report.last.epoch)
        r = baton_error_setf(error, BATON_E_DIVERGED, "compare two journals", todo,
                             "the second has epoch %" PRIu64 ", not above the first's %" PRIu64,
                             epoch, previous->report.last.epoch);
    if (r < 0)
        baton_error_at(error, next_directory, UINT64_MAX);
    return r;
}

int baton_journal_verify_continues(const char *previous, const char *next, baton_backend backend,
                                   baton_error *error)
{
    baton_recovery recovery = {0};
    find_end next_end = {
        .beside = {.look = find_once}, .previous = &recovery, .walk = {.file = BATON_IO_NO_FILE}};
    baton_io *io = NULL;

    int r = open_io(backend, &io, error);
    if (r < 0)
        return r;
    r = baton_recover_beside(io, previous, NULL, &recovery, error);
    if (r == 0)
        r = baton_walk_open(&next_end.walk, io, next, error);
    if (r == 0)
        r = baton_beside_look(io, next, &next_end.beside, error);
    if (r == 0)
        r = judge_continues(&recovery, &next_end.walk, next_end.found, next, error);
    baton_walk_close(&next_end.walk);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    return r;
}
