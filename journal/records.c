/* journal/records.c: Baton's own records: which are known, and what they change in the standing
 * facts (J11). */
#include "journal/records.h"

#include <string.h>

bool baton_record_check(uint16_t kind, const void *payload, uint32_t payload_bytes)
{
    static const uint8_t zero[4];

    switch (kind) {
    case BATON_RECORD_CHECKPOINT:
        return payload_bytes == sizeof(baton_checkpoint_wire) &&
               memcmp(((const baton_checkpoint_wire *)payload)->zero, zero, 4) == 0;
    case BATON_RECORD_ROOT:
    case BATON_RECORD_ROOT_GONE:
        return payload_bytes == sizeof(baton_root_wire);
    case BATON_RECORD_CONFIRM:
        return payload_bytes == sizeof(baton_confirm_wire);
    case BATON_RECORD_HANDOVER:
        return payload_bytes == sizeof(baton_handover_wire) &&
               memcmp(((const baton_handover_wire *)payload)->zero, zero, 4) == 0;
    case BATON_RECORD_FINALIZE:
        return payload_bytes == sizeof(baton_finalize_wire) &&
               memcmp(((const baton_finalize_wire *)payload)->zero, zero, 4) == 0;
    default: /* a number from a disk, not an enum's value: anything may stand there */
        return false;
    }
}

/* Unused roots stay zero: segment headers are compared and checked byte for byte. */
static void root_drop(baton_facts *facts, uint32_t at)
{
    memmove(facts->roots + at, facts->roots + at + 1,
            (facts->roots_count - at - 1) * sizeof(facts->roots[0]));
    facts->roots_count--;
    memset(facts->roots + facts->roots_count, 0, sizeof(facts->roots[0]));
}

static void root_remove(baton_facts *facts, const baton_root_wire *root)
{
    for (uint32_t i = 0; i < facts->roots_count; i++) {
        if (memcmp(facts->roots + i, root, sizeof(*root)) == 0) {
            root_drop(facts, i);
            return;
        }
    }
}

void baton_facts_apply(baton_facts *facts, uint16_t kind, const void *payload,
                       uint32_t payload_bytes)
{
    if (!baton_record_check(kind, payload, payload_bytes))
        return;
    if (kind == BATON_RECORD_ROOT) {
        root_remove(facts, payload); /* named twice: once, as the youngest */
        if (facts->roots_count == BATON_SEGMENT_ROOTS_MAX)
            root_drop(facts, 0);
        memcpy(facts->roots + facts->roots_count++, payload, sizeof(facts->roots[0]));
    } else if (kind == BATON_RECORD_ROOT_GONE) {
        root_remove(facts, payload);
    } else if (kind == BATON_RECORD_HANDOVER) {
        memcpy(&facts->handover, payload, sizeof(facts->handover));
    } else if (kind == BATON_RECORD_FINALIZE) {
        facts->finalized_schema = baton_le32_get(((const baton_finalize_wire *)payload)->schema);
    }
}
