/* examples/exchange/book/memory.h: where a state's memory comes from: an arena, or, without one, the
 * heap. All of it is zero. NULL when there is none. */
#pragma once

#include <stdlib.h>
#include <baton/arena.h>

static inline void *memory_new(baton_arena *arena, const baton_layout_type *type, size_t count)
{
    return arena ? baton_arena_new(arena, type, count) : calloc(count, type->bytes);
}

static inline uint32_t *memory_numbers(baton_arena *arena, size_t count)
{
    return arena ? baton_arena_bytes(arena, count * sizeof(uint32_t), sizeof(uint32_t))
                 : calloc(count, sizeof(uint32_t));
}

static inline void memory_free(baton_arena *arena, void *memory)
{
    if (arena)
        baton_arena_free(arena, memory);
    else
        free(memory);
}
