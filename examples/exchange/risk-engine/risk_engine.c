#include "examples/exchange/risk-engine/risk_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/book/memory.h"
#include "examples/exchange/clients/option_count.h"
#include "examples/exchange/clients/rows.h"
#include "examples/exchange/risk-engine/apply.h"
#include "examples/exchange/risk-engine/cover.h"

enum {
    OPTION_PAIRS,
    OPTION_ORDERS_MAX,
    OPTION_ACCOUNTS_MAX,
    OPTION_EXPOSURES_MAX,
    OPTION_OUTBOX,
    OPTIONS
};

static const baton_service_option options[OPTIONS] = {
    [OPTION_PAIRS] = {"pairs", "1/2/1",
                      "of each symbol, from 0: base asset / quote asset / how much of base a price "
                      "is for; commas between"},
    [OPTION_ORDERS_MAX] = {"orders-max", "262144", "open orders; more are refused"},
    [OPTION_ACCOUNTS_MAX] = {"accounts-max", "65536", "accounts: an asset of a client each"},
    [OPTION_EXPOSURES_MAX] =
        {"exposures-max", "65536",
         "positions: a symbol of a client each, and one more for its kill switch"},
    [OPTION_OUTBOX] = {"outbox", "none",
                       "who else is told what changes, and confirms: risk-mirror, or none"},
};

/* ---- layout ---- */

static const baton_layout_field pair_fields[] = {
    BATON_FIELD(ledger_pair, base_asset_id),
    BATON_FIELD(ledger_pair, quote_asset_id),
    BATON_FIELD(ledger_pair, size_unit),
};
static const baton_layout_type pair_layout = BATON_LAYOUT_TYPE(ledger_pair, pair_fields);

static const baton_layout_field asset_fields[] = {
    BATON_FIELD(risk_asset, paid_in),
    BATON_FIELD(risk_asset, asset_id),
};
static const baton_layout_type asset_layout = BATON_LAYOUT_TYPE(risk_asset, asset_fields);

static const baton_layout_field engine_fields[] = {
    BATON_POINTER(risk_engine, arena, baton_arena),
    BATON_POINTER(risk_engine, ledger, account_ledger),
    BATON_POINTER(risk_engine, holds, holds),
    BATON_POINTER(risk_engine, exposures, exposures),
    BATON_STRUCT(risk_engine, sources, sources_layout),
    BATON_FIELD(risk_engine, barrier_id),
    BATON_FIELD(risk_engine, barrier_seq),
    BATON_FIELD(risk_engine, barrier_under_way),
    BATON_FIELD(risk_engine, killed),
    BATON_FIELD(risk_engine, strays),
    BATON_FIELD(risk_engine, pairs_count),
    BATON_FIELD(risk_engine, assets_count),
    BATON_STRUCT(risk_engine, pairs, pair_layout),
    BATON_STRUCT(risk_engine, assets, asset_layout),
    BATON_FIELD(risk_engine, mirror_number),
    BATON_FIELD(risk_engine, mirrored),
    BATON_FIELD(risk_engine, killed_was),
    BATON_FIELD(risk_engine, changes_count),
    BATON_STRUCT(risk_engine, changes, exposure_layout),
};
static const baton_layout_type engine_layout = BATON_LAYOUT_TYPE(risk_engine, engine_fields);

static const baton_layout_type *const layout_types[] = {&engine_layout, LEDGER_LAYOUT_TYPES,
                                                        HOLDS_LAYOUT_TYPES, EXPOSURES_LAYOUT_TYPES};

/* revision: raise it when a hash function (ledger.c, holds.c, exposures.c) changes: the bytes mean something else
 * then. */
static const baton_layout layout = {
    .name = "risk-engine",
    .revision = 1,
    .types = layout_types,
    .types_count = sizeof(layout_types) / sizeof(layout_types[0]),
};

/* ---- options ---- */

/* A whole number before `end`; *at is after it then. */
static bool parse_part(const char **at, const char *ends, uint64_t max, uint64_t *ret_value)
{
    char *after;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *ret_value = strtoull(*at, &after, 10);
    *at = after;
    for (const char *end = ends; errno == 0 && *ret_value <= max; end++) {
        if (*after == *end) {
            *at += *after != '\0';
            return true;
        }
        if (*end == '\0')
            break;
    }
    return false;
}

static void know_asset(risk_engine *engine, uint32_t asset_id)
{
    if (risk_asset_of(engine, asset_id) != NULL)
        return;
    uint32_t at = engine->assets_count++;
    for (; at > 0 && engine->assets[at - 1].asset_id > asset_id; at--)
        engine->assets[at] = engine->assets[at - 1];
    engine->assets[at] = (risk_asset){.asset_id = asset_id};
}

static int parse_pairs(const char *text, risk_engine *engine, baton_error *error)
{
    const char *at = text;
    do {
        uint64_t base, quote, unit;
        if (engine->pairs_count == RISK_SYMBOLS_MAX || !parse_part(&at, "/", UINT32_MAX, &base) ||
            at[-1] != '/' || !parse_part(&at, "/", UINT32_MAX, &quote) || at[-1] != '/' ||
            !parse_part(&at, ",", INT64_MAX, &unit) || unit == 0 || base == quote ||
            (at[-1] == ',' && *at == '\0'))
            return baton_error_setf(
                error, BATON_E_INVALID, "--pairs",
                "give BASE/QUOTE/UNIT of each symbol, whole numbers, commas between",
                "'%s' is no list of up to %d pairs", text, RISK_SYMBOLS_MAX);
        engine->pairs[engine->pairs_count++] = (ledger_pair){
            .base_asset_id = (uint32_t)base, .quote_asset_id = (uint32_t)quote, .size_unit = unit};
        know_asset(engine, (uint32_t)base);
        know_asset(engine, (uint32_t)quote);
    } while (*at != '\0');
    return 0;
}

static int parse_outbox(const char *text, uint32_t *ret_mirrored, baton_error *error)
{
    *ret_mirrored = strcmp(text, "risk-mirror") == 0;
    if (*ret_mirrored || strcmp(text, "none") == 0)
        return 0;
    return baton_error_setf(error, BATON_E_INVALID, "--outbox", "choose risk-mirror or none",
                            "'%s' is unknown", text);
}

/* ---- life ---- */

static void destroy(void *state)
{
    risk_engine *own = state;
    if (!own)
        return;
    ledger_destroy(own->ledger);
    holds_destroy(own->holds);
    exposures_destroy(own->exposures);
    memory_free(own->arena, own);
}

static int create_parts(risk_engine *own, uint32_t orders_max, uint32_t accounts_max,
                        uint32_t exposures_max)
{
    uint32_t kept[RISK_ASSETS_MAX];
    for (uint32_t i = 0; i < own->assets_count; i++)
        kept[i] = own->assets[i].asset_id;
    const ledger_options money = {.accounts_max = accounts_max,
                                  .kept_assets = kept,
                                  .kept_assets_count = own->assets_count,
                                  .arena = own->arena};
    int r = ledger_create(&money, &own->ledger);
    if (r == 0)
        r = holds_create(orders_max, own->arena, &own->holds);
    if (r == 0)
        r = exposures_create(exposures_max, own->arena, &own->exposures);
    return r;
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    risk_engine wish = {.arena = config->arena};
    uint32_t orders_max, accounts_max, exposures_max;
    int r = parse_pairs(config->values[OPTION_PAIRS], &wish, error);
    if (r == 0)
        r = option_count(config->values[OPTION_ORDERS_MAX], "--orders-max", 1u << 26, &orders_max,
                         error);
    if (r == 0)
        r = option_count(config->values[OPTION_ACCOUNTS_MAX], "--accounts-max", 1u << 26,
                         &accounts_max, error);
    if (r == 0)
        r = option_count(config->values[OPTION_EXPOSURES_MAX], "--exposures-max", 1u << 26,
                         &exposures_max, error);
    if (r == 0)
        r = parse_outbox(config->values[OPTION_OUTBOX], &wish.mirrored, error);
    if (r < 0)
        return r;
    risk_engine *own = memory_new(config->arena, &engine_layout, 1);
    if (!own)
        return -ENOMEM;
    *own = wish;
    r = create_parts(own, orders_max, accounts_max, exposures_max);
    if (r < 0) {
        destroy(own);
        return r;
    }
    *ret_state = own;
    return 0;
}

/* An image knows those of its time, by which everything in it was held and paid. */
static int check_options(const void *state, const baton_service_config *config, baton_error *error)
{
    static const char todo[] = "give that, as on every start of the same data";
    const risk_engine *own = state;
    risk_engine wish = {0};
    int r = parse_pairs(config->values[OPTION_PAIRS], &wish, error);
    if (r == 0)
        r = parse_outbox(config->values[OPTION_OUTBOX], &wish.mirrored, error);
    if (r < 0)
        return r;
    if (wish.mirrored != own->mirrored)
        return baton_error_setf(error, BATON_E_INVALID, "--outbox",
                                "give the one that its data was made with", "'%s' is another",
                                config->values[OPTION_OUTBOX]);
    bool same = wish.pairs_count == own->pairs_count;
    for (uint32_t i = 0; i < wish.pairs_count && same; i++)
        same = wish.pairs[i].base_asset_id == own->pairs[i].base_asset_id &&
               wish.pairs[i].quote_asset_id == own->pairs[i].quote_asset_id &&
               wish.pairs[i].size_unit == own->pairs[i].size_unit;
    if (!same)
        return baton_error_setf(error, BATON_E_INVALID, "--pairs", todo,
                                "its data was made with others, %u of them", own->pairs_count);
    return 0;
}

/* ---- digest ---- */

static baton_digest assets_digest(const risk_engine *own)
{
    baton_le64 words[3 * RISK_SYMBOLS_MAX + 2 * RISK_ASSETS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->pairs_count; i++) {
        words[count++] = baton_le64_put(own->pairs[i].base_asset_id);
        words[count++] = baton_le64_put(own->pairs[i].quote_asset_id);
        words[count++] = baton_le64_put(own->pairs[i].size_unit);
    }
    for (uint32_t i = 0; i < own->assets_count; i++) {
        words[count++] = baton_le64_put(own->assets[i].asset_id);
        words[count++] = baton_le64_put(own->assets[i].paid_in);
    }
    return baton_digest_of(words, count * sizeof(words[0]));
}

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    const risk_engine *own = state;
    (void)schema; /* there is one */
    const struct {
        baton_digest ledger;
        baton_digest holds;
        baton_digest exposures;
        baton_digest sources;
        baton_digest assets;
        baton_le64 barrier_id;
        baton_le64 barrier_seq;
        baton_le64 barrier_under_way;
        baton_le64 killed;
        baton_le64 strays;
        baton_le64 mirror_number;
    } parts = {.ledger = ledger_digest(own->ledger),
               .holds = holds_digest(own->holds),
               .exposures = exposures_digest(own->exposures),
               .sources = sources_digest(&own->sources),
               .assets = assets_digest(own),
               .barrier_id = baton_le64_put(own->barrier_id),
               .barrier_seq = baton_le64_put(own->barrier_seq),
               .barrier_under_way = baton_le64_put(own->barrier_under_way),
               .killed = baton_le64_put(own->killed),
               .strays = baton_le64_put(own->strays),
               .mirror_number = baton_le64_put(own->mirror_number)};
    *ret_digest = baton_digest_of(&parts, sizeof(parts));
    return 0;
}

/* ---- snapshots ---- */

enum {
    BALANCE_FIELDS = 5,
    EXPOSURE_FIELDS = 9,
    ORDER_FIELDS = 11,
    ASSET_FIELDS = 2,
    ENGINE_FIELDS = 6,
};

#define SECTION(title, fields)                                                                     \
    {                                                                                              \
        .name = title, .since_schema = 1, .fields_required = fields, .fields_known = fields        \
    }
static const baton_section sections[] = {
    SECTION("assets", ASSET_FIELDS),       SECTION("balances", BALANCE_FIELDS),
    SECTION("exposures", EXPOSURE_FIELDS), SECTION("orders", ORDER_FIELDS),
    SECTION("sources", SOURCES_FIELDS),    SECTION("engine", ENGINE_FIELDS),
};

static int pack_balance(void *context, const ledger_balance *balance)
{
    const uint64_t fields[BALANCE_FIELDS] = {balance->account.client_id, balance->account.asset_id,
                                             balance->available, balance->held, balance->version};
    rows_pack(context, fields, BALANCE_FIELDS, ROWS_ALL_UNSIGNED);
    return 0;
}

static void pack_order(void *context, const held_order *order)
{
    const uint64_t fields[ORDER_FIELDS] = {order->order_id,  order->price,        order->filled,
                                           order->remaining, order->held,         order->price_max,
                                           order->size_max,  order->symbol,       order->replaces,
                                           order->side,      order->time_in_force};
    rows_pack(context, fields, ORDER_FIELDS, ROWS_ALL_UNSIGNED);
}

/* position and cash as two's complement. */
static void pack_exposure(baton_snapshot_writer *writer, const exposure *one)
{
    const uint64_t fields[EXPOSURE_FIELDS] = {
        one->client_id,      one->symbol,         (uint64_t)one->position,
        (uint64_t)one->cash, one->open[BOOK_BUY], one->open[BOOK_SELL],
        one->position_max,   one->size_max,       one->killed};
    rows_pack(writer, fields, EXPOSURE_FIELDS, ROWS_ALL_UNSIGNED);
}

static int snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    const risk_engine *own = state;
    const uint64_t rest[ENGINE_FIELDS] = {own->barrier_id, own->barrier_seq, own->barrier_under_way,
                                          own->killed,     own->strays,      own->mirror_number};
    (void)schema;
    baton_pack_section(writer, "assets");
    for (uint32_t i = 0; i < own->assets_count; i++)
        rows_pack(writer, (uint64_t[ASSET_FIELDS]){own->assets[i].asset_id, own->assets[i].paid_in},
                  ASSET_FIELDS, ROWS_ALL_UNSIGNED);
    baton_pack_section(writer, "balances");
    int r = ledger_visit(own->ledger, pack_balance, writer);
    if (r < 0)
        return r;
    baton_pack_section(writer, "exposures");
    for (uint32_t i = 0; i < exposures_count(own->exposures); i++)
        pack_exposure(writer, exposures_at(own->exposures, i));
    baton_pack_section(writer, "orders");
    r = holds_visit(own->holds, pack_order, writer);
    if (r < 0)
        return r;
    rows_pack_sources(writer, &own->sources);
    baton_pack_section(writer, "engine");
    rows_pack(writer, rest, ENGINE_FIELDS, ROWS_ALL_UNSIGNED);
    return baton_pack_error(writer);
}

static int restore_assets(risk_engine *own, baton_snapshot_reader *reader)
{
    uint64_t fields[ASSET_FIELDS];
    int r = baton_unpack_section(reader, "assets");
    while (r >= 0 && (r = rows_next(reader, fields, ASSET_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        risk_asset *asset =
            fields[0] <= UINT32_MAX ? risk_asset_of(own, (uint32_t)fields[0]) : NULL;
        if (asset == NULL || fields[1] > INT64_MAX) /* other --pairs */
            return BATON_E_SCHEMA;
        asset->paid_in = fields[1];
    }
    return r;
}

static int restore_balances(risk_engine *own, baton_snapshot_reader *reader)
{
    uint64_t fields[BALANCE_FIELDS];
    int r = baton_unpack_section(reader, "balances");
    while (r >= 0 && (r = rows_next(reader, fields, BALANCE_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        if (fields[1] > UINT32_MAX)
            return BATON_E_SCHEMA;
        const ledger_balance balance = {
            .account = {.client_id = fields[0], .asset_id = (uint32_t)fields[1]},
            .available = fields[2],
            .held = fields[3],
            .version = fields[4]};
        r = ledger_restore(own->ledger, &balance);
        if (r < 0)
            return r == BATON_E_FULL ? r : BATON_E_SCHEMA;
    }
    return r;
}

static int restore_exposures(risk_engine *own, baton_snapshot_reader *reader)
{
    uint64_t fields[EXPOSURE_FIELDS];
    int r = baton_unpack_section(reader, "exposures");
    while (r >= 0 && (r = rows_next(reader, fields, EXPOSURE_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        if (fields[0] > EXCHANGE_CLIENT_ID_MAX || fields[8] > 1 ||
            (fields[1] >= own->pairs_count && fields[1] != EXPOSURE_CLIENT))
            return BATON_E_SCHEMA;
        const exposure one = {.client_id = fields[0],
                              .symbol = (uint32_t)fields[1],
                              .position = (int64_t)fields[2],
                              .cash = (int64_t)fields[3],
                              .open = {[BOOK_BUY] = fields[4], [BOOK_SELL] = fields[5]},
                              .position_max = fields[6],
                              .size_max = fields[7],
                              .killed = (uint32_t)fields[8]};
        if (!exposures_restore(own->exposures, &one))
            return BATON_E_SCHEMA;
    }
    return r;
}

/* After the exposures, which have what is open of each order. */
static int restore_orders(risk_engine *own, baton_snapshot_reader *reader)
{
    uint64_t fields[ORDER_FIELDS];
    int r = baton_unpack_section(reader, "orders");
    while (r >= 0 && (r = rows_next(reader, fields, ORDER_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        if (fields[7] >= own->pairs_count || fields[8] > UINT32_MAX || fields[9] > BOOK_SELL ||
            fields[10] > UINT8_MAX)
            return BATON_E_SCHEMA;
        const held_order order = {.order_id = fields[0],
                                  .price = fields[1],
                                  .filled = fields[2],
                                  .remaining = fields[3],
                                  .held = fields[4],
                                  .price_max = fields[5],
                                  .size_max = fields[6],
                                  .symbol = (uint32_t)fields[7],
                                  .replaces = (uint32_t)fields[8],
                                  .side = (uint8_t)fields[9],
                                  .time_in_force = (uint8_t)fields[10]};
        const exposure *of = exposures_find(own->exposures, order.order_id >> 40, order.symbol);
        if (of == NULL || of->open[order.side] < order.size_max ||
            !holds_restore(own->holds, &order))
            return BATON_E_SCHEMA;
    }
    return r;
}

static int restore(void *state, uint32_t schema, baton_snapshot_reader *reader)
{
    risk_engine *own = state;
    uint64_t rest[ENGINE_FIELDS];
    (void)schema;
    int r = restore_assets(own, reader);
    if (r == 0)
        r = restore_balances(own, reader);
    if (r == 0)
        r = restore_exposures(own, reader);
    if (r == 0)
        r = restore_orders(own, reader);
    if (r == 0)
        r = rows_restore_sources(reader, &own->sources);
    if (r == 0)
        r = rows_only(reader, "engine", rest, ENGINE_FIELDS);
    if (r < 0)
        return r;
    own->barrier_id = rest[0];
    own->barrier_seq = rest[1];
    own->barrier_under_way = rest[2] != 0;
    own->killed = rest[3] != 0;
    own->strays = rest[4];
    own->mirror_number = rest[5];
    return 0;
}

static const baton_entry_type entry_types[] = {{EXCHANGE_LINKED, 1}, {EXCHANGE_RESYNC, 1}};

const baton_service risk_engine_service = {
    .name = "risk-engine",
    .version = "1.0.0",
    .schema = {.write = 1, .read_min = 1},
    .entry_types = entry_types,
    .entry_types_count = sizeof(entry_types) / sizeof(entry_types[0]),
    .options = options,
    .options_count = OPTIONS,
    .layout = &layout,
    .sections = sections,
    .sections_count = sizeof(sections) / sizeof(sections[0]),
    .create = create,
    .destroy = destroy,
    .apply = risk_engine_apply,
    .digest = digest,
    .snapshot = snapshot,
    .restore = restore,
    .check_options = check_options,
};
