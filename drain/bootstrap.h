/* drain/bootstrap.h: before a standby has a state: whom it follows, and a snapshot of the active's when its own
 * directory is empty. Blocking, before the engine opens. */
#pragma once

#include "drain/fingerprint.h"
#include "drain/other_directory.h"
#include "drain/pace.h"
#include "drain/peer_faults.h"
#include "drain/peer_socket.h"
#include "drain/place.h"
#include "drain/program.h"

typedef struct {
    baton_peer_address active;
    const baton_peer_security *security;
    baton_place *place; /* the standby's own; lives as long as this */
    uint8_t nonce[BATON_PEER_NONCE_BYTES];
    const baton_service *service;
    baton_if_diverged if_diverged;
    const baton_compatible *compatible;
    baton_peer_faults *faults;
    uint64_t stall_ns;              /* of a fetch; 0: as pace.h has it */
    const baton_fetch_watch *watch; /* while this instance starts; NULL: nobody */
} baton_follower_target;

/* standby_of: the active's directory, its handover socket, or HOST:PORT. security and place live as long as
 * the target. */
BATON_MUST_USE int baton_follower_target_init(baton_follower_target *target, const char *standby_of,
                                              baton_place *place, const baton_service *service,
                                              const char *nonce_text,
                                              const baton_peer_security *security,
                                              baton_error *error);
/* A directory, whose handover socket it is, that socket, or HOST:PORT. */
BATON_MUST_USE int baton_follower_address(const char *of, baton_peer_address *ret_address,
                                          baton_error *error);
/* What the standby says of itself; engine NULL: there is none yet. */
void baton_follower_hello(const baton_follower_target *target, const baton_engine *engine,
                          baton_peer_hello *ret_hello);
/* May it follow who answered so? hello is what it said itself. BATON_E_REFUSED: the version, or an older
 * term; BATON_E_OTHER_JOURNAL; those of baton_fingerprint_check. What is only warned of is told. */
BATON_MUST_USE int baton_follower_judge(const baton_follower_target *target,
                                        const baton_engine *engine, const baton_peer_hello *hello,
                                        const baton_peer_header *header,
                                        const baton_peer_hello *welcome,
                                        baton_peer_fault *ret_fault, baton_error *error);
/* When the directory has no journal yet: fetch the active's newest snapshot, every chunk checked, and
 * say its root; zero: the active has none, or there is a journal. One that is there already is not
 * fetched again. hydrate_from: take it from there, a directory of snapshots or an exported file, the
 * newest that the active names; NULL: the active sends it. What target->watch ends it with, and
 * BATON_E_TIMEOUT (pace.h): of what had begun to come nothing stays; what came whole does. */
BATON_MUST_USE int baton_bootstrap(const baton_follower_target *target, const char *hydrate_from,
                                   baton_digest *ret_root, baton_error *error);
/* The snapshot that the active has just told of (R13), into the standby's snapshots/, durable: linked
 * from its directory where that can be ("": it can't), else sent. pulse, between two pieces, may be NULL. */
BATON_MUST_USE int baton_bootstrap_fetch(const baton_follower_target *target,
                                         const char *active_directory,
                                         const baton_peer_snapshot *said,
                                         void (*pulse)(void *context), void *context,
                                         baton_error *error);
