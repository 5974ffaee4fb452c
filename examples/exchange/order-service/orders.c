#include "examples/exchange/order-service/orders.h"

#include <errno.h>
#include <string.h>

#include "examples/exchange/book/memory.h"

/* Slots are named by index plus 1; 0 is none. */
typedef struct {
    order_facts facts;
    uint32_t chain;    /* the next one of the same bucket; of a free slot: the next free one */
    uint32_t previous; /* of the client's open orders */
    uint32_t next;
} order_slot;

typedef struct {
    uint32_t first, last;
} order_list;

struct orders {
    baton_arena *arena; /* NULL: on the heap */
    uint32_t orders_max;
    uint32_t finished_max;
    uint32_t clients_max;
    uint32_t open_count;
    uint32_t buckets_mask;
    uint32_t free_first;
    uint64_t finished_count; /* ever: the number of the newest */
    uint32_t *buckets;       /* by hash of the id */
    uint32_t *ring;          /* finished order n stands at n % finished_max */
    order_slot *slots;       /* orders_max + finished_max */
    order_list *lists;       /* by client index: its open orders, lowest seq first */
    baton_digest digest;
};

static const baton_layout_field facts_fields[] = {
    BATON_FIELD(order_facts, order_id),      BATON_FIELD(order_facts, price),
    BATON_FIELD(order_facts, size),          BATON_FIELD(order_facts, filled),
    BATON_FIELD(order_facts, remaining),     BATON_FIELD(order_facts, expire_ns),
    BATON_FIELD(order_facts, finished),      BATON_FIELD(order_facts, symbol),
    BATON_FIELD(order_facts, status),        BATON_FIELD(order_facts, side),
    BATON_FIELD(order_facts, time_in_force), BATON_FIELD(order_facts, order_type),
    BATON_FIELD(order_facts, flags),
};
static const baton_layout_type facts_layout = BATON_LAYOUT_TYPE(order_facts, facts_fields);

static const baton_layout_field slot_fields[] = {
    BATON_STRUCT(order_slot, facts, facts_layout),
    BATON_FIELD(order_slot, chain),
    BATON_FIELD(order_slot, previous),
    BATON_FIELD(order_slot, next),
};
const baton_layout_type orders_slot_layout = BATON_LAYOUT_TYPE(order_slot, slot_fields);

static const baton_layout_field list_fields[] = {
    BATON_FIELD(order_list, first),
    BATON_FIELD(order_list, last),
};
const baton_layout_type orders_list_layout = BATON_LAYOUT_TYPE(order_list, list_fields);

static const baton_layout_field orders_fields[] = {
    BATON_POINTER(orders, arena, baton_arena),
    BATON_FIELD(orders, orders_max),
    BATON_FIELD(orders, finished_max),
    BATON_FIELD(orders, clients_max),
    BATON_FIELD(orders, open_count),
    BATON_FIELD(orders, buckets_mask),
    BATON_FIELD(orders, free_first),
    BATON_FIELD(orders, finished_count),
    BATON_POINTER(orders, buckets, uint32_t),
    BATON_POINTER(orders, ring, uint32_t),
    BATON_POINTER(orders, slots, order_slot),
    BATON_POINTER(orders, lists, order_list),
    BATON_OPAQUE(orders, digest),
};
const baton_layout_type orders_layout = BATON_LAYOUT_TYPE(orders, orders_fields);

int orders_create(const orders_options *options, orders **ret_orders)
{
    const uint64_t slots_count = (uint64_t)options->orders_max + options->finished_max;
    if (options->orders_max == 0 || options->finished_max == 0 || slots_count > BOOK_ORDERS_MAX)
        return BATON_E_INVALID;
    orders *own = memory_new(options->arena, &orders_layout, 1);
    if (!own)
        return -ENOMEM;
    uint32_t buckets_count = 2;
    while (buckets_count < slots_count)
        buckets_count *= 2;
    own->arena = options->arena;
    own->orders_max = options->orders_max;
    own->finished_max = options->finished_max;
    own->clients_max = options->clients_max;
    own->buckets_mask = buckets_count - 1;
    own->buckets = memory_numbers(own->arena, buckets_count);
    own->ring = memory_numbers(own->arena, own->finished_max);
    own->slots = memory_new(own->arena, &orders_slot_layout, slots_count);
    own->lists = memory_new(own->arena, &orders_list_layout, own->clients_max);
    if (!own->buckets || !own->ring || !own->slots || !own->lists) {
        orders_destroy(own);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i + 1 < slots_count; i++)
        own->slots[i].chain = i + 2;
    own->free_first = 1;
    *ret_orders = own;
    return 0;
}

void orders_destroy(orders *own)
{
    if (!own)
        return;
    baton_arena *arena = own->arena;
    memory_free(arena, own->buckets);
    memory_free(arena, own->ring);
    memory_free(arena, own->slots);
    memory_free(arena, own->lists);
    memory_free(arena, own);
}

static order_slot *slot_at(const orders *own, uint32_t name)
{
    return &own->slots[name - 1];
}

static uint32_t *bucket_of(const orders *own, uint64_t order_id)
{
    const uint64_t hash = order_id * UINT64_C(0x9e3779b97f4a7c15);
    return &own->buckets[(uint32_t)(hash >> 32) & own->buckets_mask];
}

/* What goes into the digest, in one layout for ever. */
static void digest_item(const order_facts *order, baton_le64 item[8])
{
    item[0] = baton_le64_put(order->order_id);
    item[1] = baton_le64_put((uint64_t)order->price);
    item[2] = baton_le64_put(order->size);
    item[3] = baton_le64_put(order->filled);
    item[4] = baton_le64_put(order->remaining);
    item[5] = baton_le64_put(order->expire_ns);
    item[6] = baton_le64_put(order->finished);
    item[7] = baton_le64_put((uint64_t)order->symbol << 32 | (uint64_t)order->status << 24 |
                             (uint64_t)order->side << 16 | (uint64_t)order->time_in_force << 8 |
                             (uint64_t)order->order_type << 4 | order->flags);
}

static void digest_add(orders *own, const order_facts *order)
{
    baton_le64 item[8];
    digest_item(order, item);
    baton_digest_add(&own->digest, item, sizeof(item));
}

static void digest_remove(orders *own, const order_facts *order)
{
    baton_le64 item[8];
    digest_item(order, item);
    baton_digest_remove(&own->digest, item, sizeof(item));
}

uint32_t orders_finished_max(const orders *own)
{
    return own->finished_max;
}

uint32_t orders_open_count(const orders *own)
{
    return own->open_count;
}

bool orders_have_room(const orders *own)
{
    return own->open_count < own->orders_max;
}

static uint32_t find_name(const orders *own, uint64_t order_id)
{
    uint32_t name = *bucket_of(own, order_id);
    while (name != 0 && slot_at(own, name)->facts.order_id != order_id)
        name = slot_at(own, name)->chain;
    return name;
}

const order_facts *orders_find(const orders *own, uint64_t order_id)
{
    const uint32_t name = find_name(own, order_id);
    return name != 0 ? &slot_at(own, name)->facts : NULL;
}

/* A free slot with these facts, to be found by its id. There is one: open and finished are bounded apart. */
static uint32_t insert(orders *own, const order_facts *order)
{
    const uint32_t name = own->free_first;
    order_slot *slot = slot_at(own, name);
    uint32_t *bucket = bucket_of(own, order->order_id);
    own->free_first = slot->chain;
    *slot = (order_slot){.facts = *order, .chain = *bucket};
    *bucket = name;
    digest_add(own, order);
    return name;
}

static void forget(orders *own, uint32_t name)
{
    order_slot *slot = slot_at(own, name);
    uint32_t *link = bucket_of(own, slot->facts.order_id);
    while (*link != name)
        link = &slot_at(own, *link)->chain;
    *link = slot->chain;
    digest_remove(own, &slot->facts);
    *slot = (order_slot){.chain = own->free_first};
    own->free_first = name;
}

static void append(orders *own, uint32_t client_index, uint32_t name)
{
    order_list *list = &own->lists[client_index];
    slot_at(own, name)->previous = list->last;
    if (list->last != 0)
        slot_at(own, list->last)->next = name;
    else
        list->first = name;
    list->last = name;
    own->open_count++;
}

static void take_out(orders *own, uint32_t client_index, uint32_t name)
{
    order_list *list = &own->lists[client_index];
    order_slot *slot = slot_at(own, name);
    if (slot->previous != 0)
        slot_at(own, slot->previous)->next = slot->next;
    else
        list->first = slot->next;
    if (slot->next != 0)
        slot_at(own, slot->next)->previous = slot->previous;
    else
        list->last = slot->previous;
    slot->previous = slot->next = 0;
    own->open_count--;
}

void orders_add(orders *own, uint32_t client_index, const order_facts *order)
{
    append(own, client_index, insert(own, order));
}

/* The newest finished one; the oldest makes room for it. */
static void enter_ring(orders *own, uint32_t name)
{
    uint32_t *place = &own->ring[own->finished_count % own->finished_max];
    if (*place != 0)
        forget(own, *place);
    *place = name;
}

void orders_change(orders *own, uint32_t client_index, const order_facts *order, order_facts now)
{
    const uint32_t name = find_name(own, order->order_id);
    order_slot *slot = slot_at(own, name);
    digest_remove(own, &slot->facts);
    if (order_is_over(&now)) {
        now.finished = ++own->finished_count;
        now.remaining = 0;
        take_out(own, client_index, name);
        enter_ring(own, name);
    }
    slot->facts = now;
    digest_add(own, &now);
}

/* Of a list of open orders the first to look at: behind the one that a page ended with, while that is open itself, so
 * that page after page is one walk. */
static uint32_t begin_after(const orders *own, uint32_t first, uint64_t after_seq)
{
    if (first == 0 || after_seq == 0 || after_seq > EXCHANGE_CLIENT_SEQ_MAX)
        return first;
    const uint64_t client_id = slot_at(own, first)->facts.order_id >> 40;
    const uint32_t after = find_name(own, exchange_order_id(client_id, after_seq));
    return after != 0 && !order_is_over(&slot_at(own, after)->facts) ? slot_at(own, after)->next
                                                                     : first;
}

uint32_t orders_page(const orders *own, uint32_t client_index, uint64_t after_seq,
                     const order_facts **page, uint32_t max)
{
    uint32_t count = 0;
    uint32_t name = begin_after(own, own->lists[client_index].first, after_seq);
    for (; name != 0 && count < max; name = slot_at(own, name)->next)
        if ((slot_at(own, name)->facts.order_id & EXCHANGE_CLIENT_SEQ_MAX) > after_seq)
            page[count++] = &slot_at(own, name)->facts;
    return count;
}

/* With finished_max: another one forgets at other moments, and what is forgotten is an answer. */
baton_digest orders_digest(const orders *own)
{
    const baton_le64 kept = baton_le64_put(own->finished_max);
    return baton_digest_chain(own->digest, &kept, sizeof(kept));
}

int orders_visit(const orders *own, uint32_t clients_count,
                 int (*visit)(void *context, const order_facts *order), void *context)
{
    int r = 0;
    for (uint32_t i = 0; i < clients_count && r == 0; i++)
        for (uint32_t name = own->lists[i].first; name != 0 && r == 0;
             name = slot_at(own, name)->next)
            r = visit(context, &slot_at(own, name)->facts);
    const uint64_t kept =
        own->finished_count < own->finished_max ? own->finished_count : own->finished_max;
    for (uint64_t n = own->finished_count - kept + 1; n <= own->finished_count && r == 0; n++)
        r = visit(context, &slot_at(own, own->ring[n % own->finished_max])->facts);
    return r;
}

bool orders_restore(orders *own, uint32_t client_index, const order_facts *order)
{
    const bool over = order_is_over(order);
    if (client_index >= own->clients_max || order->status < EXCHANGE_ORDER_NEW ||
        order->status > EXCHANGE_ORDER_EXPIRED || over != (order->finished != 0) ||
        orders_find(own, order->order_id) != NULL)
        return false;
    if (!over) {
        const uint32_t last = own->lists[client_index].last;
        if (!orders_have_room(own) ||
            (last != 0 && slot_at(own, last)->facts.order_id >= order->order_id))
            return false;
        orders_add(own, client_index, order);
        return true;
    }
    if (own->finished_count != 0 && order->finished != own->finished_count + 1)
        return false;
    own->finished_count = order->finished;
    if (own->ring[order->finished % own->finished_max] != 0)
        return false; /* more than --finished-max */
    own->ring[order->finished % own->finished_max] = insert(own, order);
    return true;
}
