/* journal/watch.c: LOCK and HINT as seen from outside. Both may appear later, so both are looked
 * for again. */
#include "journal/watch.h"

#include <errno.h>
#include <stdio.h>

int baton_watch_open(baton_journal_watch *watch, baton_io *io, const char *directory)
{
    *watch = (baton_journal_watch){.io = io, .lock_file = BATON_IO_NO_FILE};
    int length = snprintf(watch->directory, sizeof(watch->directory), "%s", directory);
    bool fits = length >= 0 && (size_t)length < sizeof(watch->directory) - BATON_SEGMENT_NAME_BYTES;
    return fits ? 0 : -ENAMETOOLONG;
}

void baton_watch_close(baton_journal_watch *watch)
{
    if (watch->io == NULL)
        return;
    baton_hint_close(watch->hint);
    baton_io_file_close(watch->io, watch->lock_file);
    *watch = (baton_journal_watch){.lock_file = BATON_IO_NO_FILE};
}

int baton_watch_locked(baton_journal_watch *watch)
{
    char path[BATON_JOURNAL_PATH_BYTES + 8];

    if (watch->lock_file == BATON_IO_NO_FILE) {
        (void)snprintf(path, sizeof(path), "%s/LOCK", watch->directory);
        int r = baton_io_file_open(watch->io, path, BATON_IO_FOR_READ, &watch->lock_file);
        if (r < 0) {
            watch->lock_file = BATON_IO_NO_FILE;
            return r == -ENOENT ? 0 : r;
        }
    }
    return baton_io_file_is_locked(watch->io, watch->lock_file);
}

bool baton_watch_view(baton_journal_watch *watch, baton_hint_view *ret_view)
{
    *ret_view = (baton_hint_view){0};
    if (watch->hint == NULL && baton_hint_attach(watch->io, watch->directory, &watch->hint) < 0)
        watch->hint = NULL;
    return watch->hint != NULL && baton_hint_read(watch->hint, ret_view);
}

bool baton_watch_view_same(const baton_hint_view *a, const baton_hint_view *b)
{
    return baton_position_compare(a->durable, b->durable) == 0 && a->index == b->index &&
           a->end_offset == b->end_offset && a->oldest_index == b->oldest_index &&
           a->open == b->open;
}

baton_chain_end baton_watch_end(const baton_hint_view *view)
{
    return (baton_chain_end){
        .position = view->durable, .index = view->index, .offset = view->end_offset};
}

baton_io_choice baton_watch_io_choice(baton_backend backend)
{
    switch (backend) {
    case BATON_BACKEND_AUTO:
        return BATON_IO_AUTO;
    case BATON_BACKEND_URING:
        return BATON_IO_URING;
    case BATON_BACKEND_THREADS:
        return BATON_IO_THREADS;
    }
    return BATON_IO_AUTO;
}
