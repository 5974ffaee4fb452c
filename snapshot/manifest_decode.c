/* snapshot/manifest_decode.c: reading a manifest. Nothing here believes a length before the
 * bytes are there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/manifest.h"
#include "snapshot/store.h"
#include "snapshot/token.h"

#define REMEDY_DAMAGED "use an older snapshot (baton snapshot ls), or restore this one from a copy"

/* Where the body is read. After the first failure `why` is set and every further read fails. */
typedef struct {
    const uint8_t *bytes;
    uint64_t at;
    uint64_t bytes_count;
    int status;
    const char *why;
} cursor;

static bool fail(cursor *from, int status, const char *why)
{
    if (from->why == NULL) {
        from->status = status;
        from->why = why;
    }
    return false;
}

static bool damaged(cursor *from, const char *why)
{
    return fail(from, BATON_E_DAMAGED, why);
}

/* ---- tokens ---- */

static bool next_token(cursor *from, baton_token *ret_token)
{
    const uint64_t left = from->bytes_count - from->at;
    if (from->why != NULL)
        return false;
    if (left == 0)
        return damaged(from, "it ends in the middle");
    const uint32_t header_bytes = baton_token_header_bytes(from->bytes[from->at]);
    if (header_bytes == 0)
        return damaged(from, "a byte that is no msgpack of ours");
    if (header_bytes > left)
        return damaged(from, "it ends in the middle");
    *ret_token = baton_token_decode(from->bytes + from->at);
    from->at += header_bytes;
    return true;
}

static bool next_of(cursor *from, baton_token_kind kind, uint64_t *ret_value)
{
    baton_token token;
    if (!next_token(from, &token))
        return false;
    if (token.kind != kind)
        return damaged(from, "a value of another kind than its key asks for");
    *ret_value = token.value;
    return true;
}

static bool next_run(cursor *from, baton_token_kind kind, const uint8_t **ret_bytes,
                     uint64_t *ret_bytes_count)
{
    if (!next_of(from, kind, ret_bytes_count))
        return false;
    if (*ret_bytes_count > from->bytes_count - from->at)
        return damaged(from, "it ends in the middle");
    *ret_bytes = from->bytes + from->at;
    from->at += *ret_bytes_count;
    return true;
}

/* Into text_bytes with the terminator; a zero byte inside is refused. */
static bool next_text(cursor *from, char *text, size_t text_bytes)
{
    const uint8_t *bytes;
    uint64_t bytes_count;
    if (!next_run(from, BATON_TOKEN_TEXT, &bytes, &bytes_count))
        return false;
    if (bytes_count >= text_bytes || memchr(bytes, '\0', bytes_count) != NULL)
        return damaged(from, "a text that is too long or has a zero byte");
    memcpy(text, bytes, bytes_count);
    text[bytes_count] = '\0';
    return true;
}

static bool next_u32(cursor *from, uint32_t *ret_value)
{
    uint64_t value;
    if (!next_of(from, BATON_TOKEN_UINT, &value))
        return false;
    if (value > UINT32_MAX)
        return damaged(from, "a number that is too large");
    *ret_value = (uint32_t)value;
    return true;
}

static bool next_digest(cursor *from, baton_digest *ret_digest)
{
    const uint8_t *bytes;
    uint64_t bytes_count;
    if (!next_run(from, BATON_TOKEN_BYTES, &bytes, &bytes_count))
        return false;
    if (bytes_count != sizeof(ret_digest->bytes))
        return damaged(from, "a digest that does not have 16 bytes");
    memcpy(ret_digest->bytes, bytes, sizeof(ret_digest->bytes));
    return true;
}

/* An array header whose items can be there: each takes at least item_bytes_min. */
static bool next_array(cursor *from, uint64_t count_max, uint64_t item_bytes_min,
                       uint32_t *ret_count)
{
    uint64_t count;
    if (!next_of(from, BATON_TOKEN_ARRAY, &count))
        return false;
    if (count > count_max || count * item_bytes_min > from->bytes_count - from->at)
        return damaged(from, "a list that is longer than the format allows");
    *ret_count = (uint32_t)count;
    return true;
}

static bool next_tuple(cursor *from, uint64_t fields_count)
{
    uint64_t count;
    if (!next_of(from, BATON_TOKEN_ARRAY, &count))
        return false;
    return count == fields_count || damaged(from, "an item with another number of fields");
}

static bool skip_value(cursor *from, uint32_t depth)
{
    baton_token token;
    if (!next_token(from, &token))
        return false;
    const uint64_t left = from->bytes_count - from->at;
    switch (token.kind) {
    case BATON_TOKEN_UINT:
    case BATON_TOKEN_INT:
    case BATON_TOKEN_OTHER:
        return true;
    case BATON_TOKEN_TEXT:
    case BATON_TOKEN_BYTES:
        if (token.value > left)
            return damaged(from, "it ends in the middle");
        from->at += token.value;
        return true;
    case BATON_TOKEN_ARRAY:
    case BATON_TOKEN_MAP:
        break;
    }
    uint64_t items = token.kind == BATON_TOKEN_MAP ? 2 * token.value : token.value;
    if (depth == BATON_MANIFEST_DEPTH_MAX || items > left)
        return damaged(from, "lists that are nested too deep, or longer than the file");
    while (items-- > 0)
        if (!skip_value(from, depth + 1))
            return false;
    return true;
}

/* ---- keys ---- */

static bool read_sections(cursor *from, baton_snapshot_manifest *manifest)
{
    uint32_t count;
    if (!next_array(from, BATON_SNAPSHOT_SECTIONS_MAX, 1 + BATON_MANIFEST_SECTION_FIELDS, &count))
        return false;
    manifest->sections = calloc(count > 0 ? count : 1, sizeof(*manifest->sections));
    if (manifest->sections == NULL)
        return fail(from, -ENOMEM, "no memory for its sections");
    for (uint32_t i = 0; i < count; i++) {
        baton_snapshot_section *section = &manifest->sections[i];
        if (!next_tuple(from, BATON_MANIFEST_SECTION_FIELDS) ||
            !next_text(from, section->name, sizeof(section->name)) ||
            !next_of(from, BATON_TOKEN_UINT, &section->first_byte) ||
            !next_of(from, BATON_TOKEN_UINT, &section->bytes) ||
            !next_of(from, BATON_TOKEN_UINT, &section->rows_count))
            return false;
    }
    manifest->info.sections_count = count;
    return true;
}

static bool read_chunks(cursor *from, baton_snapshot_manifest *manifest)
{
    uint32_t count;
    if (!next_array(from, BATON_SNAPSHOT_CHUNKS_MAX,
                    1 + BATON_MANIFEST_CHUNK_FIELDS + sizeof(baton_digest), &count))
        return false;
    manifest->chunks = calloc(count > 0 ? count : 1, sizeof(*manifest->chunks));
    if (manifest->chunks == NULL)
        return fail(from, -ENOMEM, "no memory for its chunks");
    for (uint32_t i = 0; i < count; i++) {
        baton_snapshot_chunk *chunk = &manifest->chunks[i];
        if (!next_tuple(from, BATON_MANIFEST_CHUNK_FIELDS) ||
            !next_of(from, BATON_TOKEN_UINT, &chunk->offset) ||
            !next_u32(from, &chunk->stored_bytes) || !next_u32(from, &chunk->raw_bytes) ||
            !next_u32(from, &chunk->codec) || !next_digest(from, &chunk->digest))
            return false;
    }
    manifest->info.chunks_count = count;
    return true;
}

/* Runs of one chunk, appended to the manifest's. */
static bool read_runs(cursor *from, baton_snapshot_manifest *manifest, uint64_t *runs_room,
                      baton_chunk_pages *pages)
{
    uint32_t numbers;
    if (!next_array(from, from->bytes_count, 1, &numbers))
        return false;
    if (numbers % 2 != 0)
        return damaged(from, "a list of runs that ends in the middle of one");
    if (manifest->runs_count + numbers / 2 > *runs_room) {
        const uint64_t room = 2 * (*runs_room) + numbers / 2;
        baton_page_run *runs = realloc(manifest->runs, room * sizeof(*runs));
        if (runs == NULL)
            return fail(from, -ENOMEM, "no memory for its runs of pages");
        manifest->runs = runs;
        *runs_room = room;
    }
    pages->runs_first = manifest->runs_count;
    pages->runs_count = numbers / 2;
    for (uint32_t i = 0; i < pages->runs_count; i++) {
        baton_page_run *run = &manifest->runs[manifest->runs_count++];
        if (!next_u32(from, &run->first_page) || !next_u32(from, &run->pages_count))
            return false;
    }
    return true;
}

static bool read_pages(cursor *from, baton_snapshot_manifest *manifest)
{
    uint32_t count;
    uint64_t runs_room = 0;
    if (!next_array(from, BATON_SNAPSHOT_CHUNKS_MAX, 1 + BATON_MANIFEST_PAGES_FIELDS, &count))
        return false;
    manifest->pages = calloc(count > 0 ? count : 1, sizeof(*manifest->pages));
    if (manifest->pages == NULL)
        return fail(from, -ENOMEM, "no memory for its pages");
    manifest->pages_count = count;
    for (uint32_t i = 0; i < count; i++)
        if (!next_tuple(from, BATON_MANIFEST_PAGES_FIELDS) ||
            !next_u32(from, &manifest->pages[i].round) ||
            !read_runs(from, manifest, &runs_room, &manifest->pages[i]))
            return false;
    return true;
}

static bool read_key(cursor *from, const baton_manifest_key *key, baton_snapshot_manifest *manifest)
{
    uint8_t *member = (uint8_t *)manifest + key->at;
    uint32_t number;
    uint64_t long_number;
    baton_digest digest;
    switch (key->kind) {
    case BATON_KEY_TEXT:
        return next_text(from, (char *)member, key->bytes);
    case BATON_KEY_U32:
        if (!next_u32(from, &number))
            return false;
        memcpy(member, &number, sizeof(number));
        return true;
    case BATON_KEY_U64:
        if (!next_of(from, BATON_TOKEN_UINT, &long_number))
            return false;
        memcpy(member, &long_number, sizeof(long_number));
        return true;
    case BATON_KEY_DIGEST:
        if (!next_digest(from, &digest))
            return false;
        memcpy(member, &digest, sizeof(digest));
        return true;
    case BATON_KEY_SECTIONS:
        return read_sections(from, manifest);
    case BATON_KEY_CHUNKS:
        return read_chunks(from, manifest);
    case BATON_KEY_PAGES:
        return read_pages(from, manifest);
    }
    return false;
}

/* One that is known but not as this build writes it is skipped, too. */
static bool read_note(cursor *from, const baton_manifest_key *note,
                      baton_snapshot_manifest *manifest)
{
    const cursor before = *from;
    char *member = (char *)manifest + note->at;
    if (next_text(from, member, note->bytes) && baton_manifest_text_valid(member, note->bytes))
        return true;
    *from = before;
    member[0] = '\0';
    return skip_value(from, 0);
}

static const baton_manifest_key *note_named(const uint8_t *name, uint64_t bytes)
{
    for (uint32_t i = 0; i < BATON_MANIFEST_NOTES; i++)
        if (strlen(baton_manifest_notes[i].name) == bytes &&
            memcmp(baton_manifest_notes[i].name, name, bytes) == 0)
            return &baton_manifest_notes[i];
    return NULL;
}

static bool read_ignorable(cursor *from, baton_snapshot_manifest *manifest)
{
    uint64_t pairs;
    const uint8_t *name;
    uint64_t name_bytes;
    if (!next_of(from, BATON_TOKEN_MAP, &pairs))
        return false;
    while (pairs-- > 0) { /* bounded by the bytes: each pair takes some */
        if (!next_run(from, BATON_TOKEN_TEXT, &name, &name_bytes))
            return false;
        const baton_manifest_key *note = note_named(name, name_bytes);
        if (note != NULL ? !read_note(from, note, manifest) : !skip_value(from, 0))
            return false;
    }
    return true;
}

static_assert(BATON_MANIFEST_ALL_KEYS < 32, "the keys seen are one word");
#define SEEN_ALL   ((1u << BATON_MANIFEST_KEYS) - 1)
#define SEEN_IMAGE (((1u << BATON_MANIFEST_IMAGE_KEYS) - 1) << BATON_MANIFEST_KEYS)
#define IGNORABLE  BATON_MANIFEST_ALL_KEYS /* its bit comes after those of the table */

static bool read_pair(cursor *from, uint32_t *seen, baton_snapshot_manifest *manifest)
{
    char name[64];
    uint32_t index = 0;
    if (!next_text(from, name, sizeof(name)))
        return false;
    while (index < BATON_MANIFEST_ALL_KEYS && strcmp(name, baton_manifest_keys[index].name) != 0)
        index++;
    if (index == IGNORABLE && strcmp(name, BATON_MANIFEST_IGNORABLE) != 0)
        return fail(from, BATON_E_UNKNOWN_TYPE, "it has a key that this build does not know");
    if ((*seen & 1u << index) != 0)
        return damaged(from, "a key that stands there twice");
    *seen |= 1u << index;
    return index < IGNORABLE ? read_key(from, &baton_manifest_keys[index], manifest)
                             : read_ignorable(from, manifest);
}

static bool read_body(cursor *from, baton_snapshot_manifest *manifest)
{
    uint32_t seen = 0;
    uint64_t pairs;
    if (!next_of(from, BATON_TOKEN_MAP, &pairs))
        return false;
    while (pairs-- > 0) /* bounded: no key stands there twice */
        if (!read_pair(from, &seen, manifest))
            return false;
    if ((seen & SEEN_ALL) != SEEN_ALL)
        return damaged(from, "a key that must be there is not");
    const bool image = baton_snapshot_is_image(&manifest->info);
    if ((seen & SEEN_IMAGE) != (image ? SEEN_IMAGE : 0))
        return damaged(from, image ? "a key that an image must have is not there"
                                   : "it has a key that only an image has");
    manifest->info.parent = manifest->image.parent;
    if (from->at != from->bytes_count)
        return damaged(from, "bytes after its end");
    const char *fault = baton_snapshot_manifest_fault(manifest);
    if (fault != NULL)
        return damaged(from, fault);
    return image || strcmp(manifest->info.form, BATON_SNAPSHOT_FORM) == 0 ||
           fail(from, BATON_E_UNKNOWN_TYPE, "its form is not one that this build reads");
}

static const char *what_to_do(int status)
{
    if (status == BATON_E_NEWER_FORMAT || status == BATON_E_UNKNOWN_TYPE)
        return "use the version that wrote it, or a newer one";
    return status == -ENOMEM ? "free memory" : REMEDY_DAMAGED;
}

static int refuse(int status, const char *path, uint64_t offset, const char *why,
                  baton_error *error)
{
    baton_error_set(error, status, "read a snapshot's manifest", why, what_to_do(status));
    baton_error_at(error, path, offset);
    return status;
}

int baton_snapshot_manifest_decode_body(const uint8_t *body, uint64_t body_bytes, const char *path,
                                        baton_snapshot_manifest *ret_manifest, baton_error *error)
{
    cursor from = {.bytes = body, .bytes_count = body_bytes};
    *ret_manifest = (baton_snapshot_manifest){0};
    if (read_body(&from, ret_manifest))
        return 0;
    baton_snapshot_manifest_free(ret_manifest);
    return refuse(from.status, path, sizeof(baton_manifest_header) + from.at, from.why, error);
}

/* ---- the file ---- */

int baton_snapshot_manifest_decode(const uint8_t *bytes, uint64_t bytes_count, const char *path,
                                   baton_snapshot_manifest *ret_manifest, baton_error *error)
{
    const uint64_t root_at = offsetof(baton_manifest_header, root);
    baton_manifest_header header;
    baton_digest_stream stream;
    *ret_manifest = (baton_snapshot_manifest){0};
    if (bytes_count < sizeof(header))
        return refuse(BATON_E_DAMAGED, path, bytes_count, "it ends before its header does", error);
    memcpy(&header, bytes, sizeof(header));
    if (memcmp(header.magic, BATON_MANIFEST_MAGIC, sizeof(header.magic)) != 0)
        return refuse(BATON_E_DAMAGED, path, 0, "it does not begin as a manifest does", error);
    if (baton_le64_get(header.body_bytes) != bytes_count - sizeof(header))
        return refuse(BATON_E_DAMAGED, path, offsetof(baton_manifest_header, body_bytes),
                      "it is shorter or longer than its header says", error);

    baton_digest_init(&stream);
    baton_digest_update(&stream, bytes, root_at);
    baton_digest_update(&stream, bytes + sizeof(header), bytes_count - sizeof(header));
    if (!baton_digest_equal(baton_digest_final(&stream), header.root))
        return refuse(BATON_E_DAMAGED, path, root_at, "its bytes do not fit its root digest",
                      error);

    if (baton_le32_get(header.min_reader) > BATON_SNAPSHOT_VERSION)
        return refuse(BATON_E_NEWER_FORMAT, path, offsetof(baton_manifest_header, min_reader), NULL,
                      error);
    if (baton_le64_get(header.flags) != 0)
        return refuse(BATON_E_UNKNOWN_TYPE, path, offsetof(baton_manifest_header, flags),
                      "it has flags that this build does not know", error);
    int r = baton_snapshot_manifest_decode_body(
        bytes + sizeof(header), bytes_count - sizeof(header), path, ret_manifest, error);
    if (r == 0)
        ret_manifest->info.root = header.root;
    return r;
}

static int read_file(baton_io *io, const char *path, uint8_t **ret_bytes, uint64_t *ret_bytes_count,
                     baton_error *error)
{
    baton_io_file file = BATON_IO_NO_FILE;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    int r = baton_io_file_open(io, path, BATON_IO_FOR_READ, &file);
    if (r == 0)
        r = baton_io_file_size(io, file, &size);
    if (r == 0 && size > sizeof(baton_manifest_header) + BATON_MANIFEST_BODY_BYTES_MAX) {
        r = refuse(BATON_E_DAMAGED, path, size, "it is larger than a manifest can be", error);
        goto end;
    }
    if (r == 0 && (bytes = malloc(size > 0 ? size : 1)) == NULL)
        r = -ENOMEM;
    if (r == 0) {
        const int64_t n = baton_io_file_read(io, file, bytes, size, 0);
        r = n < 0 ? (int)n : 0;
        size = n < 0 ? 0 : (uint64_t)n;
    }
    if (r < 0) {
        baton_error_set(error, r, "read a snapshot's manifest", NULL,
                        "check the file's rights and the disk");
        baton_error_at(error, path, 0);
    }

end:
    baton_io_file_close(io, file);
    if (r < 0)
        free(bytes);
    else
        *ret_bytes = bytes;
    *ret_bytes_count = size;
    return r;
}

int baton_snapshot_manifest_load(baton_io *io, const char *path, uint64_t seq, uint64_t epoch,
                                 baton_snapshot_manifest *ret_manifest, baton_error *error)
{
    uint8_t *bytes = NULL;
    uint64_t bytes_count = 0;
    *ret_manifest = (baton_snapshot_manifest){0};
    int r = read_file(io, path, &bytes, &bytes_count, error);
    if (r < 0)
        return r;
    r = baton_snapshot_manifest_decode(bytes, bytes_count, path, ret_manifest, error);
    free(bytes);
    if (r == 0 && (ret_manifest->info.seq != seq || ret_manifest->info.epoch != epoch)) {
        baton_snapshot_manifest_free(ret_manifest);
        return refuse(BATON_E_DAMAGED, path, sizeof(baton_manifest_header),
                      "it is the manifest of another seq or epoch than its name says", error);
    }
    return r;
}
