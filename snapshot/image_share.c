/* snapshot/image_share.c: the pause's work, shared by two threads.
 *
 *   page 0 ...  the service, upwards  -> front |   | claimed <-  the writer's thread ...  end
 *
 * Each takes slices from its end until they meet, so whoever is quicker does more, and the pages
 * still ascend: the service's chunks first, then the writer's, the last filled first. Nothing is
 * protected again (see baton_tracker_ops.peek), so a slice may be done twice: the writer is niced,
 * and what it has claimed but not handed over when the service gets there is waited for but a
 * moment; then the service does that too, and the writer's slot in hand is void. So the pause never
 * depends on when the writer runs, and what fails there fails here. */
#include <sched.h>

#include "base/assert.h"
#include "snapshot/image_private.h"

#define SLICE_PAGES 2048u /* asked about at once: about 5 us */
#define PATIENCE_NS UINT64_C(100000)

static_assert(SLICE_PAGES <= IMAGE_SLICE_RUNS, "the runs of a slice always fit");

void image_share_begin(baton_image *image, uint32_t end_page)
{
    image_share *share = &image->share;
    share->wanted = image->threaded;
    share->closed = false;
    share->front = 0;
    share->claimed = end_page;
    share->gathered = end_page;
    share->pages_count = 0;
    share->slots_count = 0;
    share->next_slot = image->pipe.slots_count;
}

/* Pages that were never watched count as written. Ends early as peek() does. */
static int peek(const baton_image *image, uint32_t first_page, uint32_t end_page,
                baton_page_run *ret_runs, uint32_t *ret_runs_count, uint32_t *ret_next_page)
{
    const baton_image_source *source = image->source;
    if (first_page >= source->armed_end) {
        *ret_runs = (baton_page_run){first_page, end_page - first_page};
        *ret_runs_count = 1;
        *ret_next_page = end_page;
        return 0;
    }
    if (end_page > source->armed_end)
        end_page = source->armed_end;
    return source->ops->peek(source->tracker, first_page, end_page, ret_runs, SLICE_PAGES,
                             ret_runs_count, ret_next_page);
}

/* ---- the service's side ---- */

/* Under the lock, which is let go in between. */
static void meet(baton_image *image)
{
    image_share *share = &image->share;
    const uint64_t until_ns = image_now_ns(image) + PATIENCE_NS;
    while (share->gathered != share->claimed && image_now_ns(image) < until_ns) {
        pthread_mutex_unlock(&image->lock);
        sched_yield();
        pthread_mutex_lock(&image->lock);
    }
    share->closed = true;
    share->claimed = share->gathered;
}

int image_share_next(baton_image *image)
{
    image_share *share = &image->share;
    image_round *round = &image->round;
    pthread_mutex_lock(&image->lock);
    if (round->at_page == share->claimed)
        meet(image);
    const uint32_t left = share->claimed - round->at_page;
    const uint32_t end = round->at_page + (left < SLICE_PAGES ? left : SLICE_PAGES);
    share->front = end;
    pthread_mutex_unlock(&image->lock);
    if (left == 0) {
        round->end_page = round->at_page; /* the rest is the writer's, and done */
        return 0;
    }
    return peek(image, round->at_page, end, round->runs, &round->runs_count, &round->at_page);
}

uint64_t image_share_end(baton_image *image)
{
    pthread_mutex_lock(&image->lock);
    image->share.closed = true;
    const uint64_t pages_count = image->share.pages_count;
    pthread_mutex_unlock(&image->lock);
    return pages_count;
}

/* ---- the writer's side ---- */

/* The highest slice that is nobody's; false: none, or there are other things to do. */
static bool claim(baton_image *image, uint32_t *ret_first_page, uint32_t *ret_end_page)
{
    image_share *share = &image->share;
    pthread_mutex_lock(&image->lock);
    const uint32_t left = share->claimed - share->front;
    const bool may = !share->closed && !image->cancelled && left > 0 &&
                     image->queue_filled - image->queue_free < image_queue_slots(image);
    if (may) {
        *ret_end_page = share->claimed;
        share->claimed -= left < SLICE_PAGES ? left : SLICE_PAGES;
        *ret_first_page = share->claimed;
    }
    pthread_mutex_unlock(&image->lock);
    return may;
}

/* Everything from low_page on is in it, or in those before. False: too late. */
static bool hand_over(baton_image *image, baton_image_slot *slot, uint32_t low_page)
{
    image_share *share = &image->share;
    pthread_mutex_lock(&image->lock);
    const bool in_time = !share->closed;
    if (in_time) {
        share->gathered = low_page;
        if (slot != NULL && slot->pages_count > 0) {
            share->slots[share->slots_count++] = slot;
            share->pages_count += slot->pages_count;
        }
    }
    pthread_mutex_unlock(&image->lock);
    return in_time;
}

/* Above the queue's; those that the rounds before still write are left out. */
static baton_image_slot *take_slot(baton_image *image)
{
    image_share *share = &image->share;
    baton_image_pipe_reap(&image->pipe);
    while (share->next_slot > image_queue_slots(image)) {
        baton_image_slot *slot = &image->pipe.slots[--share->next_slot];
        if (slot->op.in_flight)
            continue;
        baton_image_slot_clear(slot);
        return slot;
    }
    return NULL;
}

static int peek_slice(baton_image *image, uint32_t first_page, uint32_t end_page)
{
    image_share *share = &image->share;
    uint32_t at_page = first_page;
    share->runs_count = 0;
    while (at_page < end_page) {
        uint32_t count;
        baton_assert(share->runs_count + (end_page - at_page) <= 2 * SLICE_PAGES);
        int r = peek(image, at_page, end_page, share->runs + share->runs_count, &count, &at_page);
        if (r < 0)
            return r;
        share->runs_count += count;
    }
    return 0;
}

/* The slice's pages, downwards, into *slot and those after it; *low_page follows. False: out of
 * slots, or too late. */
static bool gather_slice(baton_image *image, baton_image_slot **slot, uint32_t *low_page)
{
    const uint32_t page_bytes = image->source->page_bytes;
    image_share *share = &image->share;
    while (share->runs_count > 0) {
        baton_page_run *run = &share->runs[share->runs_count - 1];
        if (*slot == NULL)
            *slot = take_slot(image);
        if (*slot == NULL)
            return false;
        const uint32_t n =
            baton_image_slot_gather_back(*slot, image->source->base, page_bytes, *run);
        run->pages_count -= n;
        if (n > 0)
            *low_page = run->first_page + run->pages_count;
        if (run->pages_count == 0)
            share->runs_count--;
        if ((*slot)->pages_count < BATON_IMAGE_CHUNK_BYTES / page_bytes)
            continue;
        if (!hand_over(image, *slot, *low_page))
            return false;
        *slot = NULL;
    }
    return true;
}

void image_share_help(baton_image *image)
{
    image_share *share = &image->share;
    baton_image_slot *slot = NULL;
    uint32_t first_page = 0;
    uint32_t end_page = 0;
    uint32_t low_page = share->gathered;
    bool more = true;
    while (more && claim(image, &first_page, &end_page)) {
        more =
            peek_slice(image, first_page, end_page) == 0 && gather_slice(image, &slot, &low_page);
        low_page = more ? first_page : low_page;
    }
    (void)hand_over(image, slot, low_page);
    pthread_mutex_lock(&image->lock);
    if (!share->closed)
        share->claimed = share->gathered; /* what it could not do is the service's */
    pthread_mutex_unlock(&image->lock);
}

baton_image_slot *image_share_slot(baton_image *image)
{
    image_share *share = &image->share;
    if (share->slots_count == 0)
        return NULL;
    baton_image_slot *slot = share->slots[--share->slots_count];
    baton_image_slot_turn(slot, image->source->page_bytes);
    return slot;
}
