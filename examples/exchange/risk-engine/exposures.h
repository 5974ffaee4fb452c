/* examples/exchange/risk-engine/exposures.h: what each client has traded and may still trade, by symbol, with its
 * limits; and its kill switch. Part of the state; bounded; all memory is allocated in exposures_create. */
#pragma once

#include <baton/arena.h>
#include <baton/digest.h>

#include "examples/exchange/protocol.h"

typedef struct exposures exposures;

/* In place of a symbol: the client as a whole. That one has nothing but the kill switch. */
#define EXPOSURE_CLIENT UINT32_MAX

typedef struct {
    uint64_t client_id;
    int64_t position; /* bought less sold; stays at its bounds rather than overflow, as cash does */
    int64_t cash;     /* of the quote asset: got less paid */
    uint64_t open[2]; /* by book_side: of open orders, and of replacements under way */
    uint64_t position_max; /* 0: no limit */
    uint64_t size_max;     /* of one order; 0: no limit */
    uint32_t symbol;
    uint32_t killed; /* 1: no new orders */
} exposure;

#define EXPOSURES_LAYOUT_TYPES &exposures_layout, &exposure_layout
extern const baton_layout_type exposures_layout;
extern const baton_layout_type exposure_layout;

/* -ENOMEM, BATON_E_INVALID. arena may be NULL: on the heap. About 80 bytes each. */
BATON_MUST_USE int exposures_create(uint32_t exposures_max, baton_arena *arena,
                                    exposures **ret_exposures);
void exposures_destroy(exposures *own); /* NULL is fine */

uint32_t exposures_count(const exposures *own);
uint32_t exposures_room(const exposures *own); /* how many more there may be */
/* In the order in which they came. They never leave. */
const exposure *exposures_at(const exposures *own, uint32_t index);
/* NULL: there is none. Valid until the next change. */
const exposure *exposures_find(const exposures *own, uint64_t client_id, uint32_t symbol);
/* Existing, or new and all zero; NULL: there is no room. */
const exposure *exposures_open(exposures *own, uint64_t client_id, uint32_t symbol);
/* was is one of the two above; now has its client and symbol. */
void exposures_change(exposures *own, const exposure *was, const exposure *now);

/* O(1), over every field of all. */
baton_digest exposures_digest(const exposures *own);
baton_digest exposures_digest_recomputed(const exposures *own);
/* False: it is there already, or there is no room. */
bool exposures_restore(exposures *own, const exposure *one);

/* May this much more be opened on this side? */
bool exposure_allows(const exposure *of, uint8_t side, uint64_t size);
void exposure_trade(exposure *of, uint8_t side, uint64_t size, uint64_t cost);
