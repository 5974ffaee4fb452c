/* Random calls of an arena against a plain list of what was handed out, in two arenas at once: what
 * is handed out stays what it was, and both hand out the same. BATON_SEED=N repeats it. */
#include "tests/unit/arena_fixture.h"

#include <stdlib.h>
#include <string.h>

enum { PIECES_MAX = 3000, STEPS = 25000, POOLS = 2 };
#define RESERVE (UINT64_C(96) << 20)

typedef enum { BYTES, TYPED, SLOT } piece_kind;

typedef struct {
    uint8_t *memory[2]; /* in either arena */
    size_t bytes;
    uint8_t fill;
    uint8_t pool;
    piece_kind kind;
} piece;

typedef struct {
    uint64_t random;
    baton_arena *arenas[2];
    baton_pool *pools[2][POOLS];
    piece pieces[PIECES_MAX];
    uint32_t count;
    uint64_t handed_bytes;
    uint64_t refused;
    uint64_t given_back;
} contest;

static size_t random_bytes(contest *own)
{
    const uint64_t log = test_below(&own->random, 100) < 97 ? test_below(&own->random, 15)
                                                            : 15 + test_below(&own->random, 7);
    return (size_t)(1 + test_below(&own->random, UINT64_C(1) << log));
}

static void *take(contest *own, const piece *wanted, uint32_t which, size_t align)
{
    switch (wanted->kind) {
    case BYTES:
        return baton_arena_bytes(own->arenas[which], wanted->bytes, align);
    case TYPED:
        return baton_arena_new(own->arenas[which], &tree_type, wanted->bytes / sizeof(tree));
    case SLOT:
        return baton_pool_take(own->pools[which][wanted->pool]);
    }
    return NULL;
}

static void take_one(contest *own)
{
    piece *made = &own->pieces[own->count];
    const size_t align = (size_t)1 << test_below(&own->random, 13);
    *made = (piece){.kind = (piece_kind)test_below(&own->random, 3),
                    .fill = (uint8_t)test_random(&own->random),
                    .pool = (uint8_t)test_below(&own->random, POOLS)};
    made->bytes = made->kind == SLOT ? (made->pool == 0 ? sizeof(tree_node) : sizeof(tree))
                                     : random_bytes(own);
    if (made->kind == TYPED)
        made->bytes = sizeof(tree) * (1 + made->bytes / sizeof(tree));
    for (uint32_t i = 0; i < 2; i++)
        made->memory[i] = take(own, made, i, align);
    if (made->memory[0] == NULL) {
        assert_null(made->memory[1]);
        assert_int_equal(baton_arena_refusal(own->arenas[0]), BATON_E_FULL);
        own->refused++;
        return;
    }
    assert_int_equal(made->memory[0] - (uint8_t *)own->arenas[0],
                     made->memory[1] - (uint8_t *)own->arenas[1]);
    if (made->kind == BYTES)
        assert_int_equal((uintptr_t)made->memory[0] % align, 0);
    for (uint32_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < made->bytes; k++) {
            if (made->memory[i][k] != 0)
                fail_msg("byte %zu of %zu is not zero", k, made->bytes);
        }
        memset(made->memory[i], made->fill, made->bytes);
    }
    own->handed_bytes += made->bytes;
    own->count++;
}

static void give_one(contest *own)
{
    const uint32_t number = (uint32_t)test_below(&own->random, own->count);
    const piece gone = own->pieces[number];
    for (uint32_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < gone.bytes; k++) {
            if (gone.memory[i][k] != gone.fill)
                fail_msg("byte %zu of %zu was changed by another", k, gone.bytes);
        }
        if (gone.kind == SLOT)
            baton_pool_give(own->pools[i][gone.pool], gone.memory[i]);
        else
            baton_arena_free(own->arenas[i], gone.memory[i]);
    }
    own->pieces[number] = own->pieces[--own->count];
    own->handed_bytes -= gone.bytes;
    own->given_back++;
}

static void compare(const contest *own)
{
    baton_arena_usage usage[2];
    for (uint32_t i = 0; i < 2; i++) {
        const char *wrong = baton_arena_check(own->arenas[i]);
        if (wrong != NULL)
            fail_msg("%s", wrong);
        baton_arena_get_usage(own->arenas[i], &usage[i]);
    }
    assert_memory_equal(&usage[0], &usage[1], sizeof(usage[0]));
    assert_int_equal(usage[0].slots_count + usage[0].arrays_count, own->count + POOLS);
    assert_true(usage[0].taken_bytes >= own->handed_bytes);
    assert_true(usage[0].taken_bytes + usage[0].free_bytes <= usage[0].used_bytes);
}

static void what_is_handed_out_stays_and_is_the_same_in_every_arena(void **state)
{
    (void)state;
    contest *own = calloc(1, sizeof(*own));
    assert_non_null(own);
    own->random = test_seed();
    for (uint32_t i = 0; i < 2; i++) {
        own->arenas[i] = arena_made(&(baton_arena_options){.reserve_bytes = RESERVE});
        own->pools[i][0] = baton_pool_create(own->arenas[i], &tree_node_type);
        own->pools[i][1] = baton_pool_create(own->arenas[i], &tree_type);
        assert_non_null(own->pools[i][1]);
    }
    uint64_t likely = 60;
    for (uint32_t i = 0; i < STEPS; i++) {
        if (i % 1000 == 0)
            likely = 20 + test_below(&own->random, 70);
        const bool give = own->count == PIECES_MAX || test_below(&own->random, 100) >= likely;
        if (!give)
            take_one(own);
        else if (own->count > 0)
            give_one(own);
        if (i % 500 == 0)
            compare(own);
    }
    assert_true(own->given_back > STEPS / 10);
    while (own->count > 0)
        give_one(own);
    compare(own);
    for (uint32_t i = 0; i < 2; i++)
        baton_arena_destroy(own->arenas[i]);
    free(own);
}

static void a_busy_tree_keeps_its_pointers_inside(void **state)
{
    (void)state;
    baton_error error = {0};
    uint64_t random = test_seed();
    baton_arena *arena = arena_made(NULL);
    tree *own = tree_create(arena);
    for (uint32_t round = 0; round < 20; round++) {
        tree_churn(own, test_random(&random), 2000);
        assert_null(baton_arena_check(arena));
        assert_int_equal(baton_arena_scan(arena, &error), 0);
    }
    baton_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_handed_out_stays_and_is_the_same_in_every_arena),
        cmocka_unit_test(a_busy_tree_keeps_its_pointers_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
