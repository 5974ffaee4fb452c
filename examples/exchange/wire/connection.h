/* examples/exchange/wire/connection.h: one client's stream of frames, with bounded
 * buffers. It never blocks and knows nothing about orders. The peer is not trusted: sizes are
 * checked before they are used. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "examples/exchange/protocol.h"

enum {
    CONNECTION_IN_BYTES = 64 << 10,
    /* A client that does not read is dropped; it may come back and resend. Room for all that one
     * turn may release (65,536 effects, most of them below 200 bytes), so that one that reads is
     * not taken for one that does not. */
    CONNECTION_OUT_BYTES_MAX = 16 << 20,
    CONNECTION_OUT_BYTES_KEPT = 1 << 20, /* larger buffers are given back once all is sent */
};

typedef struct {
    int fd;      /* -1: the place is free */
    uint64_t id; /* names this connection, not the one that had the place before; 0: none */
    bool greeted;
    bool closing;      /* close once everything queued is sent */
    bool ended;        /* the peer sends nothing more: close when what it sent is taken */
    bool failed;       /* the peer is gone or broke a rule: close now */
    bool held_back;    /* its next frame was shown to its owner, and waits for room */
    uint32_t watched;  /* epoll events asked for */
    uint64_t accepted; /* number of the accept: older is smaller */
    uint8_t *in;       /* CONNECTION_IN_BYTES */
    uint32_t in_begin;
    uint32_t in_end;
    uint8_t *out; /* holds up to out_max that wait */
    uint64_t out_begin;
    uint64_t out_end;
    uint64_t out_capacity;
    uint64_t out_max;
} connection;

/* Take over fd (non-blocking); at most out_max bytes wait for it. -ENOMEM: fd is not closed. */
BATON_MUST_USE int connection_open(connection *own, int fd, uint64_t out_max);
void connection_close(connection *own);

/* Read what there is, as far as the buffer has room. Sets ended at the stream's end, failed at an
 * error; either may come with the next call only, when the socket is readable again. */
void connection_receive(connection *own);
void connection_receive_some(connection *own, uint32_t bytes_max); /* no more than that */
typedef enum { FRAME_NONE, FRAME_READY, FRAME_TOO_LARGE, FRAME_MALFORMED } frame_verdict;
/* The first whole frame in the buffer, not yet taken: *ret_body stays until connection_take. */
frame_verdict connection_frame(connection *own, uint16_t *ret_type, const void **ret_body,
                               uint32_t *ret_body_bytes);
void connection_take(connection *own); /* drop the frame that connection_frame showed */

/* True: the frame is dealt with. False: there is no room for it now. It may set closing or failed, or close the
 * connection. */
typedef bool (*connection_taker)(void *context, uint16_t type, const void *body,
                                 uint32_t body_bytes);
/* Show one frame after the other, and take it, until there is no whole one (FRAME_NONE) or no room for one
 * (FRAME_READY: held_back is set, it is shown again). Once all is taken and the peer has ended, it has failed. What
 * is no frame is left to the caller. */
frame_verdict connection_each(connection *own, connection_taker taker, void *context);

/* Of a connection that was just opened: what another process had read from it and queued for it. False: that
 * is more than there may be, or memory is short. */
BATON_MUST_USE bool connection_restore(connection *own, const void *received,
                                       uint32_t received_bytes, const void *unsent,
                                       uint32_t unsent_bytes);
/* Would a frame with so much body fit now? */
bool connection_has_room(const connection *own, uint32_t body_bytes);
/* Queue a frame of one or two pieces (each may be NULL, with 0 bytes). Sets failed when out_max would be
 * passed. */
void connection_queue(connection *own, uint16_t type, const void *body, uint32_t body_bytes,
                      const void *more, uint32_t more_bytes);
/* Send what is queued, as far as the socket takes it. */
void connection_send(connection *own);
static inline bool connection_all_sent(const connection *own)
{
    return own->out_begin == own->out_end;
}
