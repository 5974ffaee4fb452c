/* tests/unit/snapshot_place.c: see snapshot_place.h. */
#include "tests/unit/snapshot_place.h"

#include <errno.h>

#include "tests/unit/snapshot_fixture.h"

test_dir dir;
baton_io *io;

static int make(baton_io_choice choice)
{
    test_dir_make(&dir, program_invocation_short_name);
    io = fixture_io(choice);
    return 0;
}

int place_make(void **unused)
{
    (void)unused;
    return make(BATON_IO_THREADS);
}

int place_make_auto(void **unused)
{
    (void)unused;
    return make(BATON_IO_AUTO);
}

int place_remove(void **unused)
{
    (void)unused;
    baton_io_close(io);
    test_dir_remove(&dir);
    return 0;
}
