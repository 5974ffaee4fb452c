/* engine/catalogue.c: which snapshots there are, and which of them the journal vouches for (S1). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/hydrate.h"
#include "snapshot/format.h"
#include "snapshot/names.h"

int baton_engine_paths_set(baton_engine_paths *paths, const char *directory, baton_error *error)
{
    size_t bytes = directory != NULL ? strlen(directory) : 0;
    if (bytes == 0)
        return baton_error_set(error, BATON_E_INVALID, "open a service's directory",
                               "it has no name", "name one");
    if (bytes >= sizeof(paths->root))
        return baton_error_set(error, -ENAMETOOLONG, "open a service's directory", NULL,
                               "use a shorter path");
    snprintf(paths->root, sizeof(paths->root), "%s", directory);
    snprintf(paths->journal, sizeof(paths->journal), "%s/journal", directory);
    return baton_snapshots_path(paths->snapshots, sizeof(paths->snapshots), directory);
}

int baton_catalogue_read(const char *directory, baton_catalogue *ret_catalogue, baton_error *error)
{
    baton_catalogue catalogue = {0};
    int r = baton_snapshot_list(directory, &catalogue.listed, &catalogue.count, error);
    if (r < 0)
        return r;
    catalogue.bad = calloc((size_t)catalogue.count + 1, sizeof(*catalogue.bad));
    if (catalogue.bad == NULL) {
        free(catalogue.listed);
        return baton_error_set(error, -ENOMEM, "list the snapshots", NULL, "free memory");
    }
    *ret_catalogue = catalogue;
    return 0;
}

void baton_catalogue_fini(baton_catalogue *catalogue)
{
    free(catalogue->listed);
    free(catalogue->bad);
    *catalogue = (baton_catalogue){0};
}

/* A manifest proves what was durable when it was written, even if the journal never came to name
 * it. One of another journal proves nothing about this one. */
baton_position baton_catalogue_evidence(const baton_catalogue *catalogue, baton_digest journal_id)
{
    baton_position highest = {0};
    for (uint32_t i = 0; i < catalogue->count; i++) {
        const baton_snapshot_info *info = &catalogue->listed[i].info;
        if (catalogue->listed[i].status != 0 || !baton_digest_equal(info->journal_id, journal_id))
            continue;
        baton_position position = {.epoch = info->position_epoch,
                                   .batch = info->position_batch,
                                   .seq = info->position_seq};
        if (baton_position_compare(position, highest) > 0)
            highest = position;
    }
    return highest;
}

uint64_t baton_catalogue_from_seq(const baton_catalogue *catalogue)
{
    uint32_t readable_count = 0;
    for (uint32_t i = 0; i < catalogue->count; i++) {
        if (catalogue->listed[i].status == 0 && ++readable_count == 2)
            return catalogue->listed[i].info.seq;
    }
    return 0;
}

uint32_t baton_catalogue_find(const baton_catalogue *catalogue, baton_digest root)
{
    for (uint32_t i = 0; i < catalogue->count; i++)
        if (catalogue->listed[i].status == 0 &&
            baton_digest_equal(catalogue->listed[i].info.root, root))
            return i;
    return UINT32_MAX;
}

/* A root covers the manifest with all that is in it: what is named may be of another journal, which
 * this one goes on from (--trust-root). */
baton_trust baton_snapshot_trust(const baton_snapshot_info *info, const baton_journal_view *view)
{
    for (uint32_t i = 0; i < view->facts->roots_count; i++) {
        const baton_root_wire *root = &view->facts->roots[i];
        if (baton_le64_get(root->seq) == info->seq &&
            memcmp(root->root, info->root.bytes, sizeof(root->root)) == 0)
            return BATON_TRUST_NAMED;
    }
    if (!baton_digest_equal(info->journal_id, view->id))
        return BATON_TRUST_NONE;
    const baton_handover_wire *handover = &view->facts->handover;
    if (baton_le64_get(handover->epoch) != 0 && baton_le64_get(handover->last_seq) == info->seq)
        return BATON_TRUST_HANDED_OVER;
    return BATON_TRUST_NONE;
}
