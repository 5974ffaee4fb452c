/* drain/connections.h: connected sockets on their way from an active to its successor (R10): into
 * CONNECTIONS messages, and out of them again. Bounded; what does not fit is counted, and its client connects
 * again. */
#pragma once

#include "drain/peer_wire.h"

/* Left free for the journal, snapshots and the control socket. */
#define BATON_DESCRIPTORS_KEPT 64u

/* One message, on the heap: its descriptors are its own. */
typedef struct {
    uint32_t body_bytes;
    uint32_t fds_count;
    int fds[BATON_PEER_CONNECTIONS_MAX];
    uint64_t body[];
} baton_parcel;

void baton_parcel_free(baton_parcel *parcel); /* closes them; NULL is fine */

/* The first connections of the list that fit one message, their descriptors copied. *ret_used says how many
 * of the list this was; *ret_left, how many of those are not in it: too long for any message, or no descriptor is
 * free. NULL: none of them, or no memory. */
baton_parcel *baton_parcel_pack(const baton_connection *list, uint32_t count, uint32_t *ret_used,
                                uint32_t *ret_left);

/* What a standby was given and leaves untouched until the verdict. */
typedef struct {
    baton_connection *list; /* heap; points into bodies */
    uint32_t count;
    uint32_t lost; /* that did not fit here: closed */
    uint64_t bytes;
    void **bodies; /* heap */
    uint32_t bodies_count;
} baton_connections;

/* At the start of either side, where there is time: the soft limit of open files becomes the hard one, and the
 * kernel's table gets room for many at once. */
void baton_connections_make_room(void);
/* body was checked by baton_peer_check; fds are those that came with it, of the first fds_count
 * connections in it: fewer than it has when the process ran out of descriptors. They are taken or closed. */
void baton_connections_add(baton_connections *own, const baton_peer_connections *body,
                           uint32_t body_bytes, const int *fds, uint32_t fds_count);
/* The verdict: to the program, which is started; one that can't take them has them closed. */
void baton_connections_hand_on(const baton_connections *own, const baton_program *program,
                               void *context);
/* Nothing is closed: they are the program's. */
void baton_connections_forget(baton_connections *own);
void baton_connections_close(baton_connections *own);
