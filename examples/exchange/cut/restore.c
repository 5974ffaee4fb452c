/* A cut read again: verified, and laid out for three services to start from. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/digest.h>

#include "examples/exchange/cut/cut.h"

static int check_part(const char *directory, const char *name, cut_part *part,
                      char manifest[PATH_MAX], baton_error *error)
{
    baton_snapshot_info info;
    int r = part_check(directory, name, &info, manifest, error);
    if (r < 0)
        return r;
    if (info.seq != part->info.seq || !baton_digest_equal(info.root, part->info.root) ||
        !baton_digest_equal(info.state_digest, part->info.state_digest))
        return baton_error_setf(error, BATON_E_UNTRUSTED, directory, "put the right one back",
                                "this snapshot, of entry %" PRIu64 ", is not the one of cut.json",
                                info.seq);
    part->info = info;
    return 0;
}

int cut_verify(const char *directory, bool load, cut *ret_cut, baton_error *error)
{
    static const char *const more[] = {"--round-trip", NULL};
    char path[PATH_MAX], manifest[PATH_MAX];
    int r = cut_read(directory, ret_cut, error);
    for (uint32_t i = 0; i < CUT_PARTS && r == 0; i++) {
        r = part_path(path, directory, cut_names[i], error);
        if (r == 0)
            r = check_part(path, cut_names[i], &ret_cut->parts[i], manifest, error);
        if (r == 0 && load)
            r = part_run(&ret_cut->parts[i], "verify", manifest, more, error);
    }
    return r;
}

/* ---- copies ---- */

static int copy_bytes(int from, int to)
{
    static char bytes[1 << 16];
    ssize_t count;
    while ((count = read(from, bytes, sizeof(bytes))) > 0)
        for (ssize_t at = 0; at < count;) {
            const ssize_t written = write(to, bytes + at, (size_t)(count - at));
            if (written < 0)
                return -errno;
            at += written;
        }
    return count < 0 || fsync(to) < 0 ? -errno : 0;
}

static int copy_file(int from_directory, int to_directory, const char *name, baton_error *error)
{
    const int from = openat(from_directory, name, O_RDONLY | O_CLOEXEC);
    const int to =
        from < 0 ? -1 : openat(to_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    const int r = from < 0 || to < 0 ? -errno : copy_bytes(from, to);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return r == 0 ? 0 : baton_error_set(error, r, name, NULL, "is the disk full?");
}

static int copy_all(const char *from, const char *to, baton_error *error)
{
    DIR *files = opendir(from);
    const int target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = files == NULL || target < 0 ? baton_error_set(error, -errno, from, NULL, NULL) : 0;
    const struct dirent *entry;
    while (r == 0 && (entry = readdir(files)) != NULL)
        if (entry->d_name[0] != '.')
            r = copy_file(dirfd(files), target, entry->d_name, error);
    if (files != NULL)
        closedir(files);
    if (target >= 0)
        close(target);
    return r == 0 ? part_sync(to, error) : r;
}

static int make(const char *directory, baton_error *error)
{
    if (mkdir(directory, 0777) == 0)
        return 0;
    return baton_error_set(error, -errno, directory, NULL,
                           errno == EEXIST ? "restore into a directory without it"
                                           : "name a directory whose parent is there");
}

/* TO/SERVICE.partial/snapshots, compared with the cut once more: what is started from is what was read here. */
static int lay_out(const char *directory, const char *to, const char *name, cut_part *part,
                   baton_error *error)
{
    char from[PATH_MAX], partial[PATH_MAX], snapshots[PATH_MAX], manifest[PATH_MAX];
    char file[64];
    snprintf(file, sizeof(file), "%s.partial", name);
    int r = part_path(from, directory, name, error);
    if (r == 0)
        r = part_path(partial, to, file, error);
    if (r == 0)
        r = part_path(snapshots, partial, "snapshots", error);
    if (r == 0)
        r = make(partial, error);
    if (r == 0)
        r = make(snapshots, error);
    if (r == 0)
        r = copy_all(from, snapshots, error);
    if (r == 0)
        r = check_part(snapshots, name, part, manifest, error);
    return r == 0 ? part_sync(partial, error) : r;
}

static int name_it(const char *to, const char *name, baton_error *error)
{
    char partial[PATH_MAX], path[PATH_MAX], file[64];
    snprintf(file, sizeof(file), "%s.partial", name);
    int r = part_path(partial, to, file, error);
    if (r == 0)
        r = part_path(path, to, name, error);
    if (r == 0 && rename(partial, path) < 0)
        r = baton_error_set(error, -errno, path, NULL, "restore into a directory without it");
    return r;
}

/* Neither a service's directory nor what a killed restore has left. */
static int check_free(const char *to, baton_error *error)
{
    static const char *const suffixes[] = {"", ".partial"};
    char path[PATH_MAX], file[64];
    struct stat there;
    int r = 0;
    for (uint32_t i = 0; i < 2 * CUT_PARTS && r == 0; i++) {
        snprintf(file, sizeof(file), "%s%s", cut_names[i / 2], suffixes[i % 2]);
        r = part_path(path, to, file, error);
        if (r == 0 && stat(path, &there) == 0)
            r = baton_error_set(error, -EEXIST, path, "it is there already",
                                "restore into a directory without it");
    }
    return r;
}

static void clear_up(const char *to)
{
    char path[PATH_MAX], file[64];
    for (uint32_t i = 0; i < CUT_PARTS; i++) {
        snprintf(file, sizeof(file), "%s.partial", cut_names[i]);
        if (part_path(path, to, file, NULL) == 0)
            part_remove(path);
    }
}

int cut_restore(const char *directory, const char *to, cut *ret_cut, baton_error *error)
{
    struct stat there;
    int r = cut_verify(directory, false, ret_cut, error);
    if (r == 0 && stat(to, &there) < 0)
        r = make(to, error);
    if (r == 0)
        r = check_free(to, error);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < CUT_PARTS && r == 0; i++)
        r = lay_out(directory, to, cut_names[i], &ret_cut->parts[i], error);
    for (uint32_t i = 0; i < CUT_PARTS && r == 0; i++)
        r = name_it(to, cut_names[i], error);
    if (r < 0)
        clear_up(to);
    return r == 0 ? part_sync(to, error) : r;
}
