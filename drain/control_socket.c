/* drain/control_socket.c: a Unix socket that belongs to one living service. */
#include "drain/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <baton/clock.h>

#include "drain/unix_address.h"

#define LOCK_WAIT_NS  UINT64_C(5000000000) /* a killed owner lets go of its files a little late */
#define LOCK_PAUSE_NS 10000000
#define BACKLOG       64

static int refuse(const char *path, int status, const char *why, const char *todo,
                  baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "control socket %.160s", path);
    return baton_error_set(error, status, what, why, todo);
}

static int take_lock(baton_control_socket *control, baton_error *error)
{
    char path[sizeof(control->path) + 8];
    const uint64_t until = baton_clock_monotonic_ns(baton_clock_system()) + LOCK_WAIT_NS;
    snprintf(path, sizeof(path), "%s.lock", control->path);
    control->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (control->lock_fd < 0)
        return refuse(path, -errno, NULL,
                      "give --control a path in a directory that this user can write", error);

    while (flock(control->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return refuse(path, -errno, "it can't be locked", "give --control another path", error);
        if (baton_clock_monotonic_ns(baton_clock_system()) > until)
            return refuse(control->path, BATON_E_LOCKED, "another service answers there",
                          "end that one, or give this one its own --control path", error);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    return 0;
}

static int remove_stale(baton_control_socket *control, baton_error *error)
{
    struct stat there;
    if (lstat(control->path, &there) < 0)
        return 0; /* none, or bind will say what is wrong */
    if (!S_ISSOCK(there.st_mode))
        return refuse(control->path, -EEXIST, "something else that is no socket stands there",
                      "move it away, or give --control another path", error);
    if (unlink(control->path) < 0 && errno != ENOENT)
        return refuse(control->path, -errno, "the socket of a dead service can't be removed",
                      "give --control a path in a directory that this user can write", error);
    return 0;
}

int baton_control_socket_open(baton_control_socket *control, const char *path, baton_error *error)
{
    *control = (baton_control_socket){.lock_fd = -1, .fd = -1};
    if (strlen(path) + sizeof(".lock") > sizeof(control->path))
        return refuse(path, -ENAMETOOLONG, NULL, "give --control a shorter path", error);
    strcpy(control->path, path);

    int r = take_lock(control, error);
    if (r < 0)
        goto fail;
    r = remove_stale(control, error);
    if (r < 0)
        goto fail;

    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    r = control->fd < 0 ? -errno : baton_unix_bind(control->fd, path);
    struct stat made;
    if (r == 0 && lstat(path, &made) < 0)
        r = -errno;
    if (r < 0) {
        refuse(path, r, NULL, "give --control a path in a directory that this user can write",
               error);
        goto fail;
    }
    control->device = made.st_dev;
    control->inode = made.st_ino;
    if (chmod(path, 0600) < 0 || listen(control->fd, BACKLOG) < 0) {
        r = refuse(path, -errno, "it can't listen", "give --control another path", error);
        goto fail;
    }
    return 0;

fail:
    baton_control_socket_close(control);
    return r;
}

void baton_control_socket_close(baton_control_socket *control)
{
    struct stat there;
    /* While the lock is held: what stands there under our inode is ours. */
    if (control->inode != 0 && lstat(control->path, &there) == 0 &&
        there.st_ino == control->inode && there.st_dev == control->device)
        unlink(control->path);
    control->inode = 0;
    if (control->fd >= 0)
        close(control->fd);
    control->fd = -1;
    if (control->lock_fd >= 0)
        close(control->lock_fd);
    control->lock_fd = -1;
}
