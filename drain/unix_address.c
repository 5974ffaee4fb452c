/* drain/unix_address.c: see unix_address.h. */
#include "drain/unix_address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* A longer path is reached through its directory's descriptor, which has to stay open until it was used; -1: it
 * is short. */
static int make(const char *path, struct sockaddr_un *address, int *ret_directory_fd)
{
    char directory[PATH_BYTES];
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
    if (m > 0 && (size_t)m < sizeof(address->sun_path))
        return 0;
    close(*ret_directory_fd);
    return -ENAMETOOLONG;
}

/* What a system call of that address gave. */
static int end(int result, int directory_fd)
{
    int r = result < 0 ? -errno : 0;
    if (directory_fd >= 0)
        close(directory_fd);
    return r;
}

int baton_unix_bind(int fd, const char *path)
{
    struct sockaddr_un at;
    int directory_fd;
    int r = make(path, &at, &directory_fd);
    return r < 0 ? r : end(bind(fd, (const struct sockaddr *)&at, sizeof(at)), directory_fd);
}

int baton_unix_connect(int fd, const char *path)
{
    struct sockaddr_un at;
    int directory_fd;
    int r = make(path, &at, &directory_fd);
    return r < 0 ? r : end(connect(fd, (const struct sockaddr *)&at, sizeof(at)), directory_fd);
}

bool baton_unix_may_talk(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
