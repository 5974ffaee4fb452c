/* The order book against a plain one, a single array searched from end to end, over seeded random
 * commands. A failure prints the seed: BATON_SEED=N repeats it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "examples/exchange/book/book.h"

enum { ORDERS_MAX = 96, LEVELS_MAX = 24, IDS = 160, FILLS_MAX = 128, COMMANDS = 60000 };

/* ---- the judge ---- */

typedef struct {
    book_resting orders[ORDERS_MAX];
    uint32_t count;
    book_counters counters;
} plain_book;

typedef struct {
    book_fill fills[FILLS_MAX];
    uint32_t count;
} fill_list;

static bool plain_better(const book_resting *a, const book_resting *b)
{
    if (a->price != b->price)
        return a->side == BOOK_BUY ? a->price > b->price : a->price < b->price;
    return a->priority < b->priority;
}

/* The order of this side that comes first, or -1. */
static int plain_best(const plain_book *plain, book_side side)
{
    int best = -1;
    for (int i = 0; i < (int)plain->count; i++)
        if (plain->orders[i].side == side &&
            (best < 0 || plain_better(&plain->orders[i], &plain->orders[best])))
            best = i;
    return best;
}

static int plain_find(const plain_book *plain, uint64_t id)
{
    for (int i = 0; i < (int)plain->count; i++)
        if (plain->orders[i].order_id == id)
            return i;
    return -1;
}

static void plain_drop(plain_book *plain, int index)
{
    memmove(&plain->orders[index], &plain->orders[index + 1],
            (plain->count - (uint32_t)index - 1) * sizeof(book_resting));
    plain->count--;
}

static bool plain_level_exists(const plain_book *plain, book_side side, int64_t price)
{
    for (uint32_t i = 0; i < plain->count; i++)
        if (plain->orders[i].side == side && plain->orders[i].price == price)
            return true;
    return false;
}

static uint32_t plain_levels(const plain_book *plain)
{
    uint32_t levels = 0;
    for (uint32_t i = 0; i < plain->count; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i; j++)
            seen |= plain->orders[j].side == plain->orders[i].side &&
                    plain->orders[j].price == plain->orders[i].price;
        levels += !seen;
    }
    return levels;
}

static book_refusal plain_check(const plain_book *plain, const book_order *order)
{
    if (order->size == 0)
        return BOOK_BAD_SIZE;
    if (order->time_in_force == BOOK_GTD && order->expire_ns <= plain->counters.now_ns)
        return BOOK_EXPIRED;
    if (plain_find(plain, order->order_id) >= 0)
        return BOOK_DUPLICATE_ID;
    if (order->time_in_force == BOOK_IOC)
        return BOOK_OK;
    if (plain->count == ORDERS_MAX)
        return BOOK_ORDERS_FULL;
    if (!plain_level_exists(plain, order->side, order->price) && plain_levels(plain) == LEVELS_MAX)
        return BOOK_LEVELS_FULL;
    return BOOK_OK;
}

static book_refusal plain_new(plain_book *plain, const book_order *order, fill_list *fills)
{
    book_refusal refusal = plain_check(plain, order);
    if (refusal != BOOK_OK)
        return refusal;

    uint64_t remaining = order->size;
    while (remaining > 0) {
        int best = plain_best(plain, order->side == BOOK_BUY ? BOOK_SELL : BOOK_BUY);
        if (best < 0)
            break;
        book_resting *maker = &plain->orders[best];
        if (order->side == BOOK_BUY ? maker->price > order->price : maker->price < order->price)
            break;
        uint64_t size = maker->remaining < remaining ? maker->remaining : remaining;
        maker->remaining -= size;
        maker->filled += size;
        remaining -= size;
        fills->fills[fills->count++] = (book_fill){
            .trade_id = ++plain->counters.trades_count,
            .maker_order_id = maker->order_id,
            .maker_client_id = maker->client_id,
            .taker_order_id = order->order_id,
            .taker_client_id = order->client_id,
            .price = maker->price,
            .size = size,
            .maker_remaining = maker->remaining,
            .taker_remaining = remaining,
            .taker_side = order->side,
        };
        if (maker->remaining == 0)
            plain_drop(plain, best);
    }
    if (remaining > 0 && order->time_in_force != BOOK_IOC)
        plain->orders[plain->count++] = (book_resting){
            .order_id = order->order_id,
            .client_id = order->client_id,
            .price = order->price,
            .remaining = remaining,
            .filled = order->size - remaining,
            .priority = plain->counters.next_priority++,
            .expire_ns = order->expire_ns,
            .side = order->side,
            .time_in_force = order->time_in_force,
        };
    return BOOK_OK;
}

static book_refusal plain_reduce(plain_book *plain, uint64_t id, uint64_t by)
{
    if (by == 0)
        return BOOK_BAD_SIZE;
    int at = plain_find(plain, id);
    if (at < 0)
        return BOOK_UNKNOWN_ORDER;
    if (by >= plain->orders[at].remaining)
        plain_drop(plain, at);
    else
        plain->orders[at].remaining -= by;
    return BOOK_OK;
}

/* The next to expire, or -1. */
static int plain_due(const plain_book *plain)
{
    int due = -1;
    for (int i = 0; i < (int)plain->count; i++) {
        const book_resting *order = &plain->orders[i];
        if (order->time_in_force != BOOK_GTD || order->expire_ns > plain->counters.now_ns)
            continue;
        if (due < 0 || order->expire_ns < plain->orders[due].expire_ns ||
            (order->expire_ns == plain->orders[due].expire_ns &&
             order->priority < plain->orders[due].priority))
            due = i;
    }
    return due;
}

/* ---- comparing ---- */

typedef struct {
    order_book *book;
    plain_book plain;
    uint64_t random;
    bool filling; /* a stretch in which orders rarely meet, so that the pools fill up */
    uint64_t refusals[BOOK_NOT_OWNER + 1]; /* these: so that a run that does nothing fails */
    uint64_t filled, expired, restored;
} contest;

static uint64_t next_random(contest *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static uint64_t below(contest *c, uint64_t bound)
{
    return (next_random(c) >> 11) % bound;
}

static void keep_fill(void *context, const book_fill *fill)
{
    fill_list *list = context;
    assert_true(list->count < FILLS_MAX);
    list->fills[list->count++] = *fill;
}

static void assert_same_fill(const book_fill *a, const book_fill *b)
{
    assert_int_equal(a->trade_id, b->trade_id);
    assert_int_equal(a->maker_order_id, b->maker_order_id);
    assert_int_equal(a->maker_client_id, b->maker_client_id);
    assert_int_equal(a->taker_order_id, b->taker_order_id);
    assert_int_equal(a->taker_client_id, b->taker_client_id);
    assert_true(a->price == b->price);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->maker_remaining, b->maker_remaining);
    assert_int_equal(a->taker_remaining, b->taker_remaining);
    assert_int_equal(a->taker_side, b->taker_side);
}

static void assert_same_order(const book_resting *a, const book_resting *b)
{
    assert_int_equal(a->order_id, b->order_id);
    assert_int_equal(a->client_id, b->client_id);
    assert_true(a->price == b->price);
    assert_int_equal(a->remaining, b->remaining);
    assert_int_equal(a->filled, b->filled);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->expire_ns, b->expire_ns);
    assert_int_equal(a->side, b->side);
    assert_int_equal(a->time_in_force, b->time_in_force);
}

/* Takes the plain book's orders away, best first. */
static int compare_visited(void *context, const book_resting *order)
{
    plain_book *rest = context;
    int best = plain_best(rest, order->side);
    assert_true(best >= 0);
    assert_same_order(order, &rest->orders[best]);
    plain_drop(rest, best);
    return 0;
}

static void compare_books(const contest *c)
{
    const char *broken = book_check(c->book, true);
    if (broken)
        fail_msg("%s", broken);
    plain_book rest = c->plain;
    assert_int_equal(book_orders_count(c->book), rest.count);
    assert_int_equal(book_visit(c->book, compare_visited, &rest), 0);
    assert_int_equal(rest.count, 0);
    book_counters counters = book_get_counters(c->book);
    assert_int_equal(counters.next_priority, c->plain.counters.next_priority);
    assert_int_equal(counters.trades_count, c->plain.counters.trades_count);
    assert_int_equal(counters.now_ns, c->plain.counters.now_ns);
}

/* ---- commands ---- */

/* Mostly dense around one price, so that orders meet; sometimes anywhere. */
static int64_t random_price(contest *c, book_side side)
{
    static const int64_t far[] = {INT64_MIN, INT64_MAX, 0, -1, 1000000007, -(INT64_C(1) << 40)};
    if (below(c, 50) == 0)
        return far[below(c, 6)];
    int64_t price = 990 + (int64_t)below(c, 20);
    return !c->filling ? price : side == BOOK_BUY ? price - 15 : price + 15;
}

static void random_new(contest *c)
{
    book_order order = {
        .order_id = below(c, IDS),
        .client_id = below(c, 5),
        .size = below(c, 40),
        .side = (book_side)below(c, 2),
        .time_in_force = (book_time_in_force)below(c, 3),
    };
    order.price = random_price(c, order.side);
    if (order.time_in_force == BOOK_GTD)
        order.expire_ns = c->plain.counters.now_ns + below(c, 300);

    fill_list got = {.count = 0}, expected = {.count = 0};
    book_placed placed = {0};
    const book_events events = {.on_fill = keep_fill, .context = &got};
    book_refusal refusal = book_new_order(c->book, &order, &events, &placed);
    assert_int_equal(refusal, plain_new(&c->plain, &order, &expected));
    assert_int_equal(got.count, expected.count);
    for (uint32_t i = 0; i < got.count; i++)
        assert_same_fill(&got.fills[i], &expected.fills[i]);
    if (refusal == BOOK_OK) {
        assert_int_equal(placed.filled + placed.remaining, order.size);
        assert_int_equal(placed.rests, plain_find(&c->plain, order.order_id) >= 0);
    }
    c->refusals[refusal]++;
    c->filled += got.count;
}

static void random_cancel(contest *c)
{
    uint64_t id = below(c, IDS);
    assert_int_equal(book_cancel(c->book, id, NULL), plain_reduce(&c->plain, id, UINT64_MAX));
}

static void random_reduce(contest *c)
{
    uint64_t id = below(c, IDS), by = below(c, 30);
    assert_int_equal(book_reduce(c->book, id, by, NULL), plain_reduce(&c->plain, id, by));
}

static void compare_expired(void *context, const book_resting *order)
{
    contest *c = context;
    int due = plain_due(&c->plain);
    assert_true(due >= 0);
    assert_same_order(order, &c->plain.orders[due]);
    plain_drop(&c->plain, due);
    c->expired++;
}

static void random_tick(contest *c)
{
    c->plain.counters.now_ns += 1 + below(c, 60);
    (void)book_expire(c->book, c->plain.counters.now_ns, compare_expired, c);
    assert_true(plain_due(&c->plain) < 0);
}

static int copy_order(void *other, const book_resting *order)
{
    return book_restore_order(other, order);
}

/* The contest goes on with a book restored from a visit: it must behave the same from there. */
static void snapshot_and_restore(contest *c)
{
    order_book *other = NULL;
    book_options options = {.orders_max = ORDERS_MAX, .levels_max = LEVELS_MAX};
    assert_int_equal(book_create(&options, &other), 0);
    assert_int_equal(book_visit(c->book, copy_order, other), 0);
    book_counters counters = book_get_counters(c->book);
    assert_int_equal(book_restore_counters(other, &counters), 0);
    assert_true(baton_digest_equal(book_digest(c->book), book_digest(other)));
    book_destroy(c->book);
    c->book = other;
    c->restored++;
}

static uint64_t seed(void)
{
    const char *given = getenv("BATON_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)value);
    return value;
}

static void random_commands_give_what_a_plain_book_gives(void **state)
{
    (void)state;
    contest c = {.random = seed() * 0x9e3779b97f4a7c15u | 1};
    c.plain.counters.next_priority = 1;
    book_options options = {.orders_max = ORDERS_MAX, .levels_max = LEVELS_MAX};
    assert_int_equal(book_create(&options, &c.book), 0);

    for (int i = 0; i < COMMANDS; i++) {
        uint64_t kind = below(&c, 100);
        if (i % 500 == 0)
            c.filling = below(&c, 2) == 0;
        if (kind < 60 || (c.filling && kind < 85))
            random_new(&c);
        else if (kind < 75)
            random_cancel(&c);
        else if (kind < 90)
            random_reduce(&c);
        else if (kind < 97)
            random_tick(&c);
        else if (kind < 98)
            snapshot_and_restore(&c);
        if (i % 8 == 0)
            compare_books(&c);
    }
    compare_books(&c);
    assert_true(c.filled > 1000 && c.expired > 100 && c.restored > 100);
    assert_true(c.refusals[BOOK_ORDERS_FULL] > 10 && c.refusals[BOOK_LEVELS_FULL] > 10 &&
                c.refusals[BOOK_DUPLICATE_ID] > 100 && c.refusals[BOOK_EXPIRED] > 10);
    book_destroy(c.book);
}

/* ---- pools at their limits ---- */

static void a_book_of_one_slot_behaves_like_a_plain_one(void **state)
{
    (void)state;
    order_book *book = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = 1, .levels_max = 1}, &book), 0);
    contest c = {.random = seed() | 1};
    bool rests = false;
    for (int i = 0; i < 10000; i++) {
        book_order order = {.order_id = 1 + below(&c, 3),
                            .price = (int64_t)next_random(&c),
                            .size = 1,
                            .side = BOOK_BUY};
        book_placed placed;
        if (below(&c, 2) == 0) {
            book_refusal refusal = book_new_order(book, &order, NULL, &placed);
            assert_int_equal(refusal == BOOK_OK, !rests);
            rests = true;
        } else {
            bool found = false;
            for (uint64_t id = 1; id <= 3; id++)
                found |= book_cancel(book, id, NULL) == BOOK_OK;
            assert_int_equal(found, rests);
            rests = false;
        }
        assert_null(book_check(book, true));
    }
    book_destroy(book);
}

/* Ids that fall on neighbouring places and prices that share long prefixes. */
static void many_ids_and_prices_come_and_go(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    order_book *book = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = COUNT, .levels_max = COUNT}, &book),
                     0);
    contest c = {.random = seed() | 1};
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            book_order order = {.order_id = i << (round * 16),
                                .size = 1,
                                .side = BOOK_SELL,
                                .price = (int64_t)(i * (round == 1 ? 1 : 1u << 31))};
            book_placed placed;
            assert_int_equal(book_new_order(book, &order, NULL, &placed), BOOK_OK);
        }
        assert_null(book_check(book, true));
        uint64_t start = below(&c, COUNT);
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t id = (start + i * 7919) % COUNT; /* a prime: every id once */
            assert_int_equal(book_cancel(book, id << (round * 16), NULL), BOOK_OK);
            if (i == COUNT / 2)
                assert_null(book_check(book, true));
        }
        assert_int_equal(book_orders_count(book), 0);
        assert_null(book_check(book, true));
    }
    book_destroy(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_commands_give_what_a_plain_book_gives),
        cmocka_unit_test(a_book_of_one_slot_behaves_like_a_plain_one),
        cmocka_unit_test(many_ids_and_prices_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
