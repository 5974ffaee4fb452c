/* snapshot/pack_chunks.c: full raw chunks into stored ones: compressed or not, digested, gathered
 * in slabs. Either at once, on the thread that packs, or by a helper, while the next one is being
 * filled (writer.h says who may touch what). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "snapshot/writer.h"

static int slab_give(baton_snapshot_writer *writer)
{
    const int r = writer->sink(writer->sink_context, &writer->slabs[0]);
    writer->slabs[0].used = 0;
    return r;
}

static int slab_add(baton_snapshot_writer *writer)
{
    if (writer->sink != NULL && writer->slabs_count > 0)
        return slab_give(writer);
    if (writer->slabs_count == writer->slabs_room) {
        const uint32_t room = writer->slabs_room > 0 ? 2 * writer->slabs_room : 16;
        baton_snapshot_slab *slabs = realloc(writer->slabs, room * sizeof(*slabs));
        if (slabs == NULL)
            return -ENOMEM;
        writer->slabs = slabs;
        writer->slabs_room = room;
    }
    uint8_t *bytes = aligned_alloc(BATON_SLAB_BYTES, writer->slab_bytes);
    if (bytes == NULL)
        return -ENOMEM;
    /* Small pages cost more to touch first than to fill; a small snapshot stays small. */
    if (writer->slabs_count > 0)
        (void)madvise(bytes, writer->slab_bytes, MADV_HUGEPAGE);
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

/* A raw piece becomes the next stored chunk: in the order of the raw stream, on one thread, so
 * that the bytes do not depend on whether there is a helper. */
static int encode(baton_snapshot_writer *writer, const uint8_t *raw, uint32_t raw_bytes)
{
    baton_snapshot_info *info = &writer->manifest.info;
    baton_snapshot_chunk chunk = {.offset = info->stored_bytes};
    const uint8_t *stored;
    uint8_t *place;
    baton_chunk_encode(&writer->encoder, raw, raw_bytes, &chunk, &stored);
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
    return 0;
}

/* ---- the helper ---- */

static void *helper_main(void *context)
{
    baton_snapshot_writer *writer = context;
    baton_pack_ring *ring = &writer->ring;
    pthread_mutex_lock(&ring->lock);
    while (ring->error == 0) {
        if (ring->encoded == ring->filled) {
            if (ring->stop)
                break;
            pthread_cond_wait(&ring->work, &ring->lock);
            continue;
        }
        const uint32_t slot = ring->encoded % BATON_PACK_RAWS;
        pthread_mutex_unlock(&ring->lock);
        const int r = encode(writer, ring->raws[slot], ring->raws_used[slot]);
        pthread_mutex_lock(&ring->lock);
        ring->error = r;
        ring->encoded++;
        pthread_cond_signal(&ring->done);
    }
    pthread_mutex_unlock(&ring->lock);
    return NULL;
}

/* Without one when there is no memory or no thread for it. */
static void begin_helping(baton_snapshot_writer *writer)
{
    baton_pack_ring *ring = &writer->ring;
    sigset_t all;
    sigset_t before;
    for (uint32_t i = 1; i < BATON_PACK_RAWS; i++)
        if ((ring->raws[i] = malloc(writer->manifest.chunk_bytes)) == NULL)
            return;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->work, NULL);
    pthread_cond_init(&ring->done, NULL);
    sigfillset(&all); /* signals are the service's threads' matter */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ring->helped = pthread_create(&ring->helper, NULL, helper_main, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* What is filled is encoded first. */
static void end_helping(baton_snapshot_writer *writer)
{
    baton_pack_ring *ring = &writer->ring;
    if (!ring->helped)
        return;
    pthread_mutex_lock(&ring->lock);
    ring->stop = true;
    pthread_cond_signal(&ring->work);
    pthread_mutex_unlock(&ring->lock);
    pthread_join(ring->helper, NULL);
    pthread_mutex_destroy(&ring->lock);
    pthread_cond_destroy(&ring->work);
    pthread_cond_destroy(&ring->done);
    ring->helped = false;
}

/* Hands writer->raw over and goes on with a free one. */
static int hand_over(baton_snapshot_writer *writer)
{
    baton_pack_ring *ring = &writer->ring;
    pthread_mutex_lock(&ring->lock);
    ring->raws_used[ring->filled % BATON_PACK_RAWS] = writer->raw_used;
    ring->filled++;
    pthread_cond_signal(&ring->work);
    while (ring->error == 0 && ring->filled - ring->encoded == BATON_PACK_RAWS)
        pthread_cond_wait(&ring->done, &ring->lock);
    const int r = ring->error;
    writer->raw = ring->raws[ring->filled % BATON_PACK_RAWS];
    pthread_mutex_unlock(&ring->lock);
    return r;
}

/* ---- what pack.c calls ---- */

int baton_writer_chunk_end(baton_snapshot_writer *writer)
{
    const bool full = writer->raw_used == writer->manifest.chunk_bytes;
    if (writer->ring.wanted && full) { /* a snapshot of less than a chunk needs none */
        begin_helping(writer);
        writer->ring.wanted = false;
    }
    const int r =
        writer->ring.helped ? hand_over(writer) : encode(writer, writer->raw, writer->raw_used);
    writer->raw_used = 0;
    return r;
}

int baton_writer_chunks_settle(baton_snapshot_writer *writer)
{
    end_helping(writer);
    if (writer->ring.error == 0 && writer->error == 0 && writer->sink != NULL &&
        writer->slabs_count > 0 && writer->slabs[0].used > 0)
        return slab_give(writer);
    return writer->ring.error;
}

int baton_writer_chunks_init(baton_snapshot_writer *writer, bool helped)
{
    writer->ring.wanted = helped;
    writer->raw = writer->ring.raws[0] = malloc(writer->manifest.chunk_bytes);
    return writer->raw != NULL ? 0 : -ENOMEM;
}

void baton_writer_chunks_fini(baton_snapshot_writer *writer)
{
    end_helping(writer);
    for (uint32_t i = 0; i < BATON_PACK_RAWS; i++)
        free(writer->ring.raws[i]);
    for (uint32_t i = 0; i < writer->slabs_count; i++)
        free(writer->slabs[i].bytes);
    free(writer->slabs);
}
