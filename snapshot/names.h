/* snapshot/names.h: the names of a snapshot's files, and of where they are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/status.h>

#define BATON_SNAPSHOT_PATH_BYTES                                                                  \
    256u /* as baton_error.path and baton_snapshot_listed.manifest_path */

#define BATON_SNAPSHOTS_PATH_BYTES (BATON_SNAPSHOT_PATH_BYTES + 16u)
/* Where a service's data directory keeps its snapshots. -ENAMETOOLONG: ret_path is "". */
BATON_MUST_USE int baton_snapshots_path(char *ret_path, size_t path_bytes, const char *directory);

typedef enum {
    BATON_NAME_CHUNKS,
    BATON_NAME_MANIFEST,
    BATON_NAME_CHUNKS_PARTIAL,
    BATON_NAME_MANIFEST_PARTIAL,
    BATON_NAME_PIN,      /* empty: it is not to be removed */
    BATON_NAME_IMPORT,   /* an import's chunks, until it publishes them; an import that was killed
                            leaves them, and the next one goes on behind those that are good */
    BATON_NAME_VERIFIED, /* when all of it was last read and found good, and its root (notes.h) */
} baton_snapshot_name;

/* BATON_E_INVALID when it does not fit; path is then the directory, cut, good enough for a
 * message. */
BATON_MUST_USE int baton_snapshot_path(char path[BATON_SNAPSHOT_PATH_BYTES], const char *directory,
                                       uint64_t seq, uint64_t epoch, baton_snapshot_name kind);
/* False for every name that baton_snapshot_path does not make. */
bool baton_snapshot_name_parse(const char *name, baton_snapshot_name *ret_kind, uint64_t *ret_seq,
                               uint64_t *ret_epoch);
