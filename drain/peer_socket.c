/* drain/peer_socket.c: messages and descriptors of one connection. */
#include "drain/peer_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

/* ---- in ---- */

int baton_peer_inbox_init(baton_peer_inbox *inbox, uint32_t body_bytes_max)
{
    const size_t capacity = sizeof(baton_peer_header) + body_bytes_max;
    *inbox = (baton_peer_inbox){.memory = malloc(capacity), .capacity = capacity};
    return inbox->memory != NULL ? 0 : -ENOMEM;
}

static void close_all(int *fds, uint32_t *count)
{
    for (uint32_t i = 0; i < *count; i++)
        close(fds[i]);
    *count = 0;
}

static uint32_t descriptors_held(const baton_peer_inbox *inbox)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < inbox->bundles_count; i++)
        sum += inbox->bundles[i];
    return sum;
}

void baton_peer_inbox_fini(baton_peer_inbox *inbox)
{
    uint32_t held = descriptors_held(inbox);
    close_all(inbox->descriptors, &held);
    free(inbox->memory);
    *inbox = (baton_peer_inbox){0};
}

static uint8_t *bytes_of(const baton_peer_inbox *inbox)
{
    return (uint8_t *)inbox->memory;
}

/* A sender that sends more than there may be: they are closed, and next says so. */
static void keep_descriptors(baton_peer_inbox *inbox, struct msghdr *message)
{
    const uint32_t before = descriptors_held(inbox);
    uint32_t came = 0;
    bool any = (message->msg_flags & MSG_CTRUNC) != 0; /* if none could be opened, none is here */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        any = true;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (inbox->bundles_count < BATON_PEER_BUNDLES_MAX &&
                came < BATON_PEER_DESCRIPTORS_MAX) {
                inbox->descriptors[before + came++] = fd;
            } else {
                close(fd);
                inbox->flooded = true;
            }
        }
    }
    if (any && inbox->bundles_count < BATON_PEER_BUNDLES_MAX)
        inbox->bundles[inbox->bundles_count++] = came;
}

/* From a Unix socket, with what comes along. */
static ssize_t receive_local(baton_peer_inbox *inbox, int fd, struct iovec *room)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * BATON_PEER_DESCRIPTORS_MAX)];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = room,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -errno;
    keep_descriptors(inbox, &message);
    return n > 0 ? n : -EPIPE;
}

static int hung_up(baton_peer_channel *channel, int status)
{
    return baton_error_set(&channel->error, status, "the connection to the other instance",
                           "it has hung up", NULL);
}

int baton_peer_receive(baton_peer_inbox *inbox, baton_peer_channel *channel)
{
    if (inbox->begin > 0) {
        memmove(inbox->memory, bytes_of(inbox) + inbox->begin, inbox->end - inbox->begin);
        inbox->end -= inbox->begin;
        inbox->begin = 0;
        inbox->shown = 0;
    }
    struct iovec room = {bytes_of(inbox) + inbox->end, inbox->capacity - inbox->end};
    if (room.iov_len == 0)
        return 0;
    const ssize_t n = channel->is_remote
                          ? baton_peer_channel_read(channel, room.iov_base, room.iov_len)
                          : receive_local(inbox, channel->fd, &room);
    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return channel->is_remote ? (int)n : hung_up(channel, (int)n);
    inbox->end += (size_t)n;
    return 1;
}

/* Where a listener is missing, nothing is right; a connection that is missing connects again. */
static bool brings_what_it_says(const baton_peer_inbox *inbox, const baton_peer_header *header)
{
    const uint32_t says = baton_le32_get(header->descriptors);
    if (inbox->flooded)
        return false;
    if (says == 0)
        return true;
    if (inbox->bundles_count == 0 || inbox->bundles[0] > says)
        return false;
    return inbox->bundles[0] == says || baton_le16_get(header->type) == BATON_PEER_CONNECTIONS;
}

int baton_peer_next(baton_peer_inbox *inbox, const baton_peer_header **ret_header,
                    const void **ret_body, baton_error *error)
{
    const baton_peer_header *header =
        (const baton_peer_header *)(bytes_of(inbox) + inbox->begin); /* alignment 1 */
    const size_t there = inbox->end - inbox->begin;
    if (there < sizeof(*header))
        return 0;
    int r = baton_peer_check_header(header, error);
    if (r < 0)
        return r;
    const size_t bytes = sizeof(*header) + baton_le32_get(header->body_bytes);
    if (bytes > inbox->capacity)
        return baton_error_set(error, BATON_E_TOO_LARGE, "a message of the other instance",
                               "it is longer than it may be here", NULL);
    if (there < bytes)
        return 0;
    r = baton_peer_check(header, header + 1, error);
    if (r < 0)
        return r;
    if (!brings_what_it_says(inbox, header))
        return baton_error_set(error, BATON_E_INVALID, "a message of the other instance",
                               "its descriptors did not come along", NULL);
    inbox->shown = bytes;
    inbox->shown_bring = baton_le32_get(header->descriptors) > 0;
    *ret_header = header;
    *ret_body = header + 1;
    return 1;
}

void baton_peer_took(baton_peer_inbox *inbox)
{
    int fds[BATON_PEER_DESCRIPTORS_MAX];
    uint32_t left = baton_peer_take_descriptors(inbox, fds);
    close_all(fds, &left);
    inbox->begin += inbox->shown;
    inbox->shown = 0;
}

uint32_t baton_peer_take_descriptors(baton_peer_inbox *inbox, int *ret_fds)
{
    if (!inbox->shown_bring)
        return 0;
    const uint32_t count = inbox->bundles[0];
    const uint32_t behind = descriptors_held(inbox) - count;
    memcpy(ret_fds, inbox->descriptors, count * sizeof(int));
    memmove(inbox->descriptors, inbox->descriptors + count, behind * sizeof(int));
    inbox->bundles_count--;
    memmove(inbox->bundles, inbox->bundles + 1, inbox->bundles_count * sizeof(inbox->bundles[0]));
    inbox->shown_bring = false;
    return count;
}

/* ---- out ---- */

void baton_peer_put(baton_peer_outgoing *out, baton_peer_type type, const baton_peer_names *names,
                    const void *body, uint32_t body_bytes)
{
    baton_assert(!out->busy);
    baton_peer_seal(&out->header, type, names, out->descriptors_count, body, body_bytes);
    out->body = body;
    out->body_bytes = body_bytes;
    out->sent = 0;
    out->busy = true;
}

static ssize_t send_some(baton_peer_outgoing *out, baton_peer_channel *channel)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * BATON_PEER_DESCRIPTORS_MAX)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    const size_t head = sizeof(out->header);
    if (out->sent < head)
        parts[message.msg_iovlen++] =
            (struct iovec){(uint8_t *)&out->header + out->sent, head - out->sent};
    const size_t body_sent = out->sent > head ? out->sent - head : 0;
    if (out->body_bytes > body_sent)
        parts[message.msg_iovlen++] = (struct iovec){(uint8_t *)(uintptr_t)out->body + body_sent,
                                                     out->body_bytes - body_sent};
    if (channel->is_remote)
        return baton_peer_channel_write(channel, parts, (uint32_t)message.msg_iovlen);
    if (out->sent == 0 && out->descriptors_count > 0) {
        const size_t bytes = out->descriptors_count * sizeof(int);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), out->descriptors, bytes);
    }
    const ssize_t n = sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN
                                                                     : hung_up(channel, -errno);
}

int baton_peer_send(baton_peer_outgoing *out, baton_peer_channel *channel)
{
    while (out->busy) {
        const ssize_t n = send_some(out, channel);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        close_all(out->descriptors, &out->descriptors_count);
        out->sent += (size_t)n;
        out->busy = out->sent < sizeof(out->header) + out->body_bytes;
    }
    return 1;
}

void baton_peer_drop(baton_peer_outgoing *out)
{
    close_all(out->descriptors, &out->descriptors_count);
    out->busy = false;
}

/* ---- waiting ---- */

/* After what a call of the channel said, which was not enough. */
static int go_on(const baton_peer_talk *talk, int said, bool to_send)
{
    if (said == 0)
        return talk->wait(talk->context, talk->channel->fd,
                          baton_peer_channel_wants(talk->channel, to_send), talk->error);
    if (said < 0)
        *talk->error = talk->channel->error;
    return said < 0 ? said : 0;
}

int baton_peer_say(const baton_peer_talk *talk, baton_peer_outgoing *out)
{
    int r = 0;
    while (r == 0 && out->busy)
        r = go_on(talk, baton_peer_send(out, talk->channel), true);
    if (r < 0)
        baton_peer_drop(out);
    return r;
}

int baton_peer_hear(const baton_peer_talk *talk, const baton_peer_header **ret_header,
                    const void **ret_body)
{
    int r;
    while ((r = baton_peer_next(talk->inbox, ret_header, ret_body, talk->error)) == 0) {
        r = go_on(talk, baton_peer_receive(talk->inbox, talk->channel), false);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : 0;
}
