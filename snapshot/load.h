/* snapshot/load.h: chunks off the disk, several reads ahead, each verified before its bytes are
 * used (S2, S6). */
#pragma once

#include "snapshot/manifest.h"
#include "snapshot/names.h"

#define BATON_LOADER_AHEAD 8u /* chunks asked for at once */

typedef struct {
    baton_io_op op;
    uint8_t *stored; /* chunk_bytes, aligned to BATON_IO_UNIT */
} baton_loader_slot;

typedef struct {
    baton_io *io;
    const baton_snapshot_manifest *manifest;
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    baton_loader_slot slots[BATON_LOADER_AHEAD]; /* chunk i uses slot i % BATON_LOADER_AHEAD */
    uint32_t slots_count;
    uint32_t first; /* chunks first .. end - 1 were asked for */
    uint32_t end;
    uint8_t *raw; /* chunk_bytes: the decompressed chunk */
} baton_snapshot_loader;

/* manifest stays the caller's and must outlive the loader; so must io, which does nothing else
 * meanwhile. Refuses a chunks file of another size than the manifest's. */
BATON_MUST_USE int baton_snapshot_loader_open(baton_snapshot_loader *loader, baton_io *io,
                                              const char *path,
                                              const baton_snapshot_manifest *manifest,
                                              baton_error *error);
void baton_snapshot_loader_close(
    baton_snapshot_loader *loader); /* half-opened and zeroed ones too */
/* The raw bytes of a chunk, until the next call. Cheapest in ascending order. BATON_E_DAMAGED,
 * -errno: *error (not NULL) names file and offset. */
BATON_MUST_USE int baton_snapshot_loader_chunk(baton_snapshot_loader *loader, uint32_t chunk_index,
                                               const uint8_t **ret_raw, baton_error *error);
