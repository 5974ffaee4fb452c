/* snapshot/image.c: the life of a source and of an image; which way it is taken; publishing it. */
#include "snapshot/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "snapshot/image_private.h"
#include "snapshot/writer.h"

static const baton_digest no_root; /* zeros: stands for none */

#define FULL_EVERY   8u
#define PAUSE_NS_MAX UINT64_C(5000000)

/* ---- source ---- */

static bool source_is_valid(const baton_image_source_options *options, uint32_t page_bytes)
{
    return options->base != NULL && (uintptr_t)options->base % page_bytes == 0 &&
           options->bytes_max > 0 && options->bytes_max % page_bytes == 0 &&
           options->bytes_max <= BATON_IMAGE_REGION_BYTES_MAX;
}

int baton_image_source_open(const baton_image_source_options *options,
                            baton_image_source **ret_source, baton_error *error)
{
    const uint32_t page_bytes = baton_page_bytes();
    if (!source_is_valid(options, page_bytes))
        return baton_error_set(error, BATON_E_INVALID, "watch a region for images",
                               "its address or size is no multiple of a page, or too large",
                               "use a region of whole pages");
    baton_image_source *source = calloc(1, sizeof(*source));
    if (source == NULL)
        return baton_error_set(error, -ENOMEM, "watch a region for images", NULL, "free memory");
    *source = (baton_image_source){
        .base = options->base,
        .bytes_max = options->bytes_max,
        .page_bytes = page_bytes,
        .layout = options->layout,
        .full_every = options->full_every > 0 ? options->full_every : FULL_EVERY,
        .ops = options->tracker != NULL ? options->tracker : baton_tracker_kernel(),
    };
    if (source->ops->open(options->tracker_context, options->base, options->bytes_max,
                          &source->tracker, &source->why_not_live) < 0)
        source->tracker = NULL;
    *ret_source = source;
    return 0;
}

void baton_image_source_close(baton_image_source *source)
{
    if (source == NULL)
        return;
    baton_assert(!source->running);
    if (source->tracker != NULL)
        source->ops->close(source->tracker);
    free(source->staging);
    free(source);
}

const char *baton_image_source_why_not_live(const baton_image_source *source)
{
    return source->why_not_live.why;
}

void baton_image_source_published(baton_image_source *source, baton_digest root)
{
    source->parent = root;
    source->since_full = source->last_full ? 0 : source->since_full + 1;
}

/* ---- begin ---- */

static void choose(baton_image *image, const baton_image_options *options)
{
    const baton_image_source *source = image->source;
    baton_image_result *result = &image->result;
    const bool tracked = source->tracker != NULL;
    switch (options->choice) {
    case BATON_IMAGE_AUTO:
    case BATON_IMAGE_LIVE:
        result->by = tracked ? BATON_IMAGE_BY_LIVE : BATON_IMAGE_BY_FORK;
        if (!tracked)
            snprintf(result->why, sizeof(result->why), "%.*s", (int)sizeof(result->why) - 1,
                     source->why_not_live.why);
        break;
    case BATON_IMAGE_FORK:
        result->by = BATON_IMAGE_BY_FORK;
        snprintf(result->why, sizeof(result->why), "asked for");
        break;
    case BATON_IMAGE_STOP:
        result->by = BATON_IMAGE_BY_STOP;
        snprintf(result->why, sizeof(result->why), "asked for");
        break;
    }
    result->full = result->by != BATON_IMAGE_BY_LIVE || options->full ||
                   baton_digest_is_zero(source->parent) ||
                   source->since_full + 1 >= source->full_every;
}

/* A small region needs no more than it has, in the pause and before it. */
static uint32_t slots_for(const baton_image_source *source)
{
    const uint64_t chunks = 2 * (source->bytes_max / BATON_IMAGE_CHUNK_BYTES + 1);
    if (chunks < BATON_IMAGE_SLOTS_MIN)
        return BATON_IMAGE_SLOTS_MIN;
    return chunks < BATON_IMAGE_SLOTS_MAX ? (uint32_t)chunks : BATON_IMAGE_SLOTS_MAX;
}

static int make_texts(baton_image *image, const baton_image_options *options)
{
    int n = snprintf(image->directory, sizeof(image->directory), "%s", options->directory);
    if (n < 0 || (size_t)n >= sizeof(image->directory))
        return BATON_E_INVALID;
    image->pipe_options = (baton_image_pipe_options){.directory = image->directory,
                                                     .path = image->path,
                                                     .slots_count = slots_for(image->source),
                                                     .io = options->io,
                                                     .compress = options->compress};
    return baton_snapshot_path(image->path, options->directory, options->seq, options->epoch,
                               BATON_NAME_CHUNKS_PARTIAL);
}

static bool bytes_are_valid(const baton_image *image, uint64_t bytes_in_use)
{
    return bytes_in_use > 0 && bytes_in_use <= image->source->bytes_max &&
           bytes_in_use >= image->bytes_in_use;
}

int baton_image_begin(baton_image_source *source, const baton_image_options *options,
                      uint64_t bytes_in_use, baton_image **ret_image, baton_error *error)
{
    baton_image *image = calloc(1, sizeof(*image));
    if (image == NULL)
        return baton_error_set(error, -ENOMEM, "take an image", NULL, "free memory");
    image->source = source;
    image->clock = options->io.clock != NULL ? options->io.clock : baton_clock_system();
    image->begun_ns = image_now_ns(image);
    image->pause_ns_max = options->pause_ns_max > 0 ? options->pause_ns_max : PAUSE_NS_MAX;
    image->pipe.file = BATON_IO_NO_FILE;
    if (options->form_why != NULL)
        snprintf(image->form_why, sizeof(image->form_why), "%s", options->form_why);
    pthread_mutex_init(&image->lock, NULL);
    pthread_cond_init(&image->changed, NULL);
    choose(image, options);
    int r = source->running || !bytes_are_valid(image, bytes_in_use) ? BATON_E_INVALID
                                                                     : make_texts(image, options);
    image->bytes_in_use = bytes_in_use;
    const bool was_running = source->running;
    source->running = true;
    image->state = BATON_IMAGE_READY; /* the fallbacks have nothing to do before the boundary */
    if (r == 0 && image->result.by == BATON_IMAGE_BY_LIVE) {
        r = image_live_begin(image, !options->no_thread);
        if (r == 0) /* pages are forgotten from here on unless it ends well */
            source->parent = image->result.full ? no_root : source->parent;
    }
    if (r < 0) {
        source->running = was_running;
        pthread_cond_destroy(&image->changed);
        pthread_mutex_destroy(&image->lock);
        free(image);
        return baton_error_set(error, r, "take an image", NULL,
                               "one at a time, of at most the mapped region, in a directory with a "
                               "short enough path");
    }
    *ret_image = image;
    return 0;
}

/* ---- until it is there ---- */

baton_image_state baton_image_poll(baton_image *image, uint64_t bytes_in_use)
{
    if (image->result.by == BATON_IMAGE_BY_LIVE) {
        baton_assert(bytes_are_valid(image, bytes_in_use) || image->region_bytes > 0);
        return image_live_poll(image, bytes_in_use);
    }
    if (image->fork != NULL)
        image->state = image_fork_poll(image);
    return image->state;
}

static void stop_and_copy(baton_image *image, uint64_t bytes_in_use)
{
    int r = image_copy_all(image, bytes_in_use);
    baton_image_pipe_close(&image->pipe, r < 0);
    image->result.residual_pages = (uint32_t)image->result.pages;
    image->result.taken_ns = image_now_ns(image) - image->begun_ns;
    image->state = r < 0 ? BATON_IMAGE_FAILED : BATON_IMAGE_DONE;
}

/* Out of memory for page tables, or of processes: then it is worth a pause. */
static void fork_or_stop(baton_image *image, uint64_t bytes_in_use)
{
    int r = image_fork_finish(image, bytes_in_use);
    if (r == 0) {
        image->state = BATON_IMAGE_WRITING;
        return;
    }
    char why[sizeof(image->result.why)];
    snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, image->result.why);
    snprintf(image->result.why, sizeof(image->result.why), "%.100s; fork: %.60s", why,
             strerror(-r));
    image->result.by = BATON_IMAGE_BY_STOP;
    stop_and_copy(image, bytes_in_use);
}

int baton_image_finish(baton_image *image, uint64_t bytes_in_use, baton_error *error)
{
    const uint64_t begun_ns = image_now_ns(image);
    const bool ready = image->result.by == BATON_IMAGE_BY_LIVE ? image_live_is_ready(image)
                                                               : image->state == BATON_IMAGE_READY;
    if (!ready)
        return BATON_E_AGAIN;
    if (!bytes_are_valid(image, bytes_in_use))
        return baton_error_set(error, BATON_E_INVALID, "take an image",
                               "the region in use became smaller", "only let it grow meanwhile");
    int r = 0;
    image->region_bytes = (bytes_in_use + image->source->page_bytes - 1) /
                          image->source->page_bytes * image->source->page_bytes;
    switch (image->result.by) {
    case BATON_IMAGE_BY_LIVE:
        r = image_live_finish(image, bytes_in_use);
        break;
    case BATON_IMAGE_BY_FORK:
        fork_or_stop(image, bytes_in_use);
        break;
    case BATON_IMAGE_BY_STOP:
        stop_and_copy(image, bytes_in_use);
        break;
    }
    if (image->result.by != BATON_IMAGE_BY_LIVE && image->state == BATON_IMAGE_FAILED)
        r = image->error.status;
    const uint64_t pause_ns = image_now_ns(image) - begun_ns;
    if (pause_ns > image->result.pause_ns)
        image->result.pause_ns = pause_ns;
    if (r < 0 && r != BATON_E_AGAIN && error != NULL)
        *error = image->error;
    return r;
}

const baton_image_result *baton_image_result_of(const baton_image *image)
{
    return &image->result;
}

const baton_error *baton_image_error(const baton_image *image)
{
    return &image->error;
}

/* ---- publishing ---- */

static void describe(const baton_image *image, baton_snapshot_image *ret_image)
{
    static const char *const bys[BATON_IMAGE_BYS] = {
        [BATON_IMAGE_BY_LIVE] = "live",
        [BATON_IMAGE_BY_FORK] = "fork",
        [BATON_IMAGE_BY_STOP] = "stop",
    };
    const baton_image_source *source = image->source;
    *ret_image = (baton_snapshot_image){
        .address = (uint64_t)(uintptr_t)source->base,
        .region_bytes = image->region_bytes,
        .page_bytes = source->page_bytes,
        .rounds = image->result.rounds,
        .layout = source->layout,
        .parent = image->result.full ? no_root : source->parent,
    };
    snprintf(ret_image->taken_by, sizeof(ret_image->taken_by), "%s", bys[image->result.by]);
    memcpy(ret_image->taken_why, image->result.why, sizeof(ret_image->taken_why));
}

/* The manifest as the publisher takes it: a writer without chunks of its own. */
static int make_writer(baton_image *image, baton_snapshot_info *info,
                       baton_snapshot_writer **ret_writer)
{
    baton_snapshot_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return -ENOMEM;
    baton_snapshot_manifest *manifest = &writer->manifest;
    *manifest = image->pipe.manifest;
    image->pipe.manifest = (baton_snapshot_manifest){0};
    describe(image, &manifest->image);
    memcpy(manifest->notes.form_why, image->form_why, sizeof(manifest->notes.form_why));

    memset(info->form, 0, sizeof(info->form));
    memcpy(info->form, BATON_SNAPSHOT_FORM_IMAGE, sizeof(BATON_SNAPSHOT_FORM_IMAGE));
    info->raw_bytes = manifest->info.raw_bytes;
    info->stored_bytes = manifest->info.stored_bytes;
    info->sections_count = 0;
    info->chunks_count = manifest->info.chunks_count;
    info->parent = manifest->image.parent;
    info->taken_ns = image->result.taken_ns;
    manifest->info = *info;
    writer->error = baton_snapshot_manifest_encode(manifest, &writer->manifest_file,
                                                   &writer->manifest_file_bytes);
    writer->finished = true;
    info->root = manifest->info.root;
    int r = writer->error;
    if (r < 0)
        baton_snapshot_writer_destroy(writer);
    else
        *ret_writer = writer;
    return r;
}

int baton_image_publish_begin(baton_image *image, baton_io *io, baton_snapshot_info *info,
                              baton_snapshot_publisher **ret_publisher, baton_error *error)
{
    baton_snapshot_writer *writer = NULL;
    baton_assert(!image->handed_over && image->state == BATON_IMAGE_DONE);
    int r = make_writer(image, info, &writer);
    if (r < 0)
        return baton_error_set(error, r, "make an image's manifest", NULL,
                               r == BATON_E_TOO_LARGE ? "take a full one" : NULL);
    r = baton_snapshot_publish_begin_at(io, image->directory, writer, info, image->path,
                                        ret_publisher, error);
    image->handed_over = r == 0;
    image->source->last_full = image->result.full;
    image->source->parent = no_root; /* until it is published */
    return r;
}

/* ---- end ---- */

/* The file of an image that is complete, but not handed over. */
static void remove_file(const baton_image *image)
{
    baton_io *io = NULL;
    baton_io_options options = image->pipe_options.io;
    options.ops_max = 1;
    options.region_bytes = 0;
    if (baton_io_open(&options, &io, NULL) < 0)
        return; /* a leftover for prune */
    int r = baton_io_unlink(io, image->path);
    (void)r;
    baton_io_close(io);
}

void baton_image_end(baton_image *image)
{
    if (image == NULL)
        return;
    if (image->result.by == BATON_IMAGE_BY_LIVE)
        image_live_end(image);
    image_fork_end(image);
    if (!image->handed_over) {
        if (!BATON_BREAK(STALE_PARENT))
            image->source->parent = no_root; /* what it collected is forgotten */
        if (image->state == BATON_IMAGE_DONE || image->result.by == BATON_IMAGE_BY_FORK)
            remove_file(image);
    }
    image->source->running = false;
    baton_image_pipe_fini(&image->pipe);
    pthread_cond_destroy(&image->changed);
    pthread_mutex_destroy(&image->lock);
    free(image);
}
