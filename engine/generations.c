/* engine/generations.c: which snapshots stay (S1): the newest good ones, the images that they add
 * to, a second one that shares no chunk with the first, and, beside images, the two newest portable
 * ones, for a build whose layout is another: to it they are all that there is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "engine/engine_private.h"
#include "snapshot/catalogue.h"
#include "snapshot/chain.h"

/* ---- the list ---- */

static int insert(engine_snapshot_task *task, uint32_t at, engine_generation generation)
{
    if (task->generations_count == task->generations_max) {
        uint32_t max = task->generations_max > 0 ? 2 * task->generations_max : 16;
        engine_generation *larger = realloc(task->generations, max * sizeof(*larger));
        if (larger == NULL)
            return -ENOMEM;
        task->generations = larger;
        task->generations_max = max;
    }
    engine_generation *slot = task->generations + at;
    memmove(slot + 1, slot, (task->generations_count - at) * sizeof(*slot));
    *slot = generation;
    task->generations_count++;
    return 0;
}

static engine_generation generation_of(const baton_snapshot_info *info, bool good)
{
    return (engine_generation){
        .seq = info->seq,
        .epoch = info->epoch,
        .raw_bytes = info->raw_bytes,
        .root = info->root,
        .parent = info->parent,
        .is_image = baton_snapshot_is_image(info),
        .good = good,
    };
}

/* In the order of a listing. */
static int place(engine_snapshot_task *task, const baton_snapshot_info *info, bool good)
{
    uint32_t at = 0;
    while (at < task->generations_count &&
           (task->generations[at].seq > info->seq ||
            (task->generations[at].seq == info->seq && task->generations[at].epoch > info->epoch)))
        at++;
    return insert(task, at, generation_of(info, good));
}

/* What a replay kept may be older than one that was passed over. */
int baton_generations_add(baton_engine *engine, const baton_snapshot_info *info)
{
    return place(&engine->snapshot, info, true);
}

/* Not damaged: a later start may read it, and must then find what it adds to. */
static bool is_unread(const baton_snapshot_listed *listed)
{
    return listed->status != -ENOENT && baton_status_class(listed->status) == BATON_CLASS_SYSTEM;
}

int baton_generations_adopt(baton_engine *engine, const baton_catalogue *catalogue,
                            const baton_journal_view *view, uint32_t chosen, baton_error *error)
{
    engine_snapshot_task *task = &engine->snapshot;
    for (uint32_t i = 0; i < catalogue->count; i++) {
        const baton_snapshot_listed *listed = &catalogue->listed[i];
        if (is_unread(listed) && listed->info.seq > task->unread_seq)
            task->unread_seq = listed->info.seq;
        const bool named = baton_snapshot_trust(&listed->info, view) == BATON_TRUST_NAMED;
        if (listed->status != 0 ||
            (!named && i != chosen && !baton_digest_equal(listed->info.journal_id, view->id)))
            continue; /* not ours to remove */
        const bool good = i == chosen || (named && !catalogue->bad[i]);
        int r = insert(task, task->generations_count, generation_of(&listed->info, good));
        if (r < 0)
            return baton_error_set(error, r, "list the snapshots", NULL, "free memory");
    }
    task->attempt_seq = chosen != UINT32_MAX ? catalogue->listed[chosen].info.seq : 0;
    task->prune_due = true;
    return 0;
}

static bool is_known(const engine_snapshot_task *task, const baton_snapshot_info *info)
{
    for (uint32_t i = 0; i < task->generations_count; i++)
        if (task->generations[i].seq == info->seq && task->generations[i].epoch == info->epoch)
            return true;
    return false;
}

void baton_generations_adopt_late(baton_engine *engine, const baton_snapshot_listed *list,
                                  uint32_t count)
{
    engine_snapshot_task *task = &engine->snapshot;
    const baton_digest id = baton_journal_id(engine->journal);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (is_unread(&list[i]) && list[i].info.seq > task->unread_seq)
            task->unread_seq = list[i].info.seq;
        if (list[i].status == 0 && baton_digest_equal(list[i].info.journal_id, id) &&
            !is_known(task, &list[i].info))
            r = place(task, &list[i].info, false);
    }
    if (r < 0)
        baton_generations_unknown(engine);
}

void baton_generations_unknown(baton_engine *engine)
{
    engine->snapshot.unread_seq = UINT64_MAX;
}

/* ---- which stay ---- */

typedef struct {
    uint32_t oldest;       /* this one and all before it in the list stay */
    uint32_t portables[2]; /* and these, wherever they stand, the newer one first */
    uint32_t portables_count;
    bool images; /* an image is among those that stay */
} kept_range;

/* Good, and so is all that it adds to: those come later in the list. Returns how many there are. */
static uint32_t mark_usable(const engine_snapshot_task *task, const baton_snapshot_listed *list,
                            uint8_t *marks)
{
    const uint32_t count = task->generations_count;
    uint32_t usable_count = 0;
    for (uint32_t i = count; i-- > 0;) {
        const bool alone = baton_digest_is_zero(list[i].info.parent);
        const uint32_t parent = baton_snapshot_parent_index(list, count, i);
        const bool whole =
            alone || (parent != BATON_NOT_LISTED && (marks[parent] & BATON_MARK_READABLE) != 0);
        marks[i] = task->generations[i].good && whole ? BATON_MARK_READABLE : 0;
        usable_count += marks[i] != 0;
    }
    return usable_count;
}

/* What chain.h asks of a listing. Free it; NULL: no memory. */
static baton_snapshot_listed *as_listed(const engine_snapshot_task *task)
{
    baton_snapshot_listed *list = calloc(task->generations_count, sizeof(*list));
    for (uint32_t i = 0; list != NULL && i < task->generations_count; i++) {
        list[i].info.root = task->generations[i].root;
        list[i].info.parent = task->generations[i].parent;
    }
    return list;
}

/* As chain.h has it. False while there are too few good ones to remove any. */
static bool mark(const baton_engine *engine, uint8_t *marks)
{
    const engine_snapshot_task *task = &engine->snapshot;
    baton_snapshot_listed *list = as_listed(task);
    if (list == NULL)
        return false;
    const bool enough = mark_usable(task, list, marks) >= engine->snapshots_keep;
    if (enough)
        baton_snapshot_mark_kept(list, task->generations_count, engine->snapshots_keep, marks);
    free(list);
    return enough;
}

static bool find_kept(const baton_engine *engine, kept_range *ret_kept)
{
    const engine_snapshot_task *task = &engine->snapshot;
    *ret_kept = (kept_range){0};
    uint8_t *marks = calloc(task->generations_count + 1u, 1);
    const bool found = marks != NULL && mark(engine, marks);
    for (uint32_t i = 0; found && i < task->generations_count; i++) {
        const engine_generation *generation = &task->generations[i];
        if ((marks[i] & BATON_MARK_READABLE) == 0)
            continue;
        if (!generation->is_image && ret_kept->portables_count < 2)
            ret_kept->portables[ret_kept->portables_count++] = i;
        if ((marks[i] & BATON_MARK_KEPT) == 0)
            continue;
        ret_kept->oldest = i;
        ret_kept->images = ret_kept->images || generation->is_image;
    }
    free(marks);
    return found;
}

/* What the journal must still hold. A build that can't use the images replays from the portable
 * one, from the one before it when that is damaged, or from the first entry. */
static uint64_t journal_keep_seq(const engine_snapshot_task *task, const kept_range *kept)
{
    const uint64_t oldest_seq = task->generations[kept->oldest].seq;
    if (!kept->images)
        return oldest_seq;
    if (kept->portables_count < 2)
        return 0;
    const uint64_t portable_seq = task->generations[kept->portables[1]].seq;
    return portable_seq < oldest_seq ? portable_seq : oldest_seq;
}

/* ---- what goes ---- */

static bool is_kept_root(const engine_snapshot_task *task, const baton_root_wire *root)
{
    for (uint32_t i = 0; i < task->generations_count; i++) {
        const engine_generation *generation = &task->generations[i];
        if (generation->seq == baton_le64_get(root->seq) &&
            memcmp(generation->root.bytes, root->root, sizeof(root->root)) == 0)
            return true;
    }
    return false;
}

/* What the journal still names and nobody keeps. Where there is no room for the record now, the
 * next prune does it. */
static void forget_roots(baton_engine *engine, uint64_t keep_seq)
{
    if (engine->standby.following) /* it writes none: whoever takes over does */
        return;
    const baton_facts facts =
        *baton_journal_facts(engine->journal); /* a copy: appending changes them */
    for (uint32_t i = 0; i < facts.roots_count; i++) {
        const uint64_t seq = baton_le64_get(facts.roots[i].seq);
        if (seq > keep_seq || is_kept_root(&engine->snapshot, &facts.roots[i]))
            continue;
        baton_digest root;
        memcpy(root.bytes, facts.roots[i].root, sizeof(root.bytes));
        if (baton_engine_append_root(engine, BATON_RECORD_ROOT_GONE, seq, root) < 0)
            return;
    }
}

void baton_generations_retire(baton_engine *engine, uint64_t keep_seq)
{
    uint32_t removed = 0;
    engine->snapshot.retire_due = false;
    engine->snapshot.retire_keep_seq = keep_seq;
    if (!engine->retire || keep_seq == 0)
        return;
    int r = baton_journal_retire(engine->journal, keep_seq, &removed);
    if (r < 0)
        baton_log(WARN, "engine.retire_failed", BATON_LOG_NUMBER("keep_seq", keep_seq),
                  BATON_LOG_TEXT("status", baton_status_name(r)));
    else if (removed > 0)
        baton_log(INFO, "engine.retired", BATON_LOG_NUMBER("keep_seq", keep_seq),
                  BATON_LOG_NUMBER("segments", removed));
}

static bool remove_generation(baton_engine *engine, uint32_t at)
{
    engine_snapshot_task *task = &engine->snapshot;
    engine_generation *generation = &task->generations[at];
    int r = baton_snapshot_remove(task->io, engine->paths.snapshots, generation->seq,
                                  generation->epoch);
    if (r == BATON_E_REFUSED)
        return true; /* pinned: it stays, and stays named */
    if (r < 0 && r != -ENOENT && r != BATON_E_NOT_FOUND) {
        baton_log(WARN, "engine.prune_failed", BATON_LOG_NUMBER("seq", generation->seq),
                  BATON_LOG_TEXT("status", baton_status_name(r)));
        return false;
    }
    baton_log(INFO, "engine.snapshot_removed", BATON_LOG_NUMBER("seq", generation->seq));
    task->generations_count--;
    memmove(generation, generation + 1, (task->generations_count - at) * sizeof(*generation));
    return true;
}

/* Those beyond the range that stay because an image adds to them that stays itself: for its place in
 * the range, good or not, or pinned. Without them it is worth nothing. One that can't be asked counts
 * as pinned. */
static bool mark_needed(const baton_engine *engine, const kept_range *kept, uint8_t *marks)
{
    const engine_snapshot_task *task = &engine->snapshot;
    baton_snapshot_listed *list = as_listed(task);
    for (uint32_t i = 0; list != NULL && i < task->generations_count; i++) {
        const engine_generation *generation = &task->generations[i];
        if (baton_digest_is_zero(generation->parent) || BATON_BREAK(PINNED_CHAIN_PRUNED))
            continue;
        if (i <= kept->oldest || baton_snapshot_is_pinned(task->io, engine->paths.snapshots,
                                                          generation->seq, generation->epoch) != 0)
            baton_snapshot_keep_chain(list, task->generations_count, i, marks);
    }
    free(list);
    return list != NULL;
}

static bool is_for_other_layouts(const kept_range *kept, uint32_t at)
{
    bool found = false;
    for (uint32_t i = 0; i < kept->portables_count; i++)
        found = found || kept->portables[i] == at;
    return found && kept->images;
}

/* The newest first: what adds to another goes before that one, so that a crash in between leaves
 * none without its parent (S1). False: something could not be removed, and nothing more is done
 * now. */
static bool remove_beyond(baton_engine *engine, const kept_range *kept)
{
    engine_snapshot_task *task = &engine->snapshot;
    const uint32_t count = task->generations_count;
    uint8_t *needed = calloc(count, 1);
    bool done = needed != NULL && mark_needed(engine, kept, needed);
    uint32_t at = kept->oldest + 1; /* where the i-th stands now */
    for (uint32_t i = at; done && i < count; i++) {
        const bool stays = (needed[i] & BATON_MARK_KEPT) != 0 || is_for_other_layouts(kept, i) ||
                           task->generations[at].seq <= task->unread_seq;
        done = stays || remove_generation(engine, at);
        if (task->generations_count - at < count - i)
            continue; /* it is gone, the next one stands there */
        if (done && !stays && !baton_digest_is_zero(task->generations[at].parent) &&
            !BATON_BREAK(PINNED_CHAIN_PRUNED)) {
            task->prune_due = true; /* pinned a moment ago: the next prune keeps its parents */
            done = false;
        }
        at++;
    }
    free(needed);
    return done;
}

/* Blocks for the unlinks: the one place where a turn waits for the file system. */
void baton_generations_prune(baton_engine *engine)
{
    engine_snapshot_task *task = &engine->snapshot;
    task->prune_due = false;
    kept_range kept;
    if (!find_kept(engine, &kept))
        return;
    const uint64_t keep_seq = journal_keep_seq(task, &kept);
    if (engine->retire && keep_seq == 0)
        baton_log(INFO, "engine.nothing_retired",
                  BATON_LOG_TEXT("why",
                                 "a build with another layout would need all entries, or two "
                                 "portable snapshots"),
                  BATON_LOG_NUMBER("portable", kept.portables_count));
    if (!remove_beyond(engine, &kept))
        return;
    forget_roots(engine, task->generations[kept.oldest].seq);
    baton_generations_retire(engine, keep_seq);
}
