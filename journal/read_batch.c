/* journal/read_batch.c: a journal batch by batch, as bytes, for one that follows it: follow.h. */
#include <string.h>

#include "journal/read_private.h"

/* What stands before this batch: facts is what it was before the batch was accepted. */
static void note_start(baton_reader *reader, const baton_batch_header *batch,
                       const baton_facts *facts, uint64_t last_time_ns)
{
    const baton_walk *walk = &reader->walk;
    const baton_segment *segment = &walk->segments.list[walk->current];
    baton_follow_start *start = &reader->start;
    const uint64_t number = baton_le64_get(batch->batch);
    const bool first = number == segment->first_batch;

    start->id = walk->segments.id;
    memcpy(start->service, walk->segments.service, sizeof(start->service));
    start->before = first ? segment->continues
                          : (baton_position){.epoch = segment->info.epoch,
                                             .batch = number - 1,
                                             .seq = baton_le64_get(batch->first_seq) - 1};
    memcpy(start->before_digest.bytes, batch->previous_digest, sizeof(start->before_digest.bytes));
    start->facts = first ? walk->header_facts : *facts;
    start->last_time_ns = first ? segment->last_time_ns : last_time_ns;
}

static int diverged(const baton_reader *reader, baton_error *error)
{
    baton_error_set(
        error, BATON_E_DIVERGED, "read on in the journal",
        "what the follower has is not a part of this journal",
        "one of the two was written to alone: start the follower with an empty directory");
    baton_error_at(error, reader->walk.directory, UINT64_MAX);
    return BATON_E_DIVERGED;
}

/* Before the first batch is returned. 1: this is the one. 0: the follower has it. */
static int compare_after(const baton_reader *reader, const baton_batch_header *batch,
                         baton_error *error)
{
    const baton_position *after = &reader->after;
    const uint64_t number = baton_le64_get(batch->batch);

    if (after->batch == 0)
        return reader->position.seq + 1 >= reader->options.from_seq;
    if (number < after->batch)
        return 0;
    if (number == after->batch) {
        const bool same = baton_le64_get(batch->epoch) == after->epoch &&
                          memcmp(batch->digest, reader->after_digest.bytes, 16) == 0;
        return same ? 0 : diverged(reader, error);
    }
    if (number == after->batch + 1)
        return memcmp(batch->previous_digest, reader->after_digest.bytes, 16) == 0
                   ? 1
                   : diverged(reader, error);
    baton_error_set(error, BATON_E_GONE, "read on in the journal",
                    "what the follower needs next was retired", "start it from a newer snapshot");
    baton_error_at(error, reader->walk.directory, UINT64_MAX);
    return BATON_E_GONE;
}

static int next_batch(baton_reader *reader, const baton_batch_header **ret_batch,
                      baton_error *error)
{
    for (;;) {
        baton_facts facts;
        const uint64_t last_time_ns = reader->walk.last_time_ns;
        if (!reader->returned_any)
            facts = reader->walk.facts;
        int r = journal_reader_load(reader, ret_batch, error);
        if (r <= 0)
            return r;
        reader->position = reader->walk.end.position;
        if (reader->returned_any)
            return 1;
        r = compare_after(reader, *ret_batch, error);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        note_start(reader, *ret_batch, &facts, last_time_ns);
        reader->returned_any = true;
        return 1;
    }
}

/* Batches without entries may stand between the follower's last entry and the next one, in the segment
 * before that: so from its last one on. */
int baton_reader_open_after(const char *directory, const baton_reader_options *options,
                            baton_position after, baton_digest digest, baton_reader **ret_reader,
                            baton_error *error)
{
    baton_reader_options wanted = *options;

    if (after.batch != 0)
        wanted.from_seq = after.seq;
    return journal_reader_open(directory, &wanted, after, digest, ret_reader, error);
}

int baton_reader_next_batch(baton_reader *reader, const baton_batch_header **ret_batch,
                            baton_error *error)
{
    if (reader->failed == 0) {
        int r = next_batch(reader, ret_batch, &reader->failure);
        if (r >= 0)
            return r;
        reader->failed = r;
    }
    if (error != NULL)
        *error = reader->failure;
    return reader->failed;
}

void baton_reader_follow_start(const baton_reader *reader, baton_follow_start *ret_start)
{
    *ret_start = reader->start;
}
