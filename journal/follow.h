/* journal/follow.h: the journal of a standby: the batches of another writer, byte for byte, in
 * segments of its own (H2). For the engine and the drain.
 *
 * Life: baton_journal_open, baton_journal_follow_begin, then baton_journal_follow for each batch of
 * the other one's, which comes from a baton_reader there (baton_reader_next_batch). It takes no epoch
 * and appends nothing. baton_journal_promote makes a writer of it, under the epoch that was granted.
 *
 * What it keeps is a prefix of what the other one calls durable. So what a killed follower left behind
 * needs no care: the next one goes on after what recovery accepts, in a segment that cuts the rest, and
 * gets that again. The positions that followed batches carry speak of the other one's disk: they are no
 * evidence here (J10), and neither is a bad tail damage. */
#pragma once

#include "journal/records.h"

/* Where the first batch of an empty follower's journal stands in the other one's. */
typedef struct {
    baton_digest id;
    char service[BATON_SERVICE_NAME_BYTES];
    baton_position before; /* the batch before it; all 0: the journal begins with it */
    baton_digest before_digest;
    uint64_t last_time_ns; /* of the entries before it */
    baton_facts facts;     /* after the batch before it */
} baton_follow_start;

/* Instead of baton_journal_begin. Blocks for flushes. Errors as there; BATON_E_INVALID: in mode
 * `written`, which proves nothing to another one. */
BATON_MUST_USE int baton_journal_follow_begin(baton_journal *journal, baton_error *error);
/* Needed once, before the first batch, when the journal is empty; else BATON_E_INVALID. *start is
 * untrusted: BATON_E_DAMAGED, BATON_E_OTHER_SERVICE. */
BATON_MUST_USE int baton_journal_follow_start(baton_journal *journal,
                                              const baton_follow_start *start, baton_error *error);
/* The end of what is here, durable or not: the next batch must go on from it. */
baton_position baton_journal_follow_end(const baton_journal *journal, baton_digest *ret_digest);

/* Take the next batch in: checked, copied, queued; durable once baton_journal_durable_position has
 * reached it. Poll after those that came together: they become one write, and so do those that wait while
 * batches_in_flight_max writes are under way. batch is untrusted, of `bytes` bytes, aligned to 8. Blocks only for the first batch of an
 * epoch, which begins a segment. Errors: BATON_E_FULL (poll, then the same again); BATON_E_NO_SPACE
 * (the same, when the disk has room); BATON_E_DAMAGED (no valid batch); BATON_E_NEWER_FORMAT;
 * BATON_E_OTHER_JOURNAL; BATON_E_DIVERGED (it does not go on from what is here);
 * BATON_E_TOO_LARGE (larger than batch_bytes_max: open with the other one's); BATON_E_BROKEN. */
BATON_MUST_USE int baton_journal_follow(baton_journal *journal, const baton_batch_header *batch,
                                        uint64_t bytes, baton_error *error);

/* Of this one: what it writes, or takes. */
uint32_t baton_journal_batch_bytes_max(const baton_journal *journal);

/* Make the file of the segment that this epoch would begin with, so that promote writes only its
 * header. Blocks for some milliseconds. May be called again; not needed. */
BATON_MUST_USE int baton_journal_prepare_promotion(baton_journal *journal, uint64_t epoch,
                                                   baton_error *error);
/* Be the writer from here on, in this epoch: when it returns 0 the header that says so is durable, and
 * append works. Everything that came in must be durable here before (BATON_E_AGAIN). epoch: above
 * every one that is known here, else BATON_E_INVALID. After another error nothing was begun, unless the
 * write of the header failed: then the journal is broken, and whether the epoch was begun is not known.
 * On a full disk the ballast is given up for it. */
BATON_MUST_USE int baton_journal_promote(baton_journal *journal, uint64_t epoch,
                                         baton_error *error);

/* Entries are taken again: a handover that did not come to its record. */
void baton_journal_unseal(baton_journal *journal);
/* A writer that has named its successor follows it, in place: what baton_journal_follow_begin is for a
 * journal at rest. BATON_E_AGAIN: its record is not durable yet. BATON_E_INVALID: there is none. */
BATON_MUST_USE int baton_journal_follow_on(baton_journal *journal, baton_error *error);
/* Does what was recovered end in a term that was followed here? Then there may be more of it elsewhere. */
bool baton_journal_ends_followed(const baton_journal *journal);

/* What the writer had applied when it sealed the batch of the last entry returned, or a later one
 * without entries: a seq, 0: nothing was said, and the low 64 bits of its effects' digest (J4). */
void baton_reader_applied(const baton_reader *reader, uint64_t *ret_seq, uint64_t *ret_effects);

/* ---- the other one's side ---- */

/* A reader for a follower that has everything up to `after`, whose batch has this digest; all 0: from
 * options->from_seq on. BATON_E_GONE: what comes next was retired; a newer snapshot is needed.
 * Other errors as baton_reader_open. */
BATON_MUST_USE int baton_reader_open_after(const char *directory,
                                           const baton_reader_options *options,
                                           baton_position after, baton_digest digest,
                                           baton_reader **ret_reader, baton_error *error);
/* The next batch, whole, marks included, as baton_reader_next gives entries: 1, 0, or an error. Valid
 * until the next call. Not beside baton_reader_next on one reader. BATON_E_DIVERGED: what the follower
 * has is not a part of this journal. BATON_E_GONE. */
BATON_MUST_USE int baton_reader_next_batch(baton_reader *reader,
                                           const baton_batch_header **ret_batch,
                                           baton_error *error);
/* Of the first batch that was returned: what an empty follower needs to start with it. */
void baton_reader_follow_start(const baton_reader *reader, baton_follow_start *ret_start);
