/* snapshot/track.h: which pages of a region were written since they were last asked for (S4).
 *
 * The kernel's tracker protects pages asynchronously (userfaultfd WP_ASYNC): the first write to a
 * protected page costs its writer one short fault, and PAGEMAP_SCAN reports and protects again in
 * one step. It needs no capabilities, but Linux 6.7 and a seccomp profile that lets userfaultfd
 * through. Behind a table, so that a test or simulator can stand in.
 *
 * Threads: one at a time, peek() aside; while one collects, others may write to the region. */
#pragma once

#include "snapshot/format.h"

typedef struct baton_tracker baton_tracker;

typedef struct {
    /* Where the region is mapped, all of it, page-aligned. *error says what to do. */
    int (*open)(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                baton_error *error);
    /* From here on writes to these pages are seen. */
    int (*arm)(baton_tracker *tracker, uint32_t first_page, uint32_t pages_count);
    /* Pages first_page .. end_page - 1 that were written since they were armed or collected, in
     * ascending runs; they are armed again. Stops early when runs are used up: *ret_next_page is
     * where to go on. */
    int (*collect)(baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                   baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                   uint32_t *ret_next_page);
    /* As collect, but nothing is armed: the next collect finds them too. Cheaper by half, and several
     * threads may peek at once. */
    int (*peek)(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                uint32_t *ret_next_page);
    void (*close)(baton_tracker *tracker); /* NULL is fine */
} baton_tracker_ops;

/* The kernel's; context is not used. BATON_E_DEVICE when it has not what is needed, with the likely
 * cause as `why`. */
const baton_tracker_ops *baton_tracker_kernel(void);

uint32_t baton_page_bytes(void); /* of this machine */
