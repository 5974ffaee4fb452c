/* snapshot/image_private.h: what the parts of taking an image share: image.c (life, publishing),
 * image_round.c (passes over the region), image_live.c (the thread), image_share.c (the pause, by two
 * threads), image_fork.c (the fallbacks). */
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
    void *staging;      /* of live images, one after the other; NULL: none yet */

    baton_digest parent; /* what the next image adds to; zero: it is full */
    uint32_t since_full; /* images that were published since the last full one */
    bool running;
    bool last_full; /* the one that was finished last */
};

typedef enum {
    ROUND_ALL,     /* every page; they are watched from here on */
    ROUND_WRITTEN, /* since they were watched or written last */
    ROUND_LAST,    /* so too, in the pause: left as they are, for the next image to find again */
} image_round_kind;

/* One pass over the region: which pages are next. */
typedef struct {
    image_round_kind kind;
    uint32_t at_page;
    uint32_t end_page;
    baton_page_run runs[IMAGE_SLICE_RUNS];
    uint32_t runs_at;
    uint32_t runs_count;
    uint64_t pages_count; /* gathered in this round */
    uint64_t scan_ns;
    uint64_t copy_ns;
} image_round;

/* The last round is gathered by two threads, from both ends; image_share.c. Under the image's lock
 * while the service is in finish(), then the writer's. */
typedef struct {
    bool wanted;          /* the writer may help */
    bool closed;          /* no longer: they met, or the service gave up */
    uint32_t front;       /* pages before it: the service's */
    uint32_t claimed;     /* pages from it on: the writer's, ... */
    uint32_t gathered;    /* ... those from here on are in slots that it handed over */
    uint64_t pages_count; /* in those */
    uint32_t slots_count;
    baton_image_slot *slots[BATON_IMAGE_SLOTS_MAX];

    uint32_t next_slot; /* the writer's own from here on; counted down */
    uint32_t runs_count;
    baton_page_run runs[2 * IMAGE_SLICE_RUNS];
} image_share;

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
    image_share share;
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
    bool retreating;    /* it is not the last: the service gave the pause up */
    uint32_t settled_from;  /* rounds before it don't tell whether they shrink */
    uint32_t queue_filled;  /* slots of the last round: counted from 0, used in turn */
    uint32_t queue_written; /* of those, handed to the disk */
    uint32_t queue_free;    /* of those, whose writes are done: may be filled again */

    image_fork *fork;
};

/* ---- image_round.c ---- */

void image_round_begin(baton_image *image, image_round_kind kind, uint64_t bytes_in_use);
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

/* ---- image_share.c ---- */

/* Of the staging: the first ones are the service's in the pause, filled in turn. The others are the
 * rounds' before, and what still is written then may go on; those that are free, the writer's. */
static inline uint32_t image_queue_slots(const baton_image *image)
{
    return image->pipe.slots_count / 2;
}
void image_share_begin(baton_image *image, uint32_t end_page);
/* The round's next slice; round.at_page is its end_page when there is none. */
BATON_MUST_USE int image_share_next(baton_image *image);
/* The service leaves. How many pages the writer gathered. */
uint64_t image_share_end(baton_image *image);
void image_share_help(baton_image *image); /* the writer; returns when there is nothing to do */
/* Of those handed over, the next to be written; NULL: none. After the service's own. */
baton_image_slot *image_share_slot(baton_image *image);

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
