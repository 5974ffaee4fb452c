/* journal/append.c: entries and records gather in the open batch. No system call, no allocation,
 * no waiting. */
#include <string.h>

#include "journal/follow.h"
#include "journal/journal_private.h"

static_assert(BATON_ENTRY_BYTES_MAX + 4096 <= 128u * 1024u, "one entry always fits an empty batch");

/* Wall time at begin, advanced by the monotonic clock, never going back (J11). Reading the clock
 * costs as much as copying and digesting an entry, so neighbours in one turn share a reading. */
static uint64_t entry_time(baton_journal *journal)
{
    if (journal->time_shares == 0) {
        uint64_t now_ns = baton_clock_monotonic_ns(journal->clock);
        uint64_t time_ns = journal->time_base_wall_ns + (now_ns - journal->time_base_monotonic_ns);
        journal->time_read_ns = now_ns;
        journal->time_shares = JOURNAL_TIME_SHARES;
        if (time_ns > journal->last_time_ns)
            journal->last_time_ns = time_ns;
    }
    journal->time_shares--;
    if (journal_open_empty(journal))
        journal->open_since_ns = journal->time_read_ns;
    return journal->last_time_ns;
}

/* Room for one more frame in the open batch. What is queued must always have a place on the disk
 * (J6): the open batch fits the current segment or the next one is ready, and that stays true
 * with the new frame. */
static int make_room(baton_journal *journal, uint32_t frame_bytes, journal_kind kind)
{
    for (;;) {
        uint64_t used = (uint64_t)journal->open_used + frame_bytes;
        uint64_t bytes = (used + BATON_IO_UNIT - 1) & ~(uint64_t)(BATON_IO_UNIT - 1);
        bool fits_batch = bytes <= journal->batch_bytes_max;
        if (fits_batch && journal_segment_fits(journal->current, bytes, kind))
            return 0;
        if (!journal_open_empty(journal) && journal_slot_free(journal)) {
            journal_commit_open(journal);
            if (journal->broken)
                return BATON_E_BROKEN;
            continue; /* with an empty batch; comes here once */
        }
        bool next_ready = journal->next && journal->next->state == SEGMENT_PREPARED;
        if (fits_batch && next_ready)
            return 0;
        if (!fits_batch || next_ready || !baton_io_is_full_disk(journal->space_error))
            return BATON_E_FULL;
        return BATON_E_NO_SPACE;
    }
}

static int check_intake(const baton_journal *journal)
{
    if (journal->broken)
        return BATON_E_BROKEN;
    if (journal->epoch == 0 || journal->claimed || journal->following)
        return BATON_E_INVALID;
    return 0;
}

static uint8_t *open_end(const baton_journal *journal)
{
    return journal->open_buffer + journal->open_used;
}

/* The frame's payload is in place already. */
static void finish_frame(baton_journal *journal, uint16_t type, uint32_t payload_bytes,
                         bool is_record, baton_entry *ret_entry)
{
    uint8_t *frame = open_end(journal);
    uint8_t *payload = frame + sizeof(baton_frame_header);
    uint32_t frame_bytes = baton_frame_bytes(payload_bytes);
    uint64_t time_ns = entry_time(journal);
    baton_frame_header header = {
        .payload_bytes = baton_le32_put(payload_bytes),
        .type = baton_le16_put(type),
        .flags = baton_le16_put(is_record ? BATON_FRAME_RECORD : 0),
        .time_ns = baton_le64_put(time_ns),
    };
    memcpy(frame, &header, sizeof(header));
    const uint32_t padding = frame_bytes - (uint32_t)sizeof(header) - payload_bytes;
    if (padding > 0)
        memset(payload + payload_bytes, 0, padding);

    journal->open_used += frame_bytes;
    if (is_record) {
        journal->open_records++;
    } else {
        journal->open_entries++;
        journal->last_seq++;
    }
    if (ret_entry) {
        *ret_entry = (baton_entry){.seq = journal->last_seq,
                                   .time_ns = time_ns,
                                   .epoch = journal->epoch,
                                   .payload = payload,
                                   .payload_bytes = payload_bytes,
                                   .type = type,
                                   .is_record = is_record};
    }
}

int baton_journal_append(baton_journal *journal, uint16_t type, const void *payload,
                         uint32_t payload_bytes, baton_entry *ret_entry)
{
    int r = check_intake(journal);
    if (r < 0)
        return r;
    if (journal->sealed)
        return BATON_E_SEALED;
    if (payload_bytes > BATON_ENTRY_BYTES_MAX)
        return BATON_E_TOO_LARGE;
    r = make_room(journal, baton_frame_bytes(payload_bytes), KIND_ENTRIES);
    if (r < 0)
        return r;
    if (payload_bytes > 0)
        memcpy(open_end(journal) + sizeof(baton_frame_header), payload, payload_bytes);
    finish_frame(journal, type, payload_bytes, false, ret_entry);
    return 0;
}

int baton_journal_claim(baton_journal *journal, uint32_t payload_bytes_max, void **ret_payload)
{
    int r = check_intake(journal);
    if (r < 0)
        return r;
    if (journal->sealed)
        return BATON_E_SEALED;
    if (payload_bytes_max > BATON_ENTRY_BYTES_MAX)
        return BATON_E_TOO_LARGE;
    r = make_room(journal, baton_frame_bytes(payload_bytes_max), KIND_ENTRIES);
    if (r < 0)
        return r;
    journal->claimed = true;
    journal->claim_bytes_max = payload_bytes_max;
    *ret_payload = open_end(journal) + sizeof(baton_frame_header);
    return 0;
}

int baton_journal_commit(baton_journal *journal, uint16_t type, uint32_t payload_bytes,
                         baton_entry *ret_entry)
{
    if (!journal->claimed)
        return BATON_E_INVALID;
    if (payload_bytes != BATON_CLAIM_DROP && payload_bytes > journal->claim_bytes_max)
        return BATON_E_INVALID; /* the claim stays, so that the caller can still drop it */
    journal->claimed = false;
    if (payload_bytes == BATON_CLAIM_DROP)
        return 0;
    if (journal->broken)
        return BATON_E_BROKEN;
    finish_frame(journal, type, payload_bytes, false, ret_entry);
    return 0;
}

int baton_journal_append_record(baton_journal *journal, baton_record_kind kind, const void *payload,
                                uint32_t payload_bytes)
{
    int r = check_intake(journal);
    if (r < 0)
        return r;
    if (!baton_record_check((uint16_t)kind, payload, payload_bytes))
        return BATON_E_INVALID;
    r = make_room(journal, baton_frame_bytes(payload_bytes),
                  kind == BATON_RECORD_HANDOVER ? KIND_HANDOVER : KIND_RECORDS);
    if (r < 0)
        return r;
    memcpy(open_end(journal) + sizeof(baton_frame_header), payload, payload_bytes);
    finish_frame(journal, (uint16_t)kind, payload_bytes, true, NULL);
    journal->open_handover |= kind == BATON_RECORD_HANDOVER;
    baton_facts_apply(&journal->facts, (uint16_t)kind, payload, payload_bytes);
    return 0;
}

void baton_journal_unhurried(baton_journal *journal)
{
    if (!journal_open_empty(journal) && journal->open_followed == 0)
        journal->open_unhurried++;
}

const baton_facts *baton_journal_facts(const baton_journal *journal)
{
    return &journal->facts;
}

void baton_journal_note_applied(baton_journal *journal, uint64_t seq, baton_digest effect_digest)
{
    journal->applied_seq = seq;
    journal->effect_digest = baton_digest_low64(effect_digest);
}

void baton_journal_seal(baton_journal *journal)
{
    journal->sealed = true;
}

void baton_journal_unseal(baton_journal *journal)
{
    journal->sealed = false;
}
