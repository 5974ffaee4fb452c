/* journal/format.c: names, seals and checks of format v1. Pure functions over bytes: no I/O, no
 * memory of their own. */
#include "journal/format.h"

#include <string.h>

#include "base/hex.h"
#include "base/io.h"

static_assert(sizeof(baton_segment_header) == BATON_IO_UNIT, "journal format v1");
static_assert(sizeof(baton_segment_trailer) == BATON_IO_UNIT, "journal format v1");

static const baton_digest zero_digest;

static bool all_zero(const void *bytes, size_t bytes_count)
{
    const uint8_t *p = bytes;
    if (bytes_count == 0)
        return true;
    return p[0] == 0 && memcmp(p, p + 1, bytes_count - 1) == 0;
}

/* ---- names ---- */

void baton_segment_name(uint64_t epoch, uint64_t index, char name[BATON_SEGMENT_NAME_BYTES])
{
    static const char hex[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        name[i] = hex[epoch >> (60 - 4 * i) & 15];
        name[17 + i] = hex[index >> (60 - 4 * i) & 15];
    }
    name[16] = '-';
    memcpy(name + 33, ".seg", 5);
}

bool baton_segment_name_parse(const char *name, uint64_t *ret_epoch, uint64_t *ret_index)
{
    uint64_t epoch, index;
    if (strnlen(name, BATON_SEGMENT_NAME_BYTES) != 37 || name[16] != '-' ||
        strcmp(name + 33, ".seg") != 0 || !baton_hex_parse(name, &epoch) ||
        !baton_hex_parse(name + 17, &index) || epoch == 0 || index == 0)
        return false;
    *ret_epoch = epoch;
    *ret_index = index;
    return true;
}

/* ---- segment header and trailer: the digest stands in the last 16 bytes of the unit ---- */

static baton_digest unit_digest(const void *unit)
{
    return baton_digest_of(unit, BATON_IO_UNIT - sizeof(baton_digest));
}

/* What both units share: zero, magic, digest, version, flags. */
static baton_unit_verdict unit_check(const void *unit, const char *magic, const uint8_t digest[16],
                                     uint32_t version, uint32_t flags_unknown)
{
    if (all_zero(unit, BATON_IO_UNIT))
        return BATON_UNIT_ZERO;
    if (memcmp(unit, magic, 8) != 0)
        return BATON_UNIT_INVALID;
    baton_digest computed = unit_digest(unit);
    if (memcmp(computed.bytes, digest, sizeof(computed.bytes)) != 0)
        return BATON_UNIT_INVALID;
    if (version > BATON_JOURNAL_VERSION)
        return BATON_UNIT_NEWER;
    if (version == 0)
        return BATON_UNIT_INVALID;
    /* Whole, yet not understood: refused as newer, never taken for a torn write and cut (E7). */
    return flags_unknown != 0 ? BATON_UNIT_NEWER : BATON_UNIT_VALID;
}

void baton_segment_header_seal(baton_segment_header *header)
{
    baton_digest digest = unit_digest(header);
    memcpy(header->digest, digest.bytes, sizeof(header->digest));
}

static bool header_continues_fit(const baton_segment_header *header)
{
    baton_position continues = baton_position_get(&header->continues);
    uint64_t index = baton_le64_get(header->continues_index);
    uint64_t offset = baton_le64_get(header->continues_offset);

    if (baton_le64_get(header->first_batch) != continues.batch + 1 ||
        baton_le64_get(header->first_seq) != continues.seq + 1)
        return false;
    if (continues.batch == 0)
        return continues.epoch == 0 && continues.seq == 0 && index == 0 && offset == 0 &&
               all_zero(header->continues_digest, sizeof(header->continues_digest));
    return continues.epoch != 0 && continues.epoch <= baton_le64_get(header->epoch) && index != 0 &&
           index < baton_le64_get(header->index) && offset >= 2 * BATON_IO_UNIT &&
           offset % BATON_IO_UNIT == 0;
}

baton_unit_verdict baton_segment_header_check(const baton_segment_header *header)
{
    baton_unit_verdict verdict =
        unit_check(header, BATON_SEGMENT_MAGIC, header->digest, baton_le32_get(header->version),
                   baton_le32_get(header->flags) & ~(uint32_t)BATON_SEGMENT_FLAGS_KNOWN);
    if (verdict != BATON_UNIT_VALID)
        return verdict;

    uint64_t segment_bytes = baton_le64_get(header->segment_bytes);
    uint32_t roots_count = baton_le32_get(header->roots_count);
    size_t service_bytes = strnlen((const char *)header->service, sizeof(header->service));
    bool fits =
        baton_le64_get(header->epoch) != 0 && baton_le64_get(header->index) != 0 &&
        segment_bytes % BATON_IO_UNIT == 0 && segment_bytes >= 3 * BATON_IO_UNIT &&
        !all_zero(header->journal_id, sizeof(header->journal_id)) && header_continues_fit(header) &&
        service_bytes < sizeof(header->service) &&
        all_zero(header->service + service_bytes, sizeof(header->service) - service_bytes) &&
        all_zero(header->handover.zero, sizeof(header->handover.zero)) &&
        roots_count <= BATON_SEGMENT_ROOTS_MAX &&
        all_zero(header->roots + roots_count,
                 (BATON_SEGMENT_ROOTS_MAX - roots_count) * sizeof(header->roots[0])) &&
        all_zero(header->zero, sizeof(header->zero));
    return fits ? BATON_UNIT_VALID : BATON_UNIT_INVALID;
}

void baton_segment_trailer_seal(baton_segment_trailer *trailer)
{
    baton_digest digest = unit_digest(trailer);
    memcpy(trailer->digest, digest.bytes, sizeof(trailer->digest));
}

baton_unit_verdict baton_segment_trailer_check(const baton_segment_trailer *trailer)
{
    baton_unit_verdict verdict =
        unit_check(trailer, BATON_TRAILER_MAGIC, trailer->digest, baton_le32_get(trailer->version),
                   baton_le32_get(trailer->flags) & ~(uint32_t)BATON_BATCH_CLOSE);
    if (verdict != BATON_UNIT_VALID)
        return verdict;
    bool fits = baton_le64_get(trailer->epoch) != 0 && baton_le64_get(trailer->index) != 0 &&
                all_zero(trailer->handover.zero, sizeof(trailer->handover.zero)) &&
                all_zero(trailer->zero, sizeof(trailer->zero));
    return fits ? BATON_UNIT_VALID : BATON_UNIT_INVALID;
}

/* ---- batches ---- */

baton_digest baton_batch_seal(baton_batch_header *batch)
{
    uint32_t used_bytes = baton_le32_get(batch->used_bytes);
    uint32_t batch_bytes = baton_le32_get(batch->batch_bytes);

    memset((uint8_t *)batch + used_bytes, 0, batch_bytes - used_bytes);
    memset(batch->digest, 0, sizeof(batch->digest));
    baton_digest digest = baton_digest_of(batch, batch_bytes);
    memcpy(batch->digest, digest.bytes, sizeof(batch->digest));
    return digest;
}

/* The same digest without writing to the bytes. */
static baton_digest batch_digest(const baton_batch_header *batch, uint32_t batch_bytes)
{
    baton_digest_stream stream;

    baton_digest_init(&stream);
    baton_digest_update(&stream, batch, offsetof(baton_batch_header, digest));
    baton_digest_update(&stream, zero_digest.bytes, sizeof(zero_digest.bytes));
    baton_digest_update(&stream, batch + 1, batch_bytes - sizeof(*batch));
    return baton_digest_final(&stream);
}

bool baton_batch_plausible(const baton_batch_header *header, uint32_t *ret_batch_bytes)
{
    uint32_t batch_bytes = baton_le32_get(header->batch_bytes);
    uint32_t used_bytes = baton_le32_get(header->used_bytes);

    if (batch_bytes == 0 || batch_bytes % BATON_IO_UNIT != 0 ||
        batch_bytes > BATON_BATCH_BYTES_HIGHEST || used_bytes < sizeof(*header) ||
        used_bytes > batch_bytes || used_bytes % 8 != 0)
        return false;
    *ret_batch_bytes = batch_bytes;
    return true;
}

/* The frame at offset, whole inside used_bytes? */
static const baton_frame_header *frame_at(const baton_batch_header *batch, uint32_t offset,
                                          uint32_t used_bytes)
{
    if (offset > used_bytes || used_bytes - offset < sizeof(baton_frame_header))
        return NULL;
    const baton_frame_header *frame = (const void *)((const uint8_t *)batch + offset);
    uint32_t payload_bytes = baton_le32_get(frame->payload_bytes);
    if (payload_bytes > BATON_ENTRY_BYTES_MAX ||
        baton_frame_bytes(payload_bytes) > used_bytes - offset)
        return NULL;
    return frame;
}

static baton_unit_verdict frames_check(const baton_batch_header *batch)
{
    uint32_t used_bytes = baton_le32_get(batch->used_bytes);
    uint32_t offset = sizeof(*batch);
    uint32_t entries = 0;
    bool unknown = false;

    while (offset < used_bytes) {
        const baton_frame_header *frame = frame_at(batch, offset, used_bytes);
        if (frame == NULL)
            return BATON_UNIT_INVALID;
        uint16_t flags = baton_le16_get(frame->flags);
        uint32_t payload_bytes = baton_le32_get(frame->payload_bytes);
        uint32_t frame_bytes = baton_frame_bytes(payload_bytes);
        uint32_t end = (uint32_t)sizeof(*frame) + payload_bytes;
        if (!all_zero((const uint8_t *)frame + end, frame_bytes - end))
            return BATON_UNIT_INVALID;
        unknown |= (flags & ~BATON_FRAME_FLAGS_KNOWN) != 0;
        entries += (flags & BATON_FRAME_RECORD) == 0;
        offset += frame_bytes;
    }
    if (unknown)
        return BATON_UNIT_NEWER;
    return entries == baton_le32_get(batch->entry_count) ? BATON_UNIT_VALID : BATON_UNIT_INVALID;
}

baton_unit_verdict baton_batch_check(const void *bytes, uint64_t available,
                                     baton_digest *ret_digest)
{
    const baton_batch_header *batch = bytes;
    uint32_t batch_bytes;

    if (available < BATON_IO_UNIT)
        return BATON_UNIT_INVALID;
    if (all_zero(bytes, BATON_IO_UNIT))
        return BATON_UNIT_ZERO;
    if (!baton_batch_plausible(batch, &batch_bytes) || batch_bytes > available)
        return BATON_UNIT_INVALID;
    baton_digest digest = batch_digest(batch, batch_bytes);
    if (memcmp(digest.bytes, batch->digest, sizeof(digest.bytes)) != 0)
        return BATON_UNIT_INVALID;

    uint16_t version = baton_le16_get(batch->version);
    uint16_t flags = baton_le16_get(batch->flags);
    uint32_t used_bytes = baton_le32_get(batch->used_bytes);
    if (version > BATON_JOURNAL_VERSION || (flags & ~BATON_BATCH_FLAGS_KNOWN) != 0)
        return BATON_UNIT_NEWER;
    if (version == 0 || baton_le64_get(batch->epoch) == 0 || baton_le64_get(batch->batch) == 0 ||
        baton_le64_get(batch->first_seq) == 0 || flags == BATON_BATCH_CLOSE ||
        (flags != 0 && used_bytes != sizeof(*batch)))
        return BATON_UNIT_INVALID;
    baton_unit_verdict verdict = frames_check(batch);
    if (verdict == BATON_UNIT_VALID &&
        !all_zero((const uint8_t *)bytes + used_bytes, batch_bytes - used_bytes))
        verdict = BATON_UNIT_INVALID;
    if (verdict == BATON_UNIT_VALID)
        *ret_digest = digest;
    return verdict;
}

bool baton_batch_next(const baton_batch_header *batch, uint32_t *offset, uint64_t *next_seq,
                      baton_entry *ret_entry)
{
    const baton_frame_header *frame = frame_at(batch, *offset, baton_le32_get(batch->used_bytes));
    if (frame == NULL)
        return false;

    uint32_t payload_bytes = baton_le32_get(frame->payload_bytes);
    bool is_record = (baton_le16_get(frame->flags) & BATON_FRAME_RECORD) != 0;
    *ret_entry = (baton_entry){
        .seq = is_record ? *next_seq - 1 : *next_seq,
        .time_ns = baton_le64_get(frame->time_ns),
        .epoch = baton_le64_get(batch->epoch),
        .payload = frame + 1,
        .payload_bytes = payload_bytes,
        .type = baton_le16_get(frame->type),
        .is_record = is_record,
    };
    *next_seq += is_record ? 0 : 1;
    *offset += baton_frame_bytes(payload_bytes);
    return true;
}
