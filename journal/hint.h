/* journal/hint.h: the file `HINT`, memory that a writer shares with readers in other processes
 * (J11). Its first page says what is durable, so that a reader can tail; recovery ignores it. A
 * seqlock of plain 64-bit atomics, and a futex word that is woken after a change when somebody
 * waits. Behind it stand the newest batches: recent.h. Any process may map it read-only or
 * writable; a reader maps it writable only to count itself as waiting. */
#pragma once

#include "base/io.h"
#include "journal/format.h"
#include "journal/recent.h"

typedef struct baton_hint baton_hint;

typedef struct {
    baton_digest id;
    baton_position durable;
    uint64_t index;        /* segment that holds the durable end */
    uint64_t end_offset;   /* the byte after the last durable batch in it */
    uint64_t oldest_index; /* segments below were retired */
    bool open;             /* a writer is at work; says nothing when it was killed: check LOCK */
} baton_hint_view;

/* Writer: made or taken over, all values reset. */
BATON_MUST_USE int baton_hint_create(baton_io *io, const char *directory, baton_hint **ret_hint);
/* Who has just got the lock: what a writer that was killed left there says nothing any more, and must
 * not be believed beside the lock that is held again. No page is fine. */
BATON_MUST_USE int baton_hint_reset(baton_io *io, const char *directory);
/* Reader: -ENOENT when there is none. */
BATON_MUST_USE int baton_hint_attach(baton_io *io, const char *directory, baton_hint **ret_hint);
void baton_hint_close(baton_hint *hint); /* NULL is fine */
/* The newest batches. What the writer puts there must stand there before it is published. */
baton_recent *baton_hint_recent(baton_hint *hint);
/* One writer thread. Wakes waiters; a system call only when there are some. */
void baton_hint_publish(baton_hint *hint, const baton_hint_view *view);
/* A consistent copy. False when none could be had (never published, or a writer died in
 * between). */
bool baton_hint_read(const baton_hint *hint, baton_hint_view *ret_view);
/* Sleep until the view differs from *seen. 0, BATON_E_TIMEOUT, -EINTR. */
BATON_MUST_USE int baton_hint_wait(baton_hint *hint, const baton_hint_view *seen,
                                   uint64_t timeout_ns);
