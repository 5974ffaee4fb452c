/* The arena: where it is, what it hands out, what it refuses, and what ends the process. */
#include "tests/unit/arena_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* ---- the range ---- */

static void the_standard_address_is_free_in_this_build(void **state)
{
    (void)state;
    baton_arena *arena = arena_made(NULL);
    assert_int_equal((uintptr_t)arena, BATON_ARENA_ADDRESS);
    baton_arena_usage usage;
    baton_arena_get_usage(arena, &usage);
    assert_int_equal(usage.reserved_bytes, BATON_ARENA_RESERVE);
    assert_true(usage.used_bytes < MIB);
    baton_arena_destroy(arena);
}

static void four_arenas_of_the_standard_size_have_places(void **state)
{
    (void)state;
    baton_arena *arenas[4], *fifth = NULL;
    for (uint32_t i = 0; i < 4; i++) {
        arenas[i] = arena_made(NULL);
        assert_non_null(tree_create(arenas[i]));
    }
    baton_error error = {0};
    assert_int_equal(baton_arena_create(NULL, &tree_layout, &fifth, &error), -EEXIST);
    assert_non_null(strstr(error.todo, "--arena-address"));
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(((const tree *)baton_arena_root(arenas[i]))->count, 0);
        baton_arena_destroy(arenas[i]);
    }
}

static void an_address_that_is_taken_is_named(void **state)
{
    (void)state;
    const baton_arena_options options = {.address = UINT64_C(0x552000000000),
                                         .reserve_bytes = 16 * MIB};
    baton_arena *first = arena_made(&options), *second = NULL;
    baton_error error = {0};
    assert_int_equal((uintptr_t)first, options.address);
    assert_int_equal(baton_arena_create(&options, &tree_layout, &second, &error), -EEXIST);
    assert_non_null(strstr(error.why, "0x552000000000"));
    baton_arena_destroy(first);
    first = arena_made(&options);
    baton_arena_destroy(first);

    void *other = mmap((void *)(uintptr_t)(options.address + 8 * MIB), 4096, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    assert_int_equal(baton_arena_create(&options, &tree_layout, &second, &error), -EEXIST);
    munmap(other, 4096);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const baton_arena_options wrong[] = {
        {.address = BATON_ARENA_ADDRESS + 4096},
        {.address = 2 * MIB},
        {.address = UINT64_C(1) << 47},
        {.reserve_bytes = MIB + 4096},
        {.reserve_bytes = MIB / 2},
        {.reserve_bytes = UINT64_C(1) << 60},
        {.address = (UINT64_C(1) << 47) - 64 * MIB, .reserve_bytes = 128 * MIB},
    };
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        baton_arena *arena = NULL;
        baton_error error = {0};
        assert_int_equal(baton_arena_create(&wrong[i], &tree_layout, &arena, &error),
                         BATON_E_INVALID);
        assert_null(arena);
        assert_true(error.why[0] != '\0');
    }
}

/* In a child, and without memory of its own: everything it has is over the limit at once. */
static void a_limit_of_virtual_memory_is_named(void **state)
{
    (void)state;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {.rlim_cur = 64 * MIB, .rlim_max = 64 * MIB};
        baton_arena *arena = NULL;
        baton_error error = {0};
        if (setrlimit(RLIMIT_AS, &none) < 0)
            _exit(2);
        int r = baton_arena_create(NULL, &tree_layout, &arena, &error);
        _exit(r == -ENOMEM && strstr(error.todo, "ulimit -v") != NULL ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- memory ---- */

static void memory_is_zero_and_aligned_also_when_used_again(void **state)
{
    (void)state;
    baton_arena *arena = arena_made(&(baton_arena_options){.reserve_bytes = 64 * MIB});
    for (uint32_t round = 0; round < 2; round++) {
        void *all[13][20];
        uint32_t n = 0;
        for (size_t align = 1; align <= BATON_ARENA_ALIGN_MAX; align *= 2, n++) {
            for (uint32_t k = 0; k < 20; k++) {
                const size_t bytes = (UINT64_C(1) << k) + k * 37;
                uint8_t *memory = baton_arena_bytes(arena, bytes, align);
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % align, 0);
                for (size_t i = 0; i < bytes; i++) {
                    if (memory[i] != 0)
                        fail_msg("byte %zu of %zu is not zero", i, bytes);
                }
                memset(memory, 0xa5, bytes);
                all[n][k] = memory;
            }
        }
        assert_null(baton_arena_check(arena));
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t k = 0; k < 20; k++)
                baton_arena_free(arena, all[i][k]);
        }
        assert_null(baton_arena_check(arena));
    }
    baton_arena_usage usage;
    baton_arena_get_usage(arena, &usage);
    assert_int_equal(usage.taken_bytes, 0);
    assert_int_equal(usage.slots_count + usage.arrays_count, 0);
    baton_arena_destroy(arena);
}

static void a_full_arena_refuses_and_goes_on_when_something_comes_back(void **state)
{
    (void)state;
    enum { MOST = 64 };
    baton_arena *arena = arena_made(&(baton_arena_options){.reserve_bytes = 4 * MIB});
    void *taken[MOST];
    uint32_t count = 0;
    assert_int_equal(baton_arena_refusal(arena), 0);
    while (count < MOST && (taken[count] = baton_arena_bytes(arena, 100000, 8)) != NULL)
        count++;
    assert_in_range(count, 20, MOST - 1);
    assert_int_equal(baton_arena_refusal(arena), BATON_E_FULL);
    assert_null(baton_arena_check(arena));
    assert_null(baton_arena_new(arena, &tree_type, SIZE_MAX / 2));
    assert_null(baton_arena_bytes_unset(arena, SIZE_MAX, 1));

    baton_arena_free(arena, taken[3]);
    assert_ptr_equal(baton_arena_bytes(arena, 100000, 8), taken[3]);
    assert_null(baton_arena_bytes(arena, 100000, 8));
    assert_null(baton_arena_check(arena));
    baton_arena_destroy(arena);
}

/* Every entry of the first block map is used up at 448 MiB; nothing here is ever touched. */
static void the_block_map_grows_with_the_arena(void **state)
{
    (void)state;
    baton_arena *arena = arena_made(&(baton_arena_options){.reserve_bytes = 8192 * MIB});
    void *arrays[16];
    for (uint32_t i = 0; i < 16; i++) {
        arrays[i] = baton_arena_bytes(arena, 400 * MIB, 4096);
        assert_non_null(arrays[i]);
        assert_null(baton_arena_check(arena));
    }
    for (uint32_t i = 0; i < 16; i += 2)
        baton_arena_free(arena, arrays[i]);
    assert_null(baton_arena_check(arena));
    const uint64_t used = baton_arena_used(arena).bytes_count;
    for (uint32_t i = 0; i < 16; i += 2)
        assert_non_null(baton_arena_bytes_unset(arena, 400 * MIB, 1));
    assert_int_equal(baton_arena_used(arena).bytes_count, used);
    assert_null(baton_arena_check(arena));
    baton_arena_destroy(arena);
}

static void reset_empties_and_gives_the_same_addresses_again(void **state)
{
    (void)state;
    const baton_arena_options options[] = {{0}, {.memfd = true}, {.huge_pages = true}};
    for (uint32_t i = 0; i < 3; i++) {
        baton_arena *arena = arena_made(&options[i]);
        tree *own = tree_create(arena);
        tree_churn(own, 5, 3000);
        const baton_digest digest = tree_digest(own);
        baton_error error = {0};
        assert_int_equal(baton_arena_reset(arena, &error), 0);
        assert_null(baton_arena_root(arena));
        assert_null(baton_arena_check(arena));
        assert_ptr_equal(tree_create(arena), own);
        tree_churn(own, 5, 3000);
        assert_true(baton_digest_equal(tree_digest(own), digest));
        baton_arena_destroy(arena);
    }
}

static void a_pool_gives_its_slabs_back(void **state)
{
    (void)state;
    enum { SLOTS = 20000 };
    baton_arena *arena = arena_made(&(baton_arena_options){.reserve_bytes = 16 * MIB});
    baton_pool *pool = baton_pool_create(arena, &tree_node_type);
    tree_node **slots = calloc(SLOTS, sizeof(*slots));
    assert_non_null(slots);
    for (uint32_t i = 0; i < SLOTS; i++) {
        slots[i] = baton_pool_take(pool);
        assert_non_null(slots[i]);
        assert_int_equal(slots[i]->key, 0);
        slots[i]->key = i + 1;
    }
    assert_int_equal(baton_pool_count(pool), SLOTS);
    assert_null(baton_arena_check(arena));
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(slots[i]->key, i + 1);
        baton_pool_give(pool, slots[i]);
    }
    assert_int_equal(baton_pool_count(pool), 0);
    assert_null(baton_arena_check(arena));
    baton_arena_usage usage;
    baton_arena_get_usage(arena, &usage);
    assert_true(usage.free_bytes > SLOTS * sizeof(tree_node) - 2 * 65536);
    baton_pool_destroy(pool);
    assert_null(baton_arena_check(arena));
    free(slots);
    baton_arena_destroy(arena);
}

/* ---- pointers that leave ---- */

static void a_pointer_out_of_the_arena_is_found_and_named(void **state)
{
    (void)state;
    baton_arena *arena = arena_made(NULL);
    tree *own = tree_create(arena);
    tree_node outside = {0};
    baton_error error = {0};
    tree_churn(own, 11, 2000);
    assert_int_equal(baton_arena_scan(arena, &error), 0);

    own->top->child[1] = &outside;
    assert_int_equal(baton_arena_scan(arena, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.why, "tree_node.child"));
    own->top->child[1] = NULL;

    tree *many = baton_arena_new(arena, &tree_type, 10000); /* an array of blocks */
    assert_non_null(many);
    assert_int_equal(baton_arena_scan(arena, &error), 0);
    many[9999].arena = (baton_arena *)&outside;
    assert_int_equal(baton_arena_scan(arena, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.why, "tree.arena"));
    baton_arena_free(arena, many);
    assert_int_equal(baton_arena_scan(arena, &error), 0);
    baton_arena_destroy(arena);
}

/* ---- what ends the process ---- */

static baton_arena *doomed;
static tree *doomed_tree;

static void free_an_array_twice(void)
{
    void *array = baton_arena_bytes(doomed, 200000, 1);
    baton_arena_free(doomed, array);
    baton_arena_free(doomed, array);
}
static void free_a_slot_twice(void)
{
    void *slot = baton_arena_bytes(doomed, 100, 1);
    baton_arena_free(doomed, slot);
    baton_arena_free(doomed, slot);
}
static void give_a_slot_twice(void)
{
    void *slot = baton_pool_take(doomed_tree->nodes);
    baton_pool_give(doomed_tree->nodes, slot);
    baton_pool_give(doomed_tree->nodes, slot);
}
static void free_what_is_of_the_heap(void)
{
    static int here;
    baton_arena_free(doomed, &here);
}
static void free_the_middle_of_an_array(void)
{
    uint8_t *array = baton_arena_bytes(doomed, 200000, 1);
    baton_arena_free(doomed, array + 65536);
}
static void free_the_middle_of_a_slot(void)
{
    uint8_t *slot = baton_arena_bytes(doomed, 100, 1);
    baton_arena_free(doomed, slot + 8);
}
static void free_a_slot_of_a_pool(void)
{
    baton_arena_free(doomed, baton_pool_take(doomed_tree->nodes));
}
static void give_to_the_wrong_pool(void)
{
    baton_pool *other = baton_pool_create(doomed, &tree_node_type);
    baton_pool_give(other, baton_pool_take(doomed_tree->nodes));
}
static void take_a_type_that_is_not_declared(void)
{
    const baton_layout_type other = tree_node_type;
    (void)baton_arena_new(doomed, &other, 1);
}
static void free_the_header(void)
{
    baton_arena_free(doomed, doomed);
}
static void name_a_root_outside(void)
{
    baton_arena_set_root(doomed, &doomed);
}

static void misuse_ends_the_process(void **state)
{
    (void)state;
    static void (*const misuses[])(void) = {
        free_an_array_twice,      free_a_slot_twice,           give_a_slot_twice,
        free_what_is_of_the_heap, free_the_middle_of_an_array, free_the_middle_of_a_slot,
        free_a_slot_of_a_pool,    give_to_the_wrong_pool,      take_a_type_that_is_not_declared,
        free_the_header,          name_a_root_outside,
    };
    doomed = arena_made(&(baton_arena_options){.reserve_bytes = 16 * MIB});
    doomed_tree = tree_create(doomed);
    for (uint32_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const struct rlimit no_core = {0};
            setrlimit(RLIMIT_CORE, &no_core);
            signal(SIGABRT, SIG_DFL);
            const int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
            dup2(quiet, STDERR_FILENO);
            misuses[i]();
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("misuse %u went unnoticed", i);
    }
    baton_arena_destroy(doomed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_address_is_free_in_this_build),
        cmocka_unit_test(four_arenas_of_the_standard_size_have_places),
        cmocka_unit_test(an_address_that_is_taken_is_named),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_limit_of_virtual_memory_is_named),
        cmocka_unit_test(memory_is_zero_and_aligned_also_when_used_again),
        cmocka_unit_test(a_full_arena_refuses_and_goes_on_when_something_comes_back),
        cmocka_unit_test(the_block_map_grows_with_the_arena),
        cmocka_unit_test(reset_empties_and_gives_the_same_addresses_again),
        cmocka_unit_test(a_pool_gives_its_slabs_back),
        cmocka_unit_test(a_pointer_out_of_the_arena_is_found_and_named),
        cmocka_unit_test(misuse_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
