/* The state as a value: its digest, how it is rebuilt, and what must hold of it. */
#include <assert.h>
#include <endian.h>
#include <string.h>
#include <baton/wire.h>
#include "examples/exchange/book/book_internal.h"

/* The canonical bytes of a resting order, as they enter the digest. Changing them changes every
 * digest: a new schema. */
typedef struct {
    baton_le64 order_id;
    baton_le64 client_id;
    baton_le64 price;
    baton_le64 remaining;
    baton_le64 filled;
    baton_le64 priority;
    baton_le64 expire_ns;
    baton_le32 symbol;
    uint8_t side;
    uint8_t time_in_force;
} canonical_order;
static_assert(sizeof(canonical_order) == 62, "canonical bytes have no padding");

typedef struct {
    baton_le64 orders_count;
    baton_le64 next_priority;
    baton_le64 trades_count;
    baton_le64 now_ns;
    baton_le32 self_trade;
    uint8_t zero[4];
} canonical_counters;
static_assert(sizeof(canonical_counters) == 40, "canonical bytes have no padding");

static canonical_order canonical(const book_resting *order)
{
    return (canonical_order){
        .order_id = baton_le64_put(order->order_id),
        .client_id = baton_le64_put(order->client_id),
        .price = baton_le64_put((uint64_t)order->price),
        .remaining = baton_le64_put(order->remaining),
        .filled = baton_le64_put(order->filled),
        .priority = baton_le64_put(order->priority),
        .expire_ns = baton_le64_put(order->expire_ns),
        .symbol = baton_le32_put(order->symbol),
        .side = (uint8_t)order->side,
        .time_in_force = (uint8_t)order->time_in_force,
    };
}

static uint64_t big_endian_get(const uint8_t bytes[8])
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return be64toh(value);
}

order_sum state_item(const book_resting *order)
{
    canonical_order item = canonical(order);
    baton_digest digest = baton_digest_of(&item, sizeof(item));
    return (order_sum){.high = big_endian_get(digest.bytes),
                       .low = big_endian_get(digest.bytes + 8)};
}

static baton_digest with_counters(const order_book *book, baton_digest orders)
{
    canonical_counters item = {
        .orders_count = baton_le64_put(book_orders_count(book)),
        .next_priority = baton_le64_put(book->counters.next_priority),
        .trades_count = baton_le64_put(book->counters.trades_count),
        .now_ns = baton_le64_put(book->counters.now_ns),
        .self_trade = baton_le32_put((uint32_t)book->self_trade),
    };
    return baton_digest_chain(orders, &item, sizeof(item));
}

baton_digest book_digest(const order_book *book)
{
    uint64_t halves[2] = {htobe64(book->orders_sum.high), htobe64(book->orders_sum.low)};
    baton_digest orders;
    memcpy(orders.bytes, halves, sizeof(orders.bytes));
    return with_counters(book, orders);
}

static int add_visited(void *context, const book_resting *order)
{
    canonical_order item = canonical(order);
    baton_digest_add(context, &item, sizeof(item));
    return 0;
}

baton_digest book_digest_recomputed(const order_book *book)
{
    baton_digest sum = {{0}};
    (void)book_visit(book, add_visited, &sum);
    return with_counters(book, sum);
}

/* What no book_visit() can have given, whatever else rests. */
static bool can_rest(const book_resting *order)
{
    bool known_side = order->side == BOOK_BUY || order->side == BOOK_SELL;
    bool until = order->time_in_force == BOOK_GTD;
    bool open_ended = order->time_in_force == BOOK_GTC && order->expire_ns == 0;
    bool size_fits = order->remaining >= 1 && order->remaining <= BOOK_SIZE_MAX &&
                     order->filled <= BOOK_SIZE_MAX - order->remaining;
    bool priority_fits = order->priority >= 1 && order->priority < UINT64_MAX;
    return known_side && (until || open_ended) && size_fits && priority_fits;
}

int book_restore_order(order_book *book, const book_resting *order)
{
    if (!can_rest(order) || book_find(book, order->order_id, NULL))
        return BATON_E_INVALID;
    if (book->free_slot == BOOK_NONE || order->symbol >= book_symbols(book))
        return BATON_E_FULL;

    uint32_t at =
        price_levels_find(&book->levels, price_list_of(order->symbol, order->side), order->price);
    if (at == BOOK_NONE && price_levels_full(&book->levels))
        return BATON_E_FULL;
    if (at != BOOK_NONE) {
        const price_level *level = &book->levels.levels[at];
        if (book->slots[level->newest].priority >= order->priority ||
            level->size > UINT64_MAX - order->remaining)
            return BATON_E_INVALID;
    }

    slot_add(book, order, at);
    if (book->counters.next_priority <= order->priority)
        book->counters.next_priority = order->priority + 1;
    return 0;
}

int book_restore_counters(order_book *book, const book_counters *counters)
{
    /* Until now next_priority is one above the newest restored order. */
    if (counters->next_priority < book->counters.next_priority)
        return BATON_E_INVALID;
    if (book->expiry_count > 0 && book_next_expiry_ns(book) <= counters->now_ns)
        return BATON_E_INVALID;
    book->counters = *counters;
    return 0;
}

/* ---- book_check ---- */

static const char *check_slot(const order_book *book, uint32_t slot, uint32_t level)
{
    const book_slot *order = &book->slots[slot];
    if (order->level != level)
        return "an order is in another level's queue";
    if (order->remaining == 0)
        return "an order of size zero rests";
    if (order->older != BOOK_NONE && book->slots[order->older].priority >= order->priority)
        return "a queue is out of time order";
    if (order->priority >= book->counters.next_priority)
        return "a priority has been given that is still to come";
    if (order_table_find(&book->by_id, book->slots, order->order_id) != slot)
        return "the id table does not lead to an order";
    if ((order->time_in_force == BOOK_GTD) != (order->expiry_index != BOOK_NONE))
        return "a good-till-date order is not in the expiry heap";
    return NULL;
}

static const char *check_level(const order_book *book, uint32_t at, uint32_t list, uint32_t *orders)
{
    const price_level *level = &book->levels.levels[at];
    uint32_t count = 0;
    uint64_t size = 0;
    for (uint32_t slot = level->oldest; slot != BOOK_NONE; slot = book->slots[slot].newer) {
        const char *broken = check_slot(book, slot, at);
        if (broken)
            return broken;
        size += book->slots[slot].remaining;
        count++;
    }
    *orders += count;
    if (count == 0 || count != level->orders_count || size != level->size)
        return "a level's sums differ from its orders";
    if (level->list != list || price_levels_find(&book->levels, list, level->price) != at)
        return "the price index does not lead to a level";
    return NULL;
}

static const char *check_list(const order_book *book, uint32_t list, uint32_t *orders)
{
    uint32_t levels = 0;
    for (uint32_t at = book->levels.lists[list].best; at != BOOK_NONE; levels++) {
        const char *broken = check_level(book, at, list, orders);
        if (broken)
            return broken;
        uint32_t worse = price_levels_worse(&book->levels, at);
        if (worse != BOOK_NONE) {
            int64_t here = book->levels.levels[at].price;
            int64_t there = book->levels.levels[worse].price;
            if (price_list_side(list) == BOOK_BUY ? there >= here : there <= here)
                return "levels are out of price order";
        }
        at = worse;
    }
    return levels == book->levels.lists[list].count ? NULL : "levels are missing from the list";
}

static bool is_crossed(const order_book *book, uint32_t symbol)
{
    book_level bid, ask;
    return book_levels(book, symbol, BOOK_BUY, &bid, 1) &&
           book_levels(book, symbol, BOOK_SELL, &ask, 1) && bid.price >= ask.price;
}

const char *book_check(const order_book *book, bool check_crossed)
{
    uint32_t orders = 0, levels = 0;
    for (uint32_t list = 0; list < book->levels.lists_count; list++) {
        const char *broken = check_list(book, list, &orders);
        if (broken)
            return broken;
        levels += book->levels.lists[list].count;
    }
    if (levels != book->levels.used_count)
        return "another number of levels is in use than in the lists";
    if (orders != book_orders_count(book))
        return "the id table holds another number of orders than the queues";
    if (!expiry_holds(book))
        return "the expiry heap is out of order";
    if (!baton_digest_equal(book_digest(book), book_digest_recomputed(book)))
        return "the incremental digest differs from the orders";
    for (uint32_t symbol = 0; check_crossed && symbol < book_symbols(book); symbol++)
        if (is_crossed(book, symbol))
            return "the book is crossed";
    return NULL;
}
