/* tests/sim/handover/tcp.c: what only TCP sockets are asked. Instance i is at 127.0.0.(i+1): a host of its own. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "drain/tcp_address.h"
#include "tests/sim/handover/handover_run.h"

#define PORT     7460
#define LOOPBACK 0x7f000001u

static struct sockaddr_in address_of(uint32_t instance)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(PORT),
                                .sin_addr.s_addr = htonl(LOOPBACK + instance)};
}

static uint32_t instance_of(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    baton_assert(address->sa_family == AF_INET);
    return ntohl(v4->sin_addr.s_addr) - LOOPBACK;
}

void tcp_name_of(uint32_t instance, struct sockaddr *ret_address, socklen_t *ret_bytes)
{
    const struct sockaddr_in address = address_of(instance);
    if (ret_address == NULL || *ret_bytes < sizeof(address))
        return;
    memcpy(ret_address, &address, sizeof(address));
    *ret_bytes = sizeof(address);
}

void tcp_text_of(uint32_t instance, char text[SOCKET_NAME_BYTES])
{
    const struct sockaddr_in address = address_of(instance);
    char name[BATON_TCP_ADDRESS_TEXT_BYTES];
    (void)snprintf(text, SOCKET_NAME_BYTES, "%s",
                   baton_tcp_address_text((const struct sockaddr *)(const void *)&address, name));
}

int tcp_connect(sim_fd *fd, const struct sockaddr *address)
{
    char name[BATON_TCP_ADDRESS_TEXT_BYTES];
    network_connect_far(fd->life, baton_tcp_address_text(address, name), instance_of(address),
                        &fd->end);
    return -EINPROGRESS;
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes);
int __wrap_listen(int fd, int backlog);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *bytes);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes);
int __wrap_gethostname(char *name, size_t bytes);

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
    sim_fd *one = fd_of(fd);
    (void)bytes;
    (void)baton_tcp_address_text(address, one->path);
    return 0;
}

int __wrap_listen(int fd, int backlog)
{
    sim_fd *one = fd_of(fd);
    (void)backlog;
    if (one->kind == FD_LISTENER || life_is_dead(one->life))
        return 0;
    errno = -network_listen(one, one->path);
    return errno == 0 ? 0 : -1;
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *bytes)
{
    tcp_name_of(fd_of(fd)->life->instance, address, bytes);
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
    (void)fd;
    (void)level;
    (void)name;
    (void)value;
    (void)bytes;
    return 0;
}

int __wrap_gethostname(char *name, size_t bytes)
{
    const sim_life *life = life_current();
    (void)snprintf(name, bytes, "%s", host_name(life->w, life->instance));
    return 0;
}
