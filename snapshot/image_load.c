/* snapshot/image_load.c: see image_load.h. Each thread claims chunks from one list, keeps a few
 * reads in flight on its own ring, and places what it verified; chunks own disjoint pages, so that
 * the order does not matter. */
#include "snapshot/image_load.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/chain.h"
#include "snapshot/chunk.h"
#include "snapshot/track.h"

#define THREADS     2u
#define THREADS_MAX 16u
#define READS_AHEAD 4u /* of each thread */
#define WHAT        "load an image"

typedef struct {
    uint32_t member; /* of the chain */
    uint32_t chunk;  /* of that member */
    uint32_t number; /* of all members: what owners[] says */
} wanted_chunk;

typedef struct {
    const baton_image_load_options *options;
    baton_snapshot_chain chain;
    uint8_t *base;
    uint32_t page_bytes;
    uint32_t pages_count;
    uint32_t *owners; /* of each page: the number of the chunk with its last copy */
    wanted_chunk *wanted;
    uint32_t wanted_count;
    uint64_t chunk_bytes_max;
    uint64_t bytes_all;

    atomic_uint next;            /* of wanted */
    _Atomic uint64_t bytes_done; /* read and placed */
    atomic_bool stop;
    pthread_mutex_t lock; /* of the first failure */
    baton_error error;
} loading;

typedef struct {
    baton_io_op op;
    uint8_t *stored;
    const wanted_chunk *wanted;
} read_slot;

typedef struct {
    loading *all;
    baton_io *io;
    baton_io_file *files; /* of the members */
    read_slot slots[READS_AHEAD];
    uint32_t claimed; /* counted from 0; slot i % READS_AHEAD */
    uint32_t placed;
    uint8_t *raw;
    bool tells; /* the caller's thread */
} loader;

static int load_fail(loading *all, int status, uint32_t member, uint64_t offset, const char *why)
{
    pthread_mutex_lock(&all->lock);
    if (all->error.status == 0) {
        baton_error_set(&all->error, status, WHAT, why,
                        status == BATON_E_DAMAGED
                            ? "use an older snapshot (baton snapshot ls), or restore this one from "
                              "a copy"
                            : "check the files' rights, the memory and the disk");
        baton_error_at(
            &all->error,
            member < all->chain.count ? all->chain.paths[member] : all->options->directory, offset);
    }
    pthread_mutex_unlock(&all->lock);
    atomic_store(&all->stop, true);
    return status;
}

/* ---- which chunks ---- */

static void own_pages(loading *all, const baton_snapshot_manifest *manifest, uint32_t chunk,
                      uint32_t number)
{
    const baton_chunk_pages *pages = &manifest->pages[chunk];
    for (uint32_t i = 0; i < pages->runs_count; i++) {
        const baton_page_run run = manifest->runs[pages->runs_first + i];
        for (uint32_t page = run.first_page;
             page < run.first_page + run.pages_count && page < all->pages_count; page++)
            all->owners[page] = number;
    }
}

static bool owns_any(const loading *all, const baton_snapshot_manifest *manifest, uint32_t chunk,
                     uint32_t number)
{
    const baton_chunk_pages *pages = &manifest->pages[chunk];
    for (uint32_t i = 0; i < pages->runs_count; i++) {
        const baton_page_run run = manifest->runs[pages->runs_first + i];
        for (uint32_t page = run.first_page;
             page < run.first_page + run.pages_count && page < all->pages_count; page++)
            if (all->owners[page] == number)
                return true;
    }
    return false;
}

static void want(loading *all, uint32_t member, uint32_t chunk, uint32_t number)
{
    const baton_snapshot_manifest *manifest = &all->chain.manifests[member];
    if (!owns_any(all, manifest, chunk, number))
        return;
    all->wanted[all->wanted_count++] = (wanted_chunk){member, chunk, number};
    all->bytes_all += baton_snapshot_padded(manifest->chunks[chunk].stored_bytes);
    if (manifest->chunk_bytes > all->chunk_bytes_max)
        all->chunk_bytes_max = manifest->chunk_bytes;
}

/* Members from the full one on, chunks in their order: the last copy of a page comes last. */
static int make_list(loading *all)
{
    uint64_t chunks = 0;
    for (uint32_t i = 0; i < all->chain.count; i++)
        chunks += all->chain.manifests[i].info.chunks_count;
    if (chunks >= UINT32_MAX)
        return load_fail(all, BATON_E_TOO_LARGE, UINT32_MAX, UINT64_MAX, "too many chunks");
    all->owners = calloc(all->pages_count, sizeof(*all->owners));
    all->wanted = calloc(chunks > 0 ? chunks : 1, sizeof(*all->wanted));
    if (all->owners == NULL || all->wanted == NULL)
        return load_fail(all, -ENOMEM, UINT32_MAX, UINT64_MAX, NULL);
    uint32_t number = 1; /* 0: nobody owns it */
    for (uint32_t i = 0; i < all->chain.count; i++)
        for (uint32_t j = 0; j < all->chain.manifests[i].info.chunks_count; j++)
            own_pages(all, &all->chain.manifests[i], j, number++);
    for (uint32_t page = 0; page < all->pages_count; page++)
        if (all->owners[page] == 0)
            return load_fail(all, BATON_E_DAMAGED, all->chain.count - 1, UINT64_MAX,
                             "a page of the region is in none of its chunks");
    number = 1;
    for (uint32_t i = 0; i < all->chain.count; i++)
        for (uint32_t j = 0; j < all->chain.manifests[i].info.chunks_count; j++)
            want(all, i, j, number++);
    return 0;
}

/* ---- one thread ---- */

static int open_member(loader *self, uint32_t member)
{
    const char *path = self->all->chain.paths[member];
    const uint64_t wanted = self->all->chain.manifests[member].info.stored_bytes;
    uint64_t size = 0;
    int r = baton_io_file_open(self->io, path, BATON_IO_FOR_READ | BATON_IO_DIRECT,
                               &self->files[member]);
    if (r == -EINVAL)
        r = baton_io_file_open(self->io, path, BATON_IO_FOR_READ, &self->files[member]);
    if (r == 0)
        r = baton_io_file_size(self->io, self->files[member], &size);
    if (r == -ENOENT)
        return load_fail(self->all, BATON_E_DAMAGED, member, 0, "its chunks file is missing");
    if (r < 0)
        return load_fail(self->all, r, member, 0, NULL);
    if (size != wanted)
        return load_fail(self->all, BATON_E_DAMAGED, member, size < wanted ? size : wanted,
                         size < wanted ? "it is shorter than its manifest says"
                                       : "it is longer than its manifest says");
    return 0;
}

static int loader_open(loader *self)
{
    loading *all = self->all;
    baton_io_options options = all->options->io;
    options.ops_max = READS_AHEAD;
    options.region_bytes = READS_AHEAD * all->chunk_bytes_max;
    /* One at a time: an address that one thread's ring gave back is another's soon, and a thread
     * sanitizer does not see liburing's own system calls. */
    pthread_mutex_lock(&all->lock);
    int r = baton_io_open(&options, &self->io, NULL);
    pthread_mutex_unlock(&all->lock);
    if (r < 0)
        return load_fail(all, r, UINT32_MAX, UINT64_MAX, "no ring for its reads");
    self->raw = malloc(all->chunk_bytes_max);
    self->files = calloc(all->chain.count, sizeof(*self->files));
    if (self->raw == NULL || self->files == NULL)
        return load_fail(all, -ENOMEM, UINT32_MAX, UINT64_MAX, NULL);
    for (uint32_t i = 0; i < all->chain.count; i++)
        self->files[i] = BATON_IO_NO_FILE;
    for (uint32_t i = 0; i < READS_AHEAD; i++)
        self->slots[i].stored = baton_io_region_take(self->io, all->chunk_bytes_max);
    for (uint32_t i = 0; i < all->chain.count && r == 0; i++)
        r = open_member(self, i);
    return r;
}

static int wait_for(loader *self, const read_slot *slot)
{
    while (slot->op.in_flight) {
        int r = baton_io_wait(self->io, UINT64_MAX);
        if (r < 0 && r != -EINTR)
            return r;
        while (baton_io_reap(self->io) != NULL)
            continue;
    }
    return 0;
}

static void loader_close(loader *self)
{
    if (self->io != NULL) {
        for (uint32_t i = 0; i < READS_AHEAD; i++) {
            int r = wait_for(self, &self->slots[i]); /* the kernel may still write into it */
            baton_assert(r == 0);
        }
        for (uint32_t i = 0; self->files != NULL && i < self->all->chain.count; i++)
            baton_io_file_close(self->io, self->files[i]);
        pthread_mutex_lock(&self->all->lock);
        baton_io_close(self->io);
        pthread_mutex_unlock(&self->all->lock);
    }
    free(self->files);
    free(self->raw);
}

static const baton_snapshot_chunk *chunk_of(const loader *self, const wanted_chunk *wanted)
{
    return &self->all->chain.manifests[wanted->member].chunks[wanted->chunk];
}

static int ask_ahead(loader *self)
{
    loading *all = self->all;
    while (self->claimed - self->placed < READS_AHEAD) {
        const uint32_t i = atomic_fetch_add(&all->next, 1);
        if (i >= all->wanted_count) {
            atomic_store(&all->next, all->wanted_count); /* it must not wrap */
            break;
        }
        const wanted_chunk *wanted = &all->wanted[i];
        const baton_snapshot_chunk *chunk = chunk_of(self, wanted);
        read_slot *slot = &self->slots[self->claimed % READS_AHEAD];
        slot->wanted = wanted;
        slot->op = (baton_io_op){
            .kind = BATON_IO_READ,
            .file = self->files[wanted->member],
            .buffer = slot->stored,
            .bytes = baton_snapshot_padded(chunk->stored_bytes),
            .offset = chunk->offset,
        };
        int r = baton_io_submit(self->io, &slot->op);
        if (r < 0)
            return load_fail(all, r, wanted->member, chunk->offset, NULL);
        self->claimed++;
    }
    int r = baton_io_enter(self->io);
    if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
        return load_fail(all, r, UINT32_MAX, UINT64_MAX, NULL);
    return 0;
}

/* Of each run the pages whose last copy this is. */
static void place(const loading *all, const wanted_chunk *wanted, const uint8_t *raw)
{
    const baton_snapshot_manifest *manifest = &all->chain.manifests[wanted->member];
    const baton_chunk_pages *pages = &manifest->pages[wanted->chunk];
    const size_t page_bytes = all->page_bytes;
    for (uint32_t i = 0; i < pages->runs_count; i++) {
        const baton_page_run run = manifest->runs[pages->runs_first + i];
        uint32_t at = 0;
        while (at < run.pages_count) {
            uint32_t n = 0;
            while (at + n < run.pages_count && run.first_page + at + n < all->pages_count &&
                   all->owners[run.first_page + at + n] == wanted->number)
                n++;
            memcpy(all->base + (run.first_page + at) * page_bytes, raw + at * page_bytes,
                   n * page_bytes);
            at += n > 0 ? n : 1;
        }
        raw += run.pages_count * page_bytes;
    }
}

static int take_chunk(loader *self, read_slot *slot)
{
    loading *all = self->all;
    const wanted_chunk *wanted = slot->wanted;
    const baton_snapshot_chunk *chunk = chunk_of(self, wanted);
    int r = wait_for(self, slot);
    if (r == 0 && slot->op.result < 0)
        r = (int)slot->op.result;
    if (r < 0)
        return load_fail(all, r, wanted->member, chunk->offset, NULL);
    if ((uint64_t)slot->op.result != slot->op.bytes)
        return load_fail(all, BATON_E_DAMAGED, wanted->member,
                         chunk->offset + (uint64_t)slot->op.result, "it became shorter");
    if (!baton_chunk_digest_fits(chunk, slot->stored) && !BATON_BREAK(NO_IMAGE_DIGEST))
        return load_fail(all, BATON_E_DAMAGED, wanted->member, chunk->offset,
                         "the bytes of a chunk do not fit its digest");
    const bool lz4 = chunk->codec == BATON_CODEC_LZ4;
    if (lz4 && !baton_chunk_decompress(chunk, slot->stored, self->raw))
        return load_fail(all, BATON_E_DAMAGED, wanted->member, chunk->offset,
                         "a chunk does not decompress to its raw size");
    place(all, wanted, lz4 ? self->raw : slot->stored);
    return 0;
}

static void *loader_main(void *context)
{
    loader *self = context;
    loading *all = self->all;
    int r = loader_open(self);
    while (r == 0 && !atomic_load(&all->stop)) {
        r = ask_ahead(self);
        if (r < 0 || self->claimed == self->placed)
            break;
        read_slot *slot = &self->slots[self->placed % READS_AHEAD];
        r = take_chunk(self, slot);
        if (r < 0)
            break;
        self->placed++;
        const uint64_t done = slot->op.bytes + atomic_fetch_add(&all->bytes_done, slot->op.bytes);
        if (self->tells && all->options->progress != NULL)
            all->options->progress(all->options->progress_context, done, all->bytes_all);
    }
    loader_close(self);
    return NULL;
}

/* ---- all of it ---- */

static int check_fits(const loading *all, const baton_snapshot_image *image, const char *path,
                      baton_error *error)
{
    const char *why = NULL;
    if (image->address != (uint64_t)(uintptr_t)all->options->base)
        why = "it was taken at another address than the region has here";
    else if (!baton_digest_equal(image->layout, all->options->layout))
        why = "this build lays its state out in another way";
    else if (image->page_bytes != baton_page_bytes())
        why = "this machine has pages of another size";
    else if (image->region_bytes > all->options->bytes_max)
        why = "it is larger than the region is here";
    if (why == NULL)
        return 0;
    baton_error_set(error, BATON_E_SCHEMA, WHAT, why, "use a snapshot in the portable form");
    baton_error_at(error, path, UINT64_MAX);
    return BATON_E_SCHEMA;
}

static void run_loaders(loading *all)
{
    uint32_t count = all->options->threads > 0 ? all->options->threads : THREADS;
    pthread_t threads[THREADS_MAX];
    loader loaders[THREADS_MAX];
    uint32_t started = 0;
    count = count > THREADS_MAX ? THREADS_MAX : count;
    for (uint32_t i = 0; i < count; i++)
        loaders[i] = (loader){.all = all, .tells = i == 0};
    while (started + 1 < count &&
           pthread_create(&threads[started], NULL, loader_main, &loaders[started + 1]) == 0)
        started++; /* those that do not start are done without */
    loader_main(&loaders[0]);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (all->options->progress != NULL && !atomic_load(&all->stop))
        all->options->progress(all->options->progress_context, all->bytes_all, all->bytes_all);
}

static int open_chain(loading *all, const baton_snapshot_listed *listed, baton_error *error)
{
    baton_io *io = NULL;
    baton_io_options options = all->options->io;
    options.ops_max = 1;
    options.region_bytes = 0;
    int r = baton_io_open(&options, &io, error);
    if (r == 0)
        r = baton_snapshot_chain_open(io, all->options->directory, listed, &all->chain, error);
    baton_io_close(io);
    return r;
}

int baton_image_load(const baton_image_load_options *options, const baton_snapshot_listed *listed,
                     uint64_t *ret_region_bytes, baton_error *error)
{
    loading all = {.options = options, .base = options->base};
    int r = open_chain(&all, listed, error);
    if (r < 0)
        return r;
    const baton_snapshot_image *image = &all.chain.manifests[all.chain.count - 1].image;
    pthread_mutex_init(&all.lock, NULL);
    r = check_fits(&all, image, listed->manifest_path, error);
    if (r == 0) {
        all.page_bytes = image->page_bytes;
        all.pages_count = (uint32_t)(image->region_bytes / image->page_bytes);
        r = make_list(&all);
        if (r == 0)
            run_loaders(&all);
        r = all.error.status;
        if (r < 0 && error != NULL)
            *error = all.error;
    }
    if (r == 0)
        *ret_region_bytes = image->region_bytes;
    pthread_mutex_destroy(&all.lock);
    free(all.owners);
    free(all.wanted);
    baton_snapshot_chain_close(&all.chain);
    return r;
}
