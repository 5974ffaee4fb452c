/* drain/other_directory.c: names, headers and the lock of a directory that is not ours. */
#include "drain/other_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "journal/format.h"

#define PATH_BYTES 4300

static int journal_path(const char *directory, const char *name, char path[PATH_BYTES])
{
    const int n = snprintf(path, PATH_BYTES, "%s/journal%s", directory, name);
    return n < 0 || n >= PATH_BYTES ? -ENAMETOOLONG : 0;
}

/* One of the directory's, and the epoch in its name. */
typedef struct {
    int listing_fd;
    const char *name;
    uint64_t epoch;
} segment;

/* Of each segment; visit says 0, or an error that ends it. */
static int each_segment(const char *directory, bool flush_it,
                        int (*visit)(void *context, const segment *found), void *context)
{
    char path[PATH_BYTES];
    int r = journal_path(directory, "", path);
    DIR *listing = r < 0 ? NULL : opendir(path);
    if (listing == NULL)
        return r < 0 ? r : errno == ENOENT ? 0 : -errno;
    errno = 0;
    for (const struct dirent *entry; r == 0 && (entry = readdir(listing)) != NULL; errno = 0) {
        segment found = {.listing_fd = dirfd(listing), .name = entry->d_name};
        uint64_t index;
        if (baton_segment_name_parse(found.name, &found.epoch, &index))
            r = visit(context, &found);
    }
    if (r == 0 && errno != 0)
        r = -errno; /* a listing that ends early would hide what decides */
    if (r == 0 && flush_it && fsync(dirfd(listing)) < 0)
        r = -errno;
    closedir(listing);
    return r;
}

static int higher_name(void *context, const segment *found)
{
    uint64_t *highest = context;
    if (found->epoch > *highest)
        *highest = found->epoch;
    return 0;
}

int baton_highest_name(const char *directory, uint64_t *ret_epoch)
{
    *ret_epoch = 0;
    return each_segment(directory, false, higher_name, ret_epoch);
}

typedef union {
    baton_segment_header header;
    uint8_t bytes[sizeof(baton_segment_header)];
} header_unit;

/* 1: its header is valid and of a term that was begun here; *ret_fd is open. 0: it is not. */
static int read_header(const segment *found, header_unit *unit, int *ret_fd)
{
    *ret_fd = openat(found->listing_fd, found->name, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0)
        return errno == ENOENT ? 0 : -errno; /* a made-ahead one has gone away */
    return pread(*ret_fd, unit->bytes, sizeof(*unit), 0) == (ssize_t)sizeof(*unit) &&
                   baton_segment_header_check(&unit->header) == BATON_UNIT_VALID &&
                   (baton_le32_get(unit->header.flags) & BATON_SEGMENT_FOLLOWER) == 0 &&
                   baton_le64_get(unit->header.epoch) == found->epoch
               ? 1
               : 0;
}

static int higher_header(void *context, const segment *found)
{
    static _Thread_local header_unit unit;
    uint64_t *highest = context;
    int fd;
    int r = read_header(found, &unit, &fd);
    if (r == 1 && found->epoch > *highest) {
        *highest = found->epoch;
        r = fdatasync(fd) < 0 ? -errno : 0;
    }
    if (fd >= 0)
        close(fd);
    return r < 0 ? r : 0;
}

int baton_highest_header(const char *directory, uint64_t *ret_epoch)
{
    *ret_epoch = 0;
    return each_segment(directory, true, higher_header, ret_epoch);
}

typedef struct {
    uint64_t from, epoch, index; /* of the lowest that was found */
    baton_position position;
    baton_digest digest;
} begun_look;

static int lower_begun(void *context, const segment *found)
{
    static _Thread_local header_unit unit;
    begun_look *self = context;
    const uint64_t epoch = found->epoch;
    int fd;
    int r = read_header(found, &unit, &fd);
    const baton_segment_header *header = &unit.header;
    if (r == 1 && epoch >= self->from) {
        const uint64_t index = baton_le64_get(header->index);
        if (self->epoch == 0 || epoch < self->epoch ||
            (epoch == self->epoch && index < self->index)) {
            self->epoch = epoch;
            self->index = index;
            self->position = (baton_position){.epoch = baton_le64_get(header->continues.epoch),
                                              .batch = baton_le64_get(header->continues.batch),
                                              .seq = baton_le64_get(header->continues.seq)};
            memcpy(self->digest.bytes, header->continues_digest, sizeof(self->digest.bytes));
        }
    }
    if (fd >= 0)
        close(fd);
    return r < 0 ? r : 0;
}

int baton_begun_after(const char *directory, uint64_t from, baton_position *ret_position,
                      baton_digest *ret_digest)
{
    begun_look self = {.from = from};
    int r = each_segment(directory, false, lower_begun, &self);
    *ret_position = self.position;
    *ret_digest = self.digest;
    return r;
}

int baton_is_begun(const char *directory, uint64_t epoch, bool *ret_begun)
{
    begun_look self = {.from = epoch};
    int r = each_segment(directory, false, lower_begun, &self);
    *ret_begun = r == 0 && self.epoch == epoch;
    return r;
}

typedef struct {
    baton_digest id;
    bool of_it, of_another;
} id_look;

static int compare_id(void *context, const segment *found)
{
    static _Thread_local header_unit unit;
    id_look *self = context;
    const int fd = openat(found->listing_fd, found->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (pread(fd, unit.bytes, sizeof(unit), 0) == (ssize_t)sizeof(unit) &&
        baton_segment_header_check(&unit.header) == BATON_UNIT_VALID) {
        const bool same =
            memcmp(unit.header.journal_id, self->id.bytes, sizeof(self->id.bytes)) == 0;
        self->of_it = self->of_it || same;
        self->of_another = self->of_another || !same;
    }
    close(fd);
    return 0;
}

int baton_holds_other_journal(const char *directory, baton_digest id, bool *ret_other)
{
    id_look self = {.id = id};
    int r = each_segment(directory, false, compare_id, &self);
    *ret_other = r == 0 && self.of_another && !self.of_it;
    return r;
}

static int flush_segment(void *context, const segment *found)
{
    const int fd = openat(found->listing_fd, found->name, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 || fdatasync(fd) < 0 ? -errno : 0;
    (void)context;
    if (fd >= 0)
        close(fd);
    return r;
}

int baton_flush_journal(const char *directory)
{
    return each_segment(directory, true, flush_segment, NULL);
}

int baton_lock_other(const char *directory, int *ret_fd)
{
    char path[PATH_BYTES];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int r = journal_path(directory, "/LOCK", path);
    const int fd = r < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return r < 0 ? r : -errno;
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        r = errno == EACCES || errno == EAGAIN ? BATON_E_LOCKED : -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}
