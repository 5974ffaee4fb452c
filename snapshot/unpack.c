/* snapshot/unpack.c: a snapshot as a service's restore function sees it: manifest, loader and
 * rows put together. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "snapshot/load.h"
#include "snapshot/manifest.h"
#include "snapshot/names.h"
#include "snapshot/rows.h"
#include "snapshot/store.h"

struct baton_snapshot_reader {
    baton_snapshot_manifest manifest;
    baton_snapshot_loader loader;
    baton_rows rows;
    const baton_snapshot_section *section;   /* NULL before the first */
    bool asked[BATON_SNAPSHOT_SECTIONS_MAX]; /* by the same index as the manifest's sections */
    uint64_t next_byte;                      /* of the raw stream: where the next piece begins */
    uint64_t chunk_offset; /* in the chunks file, of the current piece; for messages */
    void (*on_chunk)(void *context, uint64_t done_bytes, uint64_t of_bytes); /* NULL: nobody */
    void *on_chunk_context;
    int failed; /* sticky: 0 or the status of error */
    baton_error error;
};

/* baton_rows' source: the rest of the chunk that holds next_byte. */
static int more(void *context, const uint8_t **ret_bytes, uint64_t *ret_bytes_count)
{
    baton_snapshot_reader *reader = context;
    const uint64_t chunk_bytes = reader->manifest.chunk_bytes;
    const uint32_t index = (uint32_t)(reader->next_byte / chunk_bytes);
    const uint64_t skip = reader->next_byte % chunk_bytes;
    const uint8_t *raw;
    int r = baton_snapshot_loader_chunk(&reader->loader, index, &raw, &reader->error);
    if (r < 0)
        return r;
    reader->chunk_offset = reader->manifest.chunks[index].offset;
    *ret_bytes = raw + skip;
    *ret_bytes_count = reader->manifest.chunks[index].raw_bytes - skip;
    reader->next_byte += *ret_bytes_count;
    if (reader->on_chunk != NULL)
        reader->on_chunk(reader->on_chunk_context, reader->next_byte,
                         reader->manifest.info.raw_bytes);
    return 0;
}

/* ---- life ---- */

static int refuse_gone(const char *path, const char *why, baton_error *error)
{
    baton_error_set(error, BATON_E_GONE, "open a snapshot", why, "list them again");
    baton_error_at(error, path, UINT64_MAX);
    return BATON_E_GONE;
}

/* A removal takes the manifest first (S1): chunks that are missing are damage only while it is
 * still there. */
static bool was_removed(baton_io *io, const char *manifest_path)
{
    baton_io_file file;
    int r = baton_io_file_open(io, manifest_path, BATON_IO_FOR_READ, &file);
    if (r == 0)
        baton_io_file_close(io, file);
    return r == -ENOENT;
}

static int check_listed(const baton_snapshot_reader *reader, const baton_snapshot_listed *listed,
                        const char *path, baton_error *error)
{
    if (listed->status != 0 || baton_digest_equal(listed->info.root, reader->manifest.info.root))
        return 0;
    return refuse_gone(path, "another one has its name now than when it was listed", error);
}

int baton_snapshot_reader_open(baton_io *io, const char *directory,
                               const baton_snapshot_listed *listed,
                               baton_snapshot_reader **ret_reader, baton_error *error)
{
    static const char *const removed = "it was removed after it was listed";
    const uint64_t seq = listed->info.seq;
    const uint64_t epoch = listed->info.epoch;
    char manifest_path[BATON_SNAPSHOT_PATH_BYTES];
    char chunks_path[BATON_SNAPSHOT_PATH_BYTES];
    if (baton_snapshot_path(manifest_path, directory, seq, epoch, BATON_NAME_MANIFEST) < 0 ||
        baton_snapshot_path(chunks_path, directory, seq, epoch, BATON_NAME_CHUNKS) < 0)
        return baton_error_set(error, BATON_E_INVALID, "open a snapshot", "its path is too long",
                               "use a directory with a shorter path");

    baton_snapshot_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return baton_error_set(error, -ENOMEM, "open a snapshot", NULL, "free memory");
    reader->rows.more = more;
    reader->rows.context = reader;
    int r = baton_snapshot_manifest_load(io, manifest_path, seq, epoch, &reader->manifest, error);
    if (r == -ENOENT)
        r = refuse_gone(manifest_path, removed, error);
    if (r == 0)
        r = check_listed(reader, listed, manifest_path, error);
    if (r == 0 && baton_snapshot_manifest_is_image(&reader->manifest)) {
        r = baton_error_set(error, BATON_E_UNKNOWN_TYPE, "open a snapshot",
                            "it is an image, which has no sections",
                            "load it into its region, or use one in the portable form");
        baton_error_at(error, manifest_path, UINT64_MAX);
    }
    if (r == 0) {
        r = baton_snapshot_loader_open(&reader->loader, io, chunks_path, &reader->manifest, error);
        if (r == BATON_E_DAMAGED && was_removed(io, manifest_path))
            r = refuse_gone(manifest_path, removed, error);
    }
    if (r < 0) {
        baton_snapshot_reader_close(reader);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

void baton_snapshot_reader_help(baton_snapshot_reader *reader)
{
    baton_snapshot_loader_help(&reader->loader);
}

void baton_snapshot_reader_close(baton_snapshot_reader *reader)
{
    if (reader == NULL)
        return;
    baton_snapshot_loader_close(&reader->loader);
    baton_rows_fini(&reader->rows);
    baton_snapshot_manifest_free(&reader->manifest);
    free(reader);
}

const baton_snapshot_info *baton_snapshot_reader_info(const baton_snapshot_reader *reader)
{
    return &reader->manifest.info;
}

const baton_error *baton_snapshot_reader_error(const baton_snapshot_reader *reader)
{
    return &reader->error;
}

const char *baton_snapshot_reader_section_name(const baton_snapshot_reader *reader,
                                               uint32_t section_index)
{
    return section_index < reader->manifest.info.sections_count
               ? reader->manifest.sections[section_index].name
               : NULL;
}

bool baton_snapshot_reader_section(const baton_snapshot_reader *reader, uint32_t section_index,
                                   baton_snapshot_section_size *ret_section)
{
    if (section_index >= reader->manifest.info.sections_count)
        return false;
    const baton_snapshot_section *section = &reader->manifest.sections[section_index];
    *ret_section = (baton_snapshot_section_size){
        .name = section->name, .rows_count = section->rows_count, .bytes = section->bytes};
    return true;
}

void baton_snapshot_reader_on_chunk(baton_snapshot_reader *reader,
                                    void (*on_chunk)(void *context, uint64_t done_bytes,
                                                     uint64_t of_bytes),
                                    void *context)
{
    reader->on_chunk = on_chunk;
    reader->on_chunk_context = context;
}

const char *baton_snapshot_reader_unread(const baton_snapshot_reader *reader)
{
    for (uint32_t i = 0; i < reader->manifest.info.sections_count; i++)
        if (!reader->asked[i])
            return reader->manifest.sections[i].name;
    return NULL;
}

/* ---- reading ---- */

/* What a service did wrong it may try in another way; everything else is final. */
static int finish(baton_snapshot_reader *reader, int r)
{
    if (r >= 0 || r == BATON_E_SCHEMA)
        return r;
    reader->failed = r;
    if (reader->error.status == r) { /* the loader has said why and where */
        snprintf(reader->error.what, sizeof(reader->error.what), "load section %s of a snapshot",
                 reader->section->name);
        return r;
    }
    baton_error_setf(&reader->error, r, "read a snapshot's rows",
                     "use an older snapshot (baton snapshot ls)", "section %s: %s",
                     reader->section->name,
                     r == BATON_E_DAMAGED ? reader->rows.fault : baton_status_text(r));
    baton_error_at(&reader->error, reader->loader.path, reader->chunk_offset);
    return r;
}

/* 0 when rows may be read. */
static int ready(const baton_snapshot_reader *reader)
{
    if (reader->failed != 0)
        return reader->failed;
    return reader->section != NULL ? 0 : BATON_E_INVALID;
}

int baton_unpack_section(baton_snapshot_reader *reader, const char *name)
{
    if (reader->failed != 0)
        return reader->failed;
    for (uint32_t i = 0; i < reader->manifest.info.sections_count; i++) {
        const baton_snapshot_section *section = &reader->manifest.sections[i];
        if (strcmp(section->name, name) == 0) {
            reader->section = section;
            reader->asked[i] = true;
            reader->next_byte = section->first_byte;
            baton_rows_begin(&reader->rows, section->bytes, section->rows_count);
            return 0;
        }
    }
    return BATON_E_NOT_FOUND;
}

int baton_unpack_row(baton_snapshot_reader *reader, uint32_t *ret_fields_count)
{
    int r = ready(reader);
    return r < 0 ? r : finish(reader, baton_rows_next(&reader->rows, ret_fields_count));
}

int baton_unpack_uint(baton_snapshot_reader *reader, uint64_t *ret_value)
{
    int r = ready(reader);
    return r < 0 ? r : finish(reader, baton_rows_uint(&reader->rows, ret_value));
}

int baton_unpack_int(baton_snapshot_reader *reader, int64_t *ret_value)
{
    int r = ready(reader);
    return r < 0 ? r : finish(reader, baton_rows_int(&reader->rows, ret_value));
}

int baton_unpack_text(baton_snapshot_reader *reader, const char **ret_text, uint32_t *ret_bytes)
{
    const void *bytes = NULL;
    int r = ready(reader);
    if (r == 0)
        r = finish(reader, baton_rows_run(&reader->rows, BATON_TOKEN_TEXT, &bytes, ret_bytes));
    if (r == 0)
        *ret_text = bytes;
    return r;
}

int baton_unpack_bytes(baton_snapshot_reader *reader, const void **ret_bytes,
                       uint32_t *ret_bytes_count)
{
    int r = ready(reader);
    return r < 0 ? r
                 : finish(reader, baton_rows_run(&reader->rows, BATON_TOKEN_BYTES, ret_bytes,
                                                 ret_bytes_count));
}

/* A kind is found by asking: what is of another one stays where it is. */
int baton_unpack_value(baton_snapshot_reader *reader, baton_value *ret_field)
{
    const char *text;
    *ret_field = (baton_value){.kind = BATON_VALUE_UINT};
    int r = baton_unpack_uint(reader, &ret_field->number);
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_INT;
    r = baton_unpack_int(reader, &ret_field->negative);
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_TEXT;
    r = baton_unpack_text(reader, &text, &ret_field->bytes_count);
    if (r == 0)
        ret_field->bytes = text;
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_BYTES;
    return baton_unpack_bytes(reader, &ret_field->bytes, &ret_field->bytes_count);
}
