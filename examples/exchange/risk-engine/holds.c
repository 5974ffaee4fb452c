#include "examples/exchange/risk-engine/holds.h"

#include <errno.h>
#include <stdlib.h>

#include "examples/exchange/book/memory.h"

/* Slots are named by index plus 1; 0 is none. */
typedef struct {
    held_order order; /* order_id 0: a free slot */
    uint32_t chain;   /* the next one of the same bucket; of a free slot: the next free one */
} hold_slot;

struct holds {
    baton_arena *arena; /* NULL: on the heap */
    uint32_t orders_max;
    uint32_t count;
    uint32_t buckets_mask;
    uint32_t free_first;
    uint32_t used; /* slots that were ever in use are below this */
    uint32_t *buckets;
    hold_slot *slots;
    baton_digest digest;
};

static const baton_layout_field order_fields[] = {
    BATON_FIELD(held_order, order_id),      BATON_FIELD(held_order, price),
    BATON_FIELD(held_order, filled),        BATON_FIELD(held_order, remaining),
    BATON_FIELD(held_order, held),          BATON_FIELD(held_order, price_max),
    BATON_FIELD(held_order, size_max),      BATON_FIELD(held_order, symbol),
    BATON_FIELD(held_order, replaces),      BATON_FIELD(held_order, side),
    BATON_FIELD(held_order, time_in_force),
};
static const baton_layout_type order_layout = BATON_LAYOUT_TYPE(held_order, order_fields);

static const baton_layout_field slot_fields[] = {
    BATON_STRUCT(hold_slot, order, order_layout),
    BATON_FIELD(hold_slot, chain),
};
const baton_layout_type holds_slot_layout = BATON_LAYOUT_TYPE(hold_slot, slot_fields);

static const baton_layout_field holds_fields[] = {
    BATON_POINTER(holds, arena, baton_arena),
    BATON_FIELD(holds, orders_max),
    BATON_FIELD(holds, count),
    BATON_FIELD(holds, buckets_mask),
    BATON_FIELD(holds, free_first),
    BATON_FIELD(holds, used),
    BATON_POINTER(holds, buckets, uint32_t),
    BATON_POINTER(holds, slots, hold_slot),
    BATON_OPAQUE(holds, digest),
};
const baton_layout_type holds_layout = BATON_LAYOUT_TYPE(holds, holds_fields);

int holds_create(uint32_t orders_max, baton_arena *arena, holds **ret_holds)
{
    if (orders_max == 0 || orders_max > BOOK_ORDERS_MAX)
        return BATON_E_INVALID;
    holds *own = memory_new(arena, &holds_layout, 1);
    if (!own)
        return -ENOMEM;
    uint32_t buckets_count = 2;
    while (buckets_count < orders_max)
        buckets_count *= 2;
    own->arena = arena;
    own->orders_max = orders_max;
    own->buckets_mask = buckets_count - 1;
    own->buckets = memory_numbers(arena, buckets_count);
    own->slots = memory_new(arena, &holds_slot_layout, orders_max);
    if (!own->buckets || !own->slots) {
        holds_destroy(own);
        return -ENOMEM;
    }
    *ret_holds = own;
    return 0;
}

void holds_destroy(holds *own)
{
    if (!own)
        return;
    baton_arena *arena = own->arena;
    memory_free(arena, own->buckets);
    memory_free(arena, own->slots);
    memory_free(arena, own);
}

uint32_t holds_count(const holds *own)
{
    return own->count;
}

bool holds_have_room(const holds *own)
{
    return own->count < own->orders_max;
}

static hold_slot *slot_at(const holds *own, uint32_t name)
{
    return &own->slots[name - 1];
}

static uint32_t *bucket_of(const holds *own, uint64_t order_id)
{
    const uint64_t hash = order_id * UINT64_C(0x9e3779b97f4a7c15);
    return &own->buckets[(uint32_t)(hash >> 32) & own->buckets_mask];
}

/* What goes into the digest, in one layout for ever. */
typedef struct {
    baton_le64 words[9];
} digest_item;

static digest_item item_of(const held_order *order)
{
    return (digest_item){
        .words = {baton_le64_put(order->order_id), baton_le64_put(order->price),
                  baton_le64_put(order->filled), baton_le64_put(order->remaining),
                  baton_le64_put(order->held), baton_le64_put(order->price_max),
                  baton_le64_put(order->size_max),
                  baton_le64_put((uint64_t)order->symbol << 32 | order->replaces),
                  baton_le64_put((uint64_t)order->side << 8 | order->time_in_force)}};
}

static void digest_add(baton_digest *digest, const held_order *order)
{
    const digest_item item = item_of(order);
    baton_digest_add(digest, &item, sizeof(item));
}

static void digest_remove(baton_digest *digest, const held_order *order)
{
    const digest_item item = item_of(order);
    baton_digest_remove(digest, &item, sizeof(item));
}

static uint32_t find_name(const holds *own, uint64_t order_id)
{
    uint32_t name = *bucket_of(own, order_id);
    while (name != 0 && slot_at(own, name)->order.order_id != order_id)
        name = slot_at(own, name)->chain;
    return name;
}

const held_order *holds_find(const holds *own, uint64_t order_id)
{
    const uint32_t name = find_name(own, order_id);
    return name != 0 ? &slot_at(own, name)->order : NULL;
}

void holds_add(holds *own, const held_order *order)
{
    uint32_t name = own->free_first;
    if (name != 0)
        own->free_first = slot_at(own, name)->chain;
    else
        name = ++own->used;
    uint32_t *bucket = bucket_of(own, order->order_id);
    *slot_at(own, name) = (hold_slot){.order = *order, .chain = *bucket};
    *bucket = name;
    own->count++;
    digest_add(&own->digest, order);
}

static void forget(holds *own, uint32_t name)
{
    hold_slot *slot = slot_at(own, name);
    uint32_t *link = bucket_of(own, slot->order.order_id);
    while (*link != name)
        link = &slot_at(own, *link)->chain;
    *link = slot->chain;
    *slot = (hold_slot){.chain = own->free_first};
    own->free_first = name;
    own->count--;
}

void holds_change(holds *own, const held_order *order, const held_order *now)
{
    const uint32_t name = find_name(own, order->order_id);
    digest_remove(&own->digest, &slot_at(own, name)->order);
    if (now->remaining == 0) {
        forget(own, name);
        return;
    }
    slot_at(own, name)->order = *now;
    digest_add(&own->digest, now);
}

/* ---- digest, snapshot ---- */

baton_digest holds_digest(const holds *own)
{
    return own->digest;
}

void holds_each(const holds *own, void (*each)(void *context, const held_order *order),
                void *context)
{
    for (uint32_t name = 1; name <= own->used; name++)
        if (slot_at(own, name)->order.order_id != 0)
            each(context, &slot_at(own, name)->order);
}

static void add_to_digest(void *context, const held_order *order)
{
    digest_add(context, order);
}

baton_digest holds_digest_recomputed(const holds *own)
{
    baton_digest digest = {{0}};
    holds_each(own, add_to_digest, &digest);
    return digest;
}

typedef struct {
    const held_order **list;
    uint32_t count;
} gathered;

static void gather(void *context, const held_order *order)
{
    gathered *all = context;
    all->list[all->count++] = order;
}

static int by_id(const void *left, const void *right)
{
    const uint64_t a = (*(const held_order *const *)left)->order_id;
    const uint64_t b = (*(const held_order *const *)right)->order_id;
    return a < b ? -1 : a > b;
}

int holds_visit(const holds *own, void (*visit)(void *context, const held_order *order),
                void *context)
{
    gathered all = {.list = calloc((size_t)own->count + 1, sizeof(all.list[0]))};
    if (!all.list)
        return -ENOMEM;
    holds_each(own, gather, &all);
    qsort(all.list, all.count, sizeof(all.list[0]), by_id);
    for (uint32_t i = 0; i < all.count; i++)
        visit(context, all.list[i]);
    free(all.list);
    return 0;
}

bool holds_restore(holds *own, const held_order *order)
{
    if (!holds_have_room(own) || order->order_id == 0 || order->remaining == 0 ||
        order->side > BOOK_SELL || order->size_max < order->remaining || order->price > INT64_MAX ||
        order->price_max > INT64_MAX || order->remaining > BOOK_SIZE_MAX ||
        order->size_max > BOOK_SIZE_MAX || holds_find(own, order->order_id) != NULL)
        return false;
    holds_add(own, order);
    return true;
}
