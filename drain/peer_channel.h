/* drain/peer_channel.h: one connection between an active and a standby, whatever it goes over: a Unix socket
 * on one host, or TCP. Never blocks. What goes through it is drain/peer_socket.h.
 *
 * A channel that is not open yet takes nothing and has nothing: reading and writing say "not now", and carry its
 * beginning on. What goes wrong stands in channel->error, for one line in a log. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <baton/status.h>

#include "drain/tcp_address.h"

#define BATON_PEER_OPEN_NS UINT64_C(5000000000) /* from the connect to the first message, at most */

typedef struct baton_peer_tls baton_peer_tls; /* drain/peer_tls.h */

/* Of connections over TCP. The strings live as long as whoever was given it. */
typedef struct {
    const char *certificate_path, *key_path, *ca_path; /* all, or none */
    const char *name; /* that the other end's certificate has to have */
    bool plaintext;   /* on loopback alone */
} baton_peer_security;

typedef struct {
    char text[4096];       /* a path, or HOST:PORT */
    baton_tcp_address tcp; /* bytes 0: a Unix socket */
} baton_peer_address;

typedef struct {
    int fd; /* -1: none */
    bool
        is_remote; /* TCP: the other end may be on another host, which has no LOCK in common with this one (R12) */
    bool connecting;
    bool is_client;
    bool heard;          /* its first byte is there, and is one of TLS if that is wanted */
    uint64_t open_by_ns; /* 0: it is open */
    const baton_peer_security *security;
    baton_peer_tls *tls;                      /* NULL: none yet, or plaintext */
    char other[BATON_TCP_ADDRESS_TEXT_BYTES]; /* of TCP: the address at the other end */
    baton_error error;                        /* why the last call failed */
} baton_peer_channel;

#define BATON_PEER_CHANNEL_NONE ((baton_peer_channel){.fd = -1})

/* HOST:PORT, or a path. -ENAMETOOLONG. */
BATON_MUST_USE int baton_peer_address_parse(baton_peer_address *address, const char *text,
                                            baton_error *error);

/* Over a Unix socket the other end is there at once, or refuses, and is root or this user; over TCP this begins.
 * What fails is in channel->error, too. */
BATON_MUST_USE int baton_peer_channel_connect(baton_peer_channel *channel,
                                              const baton_peer_address *address,
                                              const baton_peer_security *security);
/* The next one that waits there: 1; 0: none; -errno of accept. security: NULL for a Unix socket, whose user the
 * caller asks for. */
BATON_MUST_USE int baton_peer_channel_accept(baton_peer_channel *channel, int listen_fd,
                                             const baton_peer_security *security);
/* 1: it is open; 0: not yet; or why it never will be. */
BATON_MUST_USE int baton_peer_channel_advance(baton_peer_channel *channel);
/* Part of a message has been taken that no write has counted yet: no other may follow it. */
bool baton_peer_channel_is_midway(const baton_peer_channel *channel);
/* What to poll for; to_send: there is something. */
short baton_peer_channel_wants(const baton_peer_channel *channel, bool to_send);
/* Bytes; -EAGAIN: not now; -EPIPE: it has hung up; or why it is of no use any more. */
BATON_MUST_USE ssize_t baton_peer_channel_read(baton_peer_channel *channel, void *to, size_t bytes);
BATON_MUST_USE ssize_t baton_peer_channel_write(baton_peer_channel *channel,
                                                const struct iovec *parts, uint32_t parts_count);
/* Has the other end not hung up, as far as can be seen now? What it left behind unread says nothing of that. */
bool baton_peer_channel_is_alive(const baton_peer_channel *channel);
/* said: where the other end says that it listens; as it can be reached from here into
 * ret_address: of every interface it is the one that this connection comes from. "": nowhere. */
void baton_peer_channel_reach(const baton_peer_channel *channel, const char *said,
                              char ret_address[BATON_TCP_ADDRESS_TEXT_BYTES]);
/* Tells the other end that no more comes. Then it gets a moment to take what was sent: closed with bytes of it
 * unread, TCP would take that back. left: false while that moment lasts. */
void baton_peer_channel_leave(baton_peer_channel *channel);
bool baton_peer_channel_has_left(baton_peer_channel *channel);
/* Both, waiting; stop_fd: readable when there is no time for that. */
void baton_peer_channel_linger(baton_peer_channel *channel, int stop_fd);
void baton_peer_channel_close(baton_peer_channel *channel);
