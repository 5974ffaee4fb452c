/* baton/arena.h: memory at a fixed address in which a service keeps its whole state, so that the
 * bytes are the state: placed at the same address in another process, they work (S3).
 *
 * Everything lies inside, the allocator's own books too. Nothing in it may point out of it: no
 * pointer to the heap, to a function, to a constant. The same calls in the same order give the same
 * addresses, in every process. Memory that is given back is used again; the part in use never
 * shrinks.
 *
 * Three ways to get memory, in the order in which to think of them: one object of a declared type
 * again and again (a pool), an array of a declared type (baton_arena_new), bytes
 * (baton_arena_bytes). All end with baton_arena_free or baton_pool_give, or with the arena.
 *
 * Threads: one at a time. Giving back what was not taken from here, or twice, ends the process: it
 * is a bug, and the state can't be trusted after it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/layout.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An arena is its own first bytes: the pointer is the address, the same in every process, and may
 * itself stand in the state. */
typedef struct baton_arena baton_arena;

#define BATON_ARENA_ADDRESS     UINT64_C(0x551000000000)
#define BATON_ARENA_RESERVE     (UINT64_C(64) << 30)
#define BATON_ARENA_RESERVE_MIN (UINT64_C(1) << 20)
#define BATON_ARENA_ALIGN_MAX   4096u

typedef struct {
    /* A multiple of 2 MiB; the page before it is taken, too. 0: the first free one of four places,
     * BATON_ARENA_RESERVE (and 2 MiB) apart, or a larger reserve, from BATON_ARENA_ADDRESS on. ASan
     * and TSan leave these to us, and no program that can be loaded anywhere is loaded there. */
    uint64_t address;
    /* Addresses kept for it, and the most that it can grow to: a multiple of 64 KiB. Costs no memory
     * before it is used. 0: BATON_ARENA_RESERVE. */
    uint64_t reserve_bytes;
    /* In a memfd, to be handed to another process; such memory is *shared* with a child after
     * fork. */
    bool memfd;
    /* Advise the kernel to use huge pages; baton_arena_usage says whether it took the advice. */
    bool huge_pages;
} baton_arena_options;

/* An empty arena. options NULL: the defaults. The layout stays the caller's and must live as long.
 * Errors: BATON_E_INVALID (options, layout), -EEXIST (the address is taken), -ENOMEM (the kernel
 * keeps no such range or gives no memory, RLIMIT_AS is too low), what memfd_create says. */
BATON_MUST_USE int baton_arena_create(const baton_arena_options *options,
                                      const baton_layout *layout, baton_arena **ret_arena,
                                      baton_error *error);
/* Back to empty, at the same address, as fresh from create; all memory goes back to the system.
 * -ENOMEM: nothing but destroy is possible. */
BATON_MUST_USE int baton_arena_reset(baton_arena *arena, baton_error *error);
void baton_arena_destroy(baton_arena *arena); /* NULL is fine */

/* For a loader: the range alone, with bytes_count bytes of it writable and zero. The loader puts an
 * image there, then adopts it. Before that only adopt and destroy are possible. Errors as create's,
 * and BATON_E_INVALID when the image is larger than the reserve. */
BATON_MUST_USE int baton_arena_place(const baton_arena_options *options, uint64_t bytes_count,
                                     baton_arena **ret_arena, baton_error *error);
/* Take the bytes that stand there for an arena. Checked: format, address, length, layout digest,
 * and the allocator's books from end to end. BATON_E_NEWER_FORMAT, BATON_E_SCHEMA (another layout:
 * use the portable form), BATON_E_INVALID (made for another address, or cut), BATON_E_DAMAGED. */
BATON_MUST_USE int baton_arena_adopt(baton_arena *arena, uint64_t bytes_count,
                                     const baton_layout *layout, baton_error *error);

/* ---- memory: NULL when there is none ----
 * baton_arena_refusal says why: BATON_E_FULL, the reserve is used up; -ENOMEM, the kernel gives no
 * more. Nothing has changed then. */

/* count (1 or more) of a type that the layout declares, zero. Any other type is a bug. */
void *baton_arena_new(baton_arena *arena, const baton_layout_type *type, size_t count);
/* Bytes without pointers, zero, aligned to `align`: a power of two up to BATON_ARENA_ALIGN_MAX. */
void *baton_arena_bytes(baton_arena *arena, size_t bytes_count, size_t align);
/* The same, with whatever was there before. */
void *baton_arena_bytes_unset(baton_arena *arena, size_t bytes_count, size_t align);
void baton_arena_free(baton_arena *arena, void *memory); /* NULL is fine */
int baton_arena_refusal(const baton_arena *arena);

/* Slots for one declared type, close together; take and give cost O(1). */
typedef struct baton_pool baton_pool;
baton_pool *baton_pool_create(baton_arena *arena, const baton_layout_type *type);
void baton_pool_destroy(baton_pool *pool); /* its slots with it; NULL is fine */
void *baton_pool_take(baton_pool *pool);   /* zero */
void *baton_pool_take_unset(baton_pool *pool);
void baton_pool_give(baton_pool *pool, void *slot); /* NULL is fine */
uint64_t baton_pool_count(const baton_pool *pool);  /* taken now */

/* ---- the state's first object: what a loader finds the rest by ---- */
void baton_arena_set_root(baton_arena *arena, void *root); /* inside the arena, or NULL */
void *baton_arena_root(const baton_arena *arena);

/* ---- looking ---- */

/* The bytes that are the state: from `base`, a multiple of 64 KiB, no holes. */
typedef struct {
    void *base;
    uint64_t bytes_count;
} baton_arena_range;
baton_arena_range baton_arena_used(const baton_arena *arena);
bool baton_arena_holds(const baton_arena *arena, const void *pointer); /* into the used bytes */
baton_digest baton_arena_layout_digest(const baton_arena *arena);
/* The memfd, or -1. The arena's: don't close it. Offset 0 is the arena's first byte. */
int baton_arena_memfd(const baton_arena *arena);

typedef struct {
    uint64_t reserved_bytes;
    uint64_t used_bytes;      /* of these, the image has all */
    uint64_t taken_bytes;     /* in arrays, slots and bytes handed out, rounded as they are kept */
    uint64_t free_bytes;      /* whole blocks to be used again */
    uint64_t committed_bytes; /* made writable so far */
    uint64_t arrays_count;    /* large ones, of their own blocks */
    uint64_t slots_count;     /* small ones, and those of pools */
    bool huge_pages;          /* advised, and the kernel took it; it may still have none */
} baton_arena_usage;
void baton_arena_get_usage(const baton_arena *arena, baton_arena_usage *ret_usage);

/* The allocator's books, from end to end: NULL, or what is wrong in them. */
const char *baton_arena_check(const baton_arena *arena);
/* Does every declared pointer of everything handed out as a declared type stay inside, or is NULL?
 * 0, or BATON_E_INVALID, which names type, field and addresses. Reads all of it: for tests, and for
 * looking for a bug. */
BATON_MUST_USE int baton_arena_scan(const baton_arena *arena, baton_error *error);

#ifdef __cplusplus
}
#endif
