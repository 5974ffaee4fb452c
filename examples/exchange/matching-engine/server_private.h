/* examples/exchange/matching-engine/server_private.h: what server.c (connections), intake.c
 * (commands) and release.c (effects) share. */
#pragma once

#include "examples/exchange/matching-engine/server.h"

typedef enum { ROLE_ORDERS, ROLE_FEED } server_role;

/* A connection and where it came in. */
typedef struct {
    connection stream;
    server *owner;
    server_role role;
    bool subscribed;
    bool behind;       /* what follows `told` waits in the outbox until the connection has room */
    uint64_t told_seq; /* of the last trades queued for this subscriber; 0: none yet */
    uint32_t told_index;
} client_place;

struct server {
    baton_engine *engine;
    bool client_time; /* --ticks client */
    bool taking;      /* false once the drain has begun */
    listener orders;
    listener feed;
    bool listening_paused; /* out of descriptors: until a connection closes, or the next tick */
    uint64_t accepts_count;
    uint32_t held_back_count;
    uint64_t feed_id;    /* the connection that gets trades; 0: none */
    uint64_t *routes;    /* by client id: the connection that last spoke for it */
    uint32_t places_max; /* SERVER_CONNECTIONS_MAX, or fewer when descriptors are few */
    uint32_t places_end; /* places at and above it were never used */
    uint32_t turn_first; /* the place that this turn begins with */
    client_place places[SERVER_CONNECTIONS_MAX]; /* place 0 stays empty: connection id 0 is none */
};

/* intake.c: take frames out of the connection and act on them, until there is none, or the
 * journal has no room. */
void server_intake(server *own, client_place *place);
/* release.c */
void server_release(void *context, const baton_effect *effect);
void server_subscribe(server *own, client_place *place);
void server_feed_on(server *own, client_place *place); /* what is behind, as far as there is room */
/* server.c: the connection a client's answers go to; NULL: none. */
connection *server_route(server *own, uint64_t client_id);
void server_refuse(client_place *place, int status,
                   const char *text); /* ERROR frame, then the end */
