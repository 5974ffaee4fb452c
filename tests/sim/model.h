/* tests/sim/model.h: what a journal must hold, kept beside it by whoever drives it. Entries and
 * records in the order in which append took them; how far they were acknowledged; how far that was
 * proven by something written later. Knows nothing of disks and crashes. */
#pragma once

#include "journal/records.h"

#define MODEL_PAYLOAD_MAX BATON_ENTRY_BYTES_MAX

typedef struct {
    uint64_t nonce; /* of no other item, ever: the payload is made from it */
    uint64_t seq;   /* of a record: of the entry before it */
    uint64_t time_ns;
    uint64_t carries; /* so many items were acknowledged when it was appended: its batch says so */
    uint32_t bytes;
    uint16_t type;
    bool is_record;
} model_item;

typedef struct {
    model_item *items;
    uint64_t count;
    uint64_t room;
    uint64_t nonces;
    uint64_t acked; /* so many items were acknowledged */
    uint64_t acked_seq;
    uint64_t proven; /* and so many are proven: a later loss has to be seen */
    uint64_t proven_seq;
    model_item *gone; /* what was appended and cut */
    uint64_t gone_count;
    uint64_t gone_room;
    uint64_t keep_from; /* entries from here on were never given up to retirement; 0: all */
    uint8_t payload[MODEL_PAYLOAD_MAX];
} sim_model;

void model_init(sim_model *model);
void model_fini(sim_model *model);

/* The next item to append: its payload stands in model->payload. */
model_item model_next_entry(sim_model *model, uint32_t bytes);
model_item model_next_record(sim_model *model, baton_record_kind kind, uint64_t last_seq);
/* append took it. */
void model_take(sim_model *model, const model_item *item);

uint64_t model_last_seq(const sim_model *model);
/* All up to this entry is acknowledged. False: it was more before, or was never appended (J2). */
bool model_acknowledge(sim_model *model, uint64_t seq);
void model_acknowledge_all(sim_model *model);
/* Everything acknowledged is proven: by a mark, a close, or a new epoch's header. */
void model_prove(sim_model *model);
/* The journal was found to end after so many items: the rest never happened. */
void model_cut(sim_model *model, uint64_t count);

/* Which item an entry or record read from the journal is; UINT64_MAX: none that was ever appended. */
uint64_t model_find(sim_model *model, const baton_entry *entry);
/* Is it item number `at`, byte by byte? */
bool model_matches(sim_model *model, uint64_t at, const baton_entry *entry);
/* Was it appended once, and cut since? */
bool model_was_cut(sim_model *model, const baton_entry *entry);
/* The standing facts after so many items. */
void model_facts(sim_model *model, uint64_t count, baton_facts *ret_facts);
