/* snapshot/image_pipe.h: an image's chunks onto the disk, through staging copies: live pages change
 * while a device reads them, and a digest must be of what was written.
 *
 * Threads: all calls on one thread, gather() aside. */
#pragma once

#include "snapshot/chunk.h"
#include "snapshot/manifest.h"
#include "snapshot/names.h"

#define BATON_IMAGE_CHUNK_BYTES (1u << 20)
#define BATON_IMAGE_SLOTS_MAX   48u /* the staging, also of the last round: 48 MiB */
#define BATON_IMAGE_SLOTS_MIN   8u  /* more than are in flight */
#define BATON_IMAGE_AHEAD       6u  /* writes in flight */
#define BATON_SLOT_PAGES_MAX    (BATON_IMAGE_CHUNK_BYTES / BATON_IMAGE_PAGE_BYTES_MIN)

typedef struct {
    uint8_t *bytes; /* a chunk's room, aligned */
    uint32_t pages_count;
    uint32_t runs_count;
    baton_page_run runs[BATON_SLOT_PAGES_MAX];
    baton_io_op op;
} baton_image_slot;

typedef struct {
    baton_io *io;
    baton_io_file file;
    char path[BATON_SNAPSHOT_PATH_BYTES];
    bool created;
    baton_chunk_encoder encoder;
    baton_image_slot slots[BATON_IMAGE_SLOTS_MAX]; /* used in turn */
    uint32_t slots_count;
    uint32_t in_flight;
    int failed; /* sticky */
    uint64_t failed_offset;
    baton_snapshot_manifest manifest; /* chunks, pages and runs so far */
    uint32_t chunks_room;
    uint64_t runs_room;
} baton_image_pipe;

typedef struct {
    const char *directory; /* made when missing */
    const char *path;      /* of the chunks file; replaced by a new one */
    uint32_t slots_count;  /* SLOTS_MIN .. SLOTS_MAX */
    baton_io_options io;   /* its region: NULL, or room for the slots */
    baton_compress compress;
} baton_image_pipe_options;

/* Zeroed before. On failure close it all the same. */
BATON_MUST_USE int baton_image_pipe_open(baton_image_pipe *pipe,
                                         const baton_image_pipe_options *options,
                                         baton_error *error);
/* Waits for what is in flight; keeps the manifest. discard: removes the file. */
void baton_image_pipe_close(baton_image_pipe *pipe, bool discard);
void baton_image_pipe_fini(baton_image_pipe *pipe); /* after close */

/* Copies pages into the slot, as many as there is room for; returns how many. Other threads may
 * write to them meanwhile. */
uint32_t baton_image_slot_gather(baton_image_slot *slot, const uint8_t *base, uint32_t page_bytes,
                                 baton_page_run run);
/* The same from the run's last page down, before those that are there already; then turn() makes it
 * a slot like the others. */
uint32_t baton_image_slot_gather_back(baton_image_slot *slot, const uint8_t *base,
                                      uint32_t page_bytes, baton_page_run run);
void baton_image_slot_turn(baton_image_slot *slot, uint32_t page_bytes);
static inline void baton_image_slot_clear(baton_image_slot *slot)
{
    slot->pages_count = 0;
    slot->runs_count = 0;
}

/* Until this slot's last write is done. */
BATON_MUST_USE int baton_image_pipe_wait_slot(baton_image_pipe *pipe, const baton_image_slot *slot);
/* The slot's pages become the next chunk: encoded, digested, submitted. */
BATON_MUST_USE int baton_image_pipe_commit(baton_image_pipe *pipe, baton_image_slot *slot,
                                           uint32_t round, uint32_t page_bytes);
void baton_image_pipe_reap(baton_image_pipe *pipe); /* never blocks */
BATON_MUST_USE int baton_image_pipe_drain(baton_image_pipe *pipe);
/* Drained and durable. */
BATON_MUST_USE int baton_image_pipe_flush(baton_image_pipe *pipe);
/* What its sticky failure is, for a person. */
int baton_image_pipe_error(const baton_image_pipe *pipe, baton_error *error);
