/* snapshot/arena_alloc.c: any number of bytes: up to 32 KiB from the class of that size, a pool of
 * slots; more is an array of whole blocks. */
#include "snapshot/arena.h"

#include <string.h>

/* Sixteen bytes apart up to 128, then four for every doubling: at most a fifth is waste. */
uint32_t arena_class_bytes(uint32_t class_number)
{
    if (class_number < 8)
        return 16 * (class_number + 1);
    const uint32_t log = 7 + (class_number - 8) / 4;
    return (4 + (class_number - 8) % 4 + 1) << (log - 2);
}

uint32_t arena_class_of(uint32_t bytes)
{
    if (bytes <= 128)
        return (bytes + 15) / 16 - 1;
    const uint32_t log = 31u - (uint32_t)__builtin_clz(bytes - 1);
    return 8 + (log - 7) * 4 + (((bytes - 1) >> (log - 2)) & 3u);
}

void arena_classes_format(baton_arena *arena)
{
    for (uint32_t i = 0; i < ARENA_CLASSES; i++)
        arena_pool_format(arena, &arena->classes[i], arena_class_bytes(i), ARENA_TAG_BYTES, true);
}

static void *take_blocks(baton_arena *arena, size_t bytes, uint8_t tag, bool zero)
{
    const uint32_t blocks = (uint32_t)((bytes + ARENA_BLOCK_BYTES - 1) / ARENA_BLOCK_BYTES);
    uint64_t stale_bytes;
    const uint32_t first = arena_run_take(arena, blocks, BLOCK_ARRAY, &stale_bytes);
    if (first == ARENA_NONE)
        return NULL;
    arena->map[first].tag = tag;
    arena->array_blocks += blocks;
    arena->arrays_count++;
    void *memory = arena_block_at(arena, first);
    if (zero)
        memset(memory, 0, stale_bytes);
    return memory;
}

static void *take(baton_arena *arena, size_t bytes, size_t align, uint8_t tag, bool zero)
{
    baton_assert(align > 0 && align <= BATON_ARENA_ALIGN_MAX && (align & (align - 1)) == 0);
    if (bytes > arena_process_of(arena)->reserved_bytes) {
        arena_process_of(arena)->refusal = BATON_E_FULL;
        return NULL;
    }
    if (bytes <= ARENA_CLASS_BYTES) {
        /* A slot is aligned to the largest power of two in its size. */
        for (uint32_t i = arena_class_of(bytes > 0 ? (uint32_t)bytes : 1); i < ARENA_CLASSES; i++) {
            if (arena_class_bytes(i) % align == 0)
                return arena_pool_take(&arena->classes[i], tag, zero);
        }
    }
    return take_blocks(arena, bytes, tag, zero);
}

void *baton_arena_new(baton_arena *arena, const baton_layout_type *type, size_t count)
{
    size_t bytes;
    const uint8_t tag = arena_tag_of(arena, type);
    baton_assert(count > 0);
    if (__builtin_mul_overflow(count, type->bytes, &bytes))
        bytes = SIZE_MAX;
    return take(arena, bytes, type->align, tag, true);
}

void *baton_arena_bytes(baton_arena *arena, size_t bytes_count, size_t align)
{
    return take(arena, bytes_count, align, ARENA_TAG_BYTES, true);
}

void *baton_arena_bytes_unset(baton_arena *arena, size_t bytes_count, size_t align)
{
    return take(arena, bytes_count, align, ARENA_TAG_BYTES, false);
}

void baton_arena_free(baton_arena *arena, void *memory)
{
    if (memory == NULL)
        return;
    baton_assert(baton_arena_holds(arena, memory)); /* it is not of this arena */
    const uint32_t block = arena_block_of(arena, memory);
    if (arena->map[block].kind == BLOCK_ARRAY) {
        baton_assert(arena_block_at(arena, block) == memory); /* into the middle */
        arena->array_blocks -= arena->map[block].blocks;
        arena->arrays_count--;
        arena_run_give(arena, block);
        return;
    }
    uint32_t slot;
    arena_slab *slab = arena_slab_of(arena, memory, &slot);
    baton_assert(slab != NULL);         /* given back twice, or never taken */
    baton_assert(slab->pool->of_class); /* a pool's slot goes back to its pool */
    arena_slot_give(slab, slot);
}

int baton_arena_refusal(const baton_arena *arena)
{
    return arena_process_of(arena)->refusal;
}
