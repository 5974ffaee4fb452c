/* Orders of funded accounts: held, matched, settled, cancelled; and never more is held than open
 * orders need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "examples/exchange/replay/orders_state.h"

#define ONE 100000000u /* one unit of base */

typedef struct {
    orders_state state;
    char *events;
    size_t events_bytes;
} fixture;

static int open_state(void **state)
{
    static fixture made;
    made = (fixture){0};
    *state = &made;
    made.state.events.file = open_memstream(&made.events, &made.events_bytes);
    int r = replay_book_open(&made.state.replay, REPLAY_ARENA, NULL);
    return r < 0 ? r : ledger_create(&(ledger_options){.accounts_max = 1000}, &made.state.ledger);
}

static int close_state(void **state)
{
    fixture *f = *state;
    fclose(f->state.events.file);
    free(f->events);
    id_map_fini(&f->state.known);
    ledger_destroy(f->state.ledger);
    replay_book_close(&f->state.replay);
    return 0;
}

static void fund(fixture *f, uint64_t user, uint64_t base, uint64_t quote)
{
    assert_int_equal(ledger_deposit(f->state.ledger, (ledger_account){user, 1}, base), LEDGER_OK);
    assert_int_equal(ledger_deposit(f->state.ledger, (ledger_account){user, 2}, quote), LEDGER_OK);
}

static void place(fixture *f, uint64_t id, uint64_t user, book_side side, int64_t price,
                  uint64_t size)
{
    orders_command command = {.action = ORDERS_PLACE,
                              .order_id = id,
                              .user_id = user,
                              .side = side,
                              .price = price,
                              .size = size};
    assert_int_equal(orders_apply(&f->state, &command, NULL), 0);
}

static void cancel(fixture *f, uint64_t id, uint64_t user)
{
    orders_command command = {.action = ORDERS_CANCEL, .order_id = id, .user_id = user};
    assert_int_equal(orders_apply(&f->state, &command, NULL), 0);
}

static void assert_events(fixture *f, const char *expected)
{
    fflush(f->state.events.file);
    assert_string_equal(f->events, expected);
}

static void assert_balance(const fixture *f, uint64_t user, uint32_t asset, uint64_t available,
                           uint64_t held)
{
    ledger_balance balance;
    assert_true(ledger_find(f->state.ledger, (ledger_account){user, asset}, &balance));
    assert_int_equal(balance.available, available);
    assert_int_equal(balance.held, held);
}

static void a_taker_pays_the_makers_price(void **state)
{
    fixture *f = *state;
    fund(f, 1, 5u * ONE, 0);
    fund(f, 2, 0, 1000);
    place(f, 10, 1, BOOK_SELL, 100, 2u * ONE);
    place(f, 11, 1, BOOK_SELL, 110, 2u * ONE);
    place(f, 12, 2, BOOK_BUY, 120, 3u * ONE);
    assert_balance(f, 2, 2, 690, 0); /* 2 at 100 and 1 at 110 */
    assert_balance(f, 2, 1, 3u * ONE, 0);
    assert_balance(f, 1, 2, 310, 0);
    assert_balance(f, 1, 1, ONE, ONE);
    assert_events(f, "accepted,10,1,1,,,,\n"
                     "accepted,11,1,2,,,,\n"
                     "accepted,12,2,3,,,,\n"
                     "filled,12,2,,300000000,,103,\n"); /* the average, rounded down */
}

static void a_partial_fill_goes_on_holding_for_the_rest(void **state)
{
    fixture *f = *state;
    fund(f, 1, ONE, 0);
    fund(f, 2, 0, 1000);
    place(f, 10, 1, BOOK_SELL, 90, ONE);
    place(f, 11, 2, BOOK_BUY, 100, 3u * ONE);
    assert_balance(f, 2, 2, 710, 200);
    assert_events(f, "accepted,10,1,1,,,,\n"
                     "accepted,11,2,2,,,,\n"
                     "partial_filled,11,2,,100000000,200000000,,\n");
    cancel(f, 11, 2);
    assert_balance(f, 2, 2, 910, 0);
    assert_int_equal(book_orders_count(f->state.replay.book), 0);
}

static void refused_commands_say_why_and_change_no_balance(void **state)
{
    fixture *f = *state;
    fund(f, 1, ONE, 500);
    fund(f, 2, 0, 500);
    place(f, 1, 1, BOOK_BUY, 100, ONE);
    place(f, 2, 1, BOOK_BUY, 401, ONE); /* holds 100 of its 500 already */
    place(f, 3, 9, BOOK_BUY, 1, ONE);
    place(f, 1, 1, BOOK_BUY, 1, ONE);
    place(f, 4, 1, BOOK_BUY, 0, ONE);
    place(f, 5, 1, BOOK_BUY, 1, 0);
    place(f, 6, 1, BOOK_BUY, INT64_MAX, (uint64_t)INT64_MAX);
    cancel(f, 1, 2);
    cancel(f, 77, 1);
    assert_balance(f, 1, 2, 400, 100);
    assert_events(f, "accepted,1,1,1,,,,\n"
                     "rejected,2,1,2,,,,insufficient_balance\n"
                     "rejected,3,9,3,,,,account_not_found\n"
                     "rejected,1,1,4,,,,duplicate_order_id\n"
                     "rejected,4,1,5,,,,invalid_price\n"
                     "rejected,5,1,6,,,,invalid_quantity\n"
                     "rejected,6,1,7,,,,amount_overflow\n"
                     "rejected,1,2,8,,,,not_owner\n"
                     "rejected,77,1,9,,,,order_not_found\n");
    assert_int_equal(f->state.counts.rejected, 8);
}

static void an_id_is_never_used_twice_even_after_its_order_is_gone(void **state)
{
    fixture *f = *state;
    fund(f, 1, ONE, 500);
    place(f, 1, 1, BOOK_BUY, 100, ONE);
    cancel(f, 1, 1);
    place(f, 1, 1, BOOK_BUY, 100, ONE);
    assert_events(f, "accepted,1,1,1,,,,\n"
                     "cancelled,1,1,,0,100000000,,\n"
                     "rejected,1,1,3,,,,duplicate_order_id\n");
    assert_balance(f, 1, 2, 500, 0);
}

/* ---- random ---- */

enum { USERS = 6 };

typedef struct {
    uint64_t held[USERS + 1][3]; /* by user and asset: what the open orders need */
} needs;

static int add_need(void *context, const book_resting *order)
{
    needs *sum = context;
    if (order->side == BOOK_SELL)
        sum->held[order->client_id][1] += order->remaining;
    else
        sum->held[order->client_id][2] +=
            (uint64_t)((unsigned __int128)(uint64_t)order->price * order->remaining / ONE);
    return 0;
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

/* Mostly by its owner. */
static void cancel_some(fixture *f, uint64_t id, uint64_t user)
{
    book_resting order;
    bool owned = user > 1 && book_find(f->state.replay.book, id, &order);
    cancel(f, id, owned ? order.client_id : user);
}

static void accounts_hold_exactly_what_their_open_orders_need(void **state)
{
    fixture *f = *state;
    const char *given = getenv("BATON_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)seed);
    uint64_t random = seed * 0x9e3779b97f4a7c15u | 1;
    for (uint64_t user = 1; user <= USERS; user++)
        fund(f, user, 40u * ONE, 5000000);

    for (uint64_t id = 1; id <= 20000; id++) {
        uint64_t user = 1 + next_random(&random) % USERS;
        if (next_random(&random) % 3 == 0)
            cancel_some(f, id - next_random(&random) % (id < 60 ? id : 60), user);
        else
            place(f, id, user, (book_side)(next_random(&random) % 2),
                  80000 + (int64_t)(next_random(&random) % 2000), 1 + next_random(&random) % ONE);
        if (id % 16 != 0)
            continue;
        needs sum = {0};
        (void)book_visit(f->state.replay.book, add_need, &sum);
        for (user = 1; user <= USERS; user++) {
            ledger_balance base, quote;
            assert_true(ledger_find(f->state.ledger, (ledger_account){user, 1}, &base));
            assert_true(ledger_find(f->state.ledger, (ledger_account){user, 2}, &quote));
            assert_int_equal(base.held, sum.held[user][1]);
            assert_int_equal(quote.held, sum.held[user][2]);
        }
        assert_true(ledger_total(f->state.ledger, 1) == 40ull * ONE * USERS);
        assert_true(ledger_total(f->state.ledger, 2) == 5000000ull * USERS);
    }
    assert_true(f->state.counts.trades > 500 && f->state.counts.cancelled > 50 &&
                f->state.counts.rejected > 100);
    assert_null(book_check(f->state.replay.book, true));
}

#define ORDERS_TEST(claim) cmocka_unit_test_setup_teardown(claim, open_state, close_state)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ORDERS_TEST(a_taker_pays_the_makers_price),
        ORDERS_TEST(a_partial_fill_goes_on_holding_for_the_rest),
        ORDERS_TEST(refused_commands_say_why_and_change_no_balance),
        ORDERS_TEST(an_id_is_never_used_twice_even_after_its_order_is_gone),
        ORDERS_TEST(accounts_hold_exactly_what_their_open_orders_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
