/* journal/evidence.c: search what stands behind the end of the journal for proof that more was
 * durable. */
#include "journal/evidence.h"

#include <errno.h>
#include <string.h>

/* A ready segment is all zeros. When it begins with this many, only its trailer is looked at
 * besides. */
#define READY_BYTES (1u << 20)

void baton_evidence_add(baton_evidence *evidence, baton_position position, const char *from)
{
    int order = baton_position_compare(position, evidence->position);
    if (order > 0 || (order == 0 && position.seq > evidence->position.seq)) {
        evidence->position = position;
        evidence->from = from;
    }
}

bool baton_evidence_carried(const baton_batch_header *batch, baton_position *ret_position)
{
    *ret_position = (baton_position){.epoch = baton_le64_get(batch->durable_epoch),
                                     .batch = baton_le64_get(batch->durable_batch),
                                     .seq = baton_le64_get(batch->durable_seq)};
    return ret_position->epoch <= baton_le64_get(batch->epoch) &&
           ret_position->batch < baton_le64_get(batch->batch) &&
           ret_position->seq < baton_le64_get(batch->first_seq);
}

bool baton_evidence_trailer(const baton_segments *segments, const baton_segment *segment,
                            const void *unit, baton_position *ret_last, baton_digest *ret_digest)
{
    const baton_segment_trailer *trailer = unit;

    if (baton_segment_trailer_check(trailer) != BATON_UNIT_VALID ||
        baton_le64_get(trailer->epoch) != segment->info.epoch ||
        baton_le64_get(trailer->index) != segment->info.index ||
        (segments->any_header &&
         memcmp(trailer->journal_id, segments->id.bytes, sizeof(segments->id.bytes)) != 0))
        return false;
    *ret_last = baton_position_get(&trailer->last);
    memcpy(ret_digest->bytes, trailer->last_digest, sizeof(ret_digest->bytes));
    return true;
}

static bool unit_is_zero(const void *unit)
{
    const uint8_t *bytes = unit;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, BATON_IO_UNIT - 1) == 0;
}

/* Cheap enough to ask of every unit: only what passes is digested. */
static bool may_be_batch(const baton_segments *segments, const baton_segment *segment,
                         const baton_batch_header *batch, uint32_t *ret_batch_bytes)
{
    return baton_le64_get(batch->epoch) == segment->info.epoch &&
           baton_batch_plausible(batch, ret_batch_bytes) &&
           (!segments->any_header ||
            memcmp(batch->journal_id, segments->id.bytes, sizeof(segments->id.bytes)) == 0);
}

/* The batch at the cursor, if one begins there: its evidence, and how many bytes it fills. 0: none
 * begins there. */
static int collect_batch(baton_cursor *cursor, const baton_segments *segments,
                         const baton_segment *segment, baton_evidence *evidence,
                         uint32_t *ret_batch_bytes)
{
    const void *bytes;
    uint64_t available;
    uint32_t batch_bytes;
    baton_digest digest;
    baton_position carried;

    *ret_batch_bytes = 0;
    int r = baton_cursor_peek(cursor, BATON_IO_UNIT, &bytes, &available);
    if (r < 0 || !may_be_batch(segments, segment, bytes, &batch_bytes))
        return r;
    r = baton_cursor_peek(cursor, batch_bytes, &bytes, &available);
    if (r < 0 || baton_batch_check(bytes, available, &digest) != BATON_UNIT_VALID)
        return r;
    *ret_batch_bytes = batch_bytes;
    const baton_batch_header *batch = bytes;
    if (!segment->follower && baton_evidence_carried(batch, &carried))
        baton_evidence_add(evidence, carried,
                           baton_le16_get(batch->flags) & BATON_BATCH_MARK ? "mark" : "batch");
    return 0;
}

/* Counted from the first such byte of a segment to its last, whatever stands between. */
static void tail_add(baton_tail *tail, const baton_segment *segment, uint64_t offset,
                     uint64_t bytes)
{
    if (tail->bytes == 0) {
        tail->epoch = segment->info.epoch;
        tail->index = segment->info.index;
        tail->offset = offset;
    }
    uint32_t at = tail->pieces_count > 0 ? tail->pieces_count - 1 : 0;
    baton_torn_piece *piece = &tail->pieces[at];
    bool begun = tail->pieces_count > 0 && piece->epoch == segment->info.epoch &&
                 piece->index == segment->info.index;
    if (!begun && tail->pieces_count == BATON_TORN_PIECES_MAX) {
        tail->bytes += bytes;
        return;
    }
    if (!begun) {
        piece = &tail->pieces[tail->pieces_count++];
        *piece = (baton_torn_piece){
            .epoch = segment->info.epoch, .index = segment->info.index, .offset = offset};
    }
    uint64_t end = piece->offset + piece->bytes;
    tail->bytes += offset + bytes - end;
    piece->bytes = offset + bytes - piece->offset;
}

/* One segment from offset to end, the last unit of which is the trailer's. */
static int collect_units(baton_cursor *cursor, const baton_segments *segments,
                         const baton_segment *segment, baton_io_file file, uint64_t end,
                         baton_evidence *evidence, baton_tail *tail)
{
    uint64_t ready = segment->header == BATON_UNIT_ZERO ? READY_BYTES : UINT64_MAX;

    for (;;) {
        const void *unit;
        uint64_t available;
        uint64_t at = cursor->position;
        int r = baton_cursor_peek(cursor, BATON_IO_UNIT, &unit, &available);
        if (r < 0 || available < BATON_IO_UNIT)
            return r;
        uint32_t step = BATON_IO_UNIT;
        baton_position last;
        baton_digest digest;
        if (unit_is_zero(unit)) {
            if (at >= ready && at + 2 * BATON_IO_UNIT < end) {
                r = baton_cursor_seek(cursor, file, end - BATON_IO_UNIT, end);
                if (r < 0)
                    return r;
                continue;
            }
        } else if (segment->header == BATON_UNIT_VALID &&
                   at + BATON_IO_UNIT == segment->segment_bytes) { /* no other unit is its place */
            if (baton_evidence_trailer(segments, segment, unit, &last, &digest))
                baton_evidence_add(evidence, last, "trailer");
        } else if (baton_evidence_trailer(segments, segment, unit, &last, &digest)) {
            baton_evidence_add(evidence, last,
                               "trailer"); /* without a header the size is a guess */
        } else {
            ready = UINT64_MAX;
            r = collect_batch(cursor, segments, segment, evidence, &step);
            if (r < 0)
                return r;
            step = step == 0 ? BATON_IO_UNIT : step;
            tail_add(tail, segment, at, step);
        }
        baton_cursor_skip(cursor, step);
    }
}

static int collect_segment(baton_cursor *cursor, const char *directory,
                           const baton_segments *segments, const baton_segment *segment,
                           uint64_t offset, baton_evidence *evidence, baton_tail *tail,
                           baton_error *error)
{
    char path[BATON_JOURNAL_PATH_BYTES];
    baton_io_file file = BATON_IO_NO_FILE;
    uint64_t end = segment->info.file_bytes / BATON_IO_UNIT * BATON_IO_UNIT;

    if (segment->header == BATON_UNIT_VALID && segment->segment_bytes < end)
        end = segment->segment_bytes;
    baton_segment_path(directory, segment->info.epoch, segment->info.index, path);
    int r = baton_segment_open(cursor->io, path, &file);
    if (r == -ENOENT)
        return 0; /* removed since it was listed: nothing that was durable is removed while it
                     counts */
    if (r == 0 && offset < end)
        r = baton_cursor_seek(cursor, file, offset, end);
    if (r == 0 && offset < end)
        r = collect_units(cursor, segments, segment, file, end, evidence, tail);
    int stopped = baton_cursor_stop(cursor);
    r = r < 0 ? r : stopped;
    if (stopped == 0)
        baton_io_file_close(cursor->io, file);
    return r < 0 ? baton_segment_error(error, r, "read a segment", path) : 0;
}

int baton_evidence_collect(baton_cursor *cursor, const char *directory,
                           const baton_segments *segments, const baton_evidence_place *end,
                           baton_evidence *evidence, baton_tail *ret_tail, baton_error *error)
{
    *ret_tail = (baton_tail){0};
    for (uint32_t i = end->segment; i < segments->count; i++) {
        const baton_segment *segment = &segments->list[i];
        /* A close mark is its writer's last batch; a later epoch may still have begun. */
        if (end->closed && segment->info.epoch == segments->list[end->segment].info.epoch)
            continue;
        uint64_t offset = i == end->segment ? end->offset : BATON_IO_UNIT;
        int r = collect_segment(cursor, directory, segments, segment, offset, evidence, ret_tail,
                                error);
        if (r < 0)
            return r;
    }
    return 0;
}
