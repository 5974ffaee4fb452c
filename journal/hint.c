/* journal/hint.c: the first page of HINT. One machine, so numbers stand in host order; recovery
 * never looks at it.
 *
 * A seqlock: `sequence` is odd while the writer writes, 0 before the first publish. Readers copy
 * and compare. The words are atomics, so a torn copy is thrown away, never undefined. A writer
 * that died in between leaves it odd: readers then have no view, and the next writer starts it
 * again. `change` is the futex word. A waiter raises `waiting` before it looks at the view for
 * the last time; the writer changes the view before it looks at `waiting`; sequentially
 * consistent, so one of them sees the other. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "journal/hint.h"

#define HINT_PAGE_BYTES 4096u
#define HINT_BYTES      (HINT_PAGE_BYTES + sizeof(baton_recent))
#define HINT_MAGIC      UINT64_C(0x32544e494e4f5442) /* also tells another layout from ours */
#define HINT_READ_TRIES 1000u
#define HINT_UNCOUNTED_WAIT_NS                                                                     \
    UINT64_C(10000000) /* a reader that may not write the page is not woken: it looks again */

enum {
    WORD_ID_0,
    WORD_ID_1,
    WORD_EPOCH,
    WORD_BATCH,
    WORD_SEQ,
    WORD_INDEX,
    WORD_END,
    WORD_OLDEST,
    WORD_OPEN,
    WORDS
};

typedef struct {
    _Atomic uint64_t magic;
    _Atomic uint64_t sequence;
    _Atomic uint32_t change;
    _Atomic uint32_t waiting;
    _Atomic uint64_t words[WORDS];
} hint_page;

static_assert(sizeof(hint_page) <= HINT_PAGE_BYTES, "one page");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared between processes");

struct baton_hint {
    baton_io *io;
    baton_io_file file;
    hint_page *page;
    bool writable;
};

static int hint_path(const char *directory, char *path, size_t path_bytes)
{
    int length = snprintf(path, path_bytes, "%s/HINT", directory);
    return length < 0 || (size_t)length >= path_bytes ? -ENAMETOOLONG : 0;
}

static int hint_map(baton_io *io, baton_io_file file, bool writable, baton_hint **ret_hint)
{
    baton_hint *hint = calloc(1, sizeof(*hint));
    if (!hint)
        return -ENOMEM;
    void *page;
    int r = baton_io_map(io, file, HINT_BYTES, writable, &page);
    if (r < 0) {
        free(hint);
        return r;
    }
    *hint = (baton_hint){.io = io, .file = file, .page = page, .writable = writable};
    *ret_hint = hint;
    return 0;
}

int baton_hint_create(baton_io *io, const char *directory, baton_hint **ret_hint)
{
    char path[PATH_MAX];
    baton_io_file file = BATON_IO_NO_FILE;
    int r = hint_path(directory, path, sizeof(path));
    if (r < 0)
        return r;
    r = baton_io_file_open(io, path,
                           BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN, &file);
    if (r < 0)
        return r;
    /* Real blocks before the mapping: a full disk must be an error here, not a signal at the
     * first store. */
    baton_io_op allocate = {.kind = BATON_IO_ALLOCATE, .file = file, .bytes = HINT_BYTES};
    r = (int)baton_io_run(io, &allocate);
    if (r < 0)
        goto fail;
    r = hint_map(io, file, true, ret_hint);
    if (r < 0)
        goto fail;

    hint_page *page = (*ret_hint)->page;
    atomic_store(&page->sequence,
                 atomic_load(&page->sequence) | 1); /* no view until the first publish */
    for (uint32_t i = 0; i < WORDS; i++)
        atomic_store_explicit(&page->words[i], 0, memory_order_release);
    baton_recent_clear(baton_hint_recent(*ret_hint));
    atomic_store(&page->magic, HINT_MAGIC);
    return 0;

fail:
    baton_io_file_close(io, file);
    return r;
}

int baton_hint_attach(baton_io *io, const char *directory, baton_hint **ret_hint)
{
    char path[PATH_MAX];
    baton_io_file file = BATON_IO_NO_FILE;
    bool writable = true;
    uint64_t bytes = 0;
    int r = hint_path(directory, path, sizeof(path));
    if (r < 0)
        return r;
    r = baton_io_file_open(io, path, BATON_IO_FOR_READ | BATON_IO_FOR_WRITE, &file);
    if (r == -EACCES || r == -EROFS || r == -EPERM) {
        writable = false;
        r = baton_io_file_open(io, path, BATON_IO_FOR_READ, &file);
    }
    if (r < 0)
        return r;
    r = baton_io_file_size(io, file, &bytes);
    if (r == 0 && bytes < HINT_BYTES) /* the writer is just making it */
        r = -ENOENT;
    if (r == 0)
        r = hint_map(io, file, writable, ret_hint);
    if (r < 0)
        baton_io_file_close(io, file);
    return r;
}

int baton_hint_reset(baton_io *io, const char *directory)
{
    baton_hint *hint;
    int r = baton_hint_attach(io, directory, &hint);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    bool ours = atomic_load(&hint->page->magic) == HINT_MAGIC;
    if (ours && hint->writable)
        atomic_fetch_or(&hint->page->sequence, 1);
    else if (ours)
        r = -EACCES;
    baton_hint_close(hint);
    return r;
}

void baton_hint_close(baton_hint *hint)
{
    if (!hint)
        return;
    baton_io_unmap(hint->io, hint->page, HINT_BYTES);
    baton_io_file_close(hint->io, hint->file);
    free(hint);
}

baton_recent *baton_hint_recent(baton_hint *hint)
{
    return (baton_recent *)(void *)((uint8_t *)hint->page + HINT_PAGE_BYTES);
}

void baton_hint_publish(baton_hint *hint, const baton_hint_view *view)
{
    hint_page *page = hint->page;
    uint64_t words[WORDS] = {
        [WORD_EPOCH] = view->durable.epoch, [WORD_BATCH] = view->durable.batch,
        [WORD_SEQ] = view->durable.seq,     [WORD_INDEX] = view->index,
        [WORD_END] = view->end_offset,      [WORD_OLDEST] = view->oldest_index,
        [WORD_OPEN] = view->open,
    };
    memcpy(&words[WORD_ID_0], view->id.bytes, sizeof(view->id.bytes));

    /* Release stores throughout keep the odd number before the words, and the words before the
     * even one. */
    uint64_t odd = atomic_load_explicit(&page->sequence, memory_order_relaxed) | 1;
    atomic_store_explicit(&page->sequence, odd, memory_order_relaxed);
    for (uint32_t i = 0; i < WORDS; i++)
        atomic_store_explicit(&page->words[i], words[i], memory_order_release);
    atomic_store_explicit(&page->sequence, odd + 1, memory_order_release);

    atomic_fetch_add(&page->change, 1);
    if (atomic_load(&page->waiting) != 0 && atomic_exchange(&page->waiting, 0) != 0)
        (void)syscall(SYS_futex, &page->change, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool baton_hint_read(const baton_hint *hint, baton_hint_view *ret_view)
{
    hint_page *page = hint->page;
    if (atomic_load(&page->magic) != HINT_MAGIC)
        return false;
    for (uint32_t tries = 0; tries < HINT_READ_TRIES; tries++) {
        uint64_t before = atomic_load_explicit(&page->sequence, memory_order_acquire);
        if (before == 0)
            return false;
        if (before & 1)
            continue;
        uint64_t words[WORDS];
        for (uint32_t i = 0; i < WORDS; i++)
            words[i] = atomic_load_explicit(&page->words[i], memory_order_acquire);
        if (atomic_load_explicit(&page->sequence, memory_order_relaxed) != before)
            continue;
        *ret_view = (baton_hint_view){
            .durable = {.epoch = words[WORD_EPOCH],
                        .batch = words[WORD_BATCH],
                        .seq = words[WORD_SEQ]},
            .index = words[WORD_INDEX],
            .end_offset = words[WORD_END],
            .oldest_index = words[WORD_OLDEST],
            .open = words[WORD_OPEN] != 0,
        };
        memcpy(ret_view->id.bytes, &words[WORD_ID_0], sizeof(ret_view->id.bytes));
        return true;
    }
    return false;
}

static bool view_equal(const baton_hint_view *a, const baton_hint_view *b)
{
    return baton_digest_equal(a->id, b->id) &&
           baton_position_compare(a->durable, b->durable) == 0 &&
           a->durable.seq == b->durable.seq && a->index == b->index &&
           a->end_offset == b->end_offset && a->oldest_index == b->oldest_index &&
           a->open == b->open;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int baton_hint_wait(baton_hint *hint, const baton_hint_view *seen, uint64_t timeout_ns)
{
    hint_page *page = hint->page;
    uint64_t start_ns = monotonic_ns();
    baton_hint_view view;
    for (;;) {
        /* Before it counts as waiting: who finds an answer needs no waking. */
        if (baton_hint_read(hint, &view) && !view_equal(&view, seen))
            return 0;
        uint32_t change = atomic_load(&page->change);
        if (hint->writable)
            atomic_store(&page->waiting, 1);
        if (baton_hint_read(hint, &view) && !view_equal(&view, seen))
            return 0;
        uint64_t spent_ns = monotonic_ns() - start_ns;
        if (spent_ns >= timeout_ns)
            return BATON_E_TIMEOUT;
        uint64_t left_ns = timeout_ns - spent_ns;
        if (!hint->writable && left_ns > HINT_UNCOUNTED_WAIT_NS)
            left_ns = HINT_UNCOUNTED_WAIT_NS;
        struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000u),
                                .tv_nsec = (long)(left_ns % 1000000000u)};
        struct timespec *limit = timeout_ns == UINT64_MAX && hint->writable ? NULL : &left;
        if (syscall(SYS_futex, &page->change, FUTEX_WAIT, change, limit, NULL, 0) < 0 &&
            errno == EINTR)
            return -EINTR;
    }
}
