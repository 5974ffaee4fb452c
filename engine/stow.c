/* engine/stow.c: see stow.h. The numbers stand as this machine has them: an image is loaded only by
 * a build whose layout digest fits, and that covers the machine's kind. */
#include "engine/stow.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define STOW_MAGIC   "BATONST" /* with its terminator */
#define STOW_VERSION 1u
#define STOW_ALIGN   8u

typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint64_t index;
} stow_key;

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t consumers; /* of confirmed[] */
    uint64_t bytes;     /* of the whole block */
    void *state;
    uint64_t effects_count;
    uint64_t outbox_count; /* effects behind it, as the consumers are numbered, the oldest first */
    stow_key confirmed[BATON_CONSUMERS_MAX];
} stow_head;
static_assert(sizeof(stow_head) == 48 + 24 * BATON_CONSUMERS_MAX, "stow version 1");

typedef struct {
    stow_key key;
    uint32_t consumer;
    uint32_t type;
    uint32_t payload_bytes; /* follow, then up to 7 zeros */
    uint32_t zero;
} stow_effect;
static_assert(sizeof(stow_effect) == 40, "stow version 1");

static uint64_t padded(uint32_t payload_bytes)
{
    return ((uint64_t)payload_bytes + STOW_ALIGN - 1) & ~(uint64_t)(STOW_ALIGN - 1);
}

static uint64_t effect_bytes(const baton_effect *effect)
{
    return sizeof(stow_effect) + padded(effect->payload_bytes);
}

/* ---- in ---- */

/* Confirmed during a resend, trimmed after it: not kept any more. */
static bool is_kept(const baton_outbox_consumer *consumer, const baton_effect *effect)
{
    return effect->seq > consumer->confirmed.seq ||
           (effect->seq == consumer->confirmed.seq && effect->index > consumer->confirmed.index);
}

static uint64_t bytes_needed(const baton_outbox *outbox, uint64_t *ret_count)
{
    uint64_t bytes = sizeof(stow_head);
    *ret_count = 0;
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_outbox_consumer *consumer = &outbox->consumers[i];
        baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
        baton_effect effect;
        while (baton_effect_queue_next(&cursor, &effect)) {
            if (!is_kept(consumer, &effect))
                continue;
            bytes += effect_bytes(&effect);
            ++*ret_count;
        }
    }
    return bytes;
}

static uint8_t *put_effect(uint8_t *at, const baton_effect *effect)
{
    const stow_effect row = {
        .key = {.epoch = effect->epoch, .seq = effect->seq, .index = effect->index},
        .consumer = effect->consumer,
        .type = effect->type,
        .payload_bytes = effect->payload_bytes,
    };
    memcpy(at, &row, sizeof(row));
    memset(at + sizeof(row), 0, padded(effect->payload_bytes));
    if (effect->payload_bytes > 0)
        memcpy(at + sizeof(row), effect->payload, effect->payload_bytes);
    return at + effect_bytes(effect);
}

static uint8_t *put_outbox(uint8_t *at, const baton_outbox *outbox)
{
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_outbox_consumer *consumer = &outbox->consumers[i];
        baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
        baton_effect effect;
        while (baton_effect_queue_next(&cursor, &effect)) {
            effect.consumer = i + 1;
            if (is_kept(consumer, &effect))
                at = put_effect(at, &effect);
        }
    }
    return at;
}

int baton_machine_stow(baton_machine *machine, baton_error *error)
{
    uint64_t count;
    const uint64_t bytes = bytes_needed(&machine->outbox, &count);
    uint8_t *block = baton_arena_bytes_unset(machine->arena, bytes, STOW_ALIGN);
    if (block == NULL)
        return baton_error_setf(error, baton_arena_refusal(machine->arena), "take an image",
                                "raise --arena-size, or let the consumers confirm",
                                "the arena has no room for the %llu bytes of the outbox",
                                (unsigned long long)bytes);
    stow_head head = {
        .magic = STOW_MAGIC,
        .version = STOW_VERSION,
        .consumers = BATON_CONSUMERS_MAX,
        .bytes = bytes,
        .state = machine->state,
        .effects_count = machine->effects_count,
        .outbox_count = count,
    };
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_effect_key *key = &machine->outbox.consumers[i].confirmed;
        head.confirmed[i] = (stow_key){.epoch = key->epoch, .seq = key->seq, .index = key->index};
    }
    memcpy(block, &head, sizeof(head));
    const uint8_t *end = put_outbox(block + sizeof(head), &machine->outbox);
    baton_assert(end == block + bytes);
    baton_arena_set_root(machine->arena, block);
    return 0;
}

void baton_machine_unstow(baton_machine *machine)
{
    void *block = baton_arena_root(machine->arena);
    baton_assert(block != machine->state);
    baton_arena_set_root(machine->arena, machine->state);
    baton_arena_free(machine->arena, block);
}

/* ---- out ---- */

static int is_damaged(baton_error *error, const char *why)
{
    return baton_error_set(error, BATON_E_DAMAGED, "load an image", why, "use an older snapshot");
}

/* Do these bytes lie in the arena, all of them? */
static bool lies_inside(const baton_arena *arena, const void *pointer, uint64_t bytes)
{
    const baton_arena_range used = baton_arena_used(arena);
    return baton_arena_holds(arena, pointer) &&
           bytes <= used.bytes_count - ((uintptr_t)pointer - (uintptr_t)used.base);
}

static int check_head(const baton_machine *machine, const stow_head *head, baton_error *error)
{
    if (!lies_inside(machine->arena, head, sizeof(*head)) ||
        memcmp(head->magic, STOW_MAGIC, sizeof(head->magic)) != 0)
        return is_damaged(error, "the engine's own share is not in it");
    if (head->version != STOW_VERSION)
        return baton_error_setf(error, BATON_E_NEWER_FORMAT, "load an image",
                                "use a snapshot in the portable form",
                                "the engine's own share has version %u, this build reads %u",
                                head->version, STOW_VERSION);
    if (head->consumers != BATON_CONSUMERS_MAX || head->bytes < sizeof(*head) ||
        !lies_inside(machine->arena, head, head->bytes) ||
        !baton_arena_holds(machine->arena, head->state))
        return is_damaged(error, "the engine's own share has impossible numbers");
    return 0;
}

static int take_effect(baton_outbox *outbox, const uint8_t **at, const uint8_t *end,
                       baton_error *error)
{
    static const char *const why = "an effect in the outbox is none";
    stow_effect row;
    if ((size_t)(end - *at) < sizeof(row))
        return is_damaged(error, why);
    memcpy(&row, *at, sizeof(row));
    if (row.consumer < 1 || row.consumer > BATON_CONSUMERS_MAX || row.key.seq == 0 ||
        row.key.index > UINT32_MAX || row.type > UINT16_MAX ||
        row.payload_bytes > BATON_EFFECT_BYTES_MAX ||
        (size_t)(end - *at) < sizeof(row) + padded(row.payload_bytes))
        return is_damaged(error, why);
    int r = baton_outbox_put_back(outbox, &(baton_effect){.epoch = row.key.epoch,
                                                          .seq = row.key.seq,
                                                          .index = (uint32_t)row.key.index,
                                                          .consumer = row.consumer,
                                                          .type = (uint16_t)row.type,
                                                          .payload = *at + sizeof(row),
                                                          .payload_bytes = row.payload_bytes});
    if (r == BATON_E_SCHEMA)
        return is_damaged(error, "the effects in the outbox are not in their order");
    if (r < 0)
        return baton_error_set(error, r, "load an image", NULL, "free memory");
    *at += sizeof(row) + padded(row.payload_bytes);
    return 0;
}

int baton_machine_take_stowed(baton_machine *machine, baton_error *error)
{
    const stow_head *head = baton_arena_root(machine->arena);
    int r = check_head(machine, head, error);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const stow_key *key = &head->confirmed[i];
        if (key->index > UINT32_MAX)
            return is_damaged(error, "a confirmation is none");
        machine->outbox.consumers[i].confirmed =
            (baton_effect_key){.epoch = key->epoch, .seq = key->seq, .index = (uint32_t)key->index};
    }
    const uint8_t *at = (const uint8_t *)(head + 1);
    const uint8_t *end = (const uint8_t *)head + head->bytes;
    for (uint64_t i = 0; r == 0 && i < head->outbox_count; i++)
        r = take_effect(&machine->outbox, &at, end, error);
    if (r == 0 && at != end)
        r = is_damaged(error, "there is more behind the outbox");
    if (r < 0)
        return r;
    machine->effects_count = head->effects_count;
    machine->state = head->state;
    baton_machine_unstow(machine);
    return 0;
}
