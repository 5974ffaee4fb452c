/* base/io_posix.c: the operations of the seam as plain, blocking system calls. */
#include "base/io_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

static int64_t result_of(int64_t r)
{
    return r < 0 ? -(int64_t)errno : r;
}

/* ---- one operation, several calls ---- */

static bool is_transfer(const baton_io_op *op)
{
    return op->kind == BATON_IO_READ || op->kind == BATON_IO_WRITE ||
           op->kind == BATON_IO_WRITE_DURABLE;
}

baton_io_part baton_io_op_part(const baton_io_op *op)
{
    uint64_t left = op->bytes - op->done_bytes;
    return (baton_io_part){
        .address = (char *)op->buffer + op->done_bytes,
        .bytes = (uint32_t)(left < BATON_IO_PART_BYTES_MAX ? left : BATON_IO_PART_BYTES_MAX),
        .offset = op->offset + op->done_bytes,
    };
}

bool baton_io_op_is_final(const baton_io_op *op, int64_t r)
{
    /* An interrupted close has closed the file: a second one could hit another. */
    if (r == -EINTR)
        return op->kind == BATON_IO_CLOSE;
    if (r <= 0 || !is_transfer(op))
        return true;
    return op->done_bytes + (uint64_t)r >= op->bytes;
}

void baton_io_op_continue(baton_io_op *op, int64_t r)
{
    if (r > 0)
        op->done_bytes += (uint64_t)r;
}

int64_t baton_io_op_result(const baton_io_op *op, int64_t r)
{
    if (!is_transfer(op))
        return r;
    if (op->kind == BATON_IO_READ) {
        /* A direct read that stopped off its unit stopped at the end of the file: asking on from
         * there is refused. */
        if (r == -EINVAL && op->done_bytes % BATON_IO_UNIT != 0)
            r = 0;
    } else if (r == 0 && op->done_bytes < op->bytes) {
        return -EIO; /* a write that takes nothing and says nothing */
    }
    return r < 0 ? r : (int64_t)op->done_bytes + r;
}

int baton_io_open_flags(uint32_t open_flags)
{
    int flags = O_CLOEXEC;
    const bool for_read = open_flags & BATON_IO_FOR_READ;
    const bool for_write = open_flags & BATON_IO_FOR_WRITE;

    flags |= for_write ? (for_read ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (open_flags & BATON_IO_CREATE)
        flags |= O_CREAT | O_EXCL;
    if (open_flags & BATON_IO_CREATE_OR_OPEN)
        flags |= O_CREAT;
    if (open_flags & BATON_IO_DIRECT)
        flags |= O_DIRECT;
    if (open_flags & BATON_IO_DIRECTORY)
        flags |= O_DIRECTORY;
    return flags;
}

static int64_t call_transfer(const baton_io_op *op)
{
    const baton_io_part part = baton_io_op_part(op);
    const struct iovec vector = {.iov_base = part.address, .iov_len = part.bytes};
    const off_t offset = (off_t)part.offset;

    if (op->kind == BATON_IO_READ)
        return result_of(preadv2(op->file, &vector, 1, offset, 0));
    return result_of(
        pwritev2(op->file, &vector, 1, offset, op->kind == BATON_IO_WRITE_DURABLE ? RWF_DSYNC : 0));
}

static int64_t call(const baton_io_op *op)
{
    switch (op->kind) {
    case BATON_IO_READ:
    case BATON_IO_WRITE:
    case BATON_IO_WRITE_DURABLE:
        return call_transfer(op);
    case BATON_IO_SYNC_DATA:
        return result_of(fdatasync(op->file));
    case BATON_IO_SYNC:
        return result_of(fsync(op->file));
    case BATON_IO_OPEN:
        return result_of(open(op->path, baton_io_open_flags(op->open_flags), BATON_IO_FILE_MODE));
    case BATON_IO_CLOSE:
        return result_of(close(op->file));
    case BATON_IO_RENAME:
        return result_of(rename(op->path, op->path_to));
    case BATON_IO_UNLINK:
        return result_of(unlink(op->path));
    case BATON_IO_ALLOCATE:
        return result_of(fallocate(op->file, 0, (off_t)op->offset, (off_t)op->bytes));
    case BATON_IO_TRUNCATE:
        return result_of(ftruncate(op->file, (off_t)op->offset));
    case BATON_IO_KINDS:
        break;
    }
    return -EINVAL;
}

int64_t baton_io_posix_run(void *self, baton_io_op *op)
{
    (void)self;
    op->done_bytes = 0;
    int64_t r = call(op);
    while (!baton_io_op_is_final(op, r)) {
        baton_io_op_continue(op, r);
        r = call(op);
    }
    op->result = baton_io_op_result(op, r);
    return op->result;
}

/* ---- always blocking ---- */

int baton_io_posix_file_size(void *self, baton_io_file file, uint64_t *ret_bytes)
{
    (void)self;
    struct stat status;
    if (fstat(file, &status) < 0)
        return -errno;
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

int baton_io_posix_directory_make(void *self, const char *path)
{
    (void)self;
    struct stat status;
    if (mkdir(path, 0750) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &status) < 0)
        return -errno;
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

int baton_io_posix_directory_list(void *self, const char *path, baton_io_visit visit, void *context)
{
    (void)self;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;

    int r = 0;
    while (r == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            r = -errno;
            break;
        }
        if (!is_dot(entry->d_name))
            r = visit(context, entry->d_name);
    }
    closedir(directory);
    return r;
}

int baton_io_posix_file_lock(void *self, baton_io_file file)
{
    (void)self;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(file, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            return BATON_E_LOCKED;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int baton_io_posix_file_is_locked(void *self, baton_io_file file)
{
    (void)self;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

int baton_io_posix_map(void *self, baton_io_file file, uint64_t bytes, bool writable,
                       void **ret_address)
{
    (void)self;
    void *address =
        mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    if (address == MAP_FAILED)
        return -errno;
    *ret_address = address;
    return 0;
}

void baton_io_posix_unmap(void *self, void *address, uint64_t bytes)
{
    (void)self;
    if (address == NULL)
        return;
    int r = munmap(address, bytes);
    baton_assert(r == 0);
}
