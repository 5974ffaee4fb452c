/* snapshot/image_private.h: what the parts of taking an image share: image.c (life, publishing),
 * image_round.c (passes over the region), image_live.c (the thread), image_fork.c (the fallbacks). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "snapshot/image.h"
#include "snapshot/image_pipe.h"

#define IMAGE_SLICE_RUNS 2048u

struct baton_image_source {
    uint8_t *base;
    uint64_t bytes_max;
    uint32_t page_bytes;
    baton_digest layout;
    uint32_t full_every;

    const baton_tracker_ops *ops;
    baton_tracker *tracker; /* NULL: not tracked */
    baton_error why_not_live;
    uint32_t armed_end; /* pages before it are watched: by whoever does the current round */

    baton_digest parent; /* what the next image adds to; zero: it is full */
    uint32_t since_full; /* images that were published since the last full one */
    bool running;
    bool last_full; /* the one that was finished last */
};

/* One pass over the region: which pages are next. */
typedef struct {
    bool all; /* every page, not only those that were written */
    uint32_t at_page;
    uint32_t end_page;
    baton_page_run runs[IMAGE_SLICE_RUNS];
    uint32_t runs_at;
    uint32_t runs_count;
    uint64_t pages_count; /* gathered in this round */
    uint64_t scan_ns;
    uint64_t copy_ns;
} image_round;

typedef struct image_fork image_fork; /* image_fork.c */

struct baton_image {
    baton_image_source *source;
    const baton_clock *clock;
    char directory[BATON_SNAPSHOT_PATH_BYTES];
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_image_pipe_options pipe_options; /* its texts are the two above */
    uint64_t pause_ns_max;
    uint64_t begun_ns;
    char form_why[sizeof(((baton_snapshot_notes *)0)->form_why)];
    baton_image_result result; /* rounds: the writer's until READY, then the service's */
    uint64_t region_bytes;     /* at the boundary */
    bool handed_over;          /* to a publisher */
    baton_error error;

    image_round round;
    baton_image_pipe pipe;

    /* live; image_live.c */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, and of the state */
    pthread_cond_t changed;
    baton_image_state state;
    uint32_t work;         /* image_live.c's enum */
    uint64_t bytes_in_use; /* as poll() was told last */
    uint64_t ready_ns;     /* when the service was told first; 0: not yet */
    bool cancelled;
    bool failing;       /* the writer gave up: nothing more is to be filled */
    bool filling;       /* the service is in finish(): slots are its own, their memory must stay */
    bool last_is_whole; /* everything of the last round is in the queue */
    uint32_t queue_filled;  /* slots of the last round: counted from 0, used in turn */
    uint32_t queue_written; /* of those, handed to the disk */
    uint32_t queue_free;    /* of those, whose writes are done: may be filled again */

    image_fork *fork;
};

/* ---- image_round.c ---- */

void image_round_begin(baton_image *image, bool all, uint64_t bytes_in_use);
/* Gathers the next pages into the slot until it is full or the round over. 0 or the tracker's
 * -errno. An empty slot: over. */
BATON_MUST_USE int image_round_fill(baton_image *image, baton_image_slot *slot);
/* Counts it. */
void image_round_end(baton_image *image);
/* The pages of the round that ended, were they what the pause must copy: quick enough, or no use
 * to go on. */
bool image_round_is_settled(const baton_image *image);
/* Everything, on this thread, flushed. For the fallbacks. */
BATON_MUST_USE int image_copy_all(baton_image *image, uint64_t bytes_in_use);

/* ---- image_live.c ---- */

BATON_MUST_USE int image_live_begin(baton_image *image, bool threaded);
baton_image_state image_live_poll(baton_image *image, uint64_t bytes_in_use);
bool image_live_is_ready(baton_image *image);
BATON_MUST_USE int image_live_finish(baton_image *image, uint64_t bytes_in_use);
void image_live_end(baton_image *image);

/* ---- image_fork.c ---- */

/* -errno: the fork failed, nothing happened. */
BATON_MUST_USE int image_fork_finish(baton_image *image, uint64_t bytes_in_use);
baton_image_state image_fork_poll(baton_image *image);
void image_fork_end(baton_image *image);

static inline uint64_t image_now_ns(const baton_image *image)
{
    return baton_clock_monotonic_ns(image->clock);
}
