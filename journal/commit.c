/* journal/commit.c: from the open batch to the acknowledgement.
 *
 * Group commit in one rule: a turn submits the open batch as soon as fewer than
 * batches_in_flight_max are in flight; entries that come meanwhile share the next one. Writes
 * finish in any order; acknowledgements go in submission order, and for a segment only when its
 * header is durable (J2). */
#include <errno.h>
#include <string.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "journal/journal_private.h"

void journal_break(baton_journal *journal, int r, const char *what, const char *path)
{
    if (journal->broken)
        return;
    journal->broken = r;
    journal_metrics_broken(journal, r);
    baton_log(ERROR, "journal.broken", BATON_LOG_TEXT("what", what),
              BATON_LOG_TEXT("why", baton_status_text(r)), BATON_LOG_TEXT("path", path),
              BATON_LOG_NUMBER("durable_seq", journal->durable.seq));
}

void journal_queue(baton_journal *journal, baton_io_op *op)
{
    int r = baton_io_submit(journal->io, op);
    /* ops_max covers every operation that the writer has, so a refusal is the backend's own
     * failure. */
    if (r < 0)
        journal_break(journal, r, "submit", journal->directory);
}

/* The next segment takes over. Its header may be in flight beside the batches before and after
 * it: the order of the acknowledgements is what makes it a part of the prefix (J2). */
static void roll(baton_journal *journal)
{
    journal_segment *next = journal->next;
    baton_assert(next && next->state == SEGMENT_PREPARED);
    journal_segment_set_state(journal->current, SEGMENT_FINISHING);
    journal_segment_set_state(next, SEGMENT_CURRENT);
    journal->current = next;
    journal->next = NULL;
    baton_metric_add(journal->metrics.segments_total, 1);

    journal_segment_fill_header(journal, next);
    next->header_op = (baton_io_op){.kind = journal_write_kind(journal),
                                    .file = next->file,
                                    .buffer = next->header,
                                    .bytes = BATON_IO_UNIT,
                                    .offset = 0,
                                    .tag = TAG_HEADER};
    journal_queue(journal, &next->header_op);
    next->header_busy = journal->broken == 0;
}

static journal_slot *open_slot(const baton_journal *journal)
{
    uint32_t at = journal->slots_first + journal->slots_in_flight;
    return &journal->slots[at % (journal->in_flight_max + 1)];
}

/* What is sealed in the free slot, up to the chain's end, is queued. */
static void place_slot(baton_journal *journal, uint32_t bytes, uint32_t batches_count)
{
    journal_segment *segment = journal->current;
    journal_chain *chain = &journal->chain;
    journal_slot *slot = open_slot(journal);

    slot->op = (baton_io_op){.kind = journal_write_kind(journal),
                             .file = segment->file,
                             .buffer = slot->buffer,
                             .bytes = bytes,
                             .offset = segment->offset,
                             .tag = TAG_BATCH};
    segment->offset += bytes;
    segment->unacked += batches_count;
    segment->last = chain->position;
    segment->last_digest = chain->digest;
    chain->index = segment->index;
    chain->offset = segment->offset;
    chain->last_time_ns = journal->last_time_ns;

    slot->done = false;
    slot->segment = segment;
    slot->end_offset = segment->offset;
    slot->position = chain->position;
    slot->batches_count = batches_count;
    slot->entries_count = journal->open_entries;
    slot->submitted_ns = baton_clock_monotonic_ns(journal->clock);
    slot->queued_ns = journal_open_empty(journal) ? slot->submitted_ns : journal->open_since_ns;
    journal->open_used = sizeof(baton_batch_header);
    journal->open_entries = 0;
    journal->open_records = 0;
    journal->open_unhurried = 0;
    journal->open_followed = 0;
    journal->open_handover = false;
    journal->slots_in_flight++;
    journal->open_buffer = open_slot(journal)->buffer;
    journal_queue(journal, &slot->op);
}

/* Seal what stands in the free slot and queue it. flags 0: the open batch. */
static void submit_slot(baton_journal *journal, uint16_t flags)
{
    journal_chain *chain = &journal->chain;
    journal_slot *slot = open_slot(journal);
    uint32_t batch_bytes = (journal->open_used + BATON_IO_UNIT - 1) & ~(BATON_IO_UNIT - 1);

    baton_position proven = BATON_BREAK(NO_EVIDENCE) ? (baton_position){0} : journal->proven;
    baton_batch_header header = {
        .version = baton_le16_put(BATON_JOURNAL_VERSION),
        .flags = baton_le16_put(flags),
        .entry_count = baton_le32_put(journal->open_entries),
        .batch_bytes = baton_le32_put(batch_bytes),
        .used_bytes = baton_le32_put(journal->open_used),
        .epoch = baton_le64_put(journal->epoch),
        .batch = baton_le64_put(chain->position.batch + 1),
        .first_seq = baton_le64_put(chain->position.seq + 1),
        .durable_seq = baton_le64_put(proven.seq),
        .durable_epoch = baton_le64_put(proven.epoch),
        .durable_batch = baton_le64_put(proven.batch),
        .applied_seq = baton_le64_put(journal->applied_seq),
        .effect_digest = baton_le64_put(journal->effect_digest),
    };
    memcpy(header.previous_digest, chain->digest.bytes, sizeof(header.previous_digest));
    memcpy(header.journal_id, journal->id.bytes, sizeof(header.journal_id));
    memcpy(slot->buffer, &header, sizeof(header));
    chain->digest = baton_batch_seal((baton_batch_header *)slot->buffer);
    chain->position = (baton_position){.epoch = journal->epoch,
                                       .batch = chain->position.batch + 1,
                                       .seq = chain->position.seq + journal->open_entries};
    if (journal->open_records > 0)
        chain->facts = journal->facts;
    place_slot(journal, batch_bytes, 1);
    journal->tail_unproven = flags == 0;
}

/* ---- following ----
 *
 * Group commit as a writer's own: batches that come while as many writes as may be are in flight gather
 * in the open buffer, as they are, and become one write. Without that a disk that is slow for a moment
 * puts a follower behind for long: the active writes fewer and larger batches then, and those small ones that
 * came before would still cost the follower a durable write each. What a torn one leaves is a bad tail like
 * that of several writes in flight: cut, and fetched again (J10). */

static void submit_followed(baton_journal *journal)
{
    journal->chain.facts = journal->facts;
    place_slot(journal, journal->open_used, journal->open_followed);
}

/* Nothing of ours comes after a followed batch but the trailer. */
int journal_commit_room(baton_journal *journal, uint32_t bytes)
{
    const uint32_t waiting = journal->open_followed > 0 ? journal->open_used : 0;
    const uint64_t all = (uint64_t)waiting + bytes;
    if (all <= journal->batch_bytes_max && journal_segment_fits(journal->current, all, KIND_CLOSE))
        return 0;
    if (waiting > 0) {
        if (!journal_slot_free(journal))
            return BATON_E_FULL;
        submit_followed(journal);
        if (journal->broken)
            return BATON_E_BROKEN;
    }
    if (journal_segment_fits(journal->current, bytes, KIND_CLOSE))
        return 0;
    if (!journal->next || journal->next->state != SEGMENT_PREPARED)
        return baton_io_is_full_disk(journal->space_error) ? BATON_E_NO_SPACE : BATON_E_FULL;
    roll(journal);
    return journal->broken ? BATON_E_BROKEN : 0;
}

/* It becomes the end of the chain; its write is submitted by the turn. */
void journal_commit_followed(baton_journal *journal, const baton_batch_header *batch,
                             uint32_t bytes, baton_digest digest)
{
    const uint32_t waiting = journal->open_followed > 0 ? journal->open_used : 0;
    const uint32_t entries = baton_le32_get(batch->entry_count);
    journal_chain *chain = &journal->chain;
    baton_assert(waiting + bytes <= journal->batch_bytes_max);
    if (waiting == 0)
        journal->open_since_ns = baton_clock_monotonic_ns(journal->clock);
    memcpy(journal->open_buffer + waiting, batch, bytes);
    journal->open_used = waiting + bytes;
    journal->open_followed++;
    journal->open_entries += entries;
    chain->position = (baton_position){.epoch = journal->epoch,
                                       .batch = chain->position.batch + 1,
                                       .seq = chain->position.seq + entries};
    chain->digest = digest;
}

void journal_commit_open(baton_journal *journal)
{
    baton_assert(!journal_open_empty(journal) && journal_slot_free(journal) && !journal->claimed);
    if (journal->open_followed > 0) {
        submit_followed(journal);
        return;
    }
    uint64_t bytes =
        ((uint64_t)journal->open_used + BATON_IO_UNIT - 1) & ~(uint64_t)(BATON_IO_UNIT - 1);
    journal_kind kind = journal->open_handover      ? KIND_HANDOVER
                        : journal->open_records > 0 ? KIND_RECORDS
                                                    : KIND_ENTRIES;
    if (!journal_segment_fits(journal->current, bytes, kind))
        roll(journal); /* append made sure that the next one is ready */
    if (!journal->broken)
        submit_slot(journal, 0);
}

static journal_kind mark_kind(const baton_journal *journal, uint16_t flags)
{
    if (flags & BATON_BATCH_CLOSE)
        return KIND_CLOSE;
    bool handed_over = baton_le64_get(journal->chain.facts.handover.epoch) == journal->epoch;
    return handed_over ? KIND_MARK_HANDOVER : KIND_MARK;
}

bool journal_mark_fits(const baton_journal *journal, uint16_t flags)
{
    return journal_segment_fits(journal->current, BATON_IO_UNIT, mark_kind(journal, flags)) ||
           (journal->next && journal->next->state == SEGMENT_PREPARED);
}

bool journal_commit_mark(baton_journal *journal, uint16_t flags)
{
    baton_assert(journal_open_empty(journal) && journal_slot_free(journal));
    if (!journal_mark_fits(journal, flags))
        return false;
    if (!journal_segment_fits(journal->current, BATON_IO_UNIT, mark_kind(journal, flags)))
        roll(journal);
    if (journal->broken)
        return false;
    submit_slot(journal, BATON_BATCH_MARK | flags);
    baton_metric_add(journal->metrics.marks_total, 1);
    return true;
}

void journal_commit_done(baton_journal *journal, journal_slot *slot)
{
    if (slot->op.result != (int64_t)slot->op.bytes) {
        int r = slot->op.result < 0 ? (int)slot->op.result : -EIO;
        journal_break(journal, r, "write a batch", slot->segment->path);
        return;
    }
    slot->done = true;
    if (BATON_BREAK(ACKS_OUT_OF_ORDER))
        journal->durable.seq = slot->position.seq;
}

/* The buffer of an acknowledged batch is still in the processor's cache: it becomes the one that is
 * opened next, so that a journal with few batches in flight goes through few buffers. */
static void reuse_buffer(baton_journal *journal, journal_slot *acknowledged)
{
    uint32_t next = journal->slots_first + journal->slots_in_flight + 1;
    journal_slot *slot = &journal->slots[next % (journal->in_flight_max + 1)];
    uint8_t *buffer = slot->buffer;
    slot->buffer = acknowledged->buffer;
    acknowledged->buffer = buffer;
}

void journal_publish(baton_journal *journal, bool open)
{
    baton_hint_view view = {.id = journal->id,
                            .durable = journal->durable,
                            .index = journal->durable_index,
                            .end_offset = journal->durable_offset,
                            .oldest_index = journal->oldest_index,
                            .open = open};
    if (BATON_BREAK(FEEDS_UNDURABLE) && journal->slots_in_flight > 0) {
        const journal_slot *slot = &journal->slots[journal->slots_first];
        baton_recent_put(baton_hint_recent(journal->hint), (const baton_batch_header *)slot->buffer,
                         slot->segment->index, slot->op.offset);
        view.durable = slot->position;
        view.index = slot->segment->index;
        view.end_offset = slot->end_offset;
    }
    baton_hint_publish(journal->hint, &view);
}

/* Before they are published (J11). */
static void put_recent(baton_journal *journal, const journal_slot *slot)
{
    const uint8_t *bytes = slot->buffer;
    for (uint64_t at = 0; at < slot->op.bytes;) {
        const baton_batch_header *batch = (const baton_batch_header *)(bytes + at);
        baton_recent_put(baton_hint_recent(journal->hint), batch, slot->segment->index,
                         slot->op.offset + at);
        at += baton_le32_get(batch->batch_bytes);
    }
}

void journal_acknowledge(baton_journal *journal)
{
    if (journal->broken) /* J6: no further ack */
        return;
    uint64_t now_ns = 0;
    while (journal->slots_in_flight > 0) {
        journal_slot *slot = &journal->slots[journal->slots_first];
        if (!slot->done || !(slot->segment->header_durable || BATON_BREAK(ACK_BEFORE_HEADER)))
            break;
        baton_assert(slot->position.batch == journal->durable.batch + slot->batches_count);
        if (now_ns == 0)
            now_ns = baton_clock_monotonic_ns(journal->clock);
        put_recent(journal, slot);
        journal->durable = slot->position;
        journal->durable_index = slot->segment->index;
        journal->durable_offset = slot->end_offset;
        slot->segment->unacked -= slot->batches_count;
        journal->slots_first = (journal->slots_first + 1) % (journal->in_flight_max + 1);
        journal->slots_in_flight--;

        baton_metric_add(journal->metrics.entries_total, slot->entries_count);
        baton_metric_add(journal->metrics.bytes_total, slot->op.bytes);
        journal_metrics_commit(journal, slot, now_ns);
        reuse_buffer(journal, slot);
    }
    if (now_ns == 0)
        return;
    if (journal->mode == BATON_MODE_DURABLE)
        journal->proven = journal->durable;
    journal->idle_since_ns = now_ns;
    baton_metric_set(journal->metrics.durable_seq, (double)journal->durable.seq);
    journal_publish(journal, true);
}
