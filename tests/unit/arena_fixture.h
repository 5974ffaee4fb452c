/* tests/unit/arena_fixture.h: a small state for the arena's tests: a search tree of nodes from a
 * pool, each with a text of some length from the allocator. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <baton/arena.h>

typedef struct tree_node tree_node;
struct tree_node {
    uint64_t key;
    tree_node *child[2];
    uint8_t *text; /* text_bytes of (uint8_t)key */
    uint32_t text_bytes;
};

typedef struct {
    baton_arena *arena;
    baton_pool *nodes;
    tree_node *top;
    uint64_t count;
} tree;

extern const baton_layout tree_layout;
extern const baton_layout_type tree_type;
extern const baton_layout_type tree_node_type;

/* Prints it; BATON_SEED=N repeats a run. */
uint64_t test_seed(void);
uint64_t test_random(uint64_t *state);
uint64_t test_below(uint64_t *state, uint64_t bound);

baton_arena *arena_made(const baton_arena_options *options);
/* An empty tree as the arena's root. */
tree *tree_create(baton_arena *arena);
/* steps times: put a random key in, or take one out. */
void tree_churn(tree *own, uint64_t seed, uint32_t steps);
/* Over keys, texts, and where in the arena each node stands. */
baton_digest tree_digest(const tree *own);
