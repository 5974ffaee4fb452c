/* Units from a disk: any bytes as a batch, a segment header and a trailer; once as they are, and
 * once with a digest that fits, so that the checks behind the digest are reached too. What passes
 * must be safe to walk. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/io.h"
#include "journal/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FUZZ_UNITS 4u

static uint64_t sum; /* every payload byte is looked at, for the sanitizers */

static void walk_batch(const baton_batch_header *batch)
{
    uint32_t offset = sizeof(*batch);
    uint64_t first_seq = baton_le64_get(batch->first_seq);
    uint64_t next_seq = first_seq;
    baton_facts facts = {0};
    baton_entry entry;

    while (baton_batch_next(batch, &offset, &next_seq, &entry)) {
        for (uint32_t i = 0; i < entry.payload_bytes; i++)
            sum += ((const uint8_t *)entry.payload)[i];
        if (entry.is_record)
            baton_facts_apply(&facts, entry.type, entry.payload, entry.payload_bytes);
        baton_assert(facts.roots_count <= BATON_SEGMENT_ROOTS_MAX);
    }
    baton_assert(offset == baton_le32_get(batch->used_bytes));
    baton_assert(next_seq - first_seq == baton_le32_get(batch->entry_count));
}

static void check_batch(const uint8_t *bytes, size_t available)
{
    baton_digest digest;
    if (baton_batch_check(bytes, available, &digest) == BATON_UNIT_VALID)
        walk_batch((const baton_batch_header *)(const void *)bytes);
}

static void check_units(uint8_t *unit)
{
    baton_segment_header *header = (baton_segment_header *)(void *)unit;
    baton_segment_trailer *trailer = (baton_segment_trailer *)(void *)unit;

    (void)baton_segment_header_check(header);
    (void)baton_segment_trailer_check(trailer);
    baton_segment_header_seal(header); /* both keep their digest in the same place */
    if (baton_segment_header_check(header) == BATON_UNIT_VALID) {
        baton_assert(baton_le32_get(header->roots_count) <= BATON_SEGMENT_ROOTS_MAX);
        baton_assert(memchr(header->service, 0, sizeof(header->service)) != NULL);
        baton_assert(baton_position_get(&header->continues).batch + 1 ==
                     baton_le64_get(header->first_batch));
    }
    (void)baton_segment_trailer_check(trailer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(FUZZ_UNITS * BATON_IO_UNIT); /* its own allocation: its end is guarded */
    size_t used = bytes < FUZZ_UNITS * BATON_IO_UNIT ? bytes : FUZZ_UNITS * BATON_IO_UNIT;
    char name[BATON_SEGMENT_NAME_BYTES] = {0};
    uint64_t epoch, index;

    baton_assert(copy != NULL);
    memset(copy, 0, FUZZ_UNITS * BATON_IO_UNIT);
    memcpy(copy, data, used);
    memcpy(name, data, used < sizeof(name) - 1 ? used : sizeof(name) - 1);
    (void)baton_segment_name_parse(name, &epoch, &index);

    for (size_t available = 0; available <= FUZZ_UNITS * BATON_IO_UNIT; available += BATON_IO_UNIT)
        check_batch(copy, available);
    baton_batch_header *batch = (baton_batch_header *)(void *)copy;
    uint32_t batch_bytes;
    if (baton_batch_plausible(batch, &batch_bytes) && batch_bytes <= FUZZ_UNITS * BATON_IO_UNIT) {
        (void)baton_batch_seal(batch);
        check_batch(copy, FUZZ_UNITS * BATON_IO_UNIT);
    }
    memcpy(copy, data, used);
    check_units(copy);
    free(copy);
    return 0;
}
