/* drain/peer_socket.h: messages of drain/peer_wire.h over a channel, in both directions, never blocking. Over a
 * Unix socket descriptors come and go with a message's first byte (SCM_RIGHTS). */
#pragma once

#include "drain/peer_channel.h"
#include "drain/peer_wire.h"

#define BATON_HANDOVER_SOCKET "handover.sock" /* in the active's directory */

#define BATON_PEER_DESCRIPTORS_MAX BATON_PEER_CONNECTIONS_MAX /* of one message */

/* What has come and was not taken yet. Descriptors come with the first byte of the message that they belong
 * to, and no read goes on behind such a byte's message: so there are those of the first message, and of
 * one that has begun behind it. */
#define BATON_PEER_BUNDLES_MAX 2u
typedef struct {
    uint64_t *memory; /* heap, aligned as batches have to be */
    size_t capacity;
    size_t begin, end; /* bytes; begin is a multiple of 8 */
    size_t shown;      /* of the message that next returned */
    int descriptors[BATON_PEER_BUNDLES_MAX * BATON_PEER_DESCRIPTORS_MAX];
    uint32_t
        bundles[BATON_PEER_BUNDLES_MAX]; /* how many came with each of those messages, in order */
    uint32_t bundles_count;
    bool flooded;     /* more came than there may be */
    bool shown_bring; /* the message that next returned has those of the first bundle */
} baton_peer_inbox;

/* body_bytes_max: a longer one is refused. -ENOMEM. */
BATON_MUST_USE int baton_peer_inbox_init(baton_peer_inbox *inbox, uint32_t body_bytes_max);
void baton_peer_inbox_fini(baton_peer_inbox *inbox); /* closes descriptors that nobody took */
/* What is there now, as far as there is room: 1 something came, 0 not now (or no room), -EPIPE: it
 * has hung up, or what the channel says; channel->error says why. */
BATON_MUST_USE int baton_peer_receive(baton_peer_inbox *inbox, baton_peer_channel *channel);
/* The first whole message, checked: 1, 0: not yet, or what baton_peer_check says. Valid until the
 * next receive or next. */
BATON_MUST_USE int baton_peer_next(baton_peer_inbox *inbox, const baton_peer_header **ret_header,
                                   const void **ret_body, baton_error *error);
/* The message that next returned was dealt with; without this, it comes again. */
void baton_peer_took(baton_peer_inbox *inbox);
/* The descriptors that came with it are the caller's now; else took closes them. Of a CONNECTIONS message they may
 * be fewer than its header says: those of the last ones are missing when this process has no room for more. */
uint32_t baton_peer_take_descriptors(baton_peer_inbox *inbox, int *ret_fds);

/* One message on its way. body stays the caller's until it has left. */
typedef struct {
    baton_peer_header header;
    const void *body;
    uint32_t body_bytes;
    size_t sent;
    bool busy;
    int descriptors[BATON_PEER_DESCRIPTORS_MAX]; /* closed when they have left, or by drop */
    uint32_t descriptors_count;
} baton_peer_outgoing;

void baton_peer_put(baton_peer_outgoing *out, baton_peer_type type, const baton_peer_names *names,
                    const void *body, uint32_t body_bytes);
/* 1: all of it has left; 0: not now; or an error, as of receive. */
BATON_MUST_USE int baton_peer_send(baton_peer_outgoing *out, baton_peer_channel *channel);
void baton_peer_drop(baton_peer_outgoing *out);

/* A conversation of one that has nothing else to do, and waits. */
typedef struct {
    baton_peer_channel *channel;
    baton_peer_inbox *inbox;
    /* Until something may have happened to fd. An error: that ends the conversation. */
    int (*wait)(void *context, int fd, short events, baton_error *error);
    void *context;
    baton_error *error; /* why the last call failed */
} baton_peer_talk;

/* All of it has left: 0, or an error, which drops what has not. */
BATON_MUST_USE int baton_peer_say(const baton_peer_talk *talk, baton_peer_outgoing *out);
/* The next message is there, as of baton_peer_next: 0, or an error; -EPIPE: the other end has hung up. */
BATON_MUST_USE int baton_peer_hear(const baton_peer_talk *talk,
                                   const baton_peer_header **ret_header, const void **ret_body);
