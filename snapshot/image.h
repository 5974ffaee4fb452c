/* snapshot/image.h: the image form: the pages of a region, taken while the service runs (S3, S4),
 * for the engine.
 *
 *     baton_image_source_open()                      once, over the region
 *     baton_image_begin()                            a snapshot is due
 *     baton_image_poll() until BATON_IMAGE_READY     every turn; never blocks
 *     baton_image_finish()                           at an entry boundary: this is the pause
 *     baton_image_poll() until BATON_IMAGE_DONE
 *     baton_image_publish_begin(), baton_snapshot_publish_step() ...   as the portable form
 *     baton_image_source_published(), baton_image_end()
 *
 * Three ways, tried in this order, the one taken and why stand in the result and the manifest:
 *   live   pages are tracked and copied by a thread while the service writes; the pause copies only
 *          what was written last. The others' work is done in rounds until that is little.
 *   fork   a child writes its frozen copy; the pause is the fork, and every first write to a page
 *          costs a fault while the child lives.
 *   stop   the pause is the whole copy.
 *
 * Threads: all calls on the thread of the service. Region: mapped as a whole while its source is
 * open; the bytes in use only grow while an image is taken. Written by the processor, in the service
 * or in system calls: what a device writes into it by itself (direct reads, registered buffers of a
 * ring) is not seen. */
#pragma once

#include <sys/types.h>

#include "snapshot/store.h"
#include "snapshot/track.h"

typedef struct baton_image_source baton_image_source;
typedef struct baton_image baton_image;

typedef struct {
    void *base;          /* page-aligned; an image is loaded at the same address */
    uint64_t bytes_max;  /* mapped: the bytes in use may grow up to it; a multiple of a page */
    baton_digest layout; /* of the types in it */
    uint32_t full_every; /* every n-th image is full, the others add to the one before; 0: 8 */
    const baton_tracker_ops *tracker; /* NULL: the kernel's */
    void *tracker_context;
} baton_image_source_options;

/* Never fails because pages can't be tracked: then images are taken by fork, see why_not_live. */
BATON_MUST_USE int baton_image_source_open(const baton_image_source_options *options,
                                           baton_image_source **ret_source, baton_error *error);
void baton_image_source_close(baton_image_source *source); /* no image running; NULL is fine */
/* What keeps images from being taken live; "" when nothing does. */
const char *baton_image_source_why_not_live(const baton_image_source *source);
/* The image of this root is published: the next one may add to it. Before that, and after an image
 * that failed, the next one is full. */
void baton_image_source_published(baton_image_source *source, baton_digest root);

typedef enum {
    BATON_IMAGE_AUTO, /* live; fork where pages can't be tracked; stop where fork fails */
    BATON_IMAGE_LIVE,
    BATON_IMAGE_FORK,
    BATON_IMAGE_STOP,
} baton_image_choice;

typedef struct {
    const char *directory;
    uint64_t seq; /* with epoch: unique name of the unfinished file; the final name may be later */
    uint64_t epoch;
    baton_image_choice choice;
    bool full;      /* even when it could add to the one before */
    bool no_thread; /* live: the writer's work is done in poll(), a piece at a time */
    baton_compress compress;
    const char *form_why;  /* for the manifest: why in this form; NULL: not said */
    uint64_t pause_ns_max; /* aimed at; 0: 5 ms */
    baton_io_options io;   /* of the writer's own ring; sizes are set here */
} baton_image_options;

typedef enum {
    BATON_IMAGE_COPYING, /* poll again */
    BATON_IMAGE_READY,   /* finish() at the next boundary; soon, the residue grows */
    BATON_IMAGE_WRITING, /* the state is taken, its last pages are on their way to the disk */
    BATON_IMAGE_DONE,    /* durable, without a name yet */
    BATON_IMAGE_FAILED,  /* its file is gone; the service goes on; end() it */
} baton_image_state;

typedef struct {
    baton_image_by by;
    char why[192]; /* why not by a better way, "" for live */
    bool full;
    uint32_t rounds; /* the last one included */
    uint32_t round_pages[BATON_IMAGE_ROUNDS_MAX];
    uint32_t residual_pages; /* of the last round: copied in the pause */
    uint32_t helped_pages;   /* of those: by the writer's thread, meanwhile */
    uint64_t pause_ns;       /* how long finish() held the service up; the longest */
    uint64_t pause_scan_ns;  /* of that: asking which pages */
    uint64_t copy_ns;        /* gathering pages in all rounds before */
    uint32_t retreats;       /* pauses given up, because more was to copy than the staging takes */
    bool overflowed;         /* after so many of them: the pause waited for the disk */
    uint64_t pages;          /* in all rounds */
    uint64_t taken_ns;       /* begin to DONE */
    pid_t child;             /* by fork, while it runs */
} baton_image_result;

/* Not while something prunes that directory: it would take the unfinished file for a leftover.
 * directory is made by the first one. io in options may be custom; the writer opens its own. */
BATON_MUST_USE int baton_image_begin(baton_image_source *source, const baton_image_options *options,
                                     uint64_t bytes_in_use, baton_image **ret_image,
                                     baton_error *error);
/* bytes_in_use: of the region, now. */
baton_image_state baton_image_poll(baton_image *image, uint64_t bytes_in_use);
/* READY only, else BATON_E_AGAIN. The image is of the region's bytes as they are during this call:
 * nobody else writes to it. BATON_E_AGAIN also when more was written than fits the staging, a few
 * times: nothing has happened then, poll again. Any other error ends the image: FAILED. */
BATON_MUST_USE int baton_image_finish(baton_image *image, uint64_t bytes_in_use,
                                      baton_error *error);
const baton_image_result *baton_image_result_of(const baton_image *image);
/* Of a FAILED one. A full disk is BATON_E_NO_SPACE. */
const baton_error *baton_image_error(const baton_image *image);

/* DONE only. Fills form, sizes, counts, parent, taken_ns and root of *info, whose other fields the
 * caller has set, makes the manifest and begins to publish under info's seq and epoch. io as for
 * baton_snapshot_publish_begin. When it fails the image's file goes with end(). */
BATON_MUST_USE int baton_image_publish_begin(baton_image *image, baton_io *io,
                                             baton_snapshot_info *info,
                                             baton_snapshot_publisher **ret_publisher,
                                             baton_error *error);
/* At any time: stops the writer or the child and waits for it; removes what was not handed to a
 * publisher. NULL is fine. */
void baton_image_end(baton_image *image);
