/* snapshot/export.h: the format of an exported snapshot, v1, shared by export.c and import.c. The
 * page: docs/format/export.md. */
#pragma once

#include <baton/snapshot_export.h>

#include "snapshot/manifest.h"

#define BATON_EXPORT_VERSION    1u
#define BATON_EXPORT_MIN_READER 1u
#define BATON_EXPORT_MAGIC      "BATONEXP" /* 8 bytes, no terminator in the file */

/* Then the manifest's file, then a record for each chunk; nothing after the last. */
typedef struct {
    uint8_t magic[8];
    baton_le32 version;    /* of the writer */
    baton_le32 min_reader; /* the lowest reader version that can read it */
    baton_le64 manifest_bytes;
    baton_le64 flags;    /* none known: 0 */
    baton_digest digest; /* of the bytes before it */
} baton_export_header;

static_assert(sizeof(baton_export_header) == 48, "export format v1");
static_assert(offsetof(baton_export_header, manifest_bytes) == 16, "export format v1");
static_assert(offsetof(baton_export_header, digest) == 32, "export format v1");

typedef enum {
    BATON_TRAVEL_AS_STORED = 0, /* the chunk's stored bytes, without the zeros after them */
    BATON_TRAVEL_LZ4 = 1,       /* the same as one LZ4 block; of a chunk with codec raw only */
} baton_export_travel;

typedef struct {
    baton_le32 bytes; /* that follow */
    baton_le32 travel;
    baton_digest digest; /* of the two before it, then the bytes that follow */
} baton_export_record;

static_assert(sizeof(baton_export_record) == 24, "export format v1");
static_assert(offsetof(baton_export_record, digest) == 8, "export format v1");

baton_digest baton_export_record_digest(const baton_export_record *record, const void *bytes,
                                        uint32_t bytes_count);

BATON_MUST_USE int baton_snapshot_export_with(baton_io *io, const char *directory,
                                              const baton_snapshot_listed *listed, const char *path,
                                              const baton_snapshot_transfer *transfer,
                                              uint64_t *ret_bytes, baton_error *error);
BATON_MUST_USE int baton_snapshot_import_with(baton_io *io, const char *path, const char *directory,
                                              const baton_snapshot_transfer *transfer,
                                              baton_snapshot_info *ret_info, baton_error *error);
/* What a file says that it holds; its chunks are not read. ret_layout: of an image. Errors: as of an
 * import. */
BATON_MUST_USE int baton_snapshot_export_look(const char *path, baton_snapshot_info *ret_info,
                                              baton_digest *ret_layout, baton_error *error);
