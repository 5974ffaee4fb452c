/* examples/exchange/order-service/order_service.h: the order service as a Baton service: its state and the table
 * of functions. Nothing in here knows sockets; server.h feeds it. */
#pragma once

#include <baton/service.h>

#include "examples/exchange/clients/clients.h"
#include "examples/exchange/clients/sources.h"
#include "examples/exchange/order-service/orders.h"

extern const baton_service order_service;

/* Entry types. Payloads of commands are what clients sent (protocol.h); every type that
 * exchange_command_check knows is one. */
typedef enum {
    ENTRY_NEW_ORDER = EXCHANGE_NEW_ORDER,
    ENTRY_CANCEL = EXCHANGE_CANCEL,
    ENTRY_REDUCE = EXCHANGE_REDUCE,
    ENTRY_REPLACE = EXCHANGE_REPLACE,
    ENTRY_BARRIER = EXCHANGE_BARRIER,
    ENTRY_DEPOSIT = EXCHANGE_DEPOSIT, /* these four only pass through */
    ENTRY_WITHDRAW = EXCHANGE_WITHDRAW,
    ENTRY_KILL = EXCHANGE_KILL,
    ENTRY_LIMIT = EXCHANGE_LIMIT,
    ENTRY_LINKED = EXCHANGE_LINKED, /* exchange_linked, then a report or a barrier */
} order_service_entry;

/* Effect types and payloads. A command that goes on to the risk engine has its own type and body. */
typedef enum {
    /* exchange_ack, its seq 0: the effect's own seq is meant. Of a command that went no further. */
    EFFECT_ACK = 1,
    EFFECT_BARRIER = EXCHANGE_BARRIER,
    EFFECT_BARRIER_DONE =
        EXCHANGE_BARRIER_DONE, /* exchange_barrier, come back: to whoever asked for it */
} order_service_effect;

typedef struct {
    baton_arena *arena; /* all of it is there; NULL: on the heap */
    orders *orders;
    clients *clients;
    sources sources;
    uint64_t barrier_id;       /* of the last barrier */
    uint64_t barrier_seq;      /* the entry that it was: the cut of this service */
    uint64_t barrier_risk_seq; /* and of the others; 0 while it is under way */
    uint64_t barrier_matching_seq;
    uint32_t barrier_under_way; /* 1: it has not come back yet */
} order_service_state;

/* For the inlets: may it become an entry? 0, or a status. */
BATON_MUST_USE int order_service_linked(uint16_t effect_type, const void *payload,
                                        uint32_t payload_bytes);
