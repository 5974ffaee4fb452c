/* drain/peer_socket.c: bytes and descriptors of one connection. */
#include "drain/peer_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
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

void baton_peer_inbox_fini(baton_peer_inbox *inbox)
{
    close_all(inbox->descriptors, &inbox->descriptors_count);
    free(inbox->memory);
    *inbox = (baton_peer_inbox){0};
}

static uint8_t *bytes_of(const baton_peer_inbox *inbox)
{
    return (uint8_t *)inbox->memory;
}

/* Those of a sender that sends more than there may be are closed: the message won't fit them. */
static void keep_descriptors(baton_peer_inbox *inbox, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (inbox->descriptors_count < BATON_PEER_LISTENERS_MAX)
                inbox->descriptors[inbox->descriptors_count++] = fd;
            else
                close(fd);
        }
    }
}

int baton_peer_receive(baton_peer_inbox *inbox, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * BATON_PEER_LISTENERS_MAX)];
        struct cmsghdr align;
    } control;
    if (inbox->begin > 0) {
        memmove(inbox->memory, bytes_of(inbox) + inbox->begin, inbox->end - inbox->begin);
        inbox->end -= inbox->begin;
        inbox->begin = 0;
        inbox->shown = 0;
    }
    struct iovec room = {bytes_of(inbox) + inbox->end, inbox->capacity - inbox->end};
    struct msghdr message = {.msg_iov = &room,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    if (room.iov_len == 0)
        return 0;
    ssize_t n;
    do
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    keep_descriptors(inbox, &message);
    inbox->end += (size_t)n;
    return n > 0 ? 1 : -EPIPE;
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
    if (baton_le32_get(header->descriptors) != inbox->descriptors_count &&
        baton_le16_get(header->type) == BATON_PEER_PREPARE)
        return baton_error_set(error, BATON_E_INVALID, "a message of the other instance",
                               "its descriptors did not come along", NULL);
    inbox->shown = bytes;
    *ret_header = header;
    *ret_body = header + 1;
    return 1;
}

void baton_peer_took(baton_peer_inbox *inbox)
{
    inbox->begin += inbox->shown;
    inbox->shown = 0;
}

uint32_t baton_peer_take_descriptors(baton_peer_inbox *inbox, int *ret_fds)
{
    const uint32_t count = inbox->descriptors_count;
    memcpy(ret_fds, inbox->descriptors, count * sizeof(int));
    inbox->descriptors_count = 0;
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

static ssize_t send_some(baton_peer_outgoing *out, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * BATON_PEER_LISTENERS_MAX)];
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
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int baton_peer_send(baton_peer_outgoing *out, int fd)
{
    while (out->busy) {
        ssize_t n = send_some(out, fd);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
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

/* ---- the connection ---- */

/* sockaddr_un holds 108 bytes. A longer path is reached through its directory's descriptor. */
static int make_address(const char *path, struct sockaddr_un *address, int *ret_directory_fd)
{
    char directory[4096];
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_directory_fd = -1;
    if (strlen(path) < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, strlen(path));
        return 0;
    }
    const int n = snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (n < 0 || (size_t)n >= sizeof(directory) || slash == NULL)
        return -ENAMETOOLONG;
    *slash = '\0';
    *ret_directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_directory_fd < 0)
        return -errno;
    const int m = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
                           *ret_directory_fd, slash + 1);
    return m > 0 && (size_t)m < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

int baton_peer_connect(const char *path, int *ret_fd, baton_error *error)
{
    char what[192];
    struct sockaddr_un address;
    int directory_fd = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : make_address(path, &address, &directory_fd);
    if (r == 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    if (directory_fd >= 0)
        close(directory_fd);
    if (r == 0 && !baton_peer_may_talk(fd))
        r = -EPERM;
    if (r == 0) {
        *ret_fd = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    snprintf(what, sizeof(what), "connect to %.150s", path);
    return baton_error_set(error, r, what,
                           r == -ENOENT || r == -ECONNREFUSED ? "no active instance answers there"
                                                              : NULL,
                           "is the active running, and is this its directory?");
}

bool baton_peer_may_talk(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
