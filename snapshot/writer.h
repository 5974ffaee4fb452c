/* snapshot/writer.h: a packed snapshot in memory, between pack.c that fills it and publish.c
 * that writes it out. */
#pragma once

#include <pthread.h>

#include <msgpack.h>

#include "snapshot/chunk.h"
#include "snapshot/manifest.h"
#include "snapshot/schema.h"
#include "snapshot/store.h"

/* The chunks file as it will stand on disk, in pieces: each is one direct write. Whole chunks
 * only. */
#define BATON_SLAB_BYTES (2u << 20) /* a huge page; more of them when a chunk is larger */
typedef struct {
    uint8_t *bytes; /* aligned to BATON_IO_UNIT */
    uint32_t used;  /* a multiple of it */
} baton_snapshot_slab;

static inline uint32_t baton_slab_bytes(uint32_t chunk_bytes)
{
    return (chunk_bytes + BATON_SLAB_BYTES - 1) & ~(BATON_SLAB_BYTES - 1);
}

/* Raw chunks on their way to the helper, used in turn. While it helps, the helper alone touches
 * the encoder, the slabs, and the manifest's chunks and stored_bytes; the packing thread the raw
 * chunk that it fills and everything else. */
#define BATON_PACK_RAWS 8u
typedef struct {
    bool wanted; /* and not begun yet */
    bool helped;
    pthread_t helper;
    uint8_t *raws[BATON_PACK_RAWS]; /* chunk_bytes each; [0] alone without a helper */
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t work; /* filled grew, or stop */
    pthread_cond_t done; /* encoded grew */
    uint32_t raws_used[BATON_PACK_RAWS];
    uint32_t filled; /* counted from 0; slot i % BATON_PACK_RAWS */
    uint32_t encoded;
    bool stop;
    int error; /* the helper's, which ended it */
} baton_pack_ring;

struct baton_snapshot_writer {
    int error; /* sticky: 0, or the first one */
    bool finished;
    uint32_t fields_left; /* of the current row */
    uint64_t bytes_max;

    /* what the service declared; no table: sections are what they are */
    baton_schema_table table;
    uint32_t schema;
    const baton_section *declared; /* of the current section; NULL: Baton's own, or no table */
    bool left_out;                 /* that section is none of `schema` */
    bool gathering; /* its rows go through `row`, and are written, or not, when they are whole */
    baton_row row;
    uint8_t *row_bytes; /* of its texts and bytes; a field's number says where, until it is whole */
    uint64_t row_bytes_used;
    uint64_t row_bytes_room;

    /* the chunk being filled */
    uint8_t *raw; /* one of the ring's */
    uint32_t raw_used;
    msgpack_packer packer; /* writes into it */
    baton_pack_ring ring;
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

/* ---- pack.c ---- */

/* No more rows: the last chunk is cut, the last slab given to the sink. The sticky error, or 0. */
BATON_MUST_USE int baton_snapshot_writer_end(baton_snapshot_writer *writer);

/* ---- pack_chunks.c ---- */

BATON_MUST_USE int baton_writer_chunks_init(baton_snapshot_writer *writer, bool helped);
void baton_writer_chunks_fini(baton_snapshot_writer *writer); /* half-made ones too */
/* What is in writer->raw, not nothing, becomes the next chunk; writer->raw is empty again. Also
 * the error of an earlier one. */
BATON_MUST_USE int baton_writer_chunk_end(baton_snapshot_writer *writer);
/* All of them are in the slabs, or went to the sink, and the helper is gone: 0, or what went wrong
 * there. */
BATON_MUST_USE int baton_writer_chunks_settle(baton_snapshot_writer *writer);

/* ---- publish.c ---- */

/* As baton_snapshot_publish_begin; chunks_written NULL, or the path of the chunks file, written and
 * durable already under another name (an image's): it becomes the publisher's once it has begun. */
BATON_MUST_USE int
baton_snapshot_publish_begin_at(baton_io *io, const char *directory, baton_snapshot_writer *writer,
                                const baton_snapshot_info *info, const char *chunks_written,
                                baton_snapshot_publisher **ret_publisher, baton_error *error);
/* The directory, made durably when it is new, and open for its flushes. */
BATON_MUST_USE int baton_snapshot_directory_open(baton_io *io, const char *directory,
                                                 baton_io_file *ret_file);
