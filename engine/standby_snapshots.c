/* engine/standby_snapshots.c: a standby takes none, and grows old all the same: its journal, and the time that its
 * start would take. Those that its active takes, and the journal names, come into its directory while it
 * follows; from then on they count here as they do there (S7). */
#include <baton/log.h>

#include "engine/engine_private.h"

bool baton_engine_has_snapshot(const baton_engine *engine, uint64_t seq, baton_digest root)
{
    const engine_snapshot_task *task = &engine->snapshot;
    for (uint32_t i = 0; i < task->generations_count; i++)
        if (task->generations[i].seq == seq && baton_digest_equal(task->generations[i].root, root))
            return true;
    return false;
}

/* The record that names it, too. */
static bool is_all_durable(const baton_engine *engine)
{
    baton_digest digest;
    return baton_position_compare(baton_journal_durable_position(engine->journal),
                                  baton_journal_follow_end(engine->journal, &digest)) == 0;
}

int baton_engine_adopt_snapshot(baton_engine *engine, const baton_snapshot_info *info,
                                baton_error *error)
{
    static const char *const what = "keep a snapshot of the active's";
    engine_snapshot_task *task = &engine->snapshot;
    const baton_journal_view view = {.id = baton_journal_id(engine->journal),
                                     .facts = baton_journal_facts(engine->journal)};
    if (!engine->standby.following || engine->standby.diverged)
        return baton_error_set(error, BATON_E_INVALID, what, "this instance takes its own", NULL);
    if (baton_snapshot_trust(info, &view) != BATON_TRUST_NAMED || info->seq > engine->machine.seq)
        return baton_error_set(error, BATON_E_UNTRUSTED, what, "the journal here does not name it",
                               NULL);
    if (baton_engine_has_snapshot(engine, info->seq, info->root))
        return 0;
    int r = baton_generations_add(engine, info);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "give the process more memory");
    baton_engine_rto_adopted(engine, info);
    task->adopted = task->prune_due = true;
    task->prune_after_seq = is_all_durable(engine) ? 0 : baton_journal_last_seq(engine->journal);
    baton_log(INFO, "engine.snapshot_adopted", BATON_LOG_NUMBER("seq", info->seq),
              BATON_LOG_TEXT("form", info->form),
              BATON_LOG_NUMBER("stored_bytes", info->stored_bytes));
    return 0;
}
