/* examples/exchange/wire/door_private.h: what door.c (connections), door_frames.c (what they say) and
 * door_handover.c share. */
#pragma once

#include "examples/exchange/wire/door.h"

/* Where a client's answers go. */
typedef struct {
    uint64_t connection;     /* that last spoke for it; 0: none */
    uint32_t next, previous; /* clients of the same connection, while it lives; 0: none */
} client_route;

struct door {
    door_options options;
    wire_loop loop;
    uint64_t epoch;
    bool taking; /* false once the drain has begun */
    /* A successor has copies of all connections: until the verdict nobody touches them (M7). */
    bool given;
    uint8_t *notes; /* what it was told of them; malloc'ed */
    listener listeners[DOOR_ROLES_MAX];
    bool listening_paused; /* out of descriptors: until a connection closes, or the next tick */
    uint64_t accepts_count;
    client_route *routes; /* by client id */
    uint32_t places_max;  /* DOOR_CONNECTIONS_MAX, or fewer when descriptors are few */
    uint32_t places_kept; /* the last ones, for operators */
    uint32_t places_end;  /* places at and above it were never used */
    uint32_t turn_first;  /* the place that this turn begins with */
    door_place places[DOOR_CONNECTIONS_MAX]; /* place 0 stays empty: connection id 0 is none */
};

/* door_frames.c: take frames out of the connection and act on them, until there is none, or there is no
 * room. */
void door_intake(door *own, door_place *place);
/* door.c: a place for a connection; NULL: none, and fd is still the caller's. */
door_place *door_place_new(door *own, int fd, uint32_t role);
/* What a turn leaves behind: sent as far as possible, watched, or closed. */
void door_settle(door *own, door_place *place);
/* Stop and go on listening; whoever connects in between waits. */
void door_unwatch_listeners(door *own);
void door_listen_again(door *own);
