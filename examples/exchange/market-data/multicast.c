#include "examples/exchange/market-data/multicast.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#define HEARTBEAT_NS UINT64_C(100000000)
enum { PACKETS_PER_TURN = 256 };

static bool parse(const char *group, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(group, ':');
    if (!colon || (size_t)(colon - group) >= sizeof(host))
        return false;
    memcpy(host, group, (size_t)(colon - group));
    host[colon - group] = '\0';
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port == 0 || port > UINT16_MAX)
        return false;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, host, &address->sin_addr) == 1 &&
           IN_MULTICAST(ntohl(address->sin_addr.s_addr));
}

static int open_socket(const struct sockaddr_in *address)
{
    const struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    const uint8_t hops = 0, on = 1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof(loopback)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof(on)) < 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int multicast_open(multicast *own, const char *group, const stream *messages, baton_error *error)
{
    struct sockaddr_in address;
    *own = (multicast){.fd = -1, .next = stream_durable(messages) + 1};
    if (group[0] == '\0')
        return 0;
    if (!parse(group, &address))
        return baton_error_set(error, BATON_E_INVALID, "--multicast", "it is no group and port",
                               "give HOST:PORT with a host in 224.0.0.0 to 239.255.255.255");
    own->fd = open_socket(&address);
    if (own->fd < 0)
        return baton_error_set(error, own->fd, "--multicast", NULL,
                               "give a group that loopback reaches, or none");
    return 0;
}

void multicast_close(multicast *own)
{
    if (own->fd >= 0)
        close(own->fd);
    own->fd = -1;
}

/* False: the socket takes no more now. Another failure is as a packet that got lost. */
static bool send_packet(multicast *own, const packet *ready)
{
    ssize_t sent;
    do
        sent = send(own->fd, ready->bytes, ready->used, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
        return false;
    if (sent < 0 && !own->failing)
        baton_log(WARN, "multicast.failed", BATON_LOG_TEXT("why", strerror(errno)));
    own->failing = sent < 0;
    return true;
}

void multicast_turn(multicast *own, const stream *messages, uint64_t now_ns)
{
    const uint64_t last = stream_durable(messages);
    packet ready;
    bool room = own->fd >= 0;
    for (uint32_t i = 0; room && own->next <= last && i < PACKETS_PER_TURN; i++) {
        packet_of_recent(&ready, messages, own->next, last);
        if (ready.count == 0) /* so far behind that it is not in memory any more: as if lost */
            own->next = last;
        else
            room = send_packet(own, &ready);
        if (room)
            own->next += ready.count;
        own->heartbeat_at_ns = now_ns + HEARTBEAT_NS;
    }
    if (room && own->next > last && now_ns >= own->heartbeat_at_ns) {
        packet_of_recent(&ready, messages, own->next, last);
        (void)send_packet(own, &ready);
        own->heartbeat_at_ns = now_ns + HEARTBEAT_NS;
    }
}
