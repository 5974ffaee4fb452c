/* journal/journal_private.h: the writer, as its own files see it. Nobody else includes this.
 *
 * Life: open.c -> epoch.c -> (append.c, drive.c -> commit.c, prepare.c, ballast.c)* -> close.c; a
 * standby's: open.c -> (follow.c, drive.c ...)* -> follow.c, which begins its own epoch -> as above.
 * One thread. All memory is taken in open; after begin, only retire() allocates. */
#pragma once

#include <string.h>

#include "base/assert.h"
#include "base/io.h"
#include "journal/format.h"
#include "journal/hint.h"
#include "journal/records.h"
#include "journal/recover.h"

#define JOURNAL_LOCK_STEP_NS    UINT64_C(5000000) /* nothing tells when an OFD lock gets free */
#define JOURNAL_PATH_BYTES      1280u             /* directory, '/', the longest name in it */
#define JOURNAL_DIRECTORY_BYTES 1024u
#define JOURNAL_SEGMENTS_MAX                                                                       \
    4u /* held open at once: current, next, and two that are being finished */
#define JOURNAL_ZERO_STEP_BYTES                                                                    \
    (256u * 1024u) /* small, one in flight: the commit path must not wait behind it */
#define JOURNAL_SPARES_MAX     2u /* retired segments kept to be used again */
#define JOURNAL_SEGMENT_GROWTH 4u /* next = this times the current, up to segment_bytes */
#define JOURNAL_RETRY_NS       UINT64_C(100000000) /* between two tries on a full disk */
#define JOURNAL_FLUSH_NS                                                                           \
    UINT64_C(100000000) /* mode written: at most this long between two flushes */
#define JOURNAL_WALL_STEP_NS                                                                       \
    INT64_C(1000000000)        /* a larger step of the wall clock is alarmed (J11) */
#define JOURNAL_TIME_SHARES 8u /* frames that share one reading of the clock, within one turn */
#define JOURNAL_BUCKETS     8u

#define JOURNAL_SECOND_NS      UINT64_C(1000000000)
#define JOURNAL_MILLISECOND_NS UINT64_C(1000000)

/* The last units of a segment are kept for what must still fit when the disk is full (J6), from
 * the last entry to the end: a mark, a batch of records and its mark, the handover and its mark,
 * the close mark, the trailer. Each kind has its own place, so that none eats what a later one
 * needs: however often the service fell idle, the handover finds room. A kind leaves this free. */
typedef enum {
    KIND_ENTRIES,
    KIND_RECORDS,
    KIND_MARK,
    KIND_HANDOVER,
    KIND_MARK_HANDOVER, /* the mark that proves the handover record */
    KIND_CLOSE,
} journal_kind;
static inline uint64_t journal_reserve_bytes(journal_kind kind)
{
    switch (kind) {
    case KIND_ENTRIES:
        return 7 * BATON_IO_UNIT;
    case KIND_RECORDS:
        return 5 * BATON_IO_UNIT;
    case KIND_MARK:
        return 4 * BATON_IO_UNIT;
    case KIND_HANDOVER:
        return 3 * BATON_IO_UNIT;
    case KIND_MARK_HANDOVER:
        return 2 * BATON_IO_UNIT;
    case KIND_CLOSE:
        return 1 * BATON_IO_UNIT;
    }
    return 7 * BATON_IO_UNIT;
}

/* Which of the journal's operations a baton_io_op is: baton_io_op.tag. */
typedef enum { TAG_BATCH = 1, TAG_HEADER, TAG_STEP, TAG_BALLAST } journal_tag;

/*            +--> CREATING -> ALLOCATING -> ZEROING -> SYNCING -> NAMING -> READY -> CURRENT -> FINISHING -> ENDING --+
 *            |       |            |            |          |          |                                               |
 *            |       +------------+-----+------+----------+----------+  (disk full)                                  |
 *            |                          v                                                                            |
 * FREE ------+                       REMOVING --> FREE
 * FREE <-----------+
 * a spare:  CREATING -> ZEROING -> SYNCING -> RENAMING -> NAMING; REMOVING from each of them
 * ready for a term that is over: READY -> RENAMING -> NAMING -> READY; REMOVING from RENAMING, NAMING
 *
 * CREATING .. NAMING make a file that is safe to use (J3). ZEROING a new one writes zeros over all of it,
 * a spare one (spare.c) over its first and last unit only. REMOVING takes a half-made one away again.
 * FINISHING waits for the last acknowledgement of a batch in it (mode written: and flushes), ENDING writes
 * the trailer. */
typedef enum {
    SEGMENT_FREE,
    SEGMENT_CREATING,
    SEGMENT_ALLOCATING,
    SEGMENT_ZEROING,
    SEGMENT_SYNCING,
    SEGMENT_RENAMING,
    SEGMENT_NAMING,
    SEGMENT_PREPARED, /* READY in the drawing */
    SEGMENT_CURRENT,
    SEGMENT_FINISHING,
    SEGMENT_ENDING,
    SEGMENT_REMOVING,
    SEGMENT_STATES,
} journal_segment_state;

typedef struct {
    journal_segment_state state;
    baton_io_op step; /* the one operation of the state machine */
    bool step_busy;   /* step is queued or in flight */
    baton_io_op header_op;
    bool header_busy;
    bool header_durable; /* nothing in the segment is acknowledged before (J2) */
    bool flushed;        /* mode written: all of a finished segment is on stable storage */
    baton_io_file file;
    uint64_t epoch;
    uint64_t index;
    uint64_t bytes;
    uint64_t offset; /* where the next batch goes */
    uint64_t zeroed_bytes;
    uint32_t spare;      /* which spare file it is being made of; JOURNAL_SPARES_MAX: none */
    bool recycled;       /* it was made of one: its header says so */
    bool outdated;       /* made for a term that is over, and still under that name: path_before */
    uint32_t unacked;    /* batches submitted to it and not acknowledged */
    baton_position last; /* of the last batch submitted to it, or of the one before it */
    baton_digest last_digest;
    baton_position flushing;      /* mode written: what a running flush will have made durable */
    baton_segment_header *header; /* one unit each, in the region */
    baton_segment_trailer *trailer;
    char path[JOURNAL_PATH_BYTES];
    char path_before[JOURNAL_PATH_BYTES];
} journal_segment;

/* One buffer: of a batch, or, in a follower, of batches that stand one behind the other and are one
 * write. The ring of slots is in submission order: in flight first, then the open one. */
typedef struct {
    baton_io_op op;
    uint8_t *buffer;
    bool done;
    journal_segment *segment;
    uint64_t end_offset;
    baton_position position; /* of its last batch */
    uint32_t batches_count;
    uint32_t entries_count;
    uint64_t queued_ns; /* its first entry or record; a mark: when it was submitted */
    uint64_t submitted_ns;
} journal_slot;

/* The end of what was submitted: what the next batch or header goes on from. */
typedef struct {
    baton_position position;
    baton_digest digest;
    uint64_t index; /* its segment, and the byte after it */
    uint64_t offset;
    uint64_t last_time_ns;
    baton_facts facts; /* as of that batch */
} journal_chain;

/* observe.c; counts are cumulative, as Prometheus wants them. */
typedef struct {
    const struct journal_buckets *buckets;
    baton_metric *bucket[JOURNAL_BUCKETS];
    baton_metric *count;
    baton_metric *sum;
    double total;
} journal_histogram;

typedef struct {
    baton_metric *durable_seq;
    baton_metric *entries_total;
    baton_metric *batches_total;
    baton_metric *bytes_total;
    baton_metric *marks_total;
    baton_metric *segments_total;
    baton_metric *recycled_total;
    baton_metric *no_space_total;
    baton_metric *clock_steps_total;
    baton_metric *broken;
    baton_metric *commit_ns_total;
    baton_metric *in_flight;
    baton_metric *segments_ready;
    baton_metric *no_space;
    journal_histogram accepted; /* of the oldest entry of each batch: queued -> submitted */
    journal_histogram commit;   /* submitted -> acknowledged */
    journal_histogram durable;  /* of the oldest entry of each batch: queued -> acknowledged */
    journal_histogram batch_bytes;
    journal_histogram batch_entries;
} journal_metrics;

/* A retired segment under a name that no reader looks at. */
typedef enum {
    SPARE_NONE,
    SPARE_NAMED, /* renamed; the directory was not flushed: its bytes must not change yet */
    SPARE_THERE,
    SPARE_TAKEN, /* the next segment is being made of it */
} journal_spare_state;

typedef enum {
    BALLAST_UNWANTED,
    BALLAST_MISSING,
    BALLAST_OPENING,
    BALLAST_ALLOCATING,
    BALLAST_REMOVING,
    BALLAST_THERE,
} journal_ballast_state;

struct baton_journal {
    /* set in open, constant afterwards */
    baton_io *io;
    const baton_clock *clock;
    baton_mode mode;
    uint64_t segment_bytes;
    uint64_t first_segment_bytes;
    uint32_t batch_bytes_max;
    uint32_t in_flight_max;
    uint64_t idle_mark_ns;
    int (*archive)(void *context, const char *path);
    void *archive_context;
    baton_io_probe probe;
    char directory[JOURNAL_DIRECTORY_BYTES];
    char service[BATON_SERVICE_NAME_BYTES];
    char primitive[256];
    baton_metrics *registry; /* NULL: no metrics */
    journal_metrics metrics;
    uint8_t *zeros; /* JOURNAL_ZERO_STEP_BYTES in the region; never written to */

    bool following; /* another one's batches come in; nothing is appended here (follow.c) */

    /* open and begin */
    baton_io_file lock_file;
    baton_io_file directory_file;
    baton_recovery recovery;
    bool recovery_kept;
    uint64_t epoch_highest; /* burnt */
    uint64_t index_highest;

    /* standing facts of this term: set in begin */
    baton_digest id;
    uint64_t epoch;
    uint64_t time_base_wall_ns;
    uint64_t time_base_monotonic_ns;
    baton_hint *hint;
    uint64_t oldest_index;
    uint64_t index_first; /* of this object's own segments */

    /* appending: append.c, and commit.c when it seals */
    uint8_t *open_buffer;   /* the open batch: of the slot behind those in flight */
    uint32_t open_used;     /* bytes of it; sizeof(baton_batch_header) when there are no frames */
    uint32_t open_followed; /* following: so many sealed batches are what stands there instead */
    uint64_t open_since_ns; /* its first entry or record; good while it is not empty */
    uint32_t open_entries;
    uint32_t open_records;
    uint32_t open_unhurried; /* of both: those that may share the write of a later one */
    bool open_handover;      /* a handover record is among them */
    uint64_t last_seq;
    uint64_t last_time_ns;
    uint64_t time_read_ns; /* the clock's last reading for an entry */
    uint32_t time_shares;  /* how many more frames may have it; a turn sets it to 0 */
    baton_facts facts;     /* as of the last record appended */
    bool sealed;
    bool claimed;
    uint32_t claim_bytes_max;
    uint64_t applied_seq;
    uint64_t effect_digest;

    /* committing: commit.c */
    journal_slot *slots; /* in_flight_max + 1 */
    uint32_t slots_first;
    uint32_t slots_in_flight;
    journal_chain chain;
    baton_position durable; /* acknowledged: durable, or written in mode written */
    uint64_t durable_index; /* segment of the acknowledged end, and the byte after it */
    uint64_t durable_offset;
    baton_position
        proven; /* what headers may carry as durable; in mode durable the same as `durable` */
    bool tail_unproven; /* entries or records since the last mark */
    uint64_t idle_since_ns;
    uint64_t flush_due_ns; /* mode written */
    int broken;            /* 0, or the first failure (J6) */
    bool closing;          /* no new segment is started any more */

    /* segments: prepare.c */
    journal_segment segments[JOURNAL_SEGMENTS_MAX];
    journal_segment *current;
    journal_segment *next; /* CREATING .. READY, or REMOVING; NULL: to be started */
    journal_segment *own;  /* following: made ahead for the epoch that may be granted; or NULL */
    uint64_t retry_ns;     /* not before, after a full disk */
    int space_error;       /* 0, or why the next segment could not be made */
    bool no_spares;
    journal_spare_state spares[JOURNAL_SPARES_MAX];
    char spare_paths[JOURNAL_SPARES_MAX][JOURNAL_PATH_BYTES];
    journal_ballast_state ballast;
    baton_io_op ballast_op;
    bool ballast_busy;
    uint64_t ballast_retry_ns;
    char ballast_path[JOURNAL_PATH_BYTES];

    uint64_t wall_check_ns;
    int64_t wall_offset_ns; /* wall clock minus entry clock, at the last check */
};

/* open.c: fill *error for a failed system call; a full disk becomes BATON_E_NO_SPACE. Returns
 * the status. */
int journal_error_system(baton_error *error, int r, const char *what, const char *path);
static inline void journal_ignore(int r) /* where a failure changes nothing that is promised */
{
    (void)r;
}

/* segment.c */
void journal_path(const baton_journal *journal, const char *name, char path[JOURNAL_PATH_BYTES]);
void journal_segment_set_state(journal_segment *segment, journal_segment_state state);
void journal_segment_start(baton_journal *journal, journal_segment *segment, uint64_t epoch,
                           uint64_t index, uint64_t bytes);
/* It gets another name, which is not on disk yet: outdated, until it is. */
void journal_segment_rename(baton_journal *journal, journal_segment *segment, uint64_t epoch,
                            uint64_t index);
void journal_segment_fill_header(const baton_journal *journal, journal_segment *segment);
void journal_segment_fill_trailer(const baton_journal *journal, journal_segment *segment,
                                  uint32_t flags);
uint32_t journal_segment_open_flags(const baton_journal *journal);
baton_io_kind journal_write_kind(const baton_journal *journal);
static inline bool journal_segment_fits(const journal_segment *segment, uint64_t bytes,
                                        journal_kind kind)
{
    return segment->offset + bytes + journal_reserve_bytes(kind) <= segment->bytes;
}

/* commit.c */
static inline bool journal_open_empty(const baton_journal *journal)
{
    return journal->open_used == sizeof(baton_batch_header);
}
/* Is there something to write, and is it to be written now? */
static inline bool journal_open_due(const baton_journal *journal, uint64_t now_ns)
{
    if (journal_open_empty(journal) || journal->claimed)
        return false;
    return journal->open_followed > 0 || journal->sealed ||
           journal->open_unhurried < journal->open_entries + journal->open_records ||
           now_ns - journal->open_since_ns >= BATON_UNHURRIED_NS;
}
static inline bool journal_slot_free(const baton_journal *journal)
{
    return journal->slots_in_flight < journal->in_flight_max;
}
void journal_commit_open(
    baton_journal *journal); /* seal and queue the open batch; a slot is free */
bool journal_commit_mark(baton_journal *journal, uint16_t flags); /* false: no room for it now */
bool journal_mark_fits(const baton_journal *journal, uint16_t flags);
void journal_commit_done(baton_journal *journal, journal_slot *slot);
void journal_acknowledge(baton_journal *journal);
void journal_publish(baton_journal *journal, bool open);
void journal_break(baton_journal *journal, int r, const char *what, const char *path);
void journal_queue(baton_journal *journal,
                   baton_io_op *op); /* submit; a failure breaks the journal */

/* A named successor has the authority: this epoch's chain ends with the record (H2). */
static inline bool journal_handed_over(const baton_journal *journal)
{
    static const uint8_t nobody[16];
    const baton_handover_wire *record = &journal->chain.facts.handover;
    return baton_le64_get(record->epoch) == journal->epoch &&
           memcmp(record->successor_nonce, nobody, sizeof(nobody)) != 0;
}
/* A place behind the followed batches that wait to be written, for one more of so many bytes, in the
 * segment that they go to. */
int journal_commit_room(baton_journal *journal, uint32_t bytes);
void journal_commit_followed(baton_journal *journal, const baton_batch_header *batch,
                             uint32_t bytes, baton_digest digest);

/* epoch.c */
int journal_flush_accepted(baton_journal *journal, baton_error *error);
int journal_remove_ready(baton_journal *journal, baton_error *error);
int journal_begin_files(baton_journal *journal, baton_error *error);
void journal_start_clock(baton_journal *journal);
int journal_keep_torn(baton_journal *journal, baton_recovery_report *report, baton_error *error);
/* What recovery found is where the chain goes on. */
void journal_go_on(baton_journal *journal);
/* An empty journal goes on as if its segments up to there had been retired. */
void journal_go_on_after(baton_journal *journal, baton_position after, baton_digest digest,
                         uint64_t last_time_ns, const baton_facts *facts);
/* Of what recovery found; `first` when that was nothing, or 0. */
uint64_t journal_oldest_index(const baton_journal *journal, const journal_segment *first);

/* first.c: blocking; after a failure the file is gone and the segment FREE, but for head */
int journal_first_name(baton_journal *journal, journal_segment *segment, uint32_t create_flag);
/* Its name stands in the directory: burnt, and flushed. */
int journal_first_named(baton_journal *journal, const journal_segment *segment);
int journal_first_fill(baton_journal *journal, journal_segment *segment);
int journal_first_head(baton_journal *journal, journal_segment *segment);
void journal_first_drop(baton_journal *journal, journal_segment *segment);
void journal_first_stand(baton_journal *journal, journal_segment *segment);

/* drive.c */
int journal_turn(baton_journal *journal);
int journal_wait_io(baton_journal *journal,
                    uint64_t timeout_ns); /* enter and sleep; a failure breaks the journal */

/* prepare.c */
bool journal_next_missing(const baton_journal *journal);       /* to be made, from retry_ns on */
journal_segment *journal_segment_free(baton_journal *journal); /* or NULL */
void journal_next_outdated(baton_journal *journal); /* it was made for an epoch that is over */
void journal_segments_act(baton_journal *journal, uint64_t now_ns);
void journal_flush_start(baton_journal *journal, uint64_t now_ns);
bool journal_flush_busy(const baton_journal *journal);

/* spare.c */
void journal_spares_clear(baton_journal *journal); /* remove them, an earlier writer's too */
bool journal_spare_keep(baton_journal *journal, const char *path); /* false: it is still there */
void journal_spares_named(baton_journal *journal, bool durable);   /* the directory was flushed */
uint32_t journal_spare_find(const baton_journal *journal, uint64_t bytes); /* or the maximum */

/* ballast.c */
int journal_ballast_find(baton_journal *journal);
bool journal_ballast_give_up(baton_journal *journal);
void journal_ballast_act(baton_journal *journal, uint64_t now_ns);

/* observe.c */
int journal_metrics_open(baton_journal *journal, baton_metrics *metrics);
void journal_metrics_commit(baton_journal *journal, const journal_slot *slot, uint64_t now_ns);
void journal_metrics_turn(baton_journal *journal);
void journal_metrics_broken(baton_journal *journal, int r);
void journal_watch_wall_clock(baton_journal *journal, uint64_t now_ns);
