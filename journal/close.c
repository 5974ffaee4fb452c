/* journal/close.c: the orderly end, the other end, and what can be asked in between. */
#include <errno.h>
#include <stdlib.h>

#include <baton/log.h>

#include "journal/journal_private.h"

static bool unsettled(const baton_journal *journal)
{
    if (journal->slots_in_flight > 0)
        return true;
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++) {
        const journal_segment *segment = &journal->segments[i];
        if (segment->state == SEGMENT_FINISHING || segment->state == SEGMENT_ENDING ||
            segment->flushing.batch != 0)
            return true;
    }
    return false;
}

/* Everything queued is acknowledged, older segments have their trailers, and mode written has
 * flushed it all. */
static int settle(baton_journal *journal)
{
    int r = baton_journal_flush(journal);
    /* A turn may find the journal idle meanwhile and submit a mark: that one too. */
    while (r == 0 && unsettled(journal)) {
        r = journal_turn(journal);
        if (r == 0 && unsettled(journal))
            r = journal_wait_io(journal, UINT64_MAX);
    }
    if (r < 0 || journal->mode == BATON_MODE_DURABLE)
        return r;
    r = baton_io_file_sync(journal->io, journal->current->file);
    if (r < 0) {
        journal_break(journal, r, "flush", journal->current->path);
        return r;
    }
    journal->proven = journal->durable;
    return 0;
}

static int write_trailer(baton_journal *journal)
{
    journal_segment *segment = journal->current;
    journal_segment_fill_trailer(journal, segment, journal->following ? 0 : BATON_BATCH_CLOSE);
    baton_io_op op = {.kind = journal_write_kind(journal),
                      .file = segment->file,
                      .buffer = segment->trailer,
                      .bytes = BATON_IO_UNIT,
                      .offset = segment->bytes - BATON_IO_UNIT};
    int64_t written = baton_io_run(journal->io, &op);
    if (written == BATON_IO_UNIT)
        return 0;
    int r = written < 0 ? (int)written : -EIO;
    journal_break(journal, r, "write a trailer", segment->path);
    return r;
}

/* The close mark proves what is before it, the trailer proves the close mark (J5). No mark where the
 * chain is another one's: of a follower, and after a grant, which a successor goes on from. */
static int finish(baton_journal *journal)
{
    if (journal->broken)
        return BATON_E_BROKEN;
    journal->claimed = false;
    journal->closing = true;
    int r = settle(journal);
    const bool mine = !journal->following && !journal_handed_over(journal);
    if (r == 0 && mine && journal_commit_mark(journal, BATON_BATCH_CLOSE))
        r = settle(journal);
    if (r == 0)
        r = write_trailer(journal);
    if (r == BATON_E_BROKEN)
        r = journal->broken;
    return r;
}

static void wait_for_all(baton_journal *journal)
{
    while (baton_io_in_flight(journal->io) > 0) {
        int r = baton_io_wait(journal->io, UINT64_MAX);
        bool none = true;
        baton_io_op *op;
        while ((op = baton_io_reap(journal->io)) != NULL) {
            none = false;
            if (op->tag == TAG_BALLAST)
                journal->ballast_busy = false;
            else if (op->tag == TAG_STEP)
                ((journal_segment *)(void *)((char *)op - offsetof(journal_segment, step)))
                    ->step_busy = false;
        }
        if (none && r < 0 && r != -EINTR) /* baton_io_close has the last word */
            break;
    }
}

/* A segment that never got a header holds nothing: not worth keeping for the next open to find. */
static void drop_next(baton_journal *journal, bool remove)
{
    journal_segment *next = journal->next;
    if (journal->own && remove)
        journal_ignore(baton_io_unlink(journal->io, journal->own->path));
    if (!next)
        return;
    if (next->state == SEGMENT_CREATING && !next->step_busy && next->step.result >= 0)
        next->file = (baton_io_file)next->step.result;
    if (remove)
        journal_ignore(baton_io_unlink(journal->io, next->path));
    if (remove && next->outdated)
        journal_ignore(baton_io_unlink(journal->io, next->path_before));
}

static void drop_spares(baton_journal *journal)
{
    for (uint32_t i = 0; i < JOURNAL_SPARES_MAX; i++) {
        if (journal->spares[i] != SPARE_NONE)
            journal_ignore(baton_io_unlink(journal->io, journal->spare_paths[i]));
    }
}

static void drop_ballast_step(baton_journal *journal)
{
    if (journal->ballast_busy)
        return;
    if (journal->ballast == BALLAST_OPENING && journal->ballast_op.result >= 0)
        baton_io_file_close(journal->io, (baton_io_file)journal->ballast_op.result);
    if (journal->ballast == BALLAST_ALLOCATING)
        baton_io_file_close(journal->io, journal->ballast_op.file);
}

static void release(baton_journal *journal, bool orderly)
{
    if (journal->io) {
        wait_for_all(journal);
        /* Clients wait for the successor's first answers, on the same device maybe, and freeing takes it
         * its time: the next open here does that. */
        const bool tidy = orderly && (journal->following || !journal_handed_over(journal));
        drop_next(journal, tidy);
        if (tidy)
            drop_spares(journal);
        drop_ballast_step(journal);
        if (journal->hint && journal->durable_index != 0)
            journal_publish(journal, false);
        baton_hint_close(journal->hint);
        for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++)
            baton_io_file_close(journal->io, journal->segments[i].file);
        baton_io_file_close(journal->io, journal->directory_file);
        if (journal->recovery_kept)
            baton_recovery_fini(&journal->recovery);
        baton_io_file_close(journal->io,
                            journal->lock_file); /* last: the next writer may come now */
        baton_io_close(journal->io);
    }
    free(journal->slots);
    free(journal);
}

int baton_journal_close(baton_journal *journal)
{
    if (!journal)
        return 0;
    int r = 0;
    if (journal->epoch != 0) {
        r = finish(journal);
        baton_log(INFO, "journal.closed", BATON_LOG_TEXT("dir", journal->directory),
                  BATON_LOG_NUMBER("epoch", journal->epoch),
                  BATON_LOG_NUMBER("durable_seq", journal->durable.seq),
                  BATON_LOG_TEXT("result", baton_status_name(r)));
    }
    release(journal, r == 0);
    return r;
}

void baton_journal_abandon(baton_journal *journal)
{
    if (journal)
        release(journal, false);
}

uint64_t baton_journal_durable_seq(const baton_journal *journal)
{
    return journal->durable.seq;
}

uint64_t baton_journal_last_seq(const baton_journal *journal)
{
    return journal->last_seq;
}

baton_position baton_journal_durable_position(const baton_journal *journal)
{
    return journal->durable;
}

/* The open batch is the next one submitted: a mark only ever follows an empty one. Followed batches that
 * wait are in the chain. */
uint64_t baton_journal_queued_batch(const baton_journal *journal)
{
    const bool open = !journal_open_empty(journal) && journal->open_followed == 0;
    return journal->chain.position.batch + (open ? 1 : 0);
}

uint64_t baton_journal_epoch(const baton_journal *journal)
{
    return journal->epoch;
}

baton_digest baton_journal_id(const baton_journal *journal)
{
    return journal->id;
}

const char *baton_journal_backend(const baton_journal *journal)
{
    return baton_io_backend_name(journal->io);
}

const char *baton_journal_backend_reason(const baton_journal *journal)
{
    return baton_io_fallback_reason(journal->io);
}

const char *baton_journal_commit_primitive(const baton_journal *journal)
{
    return journal->primitive;
}

const char *baton_journal_warning(const baton_journal *journal)
{
    return journal->probe.warning;
}
