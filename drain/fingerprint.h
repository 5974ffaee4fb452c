/* drain/fingerprint.h: what an active and a standby must agree on before clients notice anything: M10 and
 * its answer carry it, on each connection. Both judge by the same function, and use the same words. */
#pragma once

#include "drain/compatibility.h"
#include "drain/peer_wire.h"

/* Everything of *hello that follows from the build and from the journal here. engine NULL: there is none
 * yet; what only it knows is left out, and judged when it is there. */
void baton_fingerprint_put(baton_peer_hello *hello, const baton_service *service,
                           const baton_engine *engine);
/* The protocol that both speak: the lower of both highest; 0: none. */
uint32_t baton_fingerprint_protocol(const baton_peer_hello *a, const baton_peer_hello *b);
/* Both bodies were checked (peer_wire.h). BATON_E_NEWER_FORMAT: no common protocol, or the journal's
 * format. BATON_E_OTHER_SERVICE, BATON_E_TOO_LARGE (batches), BATON_E_SCHEMA (what is pinned),
 * BATON_E_UNKNOWN_TYPE (an entry type that is taken in). */
BATON_MUST_USE int baton_fingerprint_check(const baton_peer_hello *active,
                                           const baton_peer_hello *standby, baton_error *error);
/* May this one's version talk to the other's? Of a window that only warns: 0, and *ret_outside with the
 * words in *error. */
BATON_MUST_USE int baton_fingerprint_window(const baton_compatible *compatible,
                                            const baton_peer_hello *other, const char *who,
                                            bool *ret_outside, baton_error *error);
