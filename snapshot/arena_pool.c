/* snapshot/arena_pool.c: slots of one size in slabs; which are free stands in bits at the slab's
 * beginning, so that taking, giving and finding a second giving back cost the same for any
 * number. */
#include "snapshot/arena.h"

#include <string.h>

#define SLAB_SLOTS_MIN 8u
#define SLAB_WASTE     8u /* at most one byte in so many */

/* ---- shape ---- */

static uint32_t natural_align(uint32_t slot_bytes)
{
    const uint32_t power = slot_bytes & (~slot_bytes + 1u);
    return power < BATON_ARENA_ALIGN_MAX ? power : BATON_ARENA_ALIGN_MAX;
}

static uint64_t slots_offset(uint32_t slots, uint32_t slot_bytes, bool of_class)
{
    const uint64_t head = offsetof(arena_slab, free) + arena_words_of(slots) * sizeof(uint64_t) +
                          (of_class ? slots : 0);
    const uint64_t align = natural_align(slot_bytes);
    return (head + align - 1) & ~(align - 1);
}

void arena_pool_format(baton_arena *arena, baton_pool *pool, uint32_t slot_bytes, uint8_t tag,
                       bool of_class)
{
    uint64_t room = 0, slots, end = 0;
    do {
        room += ARENA_BLOCK_BYTES;
        slots = room / slot_bytes;
        slots = slots < ARENA_SLOTS_MAX ? slots : ARENA_SLOTS_MAX;
        while (slots > 0 && (end = slots_offset((uint32_t)slots, slot_bytes, of_class) +
                                   slots * slot_bytes) > room)
            slots--;
    } while (slots < SLAB_SLOTS_MIN || (room - end) * SLAB_WASTE > room);

    *pool = (baton_pool){
        .arena = arena,
        .slot_bytes = slot_bytes,
        .slots_offset = (uint32_t)slots_offset((uint32_t)slots, slot_bytes, of_class),
        .slots_count = (uint32_t)slots,
        .slab_blocks = (uint32_t)(room / ARENA_BLOCK_BYTES),
        .tag = tag,
        .of_class = of_class,
    };
}

uint8_t *arena_slab_tags(const arena_slab *slab)
{
    return (uint8_t *)(uintptr_t)&slab->free[arena_words_of(slab->pool->slots_count)];
}

uint32_t arena_pool_slot_bytes(uint32_t type_bytes)
{
    return type_bytes > ARENA_SLOT_BYTES_MIN ? type_bytes : ARENA_SLOT_BYTES_MIN;
}

/* ---- slabs in their pool's two lists ---- */

static void list_add(arena_slab **list, arena_slab *slab)
{
    slab->next = *list;
    slab->previous = NULL;
    if (*list != NULL)
        (*list)->previous = slab;
    *list = slab;
}

static void list_remove(arena_slab **list, arena_slab *slab)
{
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        *list = slab->next;
}

static bool slab_is_empty(const arena_slab *slab)
{
    const uint32_t slots = slab->pool->slots_count;
    for (uint32_t w = 0; w < arena_words_of(slots); w++) {
        const uint32_t bits = slots - w * 64 < 64 ? slots - w * 64 : 64;
        if (slab->free[w] != ~UINT64_C(0) >> (64 - bits))
            return false;
    }
    return true;
}

static arena_slab *slab_add(baton_pool *pool)
{
    baton_arena *arena = pool->arena;
    uint64_t stale_bytes;
    const uint32_t first = arena_run_take(arena, pool->slab_blocks, BLOCK_SLAB, &stale_bytes);
    if (first == ARENA_NONE)
        return NULL;
    arena_slab *slab = arena_block_at(arena, first);
    memset(slab, 0, stale_bytes); /* slots without a word in them that another type left */
    slab->pool = pool;
    for (uint32_t w = 0; w < arena_words_of(pool->slots_count); w++) {
        const uint32_t left = pool->slots_count - w * 64;
        slab->free[w] = ~UINT64_C(0) >> (64 - (left < 64 ? left : 64));
        slab->words_free |= UINT64_C(1) << w;
    }
    list_add(&pool->partial, slab);
    pool->slabs_count++;
    return slab;
}

static void slab_drop(arena_slab *slab)
{
    baton_arena *arena = slab->pool->arena;
    slab->pool->slabs_count--;
    arena_run_give(arena, arena_block_of(arena, slab));
}

/* ---- slots ---- */

void *arena_pool_take(baton_pool *pool, uint8_t tag, bool zero)
{
    arena_slab *slab = pool->partial != NULL ? pool->partial : slab_add(pool);
    if (slab == NULL)
        return NULL;
    const uint32_t w = (uint32_t)__builtin_ctzll(slab->words_free);
    const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(slab->free[w]);
    slab->free[w] &= slab->free[w] - 1;
    if (slab->free[w] == 0)
        slab->words_free &= ~(UINT64_C(1) << w);
    if (slab->words_free == 0) {
        list_remove(&pool->partial, slab);
        list_add(&pool->full, slab);
    }
    if (pool->of_class)
        arena_slab_tags(slab)[slot] = tag;
    pool->taken_count++;
    void *memory = arena_slot_at(slab, slot);
    if (zero)
        memset(memory, 0, pool->slot_bytes);
    return memory;
}

arena_slab *arena_slab_of(const baton_arena *arena, const void *slot, uint32_t *ret_slot)
{
    if (!baton_arena_holds(arena, slot))
        return NULL;
    const uint32_t block = arena_block_of(arena, slot);
    const uint32_t first = arena_run_of(arena, block);
    const arena_block run = arena->map[first];
    if (run.kind != BLOCK_SLAB || block - first >= run.blocks)
        return NULL;
    arena_slab *slab = arena_block_at(arena, first);
    const baton_pool *pool = slab->pool;
    const uintptr_t offset = (uintptr_t)slot - (uintptr_t)slab;
    if (offset < pool->slots_offset)
        return NULL;
    const uint32_t number = (uint32_t)(offset - pool->slots_offset) / pool->slot_bytes;
    if (number >= pool->slots_count || arena_slot_at(slab, number) != slot)
        return NULL;
    *ret_slot = number;
    return slab;
}

/* The last empty slab stays, so that a pool at the edge does not make and drop one each time. */
void arena_slot_give(arena_slab *slab, uint32_t slot)
{
    baton_pool *pool = slab->pool;
    baton_assert(!arena_slot_is_free(slab, slot)); /* given back twice */
    if (slab->words_free == 0) {
        list_remove(&pool->full, slab);
        list_add(&pool->partial, slab);
    }
    slab->free[slot / 64] |= UINT64_C(1) << (slot % 64);
    slab->words_free |= UINT64_C(1) << (slot / 64);
    pool->taken_count--;
    if ((pool->partial != slab || slab->next != NULL) && slab_is_empty(slab)) {
        list_remove(&pool->partial, slab);
        slab_drop(slab);
    }
}

/* ---- what a service calls ---- */

uint8_t arena_tag_of(const baton_arena *arena, const baton_layout_type *type)
{
    const baton_layout *layout = arena_process_of(arena)->layout;
    for (uint32_t i = 0; i < layout->types_count; i++) {
        if (layout->types[i] == type)
            return (uint8_t)(i + 1);
    }
    baton_assert(!"a type that the arena's layout declares");
    return 0;
}

baton_pool *baton_pool_create(baton_arena *arena, const baton_layout_type *type)
{
    const uint8_t tag = arena_tag_of(arena, type);
    baton_pool *pool = baton_arena_bytes(arena, sizeof(*pool), _Alignof(baton_pool));
    if (pool == NULL)
        return NULL;
    arena_pool_format(arena, pool, arena_pool_slot_bytes(type->bytes), tag, false);
    pool->next = arena->pools;
    if (pool->next != NULL)
        pool->next->previous = pool;
    arena->pools = pool;
    return pool;
}

void baton_pool_destroy(baton_pool *pool)
{
    if (pool == NULL)
        return;
    for (arena_slab *slab = pool->partial, *next; slab != NULL; slab = next) {
        next = slab->next;
        slab_drop(slab);
    }
    for (arena_slab *slab = pool->full, *next; slab != NULL; slab = next) {
        next = slab->next;
        slab_drop(slab);
    }
    if (pool->next != NULL)
        pool->next->previous = pool->previous;
    if (pool->previous != NULL)
        pool->previous->next = pool->next;
    else
        pool->arena->pools = pool->next;
    baton_arena_free(pool->arena, pool);
}

void *baton_pool_take(baton_pool *pool)
{
    return arena_pool_take(pool, pool->tag, true);
}

void *baton_pool_take_unset(baton_pool *pool)
{
    return arena_pool_take(pool, pool->tag, false);
}

void baton_pool_give(baton_pool *pool, void *slot)
{
    if (slot == NULL)
        return;
    uint32_t number;
    arena_slab *slab = arena_slab_of(pool->arena, slot, &number);
    baton_assert(slab != NULL && slab->pool == pool); /* a slot of this pool */
    arena_slot_give(slab, number);
}

uint64_t baton_pool_count(const baton_pool *pool)
{
    return pool->taken_count;
}
