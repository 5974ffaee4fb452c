/* tests/fuzz/snapshot_directory_fuzz.c: any two files as a directory of snapshots, on a simulated disk:
 * listed, verified, read to the last row, pruned. The input is 4 bytes, the length of the manifest file, then
 * that file without its root, then the chunks file. Nobody guesses fitting digests, so they are put in. What
 * verify calls good a reader must be able to read, and the other way round. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <baton/wire.h>

#include "base/assert.h"
#include "base/io_sim.h"
#include "snapshot/manifest.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

#define DIRECTORY        "/d"
#define PADDED_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* ---- the two files ---- */

typedef struct {
    uint8_t *bytes;
    uint64_t count;
} file;

static file file_of(const void *bytes, uint64_t count, uint64_t room)
{
    file made = {.bytes = calloc(1, room + 1), .count = count};
    baton_assert(made.bytes != NULL && count <= room);
    if (count > 0)
        memcpy(made.bytes, bytes, count);
    return made;
}

/* The file with the root that its bytes ask for. */
static file manifest_of(const uint8_t *data, uint64_t bytes)
{
    const size_t root_at = offsetof(baton_manifest_header, root);
    const uint64_t before = bytes < root_at ? bytes : root_at;
    baton_manifest_header header = {0};
    baton_digest_stream stream;
    memcpy(&header, data, before);
    header.body_bytes = baton_le64_put(bytes - before);
    baton_digest_init(&stream);
    baton_digest_update(&stream, &header, root_at);
    baton_digest_update(&stream, data + before, bytes - before);
    header.root = baton_digest_final(&stream);
    file made = file_of(&header, sizeof(header), sizeof(header) + bytes - before);
    memcpy(made.bytes + sizeof(header), data + before, bytes - before);
    made.count = sizeof(header) + bytes - before;
    return made;
}

/* A manifest that is one gets the digests of the chunks that are there; these get their zeros. */
static void fit(file *manifest, file *chunks, uint64_t *ret_seq, uint64_t *ret_epoch)
{
    baton_snapshot_manifest decoded;
    baton_error error;
    if (baton_snapshot_manifest_decode(manifest->bytes, manifest->count, "fuzzed", &decoded,
                                       &error) < 0)
        return;
    const uint64_t stored = decoded.info.stored_bytes;
    if (chunks->count < stored && stored <= PADDED_BYTES_MAX) {
        const file padded = file_of(chunks->bytes, chunks->count, stored);
        free(chunks->bytes);
        *chunks = (file){padded.bytes, stored};
    }
    for (uint32_t i = 0; i < decoded.info.chunks_count; i++) {
        baton_snapshot_chunk *chunk = &decoded.chunks[i];
        const uint64_t units = baton_snapshot_padded(chunk->stored_bytes);
        if (units <= chunks->count && chunk->offset <= chunks->count - units)
            chunk->digest = baton_digest_of(chunks->bytes + chunk->offset, units);
    }
    *ret_seq = decoded.info.seq;
    *ret_epoch = decoded.info.epoch;
    free(manifest->bytes);
    const int r = baton_snapshot_manifest_encode(&decoded, &manifest->bytes, &manifest->count);
    baton_assert(r == 0);
    baton_snapshot_manifest_free(&decoded);
}

static void put(baton_io *io, const file *from, uint64_t seq, uint64_t epoch,
                baton_snapshot_name kind)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file made;
    int r = baton_snapshot_path(path, DIRECTORY, seq, epoch, kind);
    if (r == 0)
        r = baton_io_file_open(io, path, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &made);
    if (r == 0 && from->count > 0)
        r = baton_io_file_write(io, made, from->bytes, from->count, 0);
    baton_assert(r == 0);
    baton_io_file_close(io, made);
}

/* ---- reading ---- */

static int read_all(baton_io *io, const baton_snapshot_listed *listed)
{
    baton_snapshot_reader *reader = NULL;
    const char *name;
    int r = baton_snapshot_reader_open(io, DIRECTORY, listed, &reader, NULL);
    for (uint32_t i = 0; r == 0 && (name = baton_snapshot_reader_section_name(reader, i)) != NULL;
         i++) {
        uint32_t fields;
        baton_value field;
        r = baton_unpack_section(reader, name);
        while (r == 0 && (r = baton_unpack_row(reader, &fields)) == 1)
            for (r = 0; r == 0 && fields > 0; fields--)
                r = baton_unpack_value(reader, &field);
    }
    baton_snapshot_reader_close(reader);
    return r;
}

static void look(baton_io *io)
{
    baton_snapshot_listed *list = NULL;
    baton_error error = {0};
    uint32_t count = 0, removed = 0;
    int r = baton_snapshot_list_with(io, DIRECTORY, &list, &count, &error);
    baton_assert(r == 0 && count == 1);
    const int verdict = baton_snapshot_verify_with(io, DIRECTORY, &list[0], &error);
    baton_assert(verdict == 0 || verdict == BATON_E_DAMAGED || verdict == BATON_E_UNKNOWN_TYPE ||
                 verdict == BATON_E_NEWER_FORMAT);
    baton_assert(verdict == 0 || (error.why[0] != '\0' && error.path[0] != '\0'));
    baton_assert(list[0].status == 0 || list[0].status == verdict);
    r = read_all(io, &list[0]);
    baton_assert((r == 0) == (verdict == 0));
    r = baton_snapshot_prune_with(io, DIRECTORY, 2, &removed, &error);
    baton_assert(r == 0 && removed == 0); /* the only one stays, damaged or not */
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint64_t seq = 1, epoch = 1;
    baton_le32 length;
    if (bytes < sizeof(length))
        return 0;
    memcpy(&length, data, sizeof(length));
    data += sizeof(length);
    bytes -= sizeof(length);
    const uint64_t manifest_bytes = baton_le32_get(length) < bytes ? baton_le32_get(length) : bytes;
    file manifest = manifest_of(data, manifest_bytes);
    file chunks = file_of(data + manifest_bytes, bytes - manifest_bytes, bytes - manifest_bytes);
    fit(&manifest, &chunks, &seq, &epoch);

    baton_sim *sim = baton_sim_new(1);
    const baton_io_options options = {.custom = baton_sim_backend(),
                                      .custom_context = baton_sim_start(sim),
                                      .clock = baton_sim_clock(sim),
                                      .ops_max = 16};
    baton_io *io = NULL;
    int r = baton_io_open(&options, &io, NULL);
    if (r == 0)
        r = baton_io_directory_make(io, DIRECTORY);
    baton_assert(r == 0);
    put(io, &chunks, seq, epoch, BATON_NAME_CHUNKS);
    put(io, &manifest, seq, epoch, BATON_NAME_MANIFEST);
    look(io);
    baton_io_close(io);
    baton_sim_free(sim);
    free(manifest.bytes);
    free(chunks.bytes);
    return 0;
}
