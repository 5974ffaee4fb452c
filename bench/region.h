/* bench/region.h: so many MiB at a fixed address that a compressor can make nothing of, the state of
 * a service at its simplest; images of it, and a loop that updates it. */
#pragma once

#include <baton/histogram.h>

#include "bench/snapshot_bench.h"
#include "snapshot/image.h"

#define REGION_PAGE_BYTES 4096u

struct snap_region {
    uint8_t *base;
    uint64_t bytes;
    uint32_t pages;
    uint64_t random;
    uint64_t seq; /* of the last image */
    baton_io_choice choice;
    char directory[BENCH_PATH_BYTES];
    baton_io *io; /* of publishing */
    baton_image_source *source;
};

/* name: of its directory, in the run's. Dies when it can't. */
void region_open(const snap_run *run, const char *name, snap_region *ret_region);
/* Removes the directory, too. */
void region_close(snap_region *region);
/* As after a start: nobody watches it, and it has no memory. Then watched again. */
void region_forget(snap_region *region);
void region_watch(snap_region *region);
uint64_t region_random(snap_region *region);
static inline uint8_t *region_random_page(snap_region *region)
{
    return region->base + region_random(region) % region->pages * REGION_PAGE_BYTES;
}

/* ---- one image, in steps that never wait ---- */

typedef struct {
    snap_region *region;
    baton_image *image; /* NULL: published */
    baton_snapshot_publisher *publisher;
    baton_snapshot_info info;
    baton_image_result result; /* once the pages are on the disk */
    bool hold;                 /* keep it ready: its last pages are not asked for yet */
    bool ready;                /* it was, once */
    uint64_t ready_pages;      /* written when it was last, being held */
} region_taking;

void region_begin(snap_region *region, bool full, baton_image_choice choice,
                  region_taking *ret_taking);
/* True: it is published. */
bool region_step(region_taking *taking);
/* Steps until it is published, sleeping in between. */
void region_finish(region_taking *taking);
/* All of it, the service being idle. */
baton_image_result region_take(snap_region *region, bool full);
/* The newest image, and its number, are gone. */
void region_remove_newest(snap_region *region);

/* ---- the loop ----
 * An open one: an update of 4 random pages is due every 20 us, and its latency counts from then. */

#define REGION_UPDATES_PER_S   50000u
#define REGION_PAGES_AN_UPDATE 4u

/* After each update: false ends the loop. */
typedef bool (*region_go_on)(void *context, uint64_t now_ns);
/* latency NULL: nobody counts what is late, so what was missed for longer than 10 ms is not caught
 * up with. */
void region_update(snap_region *region, region_go_on go_on, void *context,
                   baton_histogram *latency);
