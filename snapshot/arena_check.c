/* snapshot/arena_check.c: the allocator's books from end to end, and the search for pointers that
 * leave the arena. The books may come from a file: nothing is followed that was not looked at. */
#include "snapshot/arena.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    uint64_t free_runs;
    uint64_t free_blocks;
    uint64_t arrays;
    uint64_t array_blocks;
    uint64_t slabs;
} totals;

static bool holds_bytes(const baton_arena *arena, const void *memory, uint64_t bytes)
{
    const uintptr_t offset = (uintptr_t)memory - (uintptr_t)arena;
    return offset < arena->used_bytes && bytes <= arena->used_bytes - offset;
}

/* ---- the block map ---- */

static const char *check_run(const baton_arena *arena, uint32_t first, totals *sum)
{
    const arena_block run = arena->map[first];
    if (run.blocks == 0 || run.blocks > arena_blocks_count(arena) - first)
        return "a run of blocks is longer than the arena";
    switch ((arena_block_kind)run.kind) {
    case BLOCK_FREE: {
        const uint32_t last = first + run.blocks - 1;
        if (last != first &&
            (arena->map[last].kind != BLOCK_REST || arena->map[last].blocks != run.blocks - 1))
            return "the last block of a free run does not point to its first";
        sum->free_runs++;
        sum->free_blocks += run.blocks;
        return NULL;
    }
    case BLOCK_ARRAY:
        if (run.tag > arena->types_count)
            return "an array is of a type that is not declared";
        sum->arrays++;
        sum->array_blocks += run.blocks;
        break;
    case BLOCK_SLAB:
        sum->slabs++;
        break;
    case BLOCK_OWN:
        break;
    case BLOCK_REST:
    default: /* it was read, maybe from a file */
        return "a run begins with a block that is the rest of another";
    }
    for (uint32_t i = 1; i < run.blocks; i++) {
        if (arena->map[first + i].kind != BLOCK_REST || arena->map[first + i].blocks != i)
            return "a block does not point to the first of its run";
    }
    return NULL;
}

static const char *check_map(const baton_arena *arena, totals *sum)
{
    const uint32_t count = arena_blocks_count(arena);
    if ((uintptr_t)arena->map % _Alignof(arena_block) != 0 || arena->map_blocks < count ||
        !holds_bytes(arena, arena->map, arena->map_blocks * sizeof(arena_block)))
        return "the block map is not inside";
    bool free_before = false;
    for (uint32_t first = 0; first < count; first += arena->map[first].blocks) {
        const char *wrong = check_run(arena, first, sum);
        if (wrong != NULL)
            return wrong;
        const bool is_free = arena->map[first].kind == BLOCK_FREE;
        if (is_free && free_before)
            return "two free runs touch";
        free_before = is_free;
    }
    if (arena->map[0].kind != BLOCK_OWN || sum->free_blocks != arena->free_blocks ||
        sum->arrays != arena->arrays_count || sum->array_blocks != arena->array_blocks)
        return "the blocks do not add up";
    return NULL;
}

static const char *check_bins(const baton_arena *arena, const totals *sum)
{
    uint64_t seen = 0;
    for (uint32_t bin = 0; bin < ARENA_BINS; bin++) {
        const bool used = (arena->bins_used[bin / 64] >> (bin % 64) & 1u) != 0;
        if (used != (arena->bins[bin] != ARENA_NONE))
            return "a bin is empty, or not, against its bit";
        uint32_t previous = ARENA_NONE;
        for (uint32_t at = arena->bins[bin]; at != ARENA_NONE;) {
            if (++seen > sum->free_runs || at >= arena_blocks_count(arena) ||
                arena->map[at].kind != BLOCK_FREE || arena_bin_of(arena->map[at].blocks) != bin)
                return "a bin has a run that is not free or of another length";
            const arena_free_run *run = arena_block_at(arena, at);
            if (run->previous != previous)
                return "the free runs of a bin are not linked both ways";
            previous = at;
            at = run->next;
        }
    }
    return seen == sum->free_runs ? NULL : "a free run stands in no bin";
}

/* ---- pools ---- */

static const char *check_slab(const baton_arena *arena, const baton_pool *pool,
                              const arena_slab *slab, bool full, uint64_t *taken)
{
    if (!holds_bytes(arena, slab, pool->slab_blocks * ARENA_BLOCK_BYTES) ||
        ((uintptr_t)slab - (uintptr_t)arena) % ARENA_BLOCK_BYTES != 0)
        return "a slab is not inside";
    const arena_block run = arena->map[arena_block_of(arena, slab)];
    if (run.kind != BLOCK_SLAB || run.blocks != pool->slab_blocks || slab->pool != pool)
        return "a slab is of another pool, or none";
    uint64_t words = 0;
    uint32_t free = 0;
    for (uint32_t w = 0; w < arena_words_of(pool->slots_count); w++) {
        const uint32_t left = pool->slots_count - w * 64;
        if ((slab->free[w] & ~(~UINT64_C(0) >> (64 - (left < 64 ? left : 64)))) != 0)
            return "a slab has more free slots than slots";
        words |= (uint64_t)(slab->free[w] != 0) << w;
        free += (uint32_t)__builtin_popcountll(slab->free[w]);
    }
    if (words != slab->words_free || (words == 0) != full)
        return "a slab stands in the wrong list of its pool";
    for (uint32_t s = 0; pool->of_class && s < pool->slots_count; s++) {
        if (!arena_slot_is_free(slab, s) && arena_slab_tags(slab)[s] > arena->types_count)
            return "a slot is of a type that is not declared";
    }
    *taken += pool->slots_count - free;
    return NULL;
}

static const char *check_list(const baton_arena *arena, const baton_pool *pool, bool full,
                              uint64_t *slabs, uint64_t *taken)
{
    const arena_slab *previous = NULL;
    for (const arena_slab *slab = full ? pool->full : pool->partial; slab != NULL;
         slab = slab->next) {
        if (++*slabs > pool->slabs_count)
            return "a pool has more slabs than it counts";
        const char *wrong = check_slab(arena, pool, slab, full, taken);
        if (wrong != NULL)
            return wrong;
        if (slab->previous != previous)
            return "the slabs of a pool are not linked both ways";
        previous = slab;
    }
    return NULL;
}

static const char *check_pool(baton_arena *arena, const baton_pool *pool, uint32_t slot_bytes,
                              totals *seen)
{
    baton_pool shape;
    arena_pool_format(arena, &shape, slot_bytes, pool->tag, pool->of_class);
    if (pool->arena != arena || pool->slot_bytes != slot_bytes ||
        pool->slots_offset != shape.slots_offset || pool->slots_count != shape.slots_count ||
        pool->slab_blocks != shape.slab_blocks)
        return "a pool has another shape than its type";
    uint64_t slabs = 0, taken = 0;
    const char *wrong = check_list(arena, pool, false, &slabs, &taken);
    if (wrong == NULL)
        wrong = check_list(arena, pool, true, &slabs, &taken);
    if (wrong == NULL && (slabs != pool->slabs_count || taken != pool->taken_count))
        wrong = "a pool does not add up";
    seen->slabs += slabs;
    return wrong;
}

/* A pool that a service made is itself a slot, of the class of its size. */
static bool is_pools_slot(const baton_arena *arena, const baton_pool *pool)
{
    uint32_t slot;
    if ((uintptr_t)pool % _Alignof(baton_pool) != 0 || !holds_bytes(arena, pool, sizeof(*pool)))
        return false;
    const uint32_t first = arena_run_of(arena, arena_block_of(arena, pool));
    if (arena->map[first].kind != BLOCK_SLAB)
        return false;
    const arena_slab *slab = arena_block_at(arena, first);
    return slab->pool == &arena->classes[arena_class_of(sizeof(*pool))] &&
           arena_slab_of(arena, pool, &slot) == slab && !arena_slot_is_free(slab, slot);
}

static const char *check_pools(baton_arena *arena, const totals *sum)
{
    totals seen = {0};
    const char *wrong = NULL;
    for (uint32_t i = 0; i < ARENA_CLASSES && wrong == NULL; i++)
        wrong = arena->classes[i].of_class == 1
                    ? check_pool(arena, &arena->classes[i], arena_class_bytes(i), &seen)
                    : "a class is none";
    const baton_pool *previous = NULL;
    uint64_t pools = 0;
    for (const baton_pool *pool = arena->pools; pool != NULL && wrong == NULL; pool = pool->next) {
        if (!is_pools_slot(arena, pool) || ++pools > arena->used_bytes / sizeof(*pool))
            return "a pool is not inside";
        if (pool->previous != previous || pool->of_class != 0 || pool->tag == 0 ||
            pool->tag > arena->types_count)
            return "a pool is of no declared type";
        wrong = check_pool(arena, pool, arena_pool_slot_bytes(arena->types[pool->tag - 1].bytes),
                           &seen);
        previous = pool;
    }
    if (wrong == NULL && seen.slabs != sum->slabs)
        wrong = "a slab is of no pool";
    return wrong;
}

const char *baton_arena_check(const baton_arena *arena)
{
    totals sum = {0};
    const uint64_t used = arena->used_bytes;
    if (used < ARENA_BLOCK_BYTES || used % ARENA_BLOCK_BYTES != 0 ||
        used > arena_process_of(arena)->committed_bytes)
        return "its length is none";
    if (arena->types_count == 0 || arena->types_count > BATON_LAYOUT_TYPES_MAX)
        return "its types are none";
    if (arena->root != NULL && !baton_arena_holds(arena, arena->root))
        return "its root is not inside";
    const char *wrong = check_map(arena, &sum);
    if (wrong == NULL)
        wrong = check_bins(arena, &sum);
    if (wrong == NULL)
        wrong = check_pools((baton_arena *)(uintptr_t)arena, &sum);
    return wrong;
}

/* ---- pointers that leave ---- */

static bool has_pointer(const baton_layout_type *type)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const baton_layout_field *field = &type->fields[i];
        if (field->kind == BATON_FIELD_POINTER ||
            (field->kind == BATON_FIELD_STRUCT && has_pointer(field->of)))
            return true;
    }
    return false;
}

static int scan_objects(const baton_arena *arena, const baton_layout_type *type, const void *first,
                        uint64_t count, baton_error *error);

static int scan_pointers(const baton_arena *arena, const baton_layout_type *type,
                         const baton_layout_field *field, uintptr_t object, baton_error *error)
{
    for (uint32_t i = 0; i < field->bytes; i += (uint32_t)sizeof(void *)) {
        const void *at = (const void *)(object + field->offset + i);
        void *pointer;
        memcpy(&pointer, at, sizeof(pointer));
        if (pointer != NULL && !baton_arena_holds(arena, pointer))
            return baton_error_setf(error, BATON_E_INVALID, "look for pointers out of the arena",
                                    "keep in the arena what it points to, or the number of it",
                                    "%s.%s at %p points to %p", type->name, field->name, at,
                                    pointer);
    }
    return 0;
}

static int scan_object(const baton_arena *arena, const baton_layout_type *type, uintptr_t object,
                       baton_error *error)
{
    int r = 0;
    for (uint32_t i = 0; i < type->fields_count && r == 0; i++) {
        const baton_layout_field *field = &type->fields[i];
        if (field->kind == BATON_FIELD_POINTER)
            r = scan_pointers(arena, type, field, object, error);
        else if (field->kind == BATON_FIELD_STRUCT)
            r = scan_objects(arena, field->of, (const void *)(object + field->offset),
                             field->bytes / field->of->bytes, error);
    }
    return r;
}

static int scan_objects(const baton_arena *arena, const baton_layout_type *type, const void *first,
                        uint64_t count, baton_error *error)
{
    int r = 0;
    if (!has_pointer(type))
        return 0;
    for (uint64_t i = 0; i < count && r == 0; i++)
        r = scan_object(arena, type, (uintptr_t)first + i * type->bytes, error);
    return r;
}

static int scan_slab(const baton_arena *arena, const arena_slab *slab, baton_error *error)
{
    const baton_layout *layout = arena_process_of(arena)->layout;
    const baton_pool *pool = slab->pool;
    int r = 0;
    for (uint32_t s = 0; s < pool->slots_count && r == 0; s++) {
        const uint8_t tag = pool->of_class ? arena_slab_tags(slab)[s] : pool->tag;
        if (arena_slot_is_free(slab, s) || tag == ARENA_TAG_BYTES)
            continue;
        const baton_layout_type *type = layout->types[tag - 1];
        r = scan_objects(arena, type, arena_slot_at(slab, s), pool->slot_bytes / type->bytes,
                         error);
    }
    return r;
}

int baton_arena_scan(const baton_arena *arena, baton_error *error)
{
    const baton_layout *layout = arena_process_of(arena)->layout;
    int r = 0;
    for (uint32_t first = 0; first < arena_blocks_count(arena) && r == 0;
         first += arena->map[first].blocks) {
        const arena_block run = arena->map[first];
        const void *memory = arena_block_at(arena, first);
        if (run.kind == BLOCK_SLAB)
            r = scan_slab(arena, memory, error);
        if (run.kind != BLOCK_ARRAY || run.tag == ARENA_TAG_BYTES)
            continue;
        const baton_layout_type *type = layout->types[run.tag - 1];
        r = scan_objects(arena, type, memory, run.blocks * ARENA_BLOCK_BYTES / type->bytes, error);
    }
    return r;
}
