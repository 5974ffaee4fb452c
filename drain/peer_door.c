/* drain/peer_door.c: see peer_door.h. */
#include "drain/peer_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <baton/log.h>

#define BACKLOG    64
#define PORT_TRIES 16

static int refuse(const baton_tcp_address *address, int status, baton_error *error)
{
    char what[128] = "listen for standbys on ";
    baton_tcp_address_text((const struct sockaddr *)&address->address, what + strlen(what));
    return status == -EADDRINUSE
               ? baton_error_set(error, BATON_E_LOCKED, what, "another process listens there",
                                 "end that one, or give another --peer-listen")
               : baton_error_set(error, status, what, NULL, "give another --peer-listen");
}

static int bind_to(baton_peer_door *door, const baton_tcp_address *address)
{
    const int on = 1;
    door->fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (door->fd < 0)
        return -errno;
    (void)setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(door->fd, (const struct sockaddr *)&address->address, address->bytes) == 0)
        return 0;
    const int r = -errno;
    baton_peer_door_close(door);
    return r;
}

/* A port of the kernel's choice is the socket's only while it listens; one that was asked for stays. So it is
 * asked for. */
static int bind_to_any(baton_peer_door *door, const baton_tcp_address *wanted)
{
    int r = -EADDRINUSE;
    for (uint32_t i = 0; r == -EADDRINUSE && i < PORT_TRIES; i++) {
        baton_tcp_address found = *wanted;
        socklen_t bytes = sizeof(found.address);
        r = bind_to(door, wanted);
        if (r < 0)
            return r;
        (void)getsockname(door->fd, (struct sockaddr *)&found.address, &bytes);
        baton_peer_door_close(door);
        r = bind_to(door, &found);
    }
    return r;
}

int baton_peer_door_open(baton_peer_door *door, const baton_tcp_address *wanted, baton_error *error)
{
    struct sockaddr_storage found;
    socklen_t bytes = sizeof(found);
    *door = (baton_peer_door){.fd = -1};
    int r = baton_tcp_port((const struct sockaddr *)&wanted->address) == 0
                ? bind_to_any(door, wanted)
                : bind_to(door, wanted);
    if (r == 0 && listen(door->fd, BACKLOG) < 0) /* only this tells whether it is another's */
        r = -errno;
    if (r < 0) {
        baton_peer_door_close(door);
        return refuse(wanted, r, error);
    }
    baton_peer_door_pause(door);
    (void)getsockname(door->fd, (struct sockaddr *)&found, &bytes);
    baton_tcp_address_text((const struct sockaddr *)&found, door->text);
    baton_log(INFO, "service.peer_listen", BATON_LOG_TEXT("address", door->text));
    return 0;
}

int baton_peer_door_begin(baton_peer_door *door, baton_error *error)
{
    baton_tcp_address address;
    if (listen(door->fd, BACKLOG) == 0)
        return 0;
    const int r = -errno;
    (void)baton_tcp_address_parse(door->text, &address);
    return refuse(&address, r, error);
}

/* On Linux this ends listening, not the socket. */
void baton_peer_door_pause(baton_peer_door *door)
{
    if (door->fd >= 0)
        (void)shutdown(door->fd, SHUT_RDWR);
}

void baton_peer_door_close(baton_peer_door *door)
{
    if (door->fd >= 0)
        close(door->fd);
    door->fd = -1;
}
