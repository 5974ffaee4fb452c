/* journal/evidence.h: what is proven to have been durable (J5), and what stands behind the end of
 * the journal.
 *
 * Evidence is: the position a valid batch or mark carries, the `continues` of an epoch's first
 * header, the `last` of a trailer, and what the caller knows. No evidence is: that bytes are there,
 * that they are invalid, or the `continues` of a later segment of an epoch, which its writer did
 * not know to be durable. */
#pragma once

#include "journal/cursor.h"
#include "journal/recover.h"
#include "journal/segments.h"

typedef struct {
    baton_position position;
    const char *
        from; /* "batch", "mark", "segment header", "trailer", "caller", "writer"; "" when there is none */
} baton_evidence;

/* Bytes that are neither zero, nor stale, nor part of the journal. */
typedef struct {
    uint64_t bytes;
    uint64_t epoch; /* where the first of them stand */
    uint64_t index;
    uint64_t offset;
    uint32_t pieces_count; /* one for each segment */
    baton_torn_piece pieces[BATON_TORN_PIECES_MAX];
} baton_tail;

/* Keep the higher one, by (epoch, batch). */
void baton_evidence_add(baton_evidence *evidence, baton_position position, const char *from);
/* The position that a batch carries, if it can be one: below the batch itself. */
bool baton_evidence_carried(const baton_batch_header *batch, baton_position *ret_position);
/* A trailer that belongs to this segment. */
bool baton_evidence_trailer(const baton_segments *segments, const baton_segment *segment,
                            const void *unit, baton_position *ret_last, baton_digest *ret_digest);

/* Where the walk of the accepted journal ended. */
typedef struct {
    uint32_t segment; /* in the list; segments before it are not looked at */
    uint64_t offset;
    baton_position last; /* accepted */
    bool closed;         /* by a close mark: its epoch has nothing more */
} baton_evidence_place;

/* Behind the end of a recycled segment, and in a file without a header that may be one: is this
 * unit of the file's life before? All that stood there then was of this epoch and was retired, and so
 * stands before what is accepted now: only what begins a batch of this epoch after `last`, by (epoch,
 * batch), is newer. (Not by its number alone: an epoch gives numbers again that it cut off.) Needs no
 * digest, so a search over stale batches costs no more than reading them. Never true of another
 * segment: behind the end of those stand zeros. */
bool baton_evidence_is_stale(const baton_segments *segments, const baton_segment *segment,
                             const void *unit, baton_position last);

/* Search everything behind the end: the rest of that segment and all later ones, whatever their
 * headers say. Every unit that begins a valid batch of this journal and of its segment's epoch, and
 * is not stale, may carry evidence. 0 or -errno. */
BATON_MUST_USE int baton_evidence_collect(baton_cursor *cursor, const char *directory,
                                          const baton_segments *segments,
                                          const baton_evidence_place *end, baton_evidence *evidence,
                                          baton_tail *ret_tail, baton_error *error);
