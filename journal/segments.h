/* journal/segments.h: what segment files a journal directory holds, and which of them form the
 * journal. Reads names, sizes and headers; looks at no batch. */
#pragma once

#include "base/io.h"
#include "journal/format.h"
#include "journal/recover.h"

#define BATON_JOURNAL_PATH_BYTES 1280u /* directory, '/', the longest name in it */

typedef struct {
    baton_segment_info info;
    baton_unit_verdict header; /* INVALID also when it names another segment than its file does */
    bool live;                 /* part of the chain that the highest epoch's header continues */
    bool written_mode;
    bool follower; /* positions carried in its batches are no evidence (J10); without a header: of
                      its epoch */
    bool recycled; /* or, without a header, perhaps: stale bytes may stand in it (J4) */
    bool begins_epoch;
    uint64_t cut_offset; /* a later epoch's header voids what follows; UINT64_MAX: none does */
    uint64_t segment_bytes;
    uint64_t first_batch;
    uint64_t last_time_ns;
    uint64_t created_wall_ns;
    baton_position continues;
    baton_digest continues_digest;
    uint64_t continues_index;
    uint64_t continues_offset;
} baton_segment;

/* Only these names: in order of (epoch, index) from `first` on, and no index above the last. */
typedef struct {
    uint64_t first_epoch; /* 0: from the beginning */
    uint64_t first_index;
    uint64_t last_index; /* 0: to the end */
} baton_segments_range;

typedef struct {
    baton_segment *list;
    uint32_t count;
    uint32_t room;
    bool any_header; /* one at least is valid; then: */
    baton_digest id;
    char service[BATON_SERVICE_NAME_BYTES];
    uint64_t epoch_highest; /* of any name, also outside the range */
    uint64_t index_highest;
    uint32_t
        hole; /* count: none; else the live segment whose predecessor should be there and is not */
    uint64_t hole_epoch;
    uint64_t hole_index;
} baton_segments;

/* List, read every header in the range and find the live chain: from the highest epoch backwards,
 * each epoch up to where the next one's first header says that it continues. What is left over is
 * void, ready, or half made. unit: BATON_IO_UNIT aligned bytes to read into. An absent directory is
 * an empty one. 0, BATON_E_NEWER_FORMAT, BATON_E_OTHER_JOURNAL, -errno. Needs baton_segments_fini
 * in every case. */
BATON_MUST_USE int baton_segments_read(baton_io *io, const char *directory,
                                       const baton_segments_range *range, void *unit,
                                       baton_segments *segments, baton_error *error);
void baton_segments_fini(baton_segments *segments);

/* directory/EPOCH-INDEX.seg. The directory leaves room for it in path: whoever takes it from a
 * caller checks. */
void baton_segment_path(const char *directory, uint64_t epoch, uint64_t index,
                        char path[BATON_JOURNAL_PATH_BYTES]);
/* For reading, direct where the file system can. */
BATON_MUST_USE int baton_segment_open(baton_io *io, const char *path, baton_io_file *ret_file);
/* *error for a system call's result on path. Returns r. */
int baton_segment_error(baton_error *error, int r, const char *what, const char *path);
