#include "examples/exchange/wire/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_BYTES_FIRST = 16 << 10 };

int connection_open(connection *own, int fd, uint64_t out_max)
{
    *own = (connection){.fd = -1, .out_max = out_max, .out_capacity = OUT_BYTES_FIRST};
    own->in = malloc(CONNECTION_IN_BYTES);
    own->out = malloc(OUT_BYTES_FIRST);
    if (!own->in || !own->out) {
        connection_close(own);
        return -ENOMEM;
    }
    own->fd = fd;
    return 0;
}

void connection_close(connection *own)
{
    if (own->fd >= 0)
        close(own->fd);
    free(own->in);
    free(own->out);
    *own = (connection){.fd = -1};
}

void connection_receive(connection *own)
{
    connection_receive_some(own, CONNECTION_IN_BYTES);
}

void connection_receive_some(connection *own, uint32_t bytes_max)
{
    if (own->in_begin > 0) {
        memmove(own->in, own->in + own->in_begin, own->in_end - own->in_begin);
        own->in_end -= own->in_begin;
        own->in_begin = 0;
    }
    const uint32_t room = CONNECTION_IN_BYTES - own->in_end;
    const uint32_t until = own->in_end + (bytes_max < room ? bytes_max : room);
    for (bool drained = false; !drained && own->in_end < until;) {
        const uint32_t wanted = until - own->in_end;
        ssize_t got = recv(own->fd, own->in + own->in_end, wanted, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got <= 0) {
            own->ended = got == 0;
            own->failed = got < 0;
            return;
        }
        own->in_end += (uint32_t)got;
        drained = (uint32_t)got < wanted; /* what comes later makes it readable again */
    }
}

frame_verdict connection_frame(connection *own, uint16_t *ret_type, const void **ret_body,
                               uint32_t *ret_body_bytes)
{
    uint32_t available = own->in_end - own->in_begin;
    if (available < sizeof(exchange_frame))
        return FRAME_NONE;
    exchange_frame frame;
    memcpy(&frame, own->in + own->in_begin, sizeof(frame));
    uint32_t body_bytes = baton_le32_get(frame.body_bytes);
    if (body_bytes > EXCHANGE_BODY_BYTES_MAX)
        return FRAME_TOO_LARGE;
    if (frame.zero[0] != 0 || frame.zero[1] != 0)
        return FRAME_MALFORMED;
    if (available < sizeof(frame) + body_bytes)
        return FRAME_NONE;
    *ret_type = baton_le16_get(frame.type);
    *ret_body = own->in + own->in_begin + sizeof(frame);
    *ret_body_bytes = body_bytes;
    return FRAME_READY;
}

void connection_take(connection *own)
{
    exchange_frame frame;
    memcpy(&frame, own->in + own->in_begin, sizeof(frame));
    own->in_begin += (uint32_t)sizeof(frame) + baton_le32_get(frame.body_bytes);
}

frame_verdict connection_each(connection *own, connection_taker taker, void *context)
{
    frame_verdict verdict = FRAME_NONE;
    bool room = true;
    while (room && own->fd >= 0 && !own->closing && !own->failed) {
        uint16_t type;
        const void *body;
        uint32_t body_bytes;
        verdict = connection_frame(own, &type, &body, &body_bytes);
        if (verdict != FRAME_READY)
            break;
        room = taker(context, type, body, body_bytes);
        if (room && own->fd >= 0)
            connection_take(own);
        own->held_back = !room; /* the frames behind it come for the first time */
    }
    own->held_back = !room;
    if (own->ended && verdict == FRAME_NONE && !own->closing)
        own->failed = true;
    return verdict;
}

/* Room for bytes more at out_end. What is queued moves only when at least as much was sent since: a
 * slow reader must not make the engine copy all that waits for it at each of its reads. */
static bool out_reserve(connection *own, uint64_t bytes)
{
    uint64_t queued = own->out_end - own->out_begin;
    if (queued + bytes > own->out_max)
        return false;
    if (own->out_end + bytes <= own->out_capacity)
        return true;
    if (own->out_begin >= queued + bytes) {
        memmove(own->out, own->out + own->out_begin, queued);
        own->out_begin = 0;
        own->out_end = queued;
        return true;
    }
    uint64_t capacity = own->out_capacity; /* stays below four times out_max */
    while (capacity < own->out_end + bytes)
        capacity *= 2;
    uint8_t *grown = realloc(own->out, capacity);
    if (!grown)
        return false;
    own->out = grown;
    own->out_capacity = capacity;
    return true;
}

bool connection_restore(connection *own, const void *received, uint32_t received_bytes,
                        const void *unsent, uint32_t unsent_bytes)
{
    if (received_bytes > CONNECTION_IN_BYTES || !out_reserve(own, unsent_bytes))
        return false;
    memcpy(own->in, received, received_bytes);
    memcpy(own->out, unsent, unsent_bytes);
    own->in_end = received_bytes;
    own->out_end = unsent_bytes;
    return true;
}

bool connection_has_room(const connection *own, uint32_t body_bytes)
{
    return own->out_end - own->out_begin + sizeof(exchange_frame) + body_bytes <= own->out_max;
}

void connection_queue(connection *own, uint16_t type, const void *body, uint32_t body_bytes,
                      const void *more, uint32_t more_bytes)
{
    exchange_frame frame = {.body_bytes = baton_le32_put(body_bytes + more_bytes),
                            .type = baton_le16_put(type)};
    if (own->failed || own->closing)
        return;
    if (!out_reserve(own, sizeof(frame) + body_bytes + more_bytes)) {
        own->failed = true;
        return;
    }
    uint8_t *place = own->out + own->out_end;
    memcpy(place, &frame, sizeof(frame));
    if (body_bytes > 0)
        memcpy(place + sizeof(frame), body, body_bytes);
    if (more_bytes > 0)
        memcpy(place + sizeof(frame) + body_bytes, more, more_bytes);
    own->out_end += sizeof(frame) + body_bytes + more_bytes;
}

void connection_send(connection *own)
{
    while (!own->failed && !connection_all_sent(own)) {
        ssize_t sent =
            send(own->fd, own->out + own->out_begin, own->out_end - own->out_begin, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (sent < 0)
            own->failed = true;
        else
            own->out_begin += (uint64_t)sent;
    }
    if (!connection_all_sent(own))
        return;
    own->out_begin = own->out_end = 0;
    if (own->out_capacity <= CONNECTION_OUT_BYTES_KEPT)
        return;
    uint8_t *shrunk = realloc(own->out, OUT_BYTES_FIRST);
    if (shrunk) {
        own->out = shrunk;
        own->out_capacity = OUT_BYTES_FIRST;
    }
}
