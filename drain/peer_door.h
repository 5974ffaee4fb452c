/* drain/peer_door.h: the TCP address where an instance's standbys connect. It is taken at the start of the
 * process, also by a standby, which listens there only when it is the active. */
#pragma once

#include "drain/peer_channel.h"

typedef struct {
    int fd;                                  /* -1: none */
    char text[BATON_TCP_ADDRESS_TEXT_BYTES]; /* with the port that it is */
} baton_peer_door;

/* wanted: port 0 is any free one. BATON_E_LOCKED: another process listens there; -errno. Not
 * listening yet. */
BATON_MUST_USE int baton_peer_door_open(baton_peer_door *door, const baton_tcp_address *wanted,
                                        baton_error *error);
BATON_MUST_USE int baton_peer_door_begin(baton_peer_door *door, baton_error *error);
/* Who connects from here on is refused; the address is kept. */
void baton_peer_door_pause(baton_peer_door *door);
void baton_peer_door_close(baton_peer_door *door);
