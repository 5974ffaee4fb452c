#include "examples/exchange/risk-engine/command.h"

#include <string.h>

#include "examples/exchange/book/invariant.h"
#include "examples/exchange/risk-engine/cover.h"
#include "examples/exchange/risk-engine/mirror.h"

static bool is_killed(const risk_engine *engine, uint64_t client_id)
{
    const exposure *client = exposures_find(engine->exposures, client_id, EXPOSURE_CLIENT);
    return engine->killed || (client != NULL && client->killed);
}

static bool has_account(const risk_engine *engine, ledger_account account)
{
    ledger_balance balance;
    return ledger_find(engine->ledger, account, &balance);
}

static uint16_t refuse_amount(const risk_engine *engine, ledger_account account, uint64_t amount)
{
    ledger_balance balance;
    if (!ledger_find(engine->ledger, account, &balance))
        return EXCHANGE_UNKNOWN_ACCOUNT;
    return balance.available < amount ? EXCHANGE_INSUFFICIENT : EXCHANGE_DONE;
}

/* A position comes with its client's kill switch: so there is room for that, whoever else fills the table. */
static bool has_room_for_position(const risk_engine *engine, uint64_t client_id)
{
    const bool is_known = exposures_find(engine->exposures, client_id, EXPOSURE_CLIENT) != NULL;
    return exposures_room(engine->exposures) >= (is_known ? 1 : 2);
}

/* NULL: there is no room. */
static const exposure *open_position(risk_engine *engine, uint64_t client_id, uint32_t symbol)
{
    const exposure *found = exposures_find(engine->exposures, client_id, symbol);
    if (found != NULL || !has_room_for_position(engine, client_id))
        return found;
    (void)exposures_open(engine->exposures, client_id, EXPOSURE_CLIENT);
    return exposures_open(engine->exposures, client_id, symbol);
}

/* ---- new orders ---- */

static uint16_t refuse_shape(const risk_engine *engine, const exchange_new_order *wire)
{
    const uint64_t size = baton_le64_get(wire->size);
    if (baton_le32_get(wire->symbol) >= engine->pairs_count)
        return BOOK_UNKNOWN_SYMBOL;
    if (wire->side > BOOK_SELL)
        return BOOK_BAD_SIDE;
    if (size == 0 || size > BOOK_SIZE_MAX)
        return BOOK_BAD_SIZE;
    return baton_le64_get(wire->price) > INT64_MAX ? EXCHANGE_NEGATIVE_PRICE : EXCHANGE_DONE;
}

static uint16_t refuse_exposure(const risk_engine *engine, const held_order *order)
{
    const uint64_t client_id = order->order_id >> 40;
    const exposure *of = exposures_find(engine->exposures, client_id, order->symbol);
    if (of == NULL)
        return has_room_for_position(engine, client_id) ? EXCHANGE_DONE : EXCHANGE_ACCOUNTS_FULL;
    return exposure_allows(of, order->side, order->remaining) ? EXCHANGE_DONE : EXCHANGE_OVER_LIMIT;
}

/* So that a trade can always be settled: the account that it would pay into. */
static bool open_receiving(risk_engine *engine, const held_order *order)
{
    const ledger_pair *pair = cover_pair(engine, order);
    const ledger_account account = {.client_id = order->order_id >> 40,
                                    .asset_id = order->side == BOOK_BUY ? pair->base_asset_id
                                                                        : pair->quote_asset_id};
    return has_account(engine, account) || ledger_deposit(engine->ledger, account, 0) == LEDGER_OK;
}

static void open_order(risk_engine *engine, const held_order *order)
{
    const ledger_refusal held =
        ledger_hold(engine->ledger, cover_account(engine, order), order->held);
    const exposure *was = open_position(engine, order->order_id >> 40, order->symbol);
    book_invariant(held == LEDGER_OK && was != NULL);
    exposure now = *was;
    now.open[order->side] += order->remaining;
    mirror_change(engine, was, &now);
    holds_add(engine->holds, order);
}

static uint16_t place(risk_engine *engine, const exchange_new_order *wire)
{
    const uint64_t client_id = baton_le64_get(wire->command.client_id);
    uint16_t refusal = refuse_shape(engine, wire);
    if (refusal != EXCHANGE_DONE)
        return refusal;
    held_order order = {.order_id =
                            exchange_order_id(client_id, baton_le64_get(wire->command.client_seq)),
                        .price = baton_le64_get(wire->price),
                        .remaining = baton_le64_get(wire->size),
                        .price_max = baton_le64_get(wire->price),
                        .size_max = baton_le64_get(wire->size),
                        .symbol = baton_le32_get(wire->symbol),
                        .side = wire->side,
                        .time_in_force = wire->time_in_force};
    if (is_killed(engine, client_id))
        return EXCHANGE_KILLED;
    if (holds_find(engine->holds, order.order_id) != NULL)
        return BOOK_DUPLICATE_ID;
    if (!holds_have_room(engine->holds))
        return BOOK_ORDERS_FULL;
    if (!cover_amount(cover_pair(engine, &order), &order, order.price, order.remaining,
                      &order.held))
        return EXCHANGE_AMOUNT_TOO_LARGE;
    refusal = refuse_exposure(engine, &order);
    if (refusal == EXCHANGE_DONE)
        refusal = refuse_amount(engine, cover_account(engine, &order), order.held);
    if (refusal != EXCHANGE_DONE)
        return refusal;
    if (!open_receiving(engine, &order))
        return EXCHANGE_ACCOUNTS_FULL;
    open_order(engine, &order);
    return EXCHANGE_DONE;
}

/* ---- replacements ---- */

/* Grows by so much, what is under way included. */
static uint16_t refuse_growth(const risk_engine *engine, const held_order *order, uint64_t grows,
                              uint64_t size)
{
    const exposure *of = exposures_find(engine->exposures, order->order_id >> 40, order->symbol);
    const bool fits = grows == 0 || (exposure_allows(of, order->side, grows) &&
                                     (of->size_max == 0 || size <= of->size_max));
    return fits ? EXCHANGE_DONE : EXCHANGE_OVER_LIMIT;
}

static uint16_t replace(risk_engine *engine, const exchange_replace *wire)
{
    const uint64_t client_id = baton_le64_get(wire->command.client_id);
    const uint64_t order_seq = baton_le64_get(wire->order_seq);
    const uint64_t price = baton_le64_get(wire->price);
    uint64_t size = baton_le64_get(wire->size);
    const held_order *order =
        order_seq <= EXCHANGE_CLIENT_SEQ_MAX
            ? holds_find(engine->holds, exchange_order_id(client_id, order_seq))
            : NULL;
    if (order == NULL || order->symbol != baton_le32_get(wire->symbol))
        return BOOK_UNKNOWN_ORDER;
    if (price > INT64_MAX)
        return EXCHANGE_NEGATIVE_PRICE;
    if (size > BOOK_SIZE_MAX)
        return BOOK_BAD_SIZE;
    if (size == 0)
        size = order->filled + order->remaining;
    const uint64_t remaining = size > order->filled ? size - order->filled : 0;
    const bool only_reduces =
        order->replaces == 0 && price == order->price && remaining <= order->remaining;
    if (is_killed(engine, client_id) && !only_reduces)
        return EXCHANGE_KILLED;

    held_order now = *order;
    if (!cover_replaced(cover_pair(engine, order), order, price, remaining, &now.held))
        return EXCHANGE_AMOUNT_TOO_LARGE;
    now.price_max = price > order->price_max ? price : order->price_max;
    now.size_max = remaining > order->size_max ? remaining : order->size_max;
    now.replaces++;
    const uint64_t grows = now.size_max - order->size_max;
    const uint64_t amount = now.held - order->held;
    uint16_t refusal = refuse_growth(engine, order, grows, size);
    if (refusal == EXCHANGE_DONE)
        refusal = refuse_amount(engine, cover_account(engine, order), amount);
    if (refusal != EXCHANGE_DONE)
        return refusal;
    if (amount > 0) {
        const ledger_refusal held =
            ledger_hold(engine->ledger, cover_account(engine, order), amount);
        book_invariant(held == LEDGER_OK);
    }
    cover_update(engine, order, now);
    return EXCHANGE_DONE;
}

/* ---- the risk engine's own ---- */

static bool is_client(uint64_t client_id)
{
    return client_id >= 1 && client_id <= EXCHANGE_CLIENT_ID_MAX;
}

static uint16_t outcome_of(ledger_refusal refusal)
{
    switch (refusal) {
    case LEDGER_OK:
        return EXCHANGE_DONE;
    case LEDGER_UNKNOWN_ACCOUNT:
        return EXCHANGE_UNKNOWN_ACCOUNT;
    case LEDGER_INSUFFICIENT:
        return EXCHANGE_INSUFFICIENT;
    case LEDGER_ACCOUNTS_FULL:
        return EXCHANGE_ACCOUNTS_FULL;
    case LEDGER_OVERFLOW:
    case LEDGER_BAD_TRADE:
        break;
    }
    return EXCHANGE_AMOUNT_TOO_LARGE;
}

static uint16_t transfer(risk_engine *engine, uint16_t type, const exchange_transfer *wire)
{
    const ledger_account account = {.client_id = baton_le64_get(wire->client_id),
                                    .asset_id = baton_le32_get(wire->asset)};
    const uint64_t amount = baton_le64_get(wire->amount);
    risk_asset *asset = risk_asset_of(engine, account.asset_id);
    if (!is_client(account.client_id))
        return EXCHANGE_BAD_COMMAND;
    if (asset == NULL)
        return EXCHANGE_UNKNOWN_ASSET;
    if (type == EXCHANGE_DEPOSIT && amount > INT64_MAX - asset->paid_in)
        return EXCHANGE_AMOUNT_TOO_LARGE;
    const uint16_t outcome =
        outcome_of(type == EXCHANGE_DEPOSIT ? ledger_deposit(engine->ledger, account, amount)
                                            : ledger_withdraw(engine->ledger, account, amount));
    if (outcome == EXCHANGE_DONE)
        asset->paid_in += type == EXCHANGE_DEPOSIT ? amount : 0 - amount;
    return outcome;
}

static uint16_t kill(risk_engine *engine, const exchange_kill *wire)
{
    const uint64_t client_id = baton_le64_get(wire->client_id);
    if (client_id == 0) {
        engine->killed = wire->on;
        return EXCHANGE_DONE;
    }
    if (!is_client(client_id))
        return EXCHANGE_BAD_COMMAND;
    const exposure *was = exposures_open(engine->exposures, client_id, EXPOSURE_CLIENT);
    if (was == NULL)
        return EXCHANGE_ACCOUNTS_FULL;
    exposure now = *was;
    now.killed = wire->on;
    mirror_change(engine, was, &now);
    return EXCHANGE_DONE;
}

static uint16_t limit(risk_engine *engine, const exchange_limit *wire)
{
    const uint64_t client_id = baton_le64_get(wire->client_id);
    const uint32_t symbol = baton_le32_get(wire->symbol);
    if (!is_client(client_id))
        return EXCHANGE_BAD_COMMAND;
    if (symbol >= engine->pairs_count)
        return BOOK_UNKNOWN_SYMBOL;
    const exposure *was = open_position(engine, client_id, symbol);
    if (was == NULL)
        return EXCHANGE_ACCOUNTS_FULL;
    exposure now = *was;
    now.position_max = baton_le64_get(wire->position_max);
    now.size_max = baton_le64_get(wire->size_max);
    mirror_change(engine, was, &now);
    return EXCHANGE_DONE;
}

/* ---- the way on, or back ---- */

/* Of what is said here the order service reads the command's name and the outcome. */
static void tell(uint16_t type, const void *body, uint16_t outcome, baton_effects *effects)
{
    exchange_report report = {.outcome = baton_le16_put(outcome),
                              .of_type = baton_le16_put(type),
                              .flags = EXCHANGE_REPORT_LAST};
    memcpy(&report.command, body, sizeof(report.command));
    if (type == EXCHANGE_NEW_ORDER) {
        exchange_new_order order;
        memcpy(&order, body, sizeof(order));
        report.order_seq = order.command.client_seq;
        report.price = order.price;
        report.size = report.remaining = order.size;
        report.symbol = order.symbol;
        report.side = order.side;
        report.time_in_force = order.time_in_force;
    } else if (type == EXCHANGE_REPLACE) {
        exchange_replace about;
        memcpy(&about, body, sizeof(about));
        report.order_seq = about.order_seq;
        report.symbol = about.symbol;
    }
    baton_effect_emit(effects, EXCHANGE_ORDER_SERVICE, EXCHANGE_REPORT, &report, sizeof(report));
}

void command_apply(risk_engine *engine, uint16_t type, const void *body, uint32_t body_bytes,
                   baton_effects *effects)
{
    uint16_t outcome = EXCHANGE_DONE; /* CANCEL, REDUCE: the book knows */
    bool goes_on = true;
    switch (type) {
    case EXCHANGE_NEW_ORDER:
        outcome = place(engine, body);
        break;
    case EXCHANGE_REPLACE:
        outcome = replace(engine, body);
        break;
    case EXCHANGE_DEPOSIT:
    case EXCHANGE_WITHDRAW:
        outcome = transfer(engine, type, body);
        goes_on = false;
        break;
    case EXCHANGE_KILL:
        outcome = kill(engine, body);
        goes_on = false;
        break;
    case EXCHANGE_LIMIT:
        outcome = limit(engine, body);
        goes_on = false;
        break;
    default:
        break;
    }
    if (goes_on && outcome == EXCHANGE_DONE)
        baton_effect_emit(effects, EXCHANGE_MATCHING_ENGINE, type, body, body_bytes);
    else
        tell(type, body, outcome, effects);
}
