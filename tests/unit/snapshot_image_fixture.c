/* tests/unit/snapshot_image_fixture.c: see snapshot_image_fixture.h. */
#include "tests/unit/snapshot_image_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LAYOUT "layout of the tests"

static uint64_t next_random(image_region *region)
{
    region->random ^= region->random << 13;
    region->random ^= region->random >> 7;
    region->random ^= region->random << 17;
    return region->random;
}

/* ---- the region ---- */

static void map(image_region *region)
{
    const int shared = region->memory >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void *at = mmap(REGION_AT, region->bytes, PROT_READ | PROT_WRITE,
                    shared | MAP_FIXED_NOREPLACE | MAP_NORESERVE, region->memory, 0);
    if (at != REGION_AT)
        fail_msg("the region's address is not free: %s", strerror(errno));
    region->base = at;
}

void image_region_make(image_region *region, uint64_t bytes, image_backing backing, uint64_t seed)
{
    *region = (image_region){.bytes = bytes, .page_bytes = baton_page_bytes(), .memory = -1};
    region->pages = (uint32_t)(bytes / region->page_bytes);
    region->random = seed | 1;
    print_message("seed %" PRIu64 "\n", seed);
    if (backing == REGION_MEMFD) {
        region->memory = memfd_create("region", MFD_CLOEXEC);
        assert_true(region->memory >= 0);
        assert_int_equal(ftruncate(region->memory, (off_t)bytes), 0);
    }
    region->written = calloc(region->pages, sizeof(*region->written));
    assert_non_null(region->written);
    map(region);
    if (backing == REGION_HUGE)
        madvise(region->base, bytes, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        const uint64_t value = i % 64 == 0 ? next_random(region) : i;
        memcpy(region->base + i, &value, sizeof(value));
    }
}

void image_region_wipe(image_region *region)
{
    memset(region->base, 0xee, region->bytes);
}

void image_region_free(image_region *region)
{
    munmap(region->base, region->bytes);
    if (region->memory >= 0)
        close(region->memory);
    free(region->written);
}

void image_touch(image_region *region, uint32_t page, uint8_t value)
{
    const uint64_t at =
        (uint64_t)page * region->page_bytes + next_random(region) % region->page_bytes;
    region->base[at] = value;
    region->written[page] = true;
}

void image_scribble(image_region *region, uint32_t pages_count, uint32_t among_pages)
{
    for (uint32_t i = 0; i < pages_count; i++) {
        const uint64_t random = next_random(region);
        image_touch(region, (uint32_t)(random >> 8) % among_pages, (uint8_t)random);
    }
}

uint8_t *image_copy(const image_region *region, uint64_t bytes)
{
    uint8_t *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, region->base, bytes);
    return copy;
}

/* ---- a tracker without a kernel: image_touch tells it ---- */

static int sim_open(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                    baton_error *error)
{
    image_region *region = context;
    assert_ptr_equal(base, region->base);
    assert_int_equal(bytes, region->bytes);
    if (region->refuse)
        return baton_error_set(error, BATON_E_DEVICE, "track pages",
                               "userfaultfd is denied, most likely by seccomp", "allow it");
    *ret_tracker = (baton_tracker *)region;
    return 0;
}

static int sim_arm(baton_tracker *tracker, uint32_t first_page, uint32_t pages_count)
{
    image_region *region = (image_region *)tracker;
    for (uint32_t i = 0; i < pages_count; i++)
        region->written[first_page + i] = false;
    return 0;
}

static int sim_peek(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                    baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                    uint32_t *ret_next_page)
{
    image_region *region = (image_region *)(uintptr_t)tracker;
    uint32_t page = first_page;
    *ret_runs_count = 0;
    if (region->collect_fails_at > 0 && --region->collect_fails_at == 0)
        return -EPERM;
    for (; page < end_page; page++) {
        if (!region->written[page])
            continue;
        baton_page_run *last = *ret_runs_count > 0 ? &ret_runs[*ret_runs_count - 1] : NULL;
        if (last != NULL && last->first_page + last->pages_count == page)
            last->pages_count++;
        else if (*ret_runs_count == runs_max)
            break;
        else
            ret_runs[(*ret_runs_count)++] = (baton_page_run){page, 1};
    }
    *ret_next_page = page;
    return 0;
}

static int sim_collect(baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                       baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                       uint32_t *ret_next_page)
{
    int r =
        sim_peek(tracker, first_page, end_page, ret_runs, runs_max, ret_runs_count, ret_next_page);
    return r < 0 ? r : sim_arm(tracker, first_page, *ret_next_page - first_page);
}

static void sim_close(baton_tracker *tracker)
{
    (void)tracker;
}

const baton_tracker_ops *image_tracker(void)
{
    static const baton_tracker_ops simulated = {sim_open, sim_arm, sim_collect, sim_peek,
                                                sim_close};
    return &simulated;
}

/* ---- taking and loading ---- */

baton_image_source *image_source(image_region *region, const baton_tracker_ops *tracker,
                                 uint32_t full_every)
{
    baton_image_source *source = NULL;
    const baton_image_source_options options = {
        .base = region->base,
        .bytes_max = region->bytes,
        .layout = baton_digest_of(LAYOUT, sizeof(LAYOUT)),
        .full_every = full_every,
        .tracker = tracker,
        .tracker_context = region,
    };
    assert_int_equal(baton_image_source_open(&options, &source, NULL), 0);
    return source;
}

bool image_no_kernel_tracker(image_region *region)
{
    baton_image_source *source = image_source(region, NULL, 0);
    char why[256];
    snprintf(why, sizeof(why), "%s", baton_image_source_why_not_live(source));
    baton_image_source_close(source);
    if (why[0] != '\0')
        print_message("skipped: %s\n", why);
    return why[0] != '\0';
}

baton_image_options image_wish(const char *directory, uint64_t seq)
{
    return (baton_image_options){
        .directory = directory, .seq = seq, .epoch = 1, .compress = BATON_COMPRESS_RAW};
}

void image_poll_until(baton_image *image, uint64_t bytes, baton_image_state state)
{
    baton_image_state now;
    char text[1024];
    while ((now = baton_image_poll(image, bytes)) != state) {
        sched_yield(); /* the writer is niced, and there are few cores */
        if (now == BATON_IMAGE_FAILED)
            fail_msg("%s", baton_error_text(baton_image_error(image), text, sizeof(text)));
        else
            assert_int_not_equal(now, BATON_IMAGE_DONE);
    }
}

void image_publish(baton_io *io, baton_image_source *source, baton_image *image, uint64_t seq)
{
    baton_snapshot_publisher *publisher = NULL;
    baton_snapshot_info info = fixture_info(seq, 1);
    baton_error error = {0};
    char text[1024];
    int r = baton_image_publish_begin(image, io, &info, &publisher, &error);
    while (r == 0 && (r = baton_snapshot_publish_step(publisher, true, &error)) == BATON_E_AGAIN) {
        const int waited = baton_io_wait(io, UINT64_MAX);
        assert_true(waited == 0 || waited == -EINTR || waited == BATON_E_TIMEOUT);
        r = 0;
    }
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    baton_snapshot_publish_end(publisher);
    baton_image_source_published(source, info.root);
    baton_image_end(image);
}

void image_take(baton_io *io, baton_image_source *source, const baton_image_options *options,
                uint64_t bytes, baton_image_result *ret_result)
{
    baton_image *image = NULL;
    assert_int_equal(baton_image_begin(source, options, bytes, &image, NULL), 0);
    image_poll_until(image, bytes, BATON_IMAGE_READY);
    while (baton_image_finish(image, bytes, NULL) == BATON_E_AGAIN)
        image_poll_until(image, bytes, BATON_IMAGE_READY);
    image_poll_until(image, bytes, BATON_IMAGE_DONE);
    if (ret_result != NULL)
        *ret_result = *baton_image_result_of(image);
    image_publish(io, source, image, options->seq);
}

int image_load(const char *directory, const baton_snapshot_listed *listed, image_region *region,
               baton_error *error)
{
    uint64_t bytes = 0;
    const baton_image_load_options options = {
        .directory = directory,
        .base = region->base,
        .bytes_max = region->bytes,
        .layout = baton_digest_of(LAYOUT, sizeof(LAYOUT)),
    };
    return baton_image_load(&options, listed, &bytes, error);
}

void image_check(baton_io *io, const char *directory, uint64_t seq, image_region *region,
                 const uint8_t *wanted, uint64_t bytes)
{
    const baton_snapshot_listed listed = fixture_listed(io, directory, seq);
    baton_error error = {0};
    char text[1024];
    assert_string_equal(listed.info.form, "image");
    image_region_wipe(region);
    if (image_load(directory, &listed, region, &error) != 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    for (uint64_t i = 0; i < bytes; i += region->page_bytes)
        if (memcmp(region->base + i, wanted + i, region->page_bytes) != 0)
            fail_msg("page %" PRIu64 " is not what it was at the boundary", i / region->page_bytes);
    for (uint64_t i = bytes; i < region->bytes; i++)
        if (region->base[i] != 0xee)
            fail_msg("byte %" PRIu64 " after the image was touched", i);
}
