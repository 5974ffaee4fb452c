/* drain/undecided.h: an instance that may be the authority, or may not, and can't know (R7, R12): it waits, serves
 * nobody, and shows the operator what it knows and what he can choose from. And what he chooses: a promotion by
 * force, which adds 2^32 to the epoch and says so for ever. */
#pragma once

#include "drain/run_private.h"

/* A start that may begin nothing by itself, and whose partner can be asked only. The engine is open as a standby,
 * partner stands in run->partner. */
BATON_MUST_USE int baton_undecided_start(service_run *run, baton_error *error);
/* After each turn: what came decides, or the log says that nothing has. */
BATON_MUST_USE int baton_undecided_turn(service_run *run, baton_error *error);
bool baton_undecided_is(const service_run *run);
json_t *baton_undecided_describe(const service_run *run); /* NULL: it is not */

/* promote --force. Refused: BATON_E_REFUSED while the active is connected, or lives on this host; BATON_E_INVALID
 * when this one serves. 0: it begins. */
BATON_MUST_USE int baton_undecided_promote(service_run *run, baton_error *error);
/* 1: it serves, *ret_report; 0: not yet; or why not. */
BATON_MUST_USE int baton_undecided_promote_state(service_run *run, json_t **ret_report,
                                                 baton_error *error);

/* ---- of one that serves: herald.h ---- */
void baton_undecided_serves(service_run *run); /* it begins to */
void baton_undecided_close(service_run *run);
