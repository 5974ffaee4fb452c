/* journal/follow.c: see follow.h. The commit path is the writer's own: what differs is that a batch
 * comes sealed, and that an epoch begins when its first batch comes. */
#include "journal/follow.h"

#include <errno.h>

#include <baton/log.h>

#include "journal/evidence.h"
#include "journal/journal_private.h"

#define FOLLOW_CALM_NS UINT64_C(250000000)

/* ---- begin ---- */

static int check_begin(const baton_journal *journal, baton_error *error)
{
    const char *why = NULL;
    if (journal->mode != BATON_MODE_DURABLE)
        why = "this one is in mode written";
    else if (journal->epoch != 0 || journal->following)
        why = "this one was begun already";
    return why ? baton_error_set(error, BATON_E_INVALID, "follow another journal", why,
                                 "open it in mode durable, and follow at once")
               : 0;
}

/* Epochs that only a ready file bears were never begun. */
static uint64_t epoch_begun(const baton_recovery *recovery)
{
    uint64_t epoch = recovery->report.last.epoch;
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        const baton_segment_info *info = &recovery->segments[i];
        if ((info->state == BATON_SEGMENT_ACCEPTED || info->state == BATON_SEGMENT_UNCHECKED) &&
            info->epoch > epoch)
            epoch = info->epoch;
    }
    return epoch;
}

/* What was accepted is durable by now: readers need not wait for the first batch. */
static void publish_recovered(baton_journal *journal)
{
    if (journal->chain.position.batch == 0)
        return;
    journal->durable_index = journal->chain.index;
    journal->durable_offset = journal->chain.offset;
    journal->oldest_index = journal_oldest_index(journal, NULL);
    journal_publish(journal, true);
}

int baton_journal_follow_begin(baton_journal *journal, baton_error *error)
{
    const baton_recovery *recovery = &journal->recovery;
    int r = check_begin(journal, error);
    if (r == 0)
        r = journal_begin_files(journal, error);
    if (r < 0)
        return r;
    journal_spares_clear(journal);
    r = journal_flush_accepted(journal, error);
    /* A term of our own: nobody else has these bytes (J5). */
    if (r == 0 && recovery->epoch_own == recovery->report.last.epoch)
        r = journal_keep_torn(journal, NULL, error);
    if (r == 0)
        r = journal_remove_ready(journal, error);
    if (r < 0)
        return r;
    r = baton_hint_create(journal->io, journal->directory, &journal->hint);
    if (r < 0)
        return journal_error_system(error, r, "make the shared page HINT", journal->directory);
    journal->epoch_highest = epoch_begun(recovery);
    journal_go_on(journal);
    publish_recovered(journal);
    journal->following = true;
    journal_start_clock(journal);
    baton_log(INFO, "journal.follows", BATON_LOG_TEXT("dir", journal->directory),
              BATON_LOG_NUMBER("epoch", journal->epoch_highest),
              BATON_LOG_NUMBER("last_seq", journal->last_seq),
              BATON_LOG_NUMBER("cut_bytes", recovery->report.torn_cut));
    return 0;
}

int baton_journal_follow_on(baton_journal *journal, baton_error *error)
{
    if (journal->broken)
        return baton_error_set(error, BATON_E_BROKEN, "follow the successor",
                               "a write failed before", "close it");
    if (journal->epoch == 0 || journal->following || !journal_handed_over(journal))
        return baton_error_set(error, BATON_E_INVALID, "follow the successor",
                               "none was named in this term", "hand over first");
    if (!journal_open_empty(journal) || journal->slots_in_flight > 0)
        return BATON_E_AGAIN;
    journal->recovery.epoch_own = journal->epoch; /* nobody goes on with it */
    journal->sealed = false;
    journal->tail_unproven = false; /* no mark of ours ever follows */
    journal->following = true;
    baton_log(INFO, "journal.follows_on", BATON_LOG_TEXT("dir", journal->directory),
              BATON_LOG_NUMBER("epoch", journal->epoch),
              BATON_LOG_NUMBER("last_seq", journal->last_seq));
    return 0;
}

bool baton_journal_ends_followed(const baton_journal *journal)
{
    const baton_recovery *recovery = &journal->recovery;
    return recovery->report.last.epoch > recovery->epoch_own ||
           recovery->epoch_followed > recovery->epoch_own;
}

/* It may have come from elsewhere: only what a segment's header can say. */
static bool start_fits(const baton_follow_start *start)
{
    const baton_position *before = &start->before;
    const baton_facts *facts = &start->facts;
    static const uint8_t zero[sizeof(facts->handover.zero)];
    if (baton_digest_is_zero(start->id) || facts->roots_count > BATON_SEGMENT_ROOTS_MAX ||
        memchr(start->service, '\0', sizeof(start->service)) == NULL ||
        memcmp(facts->handover.zero, zero, sizeof(zero)) != 0)
        return false;
    return before->batch != 0 ? before->epoch != 0
                              : before->epoch == 0 && before->seq == 0 &&
                                    baton_digest_is_zero(start->before_digest);
}

int baton_journal_follow_start(baton_journal *journal, const baton_follow_start *start,
                               baton_error *error)
{
    if (!journal->following || !baton_digest_is_zero(journal->id) || journal->epoch != 0)
        return baton_error_set(error, BATON_E_INVALID, "start to follow",
                               "this journal has a beginning already",
                               "go on from its end, or use an empty directory");
    if (!start_fits(start))
        return baton_error_set(error, BATON_E_DAMAGED, "start to follow",
                               "no journal can begin as the other side says",
                               "connect again; look at the link and the other side's memory");
    if (journal->service[0] != '\0' && start->service[0] != '\0' &&
        strncmp(journal->service, start->service, sizeof(journal->service)) != 0)
        return baton_error_set(error, BATON_E_OTHER_SERVICE, "start to follow",
                               "the journal belongs to another service",
                               "connect to an instance of this service");
    journal->id = start->id;
    memset(journal->service, 0, sizeof(journal->service));
    memcpy(journal->service, start->service, strlen(start->service));
    journal_go_on_after(journal, start->before, start->before_digest, start->last_time_ns,
                        &start->facts);
    journal_go_on(journal);
    if (journal->epoch_highest < start->before.epoch)
        journal->epoch_highest = start->before.epoch;
    return 0;
}

uint32_t baton_journal_batch_bytes_max(const baton_journal *journal)
{
    return journal->batch_bytes_max;
}

baton_position baton_journal_follow_end(const baton_journal *journal, baton_digest *ret_digest)
{
    *ret_digest = journal->chain.digest;
    return journal->chain.position;
}

/* ---- a batch ---- */

static int refuse(const baton_journal *journal, int r, const char *why, const char *todo,
                  baton_error *error)
{
    baton_error_set(error, r, "follow a batch", why, todo);
    baton_error_at(error, journal->directory, UINT64_MAX);
    return r;
}

static int check(const baton_journal *journal, const baton_batch_header *batch, uint64_t bytes,
                 baton_digest *ret_digest, baton_error *error)
{
    const journal_chain *chain = &journal->chain;
    uint32_t batch_bytes;
    if (bytes < BATON_IO_UNIT || !baton_batch_plausible(batch, &batch_bytes) ||
        batch_bytes != bytes)
        return refuse(journal, BATON_E_DAMAGED, "it is no batch",
                      "connect again; look at the link and the other side's memory", error);
    const baton_unit_verdict verdict = baton_batch_check(batch, bytes, ret_digest);
    if (verdict == BATON_UNIT_NEWER)
        return refuse(journal, BATON_E_NEWER_FORMAT, "its format is newer than this build reads",
                      "follow with a newer build", error);
    if (verdict != BATON_UNIT_VALID)
        return refuse(journal, BATON_E_DAMAGED, "its digest does not fit",
                      "connect again; look at the link and the other side's memory", error);
    baton_position carried; /* as whoever reads it here will ask */
    if (!baton_evidence_carried(batch, &carried))
        return refuse(journal, BATON_E_DAMAGED, "it calls durable what comes after it",
                      "connect again; look at the other side's memory", error);
    if (memcmp(batch->journal_id, journal->id.bytes, sizeof(journal->id.bytes)) != 0)
        return refuse(journal, BATON_E_OTHER_JOURNAL, "it belongs to another journal",
                      "use an empty directory, or connect to the right one", error);
    const uint64_t epoch = baton_le64_get(batch->epoch);
    if (baton_le64_get(batch->batch) != chain->position.batch + 1 ||
        baton_le64_get(batch->first_seq) != chain->position.seq + 1 ||
        memcmp(batch->previous_digest, chain->digest.bytes, sizeof(chain->digest.bytes)) != 0 ||
        epoch < journal->epoch_highest || epoch <= journal->recovery.epoch_own)
        return refuse(journal, BATON_E_DIVERGED, "it does not go on from what is here",
                      "one of the two was written to alone: start this one with an empty directory",
                      error);
    return batch_bytes > journal->batch_bytes_max
               ? refuse(journal, BATON_E_TOO_LARGE, "it is larger than batch_bytes_max",
                        "open with the other one's batch_bytes_max", error)
               : 0;
}

/* Every record that this build does not know is refused, before anything happens (E7). */
static int check_records(const baton_journal *journal, const baton_batch_header *batch,
                         baton_error *error)
{
    uint32_t offset = sizeof(*batch);
    uint64_t next_seq = baton_le64_get(batch->first_seq);
    baton_entry entry;
    while (baton_batch_next(batch, &offset, &next_seq, &entry)) {
        if (entry.is_record && !baton_record_check(entry.type, entry.payload, entry.payload_bytes))
            return refuse(journal, BATON_E_NEWER_FORMAT,
                          "a record in it is not known to this build", "follow with a newer build",
                          error);
    }
    return 0;
}

static void take_frames(baton_journal *journal, const baton_batch_header *batch)
{
    uint32_t offset = sizeof(*batch);
    uint64_t next_seq = baton_le64_get(batch->first_seq);
    baton_entry entry;
    while (baton_batch_next(batch, &offset, &next_seq, &entry)) {
        if (entry.time_ns > journal->last_time_ns)
            journal->last_time_ns = entry.time_ns;
        if (entry.is_record)
            baton_facts_apply(&journal->facts, entry.type, entry.payload, entry.payload_bytes);
    }
}

/* The segments of the commit path are not counted as they are made. */
static uint64_t index_highest(const baton_journal *journal)
{
    const uint64_t index = journal->current ? journal->current->index : 0;
    return index > journal->index_highest ? index : journal->index_highest;
}

static void drop_own(baton_journal *journal)
{
    if (journal->own)
        journal_first_drop(journal, journal->own);
    journal->own = NULL;
}

/* A name may be taken: the process before this one was killed while it made its next segment, and the
 * file came late, in the epoch that goes on here (J10). It had one under way, and one made ahead. */
static int make_file(baton_journal *journal, journal_segment *segment, uint64_t epoch,
                     uint64_t ahead)
{
    int r = -EEXIST;
    for (uint32_t tries = 0; tries < JOURNAL_SEGMENTS_MAX && r == -EEXIST; tries++) {
        journal_segment_start(journal, segment, epoch, index_highest(journal) + ahead + tries,
                              journal->first_segment_bytes);
        r = journal_first_name(journal, segment, BATON_IO_CREATE);
    }
    return r < 0 ? r : journal_first_fill(journal, segment);
}

/* The segment that stands ready for the epoch before: as journal_next_outdated, at once. */
static int take_next(baton_journal *journal, uint64_t epoch, journal_segment **ret_segment)
{
    journal_segment *segment = journal->next;
    if (!segment || segment->state != SEGMENT_PREPARED)
        return -ENOENT;
    journal->next = NULL;
    journal_segment_rename(journal, segment, epoch, index_highest(journal) + 1);
    journal_segment_set_state(segment, SEGMENT_RENAMING);
    int r = baton_io_rename(journal->io, segment->path_before, segment->path);
    if (r < 0)
        memcpy(segment->path, segment->path_before, sizeof(segment->path));
    segment->outdated = false;
    if (r == 0) {
        journal_segment_set_state(segment, SEGMENT_NAMING);
        r = journal_first_named(journal, segment);
    }
    if (r < 0) {
        journal_first_drop(journal, segment);
        return r;
    }
    journal_segment_set_state(segment, SEGMENT_PREPARED);
    /* It is large: the one behind it has time, and the device is the successor's, who answers now. */
    journal->retry_ns = baton_clock_monotonic_ns(journal->clock) + FOLLOW_CALM_NS;
    *ret_segment = segment;
    return 0;
}

static int make_first(baton_journal *journal, uint64_t epoch, journal_segment **ret_segment)
{
    if (take_next(journal, epoch, ret_segment) == 0)
        return 0;
    *ret_segment = journal_segment_free(journal);
    return *ret_segment ? make_file(journal, *ret_segment, epoch, 1) : BATON_E_FULL;
}

/* Whatever stands before an epoch's first header is durable: the header is evidence of it. */
static int begin_epoch(baton_journal *journal, uint64_t epoch, baton_error *error)
{
    if (!journal_open_empty(journal) || journal->slots_in_flight > 0)
        return BATON_E_FULL;
    drop_own(journal); /* the epoch it was made for is another's, or below */
    journal_segment *segment = NULL;
    int r = make_first(journal, epoch, &segment);
    if (r == BATON_E_FULL)
        return r;
    if (r < 0)
        return journal_error_system(error, r, "make a followed epoch's first segment",
                                    segment->path);
    r = journal_first_head(journal, segment);
    if (r < 0) {
        journal_break(journal, r, "write a segment header", segment->path);
        return BATON_E_BROKEN;
    }
    const bool first = journal->current == NULL;
    if (first)
        journal->oldest_index = journal_oldest_index(journal, segment);
    else
        journal_segment_set_state(journal->current, SEGMENT_FINISHING);
    journal->epoch = epoch;
    journal_first_stand(journal, segment);
    journal_next_outdated(journal);
    return 0;
}

int baton_journal_follow(baton_journal *journal, const baton_batch_header *batch, uint64_t bytes,
                         baton_error *error)
{
    baton_digest digest;
    if (journal->broken)
        return refuse(journal, BATON_E_BROKEN, "a write failed before", "close it", error);
    if (!journal->following || baton_digest_is_zero(journal->id))
        return refuse(journal, BATON_E_INVALID, "following was not begun", "report this", error);
    int r = check(journal, batch, bytes, &digest, error);
    if (r == 0)
        r = check_records(journal, batch, error);
    if (r < 0)
        return r;
    const uint64_t epoch = baton_le64_get(batch->epoch);
    if (!journal->current || journal->epoch != epoch)
        r = begin_epoch(journal, epoch, error);
    else
        r = journal_commit_room(journal, (uint32_t)bytes);
    if (r < 0)
        return r;
    take_frames(journal, batch);
    journal->last_seq += baton_le32_get(batch->entry_count);
    journal_commit_followed(journal, batch, (uint32_t)bytes, digest);
    return 0;
}

/* ---- promotion ---- */

/* Whatever stands in a file that is no ready one, late writes may still come to it (J10). */
static bool is_named(const baton_recovery *recovery, uint64_t epoch)
{
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        const baton_segment_info *info = &recovery->segments[i];
        if (info->state != BATON_SEGMENT_READY && info->epoch >= epoch)
            return true;
    }
    return false;
}

static int check_epoch(const baton_journal *journal, uint64_t epoch, baton_error *error)
{
    if (journal->broken)
        return refuse(journal, BATON_E_BROKEN, "a write failed before", "close it", error);
    if (!journal->following || baton_digest_is_zero(journal->id))
        return refuse(journal, BATON_E_INVALID, "nothing was followed here", "report this", error);
    if (epoch <= journal->chain.position.epoch || epoch <= journal->epoch ||
        epoch <= journal->epoch_highest || is_named(&journal->recovery, epoch))
        return refuse(journal, BATON_E_INVALID, "the epoch is not above those that are known here",
                      "ask for a grant of a higher epoch", error);
    return 0;
}

static bool own_fits(const baton_journal *journal, uint64_t epoch)
{
    return journal->own && journal->own->epoch == epoch &&
           (!journal->current || journal->own->index > journal->current->index);
}

int baton_journal_prepare_promotion(baton_journal *journal, uint64_t epoch, baton_error *error)
{
    int r = check_epoch(journal, epoch, error);
    if (r < 0 || own_fits(journal, epoch))
        return r;
    drop_own(journal);
    journal_segment *segment = journal_segment_free(journal);
    if (!segment)
        return BATON_E_AGAIN;
    const uint64_t burnt = journal->epoch_highest; /* by a header; a name is only a name */
    r = make_file(journal, segment, epoch, 2);     /* a followed one may still come before it */
    journal->epoch_highest = burnt;
    if (r < 0)
        return journal_error_system(error, r, "make the first segment of the epoch to come",
                                    segment->path);
    journal->own = segment;
    return 0;
}

int baton_journal_promote(baton_journal *journal, uint64_t epoch, baton_error *error)
{
    if (!journal_open_empty(journal) || journal->slots_in_flight > 0)
        return BATON_E_AGAIN;
    int r = baton_journal_prepare_promotion(journal, epoch, error);
    if (r == BATON_E_NO_SPACE && journal->ballast == BALLAST_THERE &&
        journal_ballast_give_up(journal)) /* as a begin does (J6) */
        r = baton_journal_prepare_promotion(journal, epoch, error);
    if (r < 0)
        return r;
    journal_segment *segment = journal->own;
    journal->own = NULL;
    journal->following = false;
    journal->epoch = epoch;
    journal->epoch_highest = epoch;
    journal_start_clock(journal);
    r = journal_first_head(journal, segment);
    if (r < 0) {
        journal_break(journal, r, "write a segment header", segment->path);
        return journal_error_system(error, r, "begin the granted epoch", segment->path);
    }
    if (journal->current)
        journal_segment_set_state(journal->current, SEGMENT_FINISHING);
    else
        journal->oldest_index = journal_oldest_index(journal, segment);
    journal_first_stand(journal, segment);
    journal_next_outdated(journal);
    baton_log(INFO, "journal.promoted", BATON_LOG_TEXT("dir", journal->directory),
              BATON_LOG_NUMBER("epoch", epoch), BATON_LOG_NUMBER("last_seq", journal->last_seq));
    return 0;
}
