/* journal/walk.h: the accepted journal, batch by batch, and the verdict at its end (J5). Recovery,
 * reader, verify and repair are loops around it, so that all of them mean the same journal. Bounded
 * memory; changes nothing.
 *
 *   start.c     finds the segment to begin with
 *   walk.c      accepts: the next batch of the live chain, or the place where the chain ends
 *   evidence.c  collects: what proves that more was durable
 *   judge.c     judges: end reached, torn, or damaged */
#pragma once

#include "journal/cursor.h"
#include "journal/evidence.h"
#include "journal/recent.h"
#include "journal/segments.h"

#define BATON_JOURNAL_DAMAGED_TODO                                                                 \
    "restore the segment from an archive or a replica, or give up what follows with "              \
    "`baton journal repair --accept-loss DIR`"

/* The end of a chain of batches: what the next one must go on from. */
typedef struct {
    baton_position position; /* of the last batch; all 0: none */
    baton_digest digest;
    uint64_t index;  /* its segment */
    uint64_t offset; /* the byte after it */
} baton_chain_end;

typedef struct {
    const char *service;     /* NULL or "": any */
    baton_position evidence; /* the caller's */
    uint64_t from_seq;       /* begin with the segment that holds it; 0: with the oldest */
    bool resume;             /* instead: go on from here */
    baton_chain_end from;
    bool published; /* stop at what a living writer has published; no evidence is asked for */
    baton_chain_end until; /* digest is not used */
    const baton_recent
        *recent;             /* published: batches that stand here need not be read; NULL: none */
    baton_progress progress; /* NULL: none */
    void *progress_context;
} baton_walk_options;

typedef struct {
    baton_io *io;
    baton_walk_options options;
    char directory[BATON_JOURNAL_PATH_BYTES];
    void *unit;         /* BATON_IO_UNIT bytes, aligned */
    void *recent_batch; /* BATON_RECENT_BATCH_BYTES_MAX: a copy of one */
    baton_cursor cursor;
    baton_io_file file;
    bool following; /* the next live segment is open already, and being read ahead */
    baton_io_file following_file;
    uint32_t following_at;

    baton_segments segments;
    uint32_t start;   /* where the walk began; count: nothing is live */
    uint32_t current; /* where it is, or was last */
    bool inside;

    baton_chain_end end;
    uint64_t first_seq; /* of the oldest live segment; 0 when there is none */
    bool closed;        /* the last batch is a close mark */
    baton_facts facts;
    baton_facts header_facts; /* as the segment's header has them */
    uint64_t last_time_ns;
    uint64_t batches_count;
    uint64_t entries_count;
    uint64_t records_count;
    uint64_t payload_bytes;
    uint64_t done_bytes;
    uint64_t all_bytes;

    baton_evidence evidence;
    uint64_t stop_offset; /* in `current`: where no further batch was accepted, and why */
    const char *stop_why;
    bool stop_may_be_end; /* zeros or stale bytes stand there, or it is full */
    baton_tail tail;      /* set by the judge */
    baton_position lost;  /* damaged: what was durable once and is not there */
    bool finished;
    int result;
} baton_walk;

/* Memory only. The walk needs baton_walk_close also when this fails. */
BATON_MUST_USE int baton_walk_open(baton_walk *walk, baton_io *io, const char *directory,
                                   baton_error *error);
/* List the directory and stand before the first batch; again and again as the journal grows.
 * 0, BATON_E_GONE (resume: it was retired), BATON_E_DIVERGED (resume: a later epoch voided it),
 * BATON_E_DAMAGED, BATON_E_OTHER_SERVICE, BATON_E_OTHER_JOURNAL, BATON_E_NEWER_FORMAT, -errno. */
BATON_MUST_USE int baton_walk_begin(baton_walk *walk, const baton_walk_options *options,
                                    baton_error *error);
/* A published walk whose end was reached goes on up to a later place in the same segment. False:
 * begin anew. */
bool baton_walk_extend(baton_walk *walk, const baton_chain_end *until, const baton_recent *recent);
/* 1: the next accepted batch, valid until the next call. 0: the end, and it was judged.
 * BATON_E_DAMAGED, BATON_E_GONE (its file is gone), BATON_E_NEWER_FORMAT, -errno; the same again
 * when called again. */
BATON_MUST_USE int baton_walk_next(baton_walk *walk, const baton_batch_header **ret_batch,
                                   baton_error *error);
void baton_walk_close(baton_walk *walk);

/* walk_segments.c */
uint64_t baton_walk_segment_limit(const baton_walk *walk, const baton_segment *segment);
/* BATON_E_GONE: the segment's name leads nowhere any more. */
BATON_MUST_USE int baton_walk_still_named(const baton_walk *walk, uint32_t at, baton_error *error);
/* 1: inside the next live segment. 0: none goes on from here. */
BATON_MUST_USE int baton_walk_enter_next(baton_walk *walk, baton_error *error);
/* start.c */
BATON_MUST_USE int baton_walk_start(baton_walk *walk, baton_error *error);
uint32_t baton_walk_live_from(const baton_segments *segments, uint32_t at); /* count: none */
bool baton_walk_continues_end(const baton_segment *segment, const baton_chain_end *end);
/* judge.c */
BATON_MUST_USE int baton_walk_judge(baton_walk *walk, baton_error *error);
/* DAMAGED where the walk stopped. */
int baton_walk_damaged(baton_walk *walk, baton_error *error, baton_position lost,
                       const char *proof);

/* recover.c: the walk run to its end, as baton_recover reports it. */
BATON_MUST_USE int baton_recover_walk(baton_io *io, const char *directory,
                                      const baton_walk_options *options, baton_recovery *recovery,
                                      baton_error *error);
