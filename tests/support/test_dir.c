/* tests/support/test_dir.c: see test_dir.h. */
#include "tests/support/test_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NESTED_MAX 32

void test_dir_make(test_dir *dir, const char *name)
{
    const char *root = getenv("BATON_TEST_TMP");
    if (root == NULL || root[0] == '\0')
        root = getenv("TMPDIR");
    if (root == NULL || root[0] == '\0')
        root = "/tmp";
    /* Numbered until the name is free: a test that was killed may have left one with our pid. */
    for (unsigned i = 0;; i++) {
        int n =
            snprintf(dir->path, sizeof(dir->path), "%s/%s-%ld-%u", root, name, (long)getpid(), i);
        if (n < 0 || (size_t)n >= sizeof(dir->path))
            errno = ENAMETOOLONG;
        else if (mkdir(dir->path, 0700) == 0)
            return;
        if (errno != EEXIST) {
            perror(dir->path);
            exit(1);
        }
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)where;
    if (type == FTW_DP)
        return rmdir(path);
    return unlink(path);
}

static int open_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)where;
    if (type == FTW_D || type == FTW_DNR)
        return chmod(path, 0700); /* a test may have made it read-only */
    return 0;
}

void test_dir_remove(test_dir *dir)
{
    if (dir->path[0] == '\0')
        return;
    (void)nftw(dir->path, open_one, NESTED_MAX, FTW_PHYS);
    if (nftw(dir->path, remove_one, NESTED_MAX, FTW_DEPTH | FTW_PHYS) != 0)
        perror(dir->path);
    dir->path[0] = '\0';
}

const char *test_path(const test_dir *dir, const char *name)
{
    static char ring[8][TEST_PATH_BYTES + 256];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof(ring[0]), "%s/%s", dir->path, name);
    return path;
}
