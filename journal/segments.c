/* journal/segments.c: list a journal directory and find the chain of live segments. */
#include "base/breakable.h"
#include "journal/segments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NOTHING_TO_DO_HERE "read the journal with the version that wrote it, or a newer one"

void baton_segment_path(const char *directory, uint64_t epoch, uint64_t index,
                        char path[BATON_JOURNAL_PATH_BYTES])
{
    char name[BATON_SEGMENT_NAME_BYTES];
    baton_segment_name(epoch, index, name);
    int length = snprintf(path, BATON_JOURNAL_PATH_BYTES, "%s/%s", directory, name);
    baton_assert(length > 0 && (uint32_t)length < BATON_JOURNAL_PATH_BYTES);
}

int baton_segment_open(baton_io *io, const char *path, baton_io_file *ret_file)
{
    int r = baton_io_file_open(io, path, BATON_IO_FOR_READ | BATON_IO_DIRECT, ret_file);
    if (r == -EINVAL) /* no direct I/O here, e.g. a copy on tmpfs: reading needs none */
        r = baton_io_file_open(io, path, BATON_IO_FOR_READ, ret_file);
    return r;
}

int baton_segment_error(baton_error *error, int r, const char *what, const char *path)
{
    const char *todo = "look at the file system and the device";
    if (r == -EACCES || r == -EPERM)
        todo = "run as the user who owns the journal, or give this one the right to read it";
    else if (r == -EMFILE || r == -ENFILE)
        todo = "raise the limit of open files";
    else if (r == -ENOMEM)
        todo = "give the process more memory";
    baton_error_set(error, r, what, baton_status_text(r), todo);
    baton_error_at(error, path, UINT64_MAX);
    return r;
}

/* ---- names ---- */

typedef struct {
    baton_segments *segments;
    const baton_segments_range *range;
} name_visit;

static int name_compare(uint64_t epoch, uint64_t index, uint64_t other_epoch, uint64_t other_index)
{
    if (epoch != other_epoch)
        return epoch < other_epoch ? -1 : 1;
    return index < other_index ? -1 : index > other_index;
}

static int visit_name(void *context, const char *name)
{
    name_visit *visit = context;
    baton_segments *segments = visit->segments;
    const baton_segments_range *range = visit->range;
    uint64_t epoch, index;

    if (!baton_segment_name_parse(name, &epoch, &index))
        return 0; /* LOCK, HINT, BALLAST, torn/, or not ours */
    if (epoch > segments->epoch_highest)
        segments->epoch_highest = epoch;
    if (index > segments->index_highest)
        segments->index_highest = index;
    if (name_compare(epoch, index, range->first_epoch, range->first_index) < 0 ||
        (range->last_index != 0 && index > range->last_index))
        return 0;
    if (segments->count == segments->room) {
        uint32_t room = segments->room == 0 ? 16 : segments->room * 2;
        baton_segment *list = realloc(segments->list, room * sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        segments->list = list;
        segments->room = room;
    }
    segments->list[segments->count++] = (baton_segment){
        .info = {.epoch = epoch, .index = index, .state = BATON_SEGMENT_VOID},
        .cut_offset = UINT64_MAX,
    };
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const baton_segment_info *left = &((const baton_segment *)a)->info;
    const baton_segment_info *right = &((const baton_segment *)b)->info;
    return name_compare(left->epoch, left->index, right->epoch, right->index);
}

/* ---- headers ---- */

static void take_header(baton_segment *segment, const baton_segment_header *header)
{
    segment->info.first_seq = baton_le64_get(header->first_seq);
    segment->written_mode = (baton_le32_get(header->flags) & BATON_SEGMENT_WRITTEN_MODE) != 0;
    segment->follower = (baton_le32_get(header->flags) & BATON_SEGMENT_FOLLOWER) != 0;
    segment->recycled = (baton_le32_get(header->flags) & BATON_SEGMENT_RECYCLED) != 0;
    segment->segment_bytes = baton_le64_get(header->segment_bytes);
    segment->first_batch = baton_le64_get(header->first_batch);
    segment->last_time_ns = baton_le64_get(header->last_time_ns);
    segment->created_wall_ns = baton_le64_get(header->created_wall_ns);
    segment->continues = baton_position_get(&header->continues);
    memcpy(segment->continues_digest.bytes, header->continues_digest, 16);
    segment->continues_index = baton_le64_get(header->continues_index);
    segment->continues_offset = baton_le64_get(header->continues_offset);
    segment->begins_epoch = segment->continues.epoch != segment->info.epoch;
}

/* 0, -ENOENT: the name leads nowhere, another -errno. */
static int look_for(baton_io *io, const char *path)
{
    baton_io_file file = BATON_IO_NO_FILE;

    int r = baton_segment_open(io, path, &file);
    if (r == 0)
        baton_io_file_close(io, file);
    return r;
}

/* 0, -ENOENT when the file went away meanwhile, another -errno. */
static int read_header(baton_io *io, const char *path, baton_segment *segment,
                       baton_segment_header *header)
{
    baton_io_file file = BATON_IO_NO_FILE;

    int r = baton_segment_open(io, path, &file);
    if (r < 0)
        return r;
    r = baton_io_file_size(io, file, &segment->info.file_bytes);
    if (r == 0) {
        int64_t got = baton_io_file_read(io, file, header, sizeof(*header), 0);
        if (got < 0)
            r = (int)got;
        else /* a file that ends inside its header has none: the rest counts as never written */
            memset((uint8_t *)header + got, 0, sizeof(*header) - (size_t)got);
    }
    baton_io_file_close(io, file);
    if (r < 0)
        return r;

    segment->header = baton_segment_header_check(header);
    if (segment->header == BATON_UNIT_VALID &&
        (baton_le64_get(header->epoch) != segment->info.epoch ||
         baton_le64_get(header->index) != segment->info.index))
        segment->header = BATON_UNIT_INVALID;
    if (segment->header != BATON_UNIT_VALID)
        /* A retired segment is renamed before its header is zeroed: it may have been one. */
        return look_for(io, path);
    take_header(segment, header);
    return 0;
}

static int newer_format(baton_error *error, const char *path, uint32_t version)
{
    baton_error_setf(error, BATON_E_NEWER_FORMAT, "open journal", NOTHING_TO_DO_HERE,
                     "%s says format version %u, this build reads up to %u", "the segment's header",
                     version, BATON_JOURNAL_VERSION);
    baton_error_at(error, path, 0);
    return BATON_E_NEWER_FORMAT;
}

static int same_journal(baton_segments *segments, const baton_segment_header *header,
                        const char *path, baton_error *error)
{
    baton_digest id;
    memcpy(id.bytes, header->journal_id, sizeof(id.bytes));
    if (segments->any_header && !baton_digest_equal(id, segments->id)) {
        baton_error_set(error, BATON_E_OTHER_JOURNAL, "open journal",
                        "the segment belongs to another journal than those before it",
                        "move it to the directory it came from");
        baton_error_at(error, path, 0);
        return BATON_E_OTHER_JOURNAL;
    }
    segments->any_header = true;
    segments->id = id;
    memcpy(segments->service, header->service, sizeof(segments->service));
    return 0;
}

static int read_headers(baton_io *io, const char *directory, void *unit, baton_segments *segments,
                        baton_error *error)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < segments->count; i++) {
        baton_segment segment = segments->list[i];
        char path[BATON_JOURNAL_PATH_BYTES];
        baton_segment_path(directory, segment.info.epoch, segment.info.index, path);
        int r = read_header(io, path, &segment, unit);
        if (r == -ENOENT)
            continue; /* retired meanwhile */
        if (r < 0)
            return baton_segment_error(error, r, "read a segment's header", path);
        const baton_segment_header *header = unit;
        if (segment.header == BATON_UNIT_NEWER)
            return newer_format(error, path, baton_le32_get(header->version));
        if (segment.header == BATON_UNIT_VALID) {
            r = same_journal(segments, header, path, error);
            if (r < 0)
                return r;
        }
        if (segment.header == BATON_UNIT_ZERO)
            segment.info.state = BATON_SEGMENT_READY;
        segments->list[kept++] = segment;
        if (BATON_BREAK(STOP_AT_BAD_HEADER) && segment.header != BATON_UNIT_VALID)
            break;
    }
    segments->count = kept;
    return 0;
}

/* A file without a header may be a recycled one, that is ready or was just taken into use. Then its
 * epoch has come so far that there is an older segment of it with a header: what was recycled was
 * retired before that one. And an epoch is followed as a whole, or not at all. */
static void guess_from_older(baton_segments *segments)
{
    const baton_segment *valid = NULL;

    for (uint32_t i = 0; i < segments->count; i++) {
        baton_segment *segment = &segments->list[i];
        if (segment->header == BATON_UNIT_VALID) {
            valid = segment;
        } else if (valid != NULL && valid->info.epoch == segment->info.epoch) {
            segment->recycled = true;
            segment->follower = valid->follower;
        }
    }
}

/* ---- the live chain ---- */

static uint64_t epoch_with_header(const baton_segments *segments)
{
    for (uint32_t i = segments->count; i-- > 0;) {
        if (segments->list[i].header == BATON_UNIT_VALID)
            return segments->list[i].info.epoch;
    }
    return 0;
}

/* Something older than `oldest`, the first live segment, that retirement would have removed before
 * its predecessor: then the predecessor was lost, not retired. */
static bool older_is_there(const baton_segments *segments, const baton_segment *oldest)
{
    for (const baton_segment *s = segments->list; s < oldest; s++) {
        if (s->info.epoch == oldest->continues.epoch && s->info.index == oldest->continues_index)
            return true;
        if (s->header == BATON_UNIT_VALID && s->info.epoch <= oldest->continues.epoch &&
            s->info.index < oldest->continues_index)
            return true;
    }
    return false;
}

/* What is live of one epoch, from its last segment down to the first, which is returned. A follower's
 * segment cuts its own epoch: what a killed one left behind the place that it goes on from is void,
 * and stands here again. */
static baton_segment *find_epoch(baton_segments *segments, uint64_t epoch, uint64_t cut_index,
                                 uint64_t cut_offset)
{
    baton_segment *first = NULL;

    for (uint32_t at = segments->count; at-- > 0;) {
        baton_segment *s = &segments->list[at];
        if (s->info.epoch != epoch || s->header != BATON_UNIT_VALID || s->info.index > cut_index)
            continue;
        s->live = true;
        if (s->info.index == cut_index)
            s->cut_offset = cut_offset;
        first = s;
        if (s->follower) {
            cut_index = s->continues_index;
            cut_offset = s->continues_offset;
        }
    }
    return first;
}

/* From the highest epoch down: what its first header continues ends the epoch before; epochs
 * between the two are void, and so is everything of the older one after that place (J10). */
static void find_chain(baton_segments *segments)
{
    uint64_t epoch = epoch_with_header(segments);
    uint64_t cut_index = UINT64_MAX;
    uint64_t cut_offset = UINT64_MAX;
    baton_segment *oldest = NULL;

    segments->hole = segments->count;
    while (epoch != 0) {
        baton_segment *first = find_epoch(segments, epoch, cut_index, cut_offset);
        if (first == NULL)
            break;
        oldest = first;
        if (!first->begins_epoch || first->continues.batch == 0)
            break;
        epoch = first->continues.epoch;
        cut_index = first->continues_index;
        cut_offset = first->continues_offset;
    }
    if (oldest != NULL && oldest->continues.batch != 0 && older_is_there(segments, oldest)) {
        segments->hole = (uint32_t)(oldest - segments->list);
        segments->hole_epoch = oldest->continues.epoch;
        segments->hole_index = oldest->continues_index;
    }
}

int baton_segments_read(baton_io *io, const char *directory, const baton_segments_range *range,
                        void *unit, baton_segments *segments, baton_error *error)
{
    name_visit visit = {.segments = segments, .range = range};

    *segments = (baton_segments){0};
    int r = baton_io_directory_list(io, directory, visit_name, &visit);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return baton_segment_error(error, r, "list the journal directory", directory);
    if (segments->count > 0)
        qsort(segments->list, segments->count, sizeof(segments->list[0]), by_name);
    r = read_headers(io, directory, unit, segments, error);
    if (r < 0)
        return r;
    guess_from_older(segments);
    find_chain(segments);
    return 0;
}

void baton_segments_fini(baton_segments *segments)
{
    free(segments->list);
    *segments = (baton_segments){0};
}
