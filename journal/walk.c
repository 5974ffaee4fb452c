/* journal/walk.c: where does the accepted journal end? Batch after batch, each in its epoch's
 * segment, with the next number, the next seq and the digest of the one before (J4). */
#include "base/breakable.h"
#include "journal/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

int baton_walk_open(baton_walk *walk, baton_io *io, const char *directory, baton_error *error)
{
    *walk = (baton_walk){.io = io, .file = BATON_IO_NO_FILE};
    int length = snprintf(walk->directory, sizeof(walk->directory), "%s", directory);
    if (length < 0 || (size_t)length >= sizeof(walk->directory) - BATON_SEGMENT_NAME_BYTES)
        return baton_segment_error(error, -ENAMETOOLONG, "open journal", directory);
    walk->recent_batch = malloc(BATON_RECENT_BATCH_BYTES_MAX);
    if (walk->recent_batch == NULL ||
        posix_memalign(&walk->unit, BATON_IO_UNIT, BATON_IO_UNIT) != 0)
        return baton_segment_error(error, -ENOMEM, "open journal", directory);
    int r = baton_cursor_init(&walk->cursor, io);
    return r < 0 ? baton_segment_error(error, r, "open journal", directory) : 0;
}

static int leave(baton_walk *walk)
{
    if (walk->file == BATON_IO_NO_FILE)
        return 0;
    int r = baton_cursor_stop(&walk->cursor);
    if (r < 0)
        return r; /* the kernel may still read from the files */
    baton_io_file_close(walk->io, walk->file);
    if (walk->following)
        baton_io_file_close(walk->io, walk->following_file);
    walk->file = BATON_IO_NO_FILE;
    walk->following = false;
    walk->inside = false;
    return 0;
}

void baton_walk_close(baton_walk *walk)
{
    (void)leave(walk);
    baton_cursor_fini(&walk->cursor);
    baton_segments_fini(&walk->segments);
    free(walk->unit);
    walk->unit = NULL;
    free(walk->recent_batch);
    walk->recent_batch = NULL;
}

static void reset(baton_walk *walk, const baton_walk_options *options)
{
    baton_segments_fini(&walk->segments);
    walk->options = *options;
    walk->inside = false;
    walk->closed = false;
    walk->finished = false;
    walk->result = 0;
    walk->end = options->resume ? options->from : (baton_chain_end){0};
    walk->evidence = (baton_evidence){.from = ""};
    walk->tail = (baton_tail){0};
    walk->lost = (baton_position){0};
    walk->stop_why = "the journal begins here";
    walk->stop_may_be_end = true;
    walk->stop_offset = BATON_IO_UNIT;
    walk->done_bytes = walk->all_bytes = 0;
}

int baton_walk_begin(baton_walk *walk, const baton_walk_options *options, baton_error *error)
{
    baton_segments_range range = {0};

    int r = leave(walk);
    if (r < 0)
        return baton_segment_error(error, r, "read journal", walk->directory);
    reset(walk, options);
    if (options->resume) {
        range.first_epoch = options->from.position.epoch;
        range.first_index = options->from.index;
    }
    if (options->published)
        range.last_index = options->until.index;
    r = baton_segments_read(walk->io, walk->directory, &range, walk->unit, &walk->segments, error);
    if (r == 0)
        r = baton_walk_start(walk, error);
    walk->current = walk->start;
    for (uint32_t at = walk->start; r == 0 && at < walk->segments.count; at++)
        walk->all_bytes +=
            walk->segments.list[at].live ? walk->segments.list[at].info.file_bytes : 0;
    return r;
}

/* ---- from batch to batch ---- */

static bool batch_fits(const baton_walk *walk, const baton_batch_header *batch)
{
    const baton_segment *segment = &walk->segments.list[walk->current];
    baton_position carried;

    if (BATON_BREAK(NO_IDENTITY_CHECK))
        return true;
    return memcmp(batch->journal_id, walk->segments.id.bytes, 16) == 0 &&
           baton_le64_get(batch->epoch) == segment->info.epoch &&
           baton_le64_get(batch->batch) == walk->end.position.batch + 1 &&
           baton_le64_get(batch->first_seq) == walk->end.position.seq + 1 &&
           memcmp(batch->previous_digest, walk->end.digest.bytes, 16) == 0 &&
           baton_evidence_carried(batch, &carried);
}

/* Count, apply Baton's own records to the facts, refuse unknown ones (E7). */
static int take_frames(baton_walk *walk, const baton_batch_header *batch, baton_error *error)
{
    uint32_t offset = sizeof(*batch);
    uint64_t next_seq = baton_le64_get(batch->first_seq);
    baton_entry entry;

    while (baton_batch_next(batch, &offset, &next_seq, &entry)) {
        if (entry.time_ns > walk->last_time_ns)
            walk->last_time_ns = entry.time_ns;
        if (!entry.is_record) {
            walk->entries_count++;
            walk->payload_bytes += entry.payload_bytes;
            continue;
        }
        if (!baton_record_check(entry.type, entry.payload, entry.payload_bytes)) {
            const baton_segment *segment = &walk->segments.list[walk->current];
            char path[BATON_JOURNAL_PATH_BYTES];
            baton_error_setf(error, BATON_E_NEWER_FORMAT, "read the journal",
                             "read it with the version that wrote it, or a newer one",
                             "a record of kind %u and %u bytes is not known to format version %u",
                             entry.type, entry.payload_bytes, BATON_JOURNAL_VERSION);
            baton_segment_path(walk->directory, segment->info.epoch, segment->info.index, path);
            baton_error_at(error, path, walk->cursor.position);
            return BATON_E_NEWER_FORMAT;
        }
        walk->records_count++;
        baton_facts_apply(&walk->facts, entry.type, entry.payload, entry.payload_bytes);
    }
    return 0;
}

static int accept(baton_walk *walk, const baton_batch_header *batch, baton_digest digest,
                  baton_error *error)
{
    const baton_segment *segment = &walk->segments.list[walk->current];
    baton_position carried;

    const baton_position *known = &walk->options.evidence;
    if (known->batch == baton_le64_get(batch->batch) && known->epoch != 0 &&
        known->epoch != segment->info.epoch) {
        walk->stop_offset = walk->cursor.position;
        walk->stop_may_be_end = false;
        walk->stop_why = "another epoch's batch stands in its place";
        return baton_walk_damaged(walk, error, *known, "caller");
    }
    int r = take_frames(walk, batch, error);
    if (r < 0)
        return r;

    if (!segment->follower && baton_evidence_carried(batch, &carried))
        baton_evidence_add(&walk->evidence, carried,
                           baton_le16_get(batch->flags) & BATON_BATCH_MARK ? "mark" : "batch");
    walk->end.position.epoch = segment->info.epoch;
    walk->end.position.batch++;
    walk->end.position.seq += baton_le32_get(batch->entry_count);
    walk->end.digest = digest;
    walk->end.index = segment->info.index;
    walk->end.offset = walk->cursor.position + baton_le32_get(batch->batch_bytes);
    walk->closed = (baton_le16_get(batch->flags) & BATON_BATCH_CLOSE) != 0;
    walk->batches_count++;

    baton_cursor_skip(&walk->cursor, baton_le32_get(batch->batch_bytes));
    return 1;
}

static int stop(baton_walk *walk, bool may_be_end, const char *why)
{
    walk->stop_offset = walk->cursor.position;
    walk->stop_may_be_end = may_be_end;
    walk->stop_why = why;
    return 0;
}

static int stop_at_bytes(baton_walk *walk, const void *unit, const char *why)
{
    const baton_segment *segment = &walk->segments.list[walk->current];
    bool stale = baton_evidence_is_stale(&walk->segments, segment, unit, walk->end.position);

    return stop(walk, stale, stale ? "no batch of this segment stands here" : why);
}

static int batch_newer(const baton_walk *walk, const baton_batch_header *batch, baton_error *error)
{
    const baton_segment *segment = &walk->segments.list[walk->current];
    char path[BATON_JOURNAL_PATH_BYTES];
    baton_error_setf(error, BATON_E_NEWER_FORMAT, "read the journal",
                     "read it with the version that wrote it, or a newer one",
                     "the batch has version %u and flags 0x%x, this build reads up to version %u",
                     baton_le16_get(batch->version), baton_le16_get(batch->flags),
                     BATON_JOURNAL_VERSION);
    baton_segment_path(walk->directory, segment->info.epoch, segment->info.index, path);
    baton_error_at(error, path, walk->cursor.position);
    return BATON_E_NEWER_FORMAT;
}

/* The next batch from shared memory, checked like one from the disk. NULL: the disk decides. Only
 * while nothing is read ahead: what is on its way from the disk costs nothing more. */
static const baton_batch_header *recent_batch(const baton_walk *walk, uint64_t room,
                                              baton_digest *ret_digest)
{
    const baton_batch_header *batch = walk->recent_batch;
    uint64_t position = walk->cursor.position;

    if (walk->options.recent == NULL || !baton_cursor_untouched(&walk->cursor))
        return NULL;
    uint32_t batch_bytes = baton_recent_get(walk->options.recent, walk->end.position.batch + 1,
                                            walk->segments.list[walk->current].info.index, position,
                                            walk->recent_batch);
    if (batch_bytes == 0 || batch_bytes > room - position ||
        baton_batch_check(batch, batch_bytes, ret_digest) != BATON_UNIT_VALID)
        return NULL;
    return batch_fits(walk, batch) ? batch : NULL;
}

/* 1: accepted. 0: the segment has no further batch of the chain. */
static int next_batch(baton_walk *walk, const baton_batch_header **ret_batch, baton_error *error)
{
    const void *bytes;
    uint64_t available;
    uint32_t batch_bytes;
    baton_digest digest;
    uint64_t room = baton_walk_segment_limit(walk, &walk->segments.list[walk->current]);

    if (walk->cursor.position >= room)
        return stop(walk, true, "the segment is full here");
    const baton_batch_header *recent = recent_batch(walk, room, &digest);
    if (recent != NULL) {
        *ret_batch = recent;
        return accept(walk, recent, digest, error);
    }
    int r = baton_cursor_peek(&walk->cursor, BATON_IO_UNIT, &bytes, &available);
    if (r == 0 && available == BATON_IO_UNIT && baton_batch_plausible(bytes, &batch_bytes))
        r = baton_cursor_peek(&walk->cursor, batch_bytes, &bytes, &available);
    if (r < 0) {
        const baton_segment_info *info = &walk->segments.list[walk->current].info;
        char path[BATON_JOURNAL_PATH_BYTES];
        baton_segment_path(walk->directory, info->epoch, info->index, path);
        baton_segment_error(error, r, "read a segment", path);
        baton_error_at(error, path, walk->cursor.position);
        return r;
    }
    if (available < BATON_IO_UNIT)
        return stop(walk, false, "the file ends here, shorter than its header says");

    switch (baton_batch_check(bytes, available, &digest)) {
    case BATON_UNIT_VALID:
        if (!batch_fits(walk, bytes))
            return stop_at_bytes(walk, bytes,
                                 "a valid batch stands here that does not continue the chain");
        *ret_batch = bytes;
        return accept(walk, bytes, digest, error);
    case BATON_UNIT_ZERO:
        return stop(walk, true, "zeros stand here");
    case BATON_UNIT_NEWER:
        return batch_newer(walk, bytes, error);
    case BATON_UNIT_INVALID:
        break;
    }
    return stop_at_bytes(walk, bytes, "the bytes here are no valid batch");
}

static int step(baton_walk *walk, const baton_batch_header **ret_batch, baton_error *error)
{
    const baton_walk_options *options = &walk->options;

    for (;;) {
        if (options->published && walk->end.position.batch >= options->until.position.batch)
            return 0; /* as far as the writer said; stay inside, it may say more */
        int r = walk->inside ? next_batch(walk, ret_batch, error) : 0;
        if (r != 0)
            return r;
        if (walk->inside && options->progress != NULL)
            options->progress(options->progress_context, walk->done_bytes + walk->stop_offset,
                              walk->all_bytes);
        bool was_inside = walk->inside;
        uint32_t at = walk->current;
        walk->inside = false;
        r = baton_walk_enter_next(walk, error);
        if (was_inside && (r == 0 || r == BATON_E_DAMAGED)) {
            int named = baton_walk_still_named(walk, at, error);
            r = named < 0 ? named : r;
        }
        if (r < 0)
            return r;
        if (r == 0)
            return baton_walk_judge(walk, error);
    }
}

int baton_walk_next(baton_walk *walk, const baton_batch_header **ret_batch, baton_error *error)
{
    if (walk->finished)
        return walk->result;
    int r = step(walk, ret_batch, error);
    if (r == 1)
        return 1;
    walk->finished = true;
    walk->result = r;
    return r;
}

bool baton_walk_extend(baton_walk *walk, const baton_chain_end *until, const baton_recent *recent)
{
    if (!walk->finished || walk->result != 0 || !walk->inside || !walk->options.published)
        return false;
    const baton_segment *segment = &walk->segments.list[walk->current];
    if (segment->info.index != until->index || walk->end.index != until->index)
        return false;
    walk->options.until = *until;
    walk->options.recent = recent;
    if (baton_cursor_seek(&walk->cursor, walk->file, walk->end.offset,
                          baton_walk_segment_limit(walk, segment)) < 0)
        return false;
    walk->finished = false;
    return true;
}
