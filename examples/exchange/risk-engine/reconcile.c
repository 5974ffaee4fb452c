#include "examples/exchange/risk-engine/reconcile.h"

#include "examples/exchange/risk-engine/cover.h"

uint64_t reconcile_kept(const risk_engine *engine)
{
    uint64_t anomalies = engine->strays;
    for (uint32_t i = 0; i < engine->assets_count; i++)
        if (ledger_kept_total(engine->ledger, engine->assets[i].asset_id) !=
            engine->assets[i].paid_in)
            anomalies++;
    return anomalies;
}

/* Sums over accounts and over orders that are equal, modulo 2^64, when they are equal account by account: each
 * weighs in by a number of its own. */
typedef struct {
    const risk_engine *engine;
    uint64_t held;
    uint64_t open;
    uint64_t anomalies;
} sums;

static uint64_t weight_of(uint64_t client_id, uint64_t what)
{
    uint64_t mixed = (client_id << 32 ^ what) * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    mixed *= UINT64_C(0xbf58476d1ce4e5b9);
    return mixed ^ mixed >> 32;
}

static void add_order(void *context, const held_order *order)
{
    sums *own = context;
    const ledger_account account = cover_account(own->engine, order);
    uint64_t needed;
    own->held += order->held * weight_of(account.client_id, account.asset_id);
    own->open +=
        order->size_max * weight_of(account.client_id, (uint64_t)order->symbol << 1 | order->side);
    if (cover_is_exact(order) && (!cover_amount(cover_pair(own->engine, order), order, order->price,
                                                order->remaining, &needed) ||
                                  needed != order->held))
        own->anomalies++;
}

static int subtract_balance(void *context, const ledger_balance *balance)
{
    sums *own = context;
    own->held -= balance->held * weight_of(balance->account.client_id, balance->account.asset_id);
    return 0;
}

static void subtract_exposures(sums *own)
{
    const exposures *all = own->engine->exposures;
    for (uint32_t i = 0; i < exposures_count(all); i++) {
        const exposure *one = exposures_at(all, i);
        for (uint32_t side = 0; side < 2; side++)
            own->open -=
                one->open[side] * weight_of(one->client_id, (uint64_t)one->symbol << 1 | side);
    }
}

typedef struct {
    __int128 position, cash;
    bool is_bounded; /* one of them stands at its bound: what it is no sum can tell */
} symbol_sums;

/* What one has bought, another has sold, for the same money. */
static uint64_t count_symbols_that_do_not_balance(const exposures *all)
{
    symbol_sums by_symbol[RISK_SYMBOLS_MAX] = {0};
    uint64_t found = 0;
    for (uint32_t i = 0; i < exposures_count(all); i++) {
        const exposure *one = exposures_at(all, i);
        if (one->symbol == EXPOSURE_CLIENT)
            continue;
        symbol_sums *of = &by_symbol[one->symbol];
        of->position += one->position;
        of->cash += one->cash;
        of->is_bounded |= one->position == INT64_MAX || one->position == INT64_MIN ||
                          one->cash == INT64_MAX || one->cash == INT64_MIN;
    }
    for (uint32_t i = 0; i < RISK_SYMBOLS_MAX; i++)
        found += !by_symbol[i].is_bounded && (by_symbol[i].position != 0 || by_symbol[i].cash != 0);
    return found;
}

uint64_t reconcile_full(const risk_engine *engine)
{
    sums all = {.engine = engine, .anomalies = reconcile_kept(engine)};
    holds_each(engine->holds, add_order, &all);
    if (ledger_visit(engine->ledger, subtract_balance, &all) < 0)
        return UINT64_MAX;
    subtract_exposures(&all);
    for (uint32_t i = 0; i < engine->assets_count; i++)
        if (ledger_total(engine->ledger, engine->assets[i].asset_id) != engine->assets[i].paid_in)
            all.anomalies++;
    all.anomalies += all.held != 0;
    all.anomalies += all.open != 0;
    all.anomalies += count_symbols_that_do_not_balance(engine->exposures);
    all.anomalies += !baton_digest_equal(ledger_digest(engine->ledger),
                                         ledger_digest_recomputed(engine->ledger));
    all.anomalies +=
        !baton_digest_equal(holds_digest(engine->holds), holds_digest_recomputed(engine->holds));
    all.anomalies += !baton_digest_equal(exposures_digest(engine->exposures),
                                         exposures_digest_recomputed(engine->exposures));
    return all.anomalies;
}
