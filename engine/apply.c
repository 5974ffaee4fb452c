/* engine/apply.c: one entry through the service, and what becomes of its effects.
 *
 * The effect digest is a chain: each link is XXH3-128 over the link before, the effect's seq,
 * index, consumer, type and payload. Neither time nor epoch goes in, so the same inputs give the
 * same digest wherever they were cut. */
#include <assert.h>
#include <string.h>

#include <baton/wire.h>

#include "base/assert.h"
#include "engine/machine.h"

typedef struct {
    uint8_t previous[16];
    baton_le64 seq;
    baton_le32 index;
    baton_le32 consumer;
    baton_le32 payload_bytes;
    baton_le16 type;
    uint8_t zero[2];
} effect_link;

static_assert(sizeof(effect_link) == 40, "part of every effect digest ever stored");
static_assert(sizeof(effect_link) + BATON_EFFECT_BYTES_MAX <= sizeof(((baton_machine *)0)->scratch),
              "a link and the largest payload fit");

static void chain_effect(baton_machine *machine, const baton_effect *effect)
{
    effect_link link = {
        .seq = baton_le64_put(effect->seq),
        .index = baton_le32_put(effect->index),
        .consumer = baton_le32_put(effect->consumer),
        .payload_bytes = baton_le32_put(effect->payload_bytes),
        .type = baton_le16_put(effect->type),
    };
    memcpy(link.previous, machine->effect_digest.bytes, sizeof(link.previous));
    memcpy(machine->scratch, &link, sizeof(link));
    if (effect->payload_bytes > 0)
        memcpy(machine->scratch + sizeof(link), effect->payload, effect->payload_bytes);
    machine->effect_digest =
        baton_digest_of(machine->scratch, sizeof(link) + effect->payload_bytes);
    machine->effects_count++;
}

void baton_effect_emit(baton_effects *effects, uint32_t consumer, uint16_t type,
                       const void *payload, uint32_t payload_bytes)
{
    if (effects->error != 0)
        return;
    if (payload_bytes > BATON_EFFECT_BYTES_MAX || effects->index >= BATON_EFFECTS_PER_ENTRY_MAX) {
        effects->error = BATON_E_TOO_LARGE;
        return;
    }
    if (consumer > BATON_CONSUMERS_MAX) {
        effects->error = BATON_E_INVALID;
        return;
    }
    baton_machine *machine = effects->machine;
    baton_effect effect = {
        .epoch = effects->epoch,
        .seq = machine->seq,
        .index = effects->index++,
        .consumer = consumer,
        .type = type,
        .payload = payload,
        .payload_bytes = payload_bytes,
    };
    chain_effect(machine, &effect);
    if (machine->hold)
        effects->error = baton_effect_queue_push(&machine->held, &effect);
    if (effects->error == 0 && consumer != BATON_CONSUMER_NONE)
        effects->error = baton_outbox_add(&machine->outbox, &effect);
    if (machine->on_effect != NULL)
        machine->on_effect(machine->on_effect_context, &effect);
}

int baton_machine_apply(baton_machine *machine, const baton_entry *entry)
{
    baton_assert(entry->seq == machine->seq + 1); /* E3: the same entries in the same order */
    machine->seq = entry->seq;
    machine->time_ns = entry->time_ns;
    machine->effects = (baton_effects){.machine = machine, .epoch = entry->epoch};
    uint64_t begin_ns = 0;
    baton_type_rate *timed =
        machine->rates != NULL ? baton_rates_begin(machine->rates, entry->type, &begin_ns) : NULL;
    int r = machine->service->apply(machine->state, entry, &machine->effects);
    if (timed != NULL)
        baton_rates_end(machine->rates, timed, begin_ns);
    if (r == 0)
        r = machine->effects.error;
    return r > 0 ? BATON_E_REFUSED : r;
}
