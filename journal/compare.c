/* journal/compare.c: two directories of one journal: the chain of one holds the end of the other, or
 * they part, and where (H3). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal/walk.h"
#include "journal/watch.h"

#define COMPARE_OPS 16u

static const char what[] = "compare two journals";

typedef struct {
    baton_position position;
    baton_digest digest;
} chain_link;

/* What of one of the two is looked for, and found. */
typedef struct {
    baton_beside beside; /* first */
    baton_io *io;        /* of this walk alone: one that ends early leaves reads in flight */
    baton_walk walk;
    baton_position end; /* of the other one */
    baton_digest end_digest;
    bool found;
    chain_link *links; /* of the one before, when both have to be held against each other */
    uint64_t links_count, links_room;
    bool keeps;            /* this look fills links */
    bool part;             /* this look finds the last of links, and what comes after it */
    uint64_t common_index; /* in links, from 1; 0: none */
    uint64_t next_epoch;   /* of the batch behind it here; 0: there is none */
} look;

static bool is_end(const look *self, baton_position position, baton_digest digest)
{
    return position.epoch == self->end.epoch && position.batch == self->end.batch &&
           position.seq == self->end.seq && baton_digest_equal(digest, self->end_digest);
}

static int keep(look *self, baton_position position, baton_digest digest)
{
    if (self->links_count == self->links_room) {
        const uint64_t room = self->links_room == 0 ? 1024 : 2 * self->links_room;
        chain_link *links = realloc(self->links, room * sizeof(*links));
        if (links == NULL)
            return -ENOMEM;
        self->links = links;
        self->links_room = room;
    }
    self->links[self->links_count++] = (chain_link){position, digest};
    return 0;
}

/* Batch numbers are dense, so the place of one in links is known. */
static void hold_against(look *self, baton_position position, baton_digest digest)
{
    if (self->links_count == 0 || position.batch < self->links[0].position.batch)
        return;
    const uint64_t at = position.batch - self->links[0].position.batch;
    if (at < self->links_count && baton_digest_equal(self->links[at].digest, digest) &&
        self->links[at].position.epoch == position.epoch)
        self->common_index = at + 1;
    else if (self->next_epoch == 0)
        self->next_epoch = position.epoch;
}

static int visit(look *self, baton_position position, baton_digest digest)
{
    self->found |= is_end(self, position, digest);
    if (self->part)
        hold_against(self, position, digest);
    return self->keeps ? keep(self, position, digest) : 0;
}

static int look_once(baton_beside *beside, baton_error *error)
{
    look *self = (look *)(void *)beside;
    baton_walk *walk = &self->walk;
    const baton_batch_header *batch;

    self->found = false;
    if (self->keeps)
        self->links_count = 0;
    self->common_index = self->next_epoch = 0;
    int r = baton_walk_begin(walk, &beside->options, error);
    if (r == 0 && walk->start < walk->segments.count) {
        const baton_segment *first = &walk->segments.list[walk->start];
        if (first->continues.batch != 0)
            r = visit(self, first->continues, first->continues_digest);
    }
    while (r == 0 && (r = baton_walk_next(walk, &batch, error)) == 1)
        r = visit(self, walk->end.position, walk->end.digest);
    beside->last = walk->end.position;
    /* The other walk shares this io: it must not reap what this one has read ahead of the end. */
    const int stopped = baton_cursor_stop(&walk->cursor);
    r = r < 0 ? r : stopped;
    return r == -ENOMEM ? baton_error_set(error, r, what, NULL, "give the process more memory") : r;
}

static int look_at(const char *directory, look *self, baton_error *error)
{
    self->beside = (baton_beside){.look = look_once};
    baton_walk_close(&self->walk);
    int r = baton_walk_open(&self->walk, self->io, directory, error);
    return r < 0 ? r : baton_beside_look(self->io, directory, &self->beside, error);
}

static bool holds_term(const baton_segment *segment, uint64_t epoch)
{
    return segment->live && !segment->follower && segment->info.epoch == epoch;
}

/* Was it begun in b as well, by another writer than in a? A copy has the very headers. */
static bool begun_again(const baton_segments *a, const baton_segments *b, uint64_t epoch)
{
    bool there = false;
    for (uint32_t j = 0; j < b->count; j++) {
        if (!holds_term(&b->list[j], epoch))
            continue;
        there = true;
        for (uint32_t i = 0; i < a->count; i++)
            if (holds_term(&a->list[i], epoch) && a->list[i].info.index == b->list[j].info.index &&
                a->list[i].created_wall_ns == b->list[j].created_wall_ns)
                return false;
    }
    return there;
}

/* An epoch whose term was begun in both, not followed in one; 0: none. */
static uint64_t begun_in_both(const baton_segments *a, const baton_segments *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (holds_term(&a->list[i], a->list[i].info.epoch) &&
            begun_again(a, b, a->list[i].info.epoch))
            return a->list[i].info.epoch;
    return 0;
}

static const char *forced(uint64_t epoch)
{
    return baton_epoch_forced_count(epoch) > 0 ? ", after a forced promotion" : "";
}

/* Neither holds the end of the other. */
static int tell_parted(const look *first, const look *second, const baton_recovery ends[2],
                       baton_error *error)
{
    static const char todo[] = "decide which of the two counts; keep the other one aside, and look "
                               "there for what clients were told";
    const uint64_t seqs[2] = {ends[0].report.last.seq, ends[1].report.last.seq};
    if (first->common_index == 0)
        return baton_error_setf(error, BATON_E_DIVERGED, what,
                                "look for the journal that was handed over to, or restore it",
                                "batch %" PRIu64 " of epoch %" PRIu64
                                ", the end of the first (entry %" PRIu64
                                "), is not in the chain of the second, and nothing is in both",
                                ends[0].report.last.batch, ends[0].report.last.epoch, seqs[0]);
    const chain_link *common = &first->links[first->common_index - 1];
    const uint64_t seq = common->position.seq;
    const uint64_t first_epoch = first->common_index < first->links_count
                                     ? first->links[first->common_index].position.epoch
                                     : ends[0].report.last.epoch;
    if (seqs[0] > seq && seqs[1] > seq)
        return baton_error_setf(
            error, BATON_E_DIVERGED, what, todo,
            "two writers after entry %" PRIu64 ", the last that both have: entries up to %" PRIu64
            " by epoch %" PRIu64 " in the first, up to %" PRIu64 " by epoch %" PRIu64
            " in the second%s",
            seq, seqs[0], first_epoch, seqs[1], second->next_epoch,
            forced(first_epoch > second->next_epoch ? first_epoch : second->next_epoch));
    return baton_error_setf(error, BATON_E_DIVERGED, what, todo,
                            "their chains part behind batch %" PRIu64 " (entry %" PRIu64
                            "), the last that both have: the first has %" PRIu64
                            " entries after it, the second %" PRIu64,
                            common->position.batch, seq, seqs[0] - seq, seqs[1] - seq);
}

/* Both were recovered. */
static int compare(const char *const directories[2], const baton_recovery ends[2], look looks[2],
                   baton_journal_pair *ret_pair, baton_error *error)
{
    int r = 0;
    for (int i = 1; i >= 0 && r == 0; i--) { /* is the end of the other one in this one? */
        looks[i].end = ends[1 - i].report.last;
        looks[i].end_digest = ends[1 - i].last_digest;
        r = look_at(directories[i], &looks[i], error);
    }
    if (r < 0)
        return r;
    ret_pair->first_goes_on = looks[0].found && !looks[1].found;
    ret_pair->second_goes_on = looks[1].found && !looks[0].found;
    if (!looks[0].found && !looks[1].found) {
        looks[0].keeps = true;
        r = look_at(directories[0], &looks[0], error);
        looks[1].part = true;
        looks[1].links = looks[0].links;
        looks[1].links_count = looks[0].links_count;
        if (r == 0)
            r = look_at(directories[1], &looks[1], error);
        looks[0].common_index = looks[1].common_index;
        return r < 0 ? r : tell_parted(&looks[0], &looks[1], ends, error);
    }
    const uint64_t twice = begun_in_both(&looks[0].walk.segments, &looks[1].walk.segments);
    if (twice != 0)
        return baton_error_setf(
            error, BATON_E_DIVERGED, what,
            "look which of the two clients were answered by, and keep the other one aside",
            "epoch %" PRIu64 " was begun in both: two writers", twice);
    return 0;
}

static int check_kin(const baton_recovery ends[2], baton_error *error)
{
    static const char todo[] = "look for the journal that was handed over to, or restore it";
    if (ends[0].empty || ends[1].empty)
        return baton_error_set(error, BATON_E_NOT_FOUND, what, "one of them is empty", todo);
    if (!baton_digest_equal(ends[0].id, ends[1].id))
        return baton_error_set(error, BATON_E_OTHER_JOURNAL, what,
                               "their ids differ: the second was not handed over from the first",
                               todo);
    return 0;
}

int baton_journal_verify_pair(const char *first, const char *second, baton_backend backend,
                              baton_journal_pair *ret_pair, baton_error *error)
{
    const char *const directories[2] = {first, second};
    const baton_io_options options = {.choice = baton_watch_io_choice(backend),
                                      .ops_max = COMPARE_OPS};
    baton_recovery ends[2] = {{0}, {0}};
    look looks[2] = {{.walk = {.file = BATON_IO_NO_FILE}}, {.walk = {.file = BATON_IO_NO_FILE}}};
    int r = 0;

    *ret_pair = (baton_journal_pair){0};
    for (int i = 0; i < 2 && r == 0; i++) {
        r = baton_io_open(&options, &looks[i].io, error);
        if (r == 0)
            r = baton_recover_beside(looks[i].io, directories[i], NULL, &ends[i], error);
    }
    if (r == 0)
        r = check_kin(ends, error);
    if (r == 0)
        r = compare(directories, ends, looks, ret_pair, error);
    if (r < 0 && error != NULL && error->path[0] == '\0')
        baton_error_at(error, second, UINT64_MAX);
    for (int i = 0; i < 2; i++) {
        baton_walk_close(&looks[i].walk);
        baton_recovery_fini(&ends[i]);
        if (looks[i].io != NULL)
            baton_io_close(looks[i].io);
    }
    free(looks[0].links);
    return r;
}

int baton_journal_verify_continues(const char *previous, const char *next, baton_backend backend,
                                   baton_error *error)
{
    baton_journal_pair pair;
    int r = baton_journal_verify_pair(previous, next, backend, &pair, error);
    if (r == 0 && pair.first_goes_on) {
        r = baton_error_set(error, BATON_E_DIVERGED, what,
                            "the end of the first is not in the second, which is a part of it",
                            "name them in the other order");
        baton_error_at(error, next, UINT64_MAX);
    }
    return r;
}
