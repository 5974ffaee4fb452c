#include "tests/unit/exchange_machine.h"

#include <stdlib.h>
#include <string.h>

static void on_effect(void *context, const baton_effect *effect)
{
    exchange_machine *own = context;
    assert_true(own->effects_count < MACHINE_EFFECTS_MAX);
    machine_effect *kept = &own->effects[own->effects_count++];
    kept->type = effect->type;
    kept->consumer = effect->consumer;
    kept->payload_bytes = effect->payload_bytes;
    memcpy(kept->payload, effect->payload, effect->payload_bytes);
}

void machine_make(exchange_machine *own, machine_wish wish)
{
    const baton_service *service = &matching_engine_service;
    baton_error error = {0};
    memset(own, 0, sizeof(*own));
    assert_int_equal(service->options_count, 6);
    for (uint32_t i = 0; i < 6; i++)
        own->values[i] = service->options[i].default_value;
    if (wish.orders_max)
        own->values[0] = wish.orders_max;
    if (wish.clients_max)
        own->values[2] = wish.clients_max;
    if (wish.outbox)
        own->values[3] = wish.outbox;
    if (wish.symbols)
        own->values[4] = wish.symbols;
    if (wish.self_trade)
        own->values[5] = wish.self_trade;
    own->effects = calloc(MACHINE_EFFECTS_MAX, sizeof(*own->effects));
    assert_non_null(own->effects);
    const baton_service_config config = {.values = own->values};
    assert_int_equal(baton_machine_init(&own->machine, service, &config, &error), 0);
    own->machine.on_effect = on_effect;
    own->machine.on_effect_context = own;
}

void machine_end(exchange_machine *own)
{
    baton_machine_fini(&own->machine);
    free(own->effects);
}

matching_engine *machine_state(const exchange_machine *own)
{
    return own->machine.state;
}

static int apply_at(exchange_machine *own, uint16_t type, const void *payload, size_t payload_bytes,
                    uint64_t time_ns)
{
    own->effects_count = 0;
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = time_ns,
                               .type = type,
                               .payload = payload,
                               .payload_bytes = (uint32_t)payload_bytes};
    return baton_machine_apply(&own->machine, &entry);
}

int machine_apply(exchange_machine *own, uint16_t type, const void *payload, size_t payload_bytes)
{
    return apply_at(own, type, payload, payload_bytes, own->machine.time_ns + 1);
}

int machine_tick(exchange_machine *own, uint64_t time_ns)
{
    return apply_at(own, ENTRY_TICK, "", 0, time_ns);
}

exchange_ack machine_ack(exchange_machine *own, uint16_t type, const void *payload,
                         size_t payload_bytes)
{
    exchange_ack ack;
    assert_int_equal(machine_apply(own, type, payload, payload_bytes), 0);
    assert_true(own->effects_count >= 1);
    for (uint32_t i = 0; i < own->effects_count; i++)
        assert_int_equal(own->effects[i].type == EFFECT_ACK, i == own->effects_count - 1);
    const machine_effect *last = &own->effects[own->effects_count - 1];
    assert_int_equal(last->payload_bytes, sizeof(ack));
    memcpy(&ack, last->payload, sizeof(ack));
    assert_memory_equal(&ack.command, payload, sizeof(ack.command));
    assert_int_equal(baton_le16_get(ack.of_type), type);
    return ack;
}

uint16_t machine_outcome(exchange_machine *own, uint16_t type, const void *payload,
                         size_t payload_bytes)
{
    exchange_ack ack = machine_ack(own, type, payload, payload_bytes);
    return baton_le16_get(ack.outcome);
}

static exchange_command command_of(uint64_t client_id, uint64_t client_seq)
{
    exchange_command command = {.client_id = baton_le64_put(client_id),
                                .client_seq = baton_le64_put(client_seq)};
    return command;
}

exchange_new_order order_of(uint64_t client_id, uint64_t client_seq, book_side side, int64_t price,
                            uint64_t size)
{
    return (exchange_new_order){.command = command_of(client_id, client_seq),
                                .price = baton_le64_put((uint64_t)price),
                                .size = baton_le64_put(size),
                                .side = (uint8_t)side,
                                .time_in_force = BOOK_GTC};
}

exchange_cancel cancel_of(uint64_t client_id, uint64_t client_seq, uint64_t order_seq)
{
    return (exchange_cancel){.command = command_of(client_id, client_seq),
                             .order_seq = baton_le64_put(order_seq)};
}

exchange_reduce reduce_of(uint64_t client_id, uint64_t client_seq, uint64_t order_seq,
                          uint64_t by_size)
{
    return (exchange_reduce){.command = command_of(client_id, client_seq),
                             .order_seq = baton_le64_put(order_seq),
                             .by_size = baton_le64_put(by_size)};
}

exchange_switch switch_of(uint64_t client_id, uint64_t client_seq, uint32_t features)
{
    return (exchange_switch){.command = command_of(client_id, client_seq),
                             .features = baton_le32_put(features)};
}

baton_digest machine_digest(const exchange_machine *own, uint32_t schema)
{
    baton_digest digest;
    assert_int_equal(baton_machine_digest(&own->machine, schema, &digest), 0);
    return digest;
}
