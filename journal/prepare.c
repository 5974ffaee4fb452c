/* journal/prepare.c: the life of a segment off the commit path, one small asynchronous step
 * after the other (J3, J6). The drawing is in journal_private.h. A full disk here is
 * back-pressure; any other failure breaks the journal. */
#include <errno.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "journal/journal_private.h"

static void step(baton_journal *journal, journal_segment *segment, baton_io_op op)
{
    segment->step = op;
    segment->step.tag = TAG_STEP;
    journal_queue(journal, &segment->step);
    segment->step_busy = journal->broken == 0;
}

/* Nothing acknowledged depends on a segment that is only being made, so what passes by itself is
 * tried again. */
static bool passes_by_itself(int r)
{
    return baton_io_is_full_disk(r) || r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

static void free_next(baton_journal *journal, journal_segment *segment)
{
    if (segment->spare < JOURNAL_SPARES_MAX)
        journal->spares[segment->spare] = SPARE_NONE;
    segment->spare = JOURNAL_SPARES_MAX;
    journal_segment_set_state(segment, SEGMENT_FREE);
    journal->next = NULL;
}

static const char *path_now(const baton_journal *journal, const journal_segment *segment)
{
    if (segment->spare < JOURNAL_SPARES_MAX)
        return journal->spare_paths[segment->spare];
    return segment->outdated ? segment->path_before : segment->path;
}

static void note_no_space(baton_journal *journal, const journal_segment *segment, int r)
{
    if (journal->space_error == 0) {
        baton_metric_add(journal->metrics.no_space_total, 1);
        baton_log(WARN, "journal.no_space", BATON_LOG_TEXT("path", segment->path),
                  BATON_LOG_TEXT("why", baton_status_text(r)),
                  BATON_LOG_NUMBER("segment_bytes", segment->bytes));
    }
    journal->space_error = r;
}

static void prepare_failed(baton_journal *journal, journal_segment *segment, int r, uint64_t now_ns)
{
    bool of_spare = segment->spare < JOURNAL_SPARES_MAX;
    bool creating = segment->state == SEGMENT_CREATING;
    bool leftover = creating && !of_spare && r == -EEXIST; /* an unlink of ours failed before */
    bool taken = of_spare && r == -ENOENT;                 /* somebody removed the spare */
    if (!passes_by_itself(r) && !leftover && !taken) {
        journal_break(journal, r, "make the next segment", segment->path);
        return;
    }
    journal->retry_ns = now_ns + JOURNAL_RETRY_NS;
    if (!leftover && !taken)
        note_no_space(journal, segment, r);
    if (creating && !leftover) {
        if (of_spare && !taken) { /* it could not be opened now */
            journal->spares[segment->spare] = SPARE_THERE;
            segment->spare = JOURNAL_SPARES_MAX;
        }
        free_next(journal, segment);
        return;
    }
    baton_io_file_close(journal->io, segment->file);
    segment->file = BATON_IO_NO_FILE;
    journal_segment_set_state(segment, SEGMENT_REMOVING);
    step(journal, segment,
         (baton_io_op){.kind = BATON_IO_UNLINK, .path = path_now(journal, segment)});
}

static void zero_more(baton_journal *journal, journal_segment *segment)
{
    uint64_t left = segment->bytes - segment->zeroed_bytes;
    uint64_t most = segment->recycled ? BATON_IO_UNIT : JOURNAL_ZERO_STEP_BYTES;
    step(journal, segment,
         (baton_io_op){.kind = BATON_IO_WRITE,
                       .file = segment->file,
                       .buffer = journal->zeros,
                       .bytes = left < most ? left : most,
                       .offset = segment->zeroed_bytes});
}

static void zeroed(baton_journal *journal, journal_segment *segment)
{
    segment->zeroed_bytes += segment->step.bytes;
    /* Where a header and a trailer are looked for, nothing old may stand. What is between them was
     * written before, and nobody takes it for this segment's (J4): not zeroed, it costs the commits
     * beside nothing. */
    if (segment->recycled && segment->zeroed_bytes == BATON_IO_UNIT)
        segment->zeroed_bytes = segment->bytes - BATON_IO_UNIT;
    if (segment->zeroed_bytes < segment->bytes) {
        zero_more(journal, segment);
        return;
    }
    journal_segment_set_state(segment, SEGMENT_SYNCING);
    step(journal, segment, (baton_io_op){.kind = BATON_IO_SYNC_DATA, .file = segment->file});
}

/* Its zeros are durable, unit 0 of a spare too: from here on it may bear a segment's name. */
static void take_name(baton_journal *journal, journal_segment *segment)
{
    if (segment->spare < JOURNAL_SPARES_MAX && segment->state == SEGMENT_SYNCING) {
        journal_segment_set_state(segment, SEGMENT_RENAMING);
        step(journal, segment,
             (baton_io_op){.kind = BATON_IO_RENAME,
                           .path = journal->spare_paths[segment->spare],
                           .path_to = segment->path});
        return;
    }
    if (segment->spare < JOURNAL_SPARES_MAX) {
        journal->spares[segment->spare] = SPARE_NONE;
        segment->spare = JOURNAL_SPARES_MAX;
        baton_metric_add(journal->metrics.recycled_total, 1);
    }
    segment->outdated = false;
    journal_segment_set_state(segment, SEGMENT_NAMING);
    baton_io_file names = BATON_BREAK(NO_DIRECTORY_FLUSH) ? segment->file : journal->directory_file;
    step(journal, segment, (baton_io_op){.kind = BATON_IO_SYNC, .file = names});
}

static void created(baton_journal *journal, journal_segment *segment)
{
    segment->file = (baton_io_file)segment->step.result;
    if (segment->spare < JOURNAL_SPARES_MAX) { /* its blocks are there */
        journal_segment_set_state(segment, SEGMENT_ZEROING);
        zero_more(journal, segment);
        return;
    }
    journal_segment_set_state(segment, SEGMENT_ALLOCATING);
    step(journal, segment,
         (baton_io_op){.kind = BATON_IO_ALLOCATE, .file = segment->file, .bytes = segment->bytes});
}

/* One that stands ready gets a name of the new term; one that is being made, when it is made. Not removed
 * and made again: freeing 64 MiB can hold a device up for 15 ms (where the file system discards), and
 * writing them anew for longer, just when clients wait for a successor's first answers. It is this very
 * writer's: no write into it is under way (J10). What stands in it are zeros, or, in one made of a spare,
 * bytes of terms before this one (J4). */
void journal_next_outdated(baton_journal *journal)
{
    journal_segment *segment = journal->next;
    if (!segment || segment->state != SEGMENT_PREPARED || segment->epoch == journal->epoch)
        return;
    journal_segment_rename(journal, segment, journal->epoch, journal->current->index + 1);
    journal_segment_set_state(segment, SEGMENT_RENAMING);
    step(journal, segment,
         (baton_io_op){
             .kind = BATON_IO_RENAME, .path = segment->path_before, .path_to = segment->path});
}

static void ready(baton_journal *journal, journal_segment *segment)
{
    journal_segment_set_state(segment, SEGMENT_PREPARED);
    if (segment->epoch != journal->epoch) {
        journal_next_outdated(journal);
        return;
    }
    baton_io_file_register(journal->io, segment->file);
    if (journal->space_error)
        baton_log(INFO, "journal.space_again", BATON_LOG_TEXT("path", segment->path));
    journal->space_error = 0;
}

/* The step of a segment that is being made has finished. */
static void prepare_act(baton_journal *journal, journal_segment *segment, uint64_t now_ns)
{
    int64_t result = segment->step.result;
    bool short_write =
        segment->state == SEGMENT_ZEROING && result >= 0 && result != (int64_t)segment->step.bytes;
    if (result < 0 || short_write) {
        prepare_failed(journal, segment, result < 0 ? (int)result : -EIO, now_ns);
        return;
    }
    if (segment->state == SEGMENT_CREATING) {
        created(journal, segment);
    } else if (segment->state == SEGMENT_ALLOCATING) {
        journal_segment_set_state(segment, SEGMENT_ZEROING);
        zero_more(journal, segment);
    } else if (segment->state == SEGMENT_ZEROING) {
        zeroed(journal, segment);
    } else if (segment->state == SEGMENT_SYNCING || segment->state == SEGMENT_RENAMING) {
        take_name(journal, segment);
    } else {
        baton_assert(segment->state == SEGMENT_NAMING);
        ready(journal, segment);
    }
}

/* ---- mode written: flushes, so that evidence follows ---- */

bool journal_flush_busy(const baton_journal *journal)
{
    return journal->current->flushing.batch != 0;
}

static void flush(baton_journal *journal, journal_segment *segment, baton_position position)
{
    segment->flushing = position;
    step(journal, segment, (baton_io_op){.kind = BATON_IO_SYNC_DATA, .file = segment->file});
}

void journal_flush_start(baton_journal *journal, uint64_t now_ns)
{
    journal->flush_due_ns = now_ns + JOURNAL_FLUSH_NS;
    flush(journal, journal->current, journal->durable);
}

/* A flush of one file proves only that file: what stands in an older, unflushed segment has to
 * come first. */
static bool older_unflushed(const baton_journal *journal, const journal_segment *segment)
{
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++) {
        const journal_segment *other = &journal->segments[i];
        if (other->state == SEGMENT_FINISHING && other->index < segment->index)
            return true;
    }
    return false;
}

static void flushed(baton_journal *journal, journal_segment *segment)
{
    if (segment->step.result <
        0) { /* never tried again: the kernel may have dropped the pages (J6) */
        journal_break(journal, (int)segment->step.result, "flush", segment->path);
        return;
    }
    if (!older_unflushed(journal, segment) &&
        baton_position_compare(segment->flushing, journal->proven) > 0)
        journal->proven = segment->flushing;
    segment->flushed =
        segment->state == SEGMENT_FINISHING && segment->flushing.batch == segment->last.batch;
    segment->flushing = (baton_position){0};
}

/* ---- a segment that is full ---- */

static void finish_act(baton_journal *journal, journal_segment *segment)
{
    if (segment->unacked > 0 || !segment->header_durable || older_unflushed(journal, segment))
        return;
    if (journal->mode == BATON_MODE_WRITTEN && !segment->flushed) {
        flush(journal, segment, segment->last);
        return;
    }
    journal_segment_fill_trailer(journal, segment, 0);
    journal_segment_set_state(segment, SEGMENT_ENDING);
    step(journal, segment,
         (baton_io_op){.kind = journal_write_kind(journal),
                       .file = segment->file,
                       .buffer = segment->trailer,
                       .bytes = BATON_IO_UNIT,
                       .offset = segment->bytes - BATON_IO_UNIT});
}

static void ended(baton_journal *journal, journal_segment *segment)
{
    int64_t result = segment->step.result;
    if (result != BATON_IO_UNIT) {
        journal_break(journal, result < 0 ? (int)result : -EIO, "write a trailer", segment->path);
        return;
    }
    baton_io_file_close(journal->io, segment->file);
    segment->file = BATON_IO_NO_FILE;
    journal_segment_set_state(segment, SEGMENT_FREE);
}

/* ---- the loop's part ---- */

static void act(baton_journal *journal, journal_segment *segment, uint64_t now_ns)
{
    if (segment->step_busy || (journal->closing && segment == journal->next))
        return;
    if (segment->flushing.batch != 0) {
        flushed(journal, segment);
        if (journal->broken)
            return;
    }
    switch (segment->state) {
    case SEGMENT_CREATING:
    case SEGMENT_ALLOCATING:
    case SEGMENT_ZEROING:
    case SEGMENT_SYNCING:
    case SEGMENT_RENAMING:
    case SEGMENT_NAMING:
        prepare_act(journal, segment, now_ns);
        break;
    case SEGMENT_REMOVING:
        free_next(journal, segment); /* a file that stayed shows as -EEXIST at the next try */
        break;
    case SEGMENT_CURRENT:
        if (journal->mode == BATON_MODE_WRITTEN && now_ns >= journal->flush_due_ns &&
            baton_position_compare(journal->proven, journal->durable) < 0)
            journal_flush_start(journal, now_ns);
        break;
    case SEGMENT_FINISHING:
        finish_act(journal, segment);
        break;
    case SEGMENT_ENDING:
        ended(journal, segment);
        break;
    case SEGMENT_FREE:
    case SEGMENT_PREPARED:
    case SEGMENT_STATES:
        break;
    }
}

/* NULL: none until a trailer is written. */
journal_segment *journal_segment_free(baton_journal *journal)
{
    for (uint32_t at = 0; at < JOURNAL_SEGMENTS_MAX; at++) {
        if (journal->segments[at].state == SEGMENT_FREE)
            return &journal->segments[at];
    }
    return NULL;
}

bool journal_next_missing(const baton_journal *journal)
{
    if (journal->next || journal->broken || journal->closing)
        return false;
    bool any_free = false;
    for (uint32_t at = 0; at < JOURNAL_SEGMENTS_MAX; at++)
        any_free |= journal->segments[at].state == SEGMENT_FREE;
    return any_free;
}

static void start_next(baton_journal *journal)
{
    journal_segment *segment = journal_segment_free(journal);
    uint64_t bytes = journal->current->bytes * JOURNAL_SEGMENT_GROWTH;
    if (bytes > journal->segment_bytes)
        bytes = journal->segment_bytes;
    journal_segment_start(journal, segment, journal->epoch, journal->current->index + 1, bytes);
    journal_segment_set_state(segment, SEGMENT_CREATING);
    journal->next = segment;
    uint32_t flags = journal_segment_open_flags(journal);
    segment->spare = journal_spare_find(journal, bytes);
    segment->recycled = segment->spare < JOURNAL_SPARES_MAX;
    if (segment->recycled)
        journal->spares[segment->spare] = SPARE_TAKEN;
    else
        flags |= BATON_IO_CREATE;
    step(journal, segment,
         (baton_io_op){
             .kind = BATON_IO_OPEN, .path = path_now(journal, segment), .open_flags = flags});
}

void journal_segments_act(baton_journal *journal, uint64_t now_ns)
{
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX && !journal->broken; i++)
        act(journal, &journal->segments[i], now_ns);
    if (journal_next_missing(journal) && now_ns >= journal->retry_ns)
        start_next(journal);
}
