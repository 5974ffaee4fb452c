/* journal/read_private.h: a reader, as read.c and read_batch.c see it. Nobody else includes this. */
#pragma once

#include "journal/follow.h"
#include "journal/walk.h"
#include "journal/watch.h"

struct baton_reader {
    baton_reader_options options;
    baton_io *io;
    baton_journal_watch watch;
    baton_walk walk;
    bool walk_begun;
    baton_hint_view begun; /* what the hint showed then */
    int failed;
    baton_error failure;

    const baton_batch_header *batch; /* being read, or NULL */
    uint32_t batch_offset;
    uint64_t batch_next_seq;
    baton_position batch_position;
    baton_position position;               /* of the last returned entry's batch */
    uint64_t applied_seq, applied_effects; /* as the last batch that was read says, marks too */
    bool returned_any;
    baton_follow_start start; /* of the first batch that was returned whole */
    baton_position after;     /* the follower has everything up to it; batch 0: nothing */
    baton_digest after_digest;
    uint32_t restarts;

    bool seen_valid; /* the view that the last answer rests on: what a wait waits to see changed */
    baton_hint_view seen;
    bool met; /* a published walk was begun, first with this view */
    baton_hint_view first;
    bool moved;             /* and another view was seen since */
    uint64_t held_until_ns; /* LOCK was held when it was looked at; not looked at again before */
    /* What recovery accepted when nobody held the lock; good while the hint shows the same. */
    bool rest_known;
    baton_hint_view rest_view;
    baton_chain_end rest;
};

/* read.c: as baton_reader_open, for one that has everything up to `after`. */
int journal_reader_open(const char *directory, const baton_reader_options *options,
                        baton_position after, baton_digest digest, baton_reader **ret_reader,
                        baton_error *error);
/* read.c: the next accepted batch: 1, 0: none now, or an error. */
int journal_reader_load(baton_reader *reader, const baton_batch_header **ret_batch,
                        baton_error *error);
