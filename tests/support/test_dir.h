/* tests/support/test_dir.h: a directory of its own for each test.
 *
 * It stands under BATON_TEST_TMP (inside the build tree when ctest runs the test), else under
 * TMPDIR, else under /tmp: always on a disk, as direct and durable I/O need one. */
#pragma once

#include <stddef.h>

#define TEST_PATH_BYTES 512

typedef struct {
    char path[TEST_PATH_BYTES];
} test_dir;

/* Ends the program with a message when it can't. */
void test_dir_make(test_dir *dir, const char *name);
/* With everything in it; links are not followed. */
void test_dir_remove(test_dir *dir);

/* "dir/name", from a ring of static buffers: the last 8 results stay valid. One thread. */
const char *test_path(const test_dir *dir, const char *name);
