/* snapshot/pack.c: rows into raw chunks; what becomes of a full one is pack_chunks.c's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "snapshot/token.h"
#include "snapshot/writer.h"

#define ROW_BYTES_FIRST 256u /* room for a row's texts, at first */

static void writer_fail(baton_snapshot_writer *writer, int error)
{
    if (writer->error == 0)
        writer->error = error;
}

/* Over the end of a chunk, perhaps of several. */
static int append_over_chunks(baton_snapshot_writer *writer, const char *bytes, size_t bytes_count)
{
    const uint32_t chunk_bytes = (uint32_t)writer->manifest.chunk_bytes;
    while (bytes_count > 0) {
        const size_t room = chunk_bytes - writer->raw_used;
        const size_t part = bytes_count < room ? bytes_count : room;
        memcpy(writer->raw + writer->raw_used, bytes, part);
        writer->raw_used += (uint32_t)part;
        writer->manifest.info.raw_bytes += part;
        bytes += part;
        bytes_count -= part;
        if (writer->raw_used == chunk_bytes) {
            int r = baton_writer_chunk_end(writer);
            if (r < 0) {
                writer_fail(writer, r);
                return -1;
            }
        }
    }
    return 0;
}

/* msgpack-c's sink. Non-zero stops it; the reason is in writer->error. */
static int raw_append(void *context, const char *bytes, size_t bytes_count)
{
    baton_snapshot_writer *writer = context;
    if (bytes_count >= writer->manifest.chunk_bytes - writer->raw_used)
        return append_over_chunks(writer, bytes, bytes_count);
    memcpy(writer->raw + writer->raw_used, bytes, bytes_count);
    writer->raw_used += (uint32_t)bytes_count;
    writer->manifest.info.raw_bytes += bytes_count;
    return 0;
}

static baton_snapshot_section *section_current(baton_snapshot_writer *writer)
{
    const uint32_t count = writer->manifest.info.sections_count;
    return count > 0 ? &writer->manifest.sections[count - 1] : NULL;
}

/* False after an error, or in the middle of a row, which is one. */
static bool row_is_whole(baton_snapshot_writer *writer)
{
    if (writer->fields_left > 0 || writer->finished)
        writer_fail(writer, BATON_E_INVALID);
    return writer->error == 0;
}

/* ---- rows by schema ---- */

int baton_snapshot_writer_declare(baton_snapshot_writer *writer, const baton_schema_table *table,
                                  uint32_t schema)
{
    baton_assert(writer->row.fields == NULL && schema <= table->newest);
    writer->row.fields = calloc(BATON_ROW_FIELDS_MAX, sizeof(*writer->row.fields));
    if (writer->row.fields == NULL)
        return -ENOMEM;
    writer->table = *table;
    writer->schema = schema;
    return 0;
}

/* Which section begins. False: it is not declared. */
static bool look_up(baton_snapshot_writer *writer, const char *name)
{
    writer->declared = NULL;
    writer->left_out = writer->gathering = false;
    if (writer->row.fields == NULL || baton_section_is_ours(name))
        return true;
    const baton_section *section = baton_schema_find(&writer->table, name);
    if (section == NULL)
        return false;
    writer->declared = section;
    writer->left_out = !baton_section_is_of(section, writer->schema);
    writer->gathering =
        writer->left_out || (section->downgrade != NULL && writer->schema < writer->table.newest);
    return true;
}

/* The caller's bytes are his again when his call returns. None at all have a place, too: nothing is a
 * text. */
static int keep_bytes(baton_snapshot_writer *writer, baton_value *field)
{
    if (writer->row_bytes == NULL ||
        writer->row_bytes_room - writer->row_bytes_used < field->bytes_count) {
        const uint64_t room = 2 * (writer->row_bytes_used + field->bytes_count) + ROW_BYTES_FIRST;
        uint8_t *bytes = realloc(writer->row_bytes, room);
        if (bytes == NULL)
            return -ENOMEM;
        writer->row_bytes = bytes;
        writer->row_bytes_room = room;
    }
    field->number = writer->row_bytes_used;
    if (field->bytes_count > 0)
        memcpy(writer->row_bytes + field->number, field->bytes, field->bytes_count);
    writer->row_bytes_used += field->bytes_count;
    return 0;
}

static bool has_bytes(const baton_value *field)
{
    return field->kind == BATON_VALUE_TEXT || field->kind == BATON_VALUE_BYTES;
}

static void put_field(baton_snapshot_writer *writer, const baton_value *field)
{
    msgpack_packer *packer = &writer->packer;
    const bool text = field->kind == BATON_VALUE_TEXT;
    if (has_bytes(field) && field->bytes_count > BATON_SNAPSHOT_FIELD_BYTES_MAX) {
        writer_fail(writer, BATON_E_TOO_LARGE);
        return;
    }
    if ((has_bytes(field) && field->bytes == NULL && (text || field->bytes_count > 0)) ||
        (text && !baton_utf8_valid(field->bytes, field->bytes_count))) {
        writer_fail(writer, BATON_E_INVALID);
        return;
    }
    switch (field->kind) {
    case BATON_VALUE_UINT:
        msgpack_pack_uint64(packer, field->number);
        return;
    case BATON_VALUE_INT:
        msgpack_pack_int64(packer, field->negative);
        return;
    case BATON_VALUE_TEXT:
        if (msgpack_pack_str(packer, field->bytes_count) == 0)
            msgpack_pack_str_body(packer, field->bytes, field->bytes_count);
        return;
    case BATON_VALUE_BYTES:
        if (msgpack_pack_bin(packer, field->bytes_count) == 0 && field->bytes_count > 0)
            msgpack_pack_bin_body(packer, field->bytes, field->bytes_count);
        return;
    }
}

static void put_row(baton_snapshot_writer *writer)
{
    baton_row *row = &writer->row;
    for (uint32_t i = 0; i < row->fields_count; i++)
        if (has_bytes(&row->fields[i]))
            row->fields[i].bytes = writer->row_bytes + row->fields[i].number;
    const int r = baton_row_downgrade(&writer->table, writer->declared, writer->schema, row);
    if (r < 0) {
        writer_fail(writer, r);
        return;
    }
    msgpack_pack_array(&writer->packer, row->fields_count);
    for (uint32_t i = 0; i < row->fields_count && writer->error == 0; i++)
        put_field(writer, &row->fields[i]);
}

static void gather(baton_snapshot_writer *writer, baton_value field)
{
    if (writer->left_out)
        return;
    const int r = has_bytes(&field) ? keep_bytes(writer, &field) : 0;
    if (r < 0) {
        writer_fail(writer, r);
        return;
    }
    writer->row.fields[writer->row.fields_count++] = field;
    if (writer->fields_left == 0)
        put_row(writer);
}

/* ---- sections and rows ---- */

static void section_end(baton_snapshot_writer *writer)
{
    baton_snapshot_section *section = section_current(writer);
    if (section != NULL)
        section->bytes = writer->manifest.info.raw_bytes - section->first_byte;
}

void baton_pack_section(baton_snapshot_writer *writer, const char *name)
{
    baton_snapshot_manifest *manifest = &writer->manifest;
    if (!row_is_whole(writer))
        return;
    if (name == NULL || !baton_section_name_valid(name)) {
        writer_fail(writer, BATON_E_INVALID);
        return;
    }
    if (!look_up(writer, name)) {
        writer_fail(writer, BATON_E_SCHEMA);
        return;
    }
    if (writer->left_out)
        return;
    for (uint32_t i = 0; i < manifest->info.sections_count; i++) {
        if (strcmp(manifest->sections[i].name, name) == 0) {
            writer_fail(writer, BATON_E_INVALID);
            return;
        }
    }
    if (manifest->info.sections_count == BATON_SNAPSHOT_SECTIONS_MAX) {
        writer_fail(writer, BATON_E_TOO_LARGE);
        return;
    }
    section_end(writer);
    baton_snapshot_section *section = &manifest->sections[manifest->info.sections_count++];
    *section = (baton_snapshot_section){.first_byte = manifest->info.raw_bytes};
    memcpy(section->name, name, strlen(name));
}

void baton_pack_row(baton_snapshot_writer *writer, uint32_t fields_count)
{
    if (!row_is_whole(writer))
        return;
    baton_snapshot_section *section = section_current(writer);
    if ((section == NULL && !writer->left_out) || fields_count == 0 ||
        fields_count > BATON_SNAPSHOT_FIELDS_MAX ||
        (writer->declared != NULL && !baton_section_fields_fit(writer->declared, fields_count))) {
        writer_fail(writer, BATON_E_INVALID);
        return;
    }
    writer->fields_left = fields_count;
    if (writer->left_out)
        return;
    section->rows_count++;
    writer->row.fields_count = 0;
    writer->row_bytes_used = 0;
    if (!writer->gathering)
        msgpack_pack_array(&writer->packer, fields_count);
}

static bool field_begin(baton_snapshot_writer *writer)
{
    if (writer->error != 0)
        return false;
    if (writer->fields_left == 0) {
        writer_fail(writer, BATON_E_INVALID);
        return false;
    }
    writer->fields_left--;
    return true;
}

void baton_pack_uint(baton_snapshot_writer *writer, uint64_t value)
{
    if (!field_begin(writer))
        return;
    if (writer->gathering)
        gather(writer, (baton_value){.kind = BATON_VALUE_UINT, .number = value});
    else
        msgpack_pack_uint64(&writer->packer, value);
}

void baton_pack_int(baton_snapshot_writer *writer, int64_t value)
{
    if (!field_begin(writer))
        return;
    if (!writer->gathering)
        msgpack_pack_int64(&writer->packer, value);
    else if (value < 0)
        gather(writer, (baton_value){.kind = BATON_VALUE_INT, .negative = value});
    else
        gather(writer, (baton_value){.kind = BATON_VALUE_UINT, .number = (uint64_t)value});
}

static void pack_run(baton_snapshot_writer *writer, baton_value_kind kind, const void *bytes,
                     size_t bytes_count)
{
    if (!field_begin(writer))
        return;
    if (bytes_count > BATON_SNAPSHOT_FIELD_BYTES_MAX) {
        writer_fail(writer, BATON_E_TOO_LARGE);
        return;
    }
    if (bytes == NULL && bytes_count > 0) {
        writer_fail(writer, BATON_E_INVALID);
        return;
    }
    const baton_value field = {.kind = kind, .bytes = bytes, .bytes_count = (uint32_t)bytes_count};
    if (writer->gathering)
        gather(writer, field);
    else
        put_field(writer, &field);
}

void baton_pack_text(baton_snapshot_writer *writer, const char *text)
{
    if (text == NULL)
        writer_fail(writer, BATON_E_INVALID);
    else
        pack_run(writer, BATON_VALUE_TEXT, text, strlen(text));
}

void baton_pack_bytes(baton_snapshot_writer *writer, const void *bytes, uint32_t bytes_count)
{
    pack_run(writer, BATON_VALUE_BYTES, bytes, bytes_count);
}

int baton_pack_error(const baton_snapshot_writer *writer)
{
    return writer->error;
}

/* ---- life ---- */

int baton_snapshot_writer_create(const baton_snapshot_options *options,
                                 baton_snapshot_writer **ret_writer)
{
    const baton_snapshot_options defaults = {.compress = BATON_COMPRESS_AUTO};
    const baton_snapshot_options *wanted = options != NULL ? options : &defaults;
    const uint32_t chunk_bytes =
        wanted->chunk_bytes > 0 ? wanted->chunk_bytes : BATON_SNAPSHOT_CHUNK_BYTES_DEFAULT;
    if (chunk_bytes < BATON_SNAPSHOT_CHUNK_BYTES_MIN ||
        chunk_bytes > BATON_SNAPSHOT_CHUNK_BYTES_MAX || chunk_bytes % BATON_IO_UNIT != 0)
        return BATON_E_INVALID;

    baton_snapshot_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return -ENOMEM;
    writer->bytes_max = wanted->bytes_max;
    writer->slab_bytes = baton_slab_bytes(chunk_bytes);
    writer->manifest.chunk_bytes = chunk_bytes;
    msgpack_packer_init(&writer->packer, writer, raw_append);
    int r = baton_chunk_encoder_init(&writer->encoder, wanted->compress, chunk_bytes,
                                     wanted->device_bytes_per_s, wanted->clock);
    if (r < 0)
        goto fail;
    writer->manifest.sections =
        calloc(BATON_SNAPSHOT_SECTIONS_MAX, sizeof(*writer->manifest.sections));
    r = writer->manifest.sections != NULL ? baton_writer_chunks_init(writer, wanted->helped)
                                          : -ENOMEM;
    if (r < 0)
        goto fail;
    *ret_writer = writer;
    return 0;

fail:
    baton_snapshot_writer_destroy(writer);
    return r;
}

void baton_snapshot_writer_destroy(baton_snapshot_writer *writer)
{
    if (writer == NULL)
        return;
    baton_writer_chunks_fini(writer);
    free(writer->row.fields);
    free(writer->row_bytes);
    free(writer->manifest_file);
    baton_chunk_encoder_fini(&writer->encoder);
    baton_snapshot_manifest_free(&writer->manifest);
    free(writer);
}

int baton_snapshot_writer_end(baton_snapshot_writer *writer)
{
    if (row_is_whole(writer) && writer->raw_used > 0)
        writer_fail(writer, baton_writer_chunk_end(writer));
    writer_fail(writer, baton_writer_chunks_settle(writer));
    if (writer->error == 0)
        section_end(writer);
    return writer->error;
}

void baton_snapshot_writer_note(baton_snapshot_writer *writer, const char *taken_by,
                                const char *taken_why, const char *form_why)
{
    baton_snapshot_notes *notes = &writer->manifest.notes;
    snprintf(notes->taken_by, sizeof(notes->taken_by), "%s", taken_by);
    snprintf(notes->taken_why, sizeof(notes->taken_why), "%.190s", taken_why);
    snprintf(notes->form_why, sizeof(notes->form_why), "%.126s", form_why);
}

int baton_snapshot_writer_finish(baton_snapshot_writer *writer, baton_snapshot_info *info)
{
    baton_snapshot_info *mine = &writer->manifest.info;
    if (baton_snapshot_writer_end(writer) != 0)
        return writer->error;

    memset(info->form, 0, sizeof(info->form));
    memcpy(info->form, BATON_SNAPSHOT_FORM, sizeof(BATON_SNAPSHOT_FORM));
    info->parent = (baton_digest){0};
    info->raw_bytes = mine->raw_bytes;
    info->stored_bytes = mine->stored_bytes;
    info->sections_count = mine->sections_count;
    info->chunks_count = mine->chunks_count;
    *mine = *info;
    writer_fail(writer, baton_snapshot_manifest_encode(&writer->manifest, &writer->manifest_file,
                                                       &writer->manifest_file_bytes));
    info->root = mine->root;
    writer->finished = true;
    return writer->error;
}
