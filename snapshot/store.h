/* snapshot/store.h: taking and loading snapshots, for the engine.
 *
 * Files: `SEQ-EPOCH.chunks` and `SEQ-EPOCH.manifest` (both 16 hex digits); the snapshot exists
 * when its manifest does, under that name (S1). `.partial` files, and chunks without a manifest,
 * are leftovers. Paths, with the file's name, are limited to 255 bytes: BATON_E_INVALID. */
#pragma once

#include <baton/snapshot.h>
#include "base/io.h"

/* Of its two forms: pages, not rows. */
bool baton_snapshot_is_image(const baton_snapshot_info *info);

/* What a service declares of its sections. */
typedef struct {
    const baton_section *sections;
    uint32_t sections_count;
    uint32_t newest; /* schema */
} baton_schema_table;
/* Why it can't be one, or NULL. */
const char *baton_schema_table_fault(const baton_schema_table *table);

typedef struct {
    baton_compress
        compress; /* AUTO: per chunk, LZ4 when it is faster end to end than raw, by measured rates (S5) */
    uint32_t chunk_bytes; /* raw bytes per chunk; 0: 256 KiB; 4 KiB .. 4 MiB, a multiple of 4 KiB */
    uint64_t
        bytes_max; /* stored bytes kept in memory while packing; 0: no limit. More: BATON_E_TOO_LARGE */
    uint64_t
        device_bytes_per_s; /* for AUTO; 0: as this process's last publisher measured it, 1 GB/s before that */
    const baton_clock *clock; /* for AUTO; NULL: the system's */
    /* A thread of its own compresses and digests full chunks while the next one is packed, until
     * finish or destroy. The bytes are the same; an error of such a chunk may show a few chunks
     * later, at the latest in finish. Not in a simulation. */
    bool helped;
} baton_snapshot_options;

/* Packing needs no file: chunks gather in memory, compressed and digested. options may be NULL. */
BATON_MUST_USE int baton_snapshot_writer_create(const baton_snapshot_options *options,
                                                baton_snapshot_writer **ret_writer);
/* From now on sections are those of the table, which outlives the writer: packed as rows of the
 * newest schema, written as those of `schema`. Sections of Baton's own are none of it. 0, -ENOMEM. */
BATON_MUST_USE int baton_snapshot_writer_declare(baton_snapshot_writer *writer,
                                                 const baton_schema_table *table, uint32_t schema);
void baton_snapshot_writer_destroy(baton_snapshot_writer *writer); /* NULL is fine */
/* No more rows; fills the form, sizes, counts and root of *info, whose other fields the caller
 * has set, and makes the manifest of it: *info does not change any more. Returns the sticky
 * error if there was one. */
BATON_MUST_USE int baton_snapshot_writer_finish(baton_snapshot_writer *writer,
                                                baton_snapshot_info *info);

/* Before finish: how it was taken ("loop": the service waited; "fork": a child packed it), why not by
 * a better way, and why in this form. Stands in the manifest, where readers that do not know it
 * skip it. */
void baton_snapshot_writer_note(baton_snapshot_writer *writer, const char *taken_by,
                                const char *taken_why, const char *form_why);

/* Publishing in steps that never block: chunks, flush, their rename, directory flush, manifest,
 * flush, rename, directory flush. It uses its own baton_io (J8), made by the caller for it; the
 * caller polls. */
typedef struct baton_snapshot_publisher baton_snapshot_publisher;
/* Takes over the finished writer in every case: it is destroyed with the publisher, or here on
 * failure. directory is made when missing (its parent must exist), the only part that blocks.
 * *info is what finish left. An unpublished leftover of the same name is replaced; a published
 * one of the same name: -EEXIST. */
BATON_MUST_USE int baton_snapshot_publish_begin(baton_io *io, const char *directory,
                                                baton_snapshot_writer *writer,
                                                const baton_snapshot_info *info,
                                                baton_snapshot_publisher **ret_publisher,
                                                baton_error *error);
/* may_publish false: write everything, but hold the manifest's rename back until it is true: the
 * caller says that seq is durable in the journal. BATON_E_AGAIN: not finished (io has something
 * in flight, or waits for may_publish); 0: published and the directory flushed; other errors:
 * failed, leftovers removed as far as possible; the same answer again later. A full disk is
 * BATON_E_NO_SPACE. */
BATON_MUST_USE int baton_snapshot_publish_step(baton_snapshot_publisher *publisher,
                                               bool may_publish, baton_error *error);
/* Waits for what is in flight. Unpublished files are removed. NULL is fine. */
void baton_snapshot_publish_end(baton_snapshot_publisher *publisher);
/* All of it, blocking, may_publish true. Takes over the writer in every case. */
BATON_MUST_USE int baton_snapshot_publish(baton_io *io, const char *directory,
                                          baton_snapshot_writer *writer,
                                          const baton_snapshot_info *info, baton_error *error);

/* Open one for reading; its manifest is checked at once, each chunk before its bytes are used
 * (S2). io stays the caller's, must outlive the reader, and does nothing else while the reader
 * is open. BATON_E_DAMAGED, BATON_E_NEWER_FORMAT, ... with file and offset; BATON_E_GONE when
 * the directory no longer holds what was listed. */
BATON_MUST_USE int baton_snapshot_reader_open(baton_io *io, const char *directory,
                                              const baton_snapshot_listed *listed,
                                              baton_snapshot_reader **ret_reader,
                                              baton_error *error);
/* A thread of its own verifies and decompresses ahead of the rows, until it is closed; does without
 * when the snapshot is small or there is no thread. What is read and refused is the same either
 * way. Not in a simulation. */
void baton_snapshot_reader_help(baton_snapshot_reader *reader);
void baton_snapshot_reader_close(baton_snapshot_reader *reader); /* NULL is fine */
const baton_snapshot_info *baton_snapshot_reader_info(const baton_snapshot_reader *reader);
/* The error that made an unpack call fail with BATON_E_DAMAGED (or -errno), with file and
 * offset. Sticky. */
const baton_error *baton_snapshot_reader_error(const baton_snapshot_reader *reader);
/* Names in order; NULL after the last. A loader refuses names that it does not know (E7). */
const char *baton_snapshot_reader_section_name(const baton_snapshot_reader *reader,
                                               uint32_t section_index);

typedef struct {
    const char *name; /* the reader's */
    uint64_t rows_count;
    uint64_t bytes; /* of the raw stream */
} baton_snapshot_section_size;
/* False after the last. */
bool baton_snapshot_reader_section(const baton_snapshot_reader *reader, uint32_t section_index,
                                   baton_snapshot_section_size *ret_section);
/* The same for reading: rows come as those of the newest schema. BATON_E_SCHEMA, by name, when the
 * snapshot has a section that is not in the table, or not of its schema, or lacks one that must be
 * there; -ENOMEM. */
BATON_MUST_USE int baton_snapshot_reader_declare(baton_snapshot_reader *reader,
                                                 const baton_schema_table *table,
                                                 baton_error *error);
/* Called after each chunk that was read, with how much of the raw stream stands before it and
 * with it: a reader that goes through it once tells its progress so. */
void baton_snapshot_reader_on_chunk(baton_snapshot_reader *reader,
                                    void (*on_chunk)(void *context, uint64_t done_bytes,
                                                     uint64_t of_bytes),
                                    void *context);
/* A section that nobody has gone to yet, or NULL: what is in it would be lost (E7). */
const char *baton_snapshot_reader_unread(const baton_snapshot_reader *reader);

/* As the public calls, with the caller's io. prune: not while a publisher works in that
 * directory, whose files it would take for leftovers. */
BATON_MUST_USE int baton_snapshot_list_with(baton_io *io, const char *directory,
                                            baton_snapshot_listed **ret_list, uint32_t *ret_count,
                                            baton_error *error);
BATON_MUST_USE int baton_snapshot_verify_with(baton_io *io, const char *directory,
                                              const baton_snapshot_listed *listed,
                                              baton_error *error);
/* As baton_snapshot_verify_watched; what progress says that is not 0 ends it. */
BATON_MUST_USE int
baton_snapshot_verify_while(const char *directory, const baton_snapshot_listed *listed,
                            int (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes),
                            void *context, baton_error *error);
BATON_MUST_USE int baton_snapshot_prune_with(baton_io *io, const char *directory, uint32_t keep,
                                             uint32_t *ret_removed, baton_error *error);
/* Manifest first, then the directory is flushed, then the chunks: a crash leaves it complete or
 * absent. -ENOENT: there is none; BATON_E_REFUSED: it is pinned. */
BATON_MUST_USE int baton_snapshot_remove(baton_io *io, const char *directory, uint64_t seq,
                                         uint64_t epoch);
