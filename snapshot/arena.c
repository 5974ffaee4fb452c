/* snapshot/arena.c: an arena's address range: kept, made writable step by step, let go; the header;
 * taking placed bytes for an arena. */
#include "snapshot/arena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACES_MAX    4u
#define ADDRESSES_END (UINT64_C(1) << 47) /* of a process, without five levels of pages */

static const char *const what_create = "make an arena";
static const char *const what_adopt = "take an image into the arena";

/* ---- the range ---- */

int arena_commit(baton_arena *arena, uint64_t bytes_count)
{
    arena_process *process = arena_process_of(arena);
    if (bytes_count <= process->committed_bytes)
        return 0;
    if (bytes_count > process->reserved_bytes)
        return BATON_E_FULL;
    uint64_t to = (bytes_count + ARENA_COMMIT_BYTES - 1) & ~(ARENA_COMMIT_BYTES - 1);
    if (to > process->reserved_bytes)
        to = process->reserved_bytes;
    /* The file first: writing past its end would be SIGBUS. */
    if (process->fd >= 0 && ftruncate(process->fd, (off_t)to) < 0)
        return -ENOMEM;
    if (mprotect(arena, to, PROT_READ | PROT_WRITE) < 0)
        return -ENOMEM;
    process->committed_bytes = to;
    return 0;
}

/* Fresh pages over our own range, and none writable: in one call, so that no other thread can get
 * into it. */
static int map_fresh(baton_arena *arena)
{
    arena_process *process = arena_process_of(arena);
    int flags = MAP_FIXED | MAP_NORESERVE | MAP_PRIVATE | MAP_ANONYMOUS;
    if (process->fd >= 0) {
        flags = MAP_FIXED | MAP_NORESERVE | MAP_SHARED;
        if (ftruncate(process->fd, 0) < 0)
            return -errno;
    }
    if (mmap(arena, process->reserved_bytes, PROT_NONE, flags, process->fd, 0) == MAP_FAILED)
        return -errno;
    process->committed_bytes = 0;
    process->refusal = 0;
    process->huge_advised =
        process->huge_asked && madvise(arena, process->reserved_bytes, MADV_HUGEPAGE) == 0;
    return 0;
}

static int refuse_range(baton_error *error, int r, uint64_t address, uint64_t bytes)
{
    if (r == -EEXIST)
        return baton_error_setf(error, r, what_create,
                                "choose another address (a service: --arena-address)",
                                "something of this process is in the %llu bytes at 0x%llx already",
                                (unsigned long long)bytes, (unsigned long long)address);
    return baton_error_setf(
        error, r, what_create,
        "raise the limit of virtual memory (ulimit -v), or make it smaller (a service: "
        "--arena-size)",
        "the kernel keeps no %llu bytes of addresses at 0x%llx: %s", (unsigned long long)bytes,
        (unsigned long long)address, strerror(-r));
}

/* Keep the range and the page before it, which is the only thing there. */
static int keep_range(uint64_t address, uint64_t reserve, baton_arena **ret_arena)
{
    void *wanted = (void *)(uintptr_t)(address - ARENA_PAGE_BYTES);
    void *got = mmap(wanted, reserve + ARENA_PAGE_BYTES, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
        return -errno;
    int r = got == wanted ? 0 : -EEXIST; /* a kernel that takes the address for a wish */
    if (r == 0 && mprotect(got, ARENA_PAGE_BYTES, PROT_READ | PROT_WRITE) < 0)
        r = -ENOMEM;
    if (r < 0) {
        munmap(got, reserve + ARENA_PAGE_BYTES);
        return r;
    }
    *ret_arena = (baton_arena *)(uintptr_t)address;
    return 0;
}

static uint64_t reserve_of(const baton_arena_options *options)
{
    return options->reserve_bytes != 0 ? options->reserve_bytes : BATON_ARENA_RESERVE;
}

static int check_options(const baton_arena_options *options, baton_error *error)
{
    const char *why = NULL;
    const uint64_t reserve = reserve_of(options);
    if (options->address % ARENA_HUGE_BYTES != 0)
        why = "its address must be a multiple of 2 MiB";
    else if (options->address != 0 && options->address < (UINT64_C(1) << 32))
        why = "its address must be 4 GiB or above";
    else if (reserve % ARENA_BLOCK_BYTES != 0)
        why = "its size must be a multiple of 64 KiB";
    else if (reserve < BATON_ARENA_RESERVE_MIN)
        why = "its size must be 1 MiB or more";
    else if (reserve > ADDRESSES_END || options->address > ADDRESSES_END - reserve)
        why = "it must lie in the lower 128 TiB";
    if (why == NULL)
        return 0;
    return baton_error_set(error, BATON_E_INVALID, what_create, why, "choose another");
}

/* The address asked for, or the first of our places that is free. */
static int find_range(const baton_arena_options *options, uint64_t reserve, baton_arena **ret_arena,
                      baton_error *error)
{
    /* Far enough apart for the standard size, so that arenas of several sizes do not meet. */
    const uint64_t apart = reserve > BATON_ARENA_RESERVE ? reserve : BATON_ARENA_RESERVE;
    const uint64_t step =
        ((apart + ARENA_HUGE_BYTES - 1) & ~(ARENA_HUGE_BYTES - 1)) + ARENA_HUGE_BYTES;
    const uint64_t first = options->address != 0 ? options->address : BATON_ARENA_ADDRESS;
    const uint32_t places = options->address != 0 ? 1 : PLACES_MAX;
    int r = -EEXIST;
    for (uint32_t i = 0; i < places && r == -EEXIST; i++)
        r = keep_range(first + i * step, reserve, ret_arena);
    return r < 0 ? refuse_range(error, r, first, reserve) : 0;
}

/* The range with its process page; nothing writable in it yet. */
static int open_range(const baton_arena_options *options, baton_arena **ret_arena,
                      baton_error *error)
{
    static const baton_arena_options defaults;
    baton_arena *arena = NULL;
    if (options == NULL)
        options = &defaults;
    int r = check_options(options, error);
    if (r < 0)
        return r;
    const uint64_t reserve = reserve_of(options);
    r = find_range(options, reserve, &arena, error);
    if (r < 0)
        return r;
    arena_process *process = arena_process_of(arena);
    *process =
        (arena_process){.reserved_bytes = reserve, .fd = -1, .huge_asked = options->huge_pages};
    if (options->memfd) {
        process->fd = memfd_create("baton-arena", MFD_CLOEXEC);
        if (process->fd < 0) {
            r = baton_error_set(error, -errno, what_create, "memfd_create failed",
                                "use anonymous memory");
            goto fail;
        }
    }
    r = map_fresh(arena);
    if (r < 0) {
        r = refuse_range(error, r, (uintptr_t)arena, reserve);
        goto fail;
    }
    *ret_arena = arena;
    return 0;

fail:
    baton_arena_destroy(arena);
    return r;
}

/* ---- empty ---- */

static int format(baton_arena *arena, baton_error *error)
{
    const baton_layout *layout = arena_process_of(arena)->layout;
    int r = arena_commit(arena, ARENA_BLOCK_BYTES);
    if (r < 0)
        return baton_error_set(error, r, what_create, "the kernel gives no memory", "free some");
    memcpy(arena->magic, BATON_ARENA_MAGIC, sizeof(arena->magic));
    arena->version = BATON_ARENA_VERSION;
    arena->block_bytes = (uint32_t)ARENA_BLOCK_BYTES;
    arena->address = (uintptr_t)arena;
    arena->layout = baton_layout_digest(layout);
    arena->types_count = layout->types_count;
    for (uint32_t i = 0; i < layout->types_count; i++)
        arena->types[i] =
            (arena_type){.bytes = layout->types[i]->bytes, .align = layout->types[i]->align};
    arena_blocks_format(arena);
    arena_classes_format(arena);
    return 0;
}

int baton_arena_create(const baton_arena_options *options, const baton_layout *layout,
                       baton_arena **ret_arena, baton_error *error)
{
    baton_arena *arena = NULL;
    int r = baton_layout_check(layout, error);
    if (r == 0)
        r = open_range(options, &arena, error);
    if (r < 0)
        return r;
    arena_process_of(arena)->layout = layout;
    r = format(arena, error);
    if (r < 0) {
        baton_arena_destroy(arena);
        return r;
    }
    *ret_arena = arena;
    return 0;
}

int baton_arena_reset(baton_arena *arena, baton_error *error)
{
    int r = map_fresh(arena);
    if (r < 0)
        return baton_error_set(error, r, "empty the arena", NULL, "start the process again");
    return format(arena, error);
}

void baton_arena_destroy(baton_arena *arena)
{
    if (arena == NULL)
        return;
    const arena_process process = *arena_process_of(arena);
    munmap(arena_process_of(arena), process.reserved_bytes + ARENA_PAGE_BYTES);
    if (process.fd >= 0)
        close(process.fd);
}

/* ---- from an image ---- */

int baton_arena_place(const baton_arena_options *options, uint64_t bytes_count,
                      baton_arena **ret_arena, baton_error *error)
{
    baton_arena *arena;
    int r = open_range(options, &arena, error);
    if (r < 0)
        return r;
    const uint64_t reserve = arena_process_of(arena)->reserved_bytes;
    if (bytes_count > reserve)
        r = baton_error_setf(error, BATON_E_INVALID, what_adopt,
                             "make the arena larger (a service: --arena-size)",
                             "it has %llu bytes, the arena can have %llu",
                             (unsigned long long)bytes_count, (unsigned long long)reserve);
    else if ((r = arena_commit(arena, bytes_count)) < 0)
        baton_error_set(error, r, what_adopt, "the kernel gives no memory", "free some");
    if (r < 0) {
        baton_arena_destroy(arena);
        return r;
    }
    *ret_arena = arena;
    return 0;
}

static int check_header(const baton_arena *arena, uint64_t bytes_count, const baton_layout *layout,
                        baton_error *error)
{
    if (bytes_count < ARENA_BLOCK_BYTES || bytes_count > arena_process_of(arena)->committed_bytes ||
        memcmp(arena->magic, BATON_ARENA_MAGIC, sizeof(arena->magic)) != 0)
        return baton_error_set(error, BATON_E_INVALID, what_adopt, "it is no image of an arena",
                               "place all of an image's bytes first");
    if (arena->version != BATON_ARENA_VERSION || arena->block_bytes != ARENA_BLOCK_BYTES)
        return baton_error_setf(error, BATON_E_NEWER_FORMAT, what_adopt, "use the portable form",
                                "it has arena format %u, this build has %u", arena->version,
                                BATON_ARENA_VERSION);
    if (arena->address != (uintptr_t)arena)
        return baton_error_setf(error, BATON_E_INVALID, what_adopt,
                                "place it there (a service: --arena-address), or use the portable "
                                "form",
                                "it was made for address 0x%llx, not for 0x%llx",
                                (unsigned long long)arena->address,
                                (unsigned long long)(uintptr_t)arena);
    if (!baton_digest_equal(arena->layout, baton_layout_digest(layout))) {
        char text[BATON_DIGEST_TEXT_BYTES];
        return baton_error_setf(error, BATON_E_SCHEMA, what_adopt, "use the portable form",
                                "a build with other types made it: layout digest %s",
                                baton_digest_text(arena->layout, text));
    }
    if (arena->used_bytes != bytes_count)
        return baton_error_setf(error, BATON_E_INVALID, what_adopt, "place all of it",
                                "%llu bytes were placed, it has %llu",
                                (unsigned long long)bytes_count,
                                (unsigned long long)arena->used_bytes);
    return 0;
}

int baton_arena_adopt(baton_arena *arena, uint64_t bytes_count, const baton_layout *layout,
                      baton_error *error)
{
    int r = baton_layout_check(layout, error);
    if (r == 0)
        r = check_header(arena, bytes_count, layout, error);
    if (r < 0)
        return r;
    const char *wrong = baton_arena_check(arena);
    if (wrong != NULL)
        return baton_error_set(error, BATON_E_DAMAGED, what_adopt, wrong, "use an older snapshot");
    arena_process_of(arena)->layout = layout;
    return 0;
}

/* ---- looking ---- */

void baton_arena_set_root(baton_arena *arena, void *root)
{
    baton_assert(root == NULL || baton_arena_holds(arena, root));
    arena->root = root;
}

void *baton_arena_root(const baton_arena *arena)
{
    return arena->root;
}

baton_arena_range baton_arena_used(const baton_arena *arena)
{
    return (baton_arena_range){.base = (void *)(uintptr_t)arena, .bytes_count = arena->used_bytes};
}

bool baton_arena_holds(const baton_arena *arena, const void *pointer)
{
    return (uintptr_t)pointer - (uintptr_t)arena < arena->used_bytes;
}

baton_digest baton_arena_layout_digest(const baton_arena *arena)
{
    return arena->layout;
}

int baton_arena_memfd(const baton_arena *arena)
{
    return arena_process_of(arena)->fd;
}

void baton_arena_get_usage(const baton_arena *arena, baton_arena_usage *ret_usage)
{
    const arena_process *process = arena_process_of(arena);
    *ret_usage = (baton_arena_usage){
        .reserved_bytes = process->reserved_bytes,
        .used_bytes = arena->used_bytes,
        .taken_bytes = arena->array_blocks * ARENA_BLOCK_BYTES,
        .free_bytes = arena->free_blocks * ARENA_BLOCK_BYTES,
        .committed_bytes = process->committed_bytes,
        .arrays_count = arena->arrays_count,
        .huge_pages = process->huge_advised,
    };
    for (uint32_t i = 0; i < ARENA_CLASSES; i++) {
        ret_usage->slots_count += arena->classes[i].taken_count;
        ret_usage->taken_bytes += arena->classes[i].taken_count * arena->classes[i].slot_bytes;
    }
    for (const baton_pool *pool = arena->pools; pool != NULL; pool = pool->next) {
        ret_usage->slots_count += pool->taken_count;
        ret_usage->taken_bytes += pool->taken_count * pool->slot_bytes;
    }
}
