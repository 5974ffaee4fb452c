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
    /* Takes each slab when it is full, and the last one: then no more than one is kept. NULL: all
     * are, for a publisher. */
    int (*sink)(void *context, const baton_snapshot_slab *slab);
    void *sink_context;
    uint8_t *manifest_file; /* once finished; malloc'ed */
    uint64_t manifest_file_bytes;
};

/* No more rows: the last chunk is cut, the last slab given to the sink. The sticky error, or 0. */
BATON_MUST_USE int baton_snapshot_writer_end(baton_snapshot_writer *writer);
/* As baton_snapshot_publish_begin; chunks_written NULL, or the path of the chunks file, written and
 * durable already under another name (an image's): it becomes the publisher's once it has begun. */
BATON_MUST_USE int
baton_snapshot_publish_begin_at(baton_io *io, const char *directory, baton_snapshot_writer *writer,
                                const baton_snapshot_info *info, const char *chunks_written,
                                baton_snapshot_publisher **ret_publisher, baton_error *error);
/* The directory, made durably when it is new, and open for its flushes. */
BATON_MUST_USE int baton_snapshot_directory_open(baton_io *io, const char *directory,
                                                 baton_io_file *ret_file);
