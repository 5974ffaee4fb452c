/* snapshot/manifest.h: what a snapshot consists of, in memory and as the bytes of its manifest
 * file. */
#pragma once

#include "snapshot/format.h"

typedef struct {
    baton_snapshot_info info; /* its counts are those of the arrays */
    uint64_t chunk_bytes;
    baton_snapshot_section *sections; /* malloc'ed */
    baton_snapshot_chunk *chunks;     /* malloc'ed */
    baton_snapshot_notes notes;

    /* form "image" only */
    baton_snapshot_image image;
    baton_chunk_pages *pages; /* one for each chunk; malloc'ed */
    uint32_t pages_count;
    baton_page_run *runs; /* of all chunks; malloc'ed */
    uint64_t runs_count;
} baton_snapshot_manifest;

void baton_snapshot_manifest_free(
    baton_snapshot_manifest *manifest); /* and zero; half-made ones too */

/* Why it can not be one, or NULL. Both directions ask: the writer before its bytes exist, the
 * reader after decoding. */
const char *baton_snapshot_manifest_fault(const baton_snapshot_manifest *manifest);
/* The part of it that is about what only an image has (manifest_image.c); called by it. */
const char *baton_image_fault(const baton_snapshot_manifest *manifest);
/* Terminated, UTF-8, no control characters: it is printed on terminals. */
bool baton_manifest_text_valid(const char *text, size_t text_bytes);
/* [a-z0-9._-]{1,47} */
bool baton_section_name_valid(const char *name);

/* The whole file; sets manifest->info.root. *ret_bytes is malloc'ed. BATON_E_INVALID:
 * manifest_fault; -ENOMEM. */
BATON_MUST_USE int baton_snapshot_manifest_encode(baton_snapshot_manifest *manifest,
                                                  uint8_t **ret_bytes, uint64_t *ret_bytes_count);
/* The other way; on failure *ret_manifest is empty. path is for the error only. */
BATON_MUST_USE int baton_snapshot_manifest_decode(const uint8_t *bytes, uint64_t bytes_count,
                                                  const char *path,
                                                  baton_snapshot_manifest *ret_manifest,
                                                  baton_error *error);
/* Only the map after the header, whose digest was compared already. */
BATON_MUST_USE int baton_snapshot_manifest_decode_body(const uint8_t *body, uint64_t body_bytes,
                                                       const char *path,
                                                       baton_snapshot_manifest *ret_manifest,
                                                       baton_error *error);
/* Read and decode the file of this seq and epoch, whose body must name the same two. */
BATON_MUST_USE int baton_snapshot_manifest_load(baton_io *io, const char *path, uint64_t seq,
                                                uint64_t epoch,
                                                baton_snapshot_manifest *ret_manifest,
                                                baton_error *error);

/* ---- the map's keys, one table for both directions ---- */

typedef enum {
    BATON_KEY_TEXT, /* str, at most bytes - 1 */
    BATON_KEY_U32,
    BATON_KEY_U64,
    BATON_KEY_DIGEST,   /* bin of 16 bytes */
    BATON_KEY_SECTIONS, /* array of [name, first byte, bytes, rows] */
    BATON_KEY_CHUNKS,   /* array of [offset, stored bytes, raw bytes, codec, digest] */
    BATON_KEY_PAGES,    /* array of [round, [first page, pages, first page, pages, ...]] */
} baton_manifest_key_kind;

typedef struct {
    const char *name;
    baton_manifest_key_kind kind;
    uint32_t at; /* offset in baton_snapshot_manifest */
    uint32_t bytes;
} baton_manifest_key;

#define BATON_MANIFEST_KEYS       20u /* of every form */
#define BATON_MANIFEST_IMAGE_KEYS 9u  /* after them, of an image */
#define BATON_MANIFEST_ALL_KEYS   (BATON_MANIFEST_KEYS + BATON_MANIFEST_IMAGE_KEYS)
extern const baton_manifest_key baton_manifest_keys[BATON_MANIFEST_ALL_KEYS];
/* The one key a writer may leave out: a map of str to anything, which a reader that does not
 * know a name in it skips. Every other key that it does not know is a reason to refuse (E7). */
#define BATON_MANIFEST_IGNORABLE "ignorable"
#define BATON_MANIFEST_NOTES     3u
extern const baton_manifest_key baton_manifest_notes[BATON_MANIFEST_NOTES]; /* names in it */
#define BATON_MANIFEST_DEPTH_MAX      8u /* of what stands in it */
#define BATON_MANIFEST_SECTION_FIELDS 4u
#define BATON_MANIFEST_CHUNK_FIELDS   5u
#define BATON_MANIFEST_PAGES_FIELDS   2u
