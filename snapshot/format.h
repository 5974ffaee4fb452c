/* snapshot/format.h: snapshot formats v1 (portable) and v2 (image), shared by writer and reader.
 * The page: docs/format/snapshot.md.
 *
 * Chunks file: portable: the raw streams of all sections, one after the other, cut every
 * chunk_bytes; image: pages of the region, up to chunk_bytes of them together. Each piece is stored raw or as one LZ4 block, followed by zeros up to a multiple of BATON_IO_UNIT,
 * so that it can be read with O_DIRECT. Manifest file: baton_manifest_header, then a msgpack map
 * (manifest.h). */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/digest.h>
#include <baton/snapshot.h>
#include <baton/wire.h>
#include "base/io.h"

#define BATON_SNAPSHOT_VERSION          2u /* the newest that this build reads */
#define BATON_SNAPSHOT_VERSION_PORTABLE 1u /* what is written, by form; also its lowest reader */
#define BATON_SNAPSHOT_VERSION_IMAGE    2u
#define BATON_MANIFEST_MAGIC            "BATONMAN" /* 8 bytes, no terminator on disk */
#define BATON_SNAPSHOT_FORM             "portable"
#define BATON_SNAPSHOT_FORM_IMAGE       "image"

/* Limits of the format: a reader refuses more before it allocates for it. */
#define BATON_SNAPSHOT_SECTIONS_MAX    256u
#define BATON_SNAPSHOT_CHUNKS_MAX      (1u << 20)
#define BATON_SNAPSHOT_CHUNK_BYTES_MIN 4096u
#define BATON_SNAPSHOT_CHUNK_BYTES_MAX (4u << 20)
#define BATON_SNAPSHOT_FIELDS_MAX      256u        /* of a row */
#define BATON_SNAPSHOT_FIELD_BYTES_MAX (16u << 20) /* of a text or bytes field */
#define BATON_SNAPSHOT_ROW_BYTES_MIN   2u          /* an array of one small number */
#define BATON_MANIFEST_BODY_BYTES_MAX  (64u << 20)
/* Of an image. A region of 1 TiB fills the chunks that a snapshot may have. */
#define BATON_IMAGE_REGION_BYTES_MAX (UINT64_C(1) << 40)
#define BATON_IMAGE_PAGE_BYTES_MIN   4096u
#define BATON_IMAGE_PAGE_BYTES_MAX   65536u
#define BATON_IMAGE_ROUNDS_MAX       64u

#define BATON_SNAPSHOT_CHUNK_BYTES_DEFAULT (256u << 10)

/* These 48 bytes, the root's place and its rule stay the same in all versions, so that damage is
 * told from a newer format (E7). */
typedef struct {
    uint8_t magic[8];
    baton_le32 version;    /* of the writer */
    baton_le32 min_reader; /* the lowest reader version that can read it */
    baton_le64 body_bytes;
    baton_le64 flags;  /* none known: 0 */
    baton_digest root; /* of the bytes before it, then the body */
} baton_manifest_header;

static_assert(sizeof(baton_manifest_header) == 48, "snapshot format v1");
static_assert(offsetof(baton_manifest_header, version) == 8, "snapshot format v1");
static_assert(offsetof(baton_manifest_header, min_reader) == 12, "snapshot format v1");
static_assert(offsetof(baton_manifest_header, body_bytes) == 16, "snapshot format v1");
static_assert(offsetof(baton_manifest_header, flags) == 24, "snapshot format v1");
static_assert(offsetof(baton_manifest_header, root) == 32, "snapshot format v1");

/* Numbers on disk. */
typedef enum { BATON_CODEC_RAW = 0, BATON_CODEC_LZ4 = 1 } baton_snapshot_codec;
#define BATON_SNAPSHOT_CODECS 2u

typedef struct {
    char name[BATON_SECTION_NAME_BYTES];
    uint64_t first_byte; /* of the concatenated raw streams */
    uint64_t bytes;
    uint64_t rows_count;
} baton_snapshot_section;

typedef struct {
    uint64_t offset;       /* in the chunks file, a multiple of BATON_IO_UNIT */
    uint32_t stored_bytes; /* without the zeros after them */
    uint32_t raw_bytes;
    uint32_t codec;      /* baton_snapshot_codec, checked */
    baton_digest digest; /* of the stored bytes and the zeros after them */
} baton_snapshot_chunk;

/* For people: nothing depends on them. In the manifest's key "ignorable"; "": not there. */
typedef struct {
    char
        taken_by[8]; /* of a portable one: "loop" or "fork"; an image says it in a key of its own */
    char taken_why[192]; /* why not by a better way */
    char form_why[128];  /* why in this form */
} baton_snapshot_notes;

/* ---- the image form ---- */

/* How it was taken; the words stand in the manifest. */
typedef enum { BATON_IMAGE_BY_LIVE, BATON_IMAGE_BY_FORK, BATON_IMAGE_BY_STOP } baton_image_by;
#define BATON_IMAGE_BYS 3u

typedef struct {
    uint64_t address; /* of the region: it is loaded there or not at all */
    uint64_t region_bytes;
    uint32_t page_bytes;
    uint32_t rounds;     /* passes over the region; chunks stand in their order */
    baton_digest layout; /* of the declared types of the state */
    baton_digest parent; /* root of the image that this one adds to; zero: it is full */
    char taken_by[8];    /* "live", "fork", "stop" */
    char taken_why[192]; /* why not by a better way; "" for live */
} baton_snapshot_image;

/* A chunk of an image holds whole pages: those of its runs, one run after the other. */
typedef struct {
    uint32_t first_page; /* of the region */
    uint32_t pages_count;
} baton_page_run;

typedef struct {
    uint32_t round;
    uint32_t runs_count;
    uint64_t runs_first; /* in the manifest's array of runs */
} baton_chunk_pages;

static inline uint64_t baton_snapshot_padded(uint64_t bytes)
{
    return (bytes + BATON_IO_UNIT - 1) & ~(uint64_t)(BATON_IO_UNIT - 1);
}
