/* examples/exchange/wire/address.h: `unix:PATH` and `tcp:HOST:PORT`, for listening
 * and for connecting. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

typedef struct listener {
    int fd;              /* non-blocking, close-on-exec; -1: none */
    int lock_fd;         /* unix: holds PATH.lock for as long as the socket is ours; -1: none */
    char text[160];      /* the actual address: port 0 is replaced by what the kernel chose */
    char unix_path[108]; /* "" for tcp */
} listener;

#define LISTENER_NONE ((listener){.fd = -1, .lock_fd = -1})

/* A Unix socket's path is taken over only when nobody holds PATH.lock: so a stale one goes and a
 * living one stays. BATON_E_INVALID (the text), BATON_E_LOCKED, -errno; error says what to do. */
BATON_MUST_USE int listener_open(const char *address, listener *ret_listener, baton_error *error);
/* fd, and lock_fd of a Unix socket, came from another process that listens there: the rest of it. Without
 * an fd it is LISTENER_NONE. */
void listener_adopt(listener *own);
/* Closes, removes the Unix socket, then lets go of its lock. LISTENER_NONE and a closed one are
 * fine. */
void listener_close(listener *own);

/* The addresses in use, one a line; complete or absent, so that a reader never sees half of one. -errno. */
BATON_MUST_USE int address_write_file(const char *path, const char *const *texts, uint32_t count,
                                      baton_error *error);

/* Connect, blocking; the socket is blocking afterwards. BATON_E_INVALID or -errno. */
BATON_MUST_USE int address_connect(const char *address, int *ret_fd);
/* Begin to connect; the socket is non-blocking. 0: connected, or it is under way (it becomes writable then,
 * and SO_ERROR says how it went). BATON_E_INVALID or -errno. */
BATON_MUST_USE int address_dial(const char *address, int *ret_fd);
/* Can nobody but this machine's users connect here (a Unix socket, or TCP on loopback)? */
bool listener_is_local(const listener *own);
/* Of a connection that came in at such a socket: is its process allowed to give orders to this one? On a Unix
 * socket the same user and root are; TCP says nothing of users. */
bool address_peer_may_operate(int fd);
/* Of a connected TCP socket; a Unix one says no, and nothing is lost: small frames leave at once, and a peer
 * whose machine is gone is noticed within a minute. */
void address_set_options(int fd);
