/* tests/unit/snapshot_place.h: where a test of snapshots works: a directory of its own, and an I/O
 * to it. For cmocka, around each test. */
#pragma once

#include "base/io.h"
#include "tests/support/test_dir.h"

extern test_dir dir;
extern baton_io *io;

int place_make(void **unused);      /* I/O by threads */
int place_make_auto(void **unused); /* by io_uring where that is allowed */
int place_remove(void **unused);
