/* baton/snapshot_export.h: one snapshot as one file, for backups and other hosts.
 *
 * The file holds the manifest as it is and every chunk; what an import makes of it are the same
 * bytes under the same root. Chunks that are stored raw may travel compressed. Format:
 * docs/format/export.md. Threads: any; both block. */
#pragma once

#include <baton/snapshot.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    baton_compress compress; /* of chunks that are stored raw, on their way only; export */
    /* Import into a directory that holds snapshots of another service or of another journal, and
     * over one of the same seq and epoch whose manifest is damaged or names the same root: how
     * damaged chunks are replaced by good ones. */
    bool force;
    /* Every byte of the file, once and in order: for a checksum. May be NULL. */
    void (*observe)(void *context, const void *bytes, uint64_t bytes_count);
    /* After the last byte, when everything is durable and nothing has its name yet. Not 0: given
     * back, nothing is published. May be NULL. */
    int (*settle)(void *context, baton_error *error);
    /* Import, once, before the first progress: a killed import had brought so much of the chunks,
     * which was read and found good now: it is not written again. May be NULL. */
    void (*resumed)(void *context, uint64_t kept_bytes, uint64_t all_bytes);
    void (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes); /* may be NULL */
    /* Import, after each piece. Not 0: given back, and nothing stays of what had come. May be NULL. */
    int (*stop)(void *context, baton_error *error);
    void *context;
} baton_snapshot_transfer;

/* Every chunk is compared with its digest. Complete or absent: written as PATH.<pid>.partial
 * (or PATH.<pid>-<n>.partial, where a dead one of that pid has left one),
 * flushed, renamed. transfer may be NULL. -EEXIST when path is there already; BATON_E_DAMAGED with
 * file and offset; BATON_E_GONE when the snapshot was removed after it was listed;
 * BATON_E_NO_SPACE. */
BATON_MUST_USE int baton_snapshot_export(const char *directory, const baton_snapshot_listed *listed,
                                         const char *path, const baton_snapshot_transfer *transfer,
                                         uint64_t *ret_bytes, baton_error *error);
/* The other way, for whoever holds the journal's lock. directory is made when missing (its parent
 * must exist). An import that was killed left what it had brought; it is verified, and gone on with. Published only when every byte of the file was found good. -EEXIST when one of its seq and epoch is there
 * already; BATON_E_DAMAGED for a file that is cut short, changed, or no export, with the offset;
 * BATON_E_NEWER_FORMAT; BATON_E_OTHER_SERVICE and BATON_E_OTHER_JOURNAL unless forced. */
BATON_MUST_USE int baton_snapshot_import(const char *path, const char *directory,
                                         const baton_snapshot_transfer *transfer,
                                         baton_snapshot_info *ret_info, baton_error *error);

#ifdef __cplusplus
}
#endif
