/* examples/exchange/risk-engine/risk_engine.h: the risk engine as a Baton service: its state and the table of
 * functions. Nothing in here knows sockets; server.h feeds it. */
#pragma once

#include <baton/service.h>

#include "examples/exchange/clients/sources.h"
#include "examples/exchange/ledger/ledger.h"
#include "examples/exchange/risk-engine/exposures.h"
#include "examples/exchange/risk-engine/holds.h"

extern const baton_service risk_engine_service;

/* All that changes the state comes over links: the one type of entry is EXCHANGE_LINKED, with a command, a report or
 * a barrier. A command that goes on to the matching engine is an effect of its own type and body, a barrier, too.
 * EXCHANGE_REPORT, to the order service, answers a command that was refused, or was the risk engine's own.
 * With `--outbox risk-mirror` there is EXCHANGE_EXPOSURES (mirror.h), and entries EXCHANGE_RESYNC that ask for it. */
enum {
    RISK_SYMBOLS_MAX = 64,
    RISK_ASSETS_MAX = 2 * RISK_SYMBOLS_MAX,
    RISK_CHANGES_MAX = 104, /* exposures that one entry can change: the orders of one report */
};

typedef struct {
    uint64_t
        paid_in; /* deposits less withdrawals; at most INT64_MAX, so that no account overflows */
    uint32_t asset_id;
} risk_asset;

typedef struct {
    baton_arena *arena; /* all of it is there; NULL: on the heap */
    account_ledger *ledger;
    holds *holds;
    exposures *exposures;
    sources sources;
    uint64_t barrier_id;        /* of the last barrier */
    uint64_t barrier_seq;       /* the entry that it was: the cut of this service */
    uint32_t barrier_under_way; /* 1: it has not come back yet */
    uint32_t killed;            /* 1: nobody may place an order */
    uint64_t
        strays; /* what reports told that fits no account or order: each is an anomaly for ever */
    uint32_t pairs_count;
    uint32_t assets_count;
    ledger_pair pairs[RISK_SYMBOLS_MAX]; /* by symbol */
    risk_asset assets[RISK_ASSETS_MAX];  /* lowest id first */
    uint64_t mirror_number;              /* of the last effect for risk-mirror */
    uint32_t mirrored;                   /* 1: risk-mirror is told */
    /* Of no meaning between entries: what this one has changed, as it was before. */
    uint32_t killed_was;
    uint32_t changes_count;
    exposure changes[RISK_CHANGES_MAX];
} risk_engine;

/* For the inlets, by the producer: may it become an entry? 0, or a status. */
BATON_MUST_USE int risk_engine_linked(uint16_t source, uint16_t effect_type, const void *payload,
                                      uint32_t payload_bytes);
