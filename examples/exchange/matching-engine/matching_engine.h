/* examples/exchange/matching-engine/matching_engine.h: the matching engine as a Baton service:
 * its state and the table of functions. Nothing in here knows sockets; server.h feeds it. */
#pragma once

#include <baton/service.h>

#include "examples/exchange/book/book.h"
#include "examples/exchange/clients/clients.h"
#include "examples/exchange/clients/sources.h"

/* 1.0.0 has schema 1. 1.1.0 adds schema 2 (features, volumes), and ships its new behaviour dark
 * (E3). */
extern const baton_service matching_engine_service;

/* Entry types. Payloads are the commands as the clients sent them (protocol.h); TICK's is empty:
 * it says that time is the entry's time. */
typedef enum {
    ENTRY_NEW_ORDER = EXCHANGE_NEW_ORDER,
    ENTRY_CANCEL = EXCHANGE_CANCEL,
    ENTRY_REDUCE = EXCHANGE_REDUCE,
    ENTRY_CLOCK = EXCHANGE_CLOCK,
    ENTRY_SWITCH = EXCHANGE_SWITCH, /* schema 2 */
    ENTRY_REPLACE = EXCHANGE_REPLACE,
    ENTRY_TICK = EXCHANGE_TICK,
    ENTRY_LINKED = EXCHANGE_LINKED, /* exchange_linked, then a command's body, or a barrier */
} matching_engine_entry;

/* Effect types and payloads. */
typedef enum {
    /* exchange_ack, its seq 0: the effect's own seq is meant. To a client of the engine's own, after the
     * reports of its command. */
    EFFECT_ACK = 1,
    EFFECT_REPORT = EXCHANGE_REPORT, /* exchange_report and its items, to each consumer */
    EFFECT_BARRIER = EXCHANGE_BARRIER,
} matching_engine_effect;

/* The largest --orders-max: one order may hit, or one tick expire, all that rest, and an entry may have only
 * so many effects. With more than one consumer it is fewer: create() says so. */
#define MATCHING_ENGINE_ORDERS_MAX 3000000u

typedef struct {
    baton_arena *arena; /* all of it is there; NULL: on the heap */
    order_book *book;
    clients *clients;
    sources sources;
    uint64_t barrier_id; /* of the last barrier; and the entry that it was */
    uint64_t barrier_seq;
    uint32_t features;  /* exchange_switch.features */
    uint32_t consumers; /* whom reports are kept for: bit n is consumer n */
} matching_engine;

/* Is it a well-formed command of this type, and in range? 0, BATON_E_UNKNOWN_TYPE (no command),
 * BATON_E_INVALID (wrong size, non-zero padding), BATON_E_TOO_LARGE (client id or seq out of
 * range). *ret_command is set unless it is one of the first two. */
BATON_MUST_USE int matching_engine_command(uint16_t type, const void *body, uint32_t body_bytes,
                                           exchange_command *ret_command);
/* The same of what another service sends: a command, or a barrier. For its inlet. */
BATON_MUST_USE int matching_engine_linked(uint16_t effect_type, const void *payload,
                                          uint32_t payload_bytes);
