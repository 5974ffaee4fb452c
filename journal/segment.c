/* journal/segment.c: names, header and trailer of the writer's segments, and their state. */
#include "journal/journal_private.h"

#include <stdio.h>
#include <string.h>

void journal_path(const baton_journal *journal, const char *name, char path[JOURNAL_PATH_BYTES])
{
    int length = snprintf(path, JOURNAL_PATH_BYTES, "%s/%s", journal->directory, name);
    baton_assert(length > 0 && (uint32_t)length < JOURNAL_PATH_BYTES);
}

/* Rows: from; bits: to. The drawing is in journal_private.h. */
static const uint32_t transitions[SEGMENT_STATES] = {
    [SEGMENT_FREE] = 1u << SEGMENT_CREATING,
    [SEGMENT_CREATING] = 1u << SEGMENT_ALLOCATING | 1u << SEGMENT_ZEROING | 1u << SEGMENT_REMOVING |
                         1u << SEGMENT_FREE,
    [SEGMENT_ALLOCATING] = 1u << SEGMENT_ZEROING | 1u << SEGMENT_REMOVING,
    [SEGMENT_ZEROING] = 1u << SEGMENT_SYNCING | 1u << SEGMENT_REMOVING,
    [SEGMENT_SYNCING] = 1u << SEGMENT_RENAMING | 1u << SEGMENT_NAMING | 1u << SEGMENT_REMOVING,
    [SEGMENT_RENAMING] = 1u << SEGMENT_NAMING | 1u << SEGMENT_REMOVING,
    [SEGMENT_NAMING] = 1u << SEGMENT_PREPARED | 1u << SEGMENT_REMOVING,
    [SEGMENT_PREPARED] = 1u << SEGMENT_CURRENT | 1u << SEGMENT_RENAMING | 1u << SEGMENT_REMOVING,
    [SEGMENT_CURRENT] = 1u << SEGMENT_FINISHING,
    [SEGMENT_FINISHING] = 1u << SEGMENT_ENDING,
    [SEGMENT_ENDING] = 1u << SEGMENT_FREE,
    [SEGMENT_REMOVING] = 1u << SEGMENT_FREE,
};

void journal_segment_set_state(journal_segment *segment, journal_segment_state state)
{
    baton_assert(transitions[segment->state] & 1u << state);
    segment->state = state;
}

static void name_it(const baton_journal *journal, journal_segment *segment)
{
    char name[BATON_SEGMENT_NAME_BYTES];
    baton_segment_name(segment->epoch, segment->index, name);
    journal_path(journal, name, segment->path);
}

void journal_segment_start(baton_journal *journal, journal_segment *segment, uint64_t epoch,
                           uint64_t index, uint64_t bytes)
{
    baton_assert(segment->state == SEGMENT_FREE && !segment->step_busy && !segment->header_busy);
    segment->file = BATON_IO_NO_FILE;
    segment->epoch = epoch;
    segment->index = index;
    segment->bytes = bytes;
    segment->offset = BATON_IO_UNIT;
    segment->zeroed_bytes = 0;
    segment->spare = JOURNAL_SPARES_MAX;
    segment->recycled = false;
    segment->outdated = false;
    segment->unacked = 0;
    segment->header_durable = false;
    segment->flushed = false;
    segment->last = (baton_position){0};
    segment->last_digest = (baton_digest){{0}};
    name_it(journal, segment);
}

void journal_segment_rename(baton_journal *journal, journal_segment *segment, uint64_t epoch,
                            uint64_t index)
{
    memcpy(segment->path_before, segment->path, sizeof(segment->path_before));
    segment->epoch = epoch;
    segment->index = index;
    segment->outdated = true;
    name_it(journal, segment);
}

/* Durable mode writes around the page cache, so that one write is one device command. Mode
 * written wants the opposite: the kernel has it as soon as it is in the page cache. */
uint32_t journal_segment_open_flags(const baton_journal *journal)
{
    uint32_t flags = BATON_IO_FOR_WRITE;
    return journal->mode == BATON_MODE_DURABLE ? flags | BATON_IO_DIRECT : flags;
}

baton_io_kind journal_write_kind(const baton_journal *journal)
{
    return journal->mode == BATON_MODE_DURABLE ? BATON_IO_WRITE_DURABLE : BATON_IO_WRITE;
}

void journal_segment_fill_header(const baton_journal *journal, journal_segment *segment)
{
    const journal_chain *chain = &journal->chain;
    baton_segment_header *header = segment->header;
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, BATON_SEGMENT_MAGIC, sizeof(header->magic));
    header->version = baton_le32_put(BATON_JOURNAL_VERSION);
    uint32_t flags = journal->mode == BATON_MODE_WRITTEN ? BATON_SEGMENT_WRITTEN_MODE : 0;
    flags |= journal->following ? BATON_SEGMENT_FOLLOWER : 0;
    header->flags = baton_le32_put(flags | (segment->recycled ? BATON_SEGMENT_RECYCLED : 0));
    memcpy(header->journal_id, journal->id.bytes, sizeof(header->journal_id));
    header->epoch = baton_le64_put(segment->epoch);
    header->index = baton_le64_put(segment->index);
    header->segment_bytes = baton_le64_put(segment->bytes);
    header->first_batch = baton_le64_put(chain->position.batch + 1);
    header->first_seq = baton_le64_put(chain->position.seq + 1);
    header->continues = baton_position_put(chain->position);
    memcpy(header->continues_digest, chain->digest.bytes, sizeof(header->continues_digest));
    header->continues_index = baton_le64_put(chain->index);
    header->continues_offset = baton_le64_put(chain->offset);
    header->last_time_ns = baton_le64_put(chain->last_time_ns);
    header->created_wall_ns = baton_le64_put(baton_clock_wall_ns(journal->clock));
    memcpy(header->service, journal->service, sizeof(header->service));
    header->finalized_schema = baton_le32_put(chain->facts.finalized_schema);
    header->roots_count = baton_le32_put(chain->facts.roots_count);
    header->handover = chain->facts.handover;
    memcpy(header->roots, chain->facts.roots, chain->facts.roots_count * sizeof(header->roots[0]));
    baton_segment_header_seal(header);

    segment->last = chain->position;
    segment->last_digest = chain->digest;
}

void journal_segment_fill_trailer(const baton_journal *journal, journal_segment *segment,
                                  uint32_t flags)
{
    baton_segment_trailer *trailer = segment->trailer;
    memset(trailer, 0, sizeof(*trailer));
    memcpy(trailer->magic, BATON_TRAILER_MAGIC, sizeof(trailer->magic));
    trailer->version = baton_le32_put(BATON_JOURNAL_VERSION);
    trailer->flags = baton_le32_put(flags);
    memcpy(trailer->journal_id, journal->id.bytes, sizeof(trailer->journal_id));
    trailer->epoch = baton_le64_put(segment->epoch);
    trailer->index = baton_le64_put(segment->index);
    trailer->last = baton_position_put(segment->last);
    memcpy(trailer->last_digest, segment->last_digest.bytes, sizeof(trailer->last_digest));
    /* The grant that ends this epoch, when there is one; an older one is in the header already. */
    if (baton_le64_get(journal->chain.facts.handover.epoch) == segment->epoch)
        trailer->handover = journal->chain.facts.handover;
    baton_segment_trailer_seal(trailer);
}
