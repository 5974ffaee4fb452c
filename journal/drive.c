/* journal/drive.c: the turn. Take in what is finished, acknowledge, submit, prepare: one
 * baton_io_enter however much there is.
 *
 * Waiting blocks in the kernel and never peeks in a loop: on a device without FUA the worker
 * that finishes a durable write runs on the CPU that took its completion, and a spinning thread
 * there starves it (J9). */
#include <errno.h>

#include "base/breakable.h"
#include "journal/journal_private.h"

#define OWNER(type, member, op) ((type *)(void *)((char *)(op)-offsetof(type, member)))

static void header_done(baton_journal *journal, journal_segment *segment)
{
    segment->header_busy = false;
    if (segment->header_op.result != BATON_IO_UNIT) {
        int r = segment->header_op.result < 0 ? (int)segment->header_op.result : -EIO;
        journal_break(journal, r, "write a segment header", segment->path);
        return;
    }
    segment->header_durable = true;
}

/* Completions are marked here; the turn acts. */
static void take_in(baton_journal *journal, baton_io_op *op)
{
    switch ((journal_tag)op->tag) {
    case TAG_BATCH:
        journal_commit_done(journal, OWNER(journal_slot, op, op));
        break;
    case TAG_HEADER:
        header_done(journal, OWNER(journal_segment, header_op, op));
        break;
    case TAG_STEP:
        OWNER(journal_segment, step, op)->step_busy = false;
        break;
    case TAG_BALLAST:
        journal->ballast_busy = false;
        break;
    }
}

static bool quiet(const baton_journal *journal)
{
    return journal_open_empty(journal) && !journal->claimed && journal->slots_in_flight == 0;
}

/* In mode written a mark is worth what was flushed before it. */
static bool flush_first(const baton_journal *journal)
{
    return baton_position_compare(journal->proven, journal->durable) < 0;
}

static void mark_when_idle(baton_journal *journal, uint64_t now_ns)
{
    if (BATON_BREAK(NO_IDLE_MARK) || !journal->tail_unproven || !quiet(journal) ||
        now_ns - journal->idle_since_ns < journal->idle_mark_ns || journal_handed_over(journal))
        return;
    if (flush_first(journal)) {
        if (!journal_flush_busy(journal))
            journal_flush_start(journal, now_ns);
        return;
    }
    (void)journal_commit_mark(journal, 0);
}

int journal_turn(baton_journal *journal)
{
    baton_io_op *op;
    journal->time_shares = 0; /* the caller may have slept since the last one */
    while ((op = baton_io_reap(journal->io)) != NULL)
        take_in(journal, op);
    if (journal->broken)
        return BATON_E_BROKEN;
    if (journal->epoch == 0)
        return 0;

    journal_acknowledge(journal);
    uint64_t now_ns = baton_clock_monotonic_ns(journal->clock);
    if (journal_open_due(journal, now_ns) && journal_slot_free(journal))
        journal_commit_open(journal);
    journal_segments_act(journal, now_ns);
    journal_ballast_act(journal, now_ns);
    if (!journal->broken)
        mark_when_idle(journal, now_ns);
    if (now_ns >= journal->wall_check_ns)
        journal_watch_wall_clock(journal, now_ns);
    if (journal->registry)
        journal_metrics_turn(journal);
    return journal->broken ? BATON_E_BROKEN : 0;
}

static int enter(baton_journal *journal)
{
    int r = baton_io_enter(journal->io);
    if (r < 0) {
        journal_break(journal, r, "hand operations to the kernel", journal->directory);
        return BATON_E_BROKEN;
    }
    return 0;
}

int baton_journal_poll(baton_journal *journal)
{
    int r = journal_turn(journal);
    return r < 0 ? r : enter(journal);
}

int journal_wait_io(baton_journal *journal, uint64_t timeout_ns)
{
    int r = baton_io_wait(journal->io, timeout_ns);
    if (r < 0 && r != BATON_E_TIMEOUT && r != -EINTR) {
        journal_break(journal, r, "wait for operations", journal->directory);
        return BATON_E_BROKEN;
    }
    return 0;
}

int baton_journal_fd(const baton_journal *journal)
{
    return baton_io_event_fd(journal->io);
}

uint64_t baton_journal_poll_within_ns(const baton_journal *journal)
{
    if (journal->broken || journal->epoch == 0)
        return UINT64_MAX;
    uint64_t now_ns = baton_clock_monotonic_ns(journal->clock);
    uint64_t due_ns = UINT64_MAX;
    if (!journal_open_empty(journal) && !journal->claimed && journal_slot_free(journal)) {
        if (journal_open_due(journal, now_ns))
            return 0;
        due_ns = journal->open_since_ns + BATON_UNHURRIED_NS;
    }
    if (journal->tail_unproven && quiet(journal) && !journal_handed_over(journal) &&
        journal_mark_fits(journal, 0) && !journal_flush_busy(journal))
        due_ns = journal->idle_since_ns + journal->idle_mark_ns;
    if (journal_next_missing(journal) && journal->retry_ns < due_ns)
        due_ns = journal->retry_ns;
    if (journal->ballast == BALLAST_MISSING && journal->next &&
        journal->next->state == SEGMENT_PREPARED && journal->ballast_retry_ns < due_ns)
        due_ns = journal->ballast_retry_ns;
    if (journal->mode == BATON_MODE_WRITTEN && flush_first(journal) &&
        !journal_flush_busy(journal) && journal->flush_due_ns < due_ns)
        due_ns = journal->flush_due_ns;
    if (due_ns == UINT64_MAX)
        return UINT64_MAX;
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

static uint64_t deadline_ns(const baton_journal *journal, uint64_t timeout_ns)
{
    uint64_t now_ns = baton_clock_monotonic_ns(journal->clock);
    return timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
}

int baton_journal_wait(baton_journal *journal, uint64_t seq, uint64_t timeout_ns)
{
    if (journal->broken)
        return BATON_E_BROKEN;
    if (journal->epoch == 0 || journal->claimed || seq > journal->last_seq)
        return BATON_E_INVALID;
    uint64_t end_ns = deadline_ns(journal, timeout_ns);
    journal->open_unhurried = 0;
    for (;;) {
        int r = journal_turn(journal);
        if (r < 0)
            return r;
        if (journal->durable.seq >= seq)
            return enter(journal); /* what the turn queued must not wait for the next call */
        uint64_t left_ns = UINT64_MAX;
        if (end_ns != UINT64_MAX) {
            uint64_t now_ns = baton_clock_monotonic_ns(journal->clock);
            left_ns = end_ns > now_ns ? end_ns - now_ns : 0;
        }
        /* Even with no time left the turn's operations go to the kernel. */
        r = journal_wait_io(journal, left_ns);
        if (r < 0)
            return r;
        if (left_ns == 0 && journal_turn(journal) == 0 && journal->durable.seq < seq)
            return BATON_E_TIMEOUT;
    }
}

int baton_journal_flush(baton_journal *journal)
{
    if (journal->broken)
        return BATON_E_BROKEN;
    const bool begun =
        journal->epoch != 0 || journal->following; /* which may have got nothing yet */
    if (!begun || journal->claimed)
        return BATON_E_INVALID;
    journal->open_unhurried = 0;
    for (;;) {
        int r = journal_turn(journal);
        if (r < 0)
            return r;
        if (journal_open_empty(journal) && journal->slots_in_flight == 0)
            return enter(journal);
        r = journal_wait_io(journal, UINT64_MAX);
        if (r < 0)
            return r;
    }
}
