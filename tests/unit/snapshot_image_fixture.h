/* tests/unit/snapshot_image_fixture.h: what the image tests share: a region that is written to, a
 * tracker without a kernel, and taking, publishing and loading in one call each. */
#pragma once

#include <stdatomic.h>

#include "tests/unit/snapshot_fixture.h"

#include "snapshot/image.h"
#include "snapshot/image_load.h"
#include "snapshot/manifest.h"

#define REGION_AT ((void *)UINT64_C(0x550000000000)) /* free under the sanitizers too */

typedef struct {
    uint8_t *base;
    uint64_t bytes;
    uint32_t page_bytes;
    uint32_t pages;
    uint64_t random;           /* of image_scribble */
    atomic_bool *written;      /* the simulated tracker's: since armed or collected */
    bool refuse;               /* the simulated tracker does not open */
    uint32_t collect_fails_at; /* or peek: counted down; 0: never */
    int memory;                /* of a memfd, or -1 */
} image_region;

typedef enum { REGION_PRIVATE, REGION_MEMFD, REGION_HUGE } image_backing;

void image_region_make(image_region *region, uint64_t bytes, image_backing backing, uint64_t seed);
void image_region_free(image_region *region);
void image_region_wipe(image_region *region); /* nothing of what was there is left */
/* Some bytes of that many random pages change, and the simulated tracker knows. */
void image_scribble(image_region *region, uint32_t pages_count, uint32_t among_pages);
void image_touch(image_region *region, uint32_t page, uint8_t value);
uint8_t *image_copy(const image_region *region, uint64_t bytes); /* malloc'ed */

const baton_tracker_ops *image_tracker(void);

/* NULL tracker: the kernel's. */
baton_image_source *image_source(image_region *region, const baton_tracker_ops *tracker,
                                 uint32_t full_every);
/* True, and says so, where the kernel's tracker does not work. */
bool image_no_kernel_tracker(image_region *region);

baton_image_options image_wish(const char *directory, uint64_t seq);
/* Polls until that state; fails the test when it ends in another. */
void image_poll_until(baton_image *image, uint64_t bytes, baton_image_state state);
/* DONE -> published, named to the source, ended. */
void image_publish(baton_io *io, baton_image_source *source, baton_image *image, uint64_t seq);
/* Begin to published, nobody writes meanwhile. ret_result may be NULL. */
void image_take(baton_io *io, baton_image_source *source, const baton_image_options *options,
                uint64_t bytes, baton_image_result *ret_result);
int image_load(const char *directory, const baton_snapshot_listed *listed, image_region *region,
               baton_error *error);
/* Wipes the region, loads, and compares. */
void image_check(baton_io *io, const char *directory, uint64_t seq, image_region *region,
                 const uint8_t *wanted, uint64_t bytes);
