/* One service's part of a cut: its files, and its program. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "examples/exchange/cut/cut.h"

extern char **environ;

int part_path(char path[PATH_MAX], const char *directory, const char *name, baton_error *error)
{
    const int length = snprintf(path, PATH_MAX, "%s/%s", directory, name);
    if (length > 0 && length < PATH_MAX)
        return 0;
    return baton_error_set(error, -ENAMETOOLONG, directory, NULL, "give a shorter path");
}

int part_sync(const char *directory, baton_error *error)
{
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r == 0 ? 0 : baton_error_set(error, r, directory, NULL, "look at its disk");
}

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *where)
{
    (void)what;
    (void)kind;
    (void)where;
    return remove(path) < 0 ? -1 : 0;
}

void part_remove(const char *directory)
{
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int part_check(const char *directory, const char *service, baton_snapshot_info *ret_info,
               char manifest[PATH_MAX], baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list(directory, &list, &count, error);
    if (r == 0 && count != 1)
        r = baton_error_setf(error, BATON_E_NOT_FOUND, directory, "take the cut again",
                             "%u snapshots are there, not one", count);
    if (r == 0)
        r = baton_snapshot_verify(directory, list, error);
    if (r == 0 && strcmp(list->info.service, service) != 0)
        r = baton_error_setf(error, BATON_E_OTHER_SERVICE, directory,
                             "name order service, risk engine and matching engine in that order",
                             "it is of %s, not of %s", list->info.service, service);
    if (r == 0) {
        *ret_info = list->info;
        snprintf(manifest, PATH_MAX, "%s", list->manifest_path);
    }
    free(list);
    return r;
}

static int wait_for(pid_t child, const char *program, baton_error *error)
{
    int status;
    pid_t r;
    do
        r = waitpid(child, &status, 0);
    while (r < 0 && errno == EINTR);
    if (r == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return baton_error_set(error, BATON_E_REFUSED, program, "it did not end well",
                           "see what it said");
}

int part_run(const cut_part *part, const char *door, const char *what, const char *const *more,
             baton_error *error)
{
    enum { MORE_MAX = 8 };
    char *arguments[4 + MORE_MAX + CUT_OPTIONS_MAX + 1] = {
        (char *)(uintptr_t)part->program, (char *)(uintptr_t) "baton", (char *)(uintptr_t)door,
        (char *)(uintptr_t)what};
    uint32_t count = 4;
    for (uint32_t i = 0; i < MORE_MAX && more[i] != NULL; i++)
        arguments[count++] = (char *)(uintptr_t)more[i];
    for (uint32_t i = 0; i < part->options_count; i++)
        arguments[count++] = (char *)(uintptr_t)part->options[i];
    posix_spawn_file_actions_t files;
    pid_t child;
    int r = posix_spawn_file_actions_init(&files);
    if (r != 0)
        return baton_error_set(error, -r, part->program, NULL, "free some memory");
    r = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawnp(&child, part->program, &files, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    if (r != 0)
        return baton_error_set(error, -r, part->program, NULL, "give the service's program");
    return wait_for(child, part->program, error);
}
