#include "examples/exchange/book/price_levels.h"

#include <assert.h>
#include <errno.h>
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/book/memory.h"

#define PRICE_LEAF 0x80000000u

static_assert(BOOK_ORDERS_MAX < PRICE_LEAF, "a level number leaves the leaf mark free");

static const baton_layout_field level_fields[] = {
    BATON_FIELD(price_level, price),        BATON_FIELD(price_level, size),
    BATON_FIELD(price_level, oldest),       BATON_FIELD(price_level, newest),
    BATON_FIELD(price_level, orders_count), BATON_FIELD(price_level, lower),
    BATON_FIELD(price_level, higher),       BATON_FIELD(price_level, list),
};
const baton_layout_type price_level_layout = BATON_LAYOUT_TYPE(price_level, level_fields);

static const baton_layout_field node_fields[] = {
    BATON_FIELD_ARRAY(price_node, child),
    BATON_FIELD(price_node, bit),
};
const baton_layout_type price_node_layout = BATON_LAYOUT_TYPE(price_node, node_fields);

static const baton_layout_field list_fields[] = {
    BATON_FIELD(price_list, root),
    BATON_FIELD(price_list, best),
    BATON_FIELD(price_list, count),
};
const baton_layout_type price_list_layout = BATON_LAYOUT_TYPE(price_list, list_fields);

static const baton_layout_field levels_fields[] = {
    BATON_POINTER(price_levels, levels, price_level),
    BATON_POINTER(price_levels, nodes, price_node),
    BATON_POINTER(price_levels, lists, price_list),
    BATON_FIELD(price_levels, lists_count),
    BATON_FIELD(price_levels, levels_max),
    BATON_FIELD(price_levels, free_level),
    BATON_FIELD(price_levels, free_node),
    BATON_FIELD(price_levels, used_count),
};
const baton_layout_type price_levels_layout = BATON_LAYOUT_TYPE(price_levels, levels_fields);

/* Order-preserving: the lowest int64 becomes 0. */
static uint64_t key_of(int64_t price)
{
    return (uint64_t)price ^ (1ull << 63);
}

int price_levels_init(price_levels *index, const price_levels_options *options)
{
    baton_arena *arena = options->arena;
    const uint32_t levels_max = options->levels_max;
    *index = (price_levels){.levels_max = levels_max, .lists_count = 2 * options->symbols};
    index->levels = memory_new(arena, &price_level_layout, levels_max);
    index->nodes = memory_new(arena, &price_node_layout, levels_max);
    index->lists = memory_new(arena, &price_list_layout, index->lists_count);
    if (!index->levels || !index->nodes || !index->lists) {
        price_levels_fini(index, arena);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < levels_max; i++) {
        uint32_t next = i + 1 < levels_max ? i + 1 : BOOK_NONE;
        index->levels[i].lower = next;
        index->nodes[i].child[0] = next;
    }
    for (uint32_t i = 0; i < index->lists_count; i++)
        index->lists[i] = (price_list){.root = BOOK_NONE, .best = BOOK_NONE};
    return 0;
}

void price_levels_fini(price_levels *index, baton_arena *arena)
{
    memory_free(arena, index->levels);
    memory_free(arena, index->nodes);
    memory_free(arena, index->lists);
    index->levels = NULL;
    index->nodes = NULL;
    index->lists = NULL;
}

static bool is_leaf(uint32_t reference)
{
    return (reference & PRICE_LEAF) != 0;
}

static unsigned branch_of(const price_node *node, uint64_t key)
{
    return (unsigned)(key >> node->bit) & 1u;
}

/* The only level that can hold the key: whether it does, the caller compares. The tree must not
 * be empty. */
static uint32_t descend(const price_levels *index, uint32_t list, uint64_t key)
{
    uint32_t at = index->lists[list].root;
    while (!is_leaf(at)) {
        const price_node *node = &index->nodes[at];
        at = node->child[branch_of(node, key)];
    }
    return at & ~PRICE_LEAF;
}

/* The lowest (direction 0) or highest (direction 1) level of a subtree. */
static uint32_t outermost(const price_levels *index, uint32_t at, unsigned direction)
{
    while (!is_leaf(at))
        at = index->nodes[at].child[direction];
    return at & ~PRICE_LEAF;
}

uint32_t price_levels_find(const price_levels *index, uint32_t list, int64_t price)
{
    if (index->lists[list].root == BOOK_NONE)
        return BOOK_NONE;
    uint32_t level = descend(index, list, key_of(price));
    return index->levels[level].price == price ? level : BOOK_NONE;
}

static void link_between(price_levels *index, uint32_t level, uint32_t lower, uint32_t higher)
{
    uint32_t list = index->levels[level].list;
    index->levels[level].lower = lower;
    index->levels[level].higher = higher;
    if (lower != BOOK_NONE)
        index->levels[lower].higher = level;
    if (higher != BOOK_NONE)
        index->levels[higher].lower = level;
    if ((price_list_side(list) == BOOK_BUY ? higher : lower) == BOOK_NONE)
        index->lists[list].best = level;
}

/* Hang a new leaf into a tree that is not empty: above the first subtree that lies wholly on one
 * side of it. */
static void hang(price_levels *index, uint32_t level, uint64_t key)
{
    uint32_t list = index->levels[level].list;
    uint64_t difference = key ^ key_of(index->levels[descend(index, list, key)].price);
    book_invariant(difference != 0);
    uint32_t bit = 63u - (uint32_t)__builtin_clzll(difference);

    uint32_t *place = &index->lists[list].root;
    while (!is_leaf(*place) && index->nodes[*place].bit > bit) {
        price_node *node = &index->nodes[*place];
        place = &node->child[branch_of(node, key)];
    }

    uint32_t sibling = *place;
    unsigned direction = (unsigned)(key >> bit) & 1u;
    if (direction == 1) {
        uint32_t lower = outermost(index, sibling, 1);
        link_between(index, level, lower, index->levels[lower].higher);
    } else {
        uint32_t higher = outermost(index, sibling, 0);
        link_between(index, level, index->levels[higher].lower, higher);
    }

    uint32_t added = index->free_node;
    index->free_node = index->nodes[added].child[0];
    index->nodes[added].bit = bit;
    index->nodes[added].child[direction] = PRICE_LEAF | level;
    index->nodes[added].child[1 - direction] = sibling;
    *place = added;
}

uint32_t price_levels_insert(price_levels *index, uint32_t list, int64_t price)
{
    uint32_t level = index->free_level;
    index->free_level = index->levels[level].lower;
    index->levels[level] = (price_level){
        .price = price,
        .list = list,
        .oldest = BOOK_NONE,
        .newest = BOOK_NONE,
    };

    if (index->lists[list].root == BOOK_NONE) {
        index->lists[list].root = PRICE_LEAF | level;
        link_between(index, level, BOOK_NONE, BOOK_NONE);
    } else {
        hang(index, level, key_of(price));
    }
    index->lists[list].count++;
    index->used_count++;
    return level;
}

static void unlink_level(price_levels *index, uint32_t level)
{
    uint32_t list = index->levels[level].list;
    uint32_t lower = index->levels[level].lower;
    uint32_t higher = index->levels[level].higher;
    if (lower != BOOK_NONE)
        index->levels[lower].higher = higher;
    if (higher != BOOK_NONE)
        index->levels[higher].lower = lower;
    if (index->lists[list].best == level)
        index->lists[list].best = price_list_side(list) == BOOK_BUY ? lower : higher;
}

void price_levels_remove(price_levels *index, uint32_t level)
{
    uint32_t list = index->levels[level].list;
    uint64_t key = key_of(index->levels[level].price);
    uint32_t *place = &index->lists[list].root;
    uint32_t *parent_place = NULL;
    while (!is_leaf(*place)) {
        price_node *node = &index->nodes[*place];
        parent_place = place;
        place = &node->child[branch_of(node, key)];
    }

    if (!parent_place) {
        index->lists[list].root = BOOK_NONE;
    } else {
        /* The parent has one child left, which takes its place. */
        uint32_t parent = *parent_place;
        price_node *node = &index->nodes[parent];
        *parent_place = node->child[1 - branch_of(node, key)];
        node->child[0] = index->free_node;
        index->free_node = parent;
    }

    unlink_level(index, level);
    index->levels[level].lower = index->free_level;
    index->free_level = level;
    index->lists[list].count--;
    index->used_count--;
}
