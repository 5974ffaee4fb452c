/* snapshot/pack_fork.h: a portable snapshot packed by a child, from its frozen copy of the memory,
 * while the service goes on (S4). For the engine.
 *
 *     baton_pack_fork_begin()                        at an entry boundary: the pause is the fork
 *     baton_pack_fork_poll() until it is not BATON_E_AGAIN
 *     baton_snapshot_writer_finish(), baton_snapshot_publish_begin_at() with baton_pack_fork_path()
 *     baton_pack_fork_handed_over(), baton_pack_fork_end()
 *
 * The child closes the parent's descriptors first and dies with it. It writes the chunks under the
 * publisher's unfinished name and makes them durable; what has a name is the publisher's, in the
 * parent (S1). Beside the frozen pages that the service writes to, it holds one slab in memory.
 *
 * Not for a state in shared memory: a child would see what is written after its birth. */
#pragma once

#include <sys/types.h>

#include "snapshot/store.h"

typedef struct baton_pack_fork baton_pack_fork;

typedef struct {
    const char *directory;
    uint64_t seq; /* with epoch: the snapshot's name */
    uint64_t epoch;
    baton_compress compress;
    baton_io_options io; /* of the child's own; sizes are set here */
    bool background;     /* the child gets out of the service's way */
    /* In the child: the state's digest and rows. May change memory: it is the child's. */
    int (*pack)(void *context, baton_snapshot_writer *writer, baton_digest *ret_state_digest,
                baton_error *error);
    void *context;
} baton_pack_fork_options;

/* An error: no child was born, nothing happened. */
BATON_MUST_USE int baton_pack_fork_begin(const baton_pack_fork_options *options,
                                         baton_pack_fork **ret_fork, baton_error *error);
/* Never blocks. BATON_E_AGAIN; 0: the chunks are durable, and *ret_writer is theirs, to be finished
 * by the caller; else why it failed: its file is gone, the service goes on. A full disk is
 * BATON_E_NO_SPACE. Not after an answer other than BATON_E_AGAIN. */
BATON_MUST_USE int baton_pack_fork_poll(baton_pack_fork *fork, baton_snapshot_writer **ret_writer,
                                        baton_digest *ret_state_digest, baton_error *error);
/* Of the chunks, for baton_snapshot_publish_begin_at; after it has begun they are the publisher's. */
const char *baton_pack_fork_path(const baton_pack_fork *fork);
void baton_pack_fork_handed_over(baton_pack_fork *fork);
pid_t baton_pack_fork_child(const baton_pack_fork *fork); /* 0: it has ended */
/* At any time: ends the child, waits for it, removes its file, by io, unless it was handed over.
 * NULL is fine. */
void baton_pack_fork_end(baton_pack_fork *fork, baton_io *io);
