/* examples/exchange/matching-engine/matching_engine.h: the matching engine as a Baton service:
 * its state and the table of functions. Nothing in here knows sockets; server.h feeds it. */
#pragma once

#include <baton/service.h>

#include "examples/exchange/book/book.h"
#include "examples/exchange/clients/clients.h"

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
    ENTRY_TICK = 32,
} matching_engine_entry;

/* Effect types and payloads. */
typedef enum {
    EFFECT_ACK = 1, /* exchange_ack, its seq 0: the effect's own seq is meant */
    EFFECT_TRADES =
        2, /* exchange_trade, one or more; to MATCHING_ENGINE_FEED when trades are kept for it */
    EFFECT_EXPIRED = 3, /* exchange_expired, one or more */
} matching_engine_effect;

#define MATCHING_ENGINE_ORDERS_MAX 3000000u /* the largest --orders-max: apply.c says why */
#define MATCHING_ENGINE_FEED       5u       /* EXCHANGE_MARKET_DATA */

typedef struct {
    baton_arena *arena; /* all of it is there; NULL: on the heap */
    order_book *book;
    clients *clients;
    uint32_t features;      /* exchange_switch.features */
    uint32_t feed_consumer; /* MATCHING_ENGINE_FEED or BATON_CONSUMER_NONE */
} matching_engine;

/* Is it a well-formed command of this type, and in range? 0, BATON_E_UNKNOWN_TYPE (no command),
 * BATON_E_INVALID (wrong size, non-zero padding), BATON_E_TOO_LARGE (client id or seq out of
 * range). *ret_command is set unless it is one of the first two. */
BATON_MUST_USE int matching_engine_command(uint16_t type, const void *body, uint32_t body_bytes,
                                           exchange_command *ret_command);
