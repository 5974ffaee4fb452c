/* The risk engine's apply: what may go on, what is held for it, and how reports settle it. Without a journal; each
 * entry is followed by a reconciliation in full. */
#include "tests/unit/risk_stage.h"

enum { ALICE = 1, BOB = 2 };

static int setup(void **state)
{
    risk_stage *own = calloc(1, sizeof(*own));
    risk_begin(own, "1/2/100", "4", "8", "8");
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    risk_stage *own = *state;
    baton_machine_fini(&own->machine);
    free(own);
    return 0;
}

/* Alice has 1000 to pay with, Bob 100 to sell. */
static risk_stage *funded(void **state)
{
    risk_stage *own = *state;
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, ALICE, RISK_QUOTE, 1000), 0);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, BOB, RISK_BASE, 100), 0);
    return own;
}

static exchange_report head_of(uint16_t of_type, uint64_t client, uint64_t seq, uint64_t order_seq)
{
    return (exchange_report){.command = risk_name(client, seq),
                             .order_seq = baton_le64_put(order_seq),
                             .of_type = baton_le16_put(of_type),
                             .flags = EXCHANGE_REPORT_LAST};
}

static void report(risk_stage *own, const exchange_report *head)
{
    risk_take(own, EXCHANGE_MATCHING_ENGINE, EXCHANGE_REPORT, head, sizeof(*head));
    assert_int_equal(own->effects_count, 0);
}

static void report_rests(risk_stage *own, uint16_t of_type, uint64_t client, uint64_t order_seq,
                         uint64_t price, uint64_t remaining)
{
    exchange_report head = head_of(
        of_type, client, of_type == EXCHANGE_NEW_ORDER ? order_seq : own->client_seq, order_seq);
    head.price = baton_le64_put(price);
    head.remaining = baton_le64_put(remaining);
    head.flags |= EXCHANGE_REPORT_RESTS;
    report(own, &head);
}

typedef struct {
    exchange_report head;
    exchange_trade trade;
} one_trade;

/* Bob's order sells to Alice's, which was there. */
static one_trade sells(uint64_t alice_seq, uint64_t bob_seq, uint64_t price, uint64_t size,
                       uint64_t alice_remaining, uint64_t bob_remaining)
{
    one_trade body = {.head = head_of(EXCHANGE_NEW_ORDER, BOB, bob_seq, bob_seq),
                      .trade = {.maker = risk_name(ALICE, alice_seq),
                                .taker = risk_name(BOB, bob_seq),
                                .price = baton_le64_put(price),
                                .size = baton_le64_put(size),
                                .maker_remaining = baton_le64_put(alice_remaining),
                                .taker_remaining = baton_le64_put(bob_remaining),
                                .taker_side = BOOK_SELL}};
    body.head.filled = baton_le64_put(size);
    body.head.remaining = baton_le64_put(bob_remaining);
    body.head.items = EXCHANGE_REPORT_TRADES;
    body.head.items_count = baton_le32_put(1);
    return body;
}

static void an_order_goes_on_when_its_client_can_pay_for_it(void **state)
{
    risk_stage *own = funded(state);
    const baton_digest before = holds_digest(risk_state(own)->holds);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 500, 201), EXCHANGE_INSUFFICIENT);
    assert_int_equal(risk_place(own, ALICE, BOOK_SELL, 500, 1), EXCHANGE_UNKNOWN_ACCOUNT);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, -1, 1), EXCHANGE_NEGATIVE_PRICE);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, INT64_MAX, INT64_MAX),
                     EXCHANGE_AMOUNT_TOO_LARGE);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 500, 0), BOOK_BAD_SIZE);
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 500, 101), EXCHANGE_INSUFFICIENT);
    risk_expect(own, ALICE, RISK_QUOTE, 1000, 0);
    const baton_digest after = holds_digest(risk_state(own)->holds);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(exposures_count(risk_state(own)->exposures), 0);

    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 333, 10), EXCHANGE_PENDING);
    risk_expect(own, ALICE, RISK_QUOTE, 967, 33); /* floor(333 * 10 / 100) */
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 333, 100), EXCHANGE_PENDING);
    risk_expect(own, BOB, RISK_BASE, 0, 100);
}

static void what_does_not_rest_is_released(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 400, 100), EXCHANGE_PENDING);
    exchange_report refused = head_of(EXCHANGE_NEW_ORDER, ALICE, own->client_seq, own->client_seq);
    refused.outcome = baton_le16_put(BOOK_WOULD_TRADE);
    risk_expect(own, ALICE, RISK_QUOTE, 600, 400);
    report(own, &refused);
    risk_expect(own, ALICE, RISK_QUOTE, 1000, 0);

    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 400, 100), EXCHANGE_PENDING);
    const uint64_t order = own->client_seq;
    report_rests(own, EXCHANGE_NEW_ORDER, ALICE, order, 400, 100);
    risk_expect(own, ALICE, RISK_QUOTE, 600, 400);
    report_rests(own, EXCHANGE_REDUCE, ALICE, order, 400, 30);
    risk_expect(own, ALICE, RISK_QUOTE, 880, 120);
    struct {
        exchange_report head;
        exchange_gone gone;
    } expired = {.head = {.of_type = baton_le16_put(EXCHANGE_TICK),
                          .flags = EXCHANGE_REPORT_LAST,
                          .items = EXCHANGE_REPORT_GONE,
                          .items_count = baton_le32_put(1)},
                 .gone = {.order = risk_name(ALICE, order)}};
    risk_take(own, EXCHANGE_MATCHING_ENGINE, EXCHANGE_REPORT, &expired, sizeof(expired));
    risk_expect(own, ALICE, RISK_QUOTE, 1000, 0);
    assert_int_equal(holds_count(risk_state(own)->holds), 0);
}

static void a_trade_moves_its_price_and_the_rest_of_the_hold_comes_back(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 400, 100), EXCHANGE_PENDING);
    const uint64_t alice = own->client_seq;
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 300, 60), EXCHANGE_PENDING);
    const uint64_t bob = own->client_seq;
    const one_trade sold = sells(alice, bob, 350, 50, 50, 10);
    risk_take(own, EXCHANGE_MATCHING_ENGINE, EXCHANGE_REPORT, &sold, sizeof(sold));
    risk_expect(own, ALICE, RISK_QUOTE, 625, 200); /* 175 paid, 200 held for the other half */
    risk_expect(own, ALICE, RISK_BASE, 50, 0);
    risk_expect(own, BOB, RISK_QUOTE, 175, 0);
    risk_expect(own, BOB, RISK_BASE, 50, 0); /* his rest was cancelled */

    const exposure *of = exposures_find(risk_state(own)->exposures, ALICE, 0);
    assert_int_equal(of->position, 50);
    assert_int_equal(of->cash, -175);
    assert_int_equal(of->open[BOOK_BUY], 50);
    of = exposures_find(risk_state(own)->exposures, BOB, 0);
    assert_int_equal(of->position, -50);
    assert_int_equal(of->cash, 175);
    assert_int_equal(of->open[BOOK_SELL], 0);

    /* The same report again, and one of before: nothing. */
    const baton_digest before = risk_digest(own);
    assert_int_equal(
        risk_hear(own, EXCHANGE_MATCHING_ENGINE, 1, 1, EXCHANGE_REPORT, &sold, sizeof(sold)), 0);
    const baton_digest after = risk_digest(own);
    assert_memory_equal(&before, &after, sizeof(before));
}

static void a_replacement_is_held_for_from_when_it_goes_on_until_it_is_answered(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 500, 100), EXCHANGE_PENDING);
    const uint64_t order = own->client_seq;
    report_rests(own, EXCHANGE_NEW_ORDER, ALICE, order, 500, 100);
    assert_int_equal(risk_replace(own, ALICE, order, 1001, 100), EXCHANGE_INSUFFICIENT);
    risk_expect(own, ALICE, RISK_QUOTE, 500, 500);
    assert_int_equal(risk_replace(own, ALICE, order, 1000, 90), EXCHANGE_PENDING);
    risk_expect(own, ALICE, RISK_QUOTE, 100, 900);
    report_rests(own, EXCHANGE_REPLACE, ALICE, order, 1000, 90);
    risk_expect(own, ALICE, RISK_QUOTE, 100, 900);
    /* Cheaper: held until the book says so. */
    assert_int_equal(risk_replace(own, ALICE, order, 100, 0), EXCHANGE_PENDING);
    risk_expect(own, ALICE, RISK_QUOTE, 100, 900);
    report_rests(own, EXCHANGE_REPLACE, ALICE, order, 100, 90);
    risk_expect(own, ALICE, RISK_QUOTE, 910, 90);
    /* Cheaper and larger: all of the old may trade at the old price before it grows. */
    assert_int_equal(risk_replace(own, ALICE, order, 50, 190), EXCHANGE_PENDING);
    risk_expect(own, ALICE, RISK_QUOTE, 860, 140);
    exchange_report refused = head_of(EXCHANGE_REPLACE, ALICE, own->client_seq, order);
    refused.outcome = baton_le16_put(BOOK_LEVELS_FULL);
    refused.flags |= EXCHANGE_REPORT_RESTS;
    report(own, &refused);
    risk_expect(own, ALICE, RISK_QUOTE, 910, 90);
    assert_int_equal(risk_replace(own, BOB, order, 50, 190), BOOK_UNKNOWN_ORDER);
}

static uint16_t kill(risk_stage *own, uint64_t client, uint8_t on)
{
    const exchange_kill body = {
        .command = risk_name(99, ++own->client_seq), .client_id = baton_le64_put(client), .on = on};
    return risk_command(own, EXCHANGE_KILL, &body, sizeof(body));
}

static void a_kill_switch_stops_new_orders_and_lets_cancels_through(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 100), EXCHANGE_PENDING);
    const uint64_t order = own->client_seq;
    report_rests(own, EXCHANGE_NEW_ORDER, ALICE, order, 100, 100);
    for (int all = 0; all < 2; all++) {
        assert_int_equal(kill(own, all ? 0 : ALICE, 1), EXCHANGE_DONE);
        assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_KILLED);
        assert_int_equal(risk_place(own, BOB, BOOK_SELL, 100, 1),
                         all ? EXCHANGE_KILLED : EXCHANGE_PENDING);
        assert_int_equal(risk_replace(own, ALICE, order, 101, 0), EXCHANGE_KILLED);
        assert_int_equal(risk_replace(own, ALICE, order, 100, 90), EXCHANGE_PENDING);
        report_rests(own, EXCHANGE_REPLACE, ALICE, order, 100, 90);
        const exchange_cancel cancel = {.command = risk_name(ALICE, ++own->client_seq),
                                        .order_seq = baton_le64_put(order)};
        assert_int_equal(risk_command(own, EXCHANGE_CANCEL, &cancel, sizeof(cancel)),
                         EXCHANGE_PENDING);
        assert_int_equal(kill(own, all ? 0 : ALICE, 0), EXCHANGE_DONE);
    }
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_PENDING);
}

static uint16_t limit(risk_stage *own, uint64_t client, uint64_t position_max, uint64_t size_max)
{
    const exchange_limit body = {.command = risk_name(99, ++own->client_seq),
                                 .client_id = baton_le64_put(client),
                                 .position_max = baton_le64_put(position_max),
                                 .size_max = baton_le64_put(size_max)};
    return risk_command(own, EXCHANGE_LIMIT, &body, sizeof(body));
}

static void who_may_trade_can_be_stopped_however_full_the_table_is(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_PENDING);
    for (uint64_t client = 2; client <= 4; client++)
        assert_int_equal(limit(own, client, 1, 1), EXCHANGE_DONE);
    assert_int_equal(exposures_room(risk_state(own)->exposures), 0);
    assert_int_equal(limit(own, 5, 1, 1), EXCHANGE_ACCOUNTS_FULL);
    assert_int_equal(kill(own, ALICE, 1), EXCHANGE_DONE);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_KILLED);
    assert_int_equal(kill(own, BOB, 1), EXCHANGE_DONE);
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 100, 1), EXCHANGE_KILLED);
}

static void a_position_stays_within_its_limit_whatever_trades(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(limit(own, ALICE, 50, 40), EXCHANGE_DONE);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 41), EXCHANGE_OVER_LIMIT);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 30), EXCHANGE_PENDING);
    const uint64_t first = own->client_seq;
    report_rests(own, EXCHANGE_NEW_ORDER, ALICE, first, 100, 30);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 21), EXCHANGE_OVER_LIMIT);
    assert_int_equal(risk_replace(own, ALICE, first, 100, 41), EXCHANGE_OVER_LIMIT);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 20), EXCHANGE_PENDING);
    assert_int_equal(risk_replace(own, ALICE, first, 100, 31), EXCHANGE_OVER_LIMIT);
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 100, 30), EXCHANGE_PENDING);
    const one_trade sold = sells(first, own->client_seq, 100, 30, 0, 0);
    risk_take(own, EXCHANGE_MATCHING_ENGINE, EXCHANGE_REPORT, &sold, sizeof(sold));
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_OVER_LIMIT);
    /* Long 30, it may sell that. */
    assert_int_equal(risk_place(own, ALICE, BOOK_SELL, 100, 30), EXCHANGE_PENDING);
}

static void money_comes_in_and_goes_out_by_transfers_only(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_transfer(own, EXCHANGE_WITHDRAW, ALICE, RISK_QUOTE, 1001),
                     EXCHANGE_INSUFFICIENT);
    assert_int_equal(risk_transfer(own, EXCHANGE_WITHDRAW, ALICE, RISK_BASE, 1),
                     EXCHANGE_UNKNOWN_ACCOUNT);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, ALICE, 3, 1), EXCHANGE_UNKNOWN_ASSET);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, 0, RISK_BASE, 1), EXCHANGE_BAD_COMMAND);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, BOB, RISK_QUOTE, INT64_MAX),
                     EXCHANGE_AMOUNT_TOO_LARGE);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, BOB, RISK_QUOTE, INT64_MAX - 1000), 0);
    assert_int_equal(risk_transfer(own, EXCHANGE_WITHDRAW, ALICE, RISK_QUOTE, 400), 0);
    risk_expect(own, ALICE, RISK_QUOTE, 600, 0);
    for (uint64_t client = 3; client <= 7; client++)
        assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, client, RISK_BASE, 1), 0);
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, 8, RISK_BASE, 1), EXCHANGE_ACCOUNTS_FULL);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 1), EXCHANGE_ACCOUNTS_FULL);
}

static void what_is_not_where_it_belongs_is_seen(void **state)
{
    risk_stage *own = funded(state);
    risk_engine *engine = own->machine.state;
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 400, 100), EXCHANGE_PENDING);
    const uint64_t alice = own->client_seq;
    assert_int_equal(ledger_deposit(engine->ledger, (ledger_account){BOB, RISK_QUOTE}, 7),
                     LEDGER_OK);
    assert_int_equal(reconcile_kept(engine), 1);
    assert_int_equal(reconcile_full(engine), 2);
    assert_int_equal(ledger_withdraw(engine->ledger, (ledger_account){BOB, RISK_QUOTE}, 7),
                     LEDGER_OK);
    assert_int_equal(reconcile_full(engine), 0);
    assert_int_equal(ledger_release(engine->ledger, (ledger_account){ALICE, RISK_QUOTE}, 1),
                     LEDGER_OK);
    assert_int_equal(reconcile_kept(engine), 0);
    assert_int_equal(reconcile_full(engine), 1);
    assert_int_equal(ledger_hold(engine->ledger, (ledger_account){ALICE, RISK_QUOTE}, 1),
                     LEDGER_OK);
    const exposure *was = exposures_find(engine->exposures, ALICE, 0);
    const exposure before = *was;
    exposure now = before;
    now.position = 1;
    exposures_change(engine->exposures, was, &now);
    assert_int_equal(reconcile_full(engine), 1);
    now.position = 0;
    now.cash = -1;
    exposures_change(engine->exposures, was, &now);
    assert_int_equal(reconcile_full(engine), 1);
    exposures_change(engine->exposures, was, &before);
    assert_int_equal(reconcile_full(engine), 0);
    /* A trade of an order that never came through here. */
    const one_trade sold = sells(alice, 77, 350, 50, 50, 10);
    assert_int_equal(
        risk_hear(own, EXCHANGE_MATCHING_ENGINE, 1, 1, EXCHANGE_REPORT, &sold, sizeof(sold)), 0);
    assert_int_equal(reconcile_kept(engine), 1);
    risk_expect(own, ALICE, RISK_QUOTE, 600, 400);
}

static int hear_report(risk_stage *own, const void *report, size_t bytes)
{
    return risk_hear(own, EXCHANGE_MATCHING_ENGINE, 1, ++own->key_seq[EXCHANGE_MATCHING_ENGINE],
                     EXCHANGE_REPORT, report, bytes);
}

/* A book that says what nobody asked for is an anomaly, and stops nothing: its report would come again, for ever. */
static void a_report_of_more_than_was_asked_for_is_an_anomaly_and_no_end(void **state)
{
    risk_stage *own = funded(state);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 100), EXCHANGE_PENDING);
    const uint64_t alice = own->client_seq;
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 10), EXCHANGE_PENDING);
    const uint64_t other = own->client_seq;
    assert_int_equal(risk_replace(own, ALICE, other, 101, 0), EXCHANGE_PENDING);
    const uint64_t replace = own->client_seq;
    assert_int_equal(risk_place(own, BOB, BOOK_SELL, 100, 60), EXCHANGE_PENDING);
    const one_trade sold = sells(alice, own->client_seq, 100, 50, UINT64_MAX - 3, 10);
    assert_int_equal(hear_report(own, &sold, sizeof(sold)), 0);
    assert_int_equal(reconcile_kept(risk_state(own)), 1);
    assert_int_equal(holds_find(risk_state(own)->holds, exchange_order_id(ALICE, alice))->remaining,
                     50);

    exchange_report head = head_of(EXCHANGE_REDUCE, ALICE, 70, other);
    head.flags |= EXCHANGE_REPORT_RESTS;
    head.remaining = baton_le64_put(UINT64_MAX);
    assert_int_equal(hear_report(own, &head, sizeof(head)), 0);
    assert_int_equal(reconcile_kept(risk_state(own)), 2);

    head = head_of(EXCHANGE_REPLACE, ALICE, replace, other);
    head.flags |= EXCHANGE_REPORT_RESTS;
    head.remaining = baton_le64_put(10);
    head.price = baton_le64_put(102);
    assert_int_equal(hear_report(own, &head, sizeof(head)), 0);
    assert_int_equal(reconcile_kept(risk_state(own)), 3);
    assert_int_equal(reconcile_full(risk_state(own)), 3); /* and nothing else is wrong */
    risk_expect(own, ALICE, RISK_QUOTE, 890, 60);
}

static void a_barrier_goes_on_and_is_over_when_it_has_come_back(void **state)
{
    risk_stage *own = funded(state);
    exchange_barrier barrier = {.id = baton_le64_put(7), .order_service_seq = baton_le64_put(40)};
    risk_take(own, EXCHANGE_ORDER_SERVICE, EXCHANGE_BARRIER, &barrier, sizeof(barrier));
    assert_int_equal(own->effects_count, 1);
    assert_int_equal(own->effects[0].consumer, EXCHANGE_MATCHING_ENGINE);
    assert_int_equal(own->effects[0].type, EXCHANGE_BARRIER);
    assert_int_equal(risk_state(own)->barrier_seq, own->machine.seq);
    assert_int_equal(risk_state(own)->barrier_under_way, 1);
    barrier.risk_engine_seq = baton_le64_put(own->machine.seq);
    assert_memory_equal(own->effects[0].payload, &barrier, sizeof(barrier));
    risk_take(own, EXCHANGE_MATCHING_ENGINE, EXCHANGE_BARRIER, &barrier, sizeof(barrier));
    assert_int_equal(own->effects_count, 0);
    assert_int_equal(risk_state(own)->barrier_under_way, 0);
}

static void what_only_a_foreign_journal_holds_stops_apply(void **state)
{
    risk_stage *own = funded(state);
    const exchange_barrier id = {.id = baton_le64_put(7)};
    const exchange_report head = {.flags = EXCHANGE_REPORT_LAST};
    const exchange_clock clock = {.command = risk_name(1, 50)};
    assert_true(risk_hear(own, EXCHANGE_SETTLEMENT, 1, 99, EXCHANGE_BARRIER, &id, sizeof(id)) < 0);
    assert_true(
        risk_hear(own, EXCHANGE_ORDER_SERVICE, 1, 99, EXCHANGE_REPORT, &head, sizeof(head)) < 0);
    assert_true(
        risk_hear(own, EXCHANGE_ORDER_SERVICE, 1, 99, EXCHANGE_CLOCK, &clock, sizeof(clock)) < 0);
    assert_true(risk_hear(own, EXCHANGE_MATCHING_ENGINE, 1, 99, EXCHANGE_REPORT, &head,
                          sizeof(head) - 1) < 0);
    assert_true(risk_hear(own, EXCHANGE_ORDER_SERVICE, 2, 1, EXCHANGE_BARRIER, &id, sizeof(id)) <
                0); /* went back in a higher epoch */
}

static void pairs_are_read_or_refused(void **state)
{
    static const char *const wrong[] = {
        "", "1", "1/2", "1/2/0", "1/1/1", "1/2/1,", "1/2/1;", "4294967296/2/1", "a/2/1", "1/2/1,3"};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *const values[] = {wrong[i], "4", "8", "8", "none"};
        const baton_service_config config = {.values = values};
        baton_machine machine;
        baton_error error;
        assert_true(baton_machine_init(&machine, &risk_engine_service, &config, &error) < 0);
        baton_machine_fini(&machine);
    }
    risk_stage own;
    risk_begin(&own, "7/2/100,1/2/1,7/1/5", "4", "8", "8");
    const risk_engine *engine = risk_state(&own);
    assert_int_equal(engine->pairs_count, 3);
    assert_int_equal(engine->assets_count, 3);
    assert_int_equal(engine->assets[2].asset_id, 7);
    assert_int_equal(engine->pairs[2].size_unit, 5);
    baton_machine_fini(&own.machine);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_order_goes_on_when_its_client_can_pay_for_it),
        CASE(what_does_not_rest_is_released),
        CASE(a_trade_moves_its_price_and_the_rest_of_the_hold_comes_back),
        CASE(a_replacement_is_held_for_from_when_it_goes_on_until_it_is_answered),
        CASE(a_kill_switch_stops_new_orders_and_lets_cancels_through),
        CASE(who_may_trade_can_be_stopped_however_full_the_table_is),
        CASE(a_position_stays_within_its_limit_whatever_trades),
        CASE(money_comes_in_and_goes_out_by_transfers_only),
        CASE(what_is_not_where_it_belongs_is_seen),
        CASE(a_report_of_more_than_was_asked_for_is_an_anomaly_and_no_end),
        CASE(a_barrier_goes_on_and_is_over_when_it_has_come_back),
        CASE(what_only_a_foreign_journal_holds_stops_apply),
        cmocka_unit_test(pairs_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
