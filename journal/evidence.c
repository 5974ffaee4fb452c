/* journal/evidence.c: search what stands behind the end of the journal for proof that more was
 * durable. */
#include "base/breakable.h"
#include "journal/evidence.h"

#include <errno.h>
#include <string.h>

/* A ready segment holds nothing but zeros and stale bytes. When it begins with this many, only its
 * trailer is looked at besides. */
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

bool baton_evidence_is_stale(const baton_segments *segments, const baton_segment *segment,
                             const void *unit, baton_position last)
{
    const baton_batch_header *batch = unit;
    uint32_t batch_bytes;

    if (!segment->recycled || BATON_BREAK(STALE_IS_TORN))
        return false;
    if (!may_be_batch(segments, segment, batch, &batch_bytes))
        return true;
    const baton_position position = {.epoch = segment->info.epoch,
                                     .batch = baton_le64_get(batch->batch)};
    return baton_position_compare(position, last) <= 0;
}

/* One search: what it goes by, and what it finds. */
typedef struct {
    baton_cursor *cursor;
    const baton_segments *segments;
    baton_position last; /* accepted */
    baton_evidence *evidence;
    baton_tail *tail;
} search;

/* The batch at the cursor, if one begins there: its evidence. *ret_step: where to look next; *ret_bytes:
 * how far it reaches, or says that it does. */
static int collect_batch(search *self, const baton_segment *segment, uint32_t *ret_step,
                         uint32_t *ret_bytes)
{
    const void *bytes;
    uint64_t available;
    uint32_t batch_bytes;
    baton_digest digest;
    baton_position carried;

    *ret_step = *ret_bytes = BATON_IO_UNIT;
    int r = baton_cursor_peek(self->cursor, BATON_IO_UNIT, &bytes, &available);
    if (r < 0 || !may_be_batch(self->segments, segment, bytes, &batch_bytes))
        return r;
    r = baton_cursor_peek(self->cursor, batch_bytes, &bytes, &available);
    if (r < 0)
        return r;
    if (segment->recycled) /* its other units have no mark of their own */
        *ret_bytes = available < batch_bytes ? (uint32_t)available : batch_bytes;
    if (baton_batch_check(bytes, available, &digest) != BATON_UNIT_VALID)
        return 0;
    *ret_step = *ret_bytes = batch_bytes;
    const baton_batch_header *batch = bytes;
    if (!segment->follower && baton_evidence_carried(batch, &carried))
        baton_evidence_add(self->evidence, carried,
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
    if (offset + bytes <= end) /* inside what a torn batch says that it fills */
        return;
    tail->bytes += offset + bytes - end;
    piece->bytes = offset + bytes - piece->offset;
}

typedef enum {
    UNIT_OF_NOTHING, /* zeros, or stale */
    UNIT_OF_TRAILER, /* its place, at least */
    UNIT_OF_TAIL,
} unit_kind;

static unit_kind kind_of(search *self, const baton_segment *segment, const void *unit, uint64_t at)
{
    baton_position last;
    baton_digest digest;

    if (unit_is_zero(unit))
        return UNIT_OF_NOTHING;
    /* Without a header the size is a guess: then any unit may be its place. */
    if (baton_evidence_trailer(self->segments, segment, unit, &last, &digest)) {
        baton_evidence_add(self->evidence, last, "trailer");
        return UNIT_OF_TRAILER;
    }
    if (segment->header == BATON_UNIT_VALID && at + BATON_IO_UNIT == segment->segment_bytes)
        return UNIT_OF_TRAILER;
    bool stale = baton_evidence_is_stale(self->segments, segment, unit, self->last);
    return stale ? UNIT_OF_NOTHING : UNIT_OF_TAIL;
}

/* One segment from the cursor to end, the last unit of which is the trailer's. */
static int collect_units(search *self, const baton_segment *segment, baton_io_file file,
                         uint64_t end)
{
    baton_cursor *cursor = self->cursor;
    uint64_t ready = segment->header == BATON_UNIT_ZERO ? READY_BYTES : UINT64_MAX;

    for (;;) {
        const void *unit;
        uint64_t available;
        uint64_t at = cursor->position;
        int r = baton_cursor_peek(cursor, BATON_IO_UNIT, &unit, &available);
        if (r < 0 || available < BATON_IO_UNIT)
            return r;
        uint32_t step = BATON_IO_UNIT; /* over what is stale, too: a batch may begin inside it */
        uint32_t bytes;
        unit_kind kind = kind_of(self, segment, unit, at);
        if (kind == UNIT_OF_NOTHING && at >= ready && at + 2 * BATON_IO_UNIT < end) {
            r = baton_cursor_seek(cursor, file, end - BATON_IO_UNIT, end);
            if (r < 0)
                return r;
            continue;
        }
        if (kind == UNIT_OF_TAIL) {
            ready = UINT64_MAX;
            r = collect_batch(self, segment, &step, &bytes);
            if (r < 0)
                return r;
            tail_add(self->tail, segment, at, bytes);
        }
        baton_cursor_skip(cursor, step);
    }
}

static int collect_segment(search *self, const char *directory, const baton_segment *segment,
                           uint64_t offset, baton_error *error)
{
    baton_cursor *cursor = self->cursor;
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
        r = collect_units(self, segment, file, end);
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
    search self = {.cursor = cursor,
                   .segments = segments,
                   .last = end->last,
                   .evidence = evidence,
                   .tail = ret_tail};

    *ret_tail = (baton_tail){0};
    for (uint32_t i = end->segment; i < segments->count; i++) {
        const baton_segment *segment = &segments->list[i];
        /* A close mark is its writer's last batch; a later epoch may still have begun. */
        if (end->closed && segment->info.epoch == segments->list[end->segment].info.epoch)
            continue;
        uint64_t offset = i == end->segment ? end->offset : BATON_IO_UNIT;
        int r = collect_segment(&self, directory, segment, offset, error);
        if (r < 0)
            return r;
    }
    return 0;
}
