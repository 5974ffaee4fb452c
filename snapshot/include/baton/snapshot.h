/* baton/snapshot.h: a service's whole state at one seq, as named sections of msgpack rows (the
 * portable form).
 *
 * First half: what a service's snapshot and restore functions call. Second half: the catalogue,
 * for programs that look after snapshots. Format: docs/format/snapshot.md. Invariants S1-S7:
 * snapshot/README.md. Threads: every object belongs to the thread that made it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/digest.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_snapshot_writer baton_snapshot_writer;
typedef struct baton_snapshot_reader baton_snapshot_reader;

/* ---- writing: section, rows, fields ----
 * Errors are sticky: after the first one further calls do nothing, and whoever asked for the
 * snapshot gets it. So a service packs without checking each call. A row must get exactly the
 * fields it announced: BATON_E_INVALID. */
#define BATON_SECTION_NAME_BYTES 48u
void baton_pack_section(baton_snapshot_writer *writer,
                        const char *name); /* [a-z0-9._-]{1,47}, each name once */
void baton_pack_row(baton_snapshot_writer *writer, uint32_t fields_count); /* 1..256 */
void baton_pack_uint(baton_snapshot_writer *writer, uint64_t value);
void baton_pack_int(baton_snapshot_writer *writer, int64_t value);
void baton_pack_text(baton_snapshot_writer *writer, const char *text); /* UTF-8 */
void baton_pack_bytes(baton_snapshot_writer *writer, const void *bytes,
                      uint32_t bytes_count);               /* up to 16 MiB */
int baton_pack_error(const baton_snapshot_writer *writer); /* 0, or the first error */

/* ---- reading ----
 * Sections may be asked for in any order. Every byte was verified before a row is returned (S2). */
/* Go to the beginning of a section. BATON_E_NOT_FOUND when the snapshot has none of that name. */
BATON_MUST_USE int baton_unpack_section(baton_snapshot_reader *reader, const char *name);
/* The next row: 1 and its number of fields, 0 at the section's end, or an error. Unread fields
 * of the row before are skipped: a reader that expects n fields compares ret_fields_count
 * itself. */
BATON_MUST_USE int baton_unpack_row(baton_snapshot_reader *reader, uint32_t *ret_fields_count);
/* The next field of the row. BATON_E_SCHEMA when it is of another kind, out of range or there is
 * none. */
BATON_MUST_USE int baton_unpack_uint(baton_snapshot_reader *reader, uint64_t *ret_value);
BATON_MUST_USE int baton_unpack_int(baton_snapshot_reader *reader, int64_t *ret_value);
/* *ret_text is not terminated; valid until the next row. */
BATON_MUST_USE int baton_unpack_text(baton_snapshot_reader *reader, const char **ret_text,
                                     uint32_t *ret_bytes);
BATON_MUST_USE int baton_unpack_bytes(baton_snapshot_reader *reader, const void **ret_bytes,
                                      uint32_t *ret_bytes_count);

/* The next field, of whatever kind it is: for who does not know the rows. */
typedef enum {
    BATON_VALUE_UINT,
    BATON_VALUE_INT,
    BATON_VALUE_TEXT,
    BATON_VALUE_BYTES
} baton_value_kind;
typedef struct {
    baton_value_kind kind;
    uint64_t number;   /* UINT */
    int64_t negative;  /* INT: below 0 */
    const void *bytes; /* TEXT, BYTES: valid until the next row */
    uint32_t bytes_count;
} baton_value;
BATON_MUST_USE int baton_unpack_value(baton_snapshot_reader *reader, baton_value *ret_field);

/* ---- sections by schema ----
 * What a service declares of its sections, so that its snapshot and restore functions deal with
 * the rows of the newest schema only (baton_service.sections). */
#define BATON_ROW_FIELDS_MAX 256u
typedef struct {
    baton_value *fields; /* room for BATON_ROW_FIELDS_MAX */
    uint32_t fields_count;
} baton_row;

typedef struct {
    const char *name;
    uint32_t since_schema; /* the first that has it: 1 or more */
    uint32_t until_schema; /* the last that has it; 0: the newest does */
    /* A row of the newest schema has so many fields, or up to fields_known: those in between may be
     * missing. Other rows are refused: BATON_E_SCHEMA. */
    uint32_t fields_required; /* 1 or more */
    uint32_t fields_known;    /* up to BATON_ROW_FIELDS_MAX */
    /* A snapshot of a schema that has it may lack it, and restore may leave it unread. All others
     * must be there and be read. */
    bool optional;
    /* A row of schema `from` becomes one of from + 1, in place; and back. Called for one step after
     * the other, for every schema in between. NULL, both: the rows are the same in all schemas.
     * What a field points to stays valid until the next row; what is put there must, too. 0, or an
     * error: BATON_E_SCHEMA when the row can't be one. */
    int (*upgrade)(uint32_t from_schema, baton_row *row);
    int (*downgrade)(uint32_t to_schema, baton_row *row);
} baton_section;

/* ---- the catalogue: a directory of snapshots ---- */

typedef enum { BATON_COMPRESS_AUTO, BATON_COMPRESS_LZ4, BATON_COMPRESS_RAW } baton_compress;

typedef struct {
    char service[32];
    char version[32]; /* of the service that took it */
    char form[16];    /* "portable" or "image" */
    uint32_t schema;  /* of its sections */
    uint64_t seq;     /* the state after this entry */
    uint64_t epoch;   /* of the writer that took it */
    baton_digest journal_id;
    uint64_t
        position_epoch; /* the journal's durable position when it was published: evidence (J5) */
    uint64_t position_batch;
    uint64_t position_seq;
    uint64_t entry_time_ns;    /* of entry seq */
    baton_digest state_digest; /* over `schema`'s fields */
    baton_digest effect_digest;
    uint64_t created_wall_ns;
    uint64_t taken_ns;     /* how long taking it took; packed in memory: before it was written */
    uint64_t raw_bytes;    /* of all sections */
    uint64_t stored_bytes; /* of all chunks on disk */
    uint32_t sections_count;
    uint32_t chunks_count;
    baton_digest root;   /* of the whole snapshot: what the journal names */
    baton_digest parent; /* root of the image that this one adds to; zero: it stands alone */
} baton_snapshot_info;

typedef struct {
    baton_snapshot_info info; /* only info.seq and .epoch (from the file name) when status != 0 */
    int status; /* of its manifest: 0, BATON_E_DAMAGED, BATON_E_NEWER_FORMAT, -errno */
    char manifest_path[256];
    bool pinned; /* not to be removed */
    /* When all of it was last read and found good, since 1970-01-01 UTC; 0: nobody noted that
     * (baton_snapshot_note_verified). */
    uint64_t verified_wall_ns;
} baton_snapshot_listed;

/* Newest first (seq, then epoch). *ret_list is malloc'ed, the caller frees it. An absent
 * directory: 0 of them. Unpublished leftovers are not listed. */
BATON_MUST_USE int baton_snapshot_list(const char *directory, baton_snapshot_listed **ret_list,
                                       uint32_t *ret_count, baton_error *error);
/* Read and check every chunk. 0, BATON_E_DAMAGED (error names file, offset and section), ... */
BATON_MUST_USE int baton_snapshot_verify(const char *directory, const baton_snapshot_listed *listed,
                                         baton_error *error);
/* The same, telling how far it is. progress may be NULL. */
BATON_MUST_USE int baton_snapshot_verify_watched(
    const char *directory, const baton_snapshot_listed *listed,
    void (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes), void *context,
    baton_error *error);

typedef struct {
    char name[BATON_SECTION_NAME_BYTES];
    uint64_t bytes; /* raw */
    uint64_t rows_count;
} baton_snapshot_section_info;

/* What a manifest says beyond its baton_snapshot_info. */
typedef struct {
    baton_snapshot_section_info *sections; /* in order; malloc'ed */
    uint32_t sections_count;
    uint32_t chunks_compressed; /* of info.chunks_count */
    uint64_t chunk_bytes;       /* raw, of all but the last */
    /* For people; "": the manifest does not say. */
    char taken_by[8];    /* image: "live", "fork", "stop"; portable: "fork", "loop" */
    char taken_why[192]; /* why not by a better way */
    char form_why[128];  /* why in this form */
} baton_snapshot_layout;
/* On failure *ret_layout is empty. Errors: those of listed->status, BATON_E_GONE. */
BATON_MUST_USE int baton_snapshot_layout_read(const baton_snapshot_listed *listed,
                                              baton_snapshot_layout *ret_layout,
                                              baton_error *error);
void baton_snapshot_layout_free(baton_snapshot_layout *layout);

/* Remember, in a small file beside it, that listed was found good at wall_ns; 0: forget that it
 * ever was. verify itself changes nothing on disk. */
BATON_MUST_USE int baton_snapshot_note_verified(const char *directory,
                                                const baton_snapshot_listed *listed,
                                                uint64_t wall_ns, baton_error *error);
/* A pinned one is removed by nobody, the service's own pruning included; its root stays named in
 * the journal. Durable when it returns; also beside a running service. BATON_E_NOT_FOUND when
 * there is no such snapshot. Again is fine, and so is unpinning one that is not pinned. */
BATON_MUST_USE int baton_snapshot_pin(const char *directory, uint64_t seq, uint64_t epoch,
                                      baton_error *error);
BATON_MUST_USE int baton_snapshot_unpin(const char *directory, uint64_t seq, uint64_t epoch,
                                        baton_error *error);
/* Remove all but the newest `keep` (at least 2; fewer: BATON_E_INVALID) readable ones, and
 * leftovers of writers that died. Whoever holds the journal's lock may call it; pinned ones stay, and
 * beside images the two newest portable ones; damaged ones are kept and reported by the listing. */
BATON_MUST_USE int baton_snapshot_prune(const char *directory, uint32_t keep, uint32_t *ret_removed,
                                        baton_error *error);

typedef struct {
    uint32_t keep; /* the newest readable ones; at least 2 */
    /* And of each of the newest so many days (UTC, by when it was taken) that have any, the newest;
     * 0: none. Time that passes without a snapshot removes nothing. */
    uint32_t keep_days;
    bool dry_run; /* decide only; leftovers stay too */
} baton_snapshot_policy;

typedef enum {
    BATON_FATE_REMOVED,
    BATON_FATE_NEWEST, /* stays, among the newest, or needed by those */
    BATON_FATE_DAY,    /* stays, as the newest of its day */
    BATON_FATE_NEEDED, /* stays, because an image that stays adds to it */
    BATON_FATE_PINNED, /* stays, and would go without its pin */
    /* Stays for a person to look at, and counts as nothing: it, or what it adds to, is damaged. */
    BATON_FATE_DAMAGED,
    BATON_FATE_PORTABLE, /* stays beside images: one of two for builds with another layout */
} baton_snapshot_fate;

/* As baton_snapshot_prune, by a policy. *ret_list is what was there before, newest first,
 * *ret_fates what became of each: both malloc'ed, the caller frees them. */
BATON_MUST_USE int baton_snapshot_retain(const char *directory, const baton_snapshot_policy *policy,
                                         baton_snapshot_listed **ret_list,
                                         baton_snapshot_fate **ret_fates, uint32_t *ret_count,
                                         baton_error *error);

#ifdef __cplusplus
}
#endif
