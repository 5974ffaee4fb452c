/* journal/records.h: Baton's own records in the journal (J11). They take no seq and are no
 * payloads of the service. For the engine and the drain; a service never sees them. All of them
 * are little-endian wire types and part of journal format v1. */
#pragma once

#include "journal/format.h"

typedef enum {
    BATON_RECORD_CHECKPOINT =
        1,                 /* baton_checkpoint_wire: replays and standbys compare with it (E2) */
    BATON_RECORD_ROOT = 2, /* baton_root_wire: a snapshot was published; a standing fact */
    BATON_RECORD_ROOT_GONE = 3, /* baton_root_wire: it is kept no longer */
    BATON_RECORD_CONFIRM =
        4, /* baton_confirm_wire: a consumer has this source's effects up to here (E6) */
    BATON_RECORD_HANDOVER = 5, /* baton_handover_wire: the grant; a standing fact */
    BATON_RECORD_FINALIZE = 6, /* baton_finalize_wire: a standing fact (E4) */
} baton_record_kind;

typedef struct {
    baton_le64 seq; /* digests are of the state after this entry */
    uint8_t state_digest[16];
    uint8_t effect_digest[16];
    baton_le32 state_schema; /* whose fields state_digest covers */
    uint8_t zero[4];
} baton_checkpoint_wire;

typedef struct {
    baton_le64 epoch; /* of the entry whose effect it is */
    baton_le64 seq;
    baton_le32 index; /* of the effect among that entry's */
    baton_le32 consumer;
} baton_confirm_wire;

typedef struct {
    baton_le32 schema; /* the schema that may be written from here on */
    uint8_t zero[4];
} baton_finalize_wire;

static_assert(sizeof(baton_checkpoint_wire) == 48, "journal format v1");
static_assert(sizeof(baton_confirm_wire) == 24, "journal format v1");
static_assert(sizeof(baton_finalize_wire) == 8, "journal format v1");

/* Facts that every segment header repeats. */
typedef struct {
    uint32_t finalized_schema;
    uint32_t roots_count;
    baton_handover_wire handover;
    baton_root_wire roots[BATON_SEGMENT_ROOTS_MAX];
} baton_facts;

/* What a record changes in the facts; other kinds change nothing. A 65th root drops the oldest. */
void baton_facts_apply(baton_facts *facts, uint16_t kind, const void *payload,
                       uint32_t payload_bytes);
/* Is it a known kind of the right size? Unknown is refused (E7). */
bool baton_record_check(uint16_t kind, const void *payload, uint32_t payload_bytes);

/* Append one; works on a sealed journal too. *ret_entry may be NULL; its seq is that of the last
 * entry. Durable together with its batch: wait with baton_journal_flush. Errors as
 * baton_journal_append. */
BATON_MUST_USE int baton_journal_append_record(baton_journal *journal, baton_record_kind kind,
                                               const void *payload, uint32_t payload_bytes);
/* Where a journal that does not exist yet goes on: after a state that came from elsewhere. */
typedef struct {
    baton_position after; /* epoch and batch not 0; seq may be */
    baton_digest digest;  /* stands for what is not there; not zero */
    uint64_t last_time_ns;
    uint64_t epoch; /* the first one is above it */
    baton_facts facts;
} baton_journal_origin;
/* Between open and begin: what begin makes looks like a journal whose segments up to there were
 * retired; the facts stand in its first header. BATON_E_INVALID: there is a journal, or an origin
 * that its header could not name. */
BATON_MUST_USE int baton_journal_begin_after(baton_journal *journal,
                                             const baton_journal_origin *origin);
/* The facts as of the last record appended or recovered; owned by the journal. */
const baton_facts *baton_journal_facts(const baton_journal *journal);
