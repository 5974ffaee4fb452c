/* examples/exchange/wire/inlet.h: what a Baton service takes in over a link: each effect becomes one entry
 * (EXCHANGE_LINKED), and is confirmed to its producer once that entry is durable and released (E6). An
 * effect that the state has taken already is dropped, and confirmed again. A seq that goes back in a higher
 * epoch, or one above all in a lower epoch, is refused for good, with a log line `link.went_back` and the
 * metric `exchange_link_went_back`: the producer has lost what it had released. */
#pragma once

#include <baton/engine.h>

#include "examples/exchange/clients/sources.h"
#include "examples/exchange/wire/link.h"

typedef enum { INLET_NEW, INLET_KNOWN, INLET_WENT_BACK } inlet_verdict;

typedef struct {
    const char *name;    /* of the producer; in metrics, too: [a-z-] */
    const char *address; /* of its feed; stays the caller's */
    uint16_t source;     /* exchange_member: the producer */
    uint16_t consumer;   /* and we */
    /* What the state says to this key, changing nothing: inlet_judge of its sources. */
    inlet_verdict (*judge)(const void *state, uint16_t source, const exchange_key *key);
    /* Can apply take it? What comes from a network must not stop apply: 0, or a status that stops the
     * link. */
    int (*check)(uint16_t effect_type, const void *payload, uint32_t payload_bytes);
    /* Has just become an entry, which is applied, and is not durable yet; NULL: nobody wants to know. */
    void (*submitted)(void *owner, uint16_t effect_type, const void *payload,
                      uint32_t payload_bytes);
    bool unhurried; /* nobody waits for what becomes of it: baton_engine_submit_unhurried */
    /* Nothing is confirmed to this source now (a consistent cut is under way); NULL: never. */
    bool (*holds)(const void *state, uint16_t source);
    void *owner;
} inlet_options;

inlet_verdict inlet_judge(const sources *of, uint16_t source, const exchange_key *key);

/* A key that may be confirmed once entry seq is released. */
typedef struct {
    exchange_key key;
    uint64_t seq; /* 0: none */
} inlet_mark;

typedef struct {
    inlet_options options;
    wire_link link;
    baton_engine *engine;
    inlet_mark waiting; /* confirmed next */
    inlet_mark latest;  /* and after it; those in between are confirmed with it */
    baton_metric *up;
    baton_metric *effects;
    baton_metric *known;
    baton_metric *went_back;
    uint8_t entry[sizeof(exchange_linked) + BATON_EFFECT_BYTES_MAX];
} inlet;

/* From start. -ENOMEM. */
BATON_MUST_USE int inlet_start(inlet *own, const inlet_options *options, baton_engine *engine);
/* Once a turn, after the releases. */
void inlet_turn(inlet *own);
