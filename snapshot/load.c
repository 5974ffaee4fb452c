/* snapshot/load.c: see load.h. */
#include "snapshot/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/chunk.h"

#define WHAT   "load a snapshot's chunks"
#define REMEDY "use an older snapshot (baton snapshot ls), or restore this one from a copy"

static int refuse(const baton_snapshot_loader *loader, int status, uint64_t offset, const char *why,
                  baton_error *error)
{
    baton_error_set(error, status, WHAT, why,
                    status == BATON_E_DAMAGED ? REMEDY : "check the file's rights and the disk");
    baton_error_at(error, loader->path, offset);
    return status;
}

/* ---- life ---- */

/* Direct, so that a load does not push the service's pages out; buffered where the file system
 * has no direct I/O. */
static int open_file(baton_snapshot_loader *loader)
{
    int r = baton_io_file_open(loader->io, loader->path, BATON_IO_FOR_READ | BATON_IO_DIRECT,
                               &loader->file);
    if (r == -EINVAL)
        r = baton_io_file_open(loader->io, loader->path, BATON_IO_FOR_READ, &loader->file);
    return r;
}

static int check_size(baton_snapshot_loader *loader, baton_error *error)
{
    const uint64_t wanted = loader->manifest->info.stored_bytes;
    uint64_t size = 0;
    int r = baton_io_file_size(loader->io, loader->file, &size);
    if (r < 0)
        return refuse(loader, r, 0, NULL, error);
    if (size != wanted)
        return refuse(loader, BATON_E_DAMAGED, size < wanted ? size : wanted,
                      size < wanted ? "it is shorter than its manifest says"
                                    : "it is longer than its manifest says",
                      error);
    return 0;
}

int baton_snapshot_loader_open(baton_snapshot_loader *loader, baton_io *io, const char *path,
                               const baton_snapshot_manifest *manifest, baton_error *error)
{
    *loader = (baton_snapshot_loader){.io = io, .manifest = manifest, .file = BATON_IO_NO_FILE};
    snprintf(loader->path, sizeof(loader->path), "%s", path);
    int r = open_file(loader);
    if (r == -ENOENT) {
        r = refuse(loader, BATON_E_DAMAGED, 0, "the manifest's chunks file is missing", error);
        goto fail;
    }
    if (r < 0) {
        refuse(loader, r, 0, NULL, error);
        goto fail;
    }
    r = check_size(loader, error);
    if (r < 0)
        goto fail;

    const uint32_t chunks = manifest->info.chunks_count;
    loader->slots_count = chunks < BATON_LOADER_AHEAD ? chunks : BATON_LOADER_AHEAD;
    loader->raw = malloc(manifest->chunk_bytes);
    bool enough = loader->raw != NULL;
    for (uint32_t i = 0; enough && i < loader->slots_count; i++) {
        loader->slots[i].stored = aligned_alloc(BATON_IO_UNIT, manifest->chunk_bytes);
        enough = loader->slots[i].stored != NULL;
    }
    if (!enough) {
        r = refuse(loader, -ENOMEM, 0, NULL, error);
        goto fail;
    }
    return 0;

fail:
    baton_snapshot_loader_close(loader);
    return r;
}

static int wait_for(baton_snapshot_loader *loader, const baton_loader_slot *slot)
{
    while (slot->op.in_flight) {
        int r = baton_io_wait(loader->io, UINT64_MAX);
        if (r < 0 && r != -EINTR)
            return r;
        while (baton_io_reap(loader->io) != NULL)
            continue;
    }
    return 0;
}

void baton_snapshot_loader_close(baton_snapshot_loader *loader)
{
    if (loader->io == NULL)
        return;
    for (uint32_t i = 0; i < loader->slots_count; i++) {
        /* The kernel may still write into the buffer. */
        int r = wait_for(loader, &loader->slots[i]);
        baton_assert(r == 0);
        free(loader->slots[i].stored);
    }
    free(loader->raw);
    baton_io_file_close(loader->io, loader->file);
    *loader = (baton_snapshot_loader){.file = BATON_IO_NO_FILE};
}

/* ---- reading ahead ---- */

static int ask(baton_snapshot_loader *loader, uint32_t chunk_index)
{
    const baton_snapshot_chunk *chunk = &loader->manifest->chunks[chunk_index];
    baton_loader_slot *slot = &loader->slots[chunk_index % loader->slots_count];
    int r = wait_for(loader, slot); /* a chunk that was skipped may still be on its way */
    if (r < 0)
        return r;
    slot->op = (baton_io_op){
        .kind = BATON_IO_READ,
        .file = loader->file,
        .buffer = slot->stored,
        .bytes = baton_snapshot_padded(chunk->stored_bytes),
        .offset = chunk->offset,
    };
    return baton_io_submit(loader->io, &slot->op);
}

static int ask_ahead(baton_snapshot_loader *loader, uint32_t chunk_index)
{
    const uint32_t chunks = loader->manifest->info.chunks_count;
    if (chunk_index < loader->first || chunk_index >= loader->end)
        loader->end = chunk_index;
    loader->first = chunk_index;
    while (loader->end < chunks && loader->end - loader->first < loader->slots_count) {
        int r = ask(loader, loader->end);
        if (r == BATON_E_FULL && loader->end > loader->first)
            break; /* a small ring: fewer ahead */
        if (r < 0)
            return r;
        loader->end++;
    }
    return baton_io_enter(loader->io);
}

static int check(baton_snapshot_loader *loader, const baton_loader_slot *slot,
                 const baton_snapshot_chunk *chunk, const uint8_t **ret_raw, baton_error *error)
{
    if (slot->op.result < 0)
        return refuse(loader, (int)slot->op.result, chunk->offset, NULL, error);
    if ((uint64_t)slot->op.result != slot->op.bytes)
        return refuse(loader, BATON_E_DAMAGED, chunk->offset + (uint64_t)slot->op.result,
                      "it became shorter", error);
    if (!baton_chunk_digest_fits(chunk, slot->stored) && !BATON_BREAK(NO_CHUNK_DIGEST))
        return refuse(loader, BATON_E_DAMAGED, chunk->offset,
                      "the bytes of a chunk do not fit its digest", error);
    if (chunk->codec == BATON_CODEC_RAW) {
        *ret_raw = slot->stored;
        return 0;
    }
    if (!baton_chunk_decompress(chunk, slot->stored, loader->raw))
        return refuse(loader, BATON_E_DAMAGED, chunk->offset,
                      "a chunk does not decompress to its raw size", error);
    *ret_raw = loader->raw;
    return 0;
}

int baton_snapshot_loader_chunk(baton_snapshot_loader *loader, uint32_t chunk_index,
                                const uint8_t **ret_raw, baton_error *error)
{
    const baton_snapshot_chunk *chunk = &loader->manifest->chunks[chunk_index];
    baton_assert(chunk_index < loader->manifest->info.chunks_count);
    int r = ask_ahead(loader, chunk_index);
    const baton_loader_slot *slot = &loader->slots[chunk_index % loader->slots_count];
    if (r == 0)
        r = wait_for(loader, slot);
    if (r < 0)
        return refuse(loader, r, chunk->offset, NULL, error);
    return check(loader, slot, chunk, ret_raw, error);
}
