/* journal/recover.h: find out what a journal directory holds, by evidence alone (J5). Changes
 * nothing. */
#pragma once

#include "base/io.h"
#include "journal/format.h"
#include "journal/records.h"

typedef struct {
    uint64_t epoch; /* from the name */
    uint64_t index;
    uint64_t file_bytes;
    uint64_t first_seq;  /* from the header; 0 when the segment is not accepted */
    uint64_t end_offset; /* the byte after its last accepted batch; 0 when not accepted */
    enum {
        BATON_SEGMENT_ACCEPTED, /* holds a part of the journal (perhaps only its header) */
        BATON_SEGMENT_READY, /* zero header: made ahead, or half made by an open that died; never acknowledged */
        BATON_SEGMENT_VOID, /* a header that a later epoch's header cuts off, or torn before its header was durable */
        BATON_SEGMENT_UNCHECKED, /* wholly before from_seq: its header was read, its batches were not */
    } state;
} baton_segment_info;

/* Torn bytes of one segment: from the first to the last, whatever stands between. */
typedef struct {
    uint64_t epoch;
    uint64_t index;
    uint64_t offset;
    uint64_t bytes;
} baton_torn_piece;
/* A writer has batches in flight in its current segment and perhaps the one before: two or three.
 * More can only be rot; those stay where they are, and void. */
#define BATON_TORN_PIECES_MAX 16u

typedef struct {
    bool empty; /* nothing was ever acknowledged: no segment with a valid header */
    baton_digest id;
    char service[BATON_SERVICE_NAME_BYTES];
    baton_digest last_digest; /* of the last accepted batch; zero when there is none */
    uint64_t
        last_index; /* segment of the last accepted batch, and the byte after it; 0: there is none */
    uint64_t last_offset;
    uint64_t epoch_highest; /* burnt by any name on disk, valid or not; 0 when there is none */
    uint64_t index_highest;
    uint64_t epoch_own;      /* the highest that was begun here, not followed; 0: none */
    uint64_t epoch_followed; /* of the last header that follows, with batches or without; 0: none */
    uint64_t last_time_ns;
    bool written_mode; /* the newest segment was written in mode written */
    bool closed;       /* the last accepted batch is a close mark */
    baton_facts facts;
    baton_recovery_report report;
    uint64_t torn_index; /* where the torn bytes stand; 0 when nothing is torn */
    uint64_t torn_offset;
    uint32_t torn_count; /* segments with torn bytes; the first is the one above */
    baton_torn_piece torn[BATON_TORN_PIECES_MAX];
    uint64_t batches_count; /* of what was checked */
    uint64_t entries_count;
    uint64_t records_count;
    uint64_t payload_bytes;
    uint32_t segments_count;
    baton_segment_info *segments; /* in order of (epoch, index); owned by the recovery */
} baton_recovery;

typedef struct {
    const char *service;     /* NULL or "": any */
    baton_position evidence; /* from the caller */
    uint64_t from_seq;
    baton_progress progress; /* NULL: none */
    void *progress_context;
} baton_recover_options;

/* An absent or empty directory is an empty journal. *recovery is caller's memory, needs
 * baton_recovery_fini in every case.
 * 0 (report.torn_cut > 0 when torn), BATON_E_DAMAGED, BATON_E_OTHER_SERVICE, BATON_E_NEWER_FORMAT, -errno.
 * On BATON_E_DAMAGED error holds file and offset, and the recovery what is good before it. */
BATON_MUST_USE int baton_recover(baton_io *io, const char *directory,
                                 const baton_recover_options *options, baton_recovery *recovery,
                                 baton_error *error);
/* The same for who does not hold the journal's lock: what a writer has in flight looks torn, or
 * damaged, to baton_recover. Beside a living writer it checks what that one has published, and
 * ends there. Looks again, for half a second at most, while a writer comes, goes, rolls or
 * retires under it. Also BATON_E_GONE. */
BATON_MUST_USE int baton_recover_beside(baton_io *io, const char *directory,
                                        const baton_recover_options *options,
                                        baton_recovery *recovery, baton_error *error);
void baton_recovery_fini(baton_recovery *recovery);
