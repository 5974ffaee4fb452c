/* The risk engine before the real matching engine, with what is under way between them lying about for a while:
 * random commands of all kinds, and after each step every unit is where it must be. */
#include <stdio.h>
#include <time.h>

#include "base/io.h"
#include "examples/exchange/matching-engine/matching_engine.h"
#include "snapshot/store.h"
#include "tests/support/test_dir.h"
#include "tests/unit/risk_stage.h"

enum { CLIENTS = 4, WAITING_MAX = 64, STEPS = 12000, RECENT = 48, ASSETS = 3 };

typedef struct {
    uint16_t type;
    uint32_t bytes;
    uint8_t payload[BATON_EFFECT_BYTES_MAX];
} message;

/* First in, first out. */
typedef struct {
    message list[4 * WAITING_MAX];
    uint64_t first, end;
} queue;

typedef struct {
    risk_stage risk;
    baton_machine matching;
    queue to_matching, to_risk;
    uint64_t matching_key;
    uint64_t random;
    uint64_t paid_in[CLIENTS + 1][ASSETS + 1]; /* by client and asset */
    exchange_command recent[RECENT];           /* orders */
    uint32_t symbols[RECENT];
    uint64_t passed, refused, trades;
} exchange;

static uint64_t pick(exchange *own, uint64_t below)
{
    own->random ^= own->random << 13;
    own->random ^= own->random >> 7;
    own->random ^= own->random << 17;
    return (own->random >> 11) % below;
}

static uint64_t waiting(const queue *of)
{
    return of->end - of->first;
}

static void push(queue *to, uint16_t type, const void *payload, uint32_t bytes)
{
    message *last = &to->list[to->end++ % (4 * WAITING_MAX)];
    assert_true(waiting(to) <= 4 * WAITING_MAX);
    last->type = type;
    last->bytes = bytes;
    memcpy(last->payload, payload, bytes);
}

static void on_report(void *context, const baton_effect *effect)
{
    exchange *own = context;
    assert_int_equal(effect->consumer, EXCHANGE_RISK_ENGINE);
    push(&own->to_risk, effect->type, effect->payload, effect->payload_bytes);
}

static void begin(exchange *own, uint64_t seed, const char *self_trade)
{
    const char *const values[] = {"512", "256", "16", "risk-engine", "2", self_trade};
    const baton_service_config config = {.values = values};
    baton_error error;
    own->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    const char *const risk_values[] = {"1/3/100,2/3/7", "256", "64", "64", "risk-mirror"};
    risk_begin_with(&own->risk, risk_values);
    assert_int_equal(baton_machine_init(&own->matching, &matching_engine_service, &config, &error),
                     0);
    own->matching.on_effect = on_report;
    own->matching.on_effect_context = own;
}

static void end(exchange *own)
{
    baton_machine_fini(&own->risk.machine);
    baton_machine_fini(&own->matching);
    free(own);
}

static void check(exchange *own)
{
    const uint64_t anomalies = reconcile_full(risk_state(&own->risk));
    if (anomalies != 0)
        printf("%llu anomalies, %llu of them strays\n", (unsigned long long)anomalies,
               (unsigned long long)risk_state(&own->risk)->strays);
    assert_int_equal(anomalies, 0);
    risk_mirrored_expect(&own->risk.mirrored, risk_state(&own->risk));
}

static uint16_t send(exchange *own, uint16_t type, const void *body, size_t bytes)
{
    const uint16_t outcome = risk_command(&own->risk, type, body, bytes);
    if (outcome == EXCHANGE_PENDING)
        push(&own->to_matching, type, body, (uint32_t)bytes);
    own->passed += outcome == EXCHANGE_PENDING;
    own->refused += outcome != EXCHANGE_PENDING && outcome != EXCHANGE_DONE;
    return outcome;
}

static void transfer(exchange *own, uint64_t client)
{
    const uint32_t asset = 1 + (uint32_t)pick(own, ASSETS);
    const uint64_t amount = pick(own, 3000);
    const bool in = pick(own, 3) != 0;
    const uint16_t outcome =
        risk_transfer(&own->risk, in ? EXCHANGE_DEPOSIT : EXCHANGE_WITHDRAW, client, asset, amount);
    if (outcome == EXCHANGE_DONE)
        own->paid_in[client][asset] += in ? amount : 0 - amount;
}

static void place(exchange *own, uint64_t client)
{
    static const uint8_t kinds[] = {BOOK_GTC, BOOK_GTC, BOOK_GTC,       BOOK_GTD,
                                    BOOK_IOC, BOOK_FOK, BOOK_FOK_BUDGET};
    exchange_new_order order = {
        .command = risk_name(client, ++own->risk.client_seq),
        .price = baton_le64_put(90 + pick(own, 20)),
        .size = baton_le64_put(1 + pick(own, 200)),
        .side = (uint8_t)pick(own, 2),
        .time_in_force = kinds[pick(own, sizeof(kinds))],
        .flags = pick(own, 8) == 0 ? EXCHANGE_POST_ONLY : 0,
        .symbol = baton_le32_put((uint32_t)pick(own, 2)),
    };
    if (order.time_in_force == BOOK_GTD)
        order.expire_ns = baton_le64_put(own->matching.time_ns + pick(own, 500));
    else if (order.time_in_force == BOOK_FOK_BUDGET)
        order.price = baton_le64_put(pick(own, 20000));
    else if (order.time_in_force != BOOK_GTC)
        order.order_type = (uint8_t)pick(own, 2);
    own->recent[own->risk.client_seq % RECENT] = order.command;
    own->symbols[own->risk.client_seq % RECENT] = baton_le32_get(order.symbol);
    send(own, EXCHANGE_NEW_ORDER, &order, sizeof(order));
}

static void change(exchange *own)
{
    const uint64_t at = pick(own, RECENT);
    const exchange_command command = {.client_id = own->recent[at].client_id,
                                      .client_seq = baton_le64_put(++own->risk.client_seq)};
    const baton_le32 symbol = baton_le32_put(own->symbols[at]);
    const baton_le64 order_seq = own->recent[at].client_seq;
    const exchange_cancel cancel = {.command = command, .order_seq = order_seq, .symbol = symbol};
    const exchange_reduce reduce = {.command = command,
                                    .order_seq = order_seq,
                                    .symbol = symbol,
                                    .by_size = baton_le64_put(pick(own, 60))};
    const exchange_replace replace = {.command = command,
                                      .order_seq = order_seq,
                                      .symbol = symbol,
                                      .flags = pick(own, 8) == 0 ? EXCHANGE_POST_ONLY : 0,
                                      .price = baton_le64_put(90 + pick(own, 20)),
                                      .size = baton_le64_put(pick(own, 250))};
    if (baton_le64_get(command.client_id) == 0)
        return;
    switch (pick(own, 6)) {
    case 0:
        send(own, EXCHANGE_CANCEL, &cancel, sizeof(cancel));
        return;
    case 1:
        send(own, EXCHANGE_REDUCE, &reduce, sizeof(reduce));
        return;
    default:
        send(own, EXCHANGE_REPLACE, &replace, sizeof(replace));
    }
}

static void match(exchange *own, uint16_t type, const void *payload, uint32_t bytes)
{
    const baton_entry entry = {.seq = own->matching.seq + 1,
                               .epoch = 1,
                               .time_ns = own->matching.time_ns + 10,
                               .type = type,
                               .payload = payload,
                               .payload_bytes = bytes};
    assert_int_equal(baton_machine_apply(&own->matching, &entry), 0);
}

static void deliver_command(exchange *own)
{
    uint8_t body[sizeof(exchange_linked) + BATON_EFFECT_BYTES_MAX];
    if (waiting(&own->to_matching) == 0)
        return;
    const message *next = &own->to_matching.list[own->to_matching.first++ % (4 * WAITING_MAX)];
    const exchange_linked head = {
        .key = {.epoch = baton_le64_put(1), .seq = baton_le64_put(++own->matching_key)},
        .source = baton_le16_put(EXCHANGE_RISK_ENGINE),
        .effect_type = baton_le16_put(next->type)};
    memcpy(body, &head, sizeof(head));
    memcpy(body + sizeof(head), next->payload, next->bytes);
    match(own, EXCHANGE_LINKED, body, (uint32_t)sizeof(head) + next->bytes);
}

static void deliver_report(exchange *own)
{
    exchange_report report;
    if (waiting(&own->to_risk) == 0)
        return;
    const message *next = &own->to_risk.list[own->to_risk.first++ % (4 * WAITING_MAX)];
    memcpy(&report, next->payload, sizeof(report));
    if (report.items == EXCHANGE_REPORT_TRADES)
        own->trades += baton_le32_get(report.items_count);
    risk_take(&own->risk, EXCHANGE_MATCHING_ENGINE, next->type, next->payload, next->bytes);
}

static void settle_down(exchange *own)
{
    while (waiting(&own->to_matching) > 0 || waiting(&own->to_risk) > 0) {
        deliver_command(own);
        deliver_report(own);
    }
    check(own);
}

static void compare_with_book(void *context, const held_order *order)
{
    const exchange *own = context;
    const matching_engine *engine = own->matching.state;
    book_resting resting;
    assert_true(book_find(engine->book, order->order_id, &resting));
    assert_int_equal(order->remaining, resting.remaining);
    assert_int_equal(order->filled, resting.filled);
    assert_int_equal(order->price, resting.price);
    assert_int_equal(order->replaces, 0);
}

/* Nothing is under way: the two agree on every order. */
static void expect_agreement(exchange *own)
{
    const matching_engine *engine = own->matching.state;
    settle_down(own);
    assert_int_equal(holds_count(risk_state(&own->risk)->holds), book_orders_count(engine->book));
    holds_each(risk_state(&own->risk)->holds, compare_with_book, own);
}

static uint64_t balance_of(const exchange *own, uint64_t client, uint32_t asset)
{
    ledger_balance found = {0};
    (void)ledger_find(risk_state(&own->risk)->ledger, (ledger_account){client, asset}, &found);
    return found.available + found.held;
}

/* What each has is what was paid in, and what its trades brought. */
static void expect_positions(const exchange *own)
{
    for (uint64_t client = 1; client <= CLIENTS; client++) {
        uint64_t cash = own->paid_in[client][3];
        for (uint32_t symbol = 0; symbol < 2; symbol++) {
            const exposure *of = exposures_find(risk_state(&own->risk)->exposures, client, symbol);
            if (of == NULL)
                continue;
            cash += (uint64_t)of->cash;
            assert_int_equal(balance_of(own, client, symbol + 1),
                             own->paid_in[client][symbol + 1] + (uint64_t)of->position);
        }
        assert_int_equal(balance_of(own, client, 3), cash);
    }
}

static void cancel_all(exchange *own)
{
    for (uint64_t seq = 1, last = own->risk.client_seq; seq <= last; seq++)
        for (uint64_t client = 1; client <= CLIENTS; client++) {
            const held_order *order =
                holds_find(risk_state(&own->risk)->holds, exchange_order_id(client, seq));
            if (order == NULL)
                continue;
            const exchange_cancel cancel = {.command = risk_name(client, ++own->risk.client_seq),
                                            .order_seq = baton_le64_put(seq),
                                            .symbol = baton_le32_put(order->symbol)};
            send(own, EXCHANGE_CANCEL, &cancel, sizeof(cancel));
            settle_down(own);
        }
}

static void step(exchange *own)
{
    const uint64_t client = 1 + pick(own, CLIENTS);
    const bool room =
        waiting(&own->to_matching) < WAITING_MAX && waiting(&own->to_risk) < WAITING_MAX;
    switch (pick(own, 12)) {
    case 0:
        transfer(own, client);
        break;
    case 1:
    case 2:
    case 3:
        if (room)
            place(own, client);
        break;
    case 4:
    case 5:
        if (room)
            change(own);
        break;
    case 6:
        if (room)
            match(own, EXCHANGE_TICK, "", 0);
        break;
    case 7:
    case 8:
    case 9:
        deliver_command(own);
        break;
    default:
        deliver_report(own);
    }
}

/* Through a snapshot on disk into another machine, which goes on. */
static void carry(exchange *own)
{
    test_dir dir;
    baton_io *io;
    baton_snapshot_writer *writer;
    baton_snapshot_reader *reader;
    baton_snapshot_listed *list;
    uint32_t count;
    baton_error error = {0};
    risk_stage *old = calloc(1, sizeof(*old));
    *old = own->risk;
    test_dir_make(&dir, "risk_engine");
    assert_int_equal(baton_io_open(&(baton_io_options){.ops_max = 16}, &io, &error), 0);
    assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
    assert_int_equal(baton_machine_pack(&old->machine, 1, writer), 0);
    baton_snapshot_info info = {.schema = 1,
                                .seq = old->machine.seq,
                                .epoch = 1,
                                .state_digest = risk_digest(old),
                                .effect_digest = old->machine.effect_digest};
    strcpy(info.service, risk_engine_service.name);
    strcpy(info.version, risk_engine_service.version);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, &error), 0);
    assert_int_equal(baton_snapshot_list_with(io, dir.path, &list, &count, &error), 0);
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &list[0], &reader, &error), 0);

    risk_begin_with(&own->risk, old->values);
    own->risk.mirrored = old->mirrored;
    memcpy(own->risk.key_seq, old->key_seq, sizeof(old->key_seq));
    own->risk.client_seq = old->client_seq;
    assert_int_equal(baton_machine_unpack(&own->risk.machine, reader, &error), 0);
    own->risk.machine.time_ns = old->machine.time_ns;
    check(own);
    free(list);
    baton_snapshot_reader_close(reader);
    baton_io_close(io);
    test_dir_remove(&dir);
    baton_machine_fini(&old->machine);
    free(old);
}

static void every_unit_is_where_it_must_be_whatever_is_under_way(void **state)
{
    static const char *const self_trade[] = {"allow", "cancel-resting", "cancel-taking"};
    const char *given = getenv("BATON_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)state;
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t round = 0; round < 3; round++) {
        exchange *own = calloc(1, sizeof(*own));
        begin(own, seed + round, self_trade[round]);
        for (uint64_t client = 1; client <= CLIENTS; client++)
            for (int i = 0; i < 12; i++)
                transfer(own, client);
        for (uint32_t i = 0; i < STEPS; i++) {
            step(own);
            if (i == STEPS / 2)
                carry(own);
            if (i % 1000 == 0)
                expect_agreement(own);
        }
        expect_agreement(own);
        expect_positions(own);
        cancel_all(own);
        assert_int_equal(holds_count(risk_state(&own->risk)->holds), 0);
        assert_true(own->passed > 1000 && own->refused > 100 && own->trades > 300);
        end(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_is_where_it_must_be_whatever_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
