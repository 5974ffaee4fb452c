/* The matching engine against a plain one (plain_exchange.h), over seeded random commands of every kind:
 * the same outcomes, the same trades in the same order, the same orders in the book, as its own clients and
 * as other services are told. A failure prints what repeats it.
 *
 *   exchange_engine_random_test [--rounds N] [--commands N] [--seed S] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/machine.h"
#include "examples/exchange/matching-engine/matching_engine.h"
#include "tests/unit/plain_exchange.h"

enum { CLIENTS = 6, SYMBOLS = 3 };

/* What the engine said about one command. */
typedef struct {
    bool acked;
    bool ended; /* the report flagged LAST has come */
    exchange_ack ack;
    exchange_report report; /* the last one */
    uint32_t trades_count, gone_count;
    exchange_trade trades[PLAIN_TOLD_MAX];
    exchange_gone gone[PLAIN_TOLD_MAX];
} engine_told;

typedef struct {
    uint64_t seed, random, command; /* command: how many there were */
    baton_machine machine;
    plain_exchange plain;
    plain_told expected;
    engine_told got;
    uint64_t client_seq[CLIENTS + 1];
    uint64_t link_seq;
    int64_t wide; /* prices are within so much of 1000 */
    uint64_t seen[EXCHANGE_REPLACE + 1], outcomes[BOOK_CANT_FILL + 1], trades, gone, linked, again;
} contest;

_Noreturn static void fail(const contest *own, const char *what)
{
    fprintf(stderr, "%s, at command %llu; repeat: --rounds 1 --seed %llu\n", what,
            (unsigned long long)own->command, (unsigned long long)own->seed);
    exit(1);
}
#define SAME(what, a, b)                                                                           \
    do {                                                                                           \
        if ((a) != (b))                                                                            \
            fail(own, what);                                                                       \
    } while (0)

static uint64_t below(contest *own, uint64_t bound)
{
    own->random ^= own->random << 13;
    own->random ^= own->random >> 7;
    own->random ^= own->random << 17;
    return (own->random >> 11) % bound;
}

/* ---- what is told ---- */

static void on_effect(void *context, const baton_effect *effect)
{
    contest *own = context;
    engine_told *got = &own->got;
    if (effect->type == EFFECT_ACK) {
        SAME("a second ACK", got->acked, false);
        memcpy(&got->ack, effect->payload, sizeof(got->ack));
        got->acked = true;
        return;
    }
    SAME("type of an effect", effect->type, EFFECT_REPORT);
    SAME("consumer of a report", effect->consumer, EXCHANGE_MARKET_DATA);
    SAME("a report after the last one", got->ended, false);
    memcpy(&got->report, effect->payload, sizeof(got->report));
    got->ended = (got->report.flags & EXCHANGE_REPORT_LAST) != 0;
    const uint8_t *items = (const uint8_t *)effect->payload + sizeof(got->report);
    const uint32_t count = baton_le32_get(got->report.items_count);
    size_t bytes = 0;
    if (got->report.items == EXCHANGE_REPORT_TRADES) {
        bytes = count * sizeof(exchange_trade);
        memcpy(&got->trades[got->trades_count], items, bytes);
        got->trades_count += count;
    } else if (got->report.items == EXCHANGE_REPORT_GONE) {
        bytes = count * sizeof(exchange_gone);
        memcpy(&got->gone[got->gone_count], items, bytes);
        got->gone_count += count;
    }
    SAME("bytes of a report", effect->payload_bytes, sizeof(got->report) + bytes);
}

static void compare_trades(const contest *own)
{
    SAME("how many trades", own->got.trades_count, own->expected.trades_count);
    for (uint32_t i = 0; i < own->expected.trades_count; i++) {
        const exchange_trade *a = &own->got.trades[i];
        const plain_trade *b = &own->expected.trades[i];
        SAME("trade id", baton_le64_get(a->trade_id), b->id);
        SAME("maker's client", baton_le64_get(a->maker.client_id), b->maker_client);
        SAME("maker", baton_le64_get(a->maker.client_seq), b->maker_seq);
        SAME("taker's client", baton_le64_get(a->taker.client_id), b->taker_client);
        SAME("taker", baton_le64_get(a->taker.client_seq), b->taker_seq);
        SAME("trade price", (int64_t)baton_le64_get(a->price), b->price);
        SAME("trade size", baton_le64_get(a->size), b->size);
        SAME("maker remaining", baton_le64_get(a->maker_remaining), b->maker_remaining);
        SAME("taker remaining", baton_le64_get(a->taker_remaining), b->taker_remaining);
        SAME("taker side", a->taker_side == BOOK_BUY, b->taker_buys);
    }
    SAME("how many gone", own->got.gone_count, own->expected.gone_count);
    for (uint32_t i = 0; i < own->expected.gone_count; i++) {
        const exchange_gone *a = &own->got.gone[i];
        const plain_order *b = &own->expected.gone[i];
        SAME("gone client", baton_le64_get(a->order.client_id), b->client);
        SAME("gone order", baton_le64_get(a->order.client_seq), b->seq);
        SAME("gone price", (int64_t)baton_le64_get(a->price), b->price);
        SAME("gone remaining", baton_le64_get(a->remaining), b->remaining);
        SAME("gone symbol", baton_le32_get(a->symbol), b->symbol);
        SAME("gone side", a->side == BOOK_BUY, b->buys);
    }
}

static void compare_report(const contest *own, uint16_t type, bool linked)
{
    const exchange_report *report = &own->got.report;
    const plain_told *expected = &own->expected;
    SAME("a last report", own->got.ended, true);
    SAME("an ACK", own->got.acked, !linked);
    SAME("outcome", baton_le16_get(report->outcome), expected->outcome);
    SAME("of type", baton_le16_get(report->of_type), type);
    SAME("filled", baton_le64_get(report->filled), expected->filled);
    SAME("remaining", baton_le64_get(report->remaining), expected->remaining);
    SAME("rests", (report->flags & EXCHANGE_REPORT_RESTS) != 0, expected->rests);
    SAME("self-trade", (report->flags & EXCHANGE_REPORT_SELF_TRADE) != 0, expected->self_trade);
    SAME("remaining before", baton_le64_get(report->remaining_before),
         expected->found ? expected->before.remaining : 0);
    if (expected->found) {
        SAME("price before", (int64_t)baton_le64_get(report->price_before), expected->before.price);
        SAME("side", report->side == BOOK_BUY, expected->before.buys);
    }
    if (!linked)
        SAME("the ACK's outcome", baton_le16_get(own->got.ack.outcome), expected->outcome);
}

/* ---- the books ---- */

typedef struct {
    const contest *own;
    uint32_t at;
} book_walk;

static int compare_order(void *context, const book_resting *order)
{
    book_walk *walk = context;
    const contest *own = walk->own;
    if (walk->at == own->plain.count)
        fail(own, "the book has more orders");
    const plain_order *b = &own->plain.orders[walk->at++];
    SAME("order", order->order_id, exchange_order_id(b->client, b->seq));
    SAME("client", order->client_id, b->client);
    SAME("symbol", order->symbol, b->symbol);
    SAME("side", order->side == BOOK_BUY, b->buys);
    SAME("price", order->price, b->price);
    SAME("remaining of a resting order", order->remaining, b->remaining);
    SAME("filled of a resting order", order->filled, b->filled);
    SAME("priority", order->priority, b->arrival);
    SAME("expire", order->expire_ns, b->expire_ns);
    return 0;
}

static void compare_books(contest *own)
{
    const matching_engine *engine = own->machine.state;
    book_walk walk = {.own = own};
    (void)book_visit(engine->book, compare_order, &walk);
    SAME("orders in the book", walk.at, own->plain.count);
    const char *broken = book_check(engine->book, true);
    if (broken)
        fail(own, broken);
}

/* ---- commands ---- */

static int64_t any_price(contest *own)
{
    static const int64_t far[] = {INT64_MIN, INT64_MAX, 0, -1, 1 << 30, -(INT64_C(1) << 40)};
    if (below(own, 200) == 0)
        return far[below(own, 6)];
    return 1000 - own->wide + (int64_t)below(own, (uint64_t)(2 * own->wide + 1));
}

static uint64_t any_size(contest *own)
{
    uint64_t kind = below(own, 100);
    return kind == 0 ? 0 : kind == 1 ? UINT64_MAX - below(own, 3) : 1 + below(own, 40);
}

static exchange_command name_of(contest *own, uint64_t client)
{
    own->client_seq[client] += below(own, 20) == 0 ? 2u : 1u; /* gaps are allowed */
    return (exchange_command){.client_id = baton_le64_put(client),
                              .client_seq = baton_le64_put(own->client_seq[client])};
}

static void make_order(contest *own, exchange_new_order *wire)
{
    *wire = (exchange_new_order){
        .command = name_of(own, 1 + below(own, CLIENTS)),
        .price = baton_le64_put((uint64_t)any_price(own)),
        .size = baton_le64_put(any_size(own)),
        .side = (uint8_t)(below(own, 500) == 0 ? 2 + below(own, 250) : below(own, 2)),
        .symbol = baton_le32_put(
            (uint32_t)(below(own, 300) == 0 ? 3 + below(own, 9) : below(own, SYMBOLS))),
    };
    static const uint8_t kinds[] = {BOOK_GTC, BOOK_GTC, BOOK_GTC, BOOK_GTC,        BOOK_GTD,
                                    BOOK_GTD, BOOK_IOC, BOOK_FOK, BOOK_FOK_BUDGET, 5};
    wire->time_in_force = kinds[below(own, below(own, 100) == 0 ? 10 : 9)];
    if (wire->time_in_force == BOOK_GTD)
        wire->expire_ns = baton_le64_put(own->plain.now_ns + below(own, 3000));
    if (wire->time_in_force == BOOK_FOK_BUDGET)
        wire->price = baton_le64_put((uint64_t)(1000 + (int64_t)below(own, 5) - 2) *
                                     baton_le64_get(wire->size));
    if (below(own, 12) == 0)
        wire->flags = EXCHANGE_POST_ONLY;
    if (below(own, 10) == 0) {
        wire->order_type = BOOK_MARKET;
        if (below(own, 4) != 0)
            wire->time_in_force = below(own, 2) ? BOOK_IOC : BOOK_FOK;
        if (wire->side == BOOK_SELL && below(own, 2))
            wire->price = baton_le64_put(0);
    }
}

/* Mostly a resting order, sometimes one that has gone, another's, or of another symbol. */
static void make_change(contest *own, exchange_cancel *wire)
{
    uint64_t client = 1 + below(own, CLIENTS), seq = below(own, own->client_seq[client] + 3);
    uint32_t symbol = (uint32_t)below(own, SYMBOLS);
    if (own->plain.count > 0 && below(own, 10) != 0) {
        const plain_order *order = &own->plain.orders[below(own, own->plain.count)];
        client = order->client;
        seq = order->seq;
        symbol = below(own, 50) == 0 ? symbol : order->symbol;
    }
    *wire = (exchange_cancel){.command = name_of(own, client),
                              .order_seq = baton_le64_put(seq),
                              .symbol = baton_le32_put(symbol)};
}

typedef union {
    exchange_command command;
    exchange_new_order order;
    exchange_cancel cancel;
    exchange_reduce reduce;
    exchange_replace replace;
    exchange_clock clock;
} any_command;

static uint16_t make_command(contest *own, any_command *wire, uint32_t *ret_bytes)
{
    exchange_cancel about;
    uint64_t kind = below(own, 100);
    if (kind < 55) {
        make_order(own, &wire->order);
        *ret_bytes = sizeof(wire->order);
        return EXCHANGE_NEW_ORDER;
    }
    if (kind < 58) {
        wire->clock =
            (exchange_clock){.command = name_of(own, 1 + below(own, CLIENTS)),
                             .now_ns = baton_le64_put(own->plain.now_ns + below(own, 400))};
        *ret_bytes = sizeof(wire->clock);
        return EXCHANGE_CLOCK;
    }
    make_change(own, &about);
    if (kind < 68) {
        wire->cancel = about;
        *ret_bytes = sizeof(wire->cancel);
        return EXCHANGE_CANCEL;
    }
    if (kind < 80) {
        wire->reduce = (exchange_reduce){.command = about.command,
                                         .order_seq = about.order_seq,
                                         .symbol = about.symbol,
                                         .by_size = baton_le64_put(below(own, 30))};
        *ret_bytes = sizeof(wire->reduce);
        return EXCHANGE_REDUCE;
    }
    wire->replace = (exchange_replace){.command = about.command,
                                       .order_seq = about.order_seq,
                                       .symbol = about.symbol,
                                       .flags = below(own, 6) == 0 ? EXCHANGE_POST_ONLY : 0,
                                       .price = baton_le64_put((uint64_t)any_price(own)),
                                       .size = baton_le64_put(below(own, 3) ? any_size(own) : 0)};
    *ret_bytes = sizeof(wire->replace);
    return EXCHANGE_REPLACE;
}

/* ---- a round ---- */

static void apply(contest *own, uint16_t type, const void *payload, uint32_t payload_bytes)
{
    own->got.acked = own->got.ended = false;
    own->got.trades_count = own->got.gone_count = 0;
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = own->machine.time_ns + 1,
                               .type = type,
                               .payload = payload,
                               .payload_bytes = payload_bytes};
    SAME("apply", baton_machine_apply(&own->machine, &entry), 0);
}

static void apply_linked(contest *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    uint8_t payload[sizeof(exchange_linked) + sizeof(any_command)];
    const exchange_linked linked = {
        .key = {.epoch = baton_le64_put(1), .seq = baton_le64_put(++own->link_seq)},
        .source = baton_le16_put(EXCHANGE_RISK_ENGINE),
        .effect_type = baton_le16_put(type)};
    memcpy(payload, &linked, sizeof(linked));
    memcpy(payload + sizeof(linked), body, body_bytes);
    apply(own, EXCHANGE_LINKED, payload, (uint32_t)sizeof(linked) + body_bytes);
    if (below(own, 8) == 0) { /* it comes again: nothing happens */
        engine_told first = own->got;
        apply(own, EXCHANGE_LINKED, payload, (uint32_t)sizeof(linked) + body_bytes);
        SAME("what was taken before", own->got.ended || own->got.acked, false);
        own->got = first;
        own->again++;
    }
}

static void one_command(contest *own)
{
    any_command wire;
    uint32_t bytes;
    uint16_t type = make_command(own, &wire, &bytes);
    bool linked = type != EXCHANGE_CLOCK && below(own, 4) == 0;
    plain_apply(&own->plain, type, &wire, &own->expected);
    if (linked)
        apply_linked(own, type, &wire, bytes);
    else
        apply(own, type, &wire, bytes);
    compare_trades(own);
    if (type != EXCHANGE_CLOCK)
        compare_report(own, type, linked);
    own->seen[type]++;
    own->outcomes[own->expected.outcome]++;
    own->trades += own->expected.trades_count;
    own->gone += own->expected.gone_count;
    own->linked += linked;
}

static void play(contest *own, uint64_t seed, uint64_t commands)
{
    static const char *const self_trades[] = {"allow", "cancel-resting", "cancel-taking"};
    static const struct {
        const char *orders, *levels;
        int64_t wide;
    } pools[] = {{"96", "14", 12}, {"1000", "400", 40}, {"20", "40", 4}};
    const uint32_t pool = (uint32_t)(seed / 3 % 3), mode = (uint32_t)(seed % 3);
    baton_error error = {0};
    own->seed = seed;
    own->random = seed * 0x9e3779b97f4a7c15u | 1;
    own->wide = pools[pool].wide;
    own->command = own->link_seq = 0;
    memset(own->client_seq, 0, sizeof(own->client_seq));
    own->plain.count = 0;
    own->plain.arrivals = own->plain.trades = own->plain.now_ns = 0;
    own->plain.orders_max = (uint32_t)atoi(pools[pool].orders);
    own->plain.levels_max = (uint32_t)atoi(pools[pool].levels);
    own->plain.symbols = SYMBOLS;
    own->plain.self_trade = (book_self_trade)mode;
    const char *const values[] = {pools[pool].orders, pools[pool].levels, "16", "market-data", "3",
                                  self_trades[mode]};
    const baton_service_config config = {.values = values};
    SAME("make the engine",
         baton_machine_init(&own->machine, &matching_engine_service, &config, &error), 0);
    own->machine.on_effect = on_effect;
    own->machine.on_effect_context = own;
    for (; own->command < commands; own->command++) {
        one_command(own);
        if (own->command % 64 == 0)
            compare_books(own);
        /* The feed has everything: or the outbox would hold it all. */
        if (own->command % 4096 == 0)
            baton_outbox_confirm(&own->machine.outbox, EXCHANGE_MARKET_DATA,
                                 (baton_effect_key){.epoch = 1, .seq = own->machine.seq});
    }
    compare_books(own);
    baton_machine_fini(&own->machine);
}

/* A run in which something never happens proves nothing about it. */
static bool has_seen_all(const contest *own)
{
    bool all = own->trades > 1000 && own->gone > 100 && own->linked > 1000 && own->again > 100;
    static const uint16_t kinds[] = {EXCHANGE_NEW_ORDER, EXCHANGE_CANCEL, EXCHANGE_REDUCE,
                                     EXCHANGE_REPLACE, EXCHANGE_CLOCK};
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        all = all && own->seen[kinds[i]] > 1000;
    for (uint32_t i = 0; i <= BOOK_CANT_FILL; i++) {
        /* A client's seqs are its own; sizes are too small to overflow a level. */
        bool never = i == BOOK_DUPLICATE_ID || i == BOOK_LEVEL_OVERFLOW || i == BOOK_NOT_OWNER;
        if (!never && own->outcomes[i] < 10) {
            fprintf(stderr, "%s came up %llu times only\n", book_refusal_name((book_refusal)i),
                    (unsigned long long)own->outcomes[i]);
            all = false;
        }
    }
    return all;
}

int main(int argc, char **argv)
{
    uint64_t rounds = 9, commands = 60000, seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *place = strcmp(argv[i], "--rounds") == 0     ? &rounds
                          : strcmp(argv[i], "--commands") == 0 ? &commands
                          : strcmp(argv[i], "--seed") == 0     ? &seed
                                                               : NULL;
        if (!place) {
            fprintf(stderr, "%s: unknown: --rounds, --commands or --seed\n", argv[i]);
            return 1;
        }
        *place = strtoull(argv[i + 1], NULL, 10);
    }
    contest *own = calloc(1, sizeof(*own));
    if (!own)
        return 1;
    printf("seed %llu\n", (unsigned long long)seed);
    for (uint64_t round = 0; round < rounds; round++)
        play(own, seed + round, commands);
    bool all = rounds < 9 || commands < 60000 || has_seen_all(own);
    printf("%llu commands, %llu trades, %llu gone: the same as the plain engine's\n",
           (unsigned long long)(rounds * commands), (unsigned long long)own->trades,
           (unsigned long long)own->gone);
    free(own);
    return all ? 0 : 1;
}
