/* drain/peer_channel.c: connecting, accepting, bytes. */
#include "drain/peer_channel.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drain/now.h"
#include "drain/peer_tls.h"
#include "drain/unix_address.h"

#define KEEP_IDLE_S      5
#define KEEP_EVERY_S     2
#define KEEP_COUNT       3
#define UNTAKEN_MS       10000u
#define LEAVE_NS         UINT64_C(1000000000)
#define LEAVE_BYTES      4096
#define LEAVE_READS      16u /* in one go */
#define TLS_RECORD_FIRST 20  /* first byte of a record */
#define TLS_RECORD_LAST  23

static int fail(baton_peer_channel *channel, int status, const char *why, const char *todo)
{
    return baton_error_set(&channel->error, status, "the connection to the other instance", why,
                           todo);
}

/* ---- addresses ---- */

int baton_peer_address_parse(baton_peer_address *address, const char *text, baton_error *error)
{
    const int n = snprintf(address->text, sizeof(address->text), "%s", text);
    if (n < 0 || (size_t)n >= sizeof(address->text))
        return baton_error_set(error, -ENAMETOOLONG, "the address of an active", NULL,
                               "give a shorter path");
    if (!baton_tcp_address_parse(text, &address->tcp))
        address->tcp.bytes = 0;
    return 0;
}

static int connect_unix(int fd, const char *path)
{
    int r = baton_unix_connect(fd, path);
    return r == 0 && !baton_unix_may_talk(fd) ? -EPERM : r;
}

/* ---- TCP ---- */

/* Small messages go at once; an end that is gone without a word is noticed. */
static void set_tcp(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                   {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, (int)UNTAKEN_MS}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static int connect_tcp(baton_peer_channel *channel, const baton_peer_address *address)
{
    set_tcp(channel->fd);
    baton_tcp_address_text((const struct sockaddr *)&address->tcp.address, channel->other);
    channel->connecting = true;
    channel->open_by_ns = baton_now_ns() + BATON_PEER_OPEN_NS;
    return connect(channel->fd, (const struct sockaddr *)&address->tcp.address,
                   address->tcp.bytes) < 0 &&
                   errno != EINPROGRESS
               ? -errno
               : 0;
}

/* ---- its beginning and its end ---- */

static int refuse_connect(baton_peer_channel *channel, int status, const char *text)
{
    char what[192];
    snprintf(what, sizeof(what), "connect to %.150s", text);
    return baton_error_set(
        &channel->error, status, what,
        status == -ENOENT || status == -ECONNREFUSED ? "no active instance answers there" : NULL,
        "is the active running, and is this its address?");
}

int baton_peer_channel_connect(baton_peer_channel *channel, const baton_peer_address *address,
                               const baton_peer_security *security)
{
    *channel = (baton_peer_channel){
        .is_remote = address->tcp.bytes > 0, .is_client = true, .security = security};
    channel->fd = socket(channel->is_remote ? address->tcp.address.ss_family : (sa_family_t)AF_UNIX,
                         SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = channel->fd < 0      ? -errno
            : channel->is_remote ? connect_tcp(channel, address)
                                 : connect_unix(channel->fd, address->text);
    if (r == 0)
        return 0;
    baton_peer_channel_close(channel);
    return refuse_connect(channel, r, address->text);
}

int baton_peer_channel_accept(baton_peer_channel *channel, int listen_fd,
                              const baton_peer_security *security)
{
    struct sockaddr_storage from;
    socklen_t bytes = sizeof(from);
    *channel = (baton_peer_channel){.is_remote = security != NULL, .security = security};
    channel->fd =
        accept4(listen_fd, (struct sockaddr *)&from, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (channel->fd < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED
                   ? 0
                   : -errno;
    if (channel->is_remote) {
        set_tcp(channel->fd);
        baton_tcp_address_text((const struct sockaddr *)&from, channel->other);
        channel->open_by_ns = baton_now_ns() + BATON_PEER_OPEN_NS;
    }
    return 1;
}

static int finish_connect(baton_peer_channel *channel)
{
    int status = 0;
    socklen_t bytes = sizeof(status);
    struct pollfd wanted = {.fd = channel->fd, .events = POLLOUT};
    if (poll(&wanted, 1, 0) <= 0)
        return 0;
    if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &status, &bytes) < 0)
        status = errno;
    if (status != 0)
        return refuse_connect(channel, -status, channel->other);
    channel->connecting = false;
    return 1;
}

/* One that says nothing costs no handshake, and one that speaks something else is told apart from one whose TLS
 * is broken. */
static int hear_first(baton_peer_channel *channel)
{
    uint8_t byte;
    const ssize_t n = recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (n <= 0)
        return fail(channel, -EPIPE, "it has hung up before it said anything", NULL);
    if (!channel->security->plaintext && (byte < TLS_RECORD_FIRST || byte > TLS_RECORD_LAST))
        return fail(channel, BATON_E_REFUSED, "what it says is no TLS",
                    "is it an instance, and without --peer-plaintext?");
    channel->heard = true;
    return 1;
}

static int shake(baton_peer_channel *channel)
{
    int r =
        channel->heard || (channel->is_client && channel->tls == NULL) ? 1 : hear_first(channel);
    if (r <= 0 || channel->security->plaintext)
        return r;
    if (channel->tls == NULL)
        r = baton_peer_tls_begin(channel->security, channel->fd, channel->is_client, &channel->tls,
                                 &channel->error);
    return r < 0 ? r : baton_peer_tls_shake(channel->tls, channel->heard, &channel->error);
}

int baton_peer_channel_advance(baton_peer_channel *channel)
{
    if (channel->open_by_ns == 0)
        return 1;
    int r = channel->connecting ? finish_connect(channel) : 1;
    if (r == 1)
        r = shake(channel);
    if (r == 1)
        channel->open_by_ns = 0;
    else if (r == 0 && baton_now_ns() > channel->open_by_ns)
        r = fail(channel, BATON_E_TIMEOUT, "it has not said who it is in time",
                 "look at the network, and at the other instance");
    return r;
}

bool baton_peer_channel_is_midway(const baton_peer_channel *channel)
{
    return channel->tls != NULL && baton_peer_tls_is_midway(channel->tls);
}

short baton_peer_channel_wants(const baton_peer_channel *channel, bool to_send)
{
    if (channel->connecting)
        return POLLOUT;
    if (channel->open_by_ns != 0)
        return channel->tls != NULL && baton_peer_tls_wants_to_send(channel->tls) ? POLLOUT
                                                                                  : POLLIN;
    return (short)(POLLIN | (to_send ? POLLOUT : 0));
}

void baton_peer_channel_reach(const baton_peer_channel *channel, const char *said,
                              char ret_address[BATON_TCP_ADDRESS_TEXT_BYTES])
{
    baton_tcp_address address, from;
    ret_address[0] = '\0';
    if (!baton_tcp_address_parse(said, &address))
        return;
    if (channel->is_remote && baton_tcp_is_any((const struct sockaddr *)&address.address) &&
        baton_tcp_address_parse(channel->other, &from)) {
        baton_tcp_port_set(&from, baton_tcp_port((const struct sockaddr *)&address.address));
        address = from;
    }
    baton_tcp_address_text((const struct sockaddr *)&address.address, ret_address);
}

void baton_peer_channel_leave(baton_peer_channel *channel)
{
    if (channel->tls != NULL && channel->open_by_ns == 0)
        baton_peer_tls_bye(channel->tls);
    (void)shutdown(channel->fd, channel->is_remote ? SHUT_WR : SHUT_RDWR);
    channel->open_by_ns = baton_now_ns() + LEAVE_NS;
}

bool baton_peer_channel_has_left(baton_peer_channel *channel)
{
    uint8_t away[LEAVE_BYTES];
    ssize_t n = 1;
    if (!channel->is_remote || baton_now_ns() > channel->open_by_ns)
        return true;
    for (uint32_t i = 0; n > 0 && i < LEAVE_READS; i++)
        n = recv(channel->fd, away, sizeof(away), MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void baton_peer_channel_linger(baton_peer_channel *channel, int stop_fd)
{
    struct pollfd wanted[] = {{.fd = channel->fd, .events = POLLIN},
                              {.fd = stop_fd, .events = POLLIN}};
    baton_peer_channel_leave(channel);
    while (!baton_peer_channel_has_left(channel) && wanted[1].revents == 0)
        (void)poll(wanted, 2, (int)(LEAVE_NS / 1000000));
}

void baton_peer_channel_close(baton_peer_channel *channel)
{
    baton_peer_tls_free(channel->tls);
    channel->tls = NULL;
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
}

/* ---- bytes ---- */

/* What a system call has said: bytes, not now, or the end. */
static ssize_t judge(baton_peer_channel *channel, ssize_t n)
{
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return -EAGAIN;
    return fail(channel, -errno, "it has hung up", "look at the other one's log");
}

ssize_t baton_peer_channel_read(baton_peer_channel *channel, void *to, size_t bytes)
{
    int r = baton_peer_channel_advance(channel);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    if (channel->tls != NULL)
        return baton_peer_tls_read(channel->tls, to, bytes, &channel->error);
    const ssize_t n = judge(channel, recv(channel->fd, to, bytes, MSG_DONTWAIT));
    return n != 0 ? n : fail(channel, -EPIPE, "it has hung up", "look at the other one's log");
}

ssize_t baton_peer_channel_write(baton_peer_channel *channel, const struct iovec *parts,
                                 uint32_t parts_count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                                   .msg_iovlen = parts_count};
    int r = baton_peer_channel_advance(channel);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    if (channel->tls != NULL)
        return baton_peer_tls_write(channel->tls, parts, parts_count, &channel->error);
    return judge(channel, sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool baton_peer_channel_is_alive(const baton_peer_channel *channel)
{
    struct pollfd wanted = {.fd = channel->fd, .events = POLLRDHUP};
    return channel->fd >= 0 && poll(&wanted, 1, 0) == 0;
}
