/* snapshot/catalogue.h: the files of a directory of snapshots, and the notes beside a snapshot. */
#pragma once

#include "base/io.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

/* ---- catalogue.c: names ---- */

typedef struct {
    baton_snapshot_name kind;
    uint64_t seq;
    uint64_t epoch;
} baton_snapshot_named;

typedef struct {
    baton_snapshot_named
        *names; /* malloc'ed; newest first, the files of one snapshot side by side */
    uint32_t count;
    uint32_t room;
} baton_snapshot_names;

/* What of the directory is ours. No directory: 0 and an empty list. */
BATON_MUST_USE int baton_snapshot_names_collect(baton_io *io, const char *directory,
                                                baton_snapshot_names *ret_names,
                                                baton_error *error);

/* ---- notes.c: pins, and when a snapshot was verified ---- */

/* 1 when it is pinned, 0 when not, or -errno. */
BATON_MUST_USE int baton_snapshot_is_pinned(baton_io *io, const char *directory, uint64_t seq,
                                            uint64_t epoch);
BATON_MUST_USE int baton_snapshot_pin_with(baton_io *io, const char *directory, uint64_t seq,
                                           uint64_t epoch, baton_error *error);
BATON_MUST_USE int baton_snapshot_unpin_with(baton_io *io, const char *directory, uint64_t seq,
                                             uint64_t epoch, baton_error *error);
/* 0 when there is no such note, or when it is of another root: of one that had the name before. */
uint64_t baton_snapshot_verified_read(baton_io *io, const char *directory,
                                      const baton_snapshot_info *info);
BATON_MUST_USE int baton_snapshot_note_verified_with(baton_io *io, const char *directory,
                                                     const baton_snapshot_listed *listed,
                                                     uint64_t wall_ns, baton_error *error);

/* ---- prune.c ---- */

BATON_MUST_USE int baton_snapshot_retain_with(baton_io *io, const char *directory,
                                              const baton_snapshot_policy *policy,
                                              baton_snapshot_listed **ret_list,
                                              baton_snapshot_fate **ret_fates, uint32_t *ret_count,
                                              baton_error *error);
