/* snapshot/image_live.c: an image taken while the service runs.
 *
 * The writer's work, each call of it one piece:
 *
 *   OPEN -> ROUND -> (small?) -> PARKED -> LAST -> FLUSH -> ENDED
 *             ^          | no      |
 *             +----------+---------+  parked too long: one more round
 *             ^                            |
 *             +----------------------------+  the pause would wait for the disk: given up, twice
 *   any, on an error or cancel -> ENDED, the file removed
 *
 * PARKED does not wait for the last writes: meanwhile the service would write to more pages.
 *
 * Who may touch what: until PARKED the writer owns round, pipe and result; in PARKED the service
 * does. In LAST the service fills the queue's slots in turn and the writer writes them, in the same
 * order, each knowing how far the other is by the queue's counts; before that the writer helps to
 * gather, into slots of its own (image_share.c), which it writes when the queue is done. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "snapshot/image_private.h"

#define PARKED_NS_MAX UINT64_C(10000000) /* then what was written meanwhile is copied again */
#define RETREATS_MAX  2u
#define WRITER_NICE   10 /* the service comes first; never stopped altogether */

enum { WORK_OPEN, WORK_ROUND, WORK_PARKED, WORK_LAST, WORK_FLUSH, WORK_ENDED };

/* ---- state, under the lock ---- */

static void set_work(baton_image *image, uint32_t work, baton_image_state state)
{
    pthread_mutex_lock(&image->lock);
    image->work = work;
    image->state = state;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

static baton_image_state state_now(baton_image *image)
{
    pthread_mutex_lock(&image->lock);
    const baton_image_state state = image->state;
    pthread_mutex_unlock(&image->lock);
    return state;
}

/* ---- the writer's work ---- */

static void work_fail(baton_image *image, int r)
{
    pthread_mutex_lock(&image->lock);
    if (image->error.status == 0 && image->pipe.failed != 0) /* the first reason counts */
        (void)baton_image_pipe_error(&image->pipe, &image->error);
    else if (image->error.status == 0)
        baton_error_set(&image->error, r, "take an image", NULL,
                        "nothing: the service goes on, and the next one is a full one");
    image->failing = true;
    pthread_cond_broadcast(&image->changed);
    while (image->threaded && image->filling) /* without a thread it is not, at this moment */
        pthread_cond_wait(&image->changed, &image->lock);
    pthread_mutex_unlock(&image->lock);
    baton_image_pipe_close(&image->pipe, true);
    set_work(image, WORK_ENDED, BATON_IMAGE_FAILED);
}

static void begin_round(baton_image *image)
{
    pthread_mutex_lock(&image->lock);
    const uint64_t bytes = image->bytes_in_use;
    pthread_mutex_unlock(&image->lock);
    const bool all = image->result.full && image->result.rounds == 0;
    image_round_begin(image, all ? ROUND_ALL : ROUND_WRITTEN, bytes);
}

static int work_open(baton_image *image)
{
    baton_image_source *source = image->source;
    baton_image_pipe_options *options = &image->pipe_options;
    if (source->staging == NULL) /* else it is as large: that depends on the region alone */
        source->staging =
            baton_io_region_make((uint64_t)options->slots_count * BATON_IMAGE_CHUNK_BYTES);
    options->io.region = source->staging; /* NULL: it tries itself, and says what failed */
    int r = baton_image_pipe_open(&image->pipe, &image->pipe_options, &image->error);
    if (r == 0) {
        begin_round(image);
        set_work(image, WORK_ROUND, BATON_IMAGE_COPYING);
    }
    return r;
}

/* One chunk of the round. */
static int work_round(baton_image *image)
{
    baton_image_pipe *pipe = &image->pipe;
    const uint32_t queue = image_queue_slots(image);
    baton_image_slot *slot =
        &pipe->slots[queue + pipe->manifest.info.chunks_count % (pipe->slots_count - queue)];
    int r = baton_image_pipe_wait_slot(pipe, slot);
    if (r == 0)
        r = image_round_fill(image, slot);
    if (r == 0 && slot->pages_count > 0)
        return baton_image_pipe_commit(pipe, slot, image->result.rounds, image->source->page_bytes);
    if (r < 0)
        return r;
    image_round_end(image);
    if (image_round_is_settled(image))
        set_work(image, WORK_PARKED, BATON_IMAGE_READY);
    else
        begin_round(image);
    return 0;
}

static bool queue_is_empty(const baton_image *image)
{
    return image->queue_written == image->queue_filled;
}

/* Slots whose writes are done, in their order, are the service's again. */
static void free_slots(baton_image *image)
{
    uint32_t freed = image->queue_free;
    baton_image_pipe_reap(&image->pipe);
    while (freed != image->queue_written &&
           !image->pipe.slots[freed % image_queue_slots(image)].op.in_flight)
        freed++;
    pthread_mutex_lock(&image->lock);
    image->queue_free = freed;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

static int commit(baton_image *image, baton_image_slot *slot)
{
    return baton_image_pipe_commit(&image->pipe, slot, image->result.rounds,
                                   image->source->page_bytes);
}

/* What was gathered is a round like those before: nothing was protected, so the next one finds its
 * pages again. */
static int work_retreat(baton_image *image)
{
    int r = baton_image_pipe_drain(&image->pipe);
    if (r < 0)
        return r;
    image_round_end(image);
    pthread_mutex_lock(&image->lock);
    image->queue_free = image->queue_written;
    image->last_is_whole = false;
    image->retreating = false;
    pthread_mutex_unlock(&image->lock);
    image->settled_from = image->result.rounds;
    begin_round(image);
    set_work(image, WORK_ROUND, BATON_IMAGE_COPYING);
    return 0;
}

static int work_last(baton_image *image)
{
    baton_image_slot *slots = image->pipe.slots;
    const uint32_t queue = image_queue_slots(image);
    pthread_mutex_lock(&image->lock);
    const bool empty = queue_is_empty(image);
    const bool whole = image->last_is_whole;
    const bool stuck = image->queue_filled - image->queue_free == queue;
    const bool wanted = image->share.wanted;
    image->share.wanted = false;
    pthread_mutex_unlock(&image->lock);
    if (wanted) {
        image_share_help(image);
        return 0;
    }
    if (empty && whole) {
        baton_image_slot *slot = image_share_slot(image);
        if (slot != NULL)
            return commit(image, slot);
        if (image->retreating)
            return work_retreat(image);
        set_work(image, WORK_FLUSH, BATON_IMAGE_WRITING);
        return 0;
    }
    int r = 0;
    if (!empty) {
        r = commit(image, &slots[image->queue_written % queue]);
        pthread_mutex_lock(&image->lock);
        image->queue_written++;
        pthread_mutex_unlock(&image->lock);
    } else if (stuck) {
        r = baton_image_pipe_wait_slot(&image->pipe, &slots[image->queue_free % queue]);
    }
    free_slots(image);
    return r;
}

static int work_flush(baton_image *image)
{
    image_round_end(image);
    int r = baton_image_pipe_flush(&image->pipe);
    if (r < 0)
        return r;
    baton_image_pipe_close(&image->pipe, false);
    image->result.taken_ns = image_now_ns(image) - image->begun_ns;
    set_work(image, WORK_ENDED, BATON_IMAGE_DONE);
    return 0;
}

static void work(baton_image *image)
{
    int r = 0;
    switch (image->work) {
    case WORK_OPEN:
        r = work_open(image);
        break;
    case WORK_ROUND:
        r = work_round(image);
        break;
    case WORK_LAST:
        r = work_last(image);
        break;
    case WORK_FLUSH:
        r = work_flush(image);
        break;
    default: /* PARKED, ENDED: nothing to do */
        break;
    }
    if (r < 0)
        work_fail(image, r);
}

/* ---- the writer's thread ---- */

static bool must_sleep(const baton_image *image)
{
    if (image->cancelled)
        return false;
    if (image->work == WORK_PARKED)
        return true;
    return image->work == WORK_LAST && !image->share.wanted && queue_is_empty(image) &&
           !image->last_is_whole &&
           image->queue_filled - image->queue_free < image_queue_slots(image);
}

static void *writer_main(void *context)
{
    baton_image *image = context;
    (void)setpriority(PRIO_PROCESS, 0, WRITER_NICE); /* of this thread; merely politer */
    for (;;) {
        pthread_mutex_lock(&image->lock);
        while (must_sleep(image))
            pthread_cond_wait(&image->changed, &image->lock);
        const bool cancelled = image->cancelled;
        const bool ended = image->work == WORK_ENDED;
        pthread_mutex_unlock(&image->lock);
        if (ended)
            return NULL;
        if (cancelled)
            work_fail(image, -ECANCELED);
        else
            work(image);
    }
}

static int start_thread(baton_image *image)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all); /* signals are the service's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&image->thread, NULL, writer_main, image);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return -r;
    pthread_setname_np(image->thread, "baton-image");
    image->threaded = true;
    return 0;
}

/* ---- the service's side ---- */

int image_live_begin(baton_image *image, bool threaded)
{
    image->work = WORK_OPEN;
    image->state = BATON_IMAGE_COPYING;
    return threaded ? start_thread(image) : 0;
}

baton_image_state image_live_poll(baton_image *image, uint64_t bytes_in_use)
{
    if (!image->threaded && image->cancelled && image->work != WORK_ENDED)
        work_fail(image, -ECANCELED);
    else if (!image->threaded)
        work(image);
    const uint64_t now_ns = image_now_ns(image);
    pthread_mutex_lock(&image->lock);
    image->bytes_in_use = bytes_in_use;
    if (image->work == WORK_PARKED && image->ready_ns == 0)
        image->ready_ns = now_ns; /* from when the service knows it */
    if (image->work == WORK_PARKED && image->result.rounds + 1 < BATON_IMAGE_ROUNDS_MAX &&
        now_ns - image->ready_ns > PARKED_NS_MAX) {
        image->ready_ns = 0;
        image_round_begin(image, ROUND_WRITTEN, bytes_in_use);
        image->work = WORK_ROUND;
        image->state = BATON_IMAGE_COPYING;
        pthread_cond_broadcast(&image->changed);
    }
    const baton_image_state state = image->state;
    pthread_mutex_unlock(&image->lock);
    return state;
}

/* Under the lock: the disk would have to be waited for. Not for ever: who always writes more than it
 * takes gets a longer pause. */
static bool must_retreat(const baton_image *image)
{
    return image->result.retreats < RETREATS_MAX &&
           image->result.rounds + 2 < BATON_IMAGE_ROUNDS_MAX;
}

/* The slot to fill next. BATON_E_AGAIN: retreat. */
static int next_slot(baton_image *image, baton_image_slot **ret_slot)
{
    const uint32_t queue = image_queue_slots(image);
    int r = 0;
    pthread_mutex_lock(&image->lock);
    while (r == 0 && image->queue_filled - image->queue_free == queue && !image->failing) {
        if (must_retreat(image)) {
            r = BATON_E_AGAIN;
            continue;
        }
        image->result.overflowed = true;
        if (image->threaded) {
            pthread_cond_wait(&image->changed, &image->lock);
            continue;
        }
        pthread_mutex_unlock(&image->lock);
        work(image);
        pthread_mutex_lock(&image->lock);
    }
    if (image->failing)
        r = image->error.status;
    pthread_mutex_unlock(&image->lock);
    *ret_slot = &image->pipe.slots[image->queue_filled % queue];
    return r;
}

static void queue_slot(baton_image *image, bool filled, bool whole)
{
    pthread_mutex_lock(&image->lock);
    image->queue_filled += filled ? 1 : 0;
    image->last_is_whole = whole;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

bool image_live_is_ready(baton_image *image)
{
    return state_now(image) == BATON_IMAGE_READY;
}

static void set_filling(baton_image *image, bool filling)
{
    pthread_mutex_lock(&image->lock);
    image->filling = filling;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

/* The tracker failed: the writer is told, and closes the file. */
static int give_up(baton_image *image, int r)
{
    pthread_mutex_lock(&image->lock);
    if (!image->failing) /* else the writer's own reason stands */
        baton_error_set(&image->error, r, "take an image", "asking for written pages failed",
                        "nothing: the service goes on, and the next one is a full one");
    image->cancelled = true;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
    return r;
}

/* Everything of this round is in the queue, or the writer's: the round is the writer's too. */
static void gathered(baton_image *image, bool retreating)
{
    image->result.helped_pages = (uint32_t)image_share_end(image);
    image->round.pages_count += image->result.helped_pages;
    image->result.residual_pages = (uint32_t)image->round.pages_count;
    image->result.pause_scan_ns = image->round.scan_ns;
    image->result.retreats += retreating ? 1 : 0;
    image->retreating = retreating;
    queue_slot(image, false, true);
}

static int fill_all(baton_image *image)
{
    for (;;) {
        baton_image_slot *slot;
        int r = next_slot(image, &slot);
        if (r == BATON_E_AGAIN)
            gathered(image, true);
        if (r < 0)
            return r;
        r = image_round_fill(image, slot);
        if (r < 0)
            return give_up(image, r);
        if (slot->pages_count == 0) {
            gathered(image, false);
            return 0;
        }
        queue_slot(image, true, false);
    }
}

int image_live_finish(baton_image *image, uint64_t bytes_in_use)
{
    image_round_begin(image, ROUND_LAST, bytes_in_use);
    pthread_mutex_lock(&image->lock);
    image->ready_ns = 0;
    pthread_mutex_unlock(&image->lock);
    set_filling(image, true);
    set_work(image, WORK_LAST, BATON_IMAGE_WRITING);
    int r = fill_all(image);
    if (r < 0)
        (void)image_share_end(image);
    set_filling(image, false);
    return r;
}

void image_live_end(baton_image *image)
{
    pthread_mutex_lock(&image->lock);
    image->cancelled = true;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
    if (image->threaded)
        pthread_join(image->thread, NULL);
    else if (state_now(image) != BATON_IMAGE_DONE && state_now(image) != BATON_IMAGE_FAILED)
        work_fail(image, -ECANCELED);
}
