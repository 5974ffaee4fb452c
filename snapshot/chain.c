/* snapshot/chain.c: see chain.h. */
#include "snapshot/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/load.h"
#include "snapshot/names.h"

/* ---- in a listing ---- */

uint32_t baton_snapshot_parent_index(const baton_snapshot_listed *list, uint32_t count,
                                     uint32_t index)
{
    if (baton_digest_is_zero(list[index].info.parent))
        return BATON_NOT_LISTED;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].status == 0 && baton_digest_equal(list[i].info.root, list[index].info.parent))
            return i;
    return BATON_NOT_LISTED;
}

uint32_t baton_snapshot_chain_indices(const baton_snapshot_listed *list, uint32_t count,
                                      uint32_t index, uint32_t *ret_chain, uint32_t chain_max)
{
    uint32_t length = 0;
    while (index != BATON_NOT_LISTED && length < chain_max) {
        ret_chain[length++] = index;
        if (baton_digest_is_zero(list[index].info.parent))
            return length;
        index = baton_snapshot_parent_index(list, count, index);
    }
    return 0;
}

/* A chain can't be a circle: a root is a digest over the parent's. The bound is for a listing that
 * lies. */
uint32_t baton_snapshot_base_index(const baton_snapshot_listed *list, uint32_t count,
                                   uint32_t index, const uint8_t *marks)
{
    for (uint32_t steps = 0; steps < count; steps++) {
        if ((marks[index] & BATON_MARK_READABLE) == 0)
            return BATON_NOT_LISTED;
        if (baton_digest_is_zero(list[index].info.parent))
            return index;
        index = baton_snapshot_parent_index(list, count, index);
        if (index == BATON_NOT_LISTED)
            return BATON_NOT_LISTED;
    }
    return BATON_NOT_LISTED;
}

void baton_snapshot_keep_chain(const baton_snapshot_listed *list, uint32_t count, uint32_t index,
                               uint8_t *marks)
{
    while (index != BATON_NOT_LISTED && (marks[index] & BATON_MARK_KEPT) == 0) {
        marks[index] |= BATON_MARK_KEPT;
        index = BATON_BREAK(PARENT_PRUNED) ? BATON_NOT_LISTED
                                           : baton_snapshot_parent_index(list, count, index);
    }
}

void baton_snapshot_mark_kept(const baton_snapshot_listed *list, uint32_t count, uint32_t keep,
                              uint8_t *marks)
{
    uint32_t generations = 0;
    uint32_t first_base = BATON_NOT_LISTED;
    bool independent = false; /* a second base is kept */
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t base = baton_snapshot_base_index(list, count, i, marks);
        if (base == BATON_NOT_LISTED) {
            marks[i] |= BATON_MARK_KEPT;
            continue;
        }
        const bool other = first_base != BATON_NOT_LISTED && base != first_base;
        if (generations >= keep && (independent || !other))
            continue;
        if (first_base == BATON_NOT_LISTED)
            first_base = base;
        independent = independent || other;
        generations++;
        baton_snapshot_keep_chain(list, count, i, marks);
    }
}

/* ---- manifests ---- */

void baton_snapshot_chain_close(baton_snapshot_chain *chain)
{
    for (uint32_t i = 0; i < chain->count; i++)
        baton_snapshot_manifest_free(&chain->manifests[i]);
    free(chain->manifests);
    free(chain->paths);
    *chain = (baton_snapshot_chain){0};
}

static int refuse(int status, const char *path, const char *why, baton_error *error)
{
    baton_error_set(error, status, "put an image's generations together", why,
                    "use an older snapshot (baton snapshot ls), or restore the missing one");
    baton_error_at(error, path, UINT64_MAX);
    return status;
}

/* What an increment and its parent must have in common. */
static bool fits(const baton_snapshot_manifest *child, const baton_snapshot_manifest *parent)
{
    return baton_snapshot_is_image(&parent->info) &&
           child->image.address == parent->image.address &&
           child->image.page_bytes == parent->image.page_bytes &&
           baton_digest_equal(child->image.layout, parent->image.layout) &&
           strcmp(child->info.service, parent->info.service) == 0 &&
           baton_digest_equal(child->info.journal_id, parent->info.journal_id) &&
           child->info.seq >= parent->info.seq;
}

/* The next one back, put behind the others: newest first, for now. */
static int add(baton_io *io, const char *directory, const baton_snapshot_listed *listed,
               baton_snapshot_chain *chain, baton_error *error)
{
    baton_snapshot_manifest *manifest = &chain->manifests[chain->count];
    int r = baton_snapshot_path(chain->paths[chain->count], directory, listed->info.seq,
                                listed->info.epoch, BATON_NAME_CHUNKS);
    if (r == 0)
        r = baton_snapshot_manifest_load(io, listed->manifest_path, listed->info.seq,
                                         listed->info.epoch, manifest, error);
    if (r < 0)
        return r;
    chain->count++;
    if (!baton_digest_equal(manifest->info.root, listed->info.root))
        return refuse(BATON_E_GONE, listed->manifest_path,
                      "another one has its name now than when it was listed", error);
    if (!baton_snapshot_is_image(&manifest->info) ||
        (chain->count > 1 && !fits(&chain->manifests[chain->count - 2], manifest)))
        return refuse(BATON_E_DAMAGED, listed->manifest_path,
                      "it is not of the same region as the image that adds to it", error);
    return 0;
}

static void reverse(baton_snapshot_chain *chain)
{
    for (uint32_t i = 0; i < chain->count / 2; i++) {
        const uint32_t j = chain->count - 1 - i;
        char path[BATON_SNAPSHOT_PATH_BYTES];
        const baton_snapshot_manifest manifest = chain->manifests[i];
        chain->manifests[i] = chain->manifests[j];
        chain->manifests[j] = manifest;
        memcpy(path, chain->paths[i], sizeof(path));
        memcpy(chain->paths[i], chain->paths[j], sizeof(path));
        memcpy(chain->paths[j], path, sizeof(path));
    }
}

static bool is_parent(const baton_snapshot_info *info, const baton_snapshot_info *child)
{
    return BATON_BREAK(PARENT_BY_ORDER) ? info->seq < child->seq
                                        : baton_digest_equal(info->root, child->parent);
}

static int add_parents(baton_io *io, const char *directory, const baton_snapshot_listed *list,
                       uint32_t count, baton_snapshot_chain *chain, baton_error *error)
{
    const baton_snapshot_manifest *last = &chain->manifests[0];
    while (!baton_digest_is_zero(last->info.parent)) {
        uint32_t i = 0;
        while (i < count && (list[i].status != 0 || !is_parent(&list[i].info, &last->info)))
            i++;
        if (i == count || chain->count > count)
            return refuse(BATON_E_DAMAGED, chain->paths[chain->count - 1],
                          "the image that it adds to is not there, or its manifest is damaged",
                          error);
        int r = add(io, directory, &list[i], chain, error);
        if (r < 0)
            return r;
        last = &chain->manifests[chain->count - 1];
    }
    return 0;
}

int baton_snapshot_chain_open(baton_io *io, const char *directory,
                              const baton_snapshot_listed *listed, baton_snapshot_chain *ret_chain,
                              baton_error *error)
{
    static_assert(sizeof(ret_chain->paths[0]) == BATON_SNAPSHOT_PATH_BYTES, "one size of paths");
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    *ret_chain = (baton_snapshot_chain){0};
    int r = baton_snapshot_list_with(io, directory, &list, &count, error);
    if (r < 0)
        return r;
    ret_chain->manifests = calloc((size_t)count + 1, sizeof(*ret_chain->manifests));
    ret_chain->paths = calloc((size_t)count + 1, sizeof(*ret_chain->paths));
    if (ret_chain->manifests == NULL || ret_chain->paths == NULL)
        r = refuse(-ENOMEM, directory, NULL, error);
    if (r == 0)
        r = add(io, directory, listed, ret_chain, error);
    if (r == 0)
        r = add_parents(io, directory, list, count, ret_chain, error);
    free(list);
    if (r < 0)
        baton_snapshot_chain_close(ret_chain);
    else
        reverse(ret_chain);
    return r;
}

int baton_image_verify(baton_io *io, const char *directory, const baton_snapshot_listed *listed,
                       int (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes),
                       void *context, baton_error *error)
{
    baton_snapshot_chain chain;
    baton_snapshot_loader loader = {0};
    baton_error own;
    baton_error *told = error != NULL ? error : &own;
    int r = baton_snapshot_chain_open(io, directory, listed, &chain, told);
    if (r < 0)
        return r;
    const baton_snapshot_manifest *manifest = &chain.manifests[chain.count - 1];
    r = baton_snapshot_loader_open(&loader, io, chain.paths[chain.count - 1], manifest, told);
    uint64_t done_bytes = 0;
    for (uint32_t i = 0; r == 0 && i < manifest->info.chunks_count; i++) {
        const uint8_t *raw;
        r = baton_snapshot_loader_chunk(&loader, i, &raw, told);
        done_bytes += manifest->chunks[i].raw_bytes;
        if (r == 0 && progress != NULL)
            r = progress(context, done_bytes, manifest->info.raw_bytes);
    }
    baton_snapshot_loader_close(&loader);
    baton_snapshot_chain_close(&chain);
    return r;
}
