/* journal/judge.c: what the place where the walk ended means (J5). */
#include "journal/walk.h"

#include <inttypes.h>
#include <stdio.h>

static const baton_segment *named(const baton_segments *segments, uint64_t epoch, uint64_t index)
{
    for (const baton_segment *s = segments->list; s < segments->list + segments->count; s++) {
        if (s->info.epoch == epoch && s->info.index == index)
            return s;
    }
    return NULL;
}

/* Zeros, and what is stale, may be a segment's honest end. Then the bad place is in what should go on from there: the
 * file that is not there, or the header that is no header. Returns why, or NULL when the segment
 * itself is to blame. */
static const char *successor_to_blame(const baton_walk *walk, uint64_t *epoch, uint64_t *index)
{
    const baton_segments *segments = &walk->segments;
    const baton_segment *successor = named(segments, *epoch, *index + 1);
    const baton_segment *end = segments->list + segments->count;
    const baton_segment *later = segments->list + walk->current + 1;

    while (later < end && !later->live)
        later++;
    bool more = later < end && later->continues.epoch == *epoch && later->continues_index > *index;
    if (more && (successor == NULL || successor->header != BATON_UNIT_VALID)) {
        ++*index;
        return successor == NULL ? "the segment is missing" : "the segment's header is not valid";
    }
    const baton_tail *tail = &walk->tail;
    const baton_segment *found = named(segments, tail->epoch, tail->index);
    if (tail->bytes > 0 && found != NULL && found->header != BATON_UNIT_VALID) {
        *epoch = tail->epoch;
        *index = tail->index;
        return "the segment's header is not valid";
    }
    return NULL;
}

static void damaged_place(const baton_walk *walk, char path[BATON_JOURNAL_PATH_BYTES],
                          uint64_t *ret_offset, const char **ret_why)
{
    const baton_segments *segments = &walk->segments;

    if (segments->count == 0) {
        (void)snprintf(path, BATON_JOURNAL_PATH_BYTES, "%s", walk->directory);
        *ret_offset = UINT64_MAX;
        *ret_why = "there is no segment";
        return;
    }
    bool any_live = walk->start < segments->count;
    const baton_segment *segment = &segments->list[any_live ? walk->current : 0];
    uint64_t epoch = segment->info.epoch;
    uint64_t index = segment->info.index;
    *ret_offset = walk->stop_offset;
    *ret_why = walk->stop_why;
    if (!any_live) {
        *ret_offset = 0;
        *ret_why = "the segment's header is not valid";
    } else if (walk->stop_may_be_end) {
        const char *why = successor_to_blame(walk, &epoch, &index);
        if (why != NULL) {
            *ret_offset = 0;
            *ret_why = why;
        }
    }
    baton_segment_path(walk->directory, epoch, index, path);
}

int baton_walk_damaged(baton_walk *walk, baton_error *error, baton_position lost, const char *proof)
{
    char path[BATON_JOURNAL_PATH_BYTES];
    uint64_t offset;
    const char *why;

    walk->lost = lost;
    damaged_place(walk, path, &offset, &why);
    baton_error_setf(
        error, BATON_E_DAMAGED, "read the journal", BATON_JOURNAL_DAMAGED_TODO,
        "%s, but batch %" PRIu64 " (up to entry %" PRIu64
        ") was durable, proven by: %s; good up to batch %" PRIu64 " (entry %" PRIu64 ")",
        why, lost.batch, lost.seq, proof, walk->end.position.batch, walk->end.position.seq);
    baton_error_at(error, path, offset);
    return BATON_E_DAMAGED;
}

static int judge_published(baton_walk *walk, baton_error *error)
{
    const baton_position *until = &walk->options.until.position;

    if (walk->end.position.batch >= until->batch)
        return 0;
    return baton_walk_damaged(walk, error, *until, "the writer's hint");
}

int baton_walk_judge(baton_walk *walk, baton_error *error)
{
    if (walk->options.published)
        return judge_published(walk, error);

    baton_evidence_place end = {.segment = walk->start < walk->segments.count ? walk->current : 0,
                                .offset = walk->stop_offset,
                                .last = walk->end.position,
                                .closed = walk->closed};
    int r = baton_evidence_collect(&walk->cursor, walk->directory, &walk->segments, &end,
                                   &walk->evidence, &walk->tail, error);
    if (r < 0)
        return r;
    /* Headers that the walk never reached say what was durable too. */
    for (uint32_t at = end.segment; at < walk->segments.count; at++) {
        const baton_segment *segment = &walk->segments.list[at];
        if (segment->live && segment->begins_epoch)
            baton_evidence_add(&walk->evidence, segment->continues, "segment header");
    }
    baton_evidence_add(&walk->evidence, walk->options.evidence, "caller");

    const baton_position *known = &walk->options.evidence;
    /* The seq also when it names no batch; the batch whatever its epoch: numbers go on across epochs,
     * so one that a later epoch never reached was cut off, and its seqs were given again. */
    if (known->seq > walk->end.position.seq || known->batch > walk->end.position.batch)
        return baton_walk_damaged(walk, error, *known, "caller");
    const baton_position *proven = &walk->evidence.position;
    /* A later epoch's batch was durable: then what stands here was void, whatever its number. */
    if (proven->batch > walk->end.position.batch || proven->seq > walk->end.position.seq ||
        proven->epoch > walk->end.position.epoch)
        return baton_walk_damaged(walk, error, *proven, walk->evidence.from);
    return 0;
}
