/* snapshot/manifest.c: the manifest's table of keys, its rules, and writing it. Reading:
 * manifest_decode.c. */
#include "snapshot/manifest.h"
#include "snapshot/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "snapshot/token.h"

#define KEY(name, kind, member)                                                                    \
    {                                                                                              \
        name, kind, (uint32_t)offsetof(baton_snapshot_manifest, member),                           \
            (uint32_t)sizeof(((baton_snapshot_manifest *)0)->member)                               \
    }

const baton_manifest_key baton_manifest_keys[BATON_MANIFEST_ALL_KEYS] = {
    KEY("service", BATON_KEY_TEXT, info.service),
    KEY("version", BATON_KEY_TEXT, info.version),
    KEY("form", BATON_KEY_TEXT, info.form),
    KEY("schema", BATON_KEY_U32, info.schema),
    KEY("seq", BATON_KEY_U64, info.seq),
    KEY("epoch", BATON_KEY_U64, info.epoch),
    KEY("journal_id", BATON_KEY_DIGEST, info.journal_id),
    KEY("position_epoch", BATON_KEY_U64, info.position_epoch),
    KEY("position_batch", BATON_KEY_U64, info.position_batch),
    KEY("position_seq", BATON_KEY_U64, info.position_seq),
    KEY("entry_time_ns", BATON_KEY_U64, info.entry_time_ns),
    KEY("state_digest", BATON_KEY_DIGEST, info.state_digest),
    KEY("effect_digest", BATON_KEY_DIGEST, info.effect_digest),
    KEY("created_wall_ns", BATON_KEY_U64, info.created_wall_ns),
    KEY("taken_ns", BATON_KEY_U64, info.taken_ns),
    KEY("raw_bytes", BATON_KEY_U64, info.raw_bytes),
    KEY("stored_bytes", BATON_KEY_U64, info.stored_bytes),
    KEY("chunk_bytes", BATON_KEY_U64, chunk_bytes),
    KEY("sections", BATON_KEY_SECTIONS, sections),
    KEY("chunks", BATON_KEY_CHUNKS, chunks),
    /* an image's */
    KEY("address", BATON_KEY_U64, image.address),
    KEY("region_bytes", BATON_KEY_U64, image.region_bytes),
    KEY("page_bytes", BATON_KEY_U32, image.page_bytes),
    KEY("rounds", BATON_KEY_U32, image.rounds),
    KEY("layout_digest", BATON_KEY_DIGEST, image.layout),
    KEY("parent", BATON_KEY_DIGEST, image.parent),
    KEY("taken_by", BATON_KEY_TEXT, image.taken_by),
    KEY("taken_why", BATON_KEY_TEXT, image.taken_why),
    KEY("chunk_pages", BATON_KEY_PAGES, pages),
};

const baton_manifest_key baton_manifest_notes[BATON_MANIFEST_NOTES] = {
    KEY("taken_by", BATON_KEY_TEXT, notes.taken_by),
    KEY("taken_why", BATON_KEY_TEXT, notes.taken_why),
    KEY("form_why", BATON_KEY_TEXT, notes.form_why),
};

bool baton_snapshot_is_image(const baton_snapshot_info *info)
{
    return strcmp(info->form, BATON_SNAPSHOT_FORM_IMAGE) == 0;
}

static uint32_t keys_count(const baton_snapshot_manifest *manifest)
{
    return baton_snapshot_is_image(&manifest->info) ? BATON_MANIFEST_ALL_KEYS : BATON_MANIFEST_KEYS;
}

void baton_snapshot_manifest_free(baton_snapshot_manifest *manifest)
{
    free(manifest->pages);
    free(manifest->runs);
    free(manifest->sections);
    free(manifest->chunks);
    *manifest = (baton_snapshot_manifest){0};
}

/* ---- rules ---- */

static const char *note_of(const baton_snapshot_manifest *manifest, uint32_t index)
{
    return (const char *)manifest + baton_manifest_notes[index].at;
}

bool baton_section_name_valid(const char *name)
{
    const size_t bytes = strnlen(name, BATON_SECTION_NAME_BYTES);
    if (bytes == 0 || bytes == BATON_SECTION_NAME_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

bool baton_manifest_text_valid(const char *text, size_t text_bytes)
{
    const size_t bytes = strnlen(text, text_bytes);
    if (bytes == text_bytes || !baton_utf8_valid(text, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return true;
}

static const char *sections_fault(const baton_snapshot_manifest *manifest)
{
    const uint32_t count = manifest->info.sections_count;
    uint64_t bytes = 0;
    if (count > BATON_SNAPSHOT_SECTIONS_MAX)
        return "too many sections";
    for (uint32_t i = 0; i < count; i++) {
        const baton_snapshot_section *section = &manifest->sections[i];
        if (!baton_section_name_valid(section->name))
            return "a section's name is not valid";
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(section->name, manifest->sections[j].name) == 0)
                return "two sections have one name";
        if (section->first_byte != bytes || section->bytes > manifest->info.raw_bytes - bytes)
            return "the sections do not follow one another";
        if (section->rows_count > section->bytes / BATON_SNAPSHOT_ROW_BYTES_MIN ||
            (section->rows_count == 0 && section->bytes > 0))
            return "a section's rows do not fit its bytes";
        bytes += section->bytes;
    }
    return bytes == manifest->info.raw_bytes ? NULL : "the sections do not add up to the raw bytes";
}

/* The raw size that a chunk's place in the stream, or its pages, ask for. */
static uint64_t raw_wanted(const baton_snapshot_manifest *manifest, uint32_t index)
{
    const uint64_t chunk_bytes = manifest->chunk_bytes;
    if (!baton_snapshot_is_image(&manifest->info))
        return index + 1 < manifest->info.chunks_count
                   ? chunk_bytes
                   : manifest->info.raw_bytes - index * chunk_bytes;
    const baton_chunk_pages *pages = &manifest->pages[index];
    uint64_t count = 0;
    for (uint32_t i = 0; i < pages->runs_count; i++)
        count += manifest->runs[pages->runs_first + i].pages_count;
    return count * manifest->image.page_bytes;
}

/* Every number of a chunk but its stored size and codec follows from the others, so chunks can
 * not overlap. */
static const char *chunks_fault(const baton_snapshot_manifest *manifest)
{
    const uint64_t raw_bytes = manifest->info.raw_bytes;
    const uint64_t chunk_bytes = manifest->chunk_bytes;
    const uint32_t count = manifest->info.chunks_count;
    uint64_t offset = 0;
    if (chunk_bytes < BATON_SNAPSHOT_CHUNK_BYTES_MIN ||
        chunk_bytes > BATON_SNAPSHOT_CHUNK_BYTES_MAX || chunk_bytes % BATON_IO_UNIT != 0)
        return "the chunk size is out of range";
    if (count > BATON_SNAPSHOT_CHUNKS_MAX)
        return "too many chunks";
    if (raw_bytes > count * chunk_bytes || (!baton_snapshot_is_image(&manifest->info) &&
                                            raw_bytes + chunk_bytes <= count * chunk_bytes))
        return "the chunks do not add up to the raw bytes";
    for (uint32_t i = 0; i < count; i++) {
        const baton_snapshot_chunk *chunk = &manifest->chunks[i];
        const uint64_t raw = raw_wanted(manifest, i);
        if (chunk->raw_bytes != raw)
            return "a chunk's raw size is not what its place asks for";
        if (chunk->codec >= BATON_SNAPSHOT_CODECS)
            return "a chunk's codec is not known";
        if (chunk->codec == BATON_CODEC_RAW
                ? chunk->stored_bytes != raw
                : chunk->stored_bytes == 0 || chunk->stored_bytes >= raw)
            return "a chunk's stored size is out of range";
        if (chunk->offset != offset)
            return "the chunks do not follow one another";
        offset += baton_snapshot_padded(chunk->stored_bytes);
    }
    return offset == manifest->info.stored_bytes ? NULL
                                                 : "the chunks do not add up to the stored bytes";
}

const char *baton_snapshot_manifest_fault(const baton_snapshot_manifest *manifest)
{
    const baton_snapshot_info *info = &manifest->info;
    if (!baton_manifest_text_valid(info->service, sizeof(info->service)) ||
        info->service[0] == '\0' ||
        !baton_manifest_text_valid(info->version, sizeof(info->version)) ||
        !baton_manifest_text_valid(info->form, sizeof(info->form)))
        return "service, version or form is not a valid text";
    for (uint32_t i = 0; i < BATON_MANIFEST_NOTES; i++)
        if (!baton_manifest_text_valid(note_of(manifest, i), baton_manifest_notes[i].bytes))
            return "how it was taken is not a valid text";
    const char *fault = baton_snapshot_is_image(&manifest->info) ? baton_image_fault(manifest)
                                                                 : sections_fault(manifest);
    return fault != NULL ? fault : chunks_fault(manifest);
}

/* ---- writing ---- */

/* Each returns 0 or -1 for no memory, as msgpack-c does. */
static int pack_text(msgpack_packer *packer, const char *text)
{
    const size_t bytes = strlen(text);
    return msgpack_pack_str(packer, bytes) | msgpack_pack_str_body(packer, text, bytes);
}

static int pack_digest(msgpack_packer *packer, baton_digest digest)
{
    return msgpack_pack_bin(packer, sizeof(digest.bytes)) |
           msgpack_pack_bin_body(packer, digest.bytes, sizeof(digest.bytes));
}

static int pack_sections(msgpack_packer *packer, const baton_snapshot_manifest *manifest)
{
    int r = msgpack_pack_array(packer, manifest->info.sections_count);
    for (uint32_t i = 0; r == 0 && i < manifest->info.sections_count; i++) {
        const baton_snapshot_section *section = &manifest->sections[i];
        r |= msgpack_pack_array(packer, BATON_MANIFEST_SECTION_FIELDS);
        r |= pack_text(packer, section->name);
        r |= msgpack_pack_uint64(packer, section->first_byte);
        r |= msgpack_pack_uint64(packer, section->bytes);
        r |= msgpack_pack_uint64(packer, section->rows_count);
    }
    return r;
}

static int pack_chunks(msgpack_packer *packer, const baton_snapshot_manifest *manifest)
{
    int r = msgpack_pack_array(packer, manifest->info.chunks_count);
    for (uint32_t i = 0; r == 0 && i < manifest->info.chunks_count; i++) {
        const baton_snapshot_chunk *chunk = &manifest->chunks[i];
        r |= msgpack_pack_array(packer, BATON_MANIFEST_CHUNK_FIELDS);
        r |= msgpack_pack_uint64(packer, chunk->offset);
        r |= msgpack_pack_uint32(packer, chunk->stored_bytes);
        r |= msgpack_pack_uint32(packer, chunk->raw_bytes);
        r |= msgpack_pack_uint32(packer, chunk->codec);
        r |= pack_digest(packer, chunk->digest);
    }
    return r;
}

static int pack_pages(msgpack_packer *packer, const baton_snapshot_manifest *manifest)
{
    int r = msgpack_pack_array(packer, manifest->info.chunks_count);
    for (uint32_t i = 0; r == 0 && i < manifest->info.chunks_count; i++) {
        const baton_chunk_pages *pages = &manifest->pages[i];
        r |= msgpack_pack_array(packer, BATON_MANIFEST_PAGES_FIELDS);
        r |= msgpack_pack_uint32(packer, pages->round);
        r |= msgpack_pack_array(packer, 2 * (size_t)pages->runs_count);
        for (uint32_t j = 0; r == 0 && j < pages->runs_count; j++) {
            r |= msgpack_pack_uint32(packer, manifest->runs[pages->runs_first + j].first_page);
            r |= msgpack_pack_uint32(packer, manifest->runs[pages->runs_first + j].pages_count);
        }
    }
    return r;
}

static int pack_key(msgpack_packer *packer, const baton_snapshot_manifest *manifest,
                    const baton_manifest_key *key)
{
    const uint8_t *member = (const uint8_t *)manifest + key->at;
    uint32_t number;
    uint64_t long_number;
    baton_digest digest;
    switch (key->kind) {
    case BATON_KEY_TEXT:
        return pack_text(packer, (const char *)member);
    case BATON_KEY_U32:
        memcpy(&number, member, sizeof(number));
        return msgpack_pack_uint32(packer, number);
    case BATON_KEY_U64:
        memcpy(&long_number, member, sizeof(long_number));
        return msgpack_pack_uint64(packer, long_number);
    case BATON_KEY_DIGEST:
        memcpy(&digest, member, sizeof(digest));
        return pack_digest(packer, digest);
    case BATON_KEY_SECTIONS:
        return pack_sections(packer, manifest);
    case BATON_KEY_CHUNKS:
        return pack_chunks(packer, manifest);
    case BATON_KEY_PAGES:
        return pack_pages(packer, manifest);
    }
    return -1;
}

static uint32_t notes_count(const baton_snapshot_manifest *manifest)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BATON_MANIFEST_NOTES; i++)
        count += note_of(manifest, i)[0] != '\0';
    return count;
}

static int pack_notes(msgpack_packer *packer, const baton_snapshot_manifest *manifest)
{
    if (notes_count(manifest) == 0)
        return 0;
    int r = pack_text(packer, BATON_MANIFEST_IGNORABLE);
    r |= msgpack_pack_map(packer, notes_count(manifest));
    for (uint32_t i = 0; i < BATON_MANIFEST_NOTES; i++) {
        if (note_of(manifest, i)[0] == '\0')
            continue;
        r |= pack_text(packer, baton_manifest_notes[i].name);
        r |= pack_text(packer, note_of(manifest, i));
    }
    return r;
}

static void put_header(uint8_t *file, uint64_t body_bytes, uint32_t version, baton_digest *ret_root)
{
    baton_digest_stream stream;
    baton_manifest_header header = {
        .version = baton_le32_put(version),
        .min_reader = baton_le32_put(version),
        .body_bytes = baton_le64_put(body_bytes),
        .flags = baton_le64_put(0),
    };
    memcpy(header.magic, BATON_MANIFEST_MAGIC, sizeof(header.magic));

    baton_digest_init(&stream);
    baton_digest_update(&stream, &header, offsetof(baton_manifest_header, root));
    baton_digest_update(&stream, file + sizeof(header), body_bytes);
    header.root = *ret_root = baton_digest_final(&stream);
    memcpy(file, &header, sizeof(header));
}

int baton_snapshot_manifest_encode(baton_snapshot_manifest *manifest, uint8_t **ret_bytes,
                                   uint64_t *ret_bytes_count)
{
    static const char room[sizeof(baton_manifest_header)];
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    int r;
    if (baton_snapshot_manifest_fault(manifest) != NULL)
        return BATON_E_INVALID;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    r = msgpack_sbuffer_write(&buffer, room, sizeof(room));
    r |= msgpack_pack_map(&packer, keys_count(manifest) + (notes_count(manifest) > 0));
    for (uint32_t i = 0; r == 0 && i < keys_count(manifest); i++) {
        r |= pack_text(&packer, baton_manifest_keys[i].name);
        r |= pack_key(&packer, manifest, &baton_manifest_keys[i]);
    }
    r |= pack_notes(&packer, manifest);
    if (r != 0) {
        msgpack_sbuffer_destroy(&buffer);
        return -ENOMEM;
    }
    const uint64_t body_bytes = buffer.size - sizeof(room);
    if (body_bytes > BATON_MANIFEST_BODY_BYTES_MAX) { /* an image of very many runs of pages */
        msgpack_sbuffer_destroy(&buffer);
        return BATON_E_TOO_LARGE;
    }
    *ret_bytes_count = buffer.size;
    *ret_bytes = (uint8_t *)msgpack_sbuffer_release(&buffer);
    put_header(*ret_bytes, body_bytes,
               baton_snapshot_is_image(&manifest->info) ? BATON_SNAPSHOT_VERSION_IMAGE
                                                        : BATON_SNAPSHOT_VERSION_PORTABLE,
               &manifest->info.root);
    return 0;
}
