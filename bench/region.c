/* bench/region.c: see region.h. */
#include "bench/region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define REGION_AT     ((void *)UINT64_C(0x550000000000))
#define SEED          UINT64_C(20261121)
#define NAP_NS        50000
#define BEHIND_NS_MAX UINT64_C(10000000)

uint64_t region_random(snap_region *region)
{
    region->random ^= region->random << 13;
    region->random ^= region->random >> 7;
    region->random ^= region->random << 17;
    return region->random;
}

void region_watch(snap_region *region)
{
    baton_error error;
    const baton_image_source_options options = {
        .base = region->base, .bytes_max = region->bytes, .full_every = UINT32_MAX};
    int r = baton_image_source_open(&options, &region->source, &error);
    if (r < 0)
        snap_die("watch the region", r, &error);
}

void region_open(const snap_run *run, const char *name, snap_region *ret_region)
{
    baton_error error;
    snap_region *region = ret_region;
    *region = (snap_region){.bytes = run->bytes,
                            .pages = (uint32_t)(run->bytes / REGION_PAGE_BYTES),
                            .random = SEED,
                            .choice = run->io};
    snprintf(region->directory, sizeof(region->directory), "%s/%s", run->options->directory, name);
    region->base = mmap(REGION_AT, region->bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (region->base != REGION_AT)
        snap_die("map the region", 0, NULL);
    for (uint64_t i = 0; i < region->bytes; i += sizeof(uint64_t)) {
        const uint64_t value = region_random(region);
        memcpy(region->base + i, &value, sizeof(value));
    }
    if (mkdir(region->directory, 0750) < 0 && errno != EEXIST)
        snap_die(region->directory, 0, NULL);
    int r = baton_io_open(&(baton_io_options){.choice = run->io}, &region->io, &error);
    if (r < 0)
        snap_die("open the I/O of publishing", r, &error);
    region_watch(region);
}

void region_forget(snap_region *region)
{
    baton_image_source_close(region->source);
    region->source = NULL;
    madvise(region->base, region->bytes, MADV_DONTNEED);
}

void region_close(snap_region *region)
{
    baton_image_source_close(region->source);
    baton_io_close(region->io);
    munmap(region->base, region->bytes);
    bench_remove_tree(region->directory);
    *region = (snap_region){0};
}

/* ---- one image ---- */

void region_begin(snap_region *region, bool full, baton_image_choice choice,
                  region_taking *ret_taking)
{
    baton_error error;
    *ret_taking = (region_taking){.region = region};
    const baton_image_options options = {.directory = region->directory,
                                         .seq = ++region->seq,
                                         .epoch = 1,
                                         .full = full,
                                         .choice = choice,
                                         .compress = BATON_COMPRESS_RAW,
                                         .io = {.choice = region->choice}};
    int r = baton_image_begin(region->source, &options, region->bytes, &ret_taking->image, &error);
    if (r < 0)
        snap_die("begin an image", r, &error);
}

static void publish(region_taking *taking)
{
    snap_region *region = taking->region;
    baton_error error;
    int r = 0;
    if (taking->publisher == NULL) {
        taking->result = *baton_image_result_of(taking->image);
        taking->info = (baton_snapshot_info){
            .service = "bench", .version = "1", .seq = region->seq, .epoch = 1};
        r = baton_image_publish_begin(taking->image, region->io, &taking->info, &taking->publisher,
                                      &error);
    }
    if (r == 0)
        r = baton_snapshot_publish_step(taking->publisher, true, &error);
    if (r == BATON_E_AGAIN)
        return;
    if (r < 0)
        snap_die("publish an image", r, &error);
    baton_snapshot_publish_end(taking->publisher);
    baton_image_source_published(region->source, taking->info.root);
    baton_image_end(taking->image);
    taking->image = NULL;
}

bool region_step(region_taking *taking)
{
    baton_error error;
    const uint64_t bytes = taking->region->bytes;
    if (taking->image == NULL)
        return true;
    if (taking->publisher != NULL) {
        publish(taking);
        return taking->image == NULL;
    }
    switch (baton_image_poll(taking->image, bytes)) {
    case BATON_IMAGE_READY: {
        taking->ready = true;
        if (taking->hold)
            taking->ready_pages = baton_image_result_of(taking->image)->pages;
        int r = taking->hold ? 0 : baton_image_finish(taking->image, bytes, &error);
        if (r < 0 && r != BATON_E_AGAIN)
            snap_die("finish an image", r, &error);
        break;
    }
    case BATON_IMAGE_FAILED:
        snap_die("take an image", baton_image_error(taking->image)->status,
                 baton_image_error(taking->image));
    case BATON_IMAGE_DONE:
        publish(taking);
        return taking->image == NULL;
    case BATON_IMAGE_COPYING:
    case BATON_IMAGE_WRITING:
        break;
    }
    return false;
}

void region_finish(region_taking *taking)
{
    while (!region_step(taking)) {
        /* The service is idle: the writer has the machine. */
        if (taking->publisher != NULL) {
            const int waited = baton_io_wait(taking->region->io, UINT64_MAX);
            (void)waited; /* what the next step finds */
            continue;
        }
        const struct timespec moment = {.tv_nsec = NAP_NS};
        nanosleep(&moment, NULL);
    }
}

baton_image_result region_take(snap_region *region, bool full)
{
    region_taking taking;
    region_begin(region, full, BATON_IMAGE_AUTO, &taking);
    region_finish(&taking);
    return taking.result;
}

void region_remove_newest(snap_region *region)
{
    int r = baton_snapshot_remove(region->io, region->directory, region->seq, 1);
    if (r < 0)
        snap_die("remove an image", r, NULL);
}

/* ---- the loop ---- */

void region_update(snap_region *region, region_go_on go_on, void *context, baton_histogram *latency)
{
    const uint64_t gap_ns = 1000000000u / REGION_UPDATES_PER_S;
    uint64_t now_ns = (uint64_t)bench_now_ns();
    uint64_t due_ns = now_ns;
    bool going = true;
    while (going) {
        while ((now_ns = (uint64_t)bench_now_ns()) < due_ns)
            continue;
        for (uint32_t i = 0; i < REGION_PAGES_AN_UPDATE; i++)
            region_random_page(region)[64]++;
        going = go_on(context, now_ns);
        if (latency != NULL)
            baton_histogram_record(latency, (uint64_t)bench_now_ns() - due_ns);
        else if (now_ns > due_ns + BEHIND_NS_MAX)
            due_ns = now_ns;
        due_ns += gap_ns;
    }
}
