/* tests/sim/handover/service.c: takes orders of clients in, each once and in its client's order, and
 * acks what is durable. An order that had been taken in is an entry too, and changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/handover/handover_run.h"

enum { ENTRY_ORDER = 1, EFFECT_ACK = 1 };

/* ---- the state ---- */

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    (void)config;
    (void)error;
    *ret_state = calloc(1, sizeof(sim_state));
    return *ret_state != NULL ? 0 : -ENOMEM;
}

static int apply(void *opaque, const baton_entry *entry, baton_effects *effects)
{
    sim_state *state = opaque;
    sim_order order;
    const sim_life *life = life_current();
    if (entry->payload_bytes != sizeof(order))
        return BATON_E_INVALID;
    memcpy(&order, entry->payload, sizeof(order));
    const uint32_t client = baton_le32_get(order.client) % CLIENTS;
    const bool is_new = baton_le64_get(order.client_seq) == state->last[client] + 1;
    if (is_new) {
        state->last[client]++;
        state->accepted++;
        state->chain = baton_digest_chain(state->chain, &order, sizeof(order));
        /* Only while it follows: one that agreed at its handover, and then serves otherwise, nobody can tell. */
        if (life != NULL && life->diverges && life->actions != NULL && life->engine == NULL &&
            baton_le32_get(order.value) % 32 == 0)
            state->chain.bytes[3] ^= 1;
    }
    const sim_ack ack = {
        .client = baton_le32_put(client),
        .accepted = baton_le32_put(is_new),
        .client_seq = baton_le64_put(state->last[client]),
        .chain = state->chain,
    };
    baton_effect_emit(effects, BATON_CONSUMER_NONE, EFFECT_ACK, &ack, sizeof(ack));
    return 0;
}

static int digest(const void *opaque, uint32_t schema, baton_digest *ret_digest)
{
    (void)schema;
    *ret_digest = baton_digest_of(opaque, sizeof(sim_state));
    return 0;
}

static int snapshot(const void *opaque, uint32_t schema, baton_snapshot_writer *writer)
{
    (void)schema;
    baton_pack_section(writer, "all");
    baton_pack_row(writer, 1);
    baton_pack_bytes(writer, opaque, sizeof(sim_state));
    return 0;
}

static int restore(void *opaque, uint32_t schema, baton_snapshot_reader *reader)
{
    uint32_t fields_count, bytes;
    const void *all;
    (void)schema;
    int r = baton_unpack_section(reader, "all");
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        r = baton_unpack_bytes(reader, &all, &bytes);
        if (r == 0 && bytes != sizeof(sim_state))
            r = BATON_E_SCHEMA;
        if (r == 0)
            memcpy(opaque, all, bytes);
    }
    return r;
}

static const baton_entry_type types[] = {{ENTRY_ORDER, 1}};

const baton_service sim_service = {
    .name = "simulated",
    .version = "1.0.0",
    .schema = {.write = 1, .read_min = 1},
    .entry_types = types,
    .entry_types_count = 1,
    .create = create,
    .destroy = free,
    .apply = apply,
    .digest = digest,
    .snapshot = snapshot,
    .restore = restore,
};

sim_order sim_order_of(const world *w, uint32_t client, uint64_t client_seq)
{
    sim_random random = {.state = w->options.seed << 32 ^ client << 24 ^ client_seq};
    return (sim_order){
        .client = baton_le32_put(client),
        .value = baton_le32_put((uint32_t)(sim_random_next(&random) >> 40)),
        .client_seq = baton_le64_put(client_seq),
    };
}

/* ---- the program ---- */

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    sim_life *life = context;
    (void)values;
    (void)error;
    life->engine = engine;
    life->intake = true;
    life->inbox_first = life->inbox_count = 0;
    judge_serves(life);
    return 0;
}

static void release(void *context, const baton_effect *effect)
{
    sim_life *life = context;
    sim_ack ack;
    if (life_is_dead(life))
        return;
    if (!judge_release(life, effect))
        return;
    memcpy(&ack, effect->payload, sizeof(ack));
    clients_ack(life, baton_le32_get(ack.client), baton_le64_get(ack.client_seq));
}

/* What a client sent twice, or out of its turn, is seen by apply. */
static void turn(void *context)
{
    sim_life *life = context;
    while (life->intake && life->inbox_count > 0 && !life_is_dead(life)) {
        const inbox_order *next = &life->inbox[life->inbox_first % INBOX_MAX];
        const sim_order order = sim_order_of(life->w, next->client, next->client_seq);
        uint64_t seq;
        const int r = baton_engine_submit(life->engine, ENTRY_ORDER, &order, sizeof(order), &seq);
        if (r < 0)
            return;
        life->inbox_first++;
        life->inbox_count--;
    }
}

static void pause_intake(void *context)
{
    sim_life *life = context;
    life->intake = false;
}

static void resume_intake(void *context)
{
    sim_life *life = context;
    life->intake = true;
    judge_serves(life);
}

static void reached(void *context, const char *step)
{
    sim_life *life = context;
    (void)snprintf(life->step, sizeof(life->step), "%s", step);
    if (!life_is_dead(life))
        world_step_reached(life, step);
}

static void stop(void *context)
{
    sim_life *life = context;
    life->engine = NULL;
    life->intake = false;
}

const baton_program sim_program = {
    .start = start,
    .release = release,
    .turn = turn,
    .stop_intake = pause_intake,
    .pause_intake = pause_intake,
    .resume_intake = resume_intake,
    .reached = reached,
    .stop = stop,
};
