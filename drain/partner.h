/* drain/partner.h: the other directory of a handover, and who of the two may begin a term when neither
 * runs (R7). Format v1's record has no place for that directory: it stands in `PARTNER` beside
 * `journal/`, one line, written by both sides before anything can be granted. */
#pragma once

#include "engine/run.h"

/* Durable when it returns. */
BATON_MUST_USE int baton_partner_write(const char *directory, const char *partner,
                                       baton_error *error);

/* What stands there: into *ret_socket, the handover socket of that directory. False: nothing. */
bool baton_partner_socket(const char *directory, char *ret_socket, uint32_t bytes);

/* For a start in a directory whose last term ended with a grant, or is not proven, and whose LOCK
 * engine holds as a standby: under both LOCKs, begin a new term if no later header stands in the
 * partner's. BATON_E_REFUSED: the authority is there, or it lives: the error says where, and what to do. */
BATON_MUST_USE int baton_partner_decide(baton_engine *engine, const char *directory,
                                        baton_error *error);
