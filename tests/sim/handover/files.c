/* tests/sim/handover/files.c: what drain/ asks of the file system by itself (the other instance's
 * directory, PARTNER), on the simulated disk: the same operations, faults and crashes as the journal's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

#define NAMES_MAX 256u

static int fail(int r)
{
    errno = -r;
    return -1;
}

/* NULL: the process is dead. */
static baton_io *io_of(void)
{
    sim_life *life = life_current();
    const baton_io_options options = {.ops_max = 4};
    if (life_is_dead(life))
        return NULL;
    if (life->io == NULL && baton_io_open(&options, &life->io, NULL) < 0)
        life->io = NULL;
    return life->io;
}

static int visit_nothing(void *context, const char *name)
{
    (void)context;
    (void)name;
    return 1;
}

/* ---- one file ---- */

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_fcntl(int fd, int command, ...);
ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_stat(const char *path, struct stat *ret_stat);
char *__wrap_realpath(const char *path, char *resolved);
FILE *__wrap_fopen(const char *path, const char *mode);

int __wrap_open(const char *path, int flags, ...)
{
    baton_io *io = io_of();
    baton_io_file file = BATON_IO_NO_FILE;
    uint32_t how = BATON_IO_FOR_READ;
    if (io == NULL)
        return fail(-EIO);
    if ((flags & O_ACCMODE) != O_RDONLY)
        how |= BATON_IO_FOR_WRITE;
    if ((flags & O_CREAT) != 0)
        how |= BATON_IO_CREATE_OR_OPEN;
    if ((flags & O_DIRECTORY) != 0)
        how = BATON_IO_FOR_READ | BATON_IO_DIRECTORY;
    int r = baton_io_file_open(io, path, how, &file);
    if (r == 0 && (flags & O_TRUNC) != 0) {
        baton_io_op cut = {.kind = BATON_IO_TRUNCATE, .file = file};
        r = (int)baton_io_run(io, &cut);
        if (r < 0)
            baton_io_file_close(io, file);
    }
    if (r < 0)
        return fail(r);
    const int fd = fd_new(FD_FILE, life_current());
    sim_fd *one = fd_of(fd);
    one->file = file;
    (void)snprintf(one->path, sizeof(one->path), "%s", path);
    return fd;
}

int __wrap_openat(int directory, const char *name, int flags, ...)
{
    char path[520];
    const sim_fd *at = fd_of(directory);
    if (at == NULL)
        return fail(-EBADF);
    (void)snprintf(path, sizeof(path), "%s/%s", at->path, name);
    return __wrap_open(path, flags);
}

void file_close(sim_fd *fd)
{
    if (fd->life->io != NULL)
        baton_io_file_close(fd->life->io, fd->file);
}

/* Locks of an open file description. */
int __wrap_fcntl(int fd, int command, ...)
{
    const sim_fd *one = fd_of(fd);
    baton_io *io = io_of();
    if (one == NULL || one->kind != FD_FILE || command != F_OFD_SETLK || io == NULL)
        return fail(-EIO);
    const int r = baton_io_file_lock(io, one->file);
    return r == BATON_E_LOCKED ? fail(-EAGAIN) : r < 0 ? fail(r) : 0;
}

ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    const sim_fd *one = fd_of(fd);
    baton_io *io = io_of();
    if (one == NULL || io == NULL)
        return fail(-EIO);
    const int64_t n = baton_io_file_read(io, one->file, buffer, bytes, (uint64_t)offset);
    return n < 0 ? fail((int)n) : (ssize_t)n;
}

ssize_t file_write(sim_fd *fd, const void *buffer, size_t bytes)
{
    baton_io *io = io_of();
    const int r = io == NULL ? -EIO : baton_io_file_write(io, fd->file, buffer, bytes, fd->offset);
    if (r < 0)
        return fail(r);
    fd->offset += bytes;
    return (ssize_t)bytes;
}

static int sync_as(int fd, baton_io_kind kind)
{
    const sim_fd *one = fd_of(fd);
    baton_io *io = io_of();
    if (one == NULL || io == NULL)
        return fail(-EIO);
    if (one->kind == FD_DIRECTORY) {
        const int r = baton_io_directory_sync(io, one->path);
        return r < 0 ? fail(r) : 0;
    }
    baton_io_op op = {.kind = kind, .file = one->file};
    const int64_t r = baton_io_run(io, &op);
    return r < 0 ? fail((int)r) : 0;
}

int __wrap_fsync(int fd)
{
    return sync_as(fd, BATON_IO_SYNC);
}

int __wrap_fdatasync(int fd)
{
    return sync_as(fd, BATON_IO_SYNC_DATA);
}

int __wrap_rename(const char *from, const char *to)
{
    baton_io *io = io_of();
    const int r = io == NULL ? -EIO : baton_io_rename(io, from, to);
    return r < 0 ? fail(r) : 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    baton_io *io = io_of();
    (void)mode;
    const int r = io == NULL ? -EIO : baton_io_directory_make(io, path);
    return r < 0 ? fail(r) : 0;
}

/* Asked about instances' directories only. */
int __wrap_stat(const char *path, struct stat *ret_stat)
{
    baton_io *io = io_of();
    const int r = io == NULL ? -EIO : baton_io_directory_list(io, path, visit_nothing, NULL);
    if (r < 0)
        return fail(r);
    *ret_stat = (struct stat){.st_mode = S_IFDIR | 0755};
    return 0;
}

char *__wrap_realpath(const char *path, char *resolved)
{
    struct stat there;
    if (__wrap_stat(path, &there) < 0)
        return NULL;
    return strcpy(resolved, path);
}

/* To be read at once, and one at a time. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
    static char text[4400];
    baton_assert(mode[0] == 'r');
    const int fd = __wrap_open(path, O_RDONLY);
    if (fd < 0)
        return NULL;
    const ssize_t n = __wrap_pread(fd, text, sizeof(text), 0);
    (void)close(fd);
    if (n <= 0)
        return NULL;
    return fmemopen(text, (size_t)n, "r");
}

/* ---- directories ---- */

typedef struct {
    struct dirent entries[NAMES_MAX];
    uint32_t count, next;
    int fd;
} listing;

DIR *__wrap_opendir(const char *path);
struct dirent *__wrap_readdir(DIR *directory);
int __wrap_closedir(DIR *directory);
int __wrap_dirfd(DIR *directory);

static int collect(void *context, const char *name)
{
    listing *self = context;
    baton_assert(self->count < NAMES_MAX && strlen(name) < sizeof(self->entries[0].d_name));
    struct dirent *entry = &self->entries[self->count++];
    memcpy(entry->d_name, name, strlen(name) + 1);
    return 0;
}

DIR *__wrap_opendir(const char *path)
{
    baton_io *io = io_of();
    listing *self = calloc(1, sizeof(*self));
    baton_assert(self != NULL);
    const int r = io == NULL ? -EIO : baton_io_directory_list(io, path, collect, self);
    if (r < 0) {
        free(self);
        errno = -r;
        return NULL;
    }
    self->fd = fd_new(FD_DIRECTORY, life_current());
    (void)snprintf(fd_of(self->fd)->path, sizeof(fd_of(self->fd)->path), "%s", path);
    return (DIR *)(void *)self;
}

struct dirent *__wrap_readdir(DIR *directory)
{
    listing *self = (listing *)(void *)directory;
    return self->next < self->count ? &self->entries[self->next++] : NULL;
}

int __wrap_dirfd(DIR *directory)
{
    return ((listing *)(void *)directory)->fd;
}

int __wrap_closedir(DIR *directory)
{
    listing *self = (listing *)(void *)directory;
    (void)close(self->fd);
    free(self);
    return 0;
}
