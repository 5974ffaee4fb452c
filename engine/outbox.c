/* engine/outbox.c: kept effects, one queue per consumer. */
#include "engine/outbox.h"

#include "base/assert.h"

#define CONFIRMED_FIELDS 4u /* consumer, epoch, seq, index */
#define OUTBOX_FIELDS    6u /* consumer, epoch, seq, index, type, payload */

static int key_compare(baton_effect_key a, baton_effect_key b)
{
    if (a.seq != b.seq)
        return a.seq < b.seq ? -1 : 1;
    if (a.index != b.index)
        return a.index < b.index ? -1 : 1;
    return 0;
}

static baton_effect_key key_of(const baton_effect *effect)
{
    return (baton_effect_key){.epoch = effect->epoch, .seq = effect->seq, .index = effect->index};
}

/* Key (seq 0) stands before every effect: entries begin at 1. */
static bool key_is_none(baton_effect_key key)
{
    return key.seq == 0;
}

static bool known_consumer(uint32_t consumer)
{
    return consumer >= 1 && consumer <= BATON_CONSUMERS_MAX;
}

void baton_outbox_fini(baton_outbox *outbox)
{
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++)
        baton_effect_queue_fini(&outbox->consumers[i].queue);
    *outbox = (baton_outbox){0};
}

int baton_outbox_add(baton_outbox *outbox, const baton_effect *effect)
{
    baton_assert(known_consumer(effect->consumer));
    baton_effect_queue *queue = &outbox->consumers[effect->consumer - 1].queue;
    uint64_t bytes_before = queue->bytes;
    int r = baton_effect_queue_push(queue, effect);
    if (r < 0)
        return r;
    outbox->count++;
    outbox->bytes += queue->bytes - bytes_before;
    return 0;
}

void baton_outbox_note_released(baton_outbox *outbox, const baton_effect *effect)
{
    if (known_consumer(effect->consumer))
        outbox->consumers[effect->consumer - 1].released = key_of(effect);
}

void baton_outbox_all_released(baton_outbox *outbox)
{
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        baton_outbox_consumer *consumer = &outbox->consumers[i];
        baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
        baton_effect effect;
        while (consumer->queue.count > 0 && baton_effect_queue_next(&cursor, &effect))
            consumer->released = key_of(&effect);
    }
}

int baton_outbox_check(const baton_outbox *outbox, uint32_t consumer_number, baton_effect_key key)
{
    if (!known_consumer(consumer_number) || key_is_none(key))
        return BATON_E_INVALID;
    const baton_outbox_consumer *consumer = &outbox->consumers[consumer_number - 1];
    if (key_compare(key, consumer->confirmed) <= 0)
        return 0;
    if (key_compare(key, consumer->released) > 0)
        return BATON_E_INVALID;

    baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
    baton_effect effect;
    while (baton_effect_queue_next(&cursor, &effect)) {
        int order = key_compare(key_of(&effect), key);
        if (order == 0)
            return effect.epoch == key.epoch ? 1 : BATON_E_INVALID;
        if (order > 0)
            break;
    }
    return BATON_E_INVALID;
}

static void trim(baton_outbox *outbox, baton_outbox_consumer *consumer)
{
    baton_effect effect;
    while (baton_effect_queue_front(&consumer->queue, &effect) &&
           key_compare(key_of(&effect), consumer->confirmed) <= 0) {
        uint64_t bytes_before = consumer->queue.bytes;
        baton_effect_queue_pop(&consumer->queue);
        outbox->count--;
        outbox->bytes -= bytes_before - consumer->queue.bytes;
    }
}

void baton_outbox_confirm(baton_outbox *outbox, uint32_t consumer_number, baton_effect_key key)
{
    baton_assert(known_consumer(consumer_number));
    baton_outbox_consumer *consumer = &outbox->consumers[consumer_number - 1];
    if (key_compare(key, consumer->confirmed) <= 0)
        return;
    consumer->confirmed = key;
    if (outbox->resending == 0)
        trim(outbox, consumer);
}

/* visit may confirm: what it confirms is trimmed when no walk is left. */
int baton_outbox_resend(baton_outbox *outbox, uint32_t consumer_number,
                        int (*visit)(void *context, const baton_effect *effect), void *context)
{
    if (!known_consumer(consumer_number))
        return BATON_E_INVALID;
    baton_outbox_consumer *consumer = &outbox->consumers[consumer_number - 1];
    const baton_effect_key last = consumer->released;
    if (consumer->queue.count == 0)
        return 0;

    int r = 0;
    baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
    baton_effect effect;
    outbox->resending++;
    while (r == 0 && baton_effect_queue_next(&cursor, &effect)) {
        if (key_compare(key_of(&effect), last) > 0)
            break;
        if (key_compare(key_of(&effect), consumer->confirmed) <= 0)
            continue;
        effect.resent = true;
        r = visit(context, &effect);
    }
    outbox->resending--;
    for (uint32_t i = 0; outbox->resending == 0 && i < BATON_CONSUMERS_MAX; i++)
        trim(outbox, &outbox->consumers[i]);
    return r;
}

/* ---- with a snapshot ---- */

void baton_outbox_pack(const baton_outbox *outbox, baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "baton.confirmed");
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_outbox_consumer *consumer = &outbox->consumers[i];
        if (key_is_none(consumer->confirmed))
            continue;
        baton_pack_row(writer, CONFIRMED_FIELDS);
        baton_pack_uint(writer, i + 1);
        baton_pack_uint(writer, consumer->confirmed.epoch);
        baton_pack_uint(writer, consumer->confirmed.seq);
        baton_pack_uint(writer, consumer->confirmed.index);
    }

    baton_pack_section(writer, "baton.outbox");
    for (uint32_t i = 0; i < BATON_CONSUMERS_MAX; i++) {
        const baton_outbox_consumer *consumer = &outbox->consumers[i];
        baton_effect_cursor cursor = baton_effect_queue_begin(&consumer->queue);
        baton_effect effect;
        while (baton_effect_queue_next(&cursor, &effect)) {
            if (key_compare(key_of(&effect), consumer->confirmed) <= 0)
                continue; /* confirmed during a resend, trimmed after it */
            baton_pack_row(writer, OUTBOX_FIELDS);
            baton_pack_uint(writer, i + 1);
            baton_pack_uint(writer, effect.epoch);
            baton_pack_uint(writer, effect.seq);
            baton_pack_uint(writer, effect.index);
            baton_pack_uint(writer, effect.type);
            baton_pack_bytes(writer, effect.payload, effect.payload_bytes);
        }
    }
}

/* consumer, epoch, seq, index: how rows of both sections begin. */
static int unpack_key(baton_snapshot_reader *reader, uint32_t *ret_consumer,
                      baton_effect_key *ret_key)
{
    uint64_t field[4];
    for (uint32_t i = 0; i < 4; i++) {
        int r = baton_unpack_uint(reader, &field[i]);
        if (r < 0)
            return r;
    }
    if (field[0] < 1 || field[0] > BATON_CONSUMERS_MAX || field[2] == 0 || field[3] > UINT32_MAX)
        return BATON_E_SCHEMA;
    *ret_consumer = (uint32_t)field[0];
    *ret_key = (baton_effect_key){.epoch = field[1], .seq = field[2], .index = (uint32_t)field[3]};
    return 0;
}

static int unpack_confirmed(baton_outbox *outbox, baton_snapshot_reader *reader)
{
    int r = baton_unpack_section(reader, "baton.confirmed");
    uint32_t fields_count;
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        uint32_t consumer;
        baton_effect_key key;
        if (fields_count != CONFIRMED_FIELDS)
            return BATON_E_SCHEMA;
        r = unpack_key(reader, &consumer, &key);
        if (r == 0)
            outbox->consumers[consumer - 1].confirmed = key;
    }
    return r;
}

int baton_outbox_put_back(baton_outbox *outbox, const baton_effect *effect)
{
    baton_assert(known_consumer(effect->consumer));
    baton_outbox_consumer *to = &outbox->consumers[effect->consumer - 1];
    const baton_effect_key key = key_of(effect);
    if (key_compare(key, to->confirmed) <= 0 || key_compare(key, to->released) <= 0)
        return BATON_E_SCHEMA; /* never packed so: they come in order */
    to->released = key;
    return baton_outbox_add(outbox, effect);
}

static int unpack_effect(baton_outbox *outbox, baton_snapshot_reader *reader)
{
    uint32_t consumer;
    baton_effect_key key;
    uint64_t type;
    const void *payload;
    uint32_t payload_bytes;

    int r = unpack_key(reader, &consumer, &key);
    if (r == 0)
        r = baton_unpack_uint(reader, &type);
    if (r == 0)
        r = baton_unpack_bytes(reader, &payload, &payload_bytes);
    if (r < 0)
        return r;
    if (type > UINT16_MAX || payload_bytes > BATON_EFFECT_BYTES_MAX)
        return BATON_E_SCHEMA;
    return baton_outbox_put_back(outbox, &(baton_effect){.epoch = key.epoch,
                                                         .seq = key.seq,
                                                         .index = key.index,
                                                         .consumer = consumer,
                                                         .type = (uint16_t)type,
                                                         .payload = payload,
                                                         .payload_bytes = payload_bytes});
}

int baton_outbox_unpack(baton_outbox *outbox, baton_snapshot_reader *reader)
{
    int r = unpack_confirmed(outbox, reader);
    if (r == 0)
        r = baton_unpack_section(reader, "baton.outbox");
    uint32_t fields_count;
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        if (fields_count != OUTBOX_FIELDS)
            return BATON_E_SCHEMA;
        r = unpack_effect(outbox, reader);
    }
    return r;
}
