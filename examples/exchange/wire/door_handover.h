/* examples/exchange/wire/door_handover.h: a door and what came in through it, on the way to a living
 * successor and from a predecessor: for the functions of the same names in <baton/main.h>, which say when
 * each is called. Between give_connections and the verdict no connection is read, written, watched or
 * closed (M7). */
#pragma once

#include <baton/main.h>

#include "examples/exchange/wire/door.h"

void door_pause_intake(door *own); /* what listens goes on listening: whoever connects waits */
void door_resume_intake(door *own);
uint32_t door_give_fds(const door *own, baton_passed_fd fds[BATON_PASSED_FDS_MAX]);
void door_take_fds(door *own, const baton_passed_fd *fds, uint32_t fds_count);
uint32_t door_give_connections(door *own, baton_connection *connections, uint32_t connections_max);
void door_take_connections(door *own, const baton_connection *connections,
                           uint32_t connections_count);
/* The successor listens there: the paths and their locks are its own now. */
void door_let_go(door *own);
