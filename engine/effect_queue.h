/* engine/effect_queue.h: effects in order, first in, first out, each with its payload in one piece.
 *
 * Memory comes in blocks that never move: what front and the cursor return stays where it is until
 * it is popped, whatever is pushed meanwhile. Emptied blocks are kept for reuse, so that a queue in
 * steady state does not allocate. */
#pragma once

#include <baton/service.h>

#define BATON_EFFECT_BLOCK_BYTES  (256u * 1024u)
#define BATON_EFFECT_SPARE_BLOCKS 64u /* kept for reuse; more are freed */

typedef struct baton_effect_block baton_effect_block;

typedef struct {
    baton_effect_block *head;
    baton_effect_block *tail;
    baton_effect_block *spare;
    uint32_t spare_count;
    uint32_t head_offset;
    uint64_t count; /* effects in it */
    uint64_t bytes; /* their payloads and keys */
    uint64_t
        blocks_made; /* ever allocated: grows only while the queue is larger than it ever was */
} baton_effect_queue;

/* A zeroed queue is an empty one. Blocks for this many bytes are made ahead: 0 or -ENOMEM. */
BATON_MUST_USE int baton_effect_queue_reserve(baton_effect_queue *queue, uint64_t bytes);
void baton_effect_queue_fini(baton_effect_queue *queue);

/* Copies effect and payload. payload_bytes is at most BATON_EFFECT_BYTES_MAX. 0 or -ENOMEM. */
BATON_MUST_USE int baton_effect_queue_push(baton_effect_queue *queue, const baton_effect *effect);
/* The oldest; false when empty. *ret_effect's payload is valid until it is popped. `resent` is
 * false. */
bool baton_effect_queue_front(const baton_effect_queue *queue, baton_effect *ret_effect);
void baton_effect_queue_pop(baton_effect_queue *queue); /* not empty */

/* Walks from the oldest to the newest, also those pushed during the walk. Popping ends it. */
typedef struct {
    const baton_effect_block *block;
    uint32_t offset;
} baton_effect_cursor;
baton_effect_cursor baton_effect_queue_begin(const baton_effect_queue *queue);
bool baton_effect_queue_next(baton_effect_cursor *cursor, baton_effect *ret_effect);
