/* snapshot/writer.h: a packed snapshot in memory, between pack.c that fills it and publish.c
 * that writes it out. */
#pragma once

#include <msgpack.h>

#include "snapshot/chunk.h"
#include "snapshot/manifest.h"
#include "snapshot/store.h"

/* The chunks file as it will stand on disk, in pieces: each is one direct write. Whole chunks
 * only. */
#define BATON_SLAB_BYTES (1u << 20) /* or one chunk, when that is larger */
typedef struct {
    uint8_t *bytes; /* aligned to BATON_IO_UNIT */
    uint32_t used;  /* a multiple of it */
} baton_snapshot_slab;

struct baton_snapshot_writer {
    int error; /* sticky: 0, or the first one */
    bool finished;
    uint32_t fields_left; /* of the current row */
    uint64_t bytes_max;

    /* the chunk being filled */
    uint8_t *raw;
    uint32_t raw_used;
    msgpack_packer packer; /* writes into it */
    baton_chunk_encoder encoder;

    /* what is done */
    baton_snapshot_manifest manifest;
    uint32_t chunks_room;
    baton_snapshot_slab *slabs;
    uint32_t slabs_count;
    uint32_t slabs_room;
    uint32_t slab_bytes;
    uint8_t *manifest_file; /* once finished; malloc'ed */
    uint64_t manifest_file_bytes;
};
