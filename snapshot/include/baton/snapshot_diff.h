/* baton/snapshot_diff.h: what changed between two snapshots in the portable form.
 *
 * Rows are compared by section and by key: the first field of a row is its key. Of rows with one
 * key, equal ones stand for each other whatever their order; of what is left, pairs have changed,
 * the rest was added or removed. The order of rows does not count. Threads: any; it blocks. */
#pragma once

#include <baton/snapshot.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    BATON_DIFF_REMOVED,      /* a row that only the first one has */
    BATON_DIFF_ADDED,        /* a row that only the second one has */
    BATON_DIFF_CHANGED_FROM, /* as it is in the first one, when the second has its key too */
    BATON_DIFF_CHANGED_TO,   /* as it is in the second one */
} baton_diff_kind;

typedef struct {
    char name[BATON_SECTION_NAME_BYTES];
    bool in_first;
    bool in_second;
    uint64_t rows_first;
    uint64_t rows_second;
    uint64_t added;
    uint64_t removed;
    uint64_t changed;
} baton_diff_section;

typedef struct {
    /* Each row that differs, of one section after the other; unpack its fields from reader. Not 0
     * ends the comparison and is given back. May be NULL. */
    int (*row)(void *context, const char *section, baton_diff_kind kind,
               baton_snapshot_reader *reader, uint32_t fields_count);
    void (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes); /* may be NULL */
    void *context;
    /* For the digests of rows; 0: 256 MiB, at 40 bytes a row. What does not fit is compared in
     * several passes over both snapshots. */
    uint64_t memory_bytes_max;
} baton_diff_options;

typedef struct {
    const char *directory;
    const baton_snapshot_listed *listed;
} baton_diff_side;

/* *ret_sections: all of either side, those of the first one in its order, then new ones; malloc'ed,
 * the caller frees it. Snapshots of two schemas are compared row by row all the same: the caller
 * sees both. BATON_E_OTHER_SERVICE, BATON_E_DAMAGED, BATON_E_GONE, ... */
BATON_MUST_USE int baton_snapshot_diff(const baton_diff_side *first, const baton_diff_side *second,
                                       const baton_diff_options *options,
                                       baton_diff_section **ret_sections, uint32_t *ret_count,
                                       baton_error *error);

#ifdef __cplusplus
}
#endif
