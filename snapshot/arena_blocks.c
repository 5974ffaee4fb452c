/* snapshot/arena_blocks.c: runs of 64 KiB blocks: taken, given back, joined with their neighbours;
 * the block map and the bins by length. The only place that makes the arena longer. */
#include "snapshot/arena.h"

#include <string.h>

#define BIN_LOOKS_MAX 8u /* runs of the right bin that are tried for length */

/* Lengths 1 to 7 have a bin each; above, four bins for every doubling. */
uint32_t arena_bin_of(uint32_t blocks)
{
    if (blocks < 8)
        return blocks;
    const uint32_t log = 31u - (uint32_t)__builtin_clz(blocks);
    return 8 + (log - 3) * 4 + ((blocks >> (log - 2)) & 3u);
}

static_assert(8 + (31 - 3) * 4 + 3 < ARENA_BINS, "every length has a bin");

static arena_free_run *free_run_at(const baton_arena *arena, uint32_t first)
{
    return arena_block_at(arena, first);
}

static void bin_add(baton_arena *arena, uint32_t first)
{
    const uint32_t bin = arena_bin_of(arena->map[first].blocks);
    const uint32_t next = arena->bins[bin];
    *free_run_at(arena, first) = (arena_free_run){.next = next, .previous = ARENA_NONE};
    if (next != ARENA_NONE)
        free_run_at(arena, next)->previous = first;
    arena->bins[bin] = first;
    arena->bins_used[bin / 64] |= UINT64_C(1) << (bin % 64);
    arena->free_blocks += arena->map[first].blocks;
}

static void bin_remove(baton_arena *arena, uint32_t first)
{
    const uint32_t bin = arena_bin_of(arena->map[first].blocks);
    const arena_free_run run = *free_run_at(arena, first);
    if (run.next != ARENA_NONE)
        free_run_at(arena, run.next)->previous = run.previous;
    if (run.previous != ARENA_NONE)
        free_run_at(arena, run.previous)->next = run.next;
    else
        arena->bins[bin] = run.next;
    if (arena->bins[bin] == ARENA_NONE)
        arena->bins_used[bin / 64] &= ~(UINT64_C(1) << (bin % 64));
    arena->free_blocks -= arena->map[first].blocks;
}

static void mark(baton_arena *arena, uint32_t first, uint32_t blocks, arena_block_kind kind)
{
    arena->map[first] = (arena_block){.blocks = blocks, .kind = (uint8_t)kind};
    for (uint32_t i = 1; i < blocks; i++)
        arena->map[first + i] = (arena_block){.blocks = i, .kind = BLOCK_REST};
}

/* Of a free run only its ends are looked at; those between must not look like the first of a
 * run. */
static void mark_free(baton_arena *arena, uint32_t first, uint32_t blocks)
{
    arena->map[first] = (arena_block){.blocks = blocks, .kind = BLOCK_FREE};
    if (blocks > 1)
        arena->map[first + blocks - 1] = (arena_block){.blocks = blocks - 1, .kind = BLOCK_REST};
}

/* Inside a free run the entries are old: they may say anything, but lead nowhere outside. */
uint32_t arena_run_of(const baton_arena *arena, uint32_t block)
{
    const arena_block at = arena->map[block];
    return at.kind == BLOCK_REST && at.blocks <= block ? block - at.blocks : block;
}

void arena_blocks_format(baton_arena *arena)
{
    arena->map = (arena_block *)((uintptr_t)arena + ARENA_MAP_OFFSET);
    arena->map_blocks = (uint32_t)((ARENA_BLOCK_BYTES - ARENA_MAP_OFFSET) / sizeof(arena_block));
    arena->used_bytes = ARENA_BLOCK_BYTES;
    mark(arena, 0, 1, BLOCK_OWN);
}

/* ---- the end of the arena ---- */

/* Room in the map for `total` blocks: a map of twice the length, at the arena's end; the old one
 * becomes a free run, unless it is the first, in block 0. */
static int map_grow(baton_arena *arena, uint64_t total)
{
    uint64_t entries = 2ull * arena->map_blocks;
    while (entries < total + entries * sizeof(arena_block) / ARENA_BLOCK_BYTES + 1)
        entries *= 2;
    const uint64_t bytes =
        (entries * sizeof(arena_block) + ARENA_BLOCK_BYTES - 1) & ~(ARENA_BLOCK_BYTES - 1);
    const uint32_t first = arena_blocks_count(arena);
    const uint32_t blocks = (uint32_t)(bytes / ARENA_BLOCK_BYTES);
    int r = arena_commit(arena, arena->used_bytes + bytes);
    if (r < 0)
        return r;

    arena_block *old = arena->map;
    arena_block *map = arena_block_at(arena, first);
    memcpy(map, old, first * sizeof(*map));
    arena->map = map;
    arena->map_blocks = (uint32_t)(bytes / sizeof(*map));
    arena->used_bytes += bytes;
    mark(arena, first, blocks, BLOCK_OWN);
    if (arena_block_of(arena, old) != 0)
        arena_run_give(arena, arena_block_of(arena, old));
    return 0;
}

/* The free run at the very end, or ARENA_NONE. */
static uint32_t last_free(const baton_arena *arena)
{
    const uint32_t first = arena_run_of(arena, arena_blocks_count(arena) - 1);
    return arena->map[first].kind == BLOCK_FREE ? first : ARENA_NONE;
}

/* A run at the end; it begins with the free run there. */
static uint32_t grow(baton_arena *arena, uint32_t blocks, uint64_t *ret_stale_bytes, int *ret_why)
{
    int r = 0;
    const uint64_t most = (uint64_t)arena_blocks_count(arena) + blocks;
    if (most > arena->map_blocks)
        r = map_grow(arena, most);

    uint32_t first = last_free(arena);
    uint32_t has = first == ARENA_NONE ? 0 : arena->map[first].blocks;
    if (first == ARENA_NONE)
        first = arena_blocks_count(arena);
    /* find_free looks at some runs of a bin only: this one may be long enough. */
    const uint32_t missing = blocks > has ? blocks - has : 0;
    if (r == 0)
        r = arena_commit(arena, arena->used_bytes + missing * ARENA_BLOCK_BYTES);
    if (r < 0) {
        *ret_why = r;
        return ARENA_NONE;
    }
    if (has > 0)
        bin_remove(arena, first);
    arena->used_bytes += missing * ARENA_BLOCK_BYTES;
    mark_free(arena, first, has + missing);
    *ret_stale_bytes = has * ARENA_BLOCK_BYTES;
    return first;
}

/* ---- take and give ---- */

/* A free run of at least `blocks`, taken out of its bin. Runs of the same bin may be too short; in
 * any higher bin every one is long enough. */
static uint32_t find_free(baton_arena *arena, uint32_t blocks)
{
    const uint32_t bin = arena_bin_of(blocks);
    uint32_t first = arena->bins[bin];
    for (uint32_t i = 0; first != ARENA_NONE && i < BIN_LOOKS_MAX; i++) {
        if (arena->map[first].blocks >= blocks) {
            bin_remove(arena, first);
            return first;
        }
        first = free_run_at(arena, first)->next;
    }
    for (uint32_t word = (bin + 1) / 64; word < ARENA_BINS / 64; word++) {
        uint64_t used = arena->bins_used[word];
        if (word == (bin + 1) / 64)
            used &= ~UINT64_C(0) << ((bin + 1) % 64);
        if (used == 0)
            continue;
        first = arena->bins[word * 64 + (uint32_t)__builtin_ctzll(used)];
        bin_remove(arena, first);
        return first;
    }
    return ARENA_NONE;
}

uint32_t arena_run_take(baton_arena *arena, uint32_t blocks, arena_block_kind kind,
                        uint64_t *ret_stale_bytes)
{
    int why = 0;
    uint32_t first = find_free(arena, blocks);
    *ret_stale_bytes = blocks * ARENA_BLOCK_BYTES;
    if (first == ARENA_NONE)
        first = grow(arena, blocks, ret_stale_bytes, &why);
    if (first == ARENA_NONE) {
        arena_process_of(arena)->refusal = why;
        return ARENA_NONE;
    }
    const uint32_t has = arena->map[first].blocks;
    mark(arena, first, blocks, kind);
    if (has > blocks) {
        mark_free(arena, first + blocks, has - blocks);
        bin_add(arena, first + blocks);
    }
    return first;
}

void arena_run_give(baton_arena *arena, uint32_t first)
{
    uint32_t blocks = arena->map[first].blocks;
    const uint32_t after = first + blocks;
    if (after < arena_blocks_count(arena) && arena->map[after].kind == BLOCK_FREE) {
        bin_remove(arena, after);
        blocks += arena->map[after].blocks;
        arena->map[after] = (arena_block){.blocks = after - first, .kind = BLOCK_REST};
    }
    const uint32_t before = arena_run_of(arena, first - 1); /* block 0 is ours: there is one */
    if (arena->map[before].kind == BLOCK_FREE) {
        bin_remove(arena, before);
        blocks += arena->map[before].blocks;
        arena->map[first] = (arena_block){.blocks = first - before, .kind = BLOCK_REST};
        first = before;
    }
    mark_free(arena, first, blocks);
    bin_add(arena, first);
}
