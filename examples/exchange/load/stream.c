#include "examples/exchange/load/stream.h"

#include <stdlib.h>

enum { CLOCK_EVERY_NS = 10000000, CAPACITY_FIRST = 1 << 16 };

static uint16_t body_bytes_of(uint16_t type)
{
    switch (type) {
    case EXCHANGE_NEW_ORDER:
        return sizeof(exchange_new_order);
    case EXCHANGE_CANCEL:
        return sizeof(exchange_cancel);
    case EXCHANGE_REDUCE:
        return sizeof(exchange_reduce);
    case EXCHANGE_REPLACE:
        return sizeof(exchange_replace);
    case EXCHANGE_DEPOSIT:
        return sizeof(exchange_transfer);
    default:
        return sizeof(exchange_clock);
    }
}

static load_command *append_one(stream_builder *builder, uint64_t intended_ns, uint16_t type,
                                uint64_t client_id)
{
    if (builder->count == builder->capacity) {
        uint32_t capacity = builder->capacity ? builder->capacity * 2 : CAPACITY_FIRST;
        if (builder->count >= LOAD_COMMANDS_MAX)
            return NULL;
        load_command *grown = realloc(builder->commands, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        builder->commands = grown;
        builder->capacity = capacity;
    }
    load_command *made = &builder->commands[builder->count++];
    *made =
        (load_command){.intended_ns = intended_ns, .type = type, .body_bytes = body_bytes_of(type)};
    made->body.command = (exchange_command){.client_id = baton_le64_put(client_id),
                                            .client_seq = baton_le64_put(builder->count)};
    return made;
}

load_command *stream_append(stream_builder *builder, uint64_t intended_ns, uint16_t type,
                            uint64_t client_id)
{
    while (builder->virtual_time && builder->clock_due_ns <= intended_ns) {
        uint64_t due_ns = builder->clock_due_ns;
        load_command *clock = append_one(builder, due_ns, EXCHANGE_CLOCK, LOAD_CLOCK_CLIENT);
        if (!clock)
            return NULL;
        clock->body.clock.now_ns = baton_le64_put(due_ns);
        /* In a long silence one CLOCK says it all. */
        builder->clock_due_ns = intended_ns - due_ns > 100 * (uint64_t)CLOCK_EVERY_NS
                                    ? intended_ns
                                    : due_ns + CLOCK_EVERY_NS;
    }
    return append_one(builder, intended_ns, type, client_id);
}

/* Recorded flow has two more clients: one for the book that it begins with, one that takes. */
static uint32_t clients_of(const stream_options *options)
{
    return options->clients + (options->lobster ? 2 : 0);
}

uint32_t stream_deposits_count(const stream_options *options)
{
    return options->deposits.amount != 0 ? clients_of(options) * options->deposits.assets_count : 0;
}

bool stream_append_deposits(stream_builder *builder, const stream_options *options)
{
    const stream_deposits *wish = &options->deposits;
    const uint32_t count = stream_deposits_count(options);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t client_id = options->clients_before + 1u + i / wish->assets_count;
        const uint64_t due_ns = (uint64_t)(i / options->rate * 1e9);
        load_command *made = append_one(builder, due_ns, EXCHANGE_DEPOSIT, client_id);
        if (!made)
            return false;
        made->body.deposit.client_id = baton_le64_put(client_id);
        made->body.deposit.amount = baton_le64_put(wish->amount);
        made->body.deposit.asset = baton_le32_put(wish->assets[i % wish->assets_count]);
    }
    return true;
}

uint64_t stream_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
