/* journal/read.c: entry by entry. At rest: the walk, to its judged end. Live: the walk up to what
 * the writer has published, again and again; and when there is no writer, up to what recovery
 * accepts (J11).
 *
 * What is at or below a published position is durable, whether or not its writer still lives.
 * Beyond it nothing may be handed out while a writer lives. So a live reader asks in this order:
 * has the hint moved on? is the LOCK held? and only if it is free, what would recovery accept? and
 * then once more whether it is still free. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal/read_private.h"

#define READ_OPS 16u
#define READ_LOOK_NS                                                                               \
    UINT64_C(50000000) /* a killed writer wakes nobody: look at LOCK this often   \
                                         */
#define READ_NO_HINT_NS   UINT64_C(5000000)
#define READ_RESTARTS_MAX 16u
#define READ_DAMAGE_LOOKS 2u

/* What the writer has published; another journal's page, copied along with the directory, says
 * nothing about this one. */
static bool view_of(baton_reader *reader, baton_hint_view *ret_view)
{
    if (!baton_watch_view(&reader->watch, ret_view))
        return false;
    return !reader->walk_begun || !reader->walk.segments.any_header ||
           baton_digest_equal(ret_view->id, reader->walk.segments.id);
}

static int locked(baton_reader *reader, baton_error *error)
{
    int held = baton_watch_locked(&reader->watch);
    return held < 0 ? baton_segment_error(error, held, "look at the journal's lock",
                                          reader->walk.directory)
                    : held;
}

/* A look at LOCK is a system call that a tail would pay twice for each entry; how it ended is good
 * for as long as a killed writer may go unnoticed anyway. One that closes says so. */
static int held_lately(baton_reader *reader, const baton_hint_view *view, baton_error *error)
{
    uint64_t now_ns = baton_clock_monotonic_ns(baton_io_clock(reader->io));

    if (view->open && now_ns < reader->held_until_ns)
        return 1;
    int held = locked(reader, error);
    reader->held_until_ns = held > 0 ? now_ns + READ_LOOK_NS : 0;
    return held;
}

/* The newest batches, once HINT has moved under this reader's eyes: then they are of a writer that
 * ran here while this reader did. What was there before may be what a power cut, or who copied the
 * directory, left of HINT without the bytes on the disk. */
static const baton_recent *recent_of(baton_reader *reader, const baton_hint_view *view)
{
    if (!reader->met) {
        reader->met = true;
        reader->first = *view;
    }
    reader->moved |= !baton_watch_view_same(&reader->first, view);
    return reader->moved ? baton_hint_recent(reader->watch.hint) : NULL;
}

/* ---- walking ---- */

static baton_walk_options walk_options(const baton_reader *reader)
{
    const baton_walk *walk = &reader->walk;
    baton_walk_options options = {.from_seq = reader->options.from_seq};

    if (options.from_seq == 1)
        options.from_seq = 0;
    if (reader->walk_begun && walk->end.position.batch != 0) {
        options.resume = true;
        options.from = walk->end;
    }
    return options;
}

/* All that the writer had published was retired before it could be listed. */
static bool outrun(const baton_walk *walk, int r)
{
    const baton_walk_options *options = &walk->options;
    return r == 0 && options->published && options->until.position.batch != 0 &&
           walk->start >= walk->segments.count;
}

static int begin(baton_reader *reader, const baton_walk_options *options, baton_error *error)
{
    uint64_t from_seq = reader->options.from_seq;
    baton_walk_options now = *options;
    int r = 0;

    /* Retirement under the walk: of what it was about to open, or, a hole to the eye, of one and
     * the next, or of all that it was told of. */
    baton_hint_view before = {0};
    for (uint32_t tries = 0; tries < READ_RESTARTS_MAX; tries++) {
        baton_hint_view after;
        (void)view_of(reader, &before);
        r = baton_walk_begin(&reader->walk, &now, error);
        bool viewed = view_of(reader, &after);
        bool retired = r == BATON_E_GONE && from_seq <= 1 && !options->resume;
        bool outran =
            viewed && outrun(&reader->walk, r) && after.durable.batch > now.until.position.batch;
        if (outran)
            now.until = baton_watch_end(&after);
        else if (!retired && (r != BATON_E_DAMAGED || baton_watch_view_same(&before, &after)))
            break;
    }
    reader->walk_begun = r == 0;
    reader->begun = before;
    /* A follower has from_seq. The batches without entries behind it may stand in the segments of
     * the next one; compare_after sees whether they do. */
    const uint64_t first_needed = reader->after.batch != 0 ? from_seq + 1 : from_seq;
    if (r == 0 && !options->resume && from_seq > 1 && reader->walk.first_seq > first_needed) {
        baton_error_setf(error, BATON_E_GONE, "read the journal",
                         "take a snapshot at or above that entry, and read from there",
                         "entry %llu was retired, the oldest one there is %llu",
                         (unsigned long long)from_seq, (unsigned long long)reader->walk.first_seq);
        baton_error_at(error, reader->walk.directory, UINT64_MAX);
        return BATON_E_GONE;
    }
    return r;
}

static int begin_published(baton_reader *reader, const baton_chain_end *until,
                           const baton_recent *recent, baton_error *error)
{
    if (reader->walk_begun && baton_walk_extend(&reader->walk, until, recent))
        return 0;
    baton_walk_options options = walk_options(reader);
    options.published = true;
    options.until = *until;
    options.recent = recent;
    return begin(reader, &options, error);
}

/* No writer lives: how far does what recovery accepts go on from here? Nothing is handed out on the
 * way, for a new writer may come meanwhile; if one came, *ret_known is false and the hint is to be
 * asked again. */
static int look_at_rest(baton_reader *reader, bool *ret_known, baton_error *error)
{
    const baton_batch_header *batch;
    baton_hint_view view;
    baton_walk probe;

    *ret_known = false;
    (void)view_of(reader, &view);
    baton_walk_options options = walk_options(reader);
    int r = baton_walk_open(&probe, reader->io, reader->walk.directory, error);
    if (r == 0) /* one cursor at a time has reads in flight */
        r = baton_cursor_stop(&reader->walk.cursor);
    if (r == 0)
        r = baton_walk_begin(&probe, &options, error);
    while (r == 0 && (r = baton_walk_next(&probe, &batch, error)) == 1)
        r = 0;
    uint64_t index = 0;
    if (r == 0 && probe.start < probe.segments.count)
        index = probe.segments.list[probe.current].info.index;
    reader->rest = probe.end;
    if (index > reader->rest.index)
        reader->rest.index = index; /* the last header counts too, without a batch of its own */
    if (index > probe.end.index)
        reader->rest.offset = BATON_IO_UNIT;
    baton_walk_close(&probe);

    int held = locked(reader, error);
    if (held < 0)
        return held;
    baton_hint_view after;
    (void)view_of(reader, &after);
    if (held > 0 || !baton_watch_view_same(&view, &after))
        return 0; /* whatever was found beside a new writer counts for nothing */
    if (r < 0)
        return r;
    reader->rest_view = view;
    reader->rest_known = *ret_known = true;
    return 0;
}

/* Live: 1: there is more, and the walk stands before it. 0: not now; *ret_gone says that no writer
 * is there. */
static int find_more(baton_reader *reader, bool *ret_gone, baton_error *error)
{
    *ret_gone = false;
    for (;;) {
        uint64_t here = reader->walk_begun ? reader->walk.end.position.batch : 0;
        baton_hint_view view;
        reader->seen_valid = view_of(reader, &view);
        reader->seen = view;
        bool at_rest = reader->rest_known && baton_watch_view_same(&reader->rest_view, &view);
        if (reader->seen_valid && !at_rest && (view.durable.batch > here || !reader->walk_begun)) {
            baton_chain_end until = baton_watch_end(&view);
            int r = begin_published(reader, &until, recent_of(reader, &view), error);
            return r < 0 ? r : view.durable.batch > here;
        }
        int held = held_lately(reader, &view, error);
        if (held < 0)
            return held;
        if (held > 0)
            return 0;
        if (!at_rest) {
            bool known;
            int r = look_at_rest(reader, &known, error);
            if (r < 0)
                return r;
            if (!known)
                continue;
        }
        if (reader->rest.position.batch <= here && reader->walk_begun) {
            *ret_gone = true;
            return 0;
        }
        int r = begin_published(reader, &reader->rest, NULL, error);
        if (r == 0 && reader->rest.position.batch <= here)
            *ret_gone = true;
        return r < 0 ? r : reader->rest.position.batch > here;
    }
}

/* At rest. Beside a living writer only what it has published counts, unless the caller knows of
 * more: then the page is a dead writer's, and the lock is held by one that has not begun. */
static int begin_at_rest(baton_reader *reader, baton_error *error)
{
    baton_walk_options options = walk_options(reader);
    baton_hint_view view;

    options.evidence = reader->options.evidence;
    int held = locked(reader, error);
    if (held < 0)
        return held;
    if (held > 0 && view_of(reader, &view) && view.open &&
        view.durable.batch >= options.evidence.batch) {
        options.published = true;
        options.until = baton_watch_end(&view);
        int r = begin(reader, &options, error);
        if (r < 0 || view_of(reader, &view))
            return r;
        options.published = false;
    }
    return begin(reader, &options, error);
}

/* ---- the calls ---- */

int journal_reader_open(const char *directory, const baton_reader_options *options,
                        baton_position after, baton_digest digest, baton_reader **ret_reader,
                        baton_error *error)
{
    static const baton_reader_options defaults;
    bool gone;

    baton_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return baton_segment_error(error, -ENOMEM, "open a reader", directory);
    reader->options = options != NULL ? *options : defaults;
    reader->after = after;
    reader->after_digest = digest;
    reader->walk.file = BATON_IO_NO_FILE;
    baton_io_options io_options = {.choice = baton_watch_io_choice(reader->options.backend),
                                   .ops_max = READ_OPS,
                                   .custom = reader->options.io_backend,
                                   .custom_context = reader->options.io_context};
    int r = baton_io_open(&io_options, &reader->io, error);
    if (r == 0)
        r = baton_walk_open(&reader->walk, reader->io, directory, error);
    if (r == 0)
        r = baton_watch_open(&reader->watch, reader->io, directory);
    if (r == 0)
        r = reader->options.live ? find_more(reader, &gone, error) : begin_at_rest(reader, error);
    if (r < 0)
        goto fail;
    *ret_reader = reader;
    return 0;

fail:
    baton_reader_close(reader);
    return r;
}

int baton_reader_open(const char *directory, const baton_reader_options *options,
                      baton_reader **ret_reader, baton_error *error)
{
    return journal_reader_open(directory, options, (baton_position){0}, (baton_digest){{0}},
                               ret_reader, error);
}

void baton_reader_close(baton_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->io != NULL) {
        baton_walk_close(&reader->walk);
        baton_watch_close(&reader->watch);
        baton_io_close(reader->io);
    }
    free(reader);
}

/* The next entry of the batch that the caller wants. */
static bool next_in_batch(baton_reader *reader, baton_entry *ret_entry)
{
    uint64_t from_seq = reader->options.from_seq;

    if (reader->batch == NULL)
        return false;
    while (baton_batch_next(reader->batch, &reader->batch_offset, &reader->batch_next_seq,
                            ret_entry)) {
        /* A record has the seq of the entry before it: what stands between the two belongs to the
         * later one. */
        uint64_t seq = ret_entry->is_record ? ret_entry->seq + 1 : ret_entry->seq;
        if (seq < from_seq || (ret_entry->is_record && !reader->options.with_records))
            continue;
        reader->position = reader->batch_position;
        reader->returned_any = true;
        return true;
    }
    reader->batch = NULL;
    return false;
}

static void take_batch(baton_reader *reader, const baton_batch_header *batch)
{
    uint64_t last_seq = reader->walk.end.position.seq;

    reader->batch_position = reader->walk.end.position;
    reader->applied_seq = baton_le64_get(batch->applied_seq);
    reader->applied_effects = baton_le64_get(batch->effect_digest);
    reader->batch_offset = sizeof(*batch);
    reader->batch_next_seq = baton_le64_get(batch->first_seq);
    reader->batch = last_seq + 1 >= reader->options.from_seq ? batch : NULL;
}

/* The walk failed, or so it looks. 1: try again.
 * - The oldest segment was retired before the first entry was read: then there is another oldest
 * one.
 * - A writer began while this walk, which knew of none, looked at what it was writing: stop at what
 * it has published; if it has closed by now, at what is there.
 * - A living writer has published it: look again, and if it stays so, it is damage.
 * - The hint says too much (power was lost in mode written) or is a dead writer's: judge by
 * evidence, as recovery does. */
static int try_again(baton_reader *reader, int r, baton_error *error)
{
    baton_hint_view view = {0};

    if (++reader->restarts > READ_RESTARTS_MAX)
        return r;
    if (r == BATON_E_GONE && reader->options.from_seq <= 1 && !reader->returned_any) {
        reader->walk.end = (baton_chain_end){0};
        reader->walk_begun = false;
        int again = reader->options.live ? 0 : begin_at_rest(reader, error);
        return again < 0 ? again : 1;
    }
    if (r != BATON_E_DAMAGED)
        return r;
    int held = baton_watch_locked(&reader->watch);
    if (held < 0 || (held > 0 && reader->options.live))
        return r;
    if (reader->options.live) {
        bool known;
        int looked = look_at_rest(reader, &known, error);
        if (looked < 0 || !known)
            return looked < 0 ? looked : r;
        looked = begin_published(reader, &reader->rest, NULL, error);
        return looked < 0 ? looked : 1;
    }
    baton_walk_options options = walk_options(reader);
    options.evidence = reader->options.evidence;
    bool viewed = held > 0 && view_of(reader, &view) && view.open;
    bool was_published = reader->walk.options.published;
    if (was_published && viewed &&
        view.durable.batch >= reader->walk.options.until.position.batch) {
        /* A living writer says that it was durable. Asked again after a pause, for a dead one's page
         * stands a moment longer under the next one's lock. */
        if (reader->restarts > READ_DAMAGE_LOOKS)
            return r;
        const struct timespec pause = {.tv_nsec = (long)READ_NO_HINT_NS};
        (void)nanosleep(&pause, NULL);
        options.published = true;
        options.until = baton_watch_end(&view);
    } else if (!was_published && viewed && view.durable.batch >= reader->walk.end.position.batch) {
        options.published = true;
        options.until = baton_watch_end(&view);
    } else if (!was_published) {
        (void)view_of(reader, &view);
        if (baton_watch_view_same(&reader->begun, &view))
            return r;
    }
    int again = begin(reader, &options, error);
    return again < 0 ? again : 1;
}

int journal_reader_load(baton_reader *reader, const baton_batch_header **ret_batch,
                        baton_error *error)
{
    bool gone;

    for (;;) {
        int r = reader->walk_begun ? baton_walk_next(&reader->walk, ret_batch, error) : 0;
        if (r == 1)
            return 1;
        if (r < 0)
            r = try_again(reader, r, error);
        else if (reader->options.live)
            r = find_more(reader, &gone, error);
        if (r <= 0)
            return r;
    }
}

static int next(baton_reader *reader, baton_entry *ret_entry, baton_error *error)
{
    const baton_batch_header *batch;

    for (;;) {
        if (next_in_batch(reader, ret_entry))
            return 1;
        int r = journal_reader_load(reader, &batch, error);
        if (r <= 0)
            return r;
        take_batch(reader, batch);
    }
}

int baton_reader_next(baton_reader *reader, baton_entry *ret_entry, baton_error *error)
{
    if (reader->failed == 0) {
        int r = next(reader, ret_entry, &reader->failure);
        if (r >= 0)
            return r;
        reader->failed = r;
    }
    if (error != NULL)
        *error = reader->failure;
    return reader->failed;
}

/* Sleep until the hint moves on; for a killed writer nobody moves it, so never long. */
static int doze(baton_reader *reader, uint64_t left_ns)
{
    if (reader->seen_valid) {
        int r = baton_hint_wait(reader->watch.hint, &reader->seen,
                                left_ns < READ_LOOK_NS ? left_ns : READ_LOOK_NS);
        return r == BATON_E_TIMEOUT || r == -EINTR ? 0 : r;
    }
    uint64_t sleep_ns = left_ns < READ_NO_HINT_NS ? left_ns : READ_NO_HINT_NS;
    const struct timespec step = {.tv_nsec = (long)sleep_ns};
    (void)nanosleep(&step, NULL);
    return 0;
}

int baton_reader_wait(baton_reader *reader, uint64_t timeout_ns)
{
    const baton_clock *clock = baton_io_clock(reader->io);
    uint64_t start_ns = baton_clock_monotonic_ns(clock);

    if (!reader->options.live)
        return BATON_E_INVALID;
    for (;;) {
        if (reader->failed != 0 || reader->batch != NULL ||
            (reader->walk_begun && !reader->walk.finished))
            return 0; /* next() has an answer */
        bool gone;
        int r = find_more(reader, &gone, &reader->failure);
        if (r < 0)
            reader->failed = r;
        if (r != 0)
            return 0;
        if (gone)
            return BATON_E_SEALED;
        uint64_t spent_ns = baton_clock_monotonic_ns(clock) - start_ns;
        if (spent_ns >= timeout_ns)
            return BATON_E_TIMEOUT;
        r = doze(reader, timeout_ns - spent_ns);
        if (r < 0)
            return r;
    }
}

baton_position baton_reader_position(const baton_reader *reader)
{
    return reader->position;
}

void baton_reader_applied(const baton_reader *reader, uint64_t *ret_seq, uint64_t *ret_effects)
{
    *ret_seq = reader->applied_seq;
    *ret_effects = reader->applied_effects;
}
