/* snapshot/image_round.c: passes over the region: which pages, into which chunks, and when another
 * pass is no use. */
#include <string.h>

#include "base/assert.h"
#include "snapshot/image_private.h"

/* Locks that a fault of the service wants are held meanwhile: asking about 32 MiB takes about 30 us,
 * protecting 1 MiB 26 us (measured; all of 4 GiB at once: 3 to 4 ms, and 40 to 110 ms). */
#define SLICE_BYTES (32u << 20)
/* Protected at once: small enough to split huge pages, which would be written as a whole for every
 * byte that changes in them, and never settle. */
#define ARM_BYTES BATON_IMAGE_CHUNK_BYTES

#define ROUNDS_MAX (BATON_IMAGE_ROUNDS_MAX - 1) /* one more is the last */

static uint32_t pages_of(const baton_image_source *source, uint64_t bytes)
{
    return (uint32_t)((bytes + source->page_bytes - 1) / source->page_bytes);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void image_round_begin(baton_image *image, image_round_kind kind, uint64_t bytes_in_use)
{
    image_round *round = &image->round;
    round->kind = kind;
    round->at_page = 0;
    round->end_page = pages_of(image->source, bytes_in_use);
    round->runs_at = 0;
    round->runs_count = 0;
    round->pages_count = 0;
    round->scan_ns = 0;
    round->copy_ns = 0;
    if (kind == ROUND_LAST)
        image_share_begin(image, round->end_page);
}

/* Runs of the next slice; none: nothing was written there. */
static int next_slice(baton_image *image)
{
    baton_image_source *source = image->source;
    image_round *round = &image->round;
    const uint64_t begun_ns = image_now_ns(image);
    int r = 0;
    round->runs_at = 0;
    round->runs_count = 0;
    if (round->kind == ROUND_LAST) {
        r = image_share_next(image);
    } else if (source->tracker == NULL || round->kind == ROUND_ALL ||
               round->at_page >= source->armed_end) {
        /* Watched first, copied after: what is written in between is found by the next round. */
        const uint32_t count =
            smaller(ARM_BYTES / source->page_bytes, round->end_page - round->at_page);
        if (source->tracker != NULL)
            r = source->ops->arm(source->tracker, round->at_page, count);
        if (r < 0)
            return r;
        round->runs[0] = (baton_page_run){round->at_page, count};
        round->runs_count = 1;
        round->at_page += count;
        if (round->at_page > source->armed_end)
            source->armed_end = round->at_page;
    } else {
        uint32_t end = smaller(round->at_page + SLICE_BYTES / source->page_bytes, round->end_page);
        end = smaller(end, source->armed_end);
        r = source->ops->collect(source->tracker, round->at_page, end, round->runs,
                                 IMAGE_SLICE_RUNS, &round->runs_count, &round->at_page);
    }
    round->scan_ns += image_now_ns(image) - begun_ns;
    return r;
}

int image_round_fill(baton_image *image, baton_image_slot *slot)
{
    const baton_image_source *source = image->source;
    image_round *round = &image->round;
    const uint32_t room = BATON_IMAGE_CHUNK_BYTES / source->page_bytes;
    baton_image_slot_clear(slot);
    while (slot->pages_count < room) {
        if (round->runs_at == round->runs_count) {
            if (round->at_page == round->end_page)
                break;
            int r = next_slice(image);
            if (r < 0)
                return r;
            continue;
        }
        const uint64_t begun_ns = image_now_ns(image);
        while (slot->pages_count < room && round->runs_at < round->runs_count) {
            baton_page_run *run = &round->runs[round->runs_at];
            const uint32_t n =
                baton_image_slot_gather(slot, source->base, source->page_bytes, *run);
            run->first_page += n;
            run->pages_count -= n;
            if (run->pages_count == 0)
                round->runs_at++;
        }
        round->copy_ns += image_now_ns(image) - begun_ns;
    }
    round->pages_count += slot->pages_count;
    return 0;
}

void image_round_end(baton_image *image)
{
    baton_image_result *result = &image->result;
    baton_assert(result->rounds < BATON_IMAGE_ROUNDS_MAX);
    result->round_pages[result->rounds++] = (uint32_t)image->round.pages_count;
    result->pages += image->round.pages_count;
    result->copy_ns += image->round.copy_ns;
}

bool image_round_is_settled(const baton_image *image)
{
    const baton_image_result *result = &image->result;
    const image_round *round = &image->round;
    const uint32_t rounds = result->rounds;
    const uint64_t staging_pages =
        (uint64_t)image_queue_slots(image) * (BATON_IMAGE_CHUNK_BYTES / image->source->page_bytes);
    if (rounds >= ROUNDS_MAX)
        return true;
    if (round->kind == ROUND_ALL)
        return false;
    /* No longer shrinking: the service writes as fast as the disk does. */
    const uint32_t since = rounds - image->settled_from;
    const bool shrank =
        since < 3 || round->pages_count < (uint64_t)result->round_pages[rounds - 2] / 10 * 9;
    const bool shrank_before = since < 4 || result->round_pages[rounds - 2] <
                                                (uint64_t)result->round_pages[rounds - 3] / 10 * 9;
    if (!shrank && !shrank_before)
        return true;
    /* The scan costs what it costs; it must not keep the rest from being small. (Twice what it costs
     * in the pause, which protects nothing.) */
    const uint64_t scan_ns =
        round->scan_ns < image->pause_ns_max / 2 ? round->scan_ns : image->pause_ns_max / 2;
    return round->pages_count <= staging_pages && scan_ns + round->copy_ns <= image->pause_ns_max;
}

int image_copy_all(baton_image *image, uint64_t bytes_in_use)
{
    baton_image_pipe *pipe = &image->pipe;
    image->pipe_options.slots_count = BATON_IMAGE_SLOTS_MIN; /* nothing waits in them */
    int r = baton_image_pipe_open(pipe, &image->pipe_options, &image->error);
    if (r < 0)
        return r;
    image_round_begin(image, ROUND_ALL, bytes_in_use);
    for (uint32_t i = 0; r == 0; i++) {
        baton_image_slot *slot = &pipe->slots[i % pipe->slots_count];
        r = baton_image_pipe_wait_slot(pipe, slot);
        if (r == 0)
            r = image_round_fill(image, slot);
        if (r == 0 && slot->pages_count == 0)
            break;
        if (r == 0)
            r = baton_image_pipe_commit(pipe, slot, 0, image->source->page_bytes);
    }
    image_round_end(image);
    if (r == 0)
        r = baton_image_pipe_flush(pipe);
    if (r < 0 && pipe->failed == 0) /* not the disk: the tracker */
        return baton_error_set(&image->error, r, "take an image", "asking for written pages failed",
                               "nothing: the service goes on, and the next one is a full one");
    return r == 0 ? 0 : baton_image_pipe_error(pipe, &image->error);
}
