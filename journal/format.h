/* journal/format.h: journal format v1, shared by writer and reader. The page:
 * docs/format/journal.md.
 *
 * A journal is a directory: `LOCK`, `HINT` (shared page, no part of recovery), `BALLAST` (room
 * for a full disk), and segments `EPOCH-INDEX.seg`, both 16 lower-case hex digits; `torn/` keeps
 * cut bytes.
 *
 * A segment is one file of segment_bytes, all of it written before use; of a new file with zeros:
 *   unit 0            baton_segment_header; all zero while the segment is only ready
 *   unit 1 ..         batches, each a multiple of BATON_IO_UNIT, one after the other; after the last one zeros, or, in a
 *                     recycled segment, what stood there before: stale, told by epoch and batch number
 *   the last unit     baton_segment_trailer, or zeros (kept free: the handover record and the close mark stand here too)
 * A batch is baton_batch_header, then frames (baton_frame_header, payload, zeros up to a
 * multiple of 8), then zeros. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/digest.h>
#include <baton/journal.h>
#include <baton/wire.h>

#define BATON_JOURNAL_VERSION      1u
#define BATON_SEGMENT_MAGIC        "BATONSEG"
#define BATON_TRAILER_MAGIC        "BATONEND"
#define BATON_SEGMENT_ROOTS_MAX    64u
#define BATON_BATCH_BYTES_HIGHEST  (4u << 20) /* no batch is larger, whatever its writer was told */
#define BATON_JOURNAL_FORCED_EPOCH (UINT64_C(1) << 32) /* what a forced promotion adds (H2) */

typedef struct {
    baton_le64 epoch;
    baton_le64 batch;
    baton_le64 seq;
} baton_position_wire;

/* A kept snapshot, as the journal names it (S1). */
typedef struct {
    baton_le64 seq;
    uint8_t root[16];
} baton_root_wire;

/* The last handover record (H1, H2); seq 0 and epoch 0: none yet. */
typedef struct {
    baton_le64 epoch;
    baton_le64 last_seq;
    uint8_t state_digest[16];
    uint8_t effect_digest[16];
    uint8_t successor_nonce[16]; /* zero: grants to the next opener of this directory */
    baton_le32 state_schema;     /* of state_digest */
    uint8_t zero[4];
} baton_handover_wire;

enum {                                 /* baton_segment_header.flags */
       BATON_SEGMENT_WRITTEN_MODE = 1, /* evidence counts only flushed positions */
       BATON_SEGMENT_FOLLOWER = 2,     /* carried positions are no evidence (J10) */
       BATON_SEGMENT_RECYCLED = 4,     /* made of a retired segment of its epoch: stale bytes may
                                          stand behind its batches (J4) */
       BATON_SEGMENT_FLAGS_KNOWN = 7,
};

typedef struct {
    uint8_t magic[8];
    baton_le32 version; /* BATON_JOURNAL_VERSION: the lowest reader that can read it */
    baton_le32 flags;
    uint8_t journal_id[16];
    baton_le64 epoch;
    baton_le64 index; /* dense over all epochs of the journal, from 1 */
    baton_le64 segment_bytes;
    baton_le64 first_batch; /* number of the first batch in here */
    baton_le64 first_seq;   /* seq that the next entry gets */
    baton_position_wire
        continues; /* the last accepted batch before this segment: durable, and the end of what older
                                      epochs may contribute (J10). All 0: the journal begins here */
    uint8_t continues_digest[16]; /* that batch's digest; zero at the beginning */
    baton_le64 continues_index;   /* the segment that batch is in; 0 at the beginning */
    baton_le64
        continues_offset; /* the byte after that batch in its segment: what follows there is void when this
                                    segment begins an epoch */
    baton_le64 last_time_ns; /* entry time goes on from here (J11) */
    baton_le64 created_wall_ns;
    uint8_t service[BATON_SERVICE_NAME_BYTES];
    baton_le32
        finalized_schema; /* standing facts, repeated in every header (J11): 0 while pinned (E4) */
    baton_le32 roots_count; /* 0..BATON_SEGMENT_ROOTS_MAX */
    baton_handover_wire handover;
    baton_root_wire roots[BATON_SEGMENT_ROOTS_MAX];
    uint8_t zero[2288]; /* refused unless zero */
    uint8_t digest[16]; /* XXH3-128 over the 4080 bytes before it */
} baton_segment_header;

enum {                        /* baton_batch_header.flags */
       BATON_BATCH_MARK = 1,  /* no entries: proves what is before it */
       BATON_BATCH_CLOSE = 2, /* a mark, and the writer's last batch */
       BATON_BATCH_FLAGS_KNOWN = 3,
};

typedef struct {
    baton_le16 version;
    baton_le16 flags;
    baton_le32 entry_count; /* frames that take a seq */
    baton_le32 batch_bytes; /* the whole padded write, a multiple of BATON_IO_UNIT */
    baton_le32 used_bytes;  /* header and frames; zeros from here to batch_bytes */
    baton_le64 epoch;
    baton_le64 batch;       /* dense from 1, over all epochs */
    baton_le64 first_seq;   /* of its first entry; without entries: the seq the next entry gets */
    baton_le64 durable_seq; /* the durable position known when this batch was submitted */
    baton_le64 durable_epoch;
    baton_le64 durable_batch;
    baton_le64
        applied_seq; /* what the service had applied then, and the digest of its effects (low 64 bits) */
    baton_le64 effect_digest;
    uint8_t previous_digest
        [16]; /* the batch before: one chain through segments, epochs and handovers */
    uint8_t journal_id[16];
    uint8_t digest[16]; /* XXH3-128 over the whole batch_bytes with this field zero */
} baton_batch_header;

enum { BATON_FRAME_RECORD = 1, BATON_FRAME_FLAGS_KNOWN = 1 };

typedef struct {
    baton_le32 payload_bytes;
    baton_le16 type;
    baton_le16 flags;
    baton_le64 time_ns;
} baton_frame_header;

/* Evidence at the end of a finished segment: what stood durable when the writer left it. */
typedef struct {
    uint8_t magic[8];
    baton_le32 version;
    baton_le32 flags; /* BATON_BATCH_CLOSE when the epoch ended here */
    uint8_t journal_id[16];
    baton_le64 epoch;
    baton_le64 index;
    baton_position_wire last; /* the last batch of this segment: durable */
    uint8_t last_digest[16];
    baton_handover_wire handover; /* zero, or the grant that ends this epoch (H2) */
    uint8_t zero[3920];
    uint8_t digest[16]; /* XXH3-128 over the 4080 bytes before it */
} baton_segment_trailer;

static_assert(sizeof(baton_position_wire) == 24, "journal format v1");
static_assert(sizeof(baton_root_wire) == 24, "journal format v1");
static_assert(sizeof(baton_handover_wire) == 72, "journal format v1");
static_assert(sizeof(baton_batch_header) == 128, "journal format v1");
static_assert(offsetof(baton_batch_header, durable_seq) == 40, "journal format v1");
static_assert(sizeof(baton_frame_header) == 16, "journal format v1");
static_assert(sizeof(baton_segment_header) == 4096, "journal format v1");
static_assert(offsetof(baton_segment_header, digest) == 4080, "journal format v1");
static_assert(sizeof(baton_segment_trailer) == 4096, "journal format v1");
static_assert(offsetof(baton_segment_trailer, digest) == 4080, "journal format v1");

#define BATON_SEGMENT_NAME_BYTES 40u /* "EPOCH-INDEX.seg" and a terminator fit */
void baton_segment_name(uint64_t epoch, uint64_t index, char name[BATON_SEGMENT_NAME_BYTES]);
bool baton_segment_name_parse(const char *name, uint64_t *ret_epoch, uint64_t *ret_index);

/* Decoders check everything that can be checked from the bytes alone; nothing from a disk is
 * asserted. Encoders fill the digest last. unit is BATON_IO_UNIT bytes. */
typedef enum {
    BATON_UNIT_VALID,
    BATON_UNIT_ZERO,    /* all zero: never written */
    BATON_UNIT_INVALID, /* digest, magic or a field does not fit */
    BATON_UNIT_NEWER,   /* digest is right, version is above ours */
} baton_unit_verdict;

void baton_segment_header_seal(baton_segment_header *header);
baton_unit_verdict baton_segment_header_check(const baton_segment_header *header);
void baton_segment_trailer_seal(baton_segment_trailer *trailer);
baton_unit_verdict baton_segment_trailer_check(const baton_segment_trailer *trailer);

/* Fill used_bytes .. batch_bytes with zeros and the digest. batch has batch_bytes bytes. */
baton_digest baton_batch_seal(baton_batch_header *batch);
/* Is this a whole valid batch, by its own bytes? available: bytes at hand; a header that claims
 * more is INVALID. Checks frames too: they fill used_bytes exactly, entry_count fits, flags are
 * known, padding is zero. */
baton_unit_verdict baton_batch_check(const void *bytes, uint64_t available,
                                     baton_digest *ret_digest);
/* Could the header's sizes be right? For knowing how much to read; says nothing about validity. */
bool baton_batch_plausible(const baton_batch_header *header, uint32_t *ret_batch_bytes);

/* Frames of a valid batch. *offset begins at sizeof(baton_batch_header); false at the end. seq,
 * epoch are filled from the batch; *next_seq begins at first_seq. */
bool baton_batch_next(const baton_batch_header *batch, uint32_t *offset, uint64_t *next_seq,
                      baton_entry *ret_entry);

static inline uint32_t baton_frame_bytes(uint32_t payload_bytes)
{
    return (uint32_t)sizeof(baton_frame_header) + ((payload_bytes + 7u) & ~7u);
}

static inline baton_position baton_position_get(const baton_position_wire *wire)
{
    return (baton_position){.epoch = baton_le64_get(wire->epoch),
                            .batch = baton_le64_get(wire->batch),
                            .seq = baton_le64_get(wire->seq)};
}

static inline baton_position_wire baton_position_put(baton_position position)
{
    return (baton_position_wire){.epoch = baton_le64_put(position.epoch),
                                 .batch = baton_le64_put(position.batch),
                                 .seq = baton_le64_put(position.seq)};
}

/* < 0, 0, > 0 by (epoch, batch). */
static inline int baton_position_compare(baton_position a, baton_position b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.batch < b.batch ? -1 : a.batch > b.batch;
}
