/* drain/bootstrap_private.h: a waiting conversation with an active, which bootstrap.c (the active's own
 * files) and hydrate_from.c (a copy that stands elsewhere) share. */
#pragma once

#include "drain/bootstrap.h"
#include "drain/kept_snapshots.h"

#define BATON_PARENTS_MAX 64u /* of an increment: an active takes a full one long before */

typedef struct {
    const baton_follower_target *target;
    baton_peer_channel channel;
    baton_peer_inbox inbox;
    uint8_t active[BATON_PEER_NONCE_BYTES];
    baton_digest journal_id; /* the active's */
    baton_peer_fetch wanted;
    baton_pace pace;
    void (*pulse)(void *context); /* may be NULL */
    void *context;
    uint32_t protocol;
    bool is_beside; /* its own, on which it follows: what it promises is said there alone (M11) */
    baton_error *error;
} baton_fetching;

/* Nobody has been asked yet. */
void baton_fetching_init(baton_fetching *self, const baton_follower_target *target,
                         baton_error *error);
/* Both have judged each other: it may be asked. What fails stands in *self->error. */
BATON_MUST_USE int baton_fetching_open(baton_fetching *self);
/* For a snapshot by self->wanted.root; opened again when the active has hung up meanwhile. ret_said->root zero: there is none; else its pieces follow. */
BATON_MUST_USE int baton_fetching_ask(baton_fetching *self, baton_peer_snapshot *ret_said);
/* Also one that was never open; then it may be opened again. */
void baton_fetching_close(baton_fetching *self);

/* hydrate_from.c: the newest snapshot of path, a directory of them or an exported file, that the active
 * names, every chunk of it checked, durable in the standby's snapshots/. BATON_E_REFUSED: there is none that
 * can be used; why the newest one can't; BATON_E_NOT_FOUND: there is none at all. */
BATON_MUST_USE int baton_hydrate_from(const baton_follower_target *target, const char *path,
                                      baton_digest *ret_root, baton_error *error);
