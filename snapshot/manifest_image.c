/* snapshot/manifest_image.c: what an image's manifest must fulfil beyond what every form does. */
#include <string.h>

#include "snapshot/manifest.h"

static bool taken_by_is_known(const char *taken_by)
{
    return strcmp(taken_by, "live") == 0 || strcmp(taken_by, "fork") == 0 ||
           strcmp(taken_by, "stop") == 0;
}

static const char *region_fault(const baton_snapshot_image *image)
{
    const uint64_t page_bytes = image->page_bytes;
    if (page_bytes < BATON_IMAGE_PAGE_BYTES_MIN || page_bytes > BATON_IMAGE_PAGE_BYTES_MAX ||
        (page_bytes & (page_bytes - 1)) != 0)
        return "the page size is out of range";
    if (image->region_bytes == 0 || image->region_bytes > BATON_IMAGE_REGION_BYTES_MAX ||
        image->region_bytes % page_bytes != 0)
        return "the region's size is out of range";
    if (image->address == 0 || image->address % page_bytes != 0 ||
        image->address > UINT64_MAX - image->region_bytes)
        return "the region's address is out of range";
    if (image->rounds == 0 || image->rounds > BATON_IMAGE_ROUNDS_MAX)
        return "the number of rounds is out of range";
    return NULL;
}

/* Within a round pages only ascend, so that of two copies of a page the one in the later round is
 * the later one. */
static const char *pages_fault(const baton_snapshot_manifest *manifest)
{
    const uint64_t pages_max = manifest->image.region_bytes / manifest->image.page_bytes;
    uint64_t next_page = 0;
    uint32_t round = 0;
    for (uint32_t i = 0; i < manifest->info.chunks_count; i++) {
        const baton_chunk_pages *pages = &manifest->pages[i];
        if (pages->round < round || pages->round >= manifest->image.rounds)
            return "the rounds do not follow one another";
        if (pages->round > round)
            next_page = 0;
        round = pages->round;
        if (pages->runs_count == 0)
            return "a chunk without pages";
        for (uint32_t j = 0; j < pages->runs_count; j++) {
            const baton_page_run *run = &manifest->runs[pages->runs_first + j];
            if (run->pages_count == 0 || run->first_page < next_page ||
                (uint64_t)run->first_page + run->pages_count > pages_max)
                return "runs of pages that do not ascend, or leave the region";
            next_page = (uint64_t)run->first_page + run->pages_count;
        }
    }
    return NULL;
}

const char *baton_image_fault(const baton_snapshot_manifest *manifest)
{
    const baton_snapshot_image *image = &manifest->image;
    const char *fault = region_fault(image);
    if (fault != NULL)
        return fault;
    if (manifest->info.sections_count != 0)
        return "an image with sections";
    if (manifest->chunk_bytes % image->page_bytes != 0)
        return "the chunk size is no multiple of the page size";
    if (manifest->pages_count != manifest->info.chunks_count)
        return "there are not as many lists of pages as chunks";
    if (!baton_manifest_text_valid(image->taken_by, sizeof(image->taken_by)) ||
        !taken_by_is_known(image->taken_by) ||
        !baton_manifest_text_valid(image->taken_why, sizeof(image->taken_why)))
        return "how it was taken is not a valid text";
    uint64_t raw_bytes = 0;
    for (uint64_t i = 0; i < manifest->runs_count; i++)
        raw_bytes += (uint64_t)manifest->runs[i].pages_count * image->page_bytes;
    if (raw_bytes != manifest->info.raw_bytes)
        return "the pages do not add up to the raw bytes";
    return pages_fault(manifest);
}
