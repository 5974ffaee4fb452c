/* snapshot/chain.h: images that add to one another: which of them a generation consists of, and
 * which must stay.
 *
 * A full image, and a portable snapshot, stand alone. An increment holds the pages that changed
 * since its parent, named by its root: without every one before it, back to the full one, it is
 * worth nothing. */
#pragma once

#include "snapshot/manifest.h"
#include "snapshot/store.h"

#define BATON_NOT_LISTED UINT32_MAX

/* Where the parent of list[index] is in the list; BATON_NOT_LISTED: it has none, or it is not
 * there. */
uint32_t baton_snapshot_parent_index(const baton_snapshot_listed *list, uint32_t count,
                                     uint32_t index);

/* What list[index] consists of: itself first, the full one last. How many; 0: one of them is not there, or there
 * are more than chain_max. */
uint32_t baton_snapshot_chain_indices(const baton_snapshot_listed *list, uint32_t count,
                                      uint32_t index, uint32_t *ret_chain, uint32_t chain_max);

/* The full one at the beginning of its chain, or itself; BATON_NOT_LISTED: one of them is not there
 * or not marked readable. */
uint32_t baton_snapshot_base_index(const baton_snapshot_listed *list, uint32_t count,
                                   uint32_t index, const uint8_t *marks);

enum {
    BATON_MARK_READABLE = 1, /* by the caller: manifest in order, chunks of the right size */
    BATON_MARK_KEPT = 2,
};
/* Marks list[index], and all that it adds to, as kept. */
void baton_snapshot_keep_chain(const baton_snapshot_listed *list, uint32_t count, uint32_t index,
                               uint8_t *marks);
/* Marks what a prune must leave: the newest `keep` readable generations whose parents are all
 * readable, those parents, and enough older ones that two of the kept share no chunk: a damaged
 * full image takes all that add to it with it (S1). list: newest first. Increments whose parents
 * are not readable are kept as damaged ones are: not counted, not removed. */
void baton_snapshot_mark_kept(const baton_snapshot_listed *list, uint32_t count, uint32_t keep,
                              uint8_t *marks);

/* The manifests that an image consists of, the full one first. */
typedef struct {
    baton_snapshot_manifest *manifests; /* malloc'ed */
    char (*paths)[256];                 /* of their chunks; malloc'ed */
    uint32_t count;
} baton_snapshot_chain;

/* BATON_E_DAMAGED: a parent is missing, or does not fit. */
BATON_MUST_USE int baton_snapshot_chain_open(baton_io *io, const char *directory,
                                             const baton_snapshot_listed *listed,
                                             baton_snapshot_chain *ret_chain, baton_error *error);
void baton_snapshot_chain_close(baton_snapshot_chain *chain);

/* Every chunk of this image alone, and that its parents' manifests are there. progress gets raw
 * bytes; what it says that is not 0 ends it; it may be NULL. */
BATON_MUST_USE int
baton_image_verify(baton_io *io, const char *directory, const baton_snapshot_listed *listed,
                   int (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes),
                   void *context, baton_error *error);
