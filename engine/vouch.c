/* engine/vouch.c: what besides a standing root vouches for a snapshot: a durable record of its very seq
 * with the same digests (S1, docs/adr/0007), the state being compared again when it is loaded; or a
 * record that named it once. Whoever took that back removed it from a directory of its own: here it
 * may stand in the directory of one that followed it (H2). */
#include <string.h>

#include "engine/hydrate.h"

static bool says_the_same(const baton_entry *record, const baton_snapshot_info *info)
{
    if (record->type != BATON_RECORD_CHECKPOINT ||
        !baton_record_check(record->type, record->payload, record->payload_bytes))
        return false;
    const baton_checkpoint_wire *wire = record->payload;
    return baton_le64_get(wire->seq) == info->seq &&
           baton_le32_get(wire->state_schema) == info->schema &&
           memcmp(wire->state_digest, info->state_digest.bytes, sizeof(wire->state_digest)) == 0 &&
           memcmp(wire->effect_digest, info->effect_digest.bytes, sizeof(wire->effect_digest)) == 0;
}

static bool names(const baton_entry *record, const baton_snapshot_info *info)
{
    const baton_root_wire *root = record->payload;
    return record->type == BATON_RECORD_ROOT &&
           baton_record_check(record->type, record->payload, record->payload_bytes) &&
           baton_le64_get(root->seq) == info->seq &&
           memcmp(root->root, info->root.bytes, sizeof(root->root)) == 0;
}

static baton_trust search(const baton_snapshot_info *info, baton_reader *reader)
{
    baton_entry entry;
    while (baton_reader_next(reader, &entry, NULL) > 0) {
        if (entry.is_record && entry.seq <= info->seq && says_the_same(&entry, info))
            return BATON_TRUST_CHECKPOINT;
        if (entry.is_record && names(&entry, info))
            return BATON_TRUST_NAMED;
    }
    return BATON_TRUST_NONE;
}

/* From its entry on. A journal that can't be read there vouches for nothing: the replay, which begins
 * there, says why. */
baton_trust baton_journal_vouches(const baton_hydrate_options *options,
                                  const baton_snapshot_info *info)
{
    const baton_recovery_report *recovery = &options->view->recovery;
    const uint64_t first_seq = recovery->first_seq;
    const baton_reader_options reader_options = {
        .from_seq = info->seq > first_seq ? info->seq : first_seq,
        .with_records = true,
        .backend = options->backend,
        .evidence = recovery->last,
    };
    if (info->seq == 0 || info->seq > recovery->last.seq || first_seq == 0 ||
        info->seq + 1 < first_seq)
        return BATON_TRUST_NONE;
    baton_reader *reader = NULL;
    if (baton_reader_open(options->paths->journal, &reader_options, &reader, NULL) < 0)
        return BATON_TRUST_NONE;
    const baton_trust trust = search(info, reader);
    baton_reader_close(reader);
    return trust;
}
