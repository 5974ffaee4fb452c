/* tests/fuzz/snapshot_manifest_fuzz.c: any bytes as a manifest. The input is the file without
 * its root digest, which is put in: nobody guesses a fitting one. What is accepted must be
 * encodable again, and come back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "snapshot/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_accepted(baton_snapshot_manifest *manifest)
{
    baton_snapshot_manifest again;
    uint8_t *encoded = NULL;
    uint64_t encoded_bytes = 0;
    baton_assert(baton_snapshot_manifest_encode(manifest, &encoded, &encoded_bytes) == 0);
    baton_assert(baton_snapshot_manifest_decode(encoded, encoded_bytes, "again", &again, NULL) ==
                 0);
    baton_assert(baton_digest_equal(again.info.root, manifest->info.root));
    baton_assert(again.info.chunks_count == manifest->info.chunks_count);
    baton_assert(again.info.raw_bytes == manifest->info.raw_bytes);
    baton_snapshot_manifest_free(&again);
    free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const size_t root_at = offsetof(baton_manifest_header, root);
    const size_t before = bytes < root_at ? bytes : root_at;
    baton_manifest_header header = {0};
    baton_snapshot_manifest manifest;
    baton_error error;
    memcpy(&header, data, before);
    header.body_bytes = baton_le64_put(bytes - before);

    uint8_t *file = malloc(sizeof(header) + bytes - before);
    baton_assert(file != NULL);
    baton_digest_stream stream;
    baton_digest_init(&stream);
    baton_digest_update(&stream, &header, root_at);
    baton_digest_update(&stream, data + before, bytes - before);
    header.root = baton_digest_final(&stream);
    memcpy(file, &header, sizeof(header));
    memcpy(file + sizeof(header), data + before, bytes - before);

    int r = baton_snapshot_manifest_decode(file, sizeof(header) + bytes - before, "fuzzed",
                                           &manifest, &error);
    if (r == 0)
        check_accepted(&manifest);
    else
        baton_assert(error.offset <= sizeof(header) + bytes - before && error.why[0] != '\0');
    baton_snapshot_manifest_free(&manifest);
    free(file);
    return 0;
}
