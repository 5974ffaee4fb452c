/* journal/retire.c: remove segments that nothing needs any more. Not for the hot path: it lists,
 * reads headers, allocates.
 *
 * The oldest segment that stays must be an accepted one with a durable header: a journal begins
 * with it afterwards. Its header repeats the standing facts, so none is lost (J11). Removal goes
 * from the oldest on and stops at the first segment that has to stay, so that there is never a
 * hole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>

#include "journal/journal_private.h"

typedef struct {
    uint64_t epoch;
    uint64_t index;
    uint64_t first_seq;
    uint64_t continues_index;
    uint64_t continues_batch;
    uint64_t segment_bytes;
    bool valid;
    bool begins_epoch;
} kept_segment;

typedef struct {
    kept_segment *segments;
    uint32_t count;
    uint32_t room;
} segment_list;

static int visit(void *context, const char *name)
{
    segment_list *list = context;
    kept_segment segment = {0};
    if (!baton_segment_name_parse(name, &segment.epoch, &segment.index))
        return 0;
    if (list->count == list->room) {
        uint32_t room = list->room == 0 ? 64 : 2 * list->room;
        kept_segment *grown = realloc(list->segments, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        list->segments = grown;
        list->room = room;
    }
    list->segments[list->count++] = segment;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const kept_segment *x = a;
    const kept_segment *y = b;
    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void segment_path(const baton_journal *journal, const kept_segment *segment,
                         char path[JOURNAL_PATH_BYTES])
{
    char name[BATON_SEGMENT_NAME_BYTES];
    baton_segment_name(segment->epoch, segment->index, name);
    journal_path(journal, name, path);
}

static int read_header(baton_journal *journal, kept_segment *segment, baton_segment_header *header)
{
    char path[JOURNAL_PATH_BYTES];
    segment_path(journal, segment, path);
    baton_io_file file;
    int r = baton_io_file_open(journal->io, path, BATON_IO_FOR_READ, &file);
    if (r < 0)
        return r;
    int64_t got = baton_io_file_read(journal->io, file, header, sizeof(*header), 0);
    baton_io_file_close(journal->io, file);
    if (got < 0)
        return (int)got;
    segment->valid = got == (int64_t)sizeof(*header) &&
                     baton_segment_header_check(header) == BATON_UNIT_VALID &&
                     baton_le64_get(header->epoch) == segment->epoch &&
                     baton_le64_get(header->index) == segment->index;
    if (segment->valid) {
        baton_position continues = baton_position_get(&header->continues);
        segment->first_seq = baton_le64_get(header->first_seq);
        segment->segment_bytes = baton_le64_get(header->segment_bytes);
        segment->continues_index = baton_le64_get(header->continues_index);
        segment->continues_batch = continues.batch;
        segment->begins_epoch = continues.epoch != segment->epoch;
    }
    return 0;
}

/* A later epoch that goes on from an older segment voids this one (J10). */
static bool is_void(const segment_list *list, uint32_t at)
{
    for (uint32_t i = at + 1; i < list->count; i++) {
        const kept_segment *later = &list->segments[i];
        if (later->valid && later->begins_epoch && later->epoch > list->segments[at].epoch &&
            later->continues_index < list->segments[at].index)
            return true;
    }
    return false;
}

/* The segment that becomes the oldest: 0 when nothing can go. A durable batch stands behind its
 * header: a header alone that rots would leave what looks like a new journal. */
static uint32_t find_boundary(const baton_journal *journal, const segment_list *list,
                              uint64_t keep_from_seq)
{
    for (uint32_t i = list->count; i-- > 1;) {
        const kept_segment *segment = &list->segments[i];
        if (segment->valid && segment->index <= journal->durable_index &&
            segment->continues_batch < journal->proven.batch &&
            segment->first_seq <= keep_from_seq && !is_void(list, i))
            return i;
    }
    return 0;
}

/* In mode written a header may be no more than in the page cache: what the journal begins with
 * must outlive a power loss before what stands before it is removed. */
static int flush_boundary(baton_journal *journal)
{
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++) {
        const journal_segment *segment = &journal->segments[i];
        bool in_use = segment->state == SEGMENT_CURRENT || segment->state == SEGMENT_FINISHING;
        if (journal->mode != BATON_MODE_WRITTEN || !in_use)
            continue;
        int r = baton_io_file_sync(journal->io, segment->file);
        if (r < 0) {
            journal_break(journal, r, "flush", segment->path);
            return BATON_E_BROKEN;
        }
    }
    return 0;
}

static bool is_open(const baton_journal *journal, const kept_segment *segment)
{
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++) {
        const journal_segment *open = &journal->segments[i];
        if (open->state != SEGMENT_FREE && open->epoch == segment->epoch &&
            open->index == segment->index)
            return true;
    }
    return false;
}

/* Off the directory, or kept under another name to be used again. */
static int remove_one(baton_journal *journal, const kept_segment *segment, const char *path)
{
    bool own = segment->valid && segment->epoch == journal->epoch &&
               segment->index >= journal->index_first && /* not a killed follower's (J10) */
               segment->segment_bytes == journal->segment_bytes;
    if (own && journal_spare_keep(journal, path))
        return 0;
    int r = baton_io_unlink(journal->io, path);
    return r == -ENOENT ? 0 : r;
}

static int remove_older(baton_journal *journal, const segment_list *list, uint32_t boundary,
                        uint32_t *ret_removed)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < boundary; i++) {
        const kept_segment *segment = &list->segments[i];
        char path[JOURNAL_PATH_BYTES];
        segment_path(journal, segment, path);
        if (is_open(journal, segment)) /* its trailer is on the way */
            break;
        if (journal->archive && journal->archive(journal->archive_context, path) != 0)
            break;
        /* Readers are told first: the file that they then miss was retired, not lost. */
        journal->oldest_index = list->segments[i + 1].index;
        journal_publish(journal, true);
        r = remove_one(journal, segment, path);
        /* One by one: a power cut may keep any of several removals that were not synced, and what it
         * brought back behind a hole would be damage. */
        if (r == 0)
            r = baton_io_file_sync(journal->io, journal->directory_file);
        *ret_removed += r == 0;
    }
    journal_spares_named(journal, r == 0);
    return r;
}

int baton_journal_retire(baton_journal *journal, uint64_t keep_from_seq, uint32_t *ret_removed)
{
    *ret_removed = 0;
    if (journal->broken)
        return BATON_E_BROKEN;
    if (journal->epoch == 0)
        return BATON_E_INVALID;
    segment_list list = {0};
    baton_segment_header *header = malloc(sizeof(*header));
    int r =
        header ? baton_io_directory_list(journal->io, journal->directory, visit, &list) : -ENOMEM;
    if (r < 0)
        goto fail;
    if (list.count > 0)
        qsort(list.segments, list.count, sizeof(list.segments[0]), by_name);
    for (uint32_t i = 0; i < list.count; i++) {
        r = read_header(journal, &list.segments[i], header);
        if (r == -ENOENT) /* a next one that found the disk full is just being taken away */
            continue;
        if (r < 0)
            goto fail;
    }
    uint32_t boundary = find_boundary(journal, &list, keep_from_seq);
    r = boundary > 0 ? flush_boundary(journal) : 0;
    if (r < 0)
        goto fail;
    r = remove_older(journal, &list, boundary, ret_removed);
    if (*ret_removed > 0)
        baton_log(INFO, "journal.retired", BATON_LOG_NUMBER("segments", *ret_removed),
                  BATON_LOG_NUMBER("keep_from_seq", keep_from_seq));

fail:
    free(header);
    free(list.segments);
    return r;
}
