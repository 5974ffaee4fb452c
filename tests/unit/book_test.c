/* The order book, claim by claim. book_random_test.c compares it with a plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "examples/exchange/book/book.h"

#define FILLS_MAX 64

typedef struct {
    order_book *book;
    book_fill fills[FILLS_MAX];
    uint32_t fills_count;
    book_resting expired[FILLS_MAX];
    uint32_t expired_count;
} fixture;

static int open_book(void **state)
{
    static fixture made;
    made = (fixture){0};
    *state = &made;
    return book_create(&(book_options){.orders_max = 64, .levels_max = 16}, &made.book);
}

static int close_book(void **state)
{
    fixture *f = *state;
    book_destroy(f->book);
    return 0;
}

static void keep_fill(void *context, const book_fill *fill)
{
    fixture *f = context;
    assert_true(f->fills_count < FILLS_MAX);
    f->fills[f->fills_count++] = *fill;
}

static void keep_expired(void *context, const book_resting *order)
{
    fixture *f = context;
    assert_true(f->expired_count < FILLS_MAX);
    f->expired[f->expired_count++] = *order;
}

static book_refusal send(fixture *f, book_order order)
{
    book_placed placed;
    f->fills_count = 0;
    const book_events events = {.on_fill = keep_fill, .context = f};
    return book_new_order(f->book, &order, &events, &placed);
}

static book_refusal limit(fixture *f, uint64_t id, book_side side, int64_t price, uint64_t size)
{
    return send(
        f, (book_order){
               .order_id = id, .client_id = 100 + id, .side = side, .price = price, .size = size});
}

static book_refusal ioc(fixture *f, uint64_t id, book_side side, int64_t price, uint64_t size)
{
    return send(
        f,
        (book_order){
            .order_id = id, .side = side, .price = price, .size = size, .time_in_force = BOOK_IOC});
}

static book_refusal gtd(fixture *f, uint64_t id, int64_t price, uint64_t expire_ns)
{
    return send(f, (book_order){.order_id = id,
                                .side = BOOK_BUY,
                                .price = price,
                                .size = 1,
                                .time_in_force = BOOK_GTD,
                                .expire_ns = expire_ns});
}

static void assert_sound(const fixture *f)
{
    const char *broken = book_check(f->book, true);
    if (broken)
        fail_msg("%s", broken);
}

static void assert_fill(const fixture *f, uint32_t index, uint64_t maker, int64_t price,
                        uint64_t size)
{
    assert_true(index < f->fills_count);
    assert_int_equal(f->fills[index].maker_order_id, maker);
    assert_int_equal(f->fills[index].price, price);
    assert_int_equal(f->fills[index].size, size);
}

static void better_price_fills_first_then_older_order(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 101, 5), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(limit(f, 3, BOOK_SELL, 100, 5), BOOK_OK);

    assert_int_equal(limit(f, 4, BOOK_BUY, 101, 12), BOOK_OK);
    assert_int_equal(f->fills_count, 3);
    assert_fill(f, 0, 2, 100, 5);
    assert_fill(f, 1, 3, 100, 5);
    assert_fill(f, 2, 1, 101, 2);
    assert_int_equal(f->fills[2].maker_remaining, 3);
    assert_int_equal(f->fills[2].taker_remaining, 0);
    assert_int_equal(f->fills[2].maker_client_id, 101);
    assert_int_equal(f->fills[2].taker_client_id, 104);
    assert_int_equal(f->fills[2].trade_id, 3);
    assert_false(book_find(f->book, 4, NULL));
    assert_sound(f);
}

static void a_limit_order_never_trades_beyond_its_price(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_BUY, 99, 5), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(f->fills_count, 0);

    assert_int_equal(limit(f, 3, BOOK_SELL, 99, 8), BOOK_OK);
    assert_int_equal(f->fills_count, 1);
    book_resting rest;
    assert_true(book_find(f->book, 3, &rest));
    assert_int_equal(rest.remaining, 3);
    assert_int_equal(rest.filled, 5);
    assert_int_equal(rest.price, 99);
    assert_sound(f);
}

static void an_ioc_order_takes_what_it_can_and_never_rests(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, 5), BOOK_OK);
    book_placed placed;
    book_order order = {
        .order_id = 2, .side = BOOK_BUY, .price = 100, .size = 9, .time_in_force = BOOK_IOC};
    assert_int_equal(book_new_order(f->book, &order, NULL, &placed), BOOK_OK);
    assert_int_equal(placed.filled, 5);
    assert_int_equal(placed.remaining, 4);
    assert_false(placed.rests);
    assert_int_equal(book_orders_count(f->book), 0);
    assert_sound(f);
}

static void a_client_may_trade_with_itself(void **state)
{
    fixture *f = *state;
    assert_int_equal(
        send(f,
             (book_order){.order_id = 1, .client_id = 7, .side = BOOK_BUY, .price = 5, .size = 1}),
        BOOK_OK);
    assert_int_equal(
        send(f,
             (book_order){.order_id = 2, .client_id = 7, .side = BOOK_SELL, .price = 5, .size = 1}),
        BOOK_OK);
    assert_int_equal(f->fills_count, 1);
}

static void reducing_keeps_time_priority(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_SELL, 100, 5), BOOK_OK);
    book_resting before;
    assert_int_equal(book_reduce(f->book, 1, 2, &before), BOOK_OK);
    assert_int_equal(before.remaining, 5);
    assert_sound(f);

    assert_int_equal(ioc(f, 3, BOOK_BUY, 100, 4), BOOK_OK);
    assert_int_equal(f->fills_count, 2);
    assert_fill(f, 0, 1, 100, 3);
    assert_fill(f, 1, 2, 100, 1);
}

static void reducing_by_all_or_more_removes_the_order(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(book_reduce(f->book, 1, 5, NULL), BOOK_OK);
    assert_int_equal(book_reduce(f->book, 2, UINT64_MAX, NULL), BOOK_OK);
    assert_int_equal(book_orders_count(f->book), 0);
    assert_int_equal(book_levels_count(f->book, 0, BOOK_SELL), 0);
    assert_int_equal(book_reduce(f->book, 2, 1, NULL), BOOK_UNKNOWN_ORDER);
    assert_sound(f);
}

static void a_cancelled_order_is_gone_and_its_id_free(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_BUY, 10, 5), BOOK_OK);
    book_resting was;
    assert_int_equal(book_cancel(f->book, 1, &was), BOOK_OK);
    assert_int_equal(was.price, 10);
    assert_int_equal(book_cancel(f->book, 1, NULL), BOOK_UNKNOWN_ORDER);
    assert_int_equal(limit(f, 1, BOOK_SELL, 11, 2), BOOK_OK);
    assert_sound(f);
}

static void a_refused_order_changes_nothing(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, 5), BOOK_OK);
    assert_int_equal(book_expire(f->book, 1000, NULL, NULL), 0);
    baton_digest before = book_digest(f->book);

    static const struct {
        book_order order;
        book_refusal refusal;
    } bad[] = {
        {{.order_id = 1, .side = BOOK_BUY, .price = 100, .size = 1}, BOOK_DUPLICATE_ID},
        {{.order_id = 1, .side = BOOK_BUY, .price = 100, .size = 1, .time_in_force = BOOK_IOC},
         BOOK_DUPLICATE_ID},
        {{.order_id = 2, .side = BOOK_BUY, .price = 100, .size = 0}, BOOK_BAD_SIZE},
        {{.order_id = 2, .side = BOOK_BUY, .price = 100, .size = 1ull << 63}, BOOK_BAD_SIZE},
        {{.order_id = 2, .side = (book_side)2, .price = 100, .size = 1}, BOOK_BAD_SIDE},
        {{.order_id = 2, .price = 100, .size = 1, .time_in_force = (book_time_in_force)5},
         BOOK_BAD_TIME_IN_FORCE},
        {{.order_id = 2, .price = 100, .size = 1, .expire_ns = 2000}, BOOK_BAD_TIME_IN_FORCE},
        {{.order_id = 2, .price = 100, .size = 1, .time_in_force = BOOK_GTD, .expire_ns = 1000},
         BOOK_EXPIRED},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(send(f, bad[i].order), bad[i].refusal);
        assert_int_equal(f->fills_count, 0);
        assert_true(baton_digest_equal(before, book_digest(f->book)));
    }
    assert_int_equal(book_reduce(f->book, 1, 0, NULL), BOOK_BAD_SIZE);
    assert_int_equal(book_reduce(f->book, 9, 1, NULL), BOOK_UNKNOWN_ORDER);
    assert_true(baton_digest_equal(before, book_digest(f->book)));
}

static void a_full_order_pool_refuses_before_it_matches(void **state)
{
    fixture *f = *state;
    for (uint64_t id = 1; id <= 64; id++)
        assert_int_equal(limit(f, id, BOOK_SELL, 100, 1), BOOK_OK);
    baton_digest before = book_digest(f->book);
    assert_int_equal(limit(f, 65, BOOK_BUY, 100, 1), BOOK_ORDERS_FULL);
    assert_int_equal(f->fills_count, 0);
    assert_true(baton_digest_equal(before, book_digest(f->book)));

    /* An IOC needs no slot, and a cancel makes room. */
    assert_int_equal(ioc(f, 65, BOOK_BUY, 100, 1), BOOK_OK);
    assert_int_equal(f->fills_count, 1);
    assert_int_equal(limit(f, 66, BOOK_SELL, 100, 1), BOOK_OK);
    assert_sound(f);
}

static void a_full_level_pool_refuses_new_prices_only(void **state)
{
    fixture *f = *state;
    for (uint64_t id = 1; id <= 16; id++)
        assert_int_equal(limit(f, id, BOOK_SELL, 100 + (int64_t)id, 1), BOOK_OK);
    assert_int_equal(limit(f, 17, BOOK_BUY, 50, 1), BOOK_LEVELS_FULL);
    assert_int_equal(limit(f, 17, BOOK_SELL, 105, 1), BOOK_OK);
    assert_int_equal(book_cancel(f->book, 1, NULL), BOOK_OK);
    assert_int_equal(limit(f, 18, BOOK_BUY, 50, 1), BOOK_OK);
    assert_sound(f);
}

static void a_level_never_overflows(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, BOOK_SIZE_MAX), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_SELL, 100, BOOK_SIZE_MAX), BOOK_OK);
    assert_int_equal(limit(f, 3, BOOK_SELL, 100, 2), BOOK_LEVEL_OVERFLOW);
    assert_int_equal(limit(f, 3, BOOK_SELL, 100, 1), BOOK_OK);
    book_level level;
    assert_int_equal(book_levels(f->book, 0, BOOK_SELL, &level, 1), 1);
    assert_true(level.size == UINT64_MAX);
    assert_sound(f);
}

static void any_int64_is_a_price(void **state)
{
    fixture *f = *state;
    static const int64_t prices[] = {INT64_MIN, INT64_MIN + 1, -7,           -1, 0,
                                     1,         1 << 20,       INT64_MAX - 1};
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(limit(f, i + 1, BOOK_BUY, prices[(i * 5) % 8], 1), BOOK_OK);
    assert_int_equal(limit(f, 20, BOOK_SELL, INT64_MAX, 1), BOOK_OK);
    assert_sound(f);

    book_level levels[8];
    assert_int_equal(book_levels(f->book, 0, BOOK_BUY, levels, 8), 8);
    for (int i = 0; i < 8; i++)
        assert_true(levels[i].price == prices[7 - i]);
    assert_int_equal(ioc(f, 21, BOOK_SELL, INT64_MIN, 8), BOOK_OK);
    assert_int_equal(f->fills_count, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_true(f->fills[i].price == prices[7 - i]);
    assert_sound(f);
}

static void gtd_orders_expire_by_ticks_earliest_first(void **state)
{
    fixture *f = *state;
    assert_int_equal(gtd(f, 1, 10, 300), BOOK_OK);
    assert_int_equal(gtd(f, 2, 11, 100), BOOK_OK);
    assert_int_equal(gtd(f, 3, 12, 100), BOOK_OK);
    assert_int_equal(limit(f, 4, BOOK_BUY, 9, 1), BOOK_OK);
    assert_true(book_next_expiry_ns(f->book) == 100);

    assert_int_equal(book_expire(f->book, 99, keep_expired, f), 0);
    assert_int_equal(book_expire(f->book, 100, keep_expired, f), 2);
    assert_int_equal(f->expired[0].order_id, 2);
    assert_int_equal(f->expired[1].order_id, 3);
    assert_sound(f);
    assert_int_equal(book_expire(f->book, 100, keep_expired, f), 0);
    assert_int_equal(book_expire(f->book, 50, keep_expired, f), 0);
    assert_int_equal(book_get_counters(f->book).now_ns, 100);
    assert_int_equal(book_expire(f->book, UINT64_MAX, keep_expired, f), 1);
    assert_true(book_next_expiry_ns(f->book) == UINT64_MAX);
    assert_true(book_find(f->book, 4, NULL));
    assert_sound(f);
}

static void a_cancelled_gtd_order_does_not_expire(void **state)
{
    fixture *f = *state;
    for (uint64_t id = 1; id <= 9; id++)
        assert_int_equal(gtd(f, id, 10, 1000 - 100 * id), BOOK_OK);
    assert_int_equal(book_cancel(f->book, 9, NULL), BOOK_OK);
    assert_int_equal(book_cancel(f->book, 4, NULL), BOOK_OK);
    assert_sound(f);
    assert_int_equal(book_expire(f->book, 5000, keep_expired, f), 7);
    for (uint32_t i = 1; i < 7; i++)
        assert_true(f->expired[i - 1].expire_ns < f->expired[i].expire_ns);
    assert_sound(f);
}

static void the_digest_is_of_the_state_and_not_of_its_history(void **state)
{
    fixture *f = *state;
    /* Two orders at 10, the older one first: placed here, restored in other pools there. */
    assert_int_equal(limit(f, 1, BOOK_BUY, 10, 1), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_BUY, 10, 1), BOOK_OK);
    baton_digest direct = book_digest(f->book);
    assert_int_equal(book_cancel(f->book, 1, NULL), BOOK_OK);
    assert_false(baton_digest_equal(direct, book_digest(f->book)));

    order_book *other = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = 9, .levels_max = 3}, &other), 0);
    book_resting first = {.order_id = 1,
                          .client_id = 101,
                          .price = 10,
                          .remaining = 1,
                          .priority = 1,
                          .side = BOOK_BUY};
    book_resting second = {.order_id = 2,
                           .client_id = 102,
                           .price = 10,
                           .remaining = 1,
                           .priority = 2,
                           .side = BOOK_BUY};
    book_counters counters = {.next_priority = 3};
    assert_int_equal(book_restore_order(other, &first), 0);
    assert_int_equal(book_restore_order(other, &second), 0);
    assert_int_equal(book_restore_counters(other, &counters), 0);
    assert_true(baton_digest_equal(direct, book_digest(other)));
    book_destroy(other);
}

static void time_priority_is_part_of_the_digest(void **state)
{
    fixture *f = *state;
    order_book *other = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = 9, .levels_max = 3}, &other), 0);
    fixture swapped = {.book = other};
    assert_int_equal(limit(f, 1, BOOK_BUY, 10, 1), BOOK_OK);
    assert_int_equal(limit(f, 2, BOOK_BUY, 10, 1), BOOK_OK);
    assert_int_equal(limit(&swapped, 2, BOOK_BUY, 10, 1), BOOK_OK);
    assert_int_equal(limit(&swapped, 1, BOOK_BUY, 10, 1), BOOK_OK);
    assert_false(baton_digest_equal(book_digest(f->book), book_digest(other)));
    book_destroy(other);
}

static void restore_refuses_what_no_visit_gives(void **state)
{
    fixture *f = *state;
    const book_resting good = {
        .order_id = 5, .price = 10, .remaining = 4, .priority = 9, .side = BOOK_BUY};
    book_resting bad[8];
    for (int i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].remaining = 0;
    bad[1].priority = 0;
    bad[2].time_in_force = BOOK_IOC;
    bad[3].side = (book_side)7;
    bad[4].expire_ns = 3; /* good till cancelled */
    bad[5].filled = BOOK_SIZE_MAX;
    bad[6].remaining = 1ull << 63;
    bad[7].priority = UINT64_MAX;
    for (int i = 0; i < 8; i++)
        assert_int_equal(book_restore_order(f->book, &bad[i]), BATON_E_INVALID);

    assert_int_equal(book_restore_order(f->book, &good), 0);
    assert_int_equal(book_restore_order(f->book, &good), BATON_E_INVALID);
    book_resting older = good;
    older.order_id = 6;
    older.priority = 8;
    assert_int_equal(book_restore_order(f->book, &older), BATON_E_INVALID);
    book_counters early = {.next_priority = 9};
    assert_int_equal(book_restore_counters(f->book, &early), BATON_E_INVALID);

    book_resting late = good;
    late.order_id = 7;
    late.priority = 10;
    late.time_in_force = BOOK_GTD;
    late.expire_ns = 500;
    assert_int_equal(book_restore_order(f->book, &late), 0);
    book_counters after = {.next_priority = 11, .now_ns = 500};
    assert_int_equal(book_restore_counters(f->book, &after), BATON_E_INVALID);
    after.now_ns = 499;
    assert_int_equal(book_restore_counters(f->book, &after), 0);
    assert_sound(f);
}

static void restore_into_a_smaller_book_is_refused_as_full(void **state)
{
    fixture *f = *state;
    (void)f;
    order_book *small = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = 2, .levels_max = 1}, &small), 0);
    book_resting order = {.order_id = 1, .price = 10, .remaining = 1, .priority = 1};
    assert_int_equal(book_restore_order(small, &order), 0);
    order = (book_resting){.order_id = 2, .price = 11, .remaining = 1, .priority = 2};
    assert_int_equal(book_restore_order(small, &order), BATON_E_FULL);
    order.price = 10;
    assert_int_equal(book_restore_order(small, &order), 0);
    order = (book_resting){.order_id = 3, .price = 10, .remaining = 1, .priority = 3};
    assert_int_equal(book_restore_order(small, &order), BATON_E_FULL);
    book_destroy(small);
}

static void resting_without_matching_may_cross(void **state)
{
    fixture *f = *state;
    assert_int_equal(limit(f, 1, BOOK_SELL, 100, 5), BOOK_OK);
    book_order order = {.order_id = 2, .side = BOOK_BUY, .price = 101, .size = 5};
    book_placed placed;
    assert_int_equal(book_rest_order(f->book, &order, &placed), BOOK_OK);
    assert_true(placed.rests);
    assert_int_equal(book_get_counters(f->book).trades_count, 0);
    assert_null(book_check(f->book, false));
    assert_string_equal(book_check(f->book, true), "the book is crossed");
    order.order_id = 3;
    order.time_in_force = BOOK_IOC;
    assert_int_equal(book_rest_order(f->book, &order, &placed), BOOK_BAD_TIME_IN_FORCE);
}

static void pool_sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    order_book *none = NULL;
    assert_int_equal(book_create(&(book_options){.orders_max = 0, .levels_max = 1}, &none),
                     BATON_E_INVALID);
    assert_int_equal(
        book_create(&(book_options){.orders_max = 1, .levels_max = BOOK_ORDERS_MAX + 1}, &none),
        BATON_E_INVALID);
    assert_null(none);
}

static void every_refusal_has_a_name_and_a_text(void **state)
{
    (void)state;
    for (int i = BOOK_OK; i <= BOOK_NOT_OWNER; i++) {
        assert_string_not_equal(book_refusal_name((book_refusal)i), "UNKNOWN_REFUSAL");
        assert_true(strlen(book_refusal_text((book_refusal)i)) > 3);
    }
    assert_string_equal(book_refusal_name(BOOK_LEVELS_FULL), "LEVELS_FULL");
}

#define BOOK_TEST(claim) cmocka_unit_test_setup_teardown(claim, open_book, close_book)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOK_TEST(better_price_fills_first_then_older_order),
        BOOK_TEST(a_limit_order_never_trades_beyond_its_price),
        BOOK_TEST(an_ioc_order_takes_what_it_can_and_never_rests),
        BOOK_TEST(a_client_may_trade_with_itself),
        BOOK_TEST(reducing_keeps_time_priority),
        BOOK_TEST(reducing_by_all_or_more_removes_the_order),
        BOOK_TEST(a_cancelled_order_is_gone_and_its_id_free),
        BOOK_TEST(a_refused_order_changes_nothing),
        BOOK_TEST(a_full_order_pool_refuses_before_it_matches),
        BOOK_TEST(a_full_level_pool_refuses_new_prices_only),
        BOOK_TEST(a_level_never_overflows),
        BOOK_TEST(any_int64_is_a_price),
        BOOK_TEST(gtd_orders_expire_by_ticks_earliest_first),
        BOOK_TEST(a_cancelled_gtd_order_does_not_expire),
        BOOK_TEST(the_digest_is_of_the_state_and_not_of_its_history),
        BOOK_TEST(time_priority_is_part_of_the_digest),
        BOOK_TEST(restore_refuses_what_no_visit_gives),
        BOOK_TEST(restore_into_a_smaller_book_is_refused_as_full),
        BOOK_TEST(resting_without_matching_may_cross),
        BOOK_TEST(pool_sizes_out_of_range_are_refused),
        BOOK_TEST(every_refusal_has_a_name_and_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
