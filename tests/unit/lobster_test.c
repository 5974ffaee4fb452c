/* LOBSTER messages against the book: seeded levels, ids that were never added, and matching. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "examples/exchange/replay/lobster_apply.h"

typedef struct {
    lobster_engine engine;
    char *fills; /* what was written, after read_fills() */
    size_t fills_bytes;
} fixture;

static int open_mode(void **state, lobster_mode mode)
{
    static fixture made;
    made = (fixture){0};
    *state = &made;
    int r = lobster_engine_open(&made.engine, mode, REPLAY_ARENA, NULL);
    made.engine.fills = open_memstream(&made.fills, &made.fills_bytes);
    return r;
}

static int open_recorded(void **state)
{
    return open_mode(state, LOBSTER_AS_RECORDED);
}

static int open_match(void **state)
{
    return open_mode(state, LOBSTER_MATCH);
}

static int close_engine(void **state)
{
    fixture *f = *state;
    fclose(f->engine.fills);
    free(f->fills);
    lobster_engine_close(&f->engine);
    return 0;
}

static const char *read_fills(fixture *f)
{
    fflush(f->engine.fills);
    return f->fills;
}

static int apply(fixture *f, lobster_type type, uint64_t id, uint64_t size, int64_t price,
                 book_side side)
{
    lobster_message message = {
        .type = type, .order_id = id, .size = size, .price = price, .side = side};
    return lobster_apply(&f->engine, &message, NULL);
}

static void assert_best(const fixture *f, book_side side, int64_t price, uint64_t size)
{
    book_level level;
    assert_int_equal(book_levels(f->engine.replay.book, 0, side, &level, 1), 1);
    assert_int_equal(level.price, price);
    assert_int_equal(level.size, size);
    assert_null(book_check(f->engine.replay.book, false));
}

static void each_message_changes_the_order_it_names(void **state)
{
    fixture *f = *state;
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 2, 10, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_REDUCE, 1, 3, 100, BOOK_BUY), 0);
    assert_best(f, BOOK_BUY, 100, 17);
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 2, 4, 100, BOOK_BUY), 0);
    assert_best(f, BOOK_BUY, 100, 13);
    assert_int_equal(apply(f, LOBSTER_DELETE, 1, 7, 100, BOOK_BUY), 0);
    assert_best(f, BOOK_BUY, 100, 6);
    assert_string_equal(read_fills(f), "4,2,100,4\n");
    assert_int_equal(f->engine.counts.executed_exactly, 1);
}

static void hidden_executions_crosses_and_halts_leave_the_book_alone(void **state)
{
    fixture *f = *state;
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_BUY), 0);
    baton_digest before = book_digest(f->engine.replay.book);
    assert_int_equal(apply(f, LOBSTER_EXECUTE_HIDDEN, 0, 5, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_CROSS, 0, 5, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_HALT, 0, 0, -1, BOOK_BUY), 0);
    assert_true(baton_digest_equal(before, book_digest(f->engine.replay.book)));
    assert_int_equal(f->engine.counts.messages, 4);
}

static void an_id_never_added_means_the_seeded_order_of_its_price(void **state)
{
    fixture *f = *state;
    assert_int_equal(lobster_seed(&f->engine, 0, BOOK_SELL, 200, 50, NULL), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 200, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 77, 20, 200, BOOK_SELL), 0);
    assert_best(f, BOOK_SELL, 200, 40);
    assert_int_equal(apply(f, LOBSTER_REDUCE, 78, 5, 200, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_DELETE, 79, 5, 200, BOOK_SELL), 0);
    assert_best(f, BOOK_SELL, 200, 30);
    assert_string_equal(read_fills(f), "2,1000000000000000000,200,20\n");

    /* More than the seeded order holds removes it; then its price has no seeded order any more. */
    assert_int_equal(apply(f, LOBSTER_DELETE, 80, 500, 200, BOOK_SELL), 0);
    assert_best(f, BOOK_SELL, 200, 10);
    assert_int_equal(apply(f, LOBSTER_DELETE, 81, 5, 200, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_DELETE, 82, 5, 300, BOOK_SELL), 0);
    assert_best(f, BOOK_SELL, 200, 10);
    assert_int_equal(f->engine.counts.ignored, 2);
}

static void an_order_that_is_gone_is_not_taken_for_a_seeded_one(void **state)
{
    fixture *f = *state;
    assert_int_equal(lobster_seed(&f->engine, 0, BOOK_SELL, 200, 50, NULL), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 200, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_DELETE, 1, 10, 200, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_DELETE, 1, 10, 200, BOOK_SELL), 0);
    assert_best(f, BOOK_SELL, 200, 50);
    assert_int_equal(f->engine.counts.ignored, 1);
}

static void the_first_message_of_a_seeded_replay_is_already_in_the_book(void **state)
{
    fixture *f = *state;
    assert_int_equal(lobster_seed(&f->engine, 0, BOOK_BUY, 100, 50, NULL), 0);
    lobster_message first = {
        .type = LOBSTER_NEW, .order_id = 5, .size = 18, .price = 100, .side = BOOK_BUY};
    assert_int_equal(lobster_apply_seeded(&f->engine, &first, NULL), 0);
    assert_best(f, BOOK_BUY, 100, 50);
    book_resting own;
    assert_true(book_find(f->engine.replay.book, 5, &own));
    assert_int_equal(own.remaining, 18);
    assert_true(book_front(f->engine.replay.book, 0, BOOK_BUY, 100, &own));
    assert_int_equal(own.order_id, LOBSTER_SEED_ID);
    assert_int_equal(own.remaining, 32);
}

static void a_seed_that_lacks_the_first_message_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(lobster_seed(&f->engine, 0, BOOK_BUY, 100, 5, NULL), 0);
    lobster_message first = {
        .type = LOBSTER_NEW, .order_id = 5, .size = 18, .price = 100, .side = BOOK_BUY};
    baton_error error = {0};
    assert_int_equal(lobster_apply_seeded(&f->engine, &first, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.why, "seed book"));
}

static void matching_fills_the_oldest_order_at_the_best_price(void **state)
{
    fixture *f = *state;
    assert_int_equal(lobster_seed(&f->engine, 0, BOOK_BUY, 100, 5, NULL), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 2, 10, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 99, 5, 100, BOOK_BUY), 0); /* the seeded one */
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 1, 4, 100, BOOK_BUY), 0);
    assert_int_equal(f->engine.counts.executed_exactly, 2);

    /* The record says 2, price-time says 1: an exception to time priority. */
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 2, 8, 100, BOOK_BUY), 0);
    assert_int_equal(f->engine.counts.executed_exactly, 2);
    assert_string_equal(read_fills(f), "3,1000000000000000000,100,5\n"
                                       "4,1,100,4\n"
                                       "5,1,100,6\n"
                                       "5,2,100,2\n");
    assert_int_equal(f->engine.counts.fills, 4);
}

static void matching_never_trades_beyond_the_recorded_price(void **state)
{
    fixture *f = *state;
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 99, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_EXECUTE, 1, 4, 100, BOOK_BUY), 0);
    assert_string_equal(read_fills(f) ? read_fills(f) : "", "");
    assert_best(f, BOOK_BUY, 99, 10);
}

static void a_crossing_order_rests_as_recorded_but_trades_when_matching(void **state)
{
    fixture *f = *state;
    bool match = f->engine.mode == LOBSTER_MATCH;
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_SELL), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 2, 4, 101, BOOK_BUY), 0);
    assert_int_equal(book_orders_count(f->engine.replay.book), match ? 1 : 2);
    assert_int_equal(f->engine.counts.fills, match ? 1 : 0);
}

static void impossible_messages_are_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_BUY), 0);
    assert_int_equal(apply(f, LOBSTER_NEW, 1, 10, 100, BOOK_BUY), BATON_E_INVALID);
    assert_int_equal(apply(f, LOBSTER_NEW, 2, 0, 100, BOOK_BUY), BATON_E_INVALID);
    assert_int_equal(apply(f, LOBSTER_NEW, 2, 1ull << 63, 100, BOOK_BUY), BATON_E_INVALID);
    assert_int_equal(apply(f, LOBSTER_REDUCE, 1, 0, 100, BOOK_BUY), BATON_E_INVALID);
    assert_int_equal(apply(f, LOBSTER_NEW, LOBSTER_SEED_ID, 1, 100, BOOK_BUY), BATON_E_INVALID);
    assert_best(f, BOOK_BUY, 100, 10);
}

static void the_book_grows_past_its_first_pools(void **state)
{
    fixture *f = *state;
    enum { COUNT = 70000 };
    for (uint64_t i = 1; i <= COUNT; i++)
        assert_int_equal(apply(f, LOBSTER_NEW, i, 1, (int64_t)(i % 20000), BOOK_BUY), 0);
    assert_int_equal(book_orders_count(f->engine.replay.book), COUNT);
    assert_null(book_check(f->engine.replay.book, true));
    assert_int_equal(apply(f, LOBSTER_DELETE, 1, 1, 1, BOOK_BUY), 0);
    assert_int_equal(f->engine.counts.deleted, 1);
}

#define RECORDED_TEST(claim) cmocka_unit_test_setup_teardown(claim, open_recorded, close_engine)
#define MATCH_TEST(claim)    cmocka_unit_test_setup_teardown(claim, open_match, close_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECORDED_TEST(each_message_changes_the_order_it_names),
        RECORDED_TEST(hidden_executions_crosses_and_halts_leave_the_book_alone),
        RECORDED_TEST(an_id_never_added_means_the_seeded_order_of_its_price),
        RECORDED_TEST(an_order_that_is_gone_is_not_taken_for_a_seeded_one),
        RECORDED_TEST(the_first_message_of_a_seeded_replay_is_already_in_the_book),
        RECORDED_TEST(a_seed_that_lacks_the_first_message_is_refused),
        MATCH_TEST(matching_fills_the_oldest_order_at_the_best_price),
        MATCH_TEST(matching_never_trades_beyond_the_recorded_price),
        RECORDED_TEST(a_crossing_order_rests_as_recorded_but_trades_when_matching),
        MATCH_TEST(a_crossing_order_rests_as_recorded_but_trades_when_matching),
        RECORDED_TEST(impossible_messages_are_refused),
        MATCH_TEST(impossible_messages_are_refused),
        RECORDED_TEST(the_book_grows_past_its_first_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
