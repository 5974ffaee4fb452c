/* snapshot/load.h: chunks off the disk, several reads ahead, each verified before its bytes are
 * used (S2, S6).
 *
 * A small ring of buffers, used again and again: the file is never in memory as a whole. With a
 * helper a second thread verifies and decompresses what was read while the caller uses the chunk
 * before; without one, and for a chunk that the helper has not come to, the caller does. Either
 * way a chunk's bytes are handed out only when they fit its digest, and a damaged one is an error
 * when it is asked for, not earlier.
 *
 *   EMPTY -> READING -> READ -> CHECKING -> CHECKED -> READING (another chunk) ...
 *
 * The caller's thread reads, and does every step but READ -> CHECKING -> CHECKED, which is whose
 * comes first, under the lock. */
#pragma once

#include <pthread.h>

#include "snapshot/manifest.h"
#include "snapshot/names.h"

#define BATON_LOADER_SLOTS      16u /* chunks on their way, verified ones included */
#define BATON_LOADER_HELPED_MIN 16u /* fewer chunks are not worth a thread */

typedef enum {
    BATON_SLOT_EMPTY,
    BATON_SLOT_READING,
    BATON_SLOT_READ,
    BATON_SLOT_CHECKING,
    BATON_SLOT_CHECKED,
} baton_slot_state;

/* What checking a chunk found. */
typedef enum {
    BATON_CHUNK_GOOD,
    BATON_CHUNK_DIGEST_DIFFERS,
    BATON_CHUNK_DOES_NOT_DECOMPRESS,
} baton_chunk_verdict;

typedef struct {
    baton_io_op op;
    uint8_t *stored; /* chunk_bytes, aligned to BATON_IO_UNIT */
    uint8_t *room;   /* chunk_bytes, for what is compressed; NULL when no chunk is */
    const baton_snapshot_chunk *chunk;
    uint32_t chunk_index;
    /* under the lock when there is a helper */
    baton_slot_state state;
    baton_chunk_verdict verdict; /* of CHECKED */
} baton_loader_slot;

typedef struct {
    baton_io *io;
    const baton_snapshot_manifest *manifest;
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    baton_loader_slot slots[BATON_LOADER_SLOTS]; /* chunk i uses slot i % slots_count */
    uint32_t slots_count;
    uint32_t first; /* chunks first .. end - 1 were asked for */
    uint32_t end;
    uint8_t *memory; /* of all slots */

    bool helped;
    pthread_t helper;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a slot became READ, or stop */
    pthread_cond_t done; /* a slot became CHECKED */
    bool stop;
} baton_snapshot_loader;

/* manifest stays the caller's and must outlive the loader; so must io, which does nothing else
 * meanwhile. Refuses a chunks file of another size than the manifest's. The loader must not move. */
BATON_MUST_USE int baton_snapshot_loader_open(baton_snapshot_loader *loader, baton_io *io,
                                              const char *path,
                                              const baton_snapshot_manifest *manifest,
                                              baton_error *error);
/* From now on with a helper, until close; does without when there are few chunks or no thread. */
void baton_snapshot_loader_help(baton_snapshot_loader *loader);
void baton_snapshot_loader_close(
    baton_snapshot_loader *loader); /* half-opened and zeroed ones too */
/* The raw bytes of a chunk, until the next call. Cheapest in ascending order. BATON_E_DAMAGED,
 * -errno: *error (not NULL) names file and offset. */
BATON_MUST_USE int baton_snapshot_loader_chunk(baton_snapshot_loader *loader, uint32_t chunk_index,
                                               const uint8_t **ret_raw, baton_error *error);
