/* journal/watch.h: is a writer alive, and what has it published? For everybody who looks at a
 * journal without its lock. */
#pragma once

#include "journal/hint.h"
#include "journal/segments.h"
#include "journal/walk.h"

typedef struct {
    baton_io *io;
    char directory[BATON_JOURNAL_PATH_BYTES];
    baton_io_file lock_file;
    baton_hint *hint;
} baton_journal_watch;

BATON_MUST_USE int baton_watch_open(baton_journal_watch *watch, baton_io *io,
                                    const char *directory);
void baton_watch_close(baton_journal_watch *watch); /* before its io */
/* 1: a writer holds LOCK. 0: nobody does, or there is none. -errno. */
BATON_MUST_USE int baton_watch_locked(baton_journal_watch *watch);
/* What was last published, if anything. False leaves zeros. */
bool baton_watch_view(baton_journal_watch *watch, baton_hint_view *ret_view);
bool baton_watch_view_same(const baton_hint_view *a, const baton_hint_view *b);
/* Everything up to here is durable: where a walk has to stop beside a living writer. */
baton_chain_end baton_watch_end(const baton_hint_view *view);

/* A look at a journal without its lock, done again while what it finds may be the doing of a
 * writer that comes, goes, rolls or retires under it: beside.c. */
typedef struct baton_beside baton_beside;
struct baton_beside {
    baton_walk_options options; /* published, until: set before each look */
    int (*look)(baton_beside *beside, baton_error *error);
    baton_position last; /* set by look: where it ended */
};
/* What the last look said. */
BATON_MUST_USE int baton_beside_look(baton_io *io, const char *directory, baton_beside *beside,
                                     baton_error *error);

baton_io_choice baton_watch_io_choice(baton_backend backend);
