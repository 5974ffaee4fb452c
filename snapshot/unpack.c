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
#include "snapshot/schema.h"
#include "snapshot/store.h"

struct baton_snapshot_reader {
    baton_snapshot_manifest manifest;
    baton_snapshot_loader loader;
    baton_rows rows;
    const baton_snapshot_section *section; /* NULL before the first */
    /* what the service declared; no table: rows are what they are */
    baton_schema_table table;
    const baton_section *declared; /* of the current section; NULL: Baton's own, or no table */
    bool upgrading; /* its rows are read whole into `row`, and given out from there */
    baton_row row;
    uint32_t row_next;                       /* field */
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
    if (r == 0 && baton_snapshot_is_image(&reader->manifest.info)) {
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
    free(reader->row.fields);
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

/* ---- sections by schema ---- */

static int refuse_section(const baton_snapshot_reader *reader, const char *why, const char *name,
                          baton_error *error)
{
    const baton_snapshot_info *info = &reader->manifest.info;
    return baton_error_setf(error, BATON_E_SCHEMA, "load a snapshot", "use the build that took it",
                            "version %s, schema %u: %s section %s", info->version, info->schema,
                            why, name);
}

static const baton_snapshot_section *section_named(baton_snapshot_reader *reader, const char *name,
                                                   uint32_t *ret_index)
{
    for (uint32_t i = 0; i < reader->manifest.info.sections_count; i++) {
        *ret_index = i;
        if (strcmp(reader->manifest.sections[i].name, name) == 0)
            return &reader->manifest.sections[i];
    }
    return NULL;
}

int baton_snapshot_reader_declare(baton_snapshot_reader *reader, const baton_schema_table *table,
                                  baton_error *error)
{
    const baton_snapshot_info *info = &reader->manifest.info;
    uint32_t index;
    for (uint32_t i = 0; i < info->sections_count; i++) {
        const char *name = reader->manifest.sections[i].name;
        const baton_section *known = baton_schema_find(table, name);
        if (baton_section_is_ours(name))
            continue;
        if (known == NULL)
            return refuse_section(reader, "this build does not know its", name, error);
        if (!baton_section_is_of(known, info->schema))
            return refuse_section(reader, "that schema has no", name, error);
        if (known->optional)
            reader->asked[i] = true;
    }
    for (uint32_t i = 0; i < table->sections_count; i++) {
        const baton_section *known = &table->sections[i];
        if (!known->optional && baton_section_is_of(known, info->schema) &&
            section_named(reader, known->name, &index) == NULL)
            return refuse_section(reader, "it lacks its", known->name, error);
    }
    baton_assert(reader->row.fields == NULL);
    reader->row.fields = calloc(BATON_ROW_FIELDS_MAX, sizeof(*reader->row.fields));
    if (reader->row.fields == NULL)
        return baton_error_set(error, -ENOMEM, "load a snapshot", NULL, "free memory");
    reader->table = *table;
    return 0;
}

/* A section that this snapshot need not have. */
static const baton_snapshot_section without_rows = {.rows_count = 0};

int baton_unpack_section(baton_snapshot_reader *reader, const char *name)
{
    uint32_t index = 0;
    if (reader->failed != 0)
        return reader->failed;
    const baton_snapshot_section *section = section_named(reader, name, &index);
    const baton_section *declared =
        reader->row.fields != NULL ? baton_schema_find(&reader->table, name) : NULL;
    if (section != NULL)
        reader->asked[index] = true;
    else if (declared != NULL)
        section = &without_rows;
    else
        return BATON_E_NOT_FOUND;
    reader->section = section;
    reader->declared = declared;
    reader->upgrading = declared != NULL && declared->upgrade != NULL &&
                        reader->manifest.info.schema < reader->table.newest;
    reader->row.fields_count = reader->row_next = 0;
    reader->next_byte = section->first_byte;
    baton_rows_begin(&reader->rows, section->bytes, section->rows_count);
    return 0;
}

/* A kind is found by asking: what is of another one stays where it is. */
static int rows_value(baton_rows *rows, baton_value *ret_field)
{
    *ret_field = (baton_value){.kind = BATON_VALUE_UINT};
    int r = baton_rows_uint(rows, &ret_field->number);
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_INT;
    r = baton_rows_int(rows, &ret_field->negative);
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_TEXT;
    r = baton_rows_run(rows, BATON_TOKEN_TEXT, &ret_field->bytes, &ret_field->bytes_count);
    if (r != BATON_E_SCHEMA)
        return r;
    ret_field->kind = BATON_VALUE_BYTES;
    return baton_rows_run(rows, BATON_TOKEN_BYTES, &ret_field->bytes, &ret_field->bytes_count);
}

/* The row that was begun, as one of the newest schema. */
static int upgrade_row(baton_snapshot_reader *reader, uint32_t *fields_count)
{
    baton_row *row = &reader->row;
    int r = 0;
    reader->row_next = row->fields_count = 0;
    for (uint32_t i = 0; i < *fields_count && r == 0; i++)
        r = finish(reader, rows_value(&reader->rows, &row->fields[i]));
    if (r < 0)
        return r;
    row->fields_count = *fields_count;
    r = baton_row_upgrade(&reader->table, reader->declared, reader->manifest.info.schema, row);
    *fields_count = r == 0 ? row->fields_count : 0;
    if (r < 0)
        row->fields_count = 0;
    return r;
}

int baton_unpack_row(baton_snapshot_reader *reader, uint32_t *ret_fields_count)
{
    int r = ready(reader);
    if (r == 0)
        r = finish(reader, baton_rows_next(&reader->rows, ret_fields_count));
    if (r <= 0 || reader->declared == NULL)
        return r;
    if (reader->upgrading) {
        r = upgrade_row(reader, ret_fields_count);
        return r < 0 ? r : 1;
    }
    return baton_section_fields_fit(reader->declared, *ret_fields_count) ? 1 : BATON_E_SCHEMA;
}

/* The next field of an upgraded row, if it is of that kind. */
static int row_field(baton_snapshot_reader *reader, baton_value_kind kind,
                     const baton_value **ret_field)
{
    if (reader->row_next == reader->row.fields_count ||
        reader->row.fields[reader->row_next].kind != kind)
        return BATON_E_SCHEMA;
    *ret_field = &reader->row.fields[reader->row_next++];
    return 0;
}

int baton_unpack_uint(baton_snapshot_reader *reader, uint64_t *ret_value)
{
    const baton_value *field;
    int r = ready(reader);
    if (r < 0)
        return r;
    if (!reader->upgrading)
        return finish(reader, baton_rows_uint(&reader->rows, ret_value));
    r = row_field(reader, BATON_VALUE_UINT, &field);
    if (r == 0)
        *ret_value = field->number;
    return r;
}

int baton_unpack_int(baton_snapshot_reader *reader, int64_t *ret_value)
{
    const baton_value *field;
    int r = ready(reader);
    if (r < 0)
        return r;
    if (!reader->upgrading)
        return finish(reader, baton_rows_int(&reader->rows, ret_value));
    r = row_field(reader, BATON_VALUE_INT, &field);
    if (r == 0) {
        *ret_value = field->negative;
        return 0;
    }
    r = row_field(reader, BATON_VALUE_UINT, &field);
    if (r == 0 && field->number > INT64_MAX) {
        reader->row_next--;
        return BATON_E_SCHEMA;
    }
    if (r == 0)
        *ret_value = (int64_t)field->number;
    return r;
}

static int unpack_run(baton_snapshot_reader *reader, baton_token_kind token, baton_value_kind kind,
                      const void **ret_bytes, uint32_t *ret_bytes_count)
{
    const baton_value *field;
    int r = ready(reader);
    if (r < 0)
        return r;
    if (!reader->upgrading)
        return finish(reader, baton_rows_run(&reader->rows, token, ret_bytes, ret_bytes_count));
    r = row_field(reader, kind, &field);
    if (r == 0) {
        *ret_bytes = field->bytes;
        *ret_bytes_count = field->bytes_count;
    }
    return r;
}

int baton_unpack_text(baton_snapshot_reader *reader, const char **ret_text, uint32_t *ret_bytes)
{
    const void *bytes = NULL;
    int r = unpack_run(reader, BATON_TOKEN_TEXT, BATON_VALUE_TEXT, &bytes, ret_bytes);
    if (r == 0)
        *ret_text = bytes;
    return r;
}

int baton_unpack_bytes(baton_snapshot_reader *reader, const void **ret_bytes,
                       uint32_t *ret_bytes_count)
{
    return unpack_run(reader, BATON_TOKEN_BYTES, BATON_VALUE_BYTES, ret_bytes, ret_bytes_count);
}

int baton_unpack_value(baton_snapshot_reader *reader, baton_value *ret_field)
{
    int r = ready(reader);
    if (r < 0)
        return r;
    if (!reader->upgrading)
        return finish(reader, rows_value(&reader->rows, ret_field));
    if (reader->row_next == reader->row.fields_count)
        return BATON_E_SCHEMA;
    *ret_field = reader->row.fields[reader->row_next++];
    return 0;
}
