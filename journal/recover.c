/* journal/recover.c: what a directory holds, as the writer's open and the tools need it: the walk,
 * run to its end. */
#include "journal/recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/walk.h"

static uint64_t end_offset(const baton_walk *walk, uint32_t at)
{
    const baton_segment *segment = &walk->segments.list[at];

    if (segment->info.epoch == walk->end.position.epoch && segment->info.index == walk->end.index)
        return walk->end.offset;
    if (at == walk->current)
        return BATON_IO_UNIT; /* nothing but its header */
    for (uint32_t next = at + 1; next <= walk->current; next++) {
        if (walk->segments.list[next].live)
            return walk->segments.list[next].continues_offset;
    }
    return BATON_IO_UNIT;
}

static int take_segments(const baton_walk *walk, baton_recovery *recovery)
{
    const baton_segments *segments = &walk->segments;

    recovery->segments_count = segments->count;
    if (segments->count == 0)
        return 0;
    recovery->segments = calloc(segments->count, sizeof(recovery->segments[0]));
    if (recovery->segments == NULL)
        return -ENOMEM;
    for (uint32_t at = 0; at < segments->count; at++) {
        baton_segment_info *info = &recovery->segments[at];
        *info = segments->list[at].info;
        if (!segments->list[at].live) {
            info->first_seq = 0;
            continue;
        }
        if (at <= walk->current && segments->list[at].follower)
            recovery->epoch_followed = info->epoch;
        else if (at <= walk->current)
            recovery->epoch_own = info->epoch;
        if (at < walk->start) {
            info->state = BATON_SEGMENT_UNCHECKED;
        } else if (at <= walk->current) {
            info->state = BATON_SEGMENT_ACCEPTED;
            info->end_offset = end_offset(walk, at);
        } else {
            info->first_seq = 0; /* a header behind a torn batch: nothing in it was acknowledged */
        }
    }
    return 0;
}

/* Zeros and half a header are a ready segment; anything else behind the end is kept aside by the
 * next begin. */
static void mark_torn(const baton_walk *walk, baton_recovery *recovery)
{
    const baton_tail *tail = &walk->tail;

    recovery->report.torn_cut = tail->bytes;
    recovery->torn_index = tail->index;
    recovery->torn_offset = tail->offset;
    recovery->torn_count = tail->pieces_count;
    memcpy(recovery->torn, tail->pieces, sizeof(recovery->torn));
    for (uint32_t at = 0; at < recovery->segments_count; at++) {
        baton_segment_info *info = &recovery->segments[at];
        for (uint32_t i = 0; i < tail->pieces_count; i++) {
            const baton_torn_piece *piece = &tail->pieces[i];
            if (info->epoch == piece->epoch && info->index == piece->index &&
                info->state == BATON_SEGMENT_READY)
                info->state = BATON_SEGMENT_VOID;
        }
    }
}

static void take_end(const baton_walk *walk, baton_recovery *recovery)
{
    const baton_position *last = &walk->end.position;
    const baton_position *proven = &walk->evidence.position;
    baton_recovery_report *report = &recovery->report;

    recovery->last_digest = walk->end.digest;
    recovery->last_index = walk->end.index;
    recovery->last_offset = walk->end.offset;
    recovery->last_time_ns = walk->last_time_ns;
    recovery->closed = walk->closed;
    if (walk->start < walk->segments.count)
        recovery->written_mode = walk->segments.list[walk->current].written_mode;
    recovery->facts = walk->facts;
    recovery->batches_count = walk->batches_count;
    recovery->entries_count = walk->entries_count;
    recovery->records_count = walk->records_count;
    recovery->payload_bytes = walk->payload_bytes;

    report->last = *last;
    report->evidence = *proven;
    report->first_seq = walk->first_seq <= last->seq ? walk->first_seq : 0;
    report->unproven = last->seq > proven->seq ? last->seq - proven->seq : 0;
    (void)snprintf(report->evidence_from, sizeof(report->evidence_from), "%s", walk->evidence.from);
}

static int recover(baton_walk *walk, const baton_walk_options *options, baton_recovery *recovery,
                   baton_error *error)
{
    const baton_batch_header *batch;

    int r = baton_walk_begin(walk, options, error);
    while (r == 0 && (r = baton_walk_next(walk, &batch, error)) == 1)
        r = 0;
    if (r == 0 && options->published)
        baton_evidence_add(&walk->evidence, options->until.position, "writer");

    recovery->empty = !walk->segments.any_header;
    recovery->id = walk->segments.id;
    memcpy(recovery->service, walk->segments.service, sizeof(recovery->service));
    recovery->epoch_highest = walk->segments.epoch_highest;
    recovery->index_highest = walk->segments.index_highest;
    take_end(walk, recovery);
    return r;
}

int baton_recover_walk(baton_io *io, const char *directory, const baton_walk_options *options,
                       baton_recovery *recovery, baton_error *error)
{
    baton_walk walk;

    *recovery = (baton_recovery){.empty = true};
    int r = baton_walk_open(&walk, io, directory, error);
    if (r == 0)
        r = recover(&walk, options, recovery, error);
    if (r == 0 || r == BATON_E_DAMAGED) {
        int taken = take_segments(&walk, recovery);
        if (taken < 0)
            r = baton_segment_error(error, taken, "open journal", directory);
    }
    if (r == 0)
        mark_torn(&walk, recovery);
    if (r == BATON_E_DAMAGED) {
        baton_recovery_report *report = &recovery->report;
        report->acked_lost =
            walk.lost.seq > report->last.seq ? walk.lost.seq - report->last.seq : 0;
    }
    baton_walk_close(&walk);
    return r;
}

int baton_recover(baton_io *io, const char *directory, const baton_recover_options *options,
                  baton_recovery *recovery, baton_error *error)
{
    static const baton_recover_options defaults;

    if (options == NULL)
        options = &defaults;
    const baton_walk_options walk_options = {.service = options->service,
                                             .evidence = options->evidence,
                                             .from_seq = options->from_seq,
                                             .progress = options->progress,
                                             .progress_context = options->progress_context};
    return baton_recover_walk(io, directory, &walk_options, recovery, error);
}

void baton_recovery_fini(baton_recovery *recovery)
{
    free(recovery->segments);
    recovery->segments = NULL;
    recovery->segments_count = 0;
}
