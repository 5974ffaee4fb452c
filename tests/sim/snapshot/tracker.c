/* tests/sim/snapshot/tracker.c: which pages were written, without a kernel: each watched page is compared with a
 * copy of it. One thread, so nothing is written while it looks. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/breakable.h"
#include "tests/sim/snapshot/snapshot_run.h"

struct baton_tracker {
    snapshot_run *run;
    const uint8_t *base;
    uint8_t *copy; /* of the pages, as they were when they were armed or collected */
    bool *peeked;  /* of the pages: written, and not watched since */
    uint64_t bytes;
    uint64_t page_bytes;
};

static int track_open(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                      baton_error *error)
{
    static baton_tracker self; /* one engine at a time */
    snapshot_run *run = context;
    if (run->tracker_refused)
        return baton_error_set(error, BATON_E_DEVICE, "track pages",
                               "userfaultfd is denied, most likely by seccomp", "allow it");
    self =
        (baton_tracker){.run = run, .base = base, .bytes = bytes, .page_bytes = baton_page_bytes()};
    self.copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    self.peeked = mmap(NULL, bytes / self.page_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    baton_assert(self.copy != MAP_FAILED && self.peeked != MAP_FAILED);
    *ret_tracker = &self;
    return 0;
}

/* The kernel's calls can fail; which they do for no reason that a service could do something about. */
static int fails(snapshot_run *run)
{
    if (!run->tracker_fails || !run_one_in(run, 40))
        return 0;
    run->tracker_failures++;
    run_say(run, "-- the tracker fails");
    return -EPERM;
}

static int track_arm(baton_tracker *tracker, uint32_t first_page, uint32_t pages_count)
{
    const uint64_t at = first_page * tracker->page_bytes;
    int r = fails(tracker->run);
    if (r == 0) {
        memcpy(tracker->copy + at, tracker->base + at, pages_count * tracker->page_bytes);
        memset(tracker->peeked + first_page, 0, pages_count);
    }
    return r;
}

/* True: it was written. arm: it is watched anew. */
static bool find_page(const baton_tracker *tracker, uint32_t page, bool arm)
{
    const uint64_t at = page * tracker->page_bytes;
    if (!tracker->peeked[page] &&
        memcmp(tracker->copy + at, tracker->base + at, tracker->page_bytes) == 0)
        return false;
    if (arm)
        memcpy(tracker->copy + at, tracker->base + at, tracker->page_bytes);
    tracker->peeked[page] = !arm;
    return !BATON_BREAK(TRACKER_LOSES_A_PAGE) || !run_one_in(tracker->run, 200);
}

static int scan(const baton_tracker *tracker, bool arm, uint32_t first_page, uint32_t end_page,
                baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                uint32_t *ret_next_page)
{
    int r = fails(tracker->run);
    uint32_t page = first_page;
    uint32_t count = 0;
    /* Now and then it says less at once, as the kernel may. */
    const uint32_t most = run_one_in(tracker->run, 8) && runs_max > 2 ? 2 : runs_max;
    for (; r == 0 && page < end_page; page++) {
        baton_page_run *last = count > 0 ? &ret_runs[count - 1] : NULL;
        const bool joins = last != NULL && last->first_page + last->pages_count == page;
        if (!joins && count == most)
            break;
        if (!find_page(tracker, page, arm))
            continue;
        if (joins)
            last->pages_count++;
        else
            ret_runs[count++] = (baton_page_run){page, 1};
    }
    *ret_runs_count = count;
    *ret_next_page = page;
    return r;
}

static int track_collect(baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                         baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                         uint32_t *ret_next_page)
{
    return scan(tracker, true, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                ret_next_page);
}

static int track_peek(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                      baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                      uint32_t *ret_next_page)
{
    return scan(tracker, false, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                ret_next_page);
}

static void track_close(baton_tracker *tracker)
{
    munmap(tracker->copy, tracker->bytes);
    munmap(tracker->peeked, tracker->bytes / tracker->page_bytes);
}

const baton_tracker_ops *run_tracker(void)
{
    static const baton_tracker_ops ops = {track_open, track_arm, track_collect, track_peek,
                                          track_close};
    return &ops;
}
