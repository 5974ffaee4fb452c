/* journal/start.c: in which segment a walk begins: the one that holds a seq, or where it stopped
 * reading before. */
#include "journal/walk.h"

#include <errno.h>
#include <string.h>

uint32_t baton_walk_live_from(const baton_segments *segments, uint32_t at)
{
    while (at < segments->count && !segments->list[at].live)
        at++;
    return at;
}

static uint32_t live_before(const baton_segments *segments, uint32_t at)
{
    uint32_t before = at;
    while (before > 0 && !segments->list[--before].live)
        ;
    return segments->list[before].live ? before : at;
}

/* Did all before this segment become durable? Its own header does not say so unless it begins an
 * epoch. */
static int begins_proven(baton_walk *walk, uint32_t at, uint32_t before, bool *ret_proven,
                         baton_error *error)
{
    const baton_segment *segment = &walk->segments.list[at];
    const baton_segment *previous = &walk->segments.list[before];
    char path[BATON_JOURNAL_PATH_BYTES];
    baton_io_file file = BATON_IO_NO_FILE;

    *ret_proven =
        segment->begins_epoch || walk->options.evidence.batch >= segment->continues.batch ||
        (walk->options.published && walk->options.until.position.batch >= segment->continues.batch);
    if (*ret_proven || previous->segment_bytes > previous->info.file_bytes)
        return 0;
    baton_segment_path(walk->directory, previous->info.epoch, previous->info.index, path);
    int64_t r = baton_segment_open(walk->io, path, &file);
    if (r == 0)
        r = baton_io_file_read(walk->io, file, walk->unit, BATON_IO_UNIT,
                               previous->segment_bytes - BATON_IO_UNIT);
    baton_io_file_close(walk->io, file);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return baton_segment_error(error, (int)r, "read a trailer", path);
    baton_position last;
    baton_digest digest;
    *ret_proven = r == BATON_IO_UNIT &&
                  baton_evidence_trailer(&walk->segments, previous, walk->unit, &last, &digest) &&
                  last.batch == segment->continues.batch &&
                  baton_digest_equal(digest, segment->continues_digest);
    return 0;
}

/* The last segment that begins at or before from_seq and whose beginning is proven: a hole before
 * an unproven one must be seen. */
static int choose_start(baton_walk *walk, baton_error *error)
{
    baton_segments *segments = &walk->segments;
    uint32_t oldest = baton_walk_live_from(segments, 0);

    walk->start = oldest;
    if (walk->options.from_seq == 0)
        return 0;
    for (uint32_t at = oldest; at < segments->count; at = baton_walk_live_from(segments, at + 1)) {
        if (segments->list[at].info.first_seq <= walk->options.from_seq)
            walk->start = at;
    }
    while (walk->start != oldest) {
        uint32_t before = live_before(segments, walk->start);
        bool proven;
        int r = begins_proven(walk, walk->start, before, &proven, error);
        if (r < 0)
            return r;
        if (proven)
            break;
        walk->start = before;
    }
    return 0;
}

bool baton_walk_continues_end(const baton_segment *segment, const baton_chain_end *end)
{
    return baton_position_compare(segment->continues, end->position) == 0 &&
           segment->continues.seq == end->position.seq &&
           baton_digest_equal(segment->continues_digest, end->digest) &&
           segment->continues_index == end->index && segment->continues_offset == end->offset;
}

/* Find the place that options.from names in a directory that may have changed since. */
static int resume_start(baton_walk *walk, baton_error *error)
{
    const baton_chain_end *from = &walk->options.from;
    baton_segments *segments = &walk->segments;
    int r = BATON_E_GONE;

    for (uint32_t at = 0; at < segments->count; at++) {
        const baton_segment *segment = &segments->list[at];
        if (segment->info.epoch == from->position.epoch && segment->info.index == from->index) {
            walk->start = at;
            if (segment->live && from->offset <= segment->cut_offset)
                return 0;
            r = segment->header == BATON_UNIT_VALID ? BATON_E_DIVERGED : BATON_E_DAMAGED;
            break;
        }
        if (segment->live &&
            baton_walk_continues_end(segment, from)) { /* retired right behind us */
            walk->start = at;
            return 0;
        }
    }
    if (r == BATON_E_GONE)
        baton_error_set(error, r, "read on in the journal", "the segment was retired meanwhile",
                        "take a newer snapshot and read from there");
    else if (r == BATON_E_DIVERGED)
        baton_error_set(error, r, "read on in the journal",
                        "a later epoch's header cuts off what was already read",
                        "start again from a snapshot that the journal names");
    else
        baton_error_set(error, r, "read on in the journal", "the segment's header is damaged",
                        "restore the segment from an archive or a replica");
    baton_error_at(error, walk->directory, UINT64_MAX);
    return r;
}

static int check_service(const baton_walk *walk, baton_error *error)
{
    const char *service = walk->options.service;

    if (service == NULL || service[0] == '\0' || walk->segments.service[0] == '\0' ||
        strcmp(service, walk->segments.service) == 0)
        return 0;
    baton_error_setf(error, BATON_E_OTHER_SERVICE, "open journal",
                     "name the directory of this service's own journal",
                     "it belongs to the service %s, not to %s", walk->segments.service, service);
    baton_error_at(error, walk->directory, UINT64_MAX);
    return BATON_E_OTHER_SERVICE;
}

/* A hole matters when what is asked for begins before it. */
static int check_hole(const baton_walk *walk, baton_error *error)
{
    const baton_segments *segments = &walk->segments;
    char path[BATON_JOURNAL_PATH_BYTES];

    if (segments->hole >= segments->count || walk->start != segments->hole ||
        walk->options.resume ||
        (walk->options.from_seq != 0 &&
         walk->options.from_seq >= segments->list[walk->start].info.first_seq))
        return 0;
    baton_error_set(error, BATON_E_DAMAGED, "open journal",
                    "the segment is missing or its header is damaged, while older ones and "
                    "acknowledged later ones are there",
                    BATON_JOURNAL_DAMAGED_TODO);
    baton_segment_path(walk->directory, segments->hole_epoch, segments->hole_index, path);
    baton_error_at(error, path, 0);
    return BATON_E_DAMAGED;
}

int baton_walk_start(baton_walk *walk, baton_error *error)
{
    int r = check_service(walk, error);
    if (r < 0)
        return r;
    uint32_t oldest = baton_walk_live_from(&walk->segments, 0);
    walk->first_seq =
        oldest < walk->segments.count ? walk->segments.list[oldest].info.first_seq : 0;
    if (walk->options.resume && walk->options.from.position.batch != 0)
        return resume_start(walk, error);
    r = choose_start(walk, error);
    return r < 0 ? r : check_hole(walk, error);
}
