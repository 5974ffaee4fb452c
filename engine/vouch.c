/* engine/vouch.c: what besides a root vouches for a snapshot: a durable record of its very seq with
 * the same digests (S1, docs/adr/0007). The state is compared again when it is loaded. */
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

/* What stands between its entry and the next one. A journal that can't be read there vouches for
 * nothing: the replay, which begins there, says why. */
bool baton_checkpoint_vouches(const baton_hydrate_options *options, const baton_snapshot_info *info)
{
    const baton_recovery_report *recovery = &options->view->recovery;
    const baton_reader_options reader_options = {
        .from_seq = info->seq,
        .with_records = true,
        .backend = options->backend,
        .evidence = recovery->last,
    };
    if (info->seq == 0 || info->seq > recovery->last.seq || recovery->first_seq == 0 ||
        info->seq < recovery->first_seq)
        return false;
    baton_reader *reader = NULL;
    baton_entry entry;
    bool found = false;
    if (baton_reader_open(options->paths->journal, &reader_options, &reader, NULL) < 0)
        return false;
    while (!found && baton_reader_next(reader, &entry, NULL) > 0 && entry.seq <= info->seq)
        found = entry.is_record && says_the_same(&entry, info);
    baton_reader_close(reader);
    return found;
}
