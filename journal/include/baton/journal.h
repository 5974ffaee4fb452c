/* baton/journal.h: an append-only log of a service's inputs. One writer, many readers, one
 * directory.
 *
 * What it promises (mode `durable`, the default): an entry whose seq is at or below
 * baton_journal_durable_seq() survives kill -9 and power loss, in order, and recovery returns
 * nothing that was never appended (J1, J2). Recovery tells a torn tail, which it cuts, from
 * damaged acknowledged data, which it refuses (J5). What the relaxed mode gives up: `written`
 * calls an entry durable once the kernel has it. It survives the end of the process, not of the
 * machine.
 *
 * Threads: a baton_journal and a baton_reader each belong to the thread that opened them.
 * Memory: allocated in open() only. Format: docs/format/journal.md. Invariants J1-J11:
 * journal/README.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/clock.h>
#include <baton/digest.h>
#include <baton/metrics.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_ENTRY_BYTES_MAX    65536u /* payload of one entry: 0..65,536 bytes */
#define BATON_SERVICE_NAME_BYTES 32u    /* with its terminator */

typedef struct baton_journal baton_journal;
typedef struct baton_reader baton_reader;

typedef enum { BATON_MODE_DURABLE, BATON_MODE_WRITTEN } baton_mode;
typedef enum { BATON_BACKEND_AUTO, BATON_BACKEND_URING, BATON_BACKEND_THREADS } baton_backend;

/* A place in the journal: the batch, and the last seq up to and in it. All 0: before everything.
 * Positions of one journal are ordered by (epoch, batch); batch numbers go on across epochs. */
typedef struct {
    uint64_t epoch;
    uint64_t batch;
    uint64_t seq;
} baton_position;

/* One input of the service, or one of Baton's own records (is_record: it takes no seq, `seq` is
 * that of the entry before it). `payload` points into the journal's or the reader's memory; see
 * the call that returned it for how long. */
typedef struct {
    uint64_t seq;     /* dense, from 1 */
    uint64_t time_ns; /* wall clock at append, never going back, advanced by the monotonic clock
                         (J11). Read for the first append after a poll or wait and every eighth
                         from there: those between have the time of that one. */
    uint64_t epoch;
    const void *payload;
    uint32_t payload_bytes;
    uint16_t type; /* the service's own number; records: baton_record_kind in journal/records.h */
    bool is_record;
} baton_entry;

/* What recovery found; the machine-readable answer to "was anything lost". */
typedef struct {
    baton_position last; /* where the journal ends */
    baton_position
        evidence; /* the highest position proven durable by what is on disk or was passed in */
    uint64_t first_seq;  /* the oldest entry still there; 0 when there is none */
    uint64_t acked_lost; /* acknowledged entries that are not there: 0, or open refused */
    uint64_t
        torn_cut; /* bytes cut above the evidence and kept aside. Whether one of them had been acknowledged
                                in the last moment before the crash can not be known */
    uint64_t unproven;   /* entries readable above the evidence: adopted */
    char torn_path[256]; /* where the cut bytes are kept: a file, or, of several segments, their
                            folder; or "" (set by baton_journal_begin) */
    char evidence_from
        [64]; /* what gave the evidence: "batch", "mark", "segment header", "trailer", "caller",
                                "writer" (a living one says so) */
} baton_recovery_report;

typedef struct {
    baton_mode mode;
    baton_backend backend;
    const char *
        service; /* name written into a new journal and compared with an old one; NULL or "": any */
    baton_position
        evidence; /* durable position known from elsewhere: a snapshot's manifest, a handover record */
    uint64_t
        from_seq; /* recovery checks from the segment that holds this seq on; 0: everything (J5) */
    uint64_t segment_bytes;         /* file size; 0: 64 MiB; 1 MiB .. 4 GiB, a multiple of 4096 */
    uint64_t first_segment_bytes;   /* the first one of each epoch; 0: 4 MiB */
    uint32_t batch_bytes_max;       /* 0: 1 MiB; 128 KiB .. 4 MiB, a multiple of 4096 */
    uint32_t batches_in_flight_max; /* 0: 8; 1 .. 64 */
    uint64_t idle_mark_ns;          /* quiet time after which a mark proves the tail; 0: 2 ms */
    uint64_t lock_wait_ns;          /* 0: 5 s; how long open waits for a dead writer's lock (J10) */
    bool no_ballast;                /* give up the room that is kept for a full disk (J6) */
    bool no_spares;                 /* remove retired segments; else two are kept and used again */
    baton_metrics *metrics;         /* NULL: none; must outlive the journal */
    const baton_clock *clock;       /* NULL: the system's */
    /* Called before a segment is removed; non-zero keeps it. path is valid during the call. */
    int (*archive)(void *context, const char *path);
    void *archive_context;
    const struct baton_io_backend
        *io_backend; /* NULL; a simulator or fault injection (base/io_backend.h) */
    void *io_context;
} baton_journal_options;

/* Lock the directory (created when missing; its parent must exist), recover, and stand ready.
 * Nothing on disk that belongs to the journal changes. options may be NULL. *ret_report is
 * filled on success, and as far as known on BATON_E_DAMAGED. Errors: BATON_E_LOCKED,
 * BATON_E_FILE_SYSTEM, BATON_E_DEVICE, BATON_E_DAMAGED, BATON_E_OTHER_SERVICE,
 * BATON_E_NEWER_FORMAT, BATON_E_NO_SPACE, -errno. */
BATON_MUST_USE int baton_journal_open(const char *directory, const baton_journal_options *options,
                                      baton_journal **ret_journal,
                                      baton_recovery_report *ret_report, baton_error *error);
/* Take the next epoch: flush what was accepted, keep a torn tail's bytes aside, remove a dead
 * writer's ready segments, make a new segment whose durable header names what it continues
 * (J10). After it, append works. Blocks. */
BATON_MUST_USE int baton_journal_begin(baton_journal *journal, baton_recovery_report *report,
                                       baton_error *error);
/* Finish: write what is queued, prove it by a close mark, wait for all writes, unlock, free.
 * NULL is fine. Returns the first failure, with the journal freed in every case; BATON_E_BROKEN
 * when it was broken before. Not bounded: the kernel owns the buffers until the disk has
 * answered. Who must end by a deadline although a disk never answers ends the process (_exit):
 * nothing acknowledged is lost, and the next open waits for the lock. */
int baton_journal_close(baton_journal *journal);
/* Free without writing anything more; what was queued and not yet submitted is not in the
 * journal. For a failed start. Waits for what is in flight, as close. */
void baton_journal_abandon(baton_journal *journal);

/* Queue one entry. Copies payload; never blocks, never allocates, no system call. *ret_entry
 * (may be NULL) is set on success only; its payload points into the batch and stays until the
 * next call of poll, wait, flush or close. Durable once baton_journal_durable_seq() >=
 * ret_entry->seq. Errors: BATON_E_FULL (poll, then retry), BATON_E_NO_SPACE (the same, when the
 * disk has room again), BATON_E_SEALED, BATON_E_TOO_LARGE, BATON_E_BROKEN (only close is
 * useful). */
BATON_MUST_USE int baton_journal_append(baton_journal *journal, uint16_t type, const void *payload,
                                        uint32_t payload_bytes, baton_entry *ret_entry);
/* The same in two steps, so that the payload is written straight into the batch: claim room for
 * up to payload_bytes_max, fill it, commit what was used. One claim at a time, nothing else of
 * this journal between the two; commit with BATON_CLAIM_DROP gives it back. */
#define BATON_CLAIM_DROP UINT32_MAX
BATON_MUST_USE int baton_journal_claim(baton_journal *journal, uint32_t payload_bytes_max,
                                       void **ret_payload);
BATON_MUST_USE int baton_journal_commit(baton_journal *journal, uint16_t type,
                                        uint32_t payload_bytes, baton_entry *ret_entry);

/* Nobody waits for the entry that was just appended: it may share the write of a later one, for at most
 * BATON_UNHURRIED_NS. A wait, a flush and a seal end that. */
#define BATON_UNHURRIED_NS UINT64_C(1000000)
void baton_journal_unhurried(baton_journal *journal);

/* One turn: take in finished writes, acknowledge in order, submit the next batch, marks, the
 * next segment. Never blocks. Call it after appending and whenever the fd is readable. 0 or
 * BATON_E_BROKEN. */
BATON_MUST_USE int baton_journal_poll(baton_journal *journal);
/* Readable (epoll) when baton_journal_poll has something to do. Owned by the journal. */
int baton_journal_fd(const baton_journal *journal);
/* How long the caller may sleep on the fd before it must poll again; UINT64_MAX: until the fd is
 * readable. */
uint64_t baton_journal_poll_within_ns(const baton_journal *journal);
/* Poll and sleep until seq is durable. BATON_E_TIMEOUT, BATON_E_BROKEN, BATON_E_INVALID (seq was
 * never appended). */
BATON_MUST_USE int baton_journal_wait(baton_journal *journal, uint64_t seq, uint64_t timeout_ns);
/* Wait until everything queued is durable, however long that takes: baton_journal_wait for
 * baton_journal_last_seq has a limit. BATON_E_BROKEN, BATON_E_INVALID (before begin, or an open
 * claim). */
BATON_MUST_USE int baton_journal_flush(baton_journal *journal);

uint64_t baton_journal_durable_seq(const baton_journal *journal);
uint64_t baton_journal_last_seq(const baton_journal *journal); /* the last one appended */
baton_position baton_journal_durable_position(const baton_journal *journal);
/* The batch that holds, or will hold, what was queued last, records too: it is durable once
 * baton_journal_durable_position().batch >= this. For who waits in its own loop instead of in
 * baton_journal_flush. */
uint64_t baton_journal_queued_batch(const baton_journal *journal);
uint64_t baton_journal_epoch(const baton_journal *journal); /* 0 before begin */
baton_digest baton_journal_id(
    const baton_journal *journal); /* 16 random bytes, made once; zero before the first begin */
const char *baton_journal_backend(const baton_journal *journal); /* "uring" or "threads" */
/* Why AUTO took the threads, or "". */
const char *baton_journal_backend_reason(const baton_journal *journal);
/* How commits are made durable here, e.g. "O_DIRECT write, RWF_DSYNC, zeroed segments, device
 * cache write back". */
const char *baton_journal_commit_primitive(const baton_journal *journal);
/* One clause about the file system that a careful user wants to know, or "". */
const char *baton_journal_warning(const baton_journal *journal);

/* What the service has applied, for the next batch's header. Digest of all effects up to seq.
 * Cheap; call per turn. */
void baton_journal_note_applied(baton_journal *journal, uint64_t seq, baton_digest effect_digest);
/* No more entries: append and claim answer BATON_E_SEALED. Baton's own records still work. For a
 * drain. */
void baton_journal_seal(baton_journal *journal);
/* Remove segments that hold nothing at or above keep_from_seq; never the current one. The
 * archive hook may keep one: then those after it stay, too. Up to two full ones become spares, of
 * which the next segments are made. */
BATON_MUST_USE int baton_journal_retire(baton_journal *journal, uint64_t keep_from_seq,
                                        uint32_t *ret_removed);

/* ---- reading ---- */

typedef struct {
    uint64_t from_seq; /* first entry wanted; 0 or 1: the oldest there is */
    bool with_records; /* also return Baton's own records */
    bool
        live; /* end at what a living writer has published as durable, and go on when it publishes more;
                                without it: read to the end that recovery would accept, once */
    baton_backend backend;
    baton_position evidence; /* as in baton_journal_options; only without live */
    const struct baton_io_backend *io_backend;
    void *io_context;
} baton_reader_options;

/* A reader takes no lock and changes nothing. Works beside a living writer in another process
 * (live) or on a journal at rest. Errors as baton_journal_open; BATON_E_GONE: from_seq was
 * retired. */
BATON_MUST_USE int baton_reader_open(const char *directory, const baton_reader_options *options,
                                     baton_reader **ret_reader, baton_error *error);
/* The next entry. 1: *ret_entry is set, its payload is valid until the next call on this reader.
 * 0: the end (live: for now). BATON_E_GONE: retired under the reader. BATON_E_DAMAGED and what
 * baton_journal_open says. */
BATON_MUST_USE int baton_reader_next(baton_reader *reader, baton_entry *ret_entry,
                                     baton_error *error);
/* Live: sleep until more may be there. 0, BATON_E_TIMEOUT, or BATON_E_SEALED when the writer is
 * gone (closed or dead) and everything it made durable has been read. */
BATON_MUST_USE int baton_reader_wait(baton_reader *reader, uint64_t timeout_ns);
/* Where the last returned entry's batch stands. */
baton_position baton_reader_position(const baton_reader *reader);
void baton_reader_close(baton_reader *reader);

/* ---- tools: a journal at rest ---- */

typedef struct {
    baton_recovery_report recovery;
    baton_digest id;
    char service[BATON_SERVICE_NAME_BYTES];
    uint64_t epoch; /* highest epoch on disk */
    uint64_t segments_count;
    uint64_t batches_count; /* accepted, marks included */
    uint64_t entries_count;
    uint64_t records_count;
    uint64_t payload_bytes;
    uint64_t stored_bytes;    /* sizes of all segment files */
    bool closed;              /* ends with a close mark */
    bool torn;                /* a begin would cut torn_cut bytes */
    baton_digest last_digest; /* of the last accepted batch: the end of the chain */
} baton_journal_summary;

/* Read and check every byte that recovery would accept. An absent or empty journal is fine: all
 * 0. 0, BATON_E_TORN (summary is filled; begin or repair will cut), BATON_E_DAMAGED and other
 * errors of open. progress may be NULL; it gets bytes done and all. Takes no lock: beside a
 * living writer it checks what that one has published. */
typedef void (*baton_progress)(void *context, uint64_t done_bytes, uint64_t all_bytes);
BATON_MUST_USE int baton_journal_verify(const char *directory, baton_backend backend,
                                        baton_progress progress, void *progress_context,
                                        baton_journal_summary *ret_summary, baton_error *error);
typedef struct {
    uint64_t epoch;
    uint64_t index;
    uint64_t file_bytes;
    uint64_t used_bytes; /* up to the end of its last accepted batch; 0 when it holds none */
    uint64_t first_seq;  /* 0 when it is not part of the journal */
    const char *state;   /* "accepted", "ready", "void" */
} baton_segment_stat;
typedef struct {
    baton_journal_summary summary;
    uint64_t epochs_count; /* of which entries or records are there */
    uint64_t used_bytes;
    uint64_t other_bytes;   /* ballast, spares, torn bytes: in the directory, no segments */
    uint64_t free_bytes;    /* of the file system */
    uint64_t first_time_ns; /* of the oldest entry; 0: there is none */
    uint64_t last_time_ns;
    uint64_t recent_seq; /* the first entry of the newest segment with entries, and its time */
    uint64_t recent_time_ns;
    uint64_t read_ns; /* how long it took to read and check used_bytes, just now */
    bool written_mode;
    char commit_primitive[256]; /* a writer's here, now; "" with commit_refused saying why not */
    char commit_refused[192];
    baton_segment_stat *segments; /* summary.segments_count of them; baton_journal_stat_fini */
} baton_journal_stat;
/* All of baton_journal_verify, and what an operator asks besides. Leaves nothing behind. The same
 * results; *ret_stat needs baton_journal_stat_fini in every case. */
BATON_MUST_USE int baton_journal_stat_get(const char *directory, baton_backend backend,
                                          baton_progress progress, void *progress_context,
                                          baton_journal_stat *ret_stat, baton_error *error);
void baton_journal_stat_fini(baton_journal_stat *stat);
/* Two directories of one journal, after handovers, in either order: both already verified. One writer
 * for each seq (H3): every batch that both have is the same, byte for byte, one of the two holds the end
 * of the other in its unbroken chain, and no epoch was begun in both. Else BATON_E_DIVERGED, which says
 * where they part, and whether there were two writers; BATON_E_OTHER_JOURNAL, BATON_E_NOT_FOUND (one
 * is empty). Beside living writers it speaks of what was published when it looked. */
typedef struct {
    bool first_goes_on;  /* the first has all of the second, and more */
    bool second_goes_on; /* or the other way round; neither: both end with the same batch */
} baton_journal_pair;
BATON_MUST_USE int baton_journal_verify_pair(const char *first, const char *second,
                                             baton_backend backend, baton_journal_pair *ret_pair,
                                             baton_error *error);
/* The same, and it is `next` that goes on. */
BATON_MUST_USE int baton_journal_verify_continues(const char *previous, const char *next,
                                                  baton_backend backend, baton_error *error);

/* A forced promotion (two hosts, and the operator decided) adds this to the epoch: so the epoch itself
 * says how often that was done. */
#define BATON_EPOCH_FORCED (UINT64_C(1) << 32)
static inline uint64_t baton_epoch_forced_count(uint64_t epoch)
{
    return epoch / BATON_EPOCH_FORCED;
}

typedef struct {
    uint64_t cut_bytes;
    uint64_t lost_entries_at_least; /* with accept_loss: proven durable once, and gone now */
    char kept_path[256];            /* where the cut bytes and cut segments were moved, or "" */
    baton_position last;
} baton_repair_report;
/* Cut a torn tail (what begin does by itself). With accept_loss also cut at damage: everything
 * after it is moved aside, never deleted. Holds the lock. 0 also when nothing had to be done. */
BATON_MUST_USE int baton_journal_repair(const char *directory, baton_backend backend,
                                        bool accept_loss, baton_repair_report *ret_report,
                                        baton_error *error);

#ifdef __cplusplus
}
#endif
