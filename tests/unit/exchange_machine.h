/* tests/unit/exchange_machine.h: the matching engine's state machine alone: commands in, effects
 * out, no journal. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/machine.h"
#include "examples/exchange/matching-engine/matching_engine.h"

enum { MACHINE_EFFECTS_MAX = 4096 };

typedef struct {
    uint16_t type;
    uint32_t consumer;
    uint32_t payload_bytes;
    uint8_t payload[BATON_EFFECT_BYTES_MAX];
} machine_effect;

typedef struct {
    baton_machine machine;
    const char *values[6];  /* orders-max, levels-max, clients-max, outbox, symbols, self-trade */
    uint32_t effects_count; /* of the last command */
    machine_effect *effects;
} exchange_machine;

typedef struct {
    const char *orders_max;  /* NULL: the default of the service */
    const char *clients_max; /* NULL: the default of the service */
    const char *outbox;      /* NULL: none */
    const char *symbols;
    const char *self_trade;
} machine_wish;

void machine_make(exchange_machine *own, machine_wish wish);
void machine_end(exchange_machine *own);
matching_engine *machine_state(const exchange_machine *own);

/* Apply; returns what apply returned. */
int machine_apply(exchange_machine *own, uint16_t type, const void *payload, size_t payload_bytes);
int machine_tick(exchange_machine *own, uint64_t time_ns);
/* Must succeed; the ACK among its effects, which must be the last one and the only one. */
exchange_ack machine_ack(exchange_machine *own, uint16_t type, const void *payload,
                         size_t payload_bytes);
uint16_t machine_outcome(exchange_machine *own, uint16_t type, const void *payload,
                         size_t payload_bytes);
#define MACHINE_ACK(own, type, body)     machine_ack((own), (type), &(body), sizeof(body))
#define MACHINE_OUTCOME(own, type, body) machine_outcome((own), (type), &(body), sizeof(body))

exchange_new_order order_of(uint64_t client_id, uint64_t client_seq, book_side side, int64_t price,
                            uint64_t size);
exchange_cancel cancel_of(uint64_t client_id, uint64_t client_seq, uint64_t order_seq);
exchange_reduce reduce_of(uint64_t client_id, uint64_t client_seq, uint64_t order_seq,
                          uint64_t by_size);
exchange_switch switch_of(uint64_t client_id, uint64_t client_seq, uint32_t features);
baton_digest machine_digest(const exchange_machine *own, uint32_t schema);
