/* journal/walk_segments.c: from segment to segment: which bytes of one count, which one is next, and
 * reading on into it. */
#include "journal/walk.h"

#include <errno.h>
#include <string.h>

uint64_t baton_walk_segment_limit(const baton_walk *walk, const baton_segment *segment)
{
    uint64_t limit = segment->segment_bytes - BATON_IO_UNIT;
    const baton_chain_end *until = &walk->options.until;

    if (segment->cut_offset < limit)
        limit = segment->cut_offset;
    if (walk->options.published && segment->info.index == until->index && until->offset < limit)
        limit = until->offset / BATON_IO_UNIT * BATON_IO_UNIT;
    return limit;
}

static int gone(const char *path, baton_error *error)
{
    baton_error_set(error, BATON_E_GONE, "read the journal", "the segment was retired meanwhile",
                    "take a newer snapshot and read from there");
    baton_error_at(error, path, UINT64_MAX);
    return BATON_E_GONE;
}

/* A retired segment is renamed before it is written anew. So where an open file does not lead on,
 * that means something only if the name still leads to a file: no name is ever used twice. */
int baton_walk_still_named(const baton_walk *walk, uint32_t at, baton_error *error)
{
    const baton_segment_info *info = &walk->segments.list[at].info;
    char path[BATON_JOURNAL_PATH_BYTES];
    baton_io_file file;

    baton_segment_path(walk->directory, info->epoch, info->index, path);
    int r = baton_segment_open(walk->io, path, &file);
    if (r == -ENOENT)
        return gone(path, error);
    if (r < 0)
        return baton_segment_error(error, r, "read a segment", path);
    baton_io_file_close(walk->io, file);
    return 0;
}

/* The next live segment is opened and read ahead, so that the reads never pause between two. What
 * can't be opened now is told when the walk comes there. */
static void follow(baton_walk *walk)
{
    const baton_segments *segments = &walk->segments;
    uint32_t at = baton_walk_live_from(segments, walk->current + 1);
    char path[BATON_JOURNAL_PATH_BYTES];

    if (at >= segments->count || walk->following || walk->options.recent != NULL)
        return;
    const baton_segment *segment = &segments->list[at];
    baton_segment_path(walk->directory, segment->info.epoch, segment->info.index, path);
    if (baton_segment_open(walk->io, path, &walk->following_file) < 0)
        return;
    walk->following = true;
    walk->following_at = at;
    baton_cursor_follow(&walk->cursor, walk->following_file, 0,
                        baton_walk_segment_limit(walk, segment));
}

/* Open it, unless that was done ahead, and let the cursor go there. Reads of the file before are over
 * then, and it is closed. */
static int open_at(baton_walk *walk, uint32_t at, uint64_t offset, const char *path)
{
    const baton_segment *segment = &walk->segments.list[at];
    bool followed = walk->following && walk->following_at == at;
    baton_io_file file = walk->following_file;

    int r = followed ? 0 : baton_segment_open(walk->io, path, &file);
    if (r < 0)
        return r;
    r = baton_cursor_seek(&walk->cursor, file, offset, baton_walk_segment_limit(walk, segment));
    if (r < 0) {
        if (!followed)
            baton_io_file_close(walk->io, file);
        return r;
    }
    baton_io_file_close(walk->io, walk->file);
    if (walk->following && !followed)
        baton_io_file_close(walk->io, walk->following_file);
    walk->following = false;
    walk->file = file;
    return 0;
}

/* Where the cursor enters: at the header, which comes with the first of what is read ahead; or, when
 * nothing may have to be read ahead, at the batch that goes on. */
static uint64_t entry_offset(const baton_walk *walk, bool resumed)
{
    if (resumed)
        return walk->end.offset;
    return walk->options.recent != NULL ? BATON_IO_UNIT : 0;
}

/* Its header, into walk->unit; then the cursor stands at the first batch, or where a resumed walk
 * goes on. */
static int read_header(baton_walk *walk)
{
    const void *bytes;
    uint64_t available;

    memset(walk->unit, 0, BATON_IO_UNIT);
    if (walk->cursor.position > 0) {
        int64_t got = baton_io_file_read(walk->io, walk->file, walk->unit, BATON_IO_UNIT, 0);
        return got < 0 ? (int)got : 0;
    }
    int r = baton_cursor_peek(&walk->cursor, BATON_IO_UNIT, &bytes, &available);
    if (r < 0)
        return r;
    memcpy(walk->unit, bytes, available);
    baton_cursor_skip(&walk->cursor, available);
    return 0;
}

/* Read the standing facts from its header, and stand at its first batch, or where a resumed walk
 * goes on. */
static int enter(baton_walk *walk, uint32_t at, bool resumed, baton_error *error)
{
    const baton_segment *segment = &walk->segments.list[at];
    const baton_segment_header *header = walk->unit;
    char path[BATON_JOURNAL_PATH_BYTES];

    baton_segment_path(walk->directory, segment->info.epoch, segment->info.index, path);
    int r = open_at(walk, at, entry_offset(walk, resumed), path);
    if (r == -ENOENT)
        return gone(path, error);
    if (r == 0)
        r = read_header(walk);
    if (r < 0)
        return baton_segment_error(error, r, "read a segment", path);
    walk->current = at;
    if (baton_segment_header_check(header) != BATON_UNIT_VALID ||
        baton_le64_get(header->index) != segment->info.index) {
        r = baton_walk_still_named(walk, at, error);
        if (r < 0)
            return r;
        walk->stop_offset = 0;
        walk->stop_why = "its header was valid a moment ago and is not any more";
        return baton_walk_damaged(walk, error, segment->continues, "segment header");
    }
    walk->facts.finalized_schema = baton_le32_get(header->finalized_schema);
    walk->facts.roots_count = baton_le32_get(header->roots_count);
    walk->facts.handover = header->handover;
    memcpy(walk->facts.roots, header->roots, sizeof(walk->facts.roots));
    walk->header_facts = walk->facts;
    if (segment->last_time_ns > walk->last_time_ns)
        walk->last_time_ns = segment->last_time_ns;
    if (segment->begins_epoch)
        baton_evidence_add(&walk->evidence, segment->continues, "segment header");

    follow(walk);
    walk->closed = false;
    walk->inside = true;
    return 0;
}

/* 1: inside the next live segment. 0: none goes on from here. */
int baton_walk_enter_next(baton_walk *walk, baton_error *error)
{
    const baton_segments *segments = &walk->segments;
    uint32_t at = walk->current;

    if (walk->start >= segments->count)
        return 0;
    const baton_segment *segment = &segments->list[at];
    bool began = walk->file != BATON_IO_NO_FILE;
    if (!began && at == walk->start) {
        const baton_chain_end *from = &walk->options.from;
        bool resumed = walk->options.resume && segment->info.index == from->index &&
                       segment->info.epoch == from->position.epoch;
        if (!resumed)
            walk->end = (baton_chain_end){.position = segment->continues,
                                          .digest = segment->continues_digest,
                                          .index = segment->continues_index,
                                          .offset = segment->continues_offset};
        int r = enter(walk, at, resumed, error);
        return r < 0 ? r : 1;
    }

    at = baton_walk_live_from(segments, at + 1);
    if (at >= segments->count)
        return 0;
    segment = &segments->list[at];
    if (!baton_walk_continues_end(segment, &walk->end)) {
        if (segment->begins_epoch) /* it names what was durable when it was written (J10) */
            return baton_walk_damaged(walk, error, segment->continues, "segment header");
        return 0;
    }
    walk->done_bytes += segments->list[walk->current].info.file_bytes;
    int r = enter(walk, at, false, error);
    return r < 0 ? r : 1;
}
