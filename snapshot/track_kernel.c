/* snapshot/track_kernel.c: the tracker by userfaultfd and PAGEMAP_SCAN. See track.h. */
#include "snapshot/track.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Headers of Debian 12 are older than the calls; numbers from the kernel's own. */
#define FEATURE_WP_HUGETLBFS_SHMEM (UINT64_C(1) << 12)
#define FEATURE_WP_UNPOPULATED     (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC           (UINT64_C(1) << 15)
#define USER_MODE_ONLY             1

typedef struct {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
} scan_region;

typedef struct {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
} scan_arguments;

static_assert(sizeof(scan_arguments) == 96, "the kernel compares the size");

#define SCAN            _IOWR('f', 16, scan_arguments)
#define SCAN_PROTECT    1u /* PM_SCAN_WP_MATCHING */
#define SCAN_ASYNC_ONLY 2u /* PM_SCAN_CHECK_WPASYNC */
#define PAGE_WRITTEN    2u /* PAGE_IS_WRITTEN */

#define SCAN_REGIONS 512u /* of one call: 12 KiB of stack; the kernel's own buffer is as long */

struct baton_tracker {
    int uffd;
    int pagemap;
    uint64_t address;
    uint64_t bytes;
    uint32_t page_bytes;
};

uint32_t baton_page_bytes(void)
{
    return (uint32_t)sysconf(_SC_PAGESIZE);
}

static void kernel_close(baton_tracker *tracker)
{
    if (tracker == NULL)
        return;
    if (tracker->uffd >= 0)
        close(tracker->uffd); /* unprotects */
    if (tracker->pagemap >= 0)
        close(tracker->pagemap);
    free(tracker);
}

static int refuse(int error, const char *why, baton_error *ret_error)
{
    baton_error_set(ret_error, BATON_E_DEVICE, "track the pages that a service writes", why,
                    "allow userfaultfd in the container's seccomp profile, on Linux 6.7 or newer");
    (void)error;
    return BATON_E_DEVICE;
}

static int open_uffd(baton_tracker *tracker, baton_error *error)
{
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED | FEATURE_WP_HUGETLBFS_SHMEM,
    };
    tracker->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
    if (tracker->uffd < 0)
        return refuse(errno,
                      errno == EINVAL ? "userfaultfd: this kernel is older than 5.11"
                                      : "userfaultfd is denied, most likely by seccomp",
                      error);
    if (ioctl(tracker->uffd, UFFDIO_API, &api) < 0)
        return refuse(errno, "userfaultfd without WP_ASYNC: this kernel is older than 6.7", error);
    struct uffdio_register wanted = {
        .range = {.start = tracker->address, .len = tracker->bytes},
        .mode = UFFDIO_REGISTER_MODE_WP,
    };
    if (ioctl(tracker->uffd, UFFDIO_REGISTER, &wanted) < 0)
        return refuse(errno,
                      errno == EBUSY ? "another tracker watches the region"
                                     : "userfaultfd does not take the region: it is not all mapped",
                      error);
    return 0;
}

/* An empty scan tells whether the call is there. */
static int open_pagemap(baton_tracker *tracker, baton_error *error)
{
    scan_arguments probe = {.size = sizeof(probe),
                            .start = tracker->address,
                            .end = tracker->address,
                            .category_mask = PAGE_WRITTEN,
                            .return_mask = PAGE_WRITTEN};
    tracker->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (tracker->pagemap < 0)
        return refuse(errno, "/proc/self/pagemap can't be opened: /proc is not mounted, or masked",
                      error);
    if (ioctl(tracker->pagemap, SCAN, &probe) < 0)
        return refuse(errno, "no PAGEMAP_SCAN: this kernel is older than 6.7", error);
    return 0;
}

static int kernel_open(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                       baton_error *error)
{
    (void)context;
    baton_tracker *tracker = calloc(1, sizeof(*tracker));
    if (tracker == NULL)
        return baton_error_set(error, -ENOMEM, "track pages", NULL, "free memory");
    tracker->uffd = -1;
    tracker->pagemap = -1;
    tracker->address = (uint64_t)(uintptr_t)base;
    tracker->bytes = bytes;
    tracker->page_bytes = baton_page_bytes();
    int r = open_uffd(tracker, error);
    if (r == 0)
        r = open_pagemap(tracker, error);
    if (r < 0) {
        kernel_close(tracker);
        return r;
    }
    *ret_tracker = tracker;
    return 0;
}

static int kernel_arm(baton_tracker *tracker, uint32_t first_page, uint32_t pages_count)
{
    struct uffdio_writeprotect protect = {
        .range = {.start = tracker->address + (uint64_t)first_page * tracker->page_bytes,
                  .len = (uint64_t)pages_count * tracker->page_bytes},
        .mode = UFFDIO_WRITEPROTECT_MODE_WP,
    };
    int r;
    do {
        r = ioctl(tracker->uffd, UFFDIO_WRITEPROTECT, &protect);
    } while (r < 0 && (errno == EAGAIN || errno == EINTR)); /* a mapping changed elsewhere */
    return r < 0 ? -errno : 0;
}

/* With no flags but ASYNC_ONLY a scan changes nothing: it flushes no TLB, which is most of what the
 * other kind costs, and any number of threads may be in one. */
static int scan_pages(const baton_tracker *tracker, uint64_t flags, uint32_t first_page,
                      uint32_t end_page, baton_page_run *ret_runs, uint32_t runs_max,
                      uint32_t *ret_runs_count, uint32_t *ret_next_page)
{
    scan_region regions[SCAN_REGIONS];
    scan_arguments scan = {
        .size = sizeof(scan),
        .flags = flags | SCAN_ASYNC_ONLY,
        .start = tracker->address + (uint64_t)first_page * tracker->page_bytes,
        .end = tracker->address + (uint64_t)end_page * tracker->page_bytes,
        .vec = (uint64_t)(uintptr_t)regions,
        .vec_len = runs_max < SCAN_REGIONS ? runs_max : SCAN_REGIONS,
        .category_mask = PAGE_WRITTEN,
        .return_mask = PAGE_WRITTEN,
    };
    /* Not tried again when it fails in the middle: pages protected by then would be forgotten. */
    int n = ioctl(tracker->pagemap, SCAN, &scan);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++)
        ret_runs[i] = (baton_page_run){
            .first_page = (uint32_t)((regions[i].start - tracker->address) / tracker->page_bytes),
            .pages_count = (uint32_t)((regions[i].end - regions[i].start) / tracker->page_bytes),
        };
    *ret_runs_count = (uint32_t)n;
    /* A scan that fills the kernel's own buffer in between, and then ends, leaves walk_end where
     * that was (seen on 6.18): what it reported lies behind it. */
    uint64_t next = scan.walk_end;
    if (n > 0 && regions[n - 1].end > next)
        next = regions[n - 1].end;
    *ret_next_page = (uint32_t)((next - tracker->address) / tracker->page_bytes);
    return 0;
}

static int kernel_collect(baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                          baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                          uint32_t *ret_next_page)
{
    return scan_pages(tracker, SCAN_PROTECT, first_page, end_page, ret_runs, runs_max,
                      ret_runs_count, ret_next_page);
}

static int kernel_peek(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                       baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                       uint32_t *ret_next_page)
{
    return scan_pages(tracker, 0, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                      ret_next_page);
}

const baton_tracker_ops *baton_tracker_kernel(void)
{
    static const baton_tracker_ops kernel = {
        .open = kernel_open,
        .arm = kernel_arm,
        .collect = kernel_collect,
        .peek = kernel_peek,
        .close = kernel_close,
    };
    return &kernel;
}
