/* drain/grant_look.h: the grant as it stands in the active's directory, for the process that it names
 * and that nobody tells (R5 b and c). */
#pragma once

#include "drain/peer_channel.h"
#include "engine/run.h"

/* engine: the standby that gave its answer (M5). directory: the active's. connection: to that active,
 * or none.
 * 1: the record is there, durable, names this nonce, and no later term was begun there; what ends with
 * it was taken into the standby. 0: it is not there. BATON_E_LOCKED: somebody holds that directory, and
 * there is no connection to ask him. Others: it could not be read. Blocks for a short read and flush. */
BATON_MUST_USE int baton_grant_look(baton_engine *engine, const char *directory,
                                    const uint8_t nonce[16], const baton_peer_channel *connection,
                                    baton_error *error);
