#include "examples/exchange/wire/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128, BUSY_TRIES = 40, BUSY_MS = 50 };

typedef struct {
    struct sockaddr_storage storage;
    socklen_t bytes;
    char unix_path[108];
} parsed_address;

static int parse_unix(const char *path, parsed_address *parsed)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&parsed->storage;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address->sun_path))
        return BATON_E_INVALID;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length + 1);
    memcpy(parsed->unix_path, path, length + 1);
    parsed->bytes = sizeof(*address);
    return 0;
}

static int parse_tcp(const char *text, parsed_address *parsed)
{
    char host[128];
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || colon[1] == '\0' || (size_t)(colon - text) >= sizeof(host))
        return BATON_E_INVALID;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return BATON_E_INVALID;
    memcpy(&parsed->storage, found->ai_addr, found->ai_addrlen);
    parsed->bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int parse(const char *address, parsed_address *parsed)
{
    memset(parsed, 0, sizeof(*parsed));
    if (strncmp(address, "unix:", 5) == 0)
        return parse_unix(address + 5, parsed);
    if (strncmp(address, "tcp:", 4) == 0)
        return parse_tcp(address + 4, parsed);
    return BATON_E_INVALID;
}

/* PATH.lock stays on disk: removing it would let two owners lock two different files. */
static int lock_path(const char *path, int *ret_fd)
{
    char lock[128];
    snprintf(lock, sizeof(lock), "%s.lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = errno == EWOULDBLOCK ? BATON_E_LOCKED : -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* A socket that its owner left behind, never another file. */
static int remove_stale(const char *path)
{
    struct stat found;
    if (lstat(path, &found) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(found.st_mode))
        return -EEXIST;
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int describe(listener *own, const char *address)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof(bound);
    char port[16];
    char host[64];
    if (own->unix_path[0]) {
        snprintf(own->text, sizeof(own->text), "%s", address);
        return 0;
    }
    if (getsockname(own->fd, (struct sockaddr *)&bound, &bytes) < 0)
        return -errno;
    if (getnameinfo((struct sockaddr *)&bound, bytes, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    snprintf(own->text, sizeof(own->text), "tcp:%s:%s", host, port);
    return 0;
}

static int bind_and_listen(const parsed_address *parsed, listener *own)
{
    int on = 1;
    if (parsed->unix_path[0]) {
        int r = lock_path(parsed->unix_path, &own->lock_fd);
        if (r < 0)
            return r;
        r = remove_stale(parsed->unix_path);
        if (r < 0)
            return r;
        memcpy(own->unix_path, parsed->unix_path, sizeof(own->unix_path));
    }
    own->fd = socket(parsed->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (own->fd < 0)
        return -errno;
    if (!parsed->unix_path[0])
        setsockopt(own->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(own->fd, (const struct sockaddr *)&parsed->storage, parsed->bytes) < 0 ||
        listen(own->fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

/* The standby of one that was killed in a handover may hold its listening socket for a moment more. */
static int bind_when_free(const parsed_address *parsed, listener *own)
{
    int r = bind_and_listen(parsed, own);
    for (int i = 0; (r == BATON_E_LOCKED || r == -EADDRINUSE) && i < BUSY_TRIES; i++) {
        listener_close(own);
        (void)poll(NULL, 0, BUSY_MS);
        r = bind_and_listen(parsed, own);
    }
    return r;
}

int listener_open(const char *address, listener *ret_listener, baton_error *error)
{
    parsed_address parsed;
    *ret_listener = LISTENER_NONE;
    int r = parse(address, &parsed);
    if (r == 0)
        r = bind_when_free(&parsed, ret_listener);
    if (r == 0)
        r = describe(ret_listener, address);
    if (r == 0)
        return 0;
    listener_close(ret_listener);
    char what[192];
    snprintf(what, sizeof(what), "listen on %s", address);
    if (r == BATON_E_LOCKED || r == -EADDRINUSE)
        return baton_error_set(error, r, what, "another process listens there",
                               "stop the other process or choose another address");
    return baton_error_set(error, r, what, baton_status_text(r),
                           "give unix:PATH (below 108 bytes, no other file) or tcp:HOST:PORT of "
                           "this machine");
}

void listener_adopt(listener *own)
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t bytes = sizeof(address);
    char text[sizeof(own->text)];
    if (own->fd < 0) {
        listener_close(own);
        return;
    }
    if (getsockname(own->fd, (struct sockaddr *)&address, &bytes) == 0 &&
        address.sun_family == AF_UNIX)
        memcpy(own->unix_path, address.sun_path, sizeof(own->unix_path));
    snprintf(text, sizeof(text), "unix:%.107s", own->unix_path);
    int r = describe(own, text);
    (void)r; /* a text for people */
}

void listener_close(listener *own)
{
    if (own->fd >= 0)
        close(own->fd);
    if (own->unix_path[0])
        unlink(own->unix_path);
    if (own->lock_fd >= 0)
        close(own->lock_fd);
    *own = LISTENER_NONE;
}

int address_write_file(const char *path, const char *const *texts, uint32_t count,
                       baton_error *error)
{
    char partial[512];
    int length = snprintf(partial, sizeof(partial), "%s.partial", path);
    errno = ENAMETOOLONG;
    FILE *file = length < (int)sizeof(partial) ? fopen(partial, "we") : NULL;
    if (file) {
        errno = EIO;
        bool printed = true;
        for (uint32_t i = 0; i < count; i++)
            printed = fprintf(file, "%s\n", texts[i]) > 0 && printed;
        if (fclose(file) == 0 && printed && rename(partial, path) == 0)
            return 0;
    }
    return baton_error_setf(error, -errno, "write the port file",
                            "choose a directory that can be written", "%s: %s", path,
                            strerror(errno));
}

static int open_and_connect(const char *address, int flags, int *ret_fd)
{
    parsed_address parsed;
    int r = parse(address, &parsed);
    if (r < 0)
        return r;
    int fd = socket(parsed.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&parsed.storage, parsed.bytes) < 0 &&
        (flags == 0 || errno != EINPROGRESS)) {
        r = -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int address_connect(const char *address, int *ret_fd)
{
    const int on = 1;
    int r = open_and_connect(address, 0, ret_fd);
    if (r == 0)
        setsockopt(*ret_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return r;
}

int address_dial(const char *address, int *ret_fd)
{
    int r = open_and_connect(address, SOCK_NONBLOCK, ret_fd);
    if (r == 0)
        address_set_options(*ret_fd);
    return r;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 ==
               IN_LOOPBACKNET;
    return address->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

bool listener_is_local(const listener *own)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof(bound);
    return getsockname(own->fd, (struct sockaddr *)&bound, &bytes) == 0 &&
           (bound.ss_family == AF_UNIX || is_loopback(&bound));
}

bool address_peer_may_operate(int fd)
{
    struct sockaddr_storage bound;
    struct ucred peer;
    socklen_t bytes = sizeof(bound), peer_bytes = sizeof(peer);
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) < 0)
        return false;
    if (bound.ss_family != AF_UNIX)
        return is_loopback(&bound);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

void address_set_options(int fd)
{
    const int on = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}
