/* snapshot/image_load.h: an image back into its region, for the engine: read, verified, decompressed
 * and placed by several threads at once (S6). */
#pragma once

#include "snapshot/store.h"

typedef struct {
    const char *directory;
    void *base;         /* must be the address that the image was taken at */
    uint64_t bytes_max; /* mapped and writable */
    baton_digest layout;
    uint32_t threads;    /* the caller's included; 0: 2; at most 16 */
    baton_io_options io; /* each thread opens one; sizes are set here. Custom ones: threads 1 */
    void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_all); /* on this thread */
    void *progress_context;
} baton_image_load_options;

/* With all images that it adds to; of a page only its last copy is placed, of a chunk without such
 * nothing is read. No byte is placed that was not verified (S2). The first *ret_region_bytes of the
 * region are then as they were; the rest is not touched. On failure they are anything.
 * BATON_E_SCHEMA: another address, layout or page size, or larger than bytes_max: the portable form
 * is for that. BATON_E_DAMAGED: file and offset are named. BATON_E_GONE, -errno. */
BATON_MUST_USE int baton_image_load(const baton_image_load_options *options,
                                    const baton_snapshot_listed *listed, uint64_t *ret_region_bytes,
                                    baton_error *error);
