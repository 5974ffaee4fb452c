/* engine/rto.h: how long a start would take if this process died now, and whether a snapshot is due
 * for that (S7). Arithmetic only: who measures brings the times.
 *
 *   predicted = fixed                                             process, directory, epoch
 *             + bytes of the newest good snapshot  x  load rate   read, verify, decode, place
 *             + journal bytes after the one before x  check rate  recovery checks them
 *             + journal bytes after the newest     x  read rate   the replay reads them
 *             + entries after the newest, by type  x  their cost  the replay applies them
 *
 * A start measures all of it anew, so nothing of this is kept on disk. Until a process has loaded a
 * snapshot itself, the time that it took to take one stands for the load; until it has replayed
 * BATON_RTO_MEASURE_BYTES, assumed rates stand for reading. */
#pragma once

#include "engine/rates.h"

#define BATON_RTO_MEASURE_BYTES (UINT64_C(1) << 20) /* less says nothing about a rate */
#define BATON_RTO_NS_PER_BYTE   1.0                 /* assumed: 1 GB/s */
/* A killed process's ring lets go of the lock late: a part of recovery that no bytes account for. */
#define BATON_RTO_LOCK_NS     UINT64_C(75000000)
#define BATON_RTO_GROWTH_NS   UINT64_C(100000000)   /* between two looks at how fast it grows */
#define BATON_RTO_RETRY_NS    UINT64_C(10000000000) /* after a snapshot that failed */
#define BATON_RTO_ENTRY_BYTES 128.0                 /* in the journal; before any was seen */

typedef struct {
    double fixed_ns;
    double load_ns;
    double recover_ns;
    double read_ns;
    double apply_ns;
    double total_ns;
    double ns_per_s;       /* it grows by so much a second now */
    uint64_t target_ns;    /* 0: none */
    uint64_t snapshot_seq; /* of the newest good one; 0: none */
    uint64_t tail_entries; /* after it */
    uint64_t tail_bytes;
    bool load_measured; /* by a load; else by taking one, or assumed */
    bool read_measured;
} baton_rto_prediction;

/* How a start was, for the rates of the next one. */
typedef struct {
    uint64_t total_ns;   /* of everything below, and more */
    uint64_t recover_ns; /* from asking for the journal's lock to knowing where it ends */
    uint64_t load_ns;
    uint64_t load_bytes; /* raw; 0: nothing was loaded */
    bool load_image;     /* of which form */
    uint64_t replay_ns;
    uint64_t replay_bytes; /* of journal */
    uint64_t replay_entries;
    uint64_t snapshot_seq; /* 0: none */
    uint64_t
        before_seq; /* of the snapshot before: recovery looked at nothing older; 0: everything */
} baton_rto_start;

/* A snapshot, as a place to start from. */
typedef struct {
    uint64_t seq;
    uint64_t raw_bytes;
    bool image; /* its form: each is loaded at its own rate */
    double
        journal_bytes; /* where it stands in the journal: bytes since the first snapshot known here;
                             negative before it */
    uint64_t *applied; /* of each type, when it was taken */
} baton_rto_base;

/* Of one form: pages are read to where they belong, rows are rebuilt. */
typedef struct {
    double ns_per_byte;
    bool measured;
} baton_rto_load;

typedef struct {
    baton_rates rates;
    uint64_t target_ns;
    double fixed_ns;
    baton_rto_load loads[2]; /* portable, image */
    double check_ns_per_byte;
    double read_ns_per_byte;
    bool read_measured;
    uint64_t replay_bytes; /* by the start */
    uint64_t live_bytes;   /* acknowledged since */
    uint64_t seq;          /* the last entry applied */
    baton_rto_base newest;
    baton_rto_base before; /* recovery begins here; its applied is not used */
    baton_rto_base taking; /* becomes the newest when it is published */
    uint64_t take_ns;      /* how long the last one took; 0: none yet */
    uint64_t look_ns;      /* of the last look at growth; 0: none */
    double look_total_ns;
    double ns_per_s;
    uint64_t not_before_ns; /* a failed snapshot is not tried again before; a new active waits */
    bool told_unreachable;
} baton_rto;

BATON_MUST_USE int baton_rto_init(baton_rto *rto, const baton_service *service,
                                  const baton_clock *clock, uint64_t target_ns);
void baton_rto_fini(baton_rto *rto);

/* After the replay, before anything is submitted. */
void baton_rto_started(baton_rto *rto, const baton_rto_start *start);
/* The process is ready, so long after its beginning: what the engine did not see of it counts as
 * fixed, too. */
void baton_rto_ready(baton_rto *rto, uint64_t since_begin_ns, uint64_t engine_total_ns);
/* After started: the replay kept what it had come to there. applied is only read. */
void baton_rto_kept(baton_rto *rto, const baton_rto_base *at, uint64_t took_ns);
/* Another one's has come, of an entry that was applied before: where it stands is estimated. */
void baton_rto_adopted(baton_rto *rto, uint64_t seq, uint64_t raw_bytes, bool image);
/* Whenever it is asked: how far the process is. */
void baton_rto_progress(baton_rto *rto, uint64_t seq, uint64_t live_bytes);

/* A snapshot of now begins; was published (took so long in all, `packed_ns` of it to make its bytes
 * and `device_ns` to write them); or failed at now_ns. */
void baton_rto_snapshot_begun(baton_rto *rto);
typedef struct {
    uint64_t raw_bytes;
    bool image;
    bool adds; /* an increment: what it took says nothing about loading all of it */
    uint64_t took_ns;
    uint64_t packed_ns;
    uint64_t device_ns;
} baton_rto_taken;
void baton_rto_snapshot_taken(baton_rto *rto, const baton_rto_taken *taken);
void baton_rto_snapshot_failed(baton_rto *rto, uint64_t now_ns);

void baton_rto_predict(const baton_rto *rto, baton_rto_prediction *ret_prediction);
/* A look at how fast it grows; then: would the prediction pass the target while a snapshot is taken?
 * Not when taking one costs more than the replay it saves. */
bool baton_rto_is_due(baton_rto *rto, uint64_t now_ns, baton_rto_prediction *ret_prediction);
/* Once: no snapshot can hold the target, loading alone takes longer. */
bool baton_rto_tells_unreachable(baton_rto *rto, const baton_rto_prediction *prediction);
