/* A whole exported snapshot with bytes of the input written over it: an import neither crashes nor
 * adopts anything but what was exported.
 *
 * Input: the first byte says which digests are made to fit afterwards (1 the header's, 2 the
 * manifest's root, 4 each record's) and, with 8, that the rest is the whole file; then patches,
 * each {offset, 2 bytes; count; count bytes}; a count of 0 cuts the file there. The digests of
 * chunks are never made to fit: what is adopted must be what was exported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "snapshot/export.h"
#include "snapshot/store.h"
#include "tests/support/test_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FILE_BYTES_MAX (64u << 10)
enum { FIT_HEADER = 1, FIT_ROOT = 2, FIT_RECORDS = 4, WHOLE_FILE = 8 };

static test_dir dir;
static baton_io *io;
static char path[TEST_PATH_BYTES];
static char into[TEST_PATH_BYTES];
static uint8_t saved[FILE_BYTES_MAX];
static uint64_t saved_bytes;
static baton_digest saved_root;

static void end(void)
{
    baton_io_close(io);
    test_dir_remove(&dir);
}

static void write_file(const uint8_t *bytes, uint64_t bytes_count)
{
    FILE *file = fopen(path, "wb");
    baton_assert(file != NULL && fwrite(bytes, 1, bytes_count, file) == bytes_count);
    baton_assert(fclose(file) == 0);
}

/* Rows that LZ4 makes shorter, and rows that it does not. */
static void pack(baton_snapshot_writer *writer)
{
    uint32_t noise = 1;
    baton_pack_section(writer, "rows");
    for (uint32_t i = 0; i < 700; i++) {
        noise = noise * 1664525u + 1013904223u;
        baton_pack_row(writer, 3);
        baton_pack_uint(writer, i);
        baton_pack_uint(writer, i < 400 ? 7 : noise);
        baton_pack_bytes(writer, &noise, sizeof(noise));
    }
}

static void make_once(void)
{
    if (saved_bytes != 0)
        return;
    const baton_snapshot_options options = {.compress = BATON_COMPRESS_RAW, .chunk_bytes = 4096};
    baton_snapshot_info info = {.service = "fuzzed", .seq = 1, .epoch = 1};
    baton_snapshot_writer *writer;
    baton_snapshot_listed *list;
    uint32_t count;
    test_dir_make(&dir, "import_fuzz");
    baton_assert(baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS}, &io, NULL) == 0);
    (void)atexit(end);
    (void)snprintf(path, sizeof(path), "%s", test_path(&dir, "file"));
    (void)snprintf(into, sizeof(into), "%s", test_path(&dir, "into"));
    const char *from = test_path(&dir, "from");
    baton_assert(baton_snapshot_writer_create(&options, &writer) == 0);
    pack(writer);
    baton_assert(baton_snapshot_writer_finish(writer, &info) == 0);
    baton_assert(baton_snapshot_publish(io, from, writer, &info, NULL) == 0);
    baton_assert(baton_snapshot_list_with(io, from, &list, &count, NULL) == 0 && count == 1);
    const baton_snapshot_transfer transfer = {.compress = BATON_COMPRESS_LZ4};
    baton_assert(baton_snapshot_export(from, &list[0], path, &transfer, &saved_bytes, NULL) == 0);
    baton_assert(saved_bytes <= sizeof(saved));
    saved_root = info.root;
    free(list);
    FILE *file = fopen(path, "rb");
    baton_assert(file != NULL && fread(saved, 1, saved_bytes, file) == saved_bytes);
    baton_assert(fclose(file) == 0);
}

/* The file's own numbers lead from part to part, as far as they stay inside. */
static void fit(uint8_t *bytes, uint64_t bytes_count, unsigned which)
{
    baton_export_header header;
    if (bytes_count < sizeof(header))
        return;
    memcpy(&header, bytes, sizeof(header));
    if (which & FIT_HEADER)
        header.digest = baton_digest_of(&header, offsetof(baton_export_header, digest));
    memcpy(bytes, &header, sizeof(header));
    const uint64_t manifest_bytes = baton_le64_get(header.manifest_bytes);
    if (manifest_bytes > bytes_count - sizeof(header) ||
        manifest_bytes < sizeof(baton_manifest_header))
        return;
    if (which & FIT_ROOT) {
        uint8_t *manifest = bytes + sizeof(header);
        const uint64_t root_at = offsetof(baton_manifest_header, root);
        baton_digest_stream stream;
        baton_digest_init(&stream);
        baton_digest_update(&stream, manifest, root_at);
        baton_digest_update(&stream, manifest + sizeof(baton_manifest_header),
                            manifest_bytes - sizeof(baton_manifest_header));
        const baton_digest root = baton_digest_final(&stream);
        memcpy(manifest + root_at, &root, sizeof(root));
    }
    uint64_t at = sizeof(header) + manifest_bytes;
    while ((which & FIT_RECORDS) && bytes_count - at >= sizeof(baton_export_record)) {
        baton_export_record record;
        memcpy(&record, bytes + at, sizeof(record));
        const uint32_t follow = baton_le32_get(record.bytes);
        if (follow > bytes_count - at - sizeof(record))
            return;
        record.digest = baton_export_record_digest(&record, bytes + at + sizeof(record), follow);
        memcpy(bytes + at, &record, sizeof(record));
        at += sizeof(record) + follow;
    }
}

static uint64_t patch(uint8_t *bytes, const uint8_t *data, size_t data_bytes)
{
    uint64_t bytes_count = saved_bytes;
    memcpy(bytes, saved, saved_bytes);
    for (size_t at = 0; at + 3 <= data_bytes;) {
        const uint64_t offset = (uint64_t)(data[at] | data[at + 1] << 8) % saved_bytes;
        const size_t wanted = data[at + 2];
        at += 3;
        if (wanted == 0 && offset < bytes_count)
            bytes_count = offset;
        for (size_t i = 0; i < wanted && at < data_bytes; i++, at++)
            if (offset + i < saved_bytes)
                bytes[offset + i] = data[at];
    }
    return bytes_count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    baton_snapshot_info info;
    baton_error error = {.offset = UINT64_MAX};
    make_once();
    if (data_bytes == 0)
        return 0;
    uint64_t bytes_count = 0;
    if (data[0] & WHOLE_FILE) {
        bytes_count = data_bytes - 1 < sizeof(bytes) ? data_bytes - 1 : sizeof(bytes);
        memcpy(bytes, data + 1, bytes_count);
    } else {
        bytes_count = patch(bytes, data + 1, data_bytes - 1);
    }
    fit(bytes, bytes_count, data[0]);
    write_file(bytes, bytes_count);

    int r = baton_snapshot_import_with(io, path, into, NULL, &info, &error);
    if (r < 0) {
        baton_assert(error.why[0] != '\0' && error.path[0] != '\0');
        baton_assert(error.offset == UINT64_MAX || error.offset <= bytes_count);
        return 0;
    }
    /* A changed manifest under a root of its own is another snapshot; its bytes are the exported
     * ones all the same. */
    baton_assert((data[0] & FIT_ROOT) || baton_digest_equal(info.root, saved_root));
    baton_assert(baton_snapshot_remove(io, into, info.seq, info.epoch) == 0);
    return 0;
}
