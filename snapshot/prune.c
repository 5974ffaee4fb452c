/* snapshot/prune.c: which snapshots stay, and how the others go (S1). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/breakable.h"
#include "snapshot/catalogue.h"
#include "snapshot/chain.h"

#define KEEP_MIN   2u /* S1 */
#define NS_PER_DAY (UINT64_C(86400) * UINT64_C(1000000000))
#define WHAT       "prune the snapshots"

/* ---- removing one ---- */

static int unlink_if_there(baton_io *io, const char *path)
{
    int r = baton_io_unlink(io, path);
    return r == -ENOENT ? 0 : r;
}

int baton_snapshot_remove(baton_io *io, const char *directory, uint64_t seq, uint64_t epoch)
{
    char manifest[BATON_SNAPSHOT_PATH_BYTES];
    char chunks[BATON_SNAPSHOT_PATH_BYTES];
    char verified[BATON_SNAPSHOT_PATH_BYTES];
    if (baton_snapshot_path(manifest, directory, seq, epoch, BATON_NAME_MANIFEST) < 0 ||
        baton_snapshot_path(chunks, directory, seq, epoch, BATON_NAME_CHUNKS) < 0 ||
        baton_snapshot_path(verified, directory, seq, epoch, BATON_NAME_VERIFIED) < 0)
        return BATON_E_INVALID;
    int r = baton_snapshot_is_pinned(io, directory, seq, epoch);
    if (r != 0)
        return r < 0 ? r : BATON_E_REFUSED;
    if (BATON_BREAK(CHUNKS_REMOVED_FIRST))
        (void)!baton_io_unlink(io, chunks);
    r = baton_io_unlink(io, manifest);
    if (r == 0)
        r = baton_io_directory_sync(io, directory); /* first durably absent, then gone (S1) */
    if (r == 0)
        r = baton_io_unlink(io, chunks);
    return r < 0 ? r : unlink_if_there(io, verified);
}

static bool has_manifest(baton_io *io, const char *directory, const baton_snapshot_named *one)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    int r = baton_snapshot_path(path, directory, one->seq, one->epoch, BATON_NAME_MANIFEST);
    if (r == 0)
        r = baton_io_file_open(io, path, BATON_IO_FOR_READ, &file);
    if (r == 0)
        baton_io_file_close(io, file);
    return r != -ENOENT;
}

/* Partial files; chunks and notes whose manifest is not there. Partial files first: then a dead
 * writer's rename, still on its way (J10), finds nothing to rename. If it came before, the manifest
 * is there now, and its chunks stay. */
static int remove_leftovers(baton_io *io, const char *directory, const baton_snapshot_names *names)
{
    for (uint32_t i = 0; i < 2 * names->count; i++) {
        const bool partials_now = i < names->count;
        const baton_snapshot_named *one = &names->names[i % names->count];
        char path[BATON_SNAPSHOT_PATH_BYTES];
        const bool partial = one->kind == BATON_NAME_CHUNKS_PARTIAL ||
                             one->kind == BATON_NAME_MANIFEST_PARTIAL ||
                             one->kind == BATON_NAME_IMPORT;
        if (one->kind == BATON_NAME_MANIFEST || partial != partials_now ||
            (!partial && has_manifest(io, directory, one)))
            continue;
        int r = baton_snapshot_path(path, directory, one->seq, one->epoch, one->kind);
        if (r == 0)
            r = unlink_if_there(io, path);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- which stay ---- */

/* Enough to count as a generation that stays: a manifest in order, and chunks of the size that
 * it asks for. Their digests are for verify; to read them all here would disturb the service. */
static bool is_readable(baton_io *io, const char *directory, const baton_snapshot_listed *listed)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    uint64_t bytes = 0;
    if (listed->status != 0 ||
        baton_snapshot_path(path, directory, listed->info.seq, listed->info.epoch,
                            BATON_NAME_CHUNKS) < 0 ||
        baton_io_file_open(io, path, BATON_IO_FOR_READ, &file) < 0)
        return false;
    int r = baton_io_file_size(io, file, &bytes);
    baton_io_file_close(io, file);
    return r == 0 && bytes == listed->info.stored_bytes;
}

/* A day once seen stays seen: the wall clock may have been set back between two snapshots. */
static bool is_new_day(uint64_t *days, uint32_t *days_count, uint64_t wall_ns)
{
    const uint64_t day = wall_ns / NS_PER_DAY;
    for (uint32_t i = 0; i < *days_count; i++)
        if (days[i] == day)
            return false;
    days[(*days_count)++] = day;
    return true;
}

/* What a kept image adds to stays with it. Newest first: parents come later in the list. */
static void keep_parents(const baton_snapshot_listed *list, uint32_t count,
                         baton_snapshot_fate *fates)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t parent = baton_snapshot_parent_index(list, count, i);
        if (fates[i] != BATON_FATE_REMOVED && parent != BATON_NOT_LISTED &&
            fates[parent] == BATON_FATE_REMOVED)
            fates[parent] = BATON_FATE_NEEDED;
    }
}

/* Beside images that stay: to a build with another layout the portable ones are all that there is,
 * and a service lets the journal before the second newest of them go. */
static void keep_portables(const baton_snapshot_listed *list, uint32_t count,
                           baton_snapshot_fate *fates)
{
    bool images = false;
    uint32_t left = KEEP_MIN;
    for (uint32_t i = 0; i < count; i++)
        images |= fates[i] != BATON_FATE_REMOVED && baton_snapshot_is_image(&list[i].info);
    for (uint32_t i = 0; images && left > 0 && i < count; i++) {
        if (fates[i] == BATON_FATE_DAMAGED || baton_snapshot_is_image(&list[i].info))
            continue;
        left--;
        if (fates[i] == BATON_FATE_REMOVED)
            fates[i] = BATON_FATE_PORTABLE;
    }
}

/* Not damaged, but the disk did not say what it adds to: that may be any older one. */
static void keep_below_unread(const baton_snapshot_listed *list, uint32_t count,
                              baton_snapshot_fate *fates)
{
    bool unread = false;
    for (uint32_t i = 0; i < count; i++) {
        if (unread && fates[i] == BATON_FATE_REMOVED)
            fates[i] = BATON_FATE_NEEDED;
        unread |=
            list[i].status != -ENOENT && baton_status_class(list[i].status) == BATON_CLASS_SYSTEM;
    }
}

/* Newest first, so the first of a day is its newest. marks and days have room for count, and are
 * zero. */
static void decide(baton_io *io, const char *directory, const baton_snapshot_policy *policy,
                   const baton_snapshot_listed *list, uint32_t count, uint64_t *days,
                   uint8_t *marks, baton_snapshot_fate *fates)
{
    uint32_t days_count = 0;
    for (uint32_t i = 0; i < count; i++)
        marks[i] = is_readable(io, directory, &list[i]) ? BATON_MARK_READABLE : 0;
    baton_snapshot_mark_kept(list, count, policy->keep, marks);
    for (uint32_t i = 0; i < count; i++) {
        if (baton_snapshot_base_index(list, count, i, marks) == BATON_NOT_LISTED) {
            fates[i] = BATON_FATE_DAMAGED;
            continue;
        }
        const bool of_day = days_count < policy->keep_days &&
                            is_new_day(days, &days_count, list[i].info.created_wall_ns);
        fates[i] = (marks[i] & BATON_MARK_KEPT) != 0 ? BATON_FATE_NEWEST
                   : of_day                          ? BATON_FATE_DAY
                   : list[i].pinned                  ? BATON_FATE_PINNED
                                                     : BATON_FATE_REMOVED;
    }
    keep_parents(list, count, fates);
    keep_portables(list, count, fates);
    keep_below_unread(list, count, fates);
}

static int remove_old(baton_io *io, const char *directory, const baton_snapshot_listed *list,
                      uint32_t count, baton_snapshot_fate *fates)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fates[i] != BATON_FATE_REMOVED)
            continue;
        int r = baton_snapshot_remove(io, directory, list[i].info.seq, list[i].info.epoch);
        if (r == BATON_E_REFUSED) {
            fates[i] = BATON_FATE_PINNED; /* since it was listed */
            keep_parents(list, count, fates);
        } else if (r < 0)
            return r;
    }
    return 0;
}

static int retain(baton_io *io, const char *directory, const baton_snapshot_policy *policy,
                  const baton_snapshot_listed *list, uint32_t count, baton_snapshot_fate *fates)
{
    const size_t room = count > 0 ? count : 1;
    uint64_t *days = calloc(room, sizeof(*days));
    uint8_t *marks = calloc(room, sizeof(*marks));
    const bool enough = days != NULL && marks != NULL;
    if (enough)
        decide(io, directory, policy, list, count, days, marks, fates);
    free(days);
    free(marks);
    if (!enough)
        return -ENOMEM;
    return policy->dry_run ? 0 : remove_old(io, directory, list, count, fates);
}

static int remove_all_leftovers(baton_io *io, const char *directory, baton_error *error)
{
    baton_snapshot_names names;
    int r = baton_snapshot_names_collect(io, directory, &names, error);
    if (r < 0)
        return r;
    /* A manifest that was unlinked and not flushed could come back, without its chunks. */
    if (names.count > 0 && !BATON_BREAK(NO_FLUSH_AT_OPEN))
        r = baton_io_directory_sync(io, directory);
    if (r == 0)
        r = remove_leftovers(io, directory, &names);
    free(names.names);
    return r;
}

int baton_snapshot_retain_with(baton_io *io, const char *directory,
                               const baton_snapshot_policy *policy,
                               baton_snapshot_listed **ret_list, baton_snapshot_fate **ret_fates,
                               uint32_t *ret_count, baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    uint32_t count = 0;
    if (policy->keep < KEEP_MIN)
        return baton_error_set(error, BATON_E_INVALID, WHAT, "fewer than 2 generations would stay",
                               "keep 2 or more");
    int r = policy->dry_run ? 0 : remove_all_leftovers(io, directory, error);
    if (r == 0)
        r = baton_snapshot_list_with(io, directory, &list, &count, error);
    if (r == 0) {
        fates = calloc(count > 0 ? count : 1, sizeof(*fates));
        r = fates == NULL ? -ENOMEM : retain(io, directory, policy, list, count, fates);
    }
    if (r < 0) {
        baton_error_set(error, r, WHAT, NULL, "check the directory and its rights");
        baton_error_at(error, directory, UINT64_MAX);
        free(list);
        free(fates);
        return r;
    }
    *ret_list = list;
    *ret_fates = fates;
    *ret_count = count;
    return 0;
}

int baton_snapshot_prune_with(baton_io *io, const char *directory, uint32_t keep,
                              uint32_t *ret_removed, baton_error *error)
{
    const baton_snapshot_policy policy = {.keep = keep};
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    uint32_t count = 0;
    *ret_removed = 0;
    int r = baton_snapshot_retain_with(io, directory, &policy, &list, &fates, &count, error);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        *ret_removed += fates[i] == BATON_FATE_REMOVED;
    free(list);
    free(fates);
    return r;
}

/* ---- the public calls ---- */

static int open_io(baton_io **ret_io, baton_error *error)
{
    return baton_io_open(&(baton_io_options){.choice = BATON_IO_AUTO, .ops_max = 16}, ret_io,
                         error);
}

int baton_snapshot_prune(const char *directory, uint32_t keep, uint32_t *ret_removed,
                         baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_prune_with(io, directory, keep, ret_removed, error);
    baton_io_close(io);
    return r;
}

int baton_snapshot_retain(const char *directory, const baton_snapshot_policy *policy,
                          baton_snapshot_listed **ret_list, baton_snapshot_fate **ret_fates,
                          uint32_t *ret_count, baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_retain_with(io, directory, policy, ret_list, ret_fates, ret_count,
                                       error);
    baton_io_close(io);
    return r;
}
