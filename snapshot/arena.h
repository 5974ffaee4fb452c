/* snapshot/arena.h: an arena as its own files see it. Format: docs/format/arena.md.
 *
 *   address - 4 KiB   arena_process: what only this process knows; in no image
 *   address           baton_arena, then the first block map: one block
 *   ...               runs of 64 KiB blocks: free, an array, or a slab of slots
 *   address + used    the end of the image
 *
 * Invariants. The block map has one entry a block; the first block of a run tells what the run is,
 * every other block of it says "rest". No two free runs touch. A free run stands in the bin of its
 * length. A slab stands in its pool's list: `partial` while it has a free slot, else `full`. */
#pragma once

#include <assert.h>

#include <baton/arena.h>
#include "base/assert.h"

#define BATON_ARENA_MAGIC    "BATONAR" /* with its terminator */
#define BATON_ARENA_VERSION  1u
#define ARENA_PAGE_BYTES     UINT64_C(4096)
#define ARENA_BLOCK_BYTES    UINT64_C(65536)
#define ARENA_COMMIT_BYTES   (UINT64_C(16) << 20)
#define ARENA_HUGE_BYTES     (UINT64_C(2) << 20)
#define ARENA_MAP_OFFSET     UINT64_C(8192) /* of the first block map, in block 0 */
#define ARENA_BINS           128u
#define ARENA_CLASSES        40u
#define ARENA_CLASS_BYTES    32768u /* the largest; more is an array of whole blocks */
#define ARENA_SLOTS_MAX      4096u  /* in a slab: 64 words of 64 */
#define ARENA_SLOT_BYTES_MIN 16u    /* fewer, and a block would have more slots than its bits */
#define ARENA_NONE           0u     /* no block: block 0 is never free */
#define ARENA_TAG_BYTES      0u     /* of no declared type; else the type's number + 1 */

typedef enum { BLOCK_REST, BLOCK_FREE, BLOCK_ARRAY, BLOCK_SLAB, BLOCK_OWN } arena_block_kind;

typedef struct {
    uint32_t blocks; /* of the run, in its first block; REST: how many blocks back that is */
    uint8_t kind;
    uint8_t tag; /* of an array */
    uint16_t zero;
} arena_block;
static_assert(sizeof(arena_block) == 8, "arena format 1");

/* At the beginning of a free run; a list a bin. */
typedef struct {
    uint32_t next;
    uint32_t previous;
} arena_free_run;

typedef struct arena_slab arena_slab;

struct baton_pool {
    baton_arena *arena;
    baton_pool *next; /* of those that a service made */
    baton_pool *previous;
    arena_slab *partial;
    arena_slab *full;
    uint64_t taken_count;
    uint64_t slabs_count;
    uint32_t slot_bytes;
    uint32_t slots_offset; /* of the first slot, in the slab */
    uint32_t slots_count;  /* in a slab */
    uint32_t slab_blocks;
    uint8_t tag;
    uint8_t of_class; /* 1: of one size, each slot with a tag of its own; 0: of one type */
    uint8_t zero[6];
};
static_assert(sizeof(baton_pool) == 80, "arena format 1");

struct arena_slab {
    baton_pool *pool;
    arena_slab *next;
    arena_slab *previous;
    uint64_t zero;
    uint64_t words_free; /* bit w: free[w] has a bit */
    uint64_t free[];     /* bit s of word w: slot 64 w + s is free; then the tags, of a class */
};

typedef struct {
    uint32_t bytes;
    uint32_t align;
} arena_type;

struct baton_arena {
    char magic[8];
    uint32_t version;
    uint32_t block_bytes;
    uint64_t address;
    uint64_t used_bytes;
    baton_digest layout;
    void *root;
    arena_block *map;
    uint32_t map_blocks; /* entries that it has room for */
    uint32_t types_count;
    baton_pool *pools; /* those that a service made */
    uint64_t free_blocks;
    uint64_t array_blocks;
    uint64_t arrays_count;
    uint64_t bins_used[ARENA_BINS / 64]; /* bit b: the bin has a run */
    uint32_t bins[ARENA_BINS];           /* the first run of each, a block number */
    baton_pool classes[ARENA_CLASSES];
    arena_type types[BATON_LAYOUT_TYPES_MAX];
};
static_assert(sizeof(struct baton_arena) <= ARENA_MAP_OFFSET, "block 0 holds it");

static_assert(sizeof(arena_slab) == 40, "arena format 1");
static_assert(sizeof(baton_arena) == 5432, "arena format 1");

/* What is not state. Its place is found from the arena alone. */
typedef struct {
    uint64_t reserved_bytes;
    uint64_t committed_bytes;
    const baton_layout *layout;
    int fd; /* -1: anonymous memory */
    int refusal;
    bool huge_asked;
    bool huge_advised;
} arena_process;

static inline arena_process *arena_process_of(const baton_arena *arena)
{
    return (arena_process *)((uintptr_t)arena - ARENA_PAGE_BYTES);
}

static inline uint32_t arena_blocks_count(const baton_arena *arena)
{
    return (uint32_t)(arena->used_bytes / ARENA_BLOCK_BYTES);
}

static inline void *arena_block_at(const baton_arena *arena, uint32_t block)
{
    return (void *)((uintptr_t)arena + block * ARENA_BLOCK_BYTES);
}

static inline uint32_t arena_block_of(const baton_arena *arena, const void *pointer)
{
    return (uint32_t)(((uintptr_t)pointer - (uintptr_t)arena) / ARENA_BLOCK_BYTES);
}

/* arena.c */
/* Make the first bytes_count bytes writable. -ENOMEM, BATON_E_FULL. */
BATON_MUST_USE int arena_commit(baton_arena *arena, uint64_t bytes_count);

/* arena_blocks.c */
void arena_blocks_format(baton_arena *arena);
uint32_t arena_bin_of(uint32_t blocks);
/* A run of `blocks`, its first block marked as kind. *ret_stale_bytes of it, from its beginning, may
 * be anything, the rest is zero. ARENA_NONE: there is none, see process.refusal. */
uint32_t arena_run_take(baton_arena *arena, uint32_t blocks, arena_block_kind kind,
                        uint64_t *ret_stale_bytes);
void arena_run_give(baton_arena *arena, uint32_t first);
/* The first block of the run that this block is of. */
uint32_t arena_run_of(const baton_arena *arena, uint32_t block);

/* arena_pool.c */
void arena_pool_format(baton_arena *arena, baton_pool *pool, uint32_t slot_bytes, uint8_t tag,
                       bool of_class);
uint32_t arena_pool_slot_bytes(uint32_t type_bytes);
void *arena_pool_take(baton_pool *pool, uint8_t tag, bool zero);
/* The slab of a slot and the slot's number; NULL unless the pointer is that of a slot. */
arena_slab *arena_slab_of(const baton_arena *arena, const void *slot, uint32_t *ret_slot);
void arena_slot_give(arena_slab *slab, uint32_t slot);
uint8_t *arena_slab_tags(const arena_slab *slab);
/* The type's number + 1; it must be of the layout. */
uint8_t arena_tag_of(const baton_arena *arena, const baton_layout_type *type);

static inline uint32_t arena_words_of(uint32_t slots_count)
{
    return (slots_count + 63u) / 64u;
}

static inline bool arena_slot_is_free(const arena_slab *slab, uint32_t slot)
{
    return (slab->free[slot / 64] >> (slot % 64) & 1u) != 0;
}

static inline void *arena_slot_at(const arena_slab *slab, uint32_t slot)
{
    return (void *)((uintptr_t)slab + slab->pool->slots_offset +
                    (uintptr_t)slot * slab->pool->slot_bytes);
}

/* arena_alloc.c */
void arena_classes_format(baton_arena *arena);
uint32_t arena_class_bytes(uint32_t class_number);
uint32_t arena_class_of(uint32_t bytes); /* 1..ARENA_CLASS_BYTES */
