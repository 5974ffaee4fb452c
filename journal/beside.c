/* journal/beside.c: recovery's question asked without the lock, perhaps beside a writer at work.
 * What that one has in flight proves nothing either way, so beside it the published end is the
 * end. */
#include <errno.h>
#include <time.h>

#include "journal/watch.h"

#define BESIDE_TRIES_MAX 8u
#define BESIDE_PAUSE_NS  2000000L /* doubled from try to try: a begin takes longer than one look */
#define BESIDE_GONE_MAX  256u     /* looks under which something was retired */

/* What the walk may rely on now. 1: a writer holds the lock. */
static int look_around(baton_journal_watch *watch, baton_walk_options *options,
                       baton_hint_view *ret_view)
{
    const baton_position *known = &options->evidence;
    int held = baton_watch_locked(watch);
    bool viewed = baton_watch_view(watch, ret_view);

    /* Who knows of more than the page says: then it is a dead writer's, and the lock's holder has
     * not begun. */
    options->published = held > 0 && viewed && ret_view->open &&
                         ret_view->durable.batch >= known->batch &&
                         ret_view->durable.seq >= known->seq;
    options->until = options->published ? baton_watch_end(ret_view) : (baton_chain_end){0};
    return held;
}

static void pause_before(uint32_t again)
{
    const struct timespec step = {.tv_nsec = BESIDE_PAUSE_NS << again};
    (void)nanosleep(&step, NULL);
}

static int look_again_and_again(baton_journal_watch *watch, baton_beside *beside,
                                baton_error *error)
{
    baton_position damage = {0};
    bool damaged = false;
    uint32_t tries = 0, gone = 0;
    int r = 0;

    while (tries < BESIDE_TRIES_MAX && gone < BESIDE_GONE_MAX) {
        baton_hint_view before, after;
        int held = look_around(watch, &beside->options, &before);
        if (held < 0)
            return baton_segment_error(error, held, "look at the journal's lock", watch->directory);
        r = beside->look(beside, error);
        /* These are also how a walk looks under which a writer began, rolled or retired. */
        if (r != BATON_E_TORN && r != BATON_E_DAMAGED && r != BATON_E_GONE)
            break;
        /* That says nothing of what is left. A pause would only let more of it go. */
        if (r == BATON_E_GONE) {
            damaged = false;
            gone++;
            continue;
        }
        int held_after = baton_watch_locked(watch);
        (void)baton_watch_view(watch, &after);
        bool published = beside->options.published;
        bool same = held_after == held && baton_watch_view_same(&before, &after);
        /* A holder without a published end is between its open and the end of its begin. */
        if (same && (held == 0 || published))
            break;
        /* Up to a published end nothing moves but what retirement takes away: twice the same is
         * damage. */
        if (r == BATON_E_DAMAGED && published && damaged &&
            baton_position_compare(damage, beside->last) == 0)
            break;
        damaged = r == BATON_E_DAMAGED && published;
        damage = beside->last;
        if (++tries < BESIDE_TRIES_MAX)
            pause_before(tries - 1);
    }
    return r;
}

int baton_beside_look(baton_io *io, const char *directory, baton_beside *beside, baton_error *error)
{
    baton_journal_watch watch;

    int r = baton_watch_open(&watch, io, directory);
    if (r < 0)
        baton_segment_error(error, r, "look at the journal", directory);
    else
        r = look_again_and_again(&watch, beside, error);
    baton_watch_close(&watch);
    return r;
}

/* ---- recovery ---- */

typedef struct {
    baton_beside beside; /* first */
    baton_io *io;
    const char *directory;
    baton_recovery *recovery;
} recover_look;

static int recover_once(baton_beside *beside, baton_error *error)
{
    recover_look *self = (recover_look *)(void *)beside;

    baton_recovery_fini(self->recovery);
    int r = baton_recover_walk(self->io, self->directory, &beside->options, self->recovery, error);
    beside->last = self->recovery->report.last;
    return r == 0 && self->recovery->report.torn_cut > 0 ? BATON_E_TORN : r;
}

int baton_recover_beside(baton_io *io, const char *directory, const baton_recover_options *options,
                         baton_recovery *recovery, baton_error *error)
{
    static const baton_recover_options defaults;

    if (options == NULL)
        options = &defaults;
    *recovery = (baton_recovery){.empty = true};
    recover_look self = {.beside = {.options = {.service = options->service,
                                                .evidence = options->evidence,
                                                .from_seq = options->from_seq,
                                                .progress = options->progress,
                                                .progress_context = options->progress_context},
                                    .look = recover_once},
                         .io = io,
                         .directory = directory,
                         .recovery = recovery};
    int r = baton_beside_look(io, directory, &self.beside, error);
    return r == BATON_E_TORN ? 0 : r;
}
