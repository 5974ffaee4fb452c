/* examples/exchange/gateway/gateway.h: clients in front, the order service behind, and nothing that must survive in between.
 * One thread, inside the loop's callbacks and gateway_turn. */
#pragma once

#include <stdbool.h>

#include <baton/metrics.h>

#include "examples/exchange/wire/loop.h"

#define GATEWAY_VERSION "1.0.0"

typedef struct gateway gateway;

typedef struct {
    const char *listen; /* for clients, as in wire/address.h */
    const char *admin;  /* for operators: unix:PATH, or on loopback; "": no such socket */
    const char *orders; /* the order service's --listen */
    uint32_t clients_max;
    uint32_t open_max;     /* commands of all clients that have no answer yet */
    uint64_t ask_again_ns; /* what has no answer for so long is sent again */
    baton_metrics *metrics;
} gateway_options;

/* Listens, and dials with the first turn. options' texts and metrics stay the caller's. */
BATON_MUST_USE int gateway_open(const gateway_options *options, wire_loop loop,
                                gateway **ret_gateway, baton_error *error);
void gateway_close(gateway *own); /* NULL is fine */
const char *gateway_address(const gateway *own);
const char *gateway_admin_address(const gateway *own); /* "" */
/* Once a turn of the loop, at least every 10 ms or so. */
void gateway_turn(gateway *own);

/* Nobody and nothing new comes in; what is open is still answered. */
void gateway_stop_intake(gateway *own);
bool gateway_all_answered(const gateway *own);

typedef struct {
    const char *upstream; /* "live", "dialing", "down" */
    bool stopping;
    uint64_t upstream_lives; /* how often it became live */
    uint32_t connections;
    uint32_t clients; /* remembered */
    uint32_t open;
} gateway_view;
gateway_view gateway_look(const gateway *own);
