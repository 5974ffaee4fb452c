/* tests/sim/snapshot/family.c: which image adds to which, as their manifests said while they could be
 * read: of one that is damaged nobody else can say it. */
#include <string.h>

#include "base/assert.h"
#include "tests/sim/snapshot/snapshot_run.h"

static const run_member *find(const snapshot_run *run, uint64_t seq, uint64_t epoch)
{
    for (uint32_t i = run->family_count; i-- > 0;)
        if (run->family[i].seq == seq && run->family[i].epoch == epoch)
            return &run->family[i];
    return NULL;
}

static const run_member *parent_of(const snapshot_run *run, const run_member *member)
{
    if (baton_digest_is_zero(member->parent))
        return NULL;
    for (uint32_t i = run->family_count; i-- > 0;)
        if (baton_digest_equal(run->family[i].root, member->parent))
            return &run->family[i];
    return NULL;
}

void run_family_learn(snapshot_run *run, const baton_snapshot_listed *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const baton_snapshot_info *info = &list[i].info;
        const run_member *known = find(run, info->seq, info->epoch);
        if (list[i].status != 0 || (known != NULL && baton_digest_equal(known->root, info->root)))
            continue;
        baton_assert(run->family_count < RUN_FAMILY_MAX);
        run->family[run->family_count++] = (run_member){
            .seq = info->seq, .epoch = info->epoch, .root = info->root, .parent = info->parent};
    }
}

bool run_is_hit(const snapshot_run *run, uint64_t seq, uint64_t epoch)
{
    for (uint32_t i = run->published_count; i-- > 0;)
        if (run->published[i].seq == seq && run->published[i].epoch == epoch &&
            run->published[i].hit)
            return true;
    const run_member *member = find(run, seq, epoch);
    const run_member *parent = member != NULL ? parent_of(run, member) : NULL;
    return parent != NULL && run_is_hit(run, parent->seq, parent->epoch);
}

baton_digest run_base_of(const snapshot_run *run, uint64_t seq, uint64_t epoch)
{
    const run_member *member = find(run, seq, epoch);
    while (member != NULL && !baton_digest_is_zero(member->parent))
        member = parent_of(run, member);
    return member != NULL ? member->root : (baton_digest){{0}};
}
