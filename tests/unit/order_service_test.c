/* The order service's apply: the life of an order by what the other services say of it, what goes on to the
 * risk engine, and what is answered here. Without a journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/machine.h"
#include "examples/exchange/order-service/order_service.h"

enum { EFFECTS_MAX = 8, ORDERS = 6, FINISHED = 3 };

typedef struct {
    uint16_t type;
    uint32_t consumer;
    uint32_t bytes;
    uint8_t payload[BATON_EFFECT_BYTES_MAX];
} seen_effect;

typedef struct {
    baton_machine machine;
    seen_effect effects[EFFECTS_MAX]; /* of the last entry */
    uint32_t effects_count;
    uint64_t key_seq; /* of the last report, any source */
} stage;

static void on_effect(void *context, const baton_effect *effect)
{
    stage *own = context;
    assert_true(own->effects_count < EFFECTS_MAX);
    seen_effect *seen = &own->effects[own->effects_count++];
    seen->type = effect->type;
    seen->consumer = effect->consumer;
    seen->bytes = effect->payload_bytes;
    memcpy(seen->payload, effect->payload, effect->payload_bytes);
}

static int setup(void **state)
{
    static const char *const values[] = {"6", "3", "4"}; /* ORDERS, FINISHED, clients */
    stage *own = calloc(1, sizeof(*own));
    const baton_service_config config = {.values = values};
    baton_error error;
    assert_int_equal(baton_machine_init(&own->machine, &order_service, &config, &error), 0);
    own->machine.on_effect = on_effect;
    own->machine.on_effect_context = own;
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    stage *own = *state;
    baton_machine_fini(&own->machine);
    free(own);
    return 0;
}

static const order_service_state *state_of(const stage *own)
{
    return own->machine.state;
}

static baton_digest digest_of(const stage *own)
{
    baton_digest digest;
    assert_int_equal(baton_machine_digest(&own->machine, 1, &digest), 0);
    return digest;
}

static int apply(stage *own, uint16_t type, const void *payload, size_t bytes)
{
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = own->machine.time_ns + 1,
                               .type = type,
                               .payload = payload,
                               .payload_bytes = (uint32_t)bytes};
    own->effects_count = 0;
    return baton_machine_apply(&own->machine, &entry);
}

static exchange_command name_of(uint64_t client, uint64_t seq)
{
    return (exchange_command){.client_id = baton_le64_put(client),
                              .client_seq = baton_le64_put(seq)};
}

static exchange_new_order order_of(uint64_t client, uint64_t seq, uint64_t size)
{
    return (exchange_new_order){.command = name_of(client, seq),
                                .price = baton_le64_put(100),
                                .size = baton_le64_put(size),
                                .symbol = baton_le32_put(3)};
}

/* Applied, and gone on to the risk engine word for word; or answered here. */
static uint16_t apply_command(stage *own, uint16_t type, const void *body, size_t bytes)
{
    assert_int_equal(apply(own, type, body, bytes), 0);
    assert_int_equal(own->effects_count, 1);
    const seen_effect *effect = &own->effects[0];
    if (effect->consumer == EXCHANGE_RISK_ENGINE) {
        assert_int_equal(effect->type, type);
        assert_int_equal(effect->bytes, bytes);
        assert_memory_equal(effect->payload, body, bytes);
        return EXCHANGE_PENDING;
    }
    exchange_ack ack;
    assert_int_equal(effect->consumer, BATON_CONSUMER_NONE);
    assert_int_equal(effect->type, EFFECT_ACK);
    assert_int_equal(effect->bytes, sizeof(ack));
    memcpy(&ack, effect->payload, sizeof(ack));
    assert_memory_equal(&ack.command, body, sizeof(ack.command));
    return baton_le16_get(ack.outcome);
}

static uint16_t place(stage *own, uint64_t client, uint64_t seq, uint64_t size)
{
    const exchange_new_order order = order_of(client, seq, size);
    return apply_command(own, EXCHANGE_NEW_ORDER, &order, sizeof(order));
}

static uint16_t cancel(stage *own, uint64_t client, uint64_t seq, uint64_t order_seq)
{
    const exchange_cancel body = {.command = name_of(client, seq),
                                  .order_seq = baton_le64_put(order_seq),
                                  .symbol = baton_le32_put(3)};
    return apply_command(own, EXCHANGE_CANCEL, &body, sizeof(body));
}

/* What a report says; the rest is 0. */
typedef struct {
    uint16_t of_type, outcome;
    uint64_t seq, order_seq, size, filled, remaining;
    uint8_t flags;
} said;

static int hear(stage *own, uint16_t source, uint64_t epoch, uint64_t key_seq, const void *payload,
                size_t bytes, uint16_t effect_type)
{
    uint8_t entry[sizeof(exchange_linked) + BATON_EFFECT_BYTES_MAX];
    const exchange_linked head = {
        .key = {.epoch = baton_le64_put(epoch), .seq = baton_le64_put(key_seq)},
        .source = baton_le16_put(source),
        .effect_type = baton_le16_put(effect_type)};
    memcpy(entry, &head, sizeof(head));
    memcpy(entry + sizeof(head), payload, bytes);
    return apply(own, EXCHANGE_LINKED, entry, sizeof(head) + bytes);
}

static exchange_report report_of(const said *what)
{
    return (exchange_report){.command = name_of(1, what->seq),
                             .order_seq = baton_le64_put(what->order_seq),
                             .price = baton_le64_put(100),
                             .size = baton_le64_put(what->size),
                             .filled = baton_le64_put(what->filled),
                             .remaining = baton_le64_put(what->remaining),
                             .outcome = baton_le16_put(what->outcome),
                             .of_type = baton_le16_put(what->of_type),
                             .flags = what->flags};
}

static void report(stage *own, said what)
{
    const exchange_report head = report_of(&what);
    assert_int_equal(hear(own, EXCHANGE_MATCHING_ENGINE, 1, ++own->key_seq, &head, sizeof(head),
                          EXCHANGE_REPORT),
                     0);
    assert_int_equal(own->effects_count, 0);
}

/* A report of client 1's command with one trade, of two of its orders. */
static void report_trade(stage *own, said what, uint64_t maker_seq, uint64_t taker_seq,
                         uint64_t maker_remaining, uint64_t taker_remaining)
{
    struct {
        exchange_report head;
        exchange_trade trade;
    } body = {.head = report_of(&what),
              .trade = {.maker = name_of(1, maker_seq),
                        .taker = name_of(1, taker_seq),
                        .size = baton_le64_put(what.filled),
                        .maker_remaining = baton_le64_put(maker_remaining),
                        .taker_remaining = baton_le64_put(taker_remaining)}};
    body.head.items = EXCHANGE_REPORT_TRADES;
    body.head.items_count = baton_le32_put(1);
    assert_int_equal(hear(own, EXCHANGE_MATCHING_ENGINE, 1, ++own->key_seq, &body, sizeof(body),
                          EXCHANGE_REPORT),
                     0);
}

static void report_gone(stage *own, uint16_t of_type, uint64_t order_seq)
{
    struct {
        exchange_report head;
        exchange_gone gone;
    } body = {.head = {.of_type = baton_le16_put(of_type),
                       .items = EXCHANGE_REPORT_GONE,
                       .items_count = baton_le32_put(1),
                       .flags = EXCHANGE_REPORT_LAST},
              .gone = {.order = name_of(1, order_seq)}};
    assert_int_equal(hear(own, EXCHANGE_MATCHING_ENGINE, 1, ++own->key_seq, &body, sizeof(body),
                          EXCHANGE_REPORT),
                     0);
}

enum { LAST = EXCHANGE_REPORT_LAST, RESTS = EXCHANGE_REPORT_LAST | EXCHANGE_REPORT_RESTS };

static const order_facts *facts(const stage *own, uint64_t seq)
{
    return orders_find(state_of(own)->orders, exchange_order_id(1, seq));
}

static void expect(const stage *own, uint64_t seq, uint8_t status, uint64_t filled,
                   uint64_t remaining)
{
    const order_facts *order = facts(own, seq);
    assert_non_null(order);
    assert_int_equal(order->status, status);
    assert_int_equal(order->filled, filled);
    assert_int_equal(order->remaining, remaining);
}

static uint16_t outcome_of(const stage *own, uint64_t seq)
{
    client_outcome outcome = {0};
    assert_int_equal(clients_judge(state_of(own)->clients, 1, seq, &outcome), CLIENT_SENT_BEFORE);
    return outcome.outcome;
}

/* An order of 10 with seq 1, about which the matching engine has said this. */
static void the_report_of_a_new_order_decides_where_it_stands(void **unused)
{
    static const struct {
        uint16_t outcome;
        uint64_t remaining;
        uint8_t flags, status;
    } cases[] = {
        {EXCHANGE_DONE, 10, RESTS, EXCHANGE_ORDER_ACKNOWLEDGED},
        {EXCHANGE_DONE, 10, LAST, EXCHANGE_ORDER_CANCELLED}, /* an IOC that met nobody */
        {BOOK_BAD_TYPE, 0, LAST, EXCHANGE_ORDER_REJECTED},
        {BOOK_CANT_FILL, 0, LAST, EXCHANGE_ORDER_REJECTED},
        {80, 0, LAST, EXCHANGE_ORDER_REJECTED}, /* the risk engine's */
    };
    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *state;
        setup(&state);
        stage *own = state;
        assert_int_equal(place(own, 1, 1, 10), EXCHANGE_PENDING);
        expect(own, 1, EXCHANGE_ORDER_NEW, 0, 10);
        assert_int_equal(outcome_of(own, 1), EXCHANGE_PENDING);
        report(own, (said){.of_type = EXCHANGE_NEW_ORDER,
                           .outcome = cases[i].outcome,
                           .seq = 1,
                           .order_seq = 1,
                           .size = 10,
                           .remaining = cases[i].remaining,
                           .flags = cases[i].flags});
        expect(own, 1, cases[i].status, 0, cases[i].status == EXCHANGE_ORDER_ACKNOWLEDGED ? 10 : 0);
        assert_int_equal(outcome_of(own, 1), cases[i].outcome);
        assert_int_equal(clients_pending(state_of(own)->clients), 0);
        teardown(&state);
    }
}

static void rest(stage *own, uint64_t seq, uint64_t size)
{
    assert_int_equal(place(own, 1, seq, size), EXCHANGE_PENDING);
    report(own, (said){.of_type = EXCHANGE_NEW_ORDER,
                       .seq = seq,
                       .order_seq = seq,
                       .size = size,
                       .remaining = size,
                       .flags = RESTS});
}

static void trades_fill_both_sides_part_by_part(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    assert_int_equal(place(own, 1, 2, 4), EXCHANGE_PENDING);
    const said first = {.of_type = EXCHANGE_NEW_ORDER,
                        .seq = 2,
                        .order_seq = 2,
                        .size = 4,
                        .filled = 4,
                        .flags = LAST};
    report_trade(own, first, 1, 2, 6, 0);
    expect(own, 1, EXCHANGE_ORDER_PARTLY_FILLED, 4, 6);
    expect(own, 2, EXCHANGE_ORDER_FILLED, 4, 0);
    /* In two pieces: the first says nothing of where the taker stands in the end. */
    assert_int_equal(place(own, 1, 3, 9), EXCHANGE_PENDING);
    said second = {.of_type = EXCHANGE_NEW_ORDER, .seq = 3, .order_seq = 3, .size = 9, .filled = 2};
    report_trade(own, second, 1, 3, 4, 7);
    expect(own, 3, EXCHANGE_ORDER_PARTLY_FILLED, 2, 7);
    assert_int_equal(outcome_of(own, 3), EXCHANGE_PENDING);
    second.filled = 4;
    second.remaining = 3;
    second.flags = RESTS;
    report_trade(own, second, 1, 3, 0, 3);
    expect(own, 1, EXCHANGE_ORDER_FILLED, 10, 0);
    expect(own, 3, EXCHANGE_ORDER_PARTLY_FILLED, 6, 3);
    assert_int_equal(outcome_of(own, 3), EXCHANGE_DONE);
}

static void commands_about_an_order_change_it_when_they_were_done(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    assert_int_equal(cancel(own, 1, 2, 1), EXCHANGE_PENDING);
    report(own, (said){.of_type = EXCHANGE_CANCEL, .outcome = 2, .seq = 2, .flags = LAST});
    expect(own, 1, EXCHANGE_ORDER_ACKNOWLEDGED, 0, 10);
    report(own, (said){.of_type = EXCHANGE_REDUCE, .seq = 99, .order_seq = 1, .flags = LAST});
    expect(own, 1, EXCHANGE_ORDER_ACKNOWLEDGED, 0, 10); /* nobody has sent 99 */
    const exchange_reduce reduce = {
        .command = name_of(1, 3), .order_seq = baton_le64_put(1), .by_size = baton_le64_put(4)};
    assert_int_equal(apply_command(own, EXCHANGE_REDUCE, &reduce, sizeof(reduce)),
                     EXCHANGE_PENDING);
    said what = {.of_type = EXCHANGE_REDUCE,
                 .seq = 3,
                 .order_seq = 1,
                 .size = 6,
                 .remaining = 6,
                 .flags = RESTS};
    report(own, what);
    expect(own, 1, EXCHANGE_ORDER_ACKNOWLEDGED, 0, 6);
    assert_int_equal(facts(own, 1)->size, 6);
    assert_int_equal(cancel(own, 1, 4, 1), EXCHANGE_PENDING);
    what = (said){.of_type = EXCHANGE_CANCEL,
                  .seq = 4,
                  .order_seq = 1,
                  .size = 6,
                  .remaining = 6,
                  .flags = LAST};
    report(own, what);
    expect(own, 1, EXCHANGE_ORDER_CANCELLED, 0, 0);
}

static void time_expires_an_order_and_its_owner_meeting_himself_cancels_it(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    rest(own, 2, 10);
    report_gone(own, EXCHANGE_TICK, 1);
    expect(own, 1, EXCHANGE_ORDER_EXPIRED, 0, 0);
    report_gone(own, EXCHANGE_NEW_ORDER, 2);
    expect(own, 2, EXCHANGE_ORDER_CANCELLED, 0, 0);
    report_gone(own, EXCHANGE_TICK, 2); /* it is over: nothing moves it any more */
    expect(own, 2, EXCHANGE_ORDER_CANCELLED, 0, 0);
}

static void what_could_do_nothing_goes_no_further(void **state)
{
    stage *own = *state;
    assert_int_equal(cancel(own, 1, 1, 7), BOOK_UNKNOWN_ORDER);
    assert_int_equal(cancel(own, 1, 2, 0), BOOK_UNKNOWN_ORDER);
    assert_int_equal(place(own, 1, 3, 0), BOOK_BAD_SIZE);
    for (uint64_t seq = 10; seq < 10 + ORDERS; seq++)
        rest(own, seq, 10);
    assert_int_equal(place(own, 1, 30, 10), BOOK_ORDERS_FULL);
    report_gone(own, EXCHANGE_TICK, 10);
    assert_int_equal(cancel(own, 1, 31, 10), EXCHANGE_TOO_LATE);
    assert_int_equal(place(own, 1, 32, 10), EXCHANGE_PENDING);
    assert_int_equal(outcome_of(own, 30), BOOK_ORDERS_FULL);
}

static void the_oldest_of_the_finished_are_forgotten(void **state)
{
    stage *own = *state;
    for (uint64_t seq = 1; seq <= 5; seq++) {
        rest(own, seq, 10);
        report_gone(own, EXCHANGE_TICK, seq);
    }
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_true((facts(own, seq) != NULL) == (seq > 5 - FINISHED));
    assert_int_equal(orders_open_count(state_of(own)->orders), 0);
    assert_int_equal(cancel(own, 1, 6, 1), EXCHANGE_TOO_LATE);
}

/* So a snapshot is not loaded where more are kept: those before were forgotten, and a replay has them. */
static void how_many_finished_ones_are_kept_is_in_the_digest(void **state)
{
    static const char *const values[] = {"6", "5", "4"};
    stage *own = *state;
    stage more = {0};
    const baton_service_config config = {.values = values};
    baton_error error;
    assert_int_equal(baton_machine_init(&more.machine, &order_service, &config, &error), 0);
    const baton_digest here = digest_of(own), there = digest_of(&more);
    assert_false(baton_digest_equal(here, there));
    baton_machine_fini(&more.machine);
}

static void a_report_that_comes_again_changes_nothing(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    const said what = {.of_type = EXCHANGE_NEW_ORDER, .filled = 3, .flags = LAST};
    report_trade(own, what, 1, 9, 7, 0);
    const baton_digest before = digest_of(own);
    const exchange_report again = report_of(&what);
    assert_int_equal(hear(own, EXCHANGE_MATCHING_ENGINE, 1, own->key_seq, &again, sizeof(again),
                          EXCHANGE_REPORT),
                     0);
    own->key_seq--;
    report_trade(own, what, 1, 9, 7, 0);
    const baton_digest after = digest_of(own);
    assert_memory_equal(&before, &after, sizeof(before));
    expect(own, 1, EXCHANGE_ORDER_PARTLY_FILLED, 3, 7);
}

static void what_only_a_foreign_journal_holds_stops_apply(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    const said what = {.of_type = EXCHANGE_NEW_ORDER, .flags = LAST};
    const exchange_report head = report_of(&what);
    const exchange_new_order again = order_of(1, 1, 10);
    const uint64_t id = 7;
    assert_true(apply(own, EXCHANGE_NEW_ORDER, &again, sizeof(again)) < 0);
    assert_true(hear(own, EXCHANGE_MATCHING_ENGINE, 2, own->key_seq, &head, sizeof(head),
                     EXCHANGE_REPORT) < 0); /* went back in a higher epoch */
    assert_true(hear(own, 0, 1, 99, &head, sizeof(head), EXCHANGE_REPORT) < 0);
    assert_true(
        hear(own, EXCHANGE_MATCHING_ENGINE, 1, 99, &head, sizeof(head) - 1, EXCHANGE_REPORT) < 0);
    assert_true(hear(own, EXCHANGE_MATCHING_ENGINE, 1, 99, &id, sizeof(id), EXCHANGE_NEW_ORDER) <
                0);
}

static void a_client_has_as_many_unanswered_commands_as_outcomes_are_kept(void **state)
{
    stage *own = *state;
    rest(own, 1, 10);
    for (uint64_t seq = 2; seq < 2 + EXCHANGE_OUTCOMES_KEPT; seq++) {
        assert_true(clients_have_room(state_of(own)->clients, 1));
        assert_int_equal(cancel(own, 1, seq, 1), EXCHANGE_PENDING);
    }
    assert_false(clients_have_room(state_of(own)->clients, 1));
    assert_true(clients_have_room(state_of(own)->clients, 2));
    assert_int_equal(clients_pending(state_of(own)->clients), EXCHANGE_OUTCOMES_KEPT);
    report(own, (said){.of_type = EXCHANGE_CANCEL, .outcome = 2, .seq = 2, .flags = LAST});
    assert_true(clients_have_room(state_of(own)->clients, 1));
}

static void a_barrier_is_over_when_the_matching_engine_has_sent_it_back(void **state)
{
    stage *own = *state;
    exchange_barrier barrier = {.id = baton_le64_put(7)};
    rest(own, 1, 10);
    assert_int_equal(apply(own, EXCHANGE_BARRIER, &barrier, sizeof(barrier)), 0);
    const uint64_t cut = own->machine.seq;
    assert_int_equal(own->effects_count, 1);
    assert_int_equal(own->effects[0].consumer, EXCHANGE_RISK_ENGINE);
    assert_int_equal(own->effects[0].type, EXCHANGE_BARRIER);
    exchange_barrier done;
    memcpy(&barrier, own->effects[0].payload, sizeof(barrier));
    assert_int_equal(baton_le64_get(barrier.order_service_seq), cut);
    assert_int_equal(
        hear(own, EXCHANGE_RISK_ENGINE, 1, 1, &barrier, sizeof(barrier), EXCHANGE_BARRIER), 0);
    assert_int_equal(state_of(own)->barrier_under_way, 1);
    barrier.risk_engine_seq = baton_le64_put(50);
    barrier.matching_engine_seq = baton_le64_put(60);
    assert_int_equal(hear(own, EXCHANGE_MATCHING_ENGINE, 1, ++own->key_seq, &barrier,
                          sizeof(barrier), EXCHANGE_BARRIER),
                     0);
    assert_int_equal(state_of(own)->barrier_under_way, 0);
    assert_int_equal(state_of(own)->barrier_matching_seq, 60);
    assert_int_equal(own->effects_count, 1);
    assert_int_equal(own->effects[0].type, EFFECT_BARRIER_DONE);
    memcpy(&done, own->effects[0].payload, sizeof(done));
    assert_memory_equal(&done, &barrier, sizeof(done));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_of_a_new_order_decides_where_it_stands),
        CASE(trades_fill_both_sides_part_by_part),
        CASE(commands_about_an_order_change_it_when_they_were_done),
        CASE(time_expires_an_order_and_its_owner_meeting_himself_cancels_it),
        CASE(what_could_do_nothing_goes_no_further),
        CASE(the_oldest_of_the_finished_are_forgotten),
        CASE(how_many_finished_ones_are_kept_is_in_the_digest),
        CASE(a_report_that_comes_again_changes_nothing),
        CASE(what_only_a_foreign_journal_holds_stops_apply),
        CASE(a_client_has_as_many_unanswered_commands_as_outcomes_are_kept),
        CASE(a_barrier_is_over_when_the_matching_engine_has_sent_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
