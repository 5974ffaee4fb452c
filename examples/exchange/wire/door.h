/* examples/exchange/wire/door.h: the door of a process that has clients: sockets that listen, the
 * connections that came in there, and which of them speaks for which client. What frames mean is the
 * owner's: one function a kind of socket. A Baton service passes all of it to its successor
 * (door_handover.h).
 *
 * One thread, inside the loop's callbacks. Nothing here blocks, and nothing that a client sends or fails
 * to read grows without bound (M3). Invariants M3, M4, M7: ../matching-engine/README.md. */
#pragma once

#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/connection.h"
#include "examples/exchange/wire/loop.h"

enum {
    /* A full house drops the oldest that has not said HELLO, or is to be closed anyway. */
    DOOR_CONNECTIONS_MAX = 1024,
    DOOR_ROLES_MAX = 4,
    DOOR_OPERATORS_MIN =
        8, /* places that others than operators do not get, where there are operators */
};

#define DOOR_OUT_BYTES_MAX (UINT64_C(1) << 30) /* of all connections; past it the largest goes */

typedef struct door door;

/* A connection and where it came in. */
typedef struct {
    connection stream;
    door *owner;
    uint32_t role; /* index into the roles: the socket that it came in at */
    bool shared;   /* its socket was passed on, or came from another: copies may be elsewhere */
    uint32_t first_client; /* those that last spoke here: a list by door_route; 0: none */
    uint32_t clients_count;
    /* A subscriber of effects (feed.h). */
    uint32_t consumer; /* 0: it has not subscribed */
    bool behind;       /* what follows `told` waits in the outbox until the connection has room */
    uint64_t told_seq; /* of the last effect queued for it; 0: none yet */
    uint32_t told_index;
} door_place;

/* A kind of socket. */
typedef struct {
    const char *name;       /* of the passed descriptors: up to 10 bytes, no '.' */
    uint64_t out_bytes_max; /* that may wait for one connection; CONNECTION_OUT_BYTES_MAX or less */
    /* A frame of a connection that has said HELLO. True: it is dealt with. False: there is no room for it
     * now (M4), and it is shown again later. */
    bool (*take)(void *owner, door_place *place, uint16_t type, const void *body,
                 uint32_t body_bytes);
    /* All is sent of a connection that is `behind`. NULL: none ever is. */
    void (*has_room)(void *owner, door_place *place);
    /* For operators: such a socket is a Unix one, for this process's user and root, or on loopback; and some of
     * the places are kept for it, however many clients there are. */
    bool operators;
} door_role;

typedef struct {
    const char *version; /* told in WELCOME, up to 31 bytes */
    const door_role *roles;
    uint32_t roles_count;
    void *owner; /* given to the roles' functions */
} door_options;

/* About 256 MiB of address space, touched only as clients come. options->roles stays the caller's.
 * -ENOMEM. */
BATON_MUST_USE int door_create(const door_options *options, door **ret_door);
void door_destroy(door *own); /* NULL is fine; door_stop comes first */

typedef struct {
    wire_loop loop;
    uint64_t epoch;               /* told in WELCOME; 0: there is none */
    const char *const *addresses; /* one a role, as in address.h; "": no such socket */
    const char *port_file; /* the addresses in use are written here, one a line; "": nowhere */
} door_start_options;
/* Listen (unless a predecessor's sockets are here already) and take in what comes. On an error nothing
 * listens. */
BATON_MUST_USE int door_start(door *own, const door_start_options *options, baton_error *error);
const char *door_address(const door *own, uint32_t role); /* in use; "" */
/* Once a turn of the loop: takes up what was held back, sends, and closes what is over. */
void door_turn(door *own);
/* Sends on that connection ahead of the turn, if it is still there. */
void door_send(door *own, uint64_t connection_id);
/* Now and then, 10 ms or so: after a shortage of descriptors it listens again. */
void door_tick(door *own);
/* No more comes in; what is to be sent still leaves with door_turn. */
void door_stop_intake(door *own);
bool door_all_sent(const door *own);
uint32_t door_connections(const door *own); /* how many there are */
void door_stop(door *own);                  /* closes everything */

/* ERROR, then the end of this connection. */
void door_refuse(door_place *place, int status, const char *text);
/* NULL: it is gone. An id names a connection, not its place: it never comes again. */
door_place *door_named(door *own, uint64_t connection_id);
/* The connection that a client's answers go to; NULL: none. */
connection *door_route(door *own, uint64_t client_id);
/* From here on that is this one, unless the frame in hand is one that was held back and comes again, and the client
 * has a connection already: that is the newer word. client_id is 1..EXCHANGE_CLIENT_ID_MAX. */
void door_route_to(door *own, uint64_t client_id, door_place *place);
