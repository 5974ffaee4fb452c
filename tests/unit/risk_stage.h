/* tests/unit/risk_stage.h: the risk engine's state machine alone: commands and reports in, effects out. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/machine.h"
#include "examples/exchange/risk-engine/reconcile.h"
#include "examples/exchange/risk-engine/risk_engine.h"
#include "tests/unit/risk_mirrored.h"

enum { RISK_BASE = 1, RISK_QUOTE = 2, RISK_UNIT = 100, RISK_EFFECTS_MAX = 8 };

typedef struct {
    uint16_t type;
    uint32_t consumer;
    uint32_t bytes;
    uint8_t payload[BATON_EFFECT_BYTES_MAX];
} risk_effect;

typedef struct {
    baton_machine machine;
    const char *values[5]; /* pairs, orders-max, accounts-max, exposures-max, outbox */
    uint64_t key_seq[SOURCES_MAX + 1];
    uint64_t client_seq;    /* of the last command, whoever's */
    uint32_t effects_count; /* of the last entry */
    risk_effect effects[RISK_EFFECTS_MAX];
    risk_mirrored mirrored; /* what risk-mirror was told */
} risk_stage;

static inline void risk_on_effect(void *context, const baton_effect *effect)
{
    risk_stage *own = context;
    if (effect->consumer == EXCHANGE_RISK_MIRROR) {
        risk_mirrored_take(&own->mirrored, effect);
        return;
    }
    assert_true(own->effects_count < RISK_EFFECTS_MAX);
    risk_effect *seen = &own->effects[own->effects_count++];
    seen->type = effect->type;
    seen->consumer = effect->consumer;
    seen->bytes = effect->payload_bytes;
    memcpy(seen->payload, effect->payload, effect->payload_bytes);
}

static inline void risk_begin_with(risk_stage *own, const char *const values[5])
{
    *own = (risk_stage){.effects_count = 0};
    memcpy(own->values, values, sizeof(own->values));
    const baton_service_config config = {.values = own->values};
    baton_error error;
    assert_int_equal(baton_machine_init(&own->machine, &risk_engine_service, &config, &error), 0);
    own->machine.on_effect = risk_on_effect;
    own->machine.on_effect_context = own;
}

static inline void risk_begin(risk_stage *own, const char *pairs, const char *orders_max,
                              const char *accounts_max, const char *exposures_max)
{
    const char *const values[] = {pairs, orders_max, accounts_max, exposures_max, "none"};
    risk_begin_with(own, values);
}

static inline const risk_engine *risk_state(const risk_stage *own)
{
    return own->machine.state;
}

static inline baton_digest risk_digest(const risk_stage *own)
{
    baton_digest digest;
    assert_int_equal(baton_machine_digest(&own->machine, 1, &digest), 0);
    return digest;
}

/* An entry with this key. */
static inline int risk_hear(risk_stage *own, uint16_t source, uint64_t epoch, uint64_t key_seq,
                            uint16_t effect_type, const void *payload, size_t bytes)
{
    uint8_t body[sizeof(exchange_linked) + BATON_EFFECT_BYTES_MAX];
    const exchange_linked head = {
        .key = {.epoch = baton_le64_put(epoch), .seq = baton_le64_put(key_seq)},
        .source = baton_le16_put(source),
        .effect_type = baton_le16_put(effect_type)};
    memcpy(body, &head, sizeof(head));
    memcpy(body + sizeof(head), payload, bytes);
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = own->machine.time_ns + 1,
                               .type = EXCHANGE_LINKED,
                               .payload = body,
                               .payload_bytes = (uint32_t)(sizeof(head) + bytes)};
    own->effects_count = 0;
    return baton_machine_apply(&own->machine, &entry);
}

/* The next one of this source; then every unit must be where it belongs. */
static inline void risk_take(risk_stage *own, uint16_t source, uint16_t effect_type,
                             const void *payload, size_t bytes)
{
    assert_int_equal(risk_hear(own, source, 1, ++own->key_seq[source], effect_type, payload, bytes),
                     0);
    assert_int_equal(reconcile_full(own->machine.state), 0);
}

static inline exchange_command risk_name(uint64_t client, uint64_t seq)
{
    return (exchange_command){.client_id = baton_le64_put(client),
                              .client_seq = baton_le64_put(seq)};
}

/* EXCHANGE_PENDING: it went on to the matching engine, word for word. Else what the order service was told; then
 * nothing else has changed. */
static inline uint16_t risk_command(risk_stage *own, uint16_t type, const void *body, size_t bytes)
{
    risk_take(own, EXCHANGE_ORDER_SERVICE, type, body, bytes);
    assert_int_equal(own->effects_count, 1);
    const risk_effect *effect = &own->effects[0];
    if (effect->consumer == EXCHANGE_MATCHING_ENGINE) {
        assert_int_equal(effect->type, type);
        assert_int_equal(effect->bytes, bytes);
        assert_memory_equal(effect->payload, body, bytes);
        return EXCHANGE_PENDING;
    }
    exchange_report report;
    assert_int_equal(effect->consumer, EXCHANGE_ORDER_SERVICE);
    assert_int_equal(effect->type, EXCHANGE_REPORT);
    assert_int_equal(effect->bytes, sizeof(report));
    memcpy(&report, effect->payload, sizeof(report));
    assert_memory_equal(&report.command, body, sizeof(report.command));
    assert_int_equal(report.flags, EXCHANGE_REPORT_LAST);
    assert_int_equal(baton_le16_get(report.of_type), type);
    return baton_le16_get(report.outcome);
}

static inline uint16_t risk_transfer(risk_stage *own, uint16_t type, uint64_t client,
                                     uint32_t asset, uint64_t amount)
{
    const exchange_transfer body = {.command = risk_name(99, ++own->client_seq),
                                    .client_id = baton_le64_put(client),
                                    .amount = baton_le64_put(amount),
                                    .asset = baton_le32_put(asset)};
    return risk_command(own, type, &body, sizeof(body));
}

/* Its seq is own->client_seq afterwards. */
static inline uint16_t risk_place(risk_stage *own, uint64_t client, book_side side, int64_t price,
                                  uint64_t size)
{
    const exchange_new_order body = {.command = risk_name(client, ++own->client_seq),
                                     .price = baton_le64_put((uint64_t)price),
                                     .size = baton_le64_put(size),
                                     .side = (uint8_t)side};
    return risk_command(own, EXCHANGE_NEW_ORDER, &body, sizeof(body));
}

static inline uint16_t risk_replace(risk_stage *own, uint64_t client, uint64_t order_seq,
                                    int64_t price, uint64_t size)
{
    const exchange_replace body = {.command = risk_name(client, ++own->client_seq),
                                   .order_seq = baton_le64_put(order_seq),
                                   .price = baton_le64_put((uint64_t)price),
                                   .size = baton_le64_put(size)};
    return risk_command(own, EXCHANGE_REPLACE, &body, sizeof(body));
}

static inline void risk_expect(const risk_stage *own, uint64_t client, uint32_t asset,
                               uint64_t available, uint64_t held)
{
    ledger_balance found = {0};
    assert_true(ledger_find(risk_state(own)->ledger, (ledger_account){client, asset}, &found));
    assert_int_equal(found.available, available);
    assert_int_equal(found.held, held);
}
