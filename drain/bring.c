/* drain/bring.c: see bring.h. */
#include "drain/bring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/log.h>

#include "drain/kept_snapshots.h"
#include "drain/now.h"
#include "snapshot/chain.h"
#include "snapshot/names.h"

#define PAUSE_NS 10000000

/* ---- by a connection ---- */

/* Behind each piece: so that nobody else on that disk, that network, or in the active feels it. */
static int hold_back(void *context, const baton_fetch_progress *progress)
{
    baton_bring *self = context;
    const uint64_t allowed_ns =
        (uint64_t)((double)progress->done * 1e9 / (double)BATON_BRING_BYTES_PER_S);
    if (progress->done < self->came_bytes) /* of another file */
        self->begin_ns = baton_now_ns();
    self->came_bytes = progress->done;
    while (!atomic_load(&self->stop) && baton_now_ns() - self->begin_ns < allowed_ns)
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    return atomic_load(&self->stop) ? -ECANCELED : 0;
}

static int fetch(baton_bring *self, const baton_wanted_snapshot *wanted)
{
    baton_peer_snapshot said = {.seq = baton_le64_put(wanted->seq)};
    memcpy(said.root, wanted->root.bytes, sizeof(said.root));
    self->begin_ns = baton_now_ns();
    self->came_bytes = 0;
    self->watch = (baton_fetch_watch){.step = hold_back, .context = self, .wake_fd = -1};
    self->target.watch = &self->watch;
    return baton_bootstrap_fetch(&self->target, "", &said, NULL, NULL, &self->error);
}

/* ---- by a second name ---- */

/* 1: it is there, with what it adds to, those first. 0: it can't be had this way. */
static int link_chain(const char *from, const char *to, const baton_snapshot_listed *list,
                      uint32_t count, uint32_t index)
{
    uint32_t chain[BATON_SEGMENT_ROOTS_MAX];
    uint32_t length =
        baton_snapshot_chain_indices(list, count, index, chain, BATON_SEGMENT_ROOTS_MAX);
    if (length == 0)
        return 0;
    while (length > 0) {
        const baton_snapshot_info *info = &list[chain[--length]].info;
        if (!baton_kept_is_listed(to, info->root) &&
            baton_kept_link(from, to, info->seq, info->epoch) < 0)
            return 0;
    }
    return baton_kept_is_listed(to, list[index].info.root) ? 1 : 0;
}

/* 1, 0; -ENOENT: the active has it no more, or this build can't read it. */
static int link_one(const baton_bring *self, const char *to, const baton_wanted_snapshot *wanted)
{
    char from[BATON_SNAPSHOTS_PATH_BYTES];
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    if (self->active_directory[0] == '\0' ||
        baton_snapshots_path(from, sizeof(from), self->active_directory) < 0)
        return 0;
    int r = baton_snapshot_list(from, &list, &count, NULL);
    if (r < 0)
        return 0;
    r = -ENOENT;
    for (uint32_t i = 0; r == -ENOENT && i < count; i++)
        if (list[i].status == 0 && baton_digest_equal(list[i].info.root, wanted->root) &&
            (self->same_layout || !baton_snapshot_is_image(&list[i].info)))
            r = link_chain(from, to, list, count, i);
    free(list);
    return r;
}

/* ---- the whole ---- */

static int bring_one(baton_bring *self, const char *to, const baton_wanted_snapshot *wanted)
{
    if (baton_kept_is_listed(to, wanted->root))
        return 0;
    int r = link_one(self, to, wanted);
    if (r == -ENOENT)
        return 0;
    /* By a connection it is not known before what form it has. */
    if (r == 0 && !self->same_layout)
        return 0;
    if (r == 0)
        r = fetch(self, wanted);
    if (r == BATON_E_NOT_FOUND) /* it was pruned meanwhile: there is a newer one */
        return 0;
    if (r < 0)
        return r;
    self->brought_count++;
    return 0;
}

static void *bring_main(void *context)
{
    baton_bring *self = context;
    char to[BATON_SNAPSHOTS_PATH_BYTES];
    int r = baton_snapshots_path(to, sizeof(to), self->target.place->directory);
    for (uint32_t i = 0; r == 0 && i < self->wanted_count && !atomic_load(&self->stop); i++)
        r = bring_one(self, to, &self->wanted[i]);
    if (r == 0)
        r = baton_snapshot_list(to, &self->listed, &self->listed_count, &self->error);
    self->error.status = r;
    atomic_store(&self->done, true);
    return NULL;
}

int baton_bring_begin(baton_bring *bring)
{
    bring->listed = NULL;
    bring->listed_count = bring->brought_count = 0;
    bring->error = (baton_error){.offset = UINT64_MAX};
    atomic_store(&bring->stop, false);
    atomic_store(&bring->done, false);
    const int r = pthread_create(&bring->thread, NULL, bring_main, bring);
    bring->runs = r == 0;
    return -r;
}

bool baton_bring_is_done(baton_bring *bring)
{
    if (!bring->runs || !atomic_load(&bring->done))
        return false;
    baton_bring_end(bring);
    return true;
}

void baton_bring_stop(baton_bring *bring)
{
    atomic_store(&bring->stop, true);
}

void baton_bring_end(baton_bring *bring)
{
    baton_bring_stop(bring);
    if (bring->runs)
        pthread_join(bring->thread, NULL);
    bring->runs = false;
}
