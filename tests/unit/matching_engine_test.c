/* The matching engine's apply, digests and snapshots, in both schemas, without a journal. */
#include "tests/unit/exchange_machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "snapshot/store.h"
#include "tests/support/test_dir.h"

static int setup(void **state)
{
    exchange_machine *own = malloc(sizeof(*own));
    machine_make(own, (machine_wish){0});
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    machine_end(*state);
    free(*state);
    return 0;
}

/* ---- what commands do ---- */

static void a_trade_is_told_once_with_both_sides_and_then_acked(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order maker = order_of(1, 1, BOOK_BUY, -5, 10);
    exchange_new_order taker = order_of(2, 7, BOOK_SELL, -5, 4);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_NEW_ORDER, maker), EXCHANGE_DONE);
    exchange_ack ack = MACHINE_ACK(own, ENTRY_NEW_ORDER, taker);
    assert_int_equal(baton_le64_get(ack.filled), 4);
    assert_int_equal(baton_le64_get(ack.remaining), 0);
    assert_int_equal(baton_le64_get(ack.seq), 0); /* the entry's own number is meant */
    assert_int_equal(own->effects_count, 2);
    exchange_report report;
    exchange_trade trade;
    assert_int_equal(own->effects[0].type, EFFECT_REPORT);
    assert_int_equal(own->effects[0].payload_bytes, sizeof(report) + sizeof(trade));
    memcpy(&report, own->effects[0].payload, sizeof(report));
    memcpy(&trade, own->effects[0].payload + sizeof(report), sizeof(trade));
    assert_int_equal(report.items, EXCHANGE_REPORT_TRADES);
    assert_int_equal(report.flags, EXCHANGE_REPORT_LAST);
    assert_int_equal(baton_le64_get(report.filled), 4);
    assert_int_equal(baton_le64_get(trade.maker.client_id), 1);
    assert_int_equal(baton_le64_get(trade.taker.client_seq), 7);
    assert_int_equal((int64_t)baton_le64_get(trade.price), -5);
    assert_int_equal(baton_le64_get(trade.maker_remaining), 6);
    assert_int_equal(trade.taker_side, BOOK_SELL);
}

static void trades_beyond_one_effect_are_told_in_several_in_order(void **state)
{
    exchange_machine *own = *state;
    enum { MAKERS = 120 };
    for (uint64_t i = 1; i <= MAKERS; i++) {
        exchange_new_order maker = order_of(1, i, BOOK_BUY, 100, 1);
        assert_int_equal(MACHINE_OUTCOME(own, ENTRY_NEW_ORDER, maker), EXCHANGE_DONE);
    }
    exchange_new_order taker = order_of(2, 1, BOOK_SELL, 100, MAKERS);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, taker);
    uint64_t told = 0;
    for (uint32_t i = 0; i + 1 < own->effects_count; i++) {
        exchange_report report;
        exchange_trade trade;
        memcpy(&report, own->effects[i].payload, sizeof(report));
        uint32_t count = baton_le32_get(report.items_count);
        assert_int_equal(own->effects[i].payload_bytes, sizeof(report) + count * sizeof(trade));
        assert_int_equal((report.flags & EXCHANGE_REPORT_LAST) != 0, i + 2 == own->effects_count);
        for (uint32_t k = 0; k < count; k++) {
            memcpy(&trade, own->effects[i].payload + sizeof(report) + k * sizeof(trade),
                   sizeof(trade));
            assert_int_equal(baton_le64_get(trade.trade_id), ++told);
        }
    }
    assert_int_equal(told, MAKERS);
    assert_true(own->effects_count > 2);
}

static void cancel_and_reduce_answer_what_rested_before(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 1, BOOK_BUY, 100, 10);
    exchange_reduce reduce = reduce_of(1, 2, 1, 4);
    exchange_cancel cancel = cancel_of(1, 3, 1), again = cancel_of(1, 4, 1);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    exchange_ack ack = MACHINE_ACK(own, ENTRY_REDUCE, reduce);
    assert_int_equal(baton_le64_get(ack.remaining), 10);
    ack = MACHINE_ACK(own, ENTRY_CANCEL, cancel);
    assert_int_equal(baton_le64_get(ack.remaining), 6);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, again), BOOK_UNKNOWN_ORDER);
}

static void a_client_reaches_its_own_orders_only(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 1, BOOK_BUY, 100, 10);
    exchange_cancel other = cancel_of(2, 1, 1);
    /* Would be client 1's order if the two numbers ran into each other. */
    exchange_cancel crafted = cancel_of(1, 2, (UINT64_C(1) << 40) | 1);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, other), BOOK_UNKNOWN_ORDER);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, crafted), BOOK_UNKNOWN_ORDER);
    assert_int_equal(book_orders_count(machine_state(own)->book), 1);
}

static void a_reduction_by_nothing_is_refused(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 1, BOOK_BUY, 100, 10);
    exchange_reduce reduce = reduce_of(1, 2, 1, 0);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_REDUCE, reduce), BOOK_BAD_SIZE);
}

static void orders_expire_by_ticks_and_by_clock_commands(void **state)
{
    exchange_machine *own = *state;
    for (uint64_t i = 1; i <= 2; i++) {
        exchange_new_order order = order_of(1, i, BOOK_BUY, 100, 10);
        order.time_in_force = BOOK_GTD;
        order.expire_ns = baton_le64_put(1000 * i);
        MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    }
    assert_int_equal(machine_tick(own, 999), 0);
    assert_int_equal(own->effects_count, 0);
    assert_int_equal(machine_tick(own, 1000), 0);
    assert_int_equal(own->effects_count, 1);
    assert_int_equal(own->effects[0].type, EFFECT_REPORT);
    exchange_clock clock = {
        .command = {.client_id = baton_le64_put(9), .client_seq = baton_le64_put(1)},
        .now_ns = baton_le64_put(2000)};
    assert_int_equal(machine_apply(own, ENTRY_CLOCK, &clock, sizeof(clock)), 0);
    assert_int_equal(own->effects_count, 2);
    assert_int_equal(own->effects[0].type, EFFECT_REPORT);
    assert_int_equal(own->effects[1].type, EFFECT_ACK);
    assert_int_equal(book_orders_count(machine_state(own)->book), 0);
}

/* More than an entry may have effects (BATON_EFFECTS_PER_ENTRY_MAX): a tick that can't be applied
 * would end the engine at every start. */
static void any_number_of_orders_may_expire_by_one_tick(void **state)
{
    exchange_machine *own = *state;
    enum { ORDERS = BATON_EFFECTS_PER_ENTRY_MAX + 10 };
    for (uint64_t i = 1; i <= ORDERS; i++) {
        exchange_new_order order = order_of(1, i, BOOK_BUY, 100, i);
        order.time_in_force = BOOK_GTD;
        order.expire_ns = baton_le64_put(1000000);
        MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    }
    assert_int_equal(machine_tick(own, 1000000), 0);
    assert_int_equal(book_orders_count(machine_state(own)->book), 0);
    uint64_t told = 0;
    for (uint32_t i = 0; i < own->effects_count; i++) {
        assert_int_equal(own->effects[i].type, EFFECT_REPORT);
        exchange_gone gone;
        for (uint32_t at = sizeof(exchange_report); at < own->effects[i].payload_bytes;
             at += sizeof(gone)) {
            memcpy(&gone, own->effects[i].payload + at, sizeof(gone));
            assert_int_equal(baton_le64_get(gone.order.client_seq), ++told);
            assert_int_equal(baton_le64_get(gone.remaining), told);
        }
    }
    assert_int_equal(told, ORDERS);
}

static void a_command_applied_twice_is_refused_by_apply_itself(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 5, BOOK_BUY, 100, 10);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    assert_int_equal(machine_apply(own, ENTRY_NEW_ORDER, &order, sizeof(order)), BATON_E_INVALID);
}

static void payloads_that_intake_would_refuse_are_refused_by_apply(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 1, BOOK_BUY, 100, 10);
    assert_int_equal(machine_apply(own, ENTRY_NEW_ORDER, &order, sizeof(order) - 1),
                     BATON_E_INVALID);
    assert_int_equal(machine_apply(own, ENTRY_TICK, "x", 1), BATON_E_INVALID);
    assert_int_equal(machine_apply(own, 99, &order, sizeof(order)), BATON_E_UNKNOWN_TYPE);
    order.command.client_id = baton_le64_put(EXCHANGE_CLIENT_ID_MAX + 1);
    assert_int_equal(machine_apply(own, ENTRY_NEW_ORDER, &order, sizeof(order)), BATON_E_TOO_LARGE);
}

/* ---- what 1.1.0 adds ---- */

static void the_dark_behaviour_changes_nothing_until_switched_on(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order order = order_of(1, 1, BOOK_BUY, 100, 10);
    exchange_cancel first = cancel_of(1, 2, 1), dark = cancel_of(1, 3, 1), lit = cancel_of(1, 5, 1);
    exchange_cancel never = cancel_of(1, 6, 99);
    exchange_switch turn_on = switch_of(1, 4, EXCHANGE_FEATURE_TOO_LATE);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, first), EXCHANGE_DONE);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, dark), BOOK_UNKNOWN_ORDER);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_SWITCH, turn_on), EXCHANGE_DONE);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, lit), EXCHANGE_TOO_LATE);
    assert_int_equal(MACHINE_OUTCOME(own, ENTRY_CANCEL, never), BOOK_UNKNOWN_ORDER);
}

static void volumes_count_both_sides_from_the_switch_on_and_stand_in_schema_2_only(void **state)
{
    exchange_machine *own = *state;
    exchange_new_order orders[4] = {
        order_of(1, 1, BOOK_BUY, 100, 10), order_of(2, 1, BOOK_SELL, 100, 3),
        order_of(2, 3, BOOK_SELL, 100, 4), order_of(1, 2, BOOK_SELL, 100, 1)};
    exchange_switch turn_on = switch_of(2, 2, EXCHANGE_FEATURE_VOLUMES);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, orders[0]);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, orders[1]);
    MACHINE_ACK(own, ENTRY_SWITCH, turn_on);
    baton_digest one = machine_digest(own, 1), two = machine_digest(own, 2);
    MACHINE_ACK(own, ENTRY_NEW_ORDER, orders[2]);
    assert_int_equal(clients_volume(machine_state(own)->clients, 1), 4);
    assert_int_equal(clients_volume(machine_state(own)->clients, 2), 4);
    assert_false(baton_digest_equal(machine_digest(own, 1), one));
    assert_false(baton_digest_equal(machine_digest(own, 2), two));
    one = machine_digest(own, 1);
    two = machine_digest(own, 2);
    clients_add_volume(machine_state(own)->clients, 1, 7);
    assert_true(baton_digest_equal(machine_digest(own, 1), one));
    assert_false(baton_digest_equal(machine_digest(own, 2), two));
    MACHINE_ACK(own, ENTRY_NEW_ORDER, orders[3]); /* with itself: both sides are its own */
    assert_int_equal(clients_volume(machine_state(own)->clients, 1), 4 + 7 + 1 + 1);
}

/* ---- snapshots ---- */

static void fill_state(exchange_machine *own)
{
    uint64_t random = 12345;
    for (uint64_t i = 1; i <= 3000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t pick = random >> 33;
        exchange_new_order order =
            order_of(1 + pick % 37, i, pick & 64 ? BOOK_BUY : BOOK_SELL,
                     (int64_t)(pick % 41) - 20 + (pick & 64 ? -8 : 8), 1 + pick % 50);
        if (pick % 5 == 0) {
            order.time_in_force = BOOK_GTD;
            order.expire_ns = baton_le64_put(UINT64_C(1) << 40 | pick);
        }
        MACHINE_ACK(own, ENTRY_NEW_ORDER, order);
    }
}

/* A snapshot on disk, and one that reads it. */
typedef struct {
    test_dir dir;
    baton_io *io;
    baton_snapshot_writer *writer;
    baton_snapshot_reader *reader;
} kept_snapshot;

static void kept_begin(kept_snapshot *own)
{
    baton_error error = {0};
    test_dir_make(&own->dir, "matching_engine");
    assert_int_equal(baton_io_open(&(baton_io_options){.ops_max = 16}, &own->io, &error), 0);
    assert_int_equal(baton_snapshot_writer_create(NULL, &own->writer), 0);
}

/* Publish what was packed, and open it. */
static void kept_open(kept_snapshot *own, baton_snapshot_info info)
{
    baton_error error = {0};
    baton_snapshot_listed *list;
    uint32_t count;
    strcpy(info.service, matching_engine_service.name);
    strcpy(info.version, matching_engine_service.version);
    assert_int_equal(baton_snapshot_writer_finish(own->writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(own->io, own->dir.path, own->writer, &info, &error), 0);
    assert_int_equal(baton_snapshot_list_with(own->io, own->dir.path, &list, &count, &error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(
        baton_snapshot_reader_open(own->io, own->dir.path, &list[0], &own->reader, &error), 0);
    free(list);
}

static void kept_end(kept_snapshot *own)
{
    baton_snapshot_reader_close(own->reader);
    baton_io_close(own->io);
    test_dir_remove(&own->dir);
}

static void kept_of_machine(kept_snapshot *own, const exchange_machine *from, uint32_t schema)
{
    kept_begin(own);
    assert_int_equal(baton_machine_pack(&from->machine, schema, own->writer), 0);
    kept_open(own, (baton_snapshot_info){.schema = schema,
                                         .seq = from->machine.seq,
                                         .epoch = 1,
                                         .state_digest = machine_digest(from, schema),
                                         .effect_digest = from->machine.effect_digest});
}

/* Out of one machine, through a published snapshot, into another. */
static void carry(const exchange_machine *from, exchange_machine *to, uint32_t schema)
{
    kept_snapshot kept;
    baton_error error = {0};
    kept_of_machine(&kept, from, schema);
    assert_int_equal(baton_machine_unpack(&to->machine, kept.reader, &error), 0);
    kept_end(&kept);
}

static void a_restored_state_answers_and_matches_as_the_one_it_was_taken_of(void **state)
{
    exchange_machine *own = *state;
    for (uint32_t schema = 1; schema <= 2; schema++) {
        exchange_machine restored;
        machine_make(&restored, (machine_wish){0});
        if (schema == 1)
            fill_state(own);
        else {
            exchange_switch turn_on = switch_of(77, 1, EXCHANGE_FEATURES_KNOWN);
            exchange_new_order trade = order_of(77, 2, BOOK_BUY, 40, 40);
            MACHINE_ACK(own, ENTRY_SWITCH, turn_on);
            MACHINE_ACK(own, ENTRY_NEW_ORDER, trade);
        }
        carry(own, &restored, schema);
        assert_true(
            baton_digest_equal(machine_digest(own, schema), machine_digest(&restored, schema)));
        assert_null(book_check(machine_state(&restored)->book, true));
        for (uint64_t i = 1; i <= 20; i++) { /* sweeps both sides, so order within a price counts */
            exchange_new_order sweep = order_of(500, 100 * schema + i, i % 2 ? BOOK_BUY : BOOK_SELL,
                                                i % 2 ? 30 : -30, 500);
            MACHINE_ACK(own, ENTRY_NEW_ORDER, sweep);
            MACHINE_ACK(&restored, ENTRY_NEW_ORDER, sweep);
            assert_true(
                baton_digest_equal(own->machine.effect_digest, restored.machine.effect_digest));
        }
        assert_true(baton_digest_equal(machine_digest(own, 2), machine_digest(&restored, 2)));
        machine_end(&restored);
    }
}

static void a_snapshot_with_more_than_the_options_allow_is_refused(void **state)
{
    exchange_machine *own = *state;
    fill_state(own);
    const machine_wish wishes[] = {{.orders_max = "10"}, {.clients_max = "3"}};
    for (uint32_t i = 0; i < 2; i++) {
        exchange_machine small;
        kept_snapshot kept;
        baton_error error = {0};
        machine_make(&small, wishes[i]);
        kept_of_machine(&kept, own, 2);
        assert_int_equal(baton_machine_unpack(&small.machine, kept.reader, &error), BATON_E_FULL);
        kept_end(&kept);
        machine_end(&small);
    }
}

static void pack_row(baton_snapshot_writer *writer, uint32_t count, const uint64_t *fields)
{
    baton_pack_row(writer, count);
    for (uint32_t i = 0; i < count; i++)
        baton_pack_uint(writer, fields[i]);
}

/* A snapshot of schema 2 with nothing in it but two outcomes of client 1, one field or row of it
 * changed. */
typedef enum {
    GOOD,
    SECOND_BOOK_ROW,
    LONG_ORDER_ROW,
    UNKNOWN_SIDE,
    LARGE_SYMBOL,
    RESTING_IOC,
    SOURCE_0,
    SOURCE_TWICE,
    SECOND_BARRIER_ROW,
    OUTCOME_SEQ_0,
    OUTCOME_SEQ_AGAIN,
    OUTCOME_OF_CLIENT_0,
    LARGE_OUTCOME,
    UNKNOWN_FEATURE,
    SECOND_FEATURES_ROW,
    VOLUME_OF_NOBODY,
    VOLUME_TWICE,
    STRANGE_ROWS,
} strange_row;

static void pack_strange(baton_snapshot_writer *writer, strange_row strange)
{
    baton_pack_section(writer, "book");
    for (int i = 0; i <= (strange == SECOND_BOOK_ROW); i++)
        pack_row(writer, 3, (uint64_t[]){1, 0, 0});
    baton_pack_section(writer, "orders");
    if (strange == LONG_ORDER_ROW)
        pack_row(writer, 11, (uint64_t[11]){1});
    if (strange == UNKNOWN_SIDE)
        pack_row(writer, 10, (uint64_t[]){1, 1, 5, 5, 0, 1, 0, 2, 0, 0});
    if (strange == LARGE_SYMBOL)
        pack_row(writer, 10, (uint64_t[]){1, 1, 5, 5, 0, 1, 0, 0, 0, UINT64_C(1) << 32});
    if (strange == RESTING_IOC)
        pack_row(writer, 10, (uint64_t[]){1, 1, 5, 5, 0, 1, 0, 0, 2, 0});
    baton_pack_section(writer, "outcomes");
    uint64_t outcome[7] = {strange != OUTCOME_OF_CLIENT_0, strange != OUTCOME_SEQ_0, 1, 0, 0, 0, 2};
    pack_row(writer, 7, outcome);
    outcome[1] = strange == OUTCOME_SEQ_AGAIN ? 1 : 2;
    outcome[5] = strange == LARGE_OUTCOME ? UINT16_MAX + 1 : 0;
    pack_row(writer, 7, outcome);
    baton_pack_section(writer, "sources");
    for (int i = 0; i <= (strange == SOURCE_TWICE); i++)
        pack_row(writer, 4, (uint64_t[]){strange == SOURCE_0 ? 0 : 2, 1, 7, 0});
    baton_pack_section(writer, "barrier");
    for (int i = 0; i <= (strange == SECOND_BARRIER_ROW); i++)
        pack_row(writer, 2, (uint64_t[]){5, 7});
    baton_pack_section(writer, "features");
    for (int i = 0; i <= (strange == SECOND_FEATURES_ROW); i++)
        pack_row(writer, 1, (uint64_t[]){strange == UNKNOWN_FEATURE ? 4 : 3});
    baton_pack_section(writer, "volumes");
    for (int i = 0; i <= (strange == VOLUME_TWICE); i++)
        pack_row(writer, 2, (uint64_t[]){strange == VOLUME_OF_NOBODY ? 2 : 1, 9});
}

static void rows_that_no_engine_packs_are_refused(void **state)
{
    (void)state;
    for (strange_row strange = GOOD; strange < STRANGE_ROWS; strange++) {
        exchange_machine own;
        kept_snapshot kept;
        machine_make(&own, (machine_wish){0});
        kept_begin(&kept);
        pack_strange(kept.writer, strange);
        kept_open(&kept, (baton_snapshot_info){.schema = 2, .seq = 2, .epoch = 1});
        int r = matching_engine_service.restore(machine_state(&own), 2, kept.reader);
        assert_int_equal(r, strange == GOOD ? 0 : BATON_E_SCHEMA);
        kept_end(&kept);
        machine_end(&own);
    }
}

/* ---- options, digests ---- */

static void trades_are_kept_for_the_feed_only_when_asked_for(void **state)
{
    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        exchange_machine own;
        machine_make(&own, (machine_wish){.outbox = kept ? "trades" : "none"});
        exchange_new_order maker = order_of(1, 1, BOOK_BUY, 1, 1),
                           taker = order_of(2, 1, BOOK_SELL, 1, 1);
        MACHINE_ACK(&own, ENTRY_NEW_ORDER, maker);
        MACHINE_ACK(&own, ENTRY_NEW_ORDER, taker);
        assert_int_equal(own.effects[0].consumer,
                         kept ? EXCHANGE_MARKET_DATA : BATON_CONSUMER_NONE);
        assert_int_equal(own.effects[1].consumer, BATON_CONSUMER_NONE);
        machine_end(&own);
    }
}

static void options_out_of_range_are_refused_with_what_to_do(void **state)
{
    (void)state;
    static const char *const wrong[][6] = {
        {"0", "1", "1", "none", "1", "allow"},
        {"x", "1", "1", "none", "1", "allow"},
        {"1", "-1", "1", "none", "1", "allow"},
        {"1", "1", "99999999999", "none", "1", "allow"},
        {"1", "1", "1", "some", "1", "allow"},
        {"1", "1", "1", "market-data,", "1", "allow"},
        {"1", "1", "1", "market-dat", "1", "allow"},
        {"", "1", "1", "none", "1", "allow"},
        {"1", "1", "1", "none", "0", "allow"},
        {"1", "1", "1", "none", "1", "deny"},
        {"3000000", "1", "1", "market-data,settlement", "1", "allow"}};
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        baton_error error = {0};
        void *made = NULL;
        const baton_service_config config = {.values = wrong[i]};
        assert_int_equal(matching_engine_service.create(&config, &made, &error), BATON_E_INVALID);
        assert_null(made);
        assert_true(error.todo[0] != '\0');
    }
}

static void entry_time_and_epoch_leave_no_trace_in_digests(void **state)
{
    exchange_machine *own = *state;
    exchange_machine other;
    machine_make(&other, (machine_wish){0});
    exchange_new_order orders[2] = {order_of(1, 1, BOOK_BUY, 1, 5),
                                    order_of(2, 1, BOOK_SELL, 1, 2)};
    for (uint64_t i = 0; i < 2; i++) {
        MACHINE_ACK(own, ENTRY_NEW_ORDER, orders[i]);
        const baton_entry entry = {.seq = i + 1,
                                   .epoch = 9,
                                   .time_ns = 777777 * (i + 1),
                                   .type = ENTRY_NEW_ORDER,
                                   .payload = &orders[i],
                                   .payload_bytes = sizeof(orders[i])};
        assert_int_equal(baton_machine_apply(&other.machine, &entry), 0);
    }
    assert_true(baton_digest_equal(own->machine.effect_digest, other.machine.effect_digest));
    assert_true(baton_digest_equal(machine_digest(own, 2), machine_digest(&other, 2)));
    machine_end(&other);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_trade_is_told_once_with_both_sides_and_then_acked),
        CASE(trades_beyond_one_effect_are_told_in_several_in_order),
        CASE(cancel_and_reduce_answer_what_rested_before),
        CASE(a_client_reaches_its_own_orders_only),
        CASE(a_reduction_by_nothing_is_refused),
        CASE(orders_expire_by_ticks_and_by_clock_commands),
        CASE(any_number_of_orders_may_expire_by_one_tick),
        CASE(a_command_applied_twice_is_refused_by_apply_itself),
        CASE(payloads_that_intake_would_refuse_are_refused_by_apply),
        CASE(the_dark_behaviour_changes_nothing_until_switched_on),
        CASE(volumes_count_both_sides_from_the_switch_on_and_stand_in_schema_2_only),
        CASE(a_restored_state_answers_and_matches_as_the_one_it_was_taken_of),
        CASE(a_snapshot_with_more_than_the_options_allow_is_refused),
        CASE(entry_time_and_epoch_leave_no_trace_in_digests),
        cmocka_unit_test(rows_that_no_engine_packs_are_refused),
        cmocka_unit_test(trades_are_kept_for_the_feed_only_when_asked_for),
        cmocka_unit_test(options_out_of_range_are_refused_with_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
