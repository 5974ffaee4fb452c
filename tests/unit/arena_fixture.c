#include "tests/unit/arena_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const baton_layout_field node_fields[] = {
    BATON_FIELD(tree_node, key),
    BATON_POINTER_ARRAY(tree_node, child, tree_node),
    BATON_POINTER(tree_node, text, uint8_t),
    BATON_FIELD(tree_node, text_bytes),
};
const baton_layout_type tree_node_type = BATON_LAYOUT_TYPE(tree_node, node_fields);

static const baton_layout_field tree_fields[] = {
    BATON_POINTER(tree, arena, baton_arena),
    BATON_POINTER(tree, nodes, baton_pool),
    BATON_POINTER(tree, top, tree_node),
    BATON_FIELD(tree, count),
};
const baton_layout_type tree_type = BATON_LAYOUT_TYPE(tree, tree_fields);

static const baton_layout_type *const types[] = {&tree_type, &tree_node_type};
const baton_layout tree_layout = {.name = "tree", .revision = 1, .types = types, .types_count = 2};

uint64_t test_seed(void)
{
    const char *given = getenv("BATON_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)value);
    return value;
}

uint64_t test_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

uint64_t test_below(uint64_t *state, uint64_t bound)
{
    return test_random(state) % bound;
}

baton_arena *arena_made(const baton_arena_options *options)
{
    baton_arena *arena = NULL;
    baton_error error = {0};
    if (baton_arena_create(options, &tree_layout, &arena, &error) < 0)
        fail_msg("%s: %s: %s", error.what, error.why, error.todo);
    return arena;
}

tree *tree_create(baton_arena *arena)
{
    tree *own = baton_arena_new(arena, &tree_type, 1);
    assert_non_null(own);
    own->arena = arena;
    own->nodes = baton_pool_create(arena, &tree_node_type);
    assert_non_null(own->nodes);
    baton_arena_set_root(arena, own);
    return own;
}

static tree_node **place_of(tree *own, uint64_t key)
{
    tree_node **place = &own->top;
    while (*place != NULL && (*place)->key != key)
        place = &(*place)->child[key > (*place)->key];
    return place;
}

static void put_in(tree *own, tree_node **place, uint64_t key, uint32_t text_bytes)
{
    tree_node *node = baton_pool_take(own->nodes);
    assert_non_null(node);
    node->key = key;
    node->text_bytes = text_bytes;
    node->text = baton_arena_bytes(own->arena, text_bytes, 1);
    assert_non_null(node->text);
    memset(node->text, (int)(key & 0xff), text_bytes);
    *place = node;
    own->count++;
}

static void take_out(tree *own, tree_node **place)
{
    tree_node *node = *place;
    if (node->child[0] != NULL && node->child[1] != NULL) { /* the next larger one stands in */
        tree_node **next = &node->child[1];
        while ((*next)->child[0] != NULL)
            next = &(*next)->child[0];
        tree_node *stand_in = *next;
        *next = stand_in->child[1];
        memcpy(stand_in->child, node->child, sizeof(node->child));
        *place = stand_in;
    } else {
        *place = node->child[node->child[0] == NULL];
    }
    baton_arena_free(own->arena, node->text);
    baton_pool_give(own->nodes, node);
    own->count--;
}

void tree_churn(tree *own, uint64_t seed, uint32_t steps)
{
    uint64_t random = seed;
    for (uint32_t i = 0; i < steps; i++) {
        const uint64_t key = test_below(&random, 3000);
        const uint64_t log = test_below(&random, 18); /* now and then an array of blocks */
        const uint32_t text_bytes = (uint32_t)(1 + test_below(&random, UINT64_C(1) << log));
        tree_node **place = place_of(own, key);
        if (*place == NULL)
            put_in(own, place, key, text_bytes);
        else
            take_out(own, place);
    }
    assert_int_equal(baton_pool_count(own->nodes), own->count);
}

static void digest_under(const tree *own, const tree_node *node, baton_digest_stream *stream)
{
    if (node == NULL)
        return;
    const uint64_t numbers[] = {node->key, node->text_bytes,
                                (uint64_t)((uintptr_t)node - (uintptr_t)own->arena),
                                (uint64_t)((uintptr_t)node->text - (uintptr_t)own->arena)};
    digest_under(own, node->child[0], stream);
    baton_digest_update(stream, numbers, sizeof(numbers));
    baton_digest_update(stream, node->text, node->text_bytes);
    digest_under(own, node->child[1], stream);
}

baton_digest tree_digest(const tree *own)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    digest_under(own, own->top, &stream);
    return baton_digest_final(&stream);
}
