/* snapshot/pack.c: rows into chunks, in memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "snapshot/token.h"
#include "snapshot/writer.h"

static void writer_fail(baton_snapshot_writer *writer, int error)
{
    if (writer->error == 0)
        writer->error = error;
}

/* ---- chunks ---- */

static int slab_add(baton_snapshot_writer *writer)
{
    if (writer->sink != NULL && writer->slabs_count > 0) {
        int r = writer->sink(writer->sink_context, &writer->slabs[0]);
        writer->slabs[0].used = 0;
        return r;
    }
    if (writer->slabs_count == writer->slabs_room) {
        const uint32_t room = writer->slabs_room > 0 ? 2 * writer->slabs_room : 16;
        baton_snapshot_slab *slabs = realloc(writer->slabs, room * sizeof(*slabs));
        if (slabs == NULL)
            return -ENOMEM;
        writer->slabs = slabs;
        writer->slabs_room = room;
    }
    uint8_t *bytes = aligned_alloc(BATON_IO_UNIT, writer->slab_bytes);
    if (bytes == NULL)
        return -ENOMEM;
    writer->slabs[writer->slabs_count++] = (baton_snapshot_slab){.bytes = bytes};
    return 0;
}

/* Room for one padded chunk behind the last one; it never spans two slabs. */
static int slab_take(baton_snapshot_writer *writer, uint32_t bytes, uint8_t **ret_bytes)
{
    baton_assert(bytes <= writer->slab_bytes);
    if (writer->slabs_count == 0 ||
        writer->slabs[writer->slabs_count - 1].used + bytes > writer->slab_bytes) {
        int r = slab_add(writer);
        if (r < 0)
            return r;
    }
    baton_snapshot_slab *slab = &writer->slabs[writer->slabs_count - 1];
    *ret_bytes = slab->bytes + slab->used;
    slab->used += bytes;
    return 0;
}

static int chunk_describe(baton_snapshot_writer *writer, const baton_snapshot_chunk *chunk)
{
    baton_snapshot_manifest *manifest = &writer->manifest;
    if (manifest->info.chunks_count == writer->chunks_room) {
        const uint32_t room = writer->chunks_room > 0 ? 2 * writer->chunks_room : 64;
        baton_snapshot_chunk *chunks = realloc(manifest->chunks, room * sizeof(*chunks));
        if (chunks == NULL)
            return -ENOMEM;
        manifest->chunks = chunks;
        writer->chunks_room = room;
    }
    manifest->chunks[manifest->info.chunks_count++] = *chunk;
    return 0;
}

/* The filled part of writer->raw becomes the next chunk. */
static int chunk_end(baton_snapshot_writer *writer)
{
    baton_snapshot_info *info = &writer->manifest.info;
    baton_snapshot_chunk chunk = {.offset = info->stored_bytes};
    const uint8_t *stored;
    uint8_t *place;
    baton_chunk_encode(&writer->encoder, writer->raw, writer->raw_used, &chunk, &stored);
    const uint32_t padded = (uint32_t)baton_snapshot_padded(chunk.stored_bytes);
    if (info->chunks_count == BATON_SNAPSHOT_CHUNKS_MAX ||
        (writer->bytes_max > 0 && info->stored_bytes + padded > writer->bytes_max))
        return BATON_E_TOO_LARGE;
    int r = slab_take(writer, padded, &place);
    if (r < 0)
        return r;
    memcpy(place, stored, chunk.stored_bytes);
    memset(place + chunk.stored_bytes, 0, padded - chunk.stored_bytes);
    chunk.digest = baton_digest_of(place, padded);
    r = chunk_describe(writer, &chunk);
    if (r < 0)
        return r;
    info->stored_bytes += padded;
    writer->raw_used = 0;
    return 0;
}

/* msgpack-c's sink. Non-zero stops it; the reason is in writer->error. */
static int raw_append(void *context, const char *bytes, size_t bytes_count)
{
    baton_snapshot_writer *writer = context;
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
            int r = chunk_end(writer);
            if (r < 0) {
                writer_fail(writer, r);
                return -1;
            }
        }
    }
    return 0;
}

/* ---- sections and rows ---- */

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
    if (section == NULL || fields_count == 0 || fields_count > BATON_SNAPSHOT_FIELDS_MAX) {
        writer_fail(writer, BATON_E_INVALID);
        return;
    }
    section->rows_count++;
    writer->fields_left = fields_count;
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
    if (field_begin(writer))
        msgpack_pack_uint64(&writer->packer, value);
}

void baton_pack_int(baton_snapshot_writer *writer, int64_t value)
{
    if (field_begin(writer))
        msgpack_pack_int64(&writer->packer, value);
}

void baton_pack_text(baton_snapshot_writer *writer, const char *text)
{
    if (!field_begin(writer))
        return;
    const size_t bytes = text != NULL ? strlen(text) : 0;
    if (bytes > BATON_SNAPSHOT_FIELD_BYTES_MAX)
        writer_fail(writer, BATON_E_TOO_LARGE);
    else if (text == NULL || !baton_utf8_valid(text, bytes))
        writer_fail(writer, BATON_E_INVALID);
    else if (msgpack_pack_str(&writer->packer, bytes) == 0)
        msgpack_pack_str_body(&writer->packer, text, bytes);
}

void baton_pack_bytes(baton_snapshot_writer *writer, const void *bytes, uint32_t bytes_count)
{
    if (!field_begin(writer))
        return;
    if (bytes_count > BATON_SNAPSHOT_FIELD_BYTES_MAX)
        writer_fail(writer, BATON_E_TOO_LARGE);
    else if (bytes == NULL && bytes_count > 0)
        writer_fail(writer, BATON_E_INVALID);
    else if (msgpack_pack_bin(&writer->packer, bytes_count) == 0 && bytes_count > 0)
        msgpack_pack_bin_body(&writer->packer, bytes, bytes_count);
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
    writer->slab_bytes = chunk_bytes > BATON_SLAB_BYTES ? chunk_bytes : BATON_SLAB_BYTES;
    writer->manifest.chunk_bytes = chunk_bytes;
    msgpack_packer_init(&writer->packer, writer, raw_append);
    int r = baton_chunk_encoder_init(&writer->encoder, wanted->compress, chunk_bytes,
                                     wanted->device_bytes_per_s, wanted->clock);
    if (r < 0)
        goto fail;
    writer->raw = malloc(chunk_bytes);
    writer->manifest.sections =
        calloc(BATON_SNAPSHOT_SECTIONS_MAX, sizeof(*writer->manifest.sections));
    if (writer->raw == NULL || writer->manifest.sections == NULL) {
        r = -ENOMEM;
        goto fail;
    }
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
    for (uint32_t i = 0; i < writer->slabs_count; i++)
        free(writer->slabs[i].bytes);
    free(writer->slabs);
    free(writer->manifest_file);
    free(writer->raw);
    baton_chunk_encoder_fini(&writer->encoder);
    baton_snapshot_manifest_free(&writer->manifest);
    free(writer);
}

int baton_snapshot_writer_end(baton_snapshot_writer *writer)
{
    if (row_is_whole(writer) && writer->raw_used > 0)
        writer_fail(writer, chunk_end(writer));
    if (writer->error == 0 && writer->sink != NULL && writer->slabs_count > 0 &&
        writer->slabs[0].used > 0)
        writer_fail(writer, slab_add(writer));
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
