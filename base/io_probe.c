/* base/io_probe.c: what the file system and the device under a directory can promise. Asked of the
 * kernel (mountinfo, sysfs, statx) and tried with one real write; never concluded from a version
 * number. */
#include "base/io_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U /* since Linux 6.1 */
#endif

/* struct statx of libc may lack the two fields: they are the first 8 bytes after stx_mnt_id (Linux
 * UAPI, offset 0x98). */
#define STATX_DIO_MEMORY_OFFSET 0x98
#define STATX_DIO_OFFSET_OFFSET 0x9c

typedef struct {
    char type[32];
    char source[PATH_MAX];
    char options[1024];
} mount_info;

static void copy(char *into, size_t into_bytes, const char *text)
{
    snprintf(into, into_bytes, "%s", text);
}

/* ---- the mount ---- */

/* mountinfo writes blanks in paths as \040 and the like. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        const bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                           from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
        if (octal) {
            *to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

static bool is_below(const char *path, const char *mount_point)
{
    const size_t length = strlen(mount_point);
    if (strcmp(mount_point, "/") == 0)
        return true;
    return strncmp(path, mount_point, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* One line: id parent major:minor root mount-point options [tags...] - type source super-options */
static bool mount_parse(char *line, char **ret_point, mount_info *ret_info)
{
    char *save = NULL;
    char *point = NULL;
    const char *options = "";
    char *rest = strstr(line, " - ");
    if (rest == NULL)
        return false;
    *rest = '\0';
    rest += 3;

    int index = 0;
    for (char *word = strtok_r(line, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        if (index == 4)
            point = word;
        else if (index == 5)
            options = word;
        index++;
    }
    char *type = strtok_r(rest, " \n", &save);
    char *source = strtok_r(NULL, " \n", &save);
    char *super_options = strtok_r(NULL, " \n", &save);
    if (point == NULL || type == NULL || source == NULL)
        return false;
    unescape(point);
    unescape(source);
    *ret_point = point;
    copy(ret_info->type, sizeof(ret_info->type), type);
    copy(ret_info->source, sizeof(ret_info->source), source);
    snprintf(ret_info->options, sizeof(ret_info->options), "%s,%s", options,
             super_options != NULL ? super_options : "");
    return true;
}

/* The mount with the longest mount point above the path; of equals the last, which hides the
 * others. */
static bool mount_find(const char *path, mount_info *ret_info)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t line_bytes = 0;
    size_t best = 0;
    bool found = false;
    mount_info info;
    char *point;

    if (file == NULL)
        return false;
    while (getline(&line, &line_bytes, file) > 0) {
        if (!mount_parse(line, &point, &info) || !is_below(path, point) || strlen(point) < best)
            continue;
        best = strlen(point);
        *ret_info = info;
        found = true;
    }
    free(line);
    fclose(file);
    return found;
}

static bool has_word(const char *words, const char *wanted)
{
    const size_t length = strlen(wanted);
    for (const char *at = strstr(words, wanted); at != NULL; at = strstr(at + 1, wanted)) {
        const bool begins = at == words || strchr(", \n", at[-1]) != NULL;
        const bool ends = at[length] == '\0' || strchr(", \n", at[length]) != NULL;
        if (begins && ends)
            return true;
    }
    return false;
}

/* ---- sysfs ---- */

static bool read_small(const char *path, char *text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, text_bytes - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

/* A partition has no queue of its own: its disk's, one folder up. */
static bool read_queue(const char *device_path, const char *name, char *text, size_t text_bytes)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/queue/%s", device_path, name);
    if (read_small(path, text, text_bytes))
        return true;
    snprintf(path, sizeof(path), "%s/../queue/%s", device_path, name);
    return read_small(path, text, text_bytes);
}

static void probe_device(const mount_info *mount, const struct stat *directory,
                         baton_io_probe *probe)
{
    char path[64];
    char resolved[PATH_MAX];
    char text[64];
    struct stat source;
    dev_t device = directory->st_dev;

    copy(probe->write_cache, sizeof(probe->write_cache), "unknown");
    /* btrfs and others give their files a device number of their own. */
    if (mount->source[0] == '/' && stat(mount->source, &source) == 0 && S_ISBLK(source.st_mode))
        device = source.st_rdev;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
    if (realpath(path, resolved) == NULL)
        return;
    copy(probe->device, sizeof(probe->device), strrchr(resolved, '/') + 1);
    if (read_queue(resolved, "write_cache", text, sizeof(text)))
        copy(probe->write_cache, sizeof(probe->write_cache), text);
    if (read_queue(resolved, "fua", text, sizeof(text)))
        probe->device_fua = strcmp(text, "1") == 0;
}

/* ---- judging ---- */

static void refuse(baton_io_probe *probe, const char *why)
{
    probe->refuse_durable = true;
    copy(probe->refuse_why, sizeof(probe->refuse_why), why);
}

static bool is_one_of(const char *type, const char *const *types)
{
    for (; *types != NULL; types++)
        if (strcmp(type, *types) == 0)
            return true;
    return false;
}

static void judge_ext4(const mount_info *mount, baton_io_probe *probe)
{
    char path[PATH_MAX];
    char options[4096] = "";
    char journal[64];
    FILE *file;

    /* mountinfo leaves out what is the default of this file system; this page does not. Not there
     * in every container. */
    snprintf(path, sizeof(path), "/proc/fs/ext4/%s/options", probe->device);
    file = fopen(path, "re");
    if (file != NULL) {
        size_t n = fread(options, 1, sizeof(options) - 1, file);
        options[n] = '\0';
        fclose(file);
    }
    if (has_word(options, "data=journal") || has_word(mount->options, "data=journal"))
        refuse(probe, "ext4 is mounted with data=journal, which makes direct writes buffered");
    if (has_word(options, "nobarrier"))
        refuse(probe, "ext4 is mounted with nobarrier: flushes do not reach the device");

    snprintf(path, sizeof(path), "/sys/fs/ext4/%s/journal_task", probe->device);
    if (read_small(path, journal, sizeof(journal)) && strcmp(journal, "<none>") == 0)
        copy(probe->warning, sizeof(probe->warning),
             "ext4 without a journal: after a power failure the file system may need repair");
}

static void judge(const mount_info *mount, baton_io_probe *probe)
{
    static const char *const memory[] = {"tmpfs", "ramfs", "rootfs", NULL};
    static const char *const network[] = {
        "nfs",    "nfs4",       "cifs",  "smb3", "smbfs",     "ceph",           "9p", "afs",
        "lustre", "fuse.sshfs", "ncpfs", "coda", "fuse.s3fs", "fuse.glusterfs", NULL};
    static const char *const copies[] = {"btrfs", "zfs", "bcachefs", "f2fs", NULL};

    if (is_one_of(mount->type, memory))
        refuse(probe, "it lives in memory and is lost with the power");
    if (is_one_of(mount->type, network))
        refuse(probe, "a network file system gives no promise about its server's disk");
    if (has_word(mount->options, "nobarrier") || has_word(mount->options, "barrier=0"))
        refuse(probe, "it is mounted with nobarrier: flushes do not reach the device");
    if (is_one_of(mount->type, copies))
        copy(probe->warning, sizeof(probe->warning),
             "a copy-on-write file system: every durable write commits metadata too; expect it "
             "slow");
    if (strcmp(mount->type, "overlay") == 0)
        copy(probe->warning, sizeof(probe->warning),
             "a container's own layer: it is deleted with the container; use a volume");
    if (strncmp(mount->type, "fuse", 4) == 0 && !probe->refuse_durable)
        copy(probe->warning, sizeof(probe->warning),
             "a FUSE file system: what a flush means is up to the program behind it");
    if (strcmp(mount->type, "ext4") == 0)
        judge_ext4(mount, probe);
}

/* ---- trying ---- */

/* A nameless file where the file system can do that, else a named one that is unlinked at once. */
static int open_temporary(const char *path, int flags)
{
    char name[PATH_MAX];
    int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
        return -errno;
    int n =
        snprintf(name, sizeof(name), "%s/.baton-probe-%ld-%p", path, (long)getpid(), (void *)name);
    if (n < 0 || (size_t)n >= sizeof(name))
        return -ENAMETOOLONG;
    fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | flags, 0600);
    const int r = fd < 0 ? -errno : fd;
    if (fd >= 0 || errno == EINVAL)
        (void)unlink(name); /* an open refused for O_DIRECT may have created it */
    return r;
}

static void probe_alignment(int fd, baton_io_probe *probe)
{
    struct statx status;
    uint32_t memory;
    uint32_t offset;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) < 0 ||
        (status.stx_mask & STATX_DIOALIGN) == 0)
        return;
    memcpy(&memory, (const char *)&status + STATX_DIO_MEMORY_OFFSET, sizeof(memory));
    memcpy(&offset, (const char *)&status + STATX_DIO_OFFSET_OFFSET, sizeof(offset));
    probe->direct_alignment = memory > offset ? memory : offset;
}

/* One durable write of the unit. Returns 0 and what worked, or -errno when the file cannot be made
 * or written at all. A full disk proves nothing against the primitive: free_bytes tells about
 * that. */
static int probe_write(int fd, const char *unit, bool *ret_works)
{
    const struct iovec vector = {.iov_base = (void *)(uintptr_t)unit, .iov_len = BATON_IO_UNIT};
    ssize_t n;
    do
        n = pwritev2(fd, &vector, 1, 0, RWF_DSYNC);
    while (n < 0 && errno == EINTR);
    *ret_works = n == BATON_IO_UNIT || (n < 0 && baton_io_is_full_disk(-errno));
    if (n < 0 && (errno == EIO || errno == EROFS))
        return -errno;
    return 0;
}

static int probe_primitives(const char *path, baton_io_probe *probe)
{
    char *unit = aligned_alloc(BATON_IO_UNIT, BATON_IO_UNIT);
    bool works = false;
    if (unit == NULL)
        return -ENOMEM;
    memset(unit, 0, BATON_IO_UNIT);

    int r = 0;
    int fd = open_temporary(path, O_DIRECT);
    if (fd >= 0) {
        probe_alignment(fd, probe);
        r = probe_write(fd, unit, &works);
        probe->direct_io = works && probe->direct_alignment <= BATON_IO_UNIT;
        probe->write_durable = works;
        close(fd);
    } else if (fd != -EINVAL) {
        r = fd;
    }
    if (r == 0 && !works) { /* without O_DIRECT, is there at least RWF_DSYNC? */
        fd = open_temporary(path, 0);
        r = fd < 0 ? fd : probe_write(fd, unit, &probe->write_durable);
        if (fd >= 0)
            close(fd);
    }
    free(unit);
    return r;
}

int baton_io_posix_probe_directory(void *self, const char *path, baton_io_probe *ret_probe)
{
    (void)self;
    baton_io_probe probe = {0};
    mount_info *mount = calloc(1, sizeof(*mount));
    char resolved[PATH_MAX];
    struct stat directory;
    struct statfs fs;
    int r = -ENOMEM;

    if (mount == NULL)
        goto done;
    r = -errno;
    if (realpath(path, resolved) == NULL || stat(resolved, &directory) < 0 ||
        statfs(resolved, &fs) < 0) {
        r = -errno;
        goto done;
    }
    r = -ENOTDIR;
    if (!S_ISDIR(directory.st_mode))
        goto done;
    if (!mount_find(resolved, mount))
        snprintf(mount->type, sizeof(mount->type), "0x%lx", (unsigned long)fs.f_type);
    copy(probe.file_system, sizeof(probe.file_system), mount->type);
    probe.free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    probe_device(mount, &directory, &probe);
    judge(mount, &probe);
    r = probe_primitives(resolved, &probe);
    if (r == 0)
        *ret_probe = probe;

done:
    free(mount);
    return r;
}
