/* engine/effect_queue.c: a chain of blocks; a record never straddles two of them. */
#include "engine/effect_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct baton_effect_block {
    baton_effect_block *next;
    uint32_t used;
    uint32_t zero;
    uint8_t bytes[BATON_EFFECT_BLOCK_BYTES];
};

typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint32_t index;
    uint32_t consumer;
    uint32_t payload_bytes;
    uint16_t type;
    uint16_t zero;
} effect_record;

static_assert(sizeof(effect_record) % 8 == 0, "payloads are aligned");

static uint32_t record_bytes(uint32_t payload_bytes)
{
    return (uint32_t)sizeof(effect_record) + ((payload_bytes + 7u) & ~7u);
}

static baton_effect_block *block_make(baton_effect_queue *queue)
{
    baton_effect_block *block = malloc(sizeof(*block));
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->used = 0;
    queue->blocks_made++;
    return block;
}

static void block_put_back(baton_effect_queue *queue, baton_effect_block *block)
{
    if (queue->spare_count >= BATON_EFFECT_SPARE_BLOCKS) {
        free(block);
        return;
    }
    block->next = queue->spare;
    block->used = 0;
    queue->spare = block;
    queue->spare_count++;
}

static baton_effect_block *block_take(baton_effect_queue *queue)
{
    baton_effect_block *block = queue->spare;
    if (block == NULL)
        return block_make(queue);
    queue->spare = block->next;
    queue->spare_count--;
    block->next = NULL;
    return block;
}

int baton_effect_queue_reserve(baton_effect_queue *queue, uint64_t bytes)
{
    uint64_t blocks_count = (bytes + BATON_EFFECT_BLOCK_BYTES - 1) / BATON_EFFECT_BLOCK_BYTES;
    while (queue->spare_count < blocks_count && queue->spare_count < BATON_EFFECT_SPARE_BLOCKS) {
        baton_effect_block *block = block_make(queue);
        if (block == NULL)
            return -ENOMEM;
        memset(block->bytes, 0, sizeof(block->bytes)); /* no page fault is left for the hot path */
        block_put_back(queue, block);
    }
    return 0;
}

static void blocks_free(baton_effect_block *block)
{
    while (block != NULL) {
        baton_effect_block *next = block->next;
        free(block);
        block = next;
    }
}

void baton_effect_queue_fini(baton_effect_queue *queue)
{
    blocks_free(queue->head);
    blocks_free(queue->spare);
    *queue = (baton_effect_queue){0};
}

int baton_effect_queue_push(baton_effect_queue *queue, const baton_effect *effect)
{
    uint32_t bytes = record_bytes(effect->payload_bytes);
    baton_assert(effect->payload_bytes <= BATON_EFFECT_BYTES_MAX);

    if (queue->tail == NULL || BATON_EFFECT_BLOCK_BYTES - queue->tail->used < bytes) {
        baton_effect_block *block = block_take(queue);
        if (block == NULL)
            return -ENOMEM;
        if (queue->tail != NULL)
            queue->tail->next = block;
        else
            queue->head = block;
        queue->tail = block;
    }
    uint8_t *at = queue->tail->bytes + queue->tail->used;
    effect_record record = {
        .epoch = effect->epoch,
        .seq = effect->seq,
        .index = effect->index,
        .consumer = effect->consumer,
        .payload_bytes = effect->payload_bytes,
        .type = effect->type,
    };
    memcpy(at, &record, sizeof(record));
    if (effect->payload_bytes > 0)
        memcpy(at + sizeof(record), effect->payload, effect->payload_bytes);
    queue->tail->used += bytes;
    queue->count++;
    queue->bytes += bytes;
    return 0;
}

static uint32_t read_record(const uint8_t *at, baton_effect *ret_effect)
{
    effect_record record;
    memcpy(&record, at, sizeof(record));
    *ret_effect = (baton_effect){
        .epoch = record.epoch,
        .seq = record.seq,
        .index = record.index,
        .consumer = record.consumer,
        .type = record.type,
        .payload = at + sizeof(record),
        .payload_bytes = record.payload_bytes,
    };
    return record_bytes(record.payload_bytes);
}

bool baton_effect_queue_front(const baton_effect_queue *queue, baton_effect *ret_effect)
{
    baton_effect_cursor cursor = baton_effect_queue_begin(queue);
    return queue->count > 0 && baton_effect_queue_next(&cursor, ret_effect);
}

void baton_effect_queue_pop(baton_effect_queue *queue)
{
    baton_assert(queue->count > 0);
    if (queue->head_offset ==
        queue->head->used) { /* the oldest stands at the start of the next block */
        baton_effect_block *emptied = queue->head;
        queue->head = emptied->next;
        queue->head_offset = 0;
        block_put_back(queue, emptied);
    }
    baton_effect effect;
    uint32_t bytes = read_record(queue->head->bytes + queue->head_offset, &effect);
    queue->head_offset += bytes;
    queue->count--;
    queue->bytes -= bytes;
    if (queue->count == 0) { /* then head is the tail: begin again at its start */
        queue->head->used = 0;
        queue->head_offset = 0;
    }
}

baton_effect_cursor baton_effect_queue_begin(const baton_effect_queue *queue)
{
    return (baton_effect_cursor){.block = queue->head, .offset = queue->head_offset};
}

bool baton_effect_queue_next(baton_effect_cursor *cursor, baton_effect *ret_effect)
{
    if (cursor->block == NULL)
        return false;
    if (cursor->offset == cursor->block->used) {
        if (cursor->block->next == NULL)
            return false;
        cursor->block = cursor->block->next;
        cursor->offset = 0;
    }
    cursor->offset += read_record(cursor->block->bytes + cursor->offset, ret_effect);
    return true;
}
