/* journal/first.c: a segment made at once, on the caller's time: the first of an epoch, a writer's or
 * a followed one. Named, written all over and flushed before it gets a header; its header is durable
 * before anything in it is answered (J3, J10). */
#include <errno.h>

#include "base/breakable.h"
#include "journal/journal_private.h"

static int64_t run(baton_journal *journal, baton_io_op op)
{
    return baton_io_run(journal->io, &op);
}

int journal_first_named(baton_journal *journal, const journal_segment *segment)
{
    if (segment->epoch > journal->epoch_highest)
        journal->epoch_highest = segment->epoch;
    if (segment->index > journal->index_highest)
        journal->index_highest = segment->index;
    return BATON_BREAK(NO_DIRECTORY_FLUSH)
               ? 0
               : baton_io_file_sync(journal->io, journal->directory_file);
}

int journal_first_name(baton_journal *journal, journal_segment *segment, uint32_t create_flag)
{
    journal_segment_set_state(segment, SEGMENT_CREATING);
    int r = baton_io_file_open(journal->io, segment->path,
                               journal_segment_open_flags(journal) | create_flag, &segment->file);
    if (r < 0) {
        segment->file = BATON_IO_NO_FILE;
        journal_segment_set_state(segment, SEGMENT_FREE);
        return r;
    }
    journal_segment_set_state(segment, SEGMENT_ALLOCATING);
    r = journal_first_named(journal, segment);
    if (r < 0)
        journal_first_drop(journal, segment);
    return r;
}

static int fill(baton_journal *journal, journal_segment *segment)
{
    int64_t r = run(
        journal,
        (baton_io_op){.kind = BATON_IO_ALLOCATE, .file = segment->file, .bytes = segment->bytes});
    if (r < 0)
        return (int)r;
    journal_segment_set_state(segment, SEGMENT_ZEROING);
    for (uint64_t at = 0; at < segment->bytes; at += JOURNAL_ZERO_STEP_BYTES) {
        uint64_t left = segment->bytes - at;
        uint64_t bytes = left < JOURNAL_ZERO_STEP_BYTES ? left : JOURNAL_ZERO_STEP_BYTES;
        int w = baton_io_file_write(journal->io, segment->file, journal->zeros, bytes, at);
        if (w < 0)
            return w;
    }
    journal_segment_set_state(segment, SEGMENT_SYNCING);
    r = run(journal, (baton_io_op){.kind = BATON_IO_SYNC_DATA, .file = segment->file});
    if (r < 0)
        return (int)r;
    journal_segment_set_state(segment, SEGMENT_NAMING);
    if (BATON_BREAK(NO_DIRECTORY_FLUSH))
        return 0;
    return baton_io_file_sync(journal->io, journal->directory_file);
}

int journal_first_fill(baton_journal *journal, journal_segment *segment)
{
    int r = fill(journal, segment);
    if (r < 0)
        journal_first_drop(journal, segment);
    else
        journal_segment_set_state(segment, SEGMENT_PREPARED);
    return r;
}

int journal_first_head(baton_journal *journal, journal_segment *segment)
{
    journal_segment_fill_header(journal, segment);
    if (journal->mode == BATON_MODE_WRITTEN) {
        int r = baton_io_file_write(journal->io, segment->file, segment->header, BATON_IO_UNIT, 0);
        return r < 0 ? r : baton_io_file_sync(journal->io, segment->file);
    }
    int64_t written = run(journal, (baton_io_op){.kind = BATON_IO_WRITE_DURABLE,
                                                 .file = segment->file,
                                                 .buffer = segment->header,
                                                 .bytes = BATON_IO_UNIT});
    if (written == BATON_IO_UNIT)
        return 0;
    return written < 0 ? (int)written : -EIO;
}

void journal_first_drop(baton_journal *journal, journal_segment *segment)
{
    baton_io_file_close(journal->io, segment->file);
    segment->file = BATON_IO_NO_FILE;
    journal_ignore(baton_io_unlink(journal->io, segment->path));
    journal_segment_set_state(segment, SEGMENT_REMOVING);
    journal_segment_set_state(segment, SEGMENT_FREE);
}

void journal_first_stand(baton_journal *journal, journal_segment *segment)
{
    journal_segment_set_state(segment, SEGMENT_CURRENT);
    segment->header_durable = true;
    baton_io_file_register(journal->io, segment->file);
    if (!journal->current)
        journal->index_first = segment->index;
    journal->current = segment;
    journal->durable = journal->chain.position;
    journal->proven = journal->chain.position; /* by the new header */
    journal->durable_index = segment->index;
    journal->durable_offset = BATON_IO_UNIT;
    baton_metric_set(journal->metrics.durable_seq, (double)journal->durable.seq);
    baton_metric_add(journal->metrics.segments_total, 1);
    journal_publish(journal, true);
}
