/* journal/verify.c: read and check all that recovery accepts. */
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
