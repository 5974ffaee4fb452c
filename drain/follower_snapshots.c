/* drain/follower_snapshots.c: a standby has the snapshots that its active has: so its own start is as short as that
 * one's (S7), and its journal may be retired as that one's is. Named they are in what it follows. */
#include "drain/follower.h"

#include <stdlib.h>
#include <string.h>

#include "drain/now.h"

#define LOOK_NS  UINT64_C(1000000000)
#define RETRY_NS UINT64_C(10000000000)

static int newest_first(const void *a, const void *b)
{
    const baton_wanted_snapshot *x = a, *y = b;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

/* Named by the journal here, of an entry that was applied here, and not here. */
static void list_wanted(const baton_follower *follower, baton_bring *bring)
{
    const baton_facts *facts = baton_engine_facts(follower->engine);
    bring->wanted_count = 0;
    for (uint32_t i = 0; i < facts->roots_count; i++) {
        baton_wanted_snapshot one = {.seq = baton_le64_get(facts->roots[i].seq)};
        memcpy(one.root.bytes, facts->roots[i].root, sizeof(one.root.bytes));
        if (one.seq > follower->brought_seq &&
            one.seq <= baton_engine_applied_seq(follower->engine) &&
            !baton_engine_has_snapshot(follower->engine, one.seq, one.root))
            bring->wanted[bring->wanted_count++] = one;
    }
    qsort(bring->wanted, bring->wanted_count, sizeof(bring->wanted[0]), newest_first);
}

/* The oldest first, as they were taken. */
static void adopt(baton_follower *follower)
{
    baton_bring *bring = &follower->bring;
    for (uint32_t i = bring->listed_count; i-- > 0;) {
        const baton_snapshot_listed *one = &bring->listed[i];
        baton_error error;
        if (one->status != 0 ||
            baton_engine_has_snapshot(follower->engine, one->info.seq, one->info.root))
            continue;
        const int r = baton_engine_adopt_snapshot(follower->engine, &one->info, &error);
        if (r < 0 && r != BATON_E_UNTRUSTED) /* what is not named is not the active's */
            baton_log(WARN, "handover.snapshot_not_kept", BATON_LOG_TEXT("why", error.why));
    }
    free(bring->listed);
    bring->listed = NULL;
}

static bool may_begin(const baton_follower *follower)
{
    if (!follower->following || follower->cutover.state != BATON_NEW_FOLLOWING ||
        follower->bring.runs || baton_engine_divergence(follower->engine) != NULL)
        return false;
    const uint64_t now = baton_now_ns();
    return now >= follower->bring_at_ns && now - follower->following_since_ns >= LOOK_NS;
}

static void begin(baton_follower *follower)
{
    baton_bring *bring = &follower->bring;
    follower->bring_at_ns = baton_now_ns() + LOOK_NS;
    list_wanted(follower, bring);
    if (bring->wanted_count == 0)
        return;
    bring->target = *follower->target;
    bring->active_directory[0] = '\0';
    if (!follower->active.far)
        memcpy(bring->active_directory, follower->active.directory,
               sizeof(bring->active_directory));
    bring->same_layout = follower->active_has_layout;
    const int r = baton_bring_begin(bring);
    if (r < 0)
        baton_log(WARN, "handover.snapshots_not_brought",
                  BATON_LOG_TEXT("why", baton_status_text(r)));
}

void baton_follower_bring(baton_follower *follower)
{
    baton_bring *bring = &follower->bring;
    if (follower->cutover.state == BATON_NEW_SERVING ||
        follower->cutover.state == BATON_NEW_ANSWERED) {
        baton_bring_stop(bring); /* the thread ends by itself, the close waits for it */
        return;
    }
    if (baton_bring_is_done(bring)) {
        adopt(follower);
        if (bring->error.status == 0) {
            follower->brought_seq = bring->wanted[0].seq;
        } else {
            baton_log(WARN, "handover.snapshots_not_brought",
                      BATON_LOG_TEXT("why", bring->error.why));
            follower->bring_at_ns = baton_now_ns() + RETRY_NS;
        }
    }
    if (may_begin(follower))
        begin(follower);
}

void baton_follower_bring_end(baton_follower *follower)
{
    baton_bring_end(&follower->bring);
    free(follower->bring.listed);
    follower->bring.listed = NULL;
}
