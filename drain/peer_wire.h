/* drain/peer_wire.h: the bytes between an active and a standby. The page:
 * docs/format/handover.md; the messages' meaning: docs/handover.md, whose numbers stand here.
 *
 * A message is a baton_peer_header and a body, whose size is a multiple of 8. All of it is checked by
 * baton_peer_check before a field is used. */
#pragma once

#include <assert.h>
#include <stddef.h>

#include <baton/main.h>

#include "engine/run.h"

#define BATON_PEER_MAGIC "BATONHND"
/* What this build speaks: HELLO and WELCOME say it, and the lower of both highest is spoken. */
#define BATON_PEER_PROTOCOL_LOWEST  1u
#define BATON_PEER_PROTOCOL_HIGHEST 1u
/* The header, and HELLO, WELCOME and REFUSE as far as they are known here, are the same in every
 * protocol, and say so: any two can tell each other why they don't fit. */
#define BATON_PEER_GREETING        1u
#define BATON_PEER_NONCE_BYTES     16u
#define BATON_PEER_PIECE_BYTES     (256u << 10) /* of a snapshot's file, at most, in one message */
#define BATON_PEER_LISTENERS_MAX   8u
#define BATON_PEER_ENTRY_TYPES_MAX 64u /* that a HELLO lists */
/* Of one message: the kernel passes 253 (SCM_MAX_FD). */
#define BATON_PEER_CONNECTIONS_MAX       250u
#define BATON_PEER_CONNECTIONS_BYTES_MAX (BATON_CONNECTION_BYTES_MAX + (16u << 10))
#define BATON_PEER_BODY_BYTES_MAX        BATON_BATCH_BYTES_HIGHEST
/* Two thousand million promotions by force: nobody has come there, and what is added to it is no overflow. */
#define BATON_PEER_EPOCH_MAX (UINT64_MAX / 2)
/* What a standby sends, and what takes part in a cutover, is short. */
#define BATON_PEER_SHORT_BYTES_MAX 2048u

/* X(NAME, number, body: 0 is "as long as it is") */
#define BATON_PEER_TYPES(X)                                                                        \
    X(HELLO, 1, 0u)                             /* N: M10; a later protocol's is longer */         \
    X(WELCOME, 2, 0u)                           /* A; likewise */                                  \
    X(REFUSE, 3, sizeof(baton_peer_refusal))    /* both: then the connection ends; or M3 */        \
    X(FETCH, 4, sizeof(baton_peer_fetch))       /* N: a snapshot */                                \
    X(SNAPSHOT, 5, sizeof(baton_peer_snapshot)) /* A: its pieces follow; root 0: none */           \
    X(PIECE, 6, 0u)                             /* A */                                            \
    X(FOLLOW, 7, sizeof(baton_peer_follow))     /* N: batches from there on */                     \
    X(START, 8, sizeof(baton_peer_start))       /* A: before the first batch of an empty one */    \
    X(BATCH, 9, 0u)                             /* A: of the journal, byte for byte */             \
    X(ACK, 10, sizeof(baton_peer_ack))          /* N */                                            \
    X(PREPARE, 11, sizeof(baton_peer_prepare))  /* A: M2, with descriptors */                      \
    X(READY, 12, sizeof(baton_peer_ready))      /* N: M3 */                                        \
    X(FINAL, 13, sizeof(baton_peer_point))      /* A: M4 */                                        \
    X(ANSWER, 14, sizeof(baton_peer_point))     /* N: M5 */                                        \
    X(GRANT, 15, sizeof(baton_peer_ack))        /* A: M7; the record's batch is in the stream */   \
    X(TAKEN, 16, sizeof(baton_peer_ack))        /* N: M8 */                                        \
    X(ABORT, 17, sizeof(baton_peer_refusal))    /* A: M9 */                                        \
    X(AUTHORITY, 18, sizeof(baton_peer_ack))    /* A: fenced: leave; epoch and names */            \
    X(CONNECTIONS, 19, 0u)                      /* A: before M4, with descriptors */

typedef enum {
#define BATON_PEER_ENUM(name, number, bytes) BATON_PEER_##name = number,
    BATON_PEER_TYPES(BATON_PEER_ENUM)
#undef BATON_PEER_ENUM
} baton_peer_type;

typedef struct {
    uint8_t magic[8];
    baton_le16 version; /* the protocol it is of; HELLO, WELCOME, REFUSE: BATON_PEER_GREETING */
    baton_le16 type;
    baton_le32 body_bytes;
    baton_le64 try_number;  /* of the handover that it belongs to; 0: none */
    baton_le64 epoch;       /* the sender's: of the last batch that it has */
    uint8_t journal_id[16]; /* zero: the standby has no journal yet */
    uint8_t from[16];       /* nonces */
    uint8_t to[16];         /* zero in a HELLO: it does not know who answers */
    baton_le32 descriptors; /* that came along with the first byte: PREPARE and CONNECTIONS */
    uint8_t zero[12];
    uint8_t digest[16]; /* XXH3-128 over the bytes before it and the body */
} baton_peer_header;

/* Where the sender is, and what stands there: for the word (M11), and for two hosts (R12). */
typedef struct {
    uint8_t place[16];         /* random, of the directory: DIR/PLACE */
    uint8_t host[64];          /* its name */
    baton_le64 highest_header; /* of its own: the highest epoch that was begun there; 0: none */
    baton_le64 run_epoch;      /* the highest that it has heard (O1) */
    /* Of one that serves: the batch behind which the first term since the last forced promotion
     * begins. Who has other batches behind it has what this one has not. */
    baton_position_wire begun_after;
    uint8_t begun_digest[16];
} baton_peer_place;

typedef struct {
    baton_le16 type;
    uint8_t zero[2];
    baton_le32 schema_min;
} baton_peer_entry_type;

/* Who it is, and its fingerprint: what both must agree on (drain/fingerprint.h). */
typedef struct {
    baton_le32 protocol_lowest; /* these two stay first in every protocol */
    baton_le32 protocol_highest;
    uint8_t service[32];
    uint8_t version[32];
    uint8_t directory[256]; /* the sender's, absolute */
    uint8_t address[64];    /* HOST:PORT where its standbys connect; empty: its Unix socket alone */
    baton_le32 schema_write;
    baton_le32 schema_read_min;
    baton_le64 highest_name; /* epoch of the last segment name in it */
    baton_position_wire durable;
    baton_le64 applied_seq;
    baton_le32
        is_active; /* 0: it follows; 1: it serves; 2: it may begin a term yet, or begins one (R7) */
    baton_le32 schema_pinned; /* written now; 0: not known yet */
    baton_le32 schema_finalized;
    baton_le32 journal_format;    /* the newest that it reads, and the one that it writes */
    baton_le32 batch_bytes_max;   /* writes, or takes; 0: not known yet */
    baton_le32 entry_types_count; /* that the service knows; the first ones are listed */
    uint8_t layout[16];           /* of the arena; zero: none */
    baton_peer_entry_type entry_types[BATON_PEER_ENTRY_TYPES_MAX]; /* zeros behind the last */
    baton_peer_place at;
} baton_peer_hello;

typedef struct {
    baton_le32 status; /* -status */
    uint8_t zero[4];
    uint8_t why[256];
    uint8_t todo[256];
} baton_peer_refusal;

typedef struct {
    uint8_t
        root[16]; /* of the one that is wanted; zero: the newest that the standby can begin with */
    uint8_t layout[16]; /* of the standby's arena; zero: it has none, and reads no images */
} baton_peer_fetch;

typedef struct {
    baton_le64 seq;
    baton_le64 epoch;
    uint8_t root[16];
    baton_le64 manifest_bytes;
    baton_le64 chunks_bytes;
} baton_peer_snapshot;

/* The bytes follow, then zeros up to a multiple of 8. The chunks come first. */
typedef struct {
    baton_le64 offset;
    baton_le32 bytes;
    baton_le32 of_manifest; /* 0 or 1 */
} baton_peer_piece;

typedef struct {
    baton_position_wire after; /* all 0: nothing is there; then from_seq counts */
    uint8_t digest[16];        /* of that batch */
    baton_le64 from_seq;       /* the first entry wanted */
} baton_peer_follow;

typedef struct {
    uint8_t service[32];
    baton_position_wire before;
    uint8_t before_digest[16];
    baton_le64 last_time_ns;
    baton_le32 finalized_schema;
    baton_le32 roots_count;
    baton_handover_wire handover;
    baton_root_wire roots[BATON_SEGMENT_ROOTS_MAX];
} baton_peer_start;

typedef struct {
    baton_position_wire
        position;   /* durable; of a GRANT: the record's batch; of TAKEN: the header's epoch */
    baton_le64 seq; /* applied */
} baton_peer_ack;

typedef struct {
    uint8_t name[16];
} baton_peer_listener;

typedef struct {
    baton_le64 max_gap_ns;
    baton_le32 schema; /* written from here on: pinned or finalized */
    baton_le32 listeners_count;
    baton_le32
        by_snapshot; /* 0 or 1: a SNAPSHOT comes before FINAL, and the standby takes its state (R13) */
    uint8_t zero[4];
    baton_peer_listener listeners[BATON_PEER_LISTENERS_MAX];
} baton_peer_prepare;

typedef struct {
    baton_le64 highest_name;
} baton_peer_ready;

typedef struct {
    baton_le64 seq;
    baton_position_wire position;
    uint8_t chain[16];
    baton_le32 schema;
    uint8_t zero[4];
    uint8_t state[16];
    uint8_t effects[16];
    baton_position_wire durable;
} baton_peer_point;

/* Of a CONNECTIONS message, one for each descriptor, in their order. */
typedef struct {
    uint8_t name[16];
    baton_le32 received_bytes;
    baton_le32 unsent_bytes;
    baton_le32 notes_bytes;
    uint8_t zero[4];
} baton_peer_connection;

/* The connections follow, then the bytes of each in turn: received, unsent, notes; then zeros up to a
 * multiple of 8. */
typedef struct {
    baton_le32 count;
    uint8_t zero[4];
} baton_peer_connections;

static_assert(sizeof(baton_peer_header) == 112, "handover protocol 1");
static_assert(sizeof(baton_peer_place) == 136, "handover protocol 1");
static_assert(sizeof(baton_peer_entry_type) == 8, "handover protocol 1");
static_assert(sizeof(baton_peer_hello) == 1128, "handover protocol 1");
static_assert(offsetof(baton_peer_hello, protocol_lowest) == 0, "every handover protocol");
static_assert(sizeof(baton_peer_refusal) == 520, "handover protocol 1");
static_assert(sizeof(baton_peer_fetch) == 32, "handover protocol 1");
static_assert(sizeof(baton_peer_snapshot) == 48, "handover protocol 1");
static_assert(sizeof(baton_peer_piece) == 16, "handover protocol 1");
static_assert(sizeof(baton_peer_follow) == 48, "handover protocol 1");
static_assert(sizeof(baton_peer_start) == 1696, "handover protocol 1");
static_assert(sizeof(baton_peer_ack) == 32, "handover protocol 1");
static_assert(sizeof(baton_peer_listener) == 16, "handover protocol 1");
static_assert(sizeof(baton_peer_prepare) == 152, "handover protocol 1");
static_assert(sizeof(baton_peer_ready) == 8, "handover protocol 1");
static_assert(sizeof(baton_peer_point) == 112, "handover protocol 1");
static_assert(sizeof(baton_peer_connection) == 32, "handover protocol 1");
static_assert(sizeof(baton_peer_connections) == 8, "handover protocol 1");
static_assert(sizeof(baton_peer_connections) +
                      BATON_PEER_CONNECTIONS_MAX * sizeof(baton_peer_connection) +
                      BATON_CONNECTION_BYTES_MAX + 8 <=
                  BATON_PEER_CONNECTIONS_BYTES_MAX,
              "a full message with one connection's most bytes");
static_assert(sizeof(baton_peer_start) <= BATON_PEER_SHORT_BYTES_MAX, "it fits a short message");

/* What both ends of a connection say of themselves in every header. */
typedef struct {
    uint32_t protocol; /* that both speak; 0: the lowest */
    uint64_t try_number;
    uint64_t epoch;
    baton_digest journal_id;
    uint8_t from[BATON_PEER_NONCE_BYTES];
    uint8_t to[BATON_PEER_NONCE_BYTES];
} baton_peer_names;

/* The header of a message: body is read for its digest. */
void baton_peer_seal(baton_peer_header *header, baton_peer_type type, const baton_peer_names *names,
                     uint32_t descriptors, const void *body, uint32_t body_bytes);

/* Of the header alone, before the body is waited for: BATON_E_INVALID (no message),
 * BATON_E_NEWER_FORMAT (a protocol that is not spoken here), BATON_E_UNKNOWN_TYPE, BATON_E_TOO_LARGE. */
BATON_MUST_USE int baton_peer_check_header(const baton_peer_header *header, baton_error *error);
/* Header and body, whose size the header said: every rule of the page. BATON_E_DAMAGED: the digest;
 * BATON_E_INVALID. */
BATON_MUST_USE int baton_peer_check(const baton_peer_header *header, const void *body,
                                    baton_error *error);

const char *baton_peer_type_name(baton_peer_type type); /* "HELLO" */

/* Wire types from what the layers below have, and back. */
baton_position_wire baton_peer_position_put(baton_position position);
baton_position baton_peer_position_get(baton_position_wire wire);
baton_peer_point baton_peer_point_put(const baton_engine_point *point);
baton_engine_point baton_peer_point_get(const baton_peer_point *wire);
baton_peer_start baton_peer_start_put(const baton_follow_start *start);
baton_follow_start baton_peer_start_get(const baton_peer_start *wire);
baton_peer_refusal baton_peer_refusal_put(int status, const char *why, const char *todo);
/* Into *error; returns its status, BATON_E_REFUSED when it is none of ours. */
int baton_peer_refusal_get(const baton_peer_refusal *wire, const char *what, baton_error *error);
