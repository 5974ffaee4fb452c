/* snapshot/load.c: see load.h. */
#include "snapshot/load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/chunk.h"

#define WHAT       "load a snapshot's chunks"
#define HUGE_BYTES (UINT64_C(2) << 20)
#define REMEDY     "use an older snapshot (baton snapshot ls), or restore this one from a copy"

static int refuse(const baton_snapshot_loader *loader, int status, uint64_t offset, const char *why,
                  baton_error *error)
{
    baton_error_set(error, status, WHAT, why,
                    status == BATON_E_DAMAGED ? REMEDY : "check the file's rights and the disk");
    baton_error_at(error, loader->path, offset);
    return status;
}

/* ---- the helper ---- */

static void lock(baton_snapshot_loader *loader)
{
    if (loader->helped)
        pthread_mutex_lock(&loader->lock);
}

static void unlock(baton_snapshot_loader *loader)
{
    if (loader->helped)
        pthread_mutex_unlock(&loader->lock);
}

/* S2. By whoever set it CHECKING: nobody else touches its buffers. */
static baton_chunk_verdict check(const baton_loader_slot *slot)
{
    if (!baton_chunk_digest_fits(slot->chunk, slot->stored) && !BATON_BREAK(NO_CHUNK_DIGEST))
        return BATON_CHUNK_DIGEST_DIFFERS;
    if (slot->chunk->codec == BATON_CODEC_LZ4 &&
        !baton_chunk_decompress(slot->chunk, slot->stored, slot->room))
        return BATON_CHUNK_DOES_NOT_DECOMPRESS;
    return BATON_CHUNK_GOOD;
}

/* The one that will be asked for first, or NULL. */
static baton_loader_slot *next_read(baton_snapshot_loader *loader)
{
    baton_loader_slot *next = NULL;
    for (uint32_t i = 0; i < loader->slots_count; i++) {
        baton_loader_slot *slot = &loader->slots[i];
        if (slot->state == BATON_SLOT_READ &&
            (next == NULL || slot->chunk_index < next->chunk_index))
            next = slot;
    }
    return next;
}

static void *helper_main(void *context)
{
    baton_snapshot_loader *loader = context;
    pthread_mutex_lock(&loader->lock);
    while (!loader->stop) {
        baton_loader_slot *slot = next_read(loader);
        if (slot == NULL) {
            pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        slot->state = BATON_SLOT_CHECKING;
        pthread_mutex_unlock(&loader->lock);
        const baton_chunk_verdict verdict = check(slot);
        pthread_mutex_lock(&loader->lock);
        slot->verdict = verdict;
        slot->state = BATON_SLOT_CHECKED;
        pthread_cond_signal(&loader->done);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

void baton_snapshot_loader_help(baton_snapshot_loader *loader)
{
    sigset_t all;
    sigset_t before;
    if (loader->helped || loader->manifest->info.chunks_count < BATON_LOADER_HELPED_MIN)
        return;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->done, NULL);
    sigfillset(&all); /* signals are the service's threads' matter */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    loader->helped = pthread_create(&loader->helper, NULL, helper_main, loader) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end_helper(baton_snapshot_loader *loader)
{
    if (!loader->helped)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_signal(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    pthread_join(loader->helper, NULL);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->done);
    loader->helped = false;
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

static bool has_compressed(const baton_snapshot_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->info.chunks_count; i++)
        if (manifest->chunks[i].codec == BATON_CODEC_LZ4)
            return true;
    return false;
}

/* One allocation, on huge pages when it is large: the first touch of memory is the dear one. */
static int make_slots(baton_snapshot_loader *loader)
{
    const baton_snapshot_manifest *manifest = loader->manifest;
    const uint32_t chunks = manifest->info.chunks_count;
    const uint32_t parts = has_compressed(manifest) ? 2 : 1;
    loader->slots_count = chunks < BATON_LOADER_SLOTS ? chunks : BATON_LOADER_SLOTS;
    const uint64_t bytes = manifest->chunk_bytes * parts * loader->slots_count;
    if (bytes == 0)
        return 0;
    const uint64_t alignment = bytes >= HUGE_BYTES ? HUGE_BYTES : BATON_IO_UNIT;
    const uint64_t rounded = (bytes + alignment - 1) & ~(alignment - 1);
    loader->memory = aligned_alloc(alignment, rounded);
    if (loader->memory == NULL)
        return -ENOMEM;
    if (alignment == HUGE_BYTES)
        (void)madvise(loader->memory, rounded, MADV_HUGEPAGE);
    for (uint32_t i = 0; i < loader->slots_count; i++) {
        loader->slots[i].stored = loader->memory + i * parts * manifest->chunk_bytes;
        if (parts == 2)
            loader->slots[i].room = loader->slots[i].stored + manifest->chunk_bytes;
    }
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

    r = make_slots(loader);
    if (r < 0) {
        refuse(loader, r, 0, NULL, error);
        goto fail;
    }
    return 0;

fail:
    baton_snapshot_loader_close(loader);
    return r;
}

/* ---- reading ahead ---- */

/* What ended is the helper's to look at. */
static void reap(baton_snapshot_loader *loader)
{
    bool any = false;
    lock(loader);
    for (baton_io_op *op = baton_io_reap(loader->io); op != NULL; op = baton_io_reap(loader->io)) {
        baton_loader_slot *slot = (baton_loader_slot *)op; /* its first member */
        const bool whole = op->result >= 0 && (uint64_t)op->result == op->bytes;
        slot->state = whole ? BATON_SLOT_READ : BATON_SLOT_EMPTY;
        any = true;
    }
    if (any && loader->helped)
        pthread_cond_signal(&loader->work);
    unlock(loader);
}

static int wait_for_any(baton_snapshot_loader *loader)
{
    int r = baton_io_wait(loader->io, UINT64_MAX);
    if (r < 0 && r != -EINTR)
        return r;
    reap(loader);
    return 0;
}

static int wait_for_read(baton_snapshot_loader *loader, const baton_loader_slot *slot)
{
    int r = 0;
    while (r == 0 && slot->op.in_flight)
        r = wait_for_any(loader);
    return r;
}

/* Its buffers are nobody's: a chunk that was skipped may still be on its way, or being checked. */
static int take_back(baton_snapshot_loader *loader, baton_loader_slot *slot)
{
    int r = wait_for_read(loader, slot);
    if (r < 0)
        return r;
    lock(loader);
    while (slot->state == BATON_SLOT_CHECKING)
        pthread_cond_wait(&loader->done, &loader->lock);
    slot->state = BATON_SLOT_EMPTY;
    unlock(loader);
    return 0;
}

void baton_snapshot_loader_close(baton_snapshot_loader *loader)
{
    if (loader->io == NULL)
        return;
    end_helper(loader);
    for (uint32_t i = 0; i < loader->slots_count; i++) {
        /* The kernel may still write into the buffer. */
        int r = wait_for_read(loader, &loader->slots[i]);
        baton_assert(r == 0);
    }
    free(loader->memory);
    baton_io_file_close(loader->io, loader->file);
    *loader = (baton_snapshot_loader){.file = BATON_IO_NO_FILE};
}

static int ask(baton_snapshot_loader *loader, uint32_t chunk_index)
{
    baton_loader_slot *slot = &loader->slots[chunk_index % loader->slots_count];
    int r = take_back(loader, slot);
    if (r < 0)
        return r;
    slot->chunk = &loader->manifest->chunks[chunk_index];
    slot->chunk_index = chunk_index;
    slot->op = (baton_io_op){
        .kind = BATON_IO_READ,
        .file = loader->file,
        .buffer = slot->stored,
        .bytes = baton_snapshot_padded(slot->chunk->stored_bytes),
        .offset = slot->chunk->offset,
    };
    r = baton_io_submit(loader->io, &slot->op);
    if (r < 0)
        return r;
    lock(loader);
    slot->state = BATON_SLOT_READING;
    unlock(loader);
    return 0;
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
        if (r == BATON_E_FULL && baton_io_in_flight(loader->io) > 0) {
            r = wait_for_any(loader); /* of where it was reading before */
            if (r < 0)
                return r;
            continue;
        }
        if (r < 0)
            return r;
        loader->end++;
    }
    return baton_io_enter(loader->io);
}

/* Checked by the helper, or here when it has not begun. */
static baton_chunk_verdict verdict_of(baton_snapshot_loader *loader, baton_loader_slot *slot)
{
    lock(loader);
    while (slot->state == BATON_SLOT_CHECKING)
        pthread_cond_wait(&loader->done, &loader->lock);
    const bool mine = slot->state == BATON_SLOT_READ;
    if (mine)
        slot->state = BATON_SLOT_CHECKING;
    unlock(loader);
    if (mine) {
        const baton_chunk_verdict verdict = check(slot);
        lock(loader);
        slot->verdict = verdict;
        slot->state = BATON_SLOT_CHECKED;
        unlock(loader);
    }
    baton_assert(slot->state == BATON_SLOT_CHECKED);
    return slot->verdict;
}

static int use(baton_snapshot_loader *loader, baton_loader_slot *slot, const uint8_t **ret_raw,
               baton_error *error)
{
    const uint64_t offset = slot->chunk->offset;
    if (slot->op.result < 0)
        return refuse(loader, (int)slot->op.result, offset, NULL, error);
    if ((uint64_t)slot->op.result != slot->op.bytes)
        return refuse(loader, BATON_E_DAMAGED, offset + (uint64_t)slot->op.result,
                      "it became shorter", error);
    switch (verdict_of(loader, slot)) {
    case BATON_CHUNK_GOOD:
        break;
    case BATON_CHUNK_DIGEST_DIFFERS:
        return refuse(loader, BATON_E_DAMAGED, offset, "the bytes of a chunk do not fit its digest",
                      error);
    case BATON_CHUNK_DOES_NOT_DECOMPRESS:
        return refuse(loader, BATON_E_DAMAGED, offset,
                      "a chunk does not decompress to its raw size", error);
    }
    *ret_raw = slot->chunk->codec == BATON_CODEC_LZ4 ? slot->room : slot->stored;
    return 0;
}

int baton_snapshot_loader_chunk(baton_snapshot_loader *loader, uint32_t chunk_index,
                                const uint8_t **ret_raw, baton_error *error)
{
    baton_assert(chunk_index < loader->manifest->info.chunks_count);
    int r = ask_ahead(loader, chunk_index);
    baton_loader_slot *slot = &loader->slots[chunk_index % loader->slots_count];
    if (r == 0)
        reap(loader);
    if (r == 0)
        r = wait_for_read(loader, slot);
    if (r < 0)
        return refuse(loader, r, loader->manifest->chunks[chunk_index].offset, NULL, error);
    return use(loader, slot, ret_raw, error);
}
