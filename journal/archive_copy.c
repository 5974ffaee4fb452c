/* journal/archive_copy.c: one segment into a directory, or through a command. Plain blocking calls
 * on buffered files: it is no part of the commit path, and must not use its ring. */
#include "journal/archive_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COPY_BYTES         (1u << 20)
#define COMMAND_LOOK_NS    20000000L /* between two looks at a child */
#define COMMAND_TERM_LOOKS 100u      /* that long it may take to end by SIGTERM */
#define COMMAND_BYTES_MAX  4096u

extern char **environ;

/* Reads as much as is asked for; short only at the end of the file. */
static ssize_t read_full(int fd, uint8_t *buffer, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = read(fd, buffer + done, bytes - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int write_full(int fd, const uint8_t *buffer, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t put = write(fd, buffer + done, bytes - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        done += (size_t)put;
    }
    return 0;
}

static int copy_bytes(int from, int to, uint8_t *buffer, const atomic_bool *stop)
{
    for (;;) {
        if (atomic_load(stop))
            return -ECANCELED;
        ssize_t got = read_full(from, buffer, COPY_BYTES);
        if (got <= 0)
            return (int)got;
        int r = write_full(to, buffer, (size_t)got);
        if (r < 0)
            return r;
    }
}

/* 0: both hold the same. -EEXIST: they do not. */
static int compare_bytes(int from, int with, uint8_t *buffer, const atomic_bool *stop)
{
    uint8_t *half = buffer + COPY_BYTES / 2;
    for (;;) {
        if (atomic_load(stop))
            return -ECANCELED;
        ssize_t a = read_full(from, buffer, COPY_BYTES / 2);
        ssize_t b = read_full(with, half, COPY_BYTES / 2);
        if (a < 0 || b < 0)
            return a < 0 ? (int)a : (int)b;
        if (a != b || memcmp(buffer, half, (size_t)a) != 0)
            return -EEXIST;
        if (a == 0)
            return 0;
    }
}

/* By another path, or a link: then nothing is kept when the segment goes. */
static bool is_one_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* An earlier try came to its end, and the segment was not retired since. */
static int is_there(int from, int directory, const char *name, uint8_t *buffer,
                    const atomic_bool *stop)
{
    int there = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (there < 0)
        return -errno;
    int r = is_one_file(from, there) ? -EEXIST : compare_bytes(from, there, buffer, stop);
    if (r == 0 && fsync(there) < 0) /* it may have died between its name and its flush */
        r = -errno;
    close(there);
    return r;
}

/* Never over another file. Not every file system can say so in a rename (NFS): a link can. */
static int give_name(int directory, const char *partial, const char *name)
{
    if (renameat2(directory, partial, directory, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (linkat(directory, partial, directory, name, 0) < 0)
        return -errno;
    return unlinkat(directory, partial, 0) < 0 ? -errno : 0;
}

static int cut_to(int to, int from)
{
    struct stat status;
    if (fstat(from, &status) < 0 || ftruncate(to, status.st_size) < 0)
        return -errno;
    return 0;
}

/* Cut at the end, not emptied at the begin: a closing process may come here so late that its
 * successor has just finished the same file. What both write is the same. */
static int make_copy(int from, int directory, const char *name, uint8_t *buffer,
                     const atomic_bool *stop)
{
    char partial[NAME_MAX + 1];
    int n = snprintf(partial, sizeof(partial), "%s.partial", name);
    if (n < 0 || (size_t)n >= sizeof(partial))
        return -ENAMETOOLONG;
    int to = openat(directory, partial, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (to < 0)
        return -errno;
    int r = copy_bytes(from, to, buffer, stop);
    if (r == 0)
        r = cut_to(to, from);
    if (r == 0 && fsync(to) < 0)
        r = -errno;
    if (close(to) < 0 && r == 0)
        r = -errno;
    if (r == 0)
        r = give_name(directory, partial, name);
    if (r < 0)
        (void)unlinkat(directory, partial, 0);
    return r;
}

int baton_archive_copy(const char *path, const char *directory, const atomic_bool *stop)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    int from = -1;
    int into = -1;
    int r = 0;
    uint8_t *buffer = malloc(COPY_BYTES);
    if (buffer == NULL)
        return -ENOMEM;
    from = open(path, O_RDONLY | O_CLOEXEC);
    into = from < 0 ? -1 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0 || into < 0) {
        r = -errno;
        goto fail;
    }
    r = is_there(from, into, name, buffer, stop);
    if (r == -ENOENT)
        r = make_copy(from, into, name, buffer, stop);
    if (r == 0 && fsync(into) < 0)
        r = -errno;

fail:
    if (into >= 0)
        close(into);
    if (from >= 0)
        close(from);
    free(buffer);
    return r;
}

/* ---- the command ---- */

/* In a group of its own, with no signal blocked or ignored that a shell expects. */
static int start(const char *path, const char *command, pid_t *ret_pid)
{
    char line[COMMAND_BYTES_MAX + 16];
    char path_room[PATH_MAX];
    char shell[] = "/bin/sh";
    char flag[] = "-c";
    char zeroth[] = "archive";
    int n = snprintf(line, sizeof(line), "%s \"$1\"", command);
    int m = snprintf(path_room, sizeof(path_room), "%s", path);
    if (n < 0 || (size_t)n >= sizeof(line) || m < 0 || (size_t)m >= sizeof(path_room))
        return -ENAMETOOLONG;
    char *argv[] = {shell, flag, line, zeroth, path_room, NULL};
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int r = posix_spawnattr_init(&attributes);
    if (r != 0)
        return -r;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    r = posix_spawn(ret_pid, shell, NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return -r;
}

int baton_archive_command(const char *path, const char *command, const atomic_bool *stop,
                          int *ret_status)
{
    pid_t pid;
    *ret_status = 0;
    int r = start(path, command, &pid);
    if (r < 0)
        return r;
    uint32_t looks_since_stop = 0;
    for (;;) {
        pid_t ended = waitpid(pid, ret_status, WNOHANG);
        if (ended == pid)
            break;
        if (ended < 0 && errno != EINTR)
            return -errno;
        if (atomic_load(stop)) {
            if (looks_since_stop == 0)
                kill(-pid, SIGTERM);
            if (++looks_since_stop == COMMAND_TERM_LOOKS)
                kill(-pid, SIGKILL);
        }
        const struct timespec step = {.tv_nsec = COMMAND_LOOK_NS};
        (void)nanosleep(&step, NULL);
    }
    if (WIFEXITED(*ret_status) && WEXITSTATUS(*ret_status) == 0)
        return 0;
    return atomic_load(stop) ? -ECANCELED : BATON_E_REFUSED;
}
