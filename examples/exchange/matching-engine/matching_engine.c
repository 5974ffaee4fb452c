#include "examples/exchange/matching-engine/matching_engine.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/book/memory.h"
#include "examples/exchange/clients/option_count.h"
#include "examples/exchange/matching-engine/apply.h"
#include "examples/exchange/matching-engine/image.h"
#include "examples/exchange/matching-engine/report.h"

enum {
    OPTION_ORDERS_MAX,
    OPTION_LEVELS_MAX,
    OPTION_CLIENTS_MAX,
    OPTION_OUTBOX,
    OPTION_SYMBOLS,
    OPTION_SELF_TRADE,
    OPTIONS
};

static const baton_service_option options[OPTIONS] = {
    [OPTION_ORDERS_MAX] = {"orders-max", "262144",
                           "resting orders of all symbols; a full book refuses"},
    [OPTION_LEVELS_MAX] = {"levels-max", "65536", "distinct resting prices of all symbols"},
    [OPTION_CLIENTS_MAX] = {"clients-max", "4096", "clients remembered for resends"},
    [OPTION_OUTBOX] = {"outbox", "none",
                       "who is told of every command, and confirms: a list of order-service, "
                       "risk-engine, settlement, market-data; or none"},
    [OPTION_SYMBOLS] = {"symbols", "1", "instruments, numbered from 0"},
    [OPTION_SELF_TRADE] = {"self-trade", "allow",
                           "an order that meets one of its client: allow, cancel-resting or "
                           "cancel-taking"},
};

static const baton_layout_field engine_fields[] = {
    BATON_POINTER(matching_engine, arena, baton_arena),
    BATON_POINTER(matching_engine, book, order_book),
    BATON_POINTER(matching_engine, clients, clients),
    BATON_STRUCT(matching_engine, sources, sources_layout),
    BATON_FIELD(matching_engine, barrier_id),
    BATON_FIELD(matching_engine, barrier_seq),
    BATON_FIELD(matching_engine, features),
    BATON_FIELD(matching_engine, consumers),
};
static const baton_layout_type engine_layout = BATON_LAYOUT_TYPE(matching_engine, engine_fields);

static const baton_layout_type *const layout_types[] = {&engine_layout, &clients_layout,
                                                        &client_layout, BOOK_LAYOUT_TYPES};

/* revision: raise it when one of the two hash functions (order_table.c, clients.c) or the order in
 * the expiry heap changes: the bytes mean something else then. */
static const baton_layout layout = {
    .name = "matching-engine",
    .revision = 2,
    .types = layout_types,
    .types_count = sizeof(layout_types) / sizeof(layout_types[0]),
};

static void destroy(void *state)
{
    matching_engine *engine = state;
    if (!engine)
        return;
    book_destroy(engine->book);
    clients_destroy(engine->clients);
    memory_free(engine->arena, engine);
}

/* A list of names: bit n for consumer n. */
static int parse_outbox(const char *list, uint32_t *ret_consumers, baton_error *error)
{
    static const struct {
        const char *name;
        uint32_t consumer;
    } known[] = {{"order-service", EXCHANGE_ORDER_SERVICE},
                 {"risk-engine", EXCHANGE_RISK_ENGINE},
                 {"settlement", EXCHANGE_SETTLEMENT},
                 {"market-data", EXCHANGE_MARKET_DATA},
                 {"trades", EXCHANGE_MARKET_DATA}};
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    *ret_consumers = 0;
    if (strcmp(list, "none") == 0)
        return 0;
    for (const char *at = list;; at++) {
        size_t bytes = strcspn(at, ",");
        uint32_t i = 0;
        while (i < KNOWN &&
               (strlen(known[i].name) != bytes || memcmp(known[i].name, at, bytes) != 0))
            i++;
        if (i == KNOWN)
            return baton_error_setf(error, BATON_E_INVALID, "--outbox",
                                    "choose from order-service, risk-engine, settlement and "
                                    "market-data, with commas between, or none",
                                    "'%.*s' is unknown", (int)bytes, at);
        *ret_consumers |= UINT32_C(1) << known[i].consumer;
        at += bytes;
        if (*at == '\0')
            return 0;
    }
}

static int parse_self_trade(const char *text, book_self_trade *ret_choice, baton_error *error)
{
    static const char *const names[] = {
        [BOOK_SELF_TRADE_ALLOW] = "allow",
        [BOOK_SELF_TRADE_CANCEL_RESTING] = "cancel-resting",
        [BOOK_SELF_TRADE_CANCEL_TAKING] = "cancel-taking",
    };
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_choice = (book_self_trade)i;
            return 0;
        }
    }
    return baton_error_setf(error, BATON_E_INVALID, "--self-trade",
                            "choose allow, cancel-resting or cancel-taking", "'%s' is unknown",
                            text);
}

/* One order can trade with every other, or every order expire at once: all that must fit into the effects
 * of one entry, for each consumer, and an ACK. */
static int check_effects(uint32_t orders_max, uint32_t consumers, baton_error *error)
{
    uint32_t told = consumers ? (uint32_t)__builtin_popcount(consumers) : 1;
    uint32_t reports_max = (BATON_EFFECTS_PER_ENTRY_MAX - 1) / told;
    uint32_t orders = (reports_max - 2) * TRADES_PER_REPORT;
    if (orders_max <= orders)
        return 0;
    return baton_error_setf(
        error, BATON_E_INVALID, "--orders-max", "lower it, or name fewer consumers in --outbox",
        "with %u consumers an entry's effects tell of %u orders at most", told, orders);
}

typedef struct {
    book_options book;
    clients_options clients;
    uint32_t consumers;
} engine_options;

static int parse_options(const baton_service_config *config, engine_options *ret_options,
                         baton_error *error)
{
    const char *const *values = config->values;
    *ret_options = (engine_options){.book.arena = config->arena, .clients.arena = config->arena};
    book_options *book = &ret_options->book;
    int r = option_count(values[OPTION_ORDERS_MAX], "--orders-max", MATCHING_ENGINE_ORDERS_MAX,
                         &book->orders_max, error);
    if (r == 0)
        r = option_count(values[OPTION_LEVELS_MAX], "--levels-max", MATCHING_ENGINE_ORDERS_MAX,
                         &book->levels_max, error);
    if (r == 0)
        r = option_count(values[OPTION_CLIENTS_MAX], "--clients-max", 1u << 22,
                         &ret_options->clients.clients_max, error);
    if (r == 0)
        r = parse_outbox(values[OPTION_OUTBOX], &ret_options->consumers, error);
    if (r == 0)
        r = option_count(values[OPTION_SYMBOLS], "--symbols", BOOK_SYMBOLS_MAX, &book->symbols,
                         error);
    if (r == 0)
        r = parse_self_trade(values[OPTION_SELF_TRADE], &book->self_trade, error);
    if (r == 0)
        r = check_effects(book->orders_max, ret_options->consumers, error);
    return r;
}

/* What the reports, the trades and the digests depend on. */
static int check_options(const void *state, const baton_service_config *config, baton_error *error)
{
    const matching_engine *engine = state;
    engine_options chosen;
    int r = parse_options(config, &chosen, error);
    if (r < 0)
        return r;
    const char *wrong = chosen.consumers != engine->consumers               ? "--outbox"
                        : chosen.book.symbols != book_symbols(engine->book) ? "--symbols"
                        : chosen.book.self_trade != book_self_trade_of(engine->book)
                            ? "--self-trade"
                            : NULL;
    return wrong == NULL ? 0
                         : baton_error_set(error, BATON_E_INVALID, wrong,
                                           "its data was made with another value",
                                           "give that, as on every start of the same data");
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    engine_options chosen;
    int r = parse_options(config, &chosen, error);
    if (r < 0)
        return r;
    matching_engine *engine = memory_new(config->arena, &engine_layout, 1);
    if (!engine)
        return -ENOMEM;
    engine->arena = config->arena;
    engine->consumers = chosen.consumers;
    r = book_create(&chosen.book, &engine->book);
    if (r == 0)
        r = clients_create(&chosen.clients, &engine->clients);
    if (r < 0) {
        destroy(engine);
        return r;
    }
    *ret_state = engine;
    return 0;
}

typedef struct {
    baton_digest book;
    baton_digest clients;
    baton_digest sources;
    baton_le64 barrier_id;
    baton_le64 barrier_seq;
    baton_digest volumes;
    baton_le32 features;
    uint8_t zero[4];
} digest_parts;

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    const matching_engine *engine = state;
    digest_parts parts = {.book = book_digest(engine->book),
                          .clients = clients_digest(engine->clients),
                          .sources = sources_digest(&engine->sources),
                          .barrier_id = baton_le64_put(engine->barrier_id),
                          .barrier_seq = baton_le64_put(engine->barrier_seq)};

    if (schema == 1) {
        *ret_digest = baton_digest_of(&parts, offsetof(digest_parts, volumes));
        return 0;
    }
    parts.volumes = clients_volumes_digest(engine->clients);
    parts.features = baton_le32_put(engine->features);
    *ret_digest = baton_digest_of(&parts, sizeof(parts));
    return 0;
}

static const baton_entry_type entry_types[] = {
    {ENTRY_NEW_ORDER, 1}, {ENTRY_CANCEL, 1}, {ENTRY_REDUCE, 1}, {ENTRY_REPLACE, 1},
    {ENTRY_CLOCK, 1},     {ENTRY_TICK, 1},   {ENTRY_LINKED, 1},
#if MATCHING_ENGINE_SCHEMA >= 2
    {ENTRY_SWITCH, 2},
#endif
};

const baton_service matching_engine_service = {
    .name = "matching-engine",
    .version = MATCHING_ENGINE_VERSION,
    .schema = {.write = MATCHING_ENGINE_SCHEMA, .read_min = 1},
    .entry_types = entry_types,
    .entry_types_count = sizeof(entry_types) / sizeof(entry_types[0]),
    .options = options,
    .options_count = OPTIONS,
    .layout = &layout,
    .sections = matching_engine_sections,
    .sections_count =
        MATCHING_ENGINE_SCHEMA >= 2 ? MATCHING_ENGINE_SECTIONS_2 : MATCHING_ENGINE_SECTIONS_1,
    .create = create,
    .destroy = destroy,
    .apply = matching_engine_apply,
    .digest = digest,
    .snapshot = matching_engine_snapshot,
    .restore = matching_engine_restore,
    .check_options = check_options,
};
