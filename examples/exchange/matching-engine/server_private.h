/* examples/exchange/matching-engine/server_private.h: what server.c (connections), intake.c
 * (commands), release.c (effects) and handover.c share. */
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
    bool shared;       /* its socket was passed on, or came from another: copies may be elsewhere */
    uint64_t told_seq; /* of the last trades queued for this subscriber; 0: none yet */
    uint32_t told_index;
    uint32_t first_client; /* those that last spoke here: a list by client_route; 0: none */
    uint32_t clients_count;
} client_place;

/* Where a client's answers go. */
typedef struct {
    uint64_t connection;     /* that last spoke for it; 0: none */
    uint32_t next, previous; /* clients of the same connection, while it lives; 0: none */
} client_route;

struct server {
    baton_engine *engine;
    bool client_time; /* --ticks client */
    bool taking;      /* false once the drain has begun */
    bool
        given; /* a successor has copies of all connections: until the verdict nobody touches them */
    uint8_t *notes; /* what it was told of them; malloc'ed */
    listener orders;
    listener feed;
    bool listening_paused; /* out of descriptors: until a connection closes, or the next tick */
    uint64_t accepts_count;
    uint32_t held_back_count;
    uint64_t feed_id;     /* the connection that gets trades; 0: none */
    client_route *routes; /* by client id */
    uint32_t places_max;  /* SERVER_CONNECTIONS_MAX, or fewer when descriptors are few */
    uint32_t places_end;  /* places at and above it were never used */
    uint32_t turn_first;  /* the place that this turn begins with */
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
void server_route_to(server *own, uint64_t client_id, client_place *place);
/* A place for a connection; NULL: none, and fd is still the caller's. */
client_place *server_place(server *own, int fd, server_role role);
/* What a turn leaves behind: sent as far as possible, watched, or closed. */
void server_settle(server *own, client_place *place);
void server_listen_again(server *own);
void server_refuse(client_place *place, int status,
                   const char *text); /* ERROR frame, then the end */
/* handover.c: see baton/main.h */
void server_pause_intake(void *context);
void server_resume_intake(void *context);
uint32_t server_give_fds(void *context, baton_passed_fd fds[BATON_PASSED_FDS_MAX]);
void server_take_fds(void *context, const baton_passed_fd *fds, uint32_t fds_count);
uint32_t server_give_connections(void *context, baton_connection *connections,
                                 uint32_t connections_max);
void server_take_connections(void *context, const baton_connection *connections,
                             uint32_t connections_count);
void server_let_go(void *context);
