/* Moving money: deposits, holds, trades. Each call checks everything first and then does it all. */
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/ledger/ledger_internal.h"

const char *ledger_refusal_name(ledger_refusal refusal)
{
    switch (refusal) {
#define LEDGER_REFUSAL_NAME(name, text)                                                            \
    case LEDGER_##name:                                                                            \
        return #name;
        LEDGER_REFUSAL_LIST(LEDGER_REFUSAL_NAME)
#undef LEDGER_REFUSAL_NAME
    }
    return "UNKNOWN_REFUSAL";
}

const char *ledger_refusal_text(ledger_refusal refusal)
{
    switch (refusal) {
#define LEDGER_REFUSAL_TEXT(name, text)                                                            \
    case LEDGER_##name:                                                                            \
        return text;
        LEDGER_REFUSAL_LIST(LEDGER_REFUSAL_TEXT)
#undef LEDGER_REFUSAL_TEXT
    }
    return "a refusal this build does not know";
}

/* Whether the account can take the amount on top of all it has. */
static bool can_receive(const ledger_balance *balance, uint64_t amount)
{
    return !balance || amount <= UINT64_MAX - balance->available - balance->held;
}

ledger_refusal ledger_deposit(account_ledger *ledger, ledger_account account, uint64_t amount)
{
    if (!can_receive(ledger_lookup(ledger, account), amount))
        return LEDGER_OVERFLOW;
    ledger_balance *balance = ledger_open(ledger, account);
    if (!balance)
        return LEDGER_ACCOUNTS_FULL;
    ledger_change(ledger, balance, balance->available + amount, balance->held);
    return LEDGER_OK;
}

ledger_refusal ledger_withdraw(account_ledger *ledger, ledger_account account, uint64_t amount)
{
    ledger_balance *balance = ledger_lookup(ledger, account);
    if (!balance)
        return LEDGER_UNKNOWN_ACCOUNT;
    if (balance->available < amount)
        return LEDGER_INSUFFICIENT;
    ledger_change(ledger, balance, balance->available - amount, balance->held);
    return LEDGER_OK;
}

ledger_refusal ledger_hold(account_ledger *ledger, ledger_account account, uint64_t amount)
{
    ledger_balance *balance = ledger_lookup(ledger, account);
    if (!balance)
        return LEDGER_UNKNOWN_ACCOUNT;
    if (balance->available < amount)
        return LEDGER_INSUFFICIENT;
    ledger_change(ledger, balance, balance->available - amount, balance->held + amount);
    return LEDGER_OK;
}

ledger_refusal ledger_release(account_ledger *ledger, ledger_account account, uint64_t amount)
{
    ledger_balance *balance = ledger_lookup(ledger, account);
    if (!balance)
        return LEDGER_UNKNOWN_ACCOUNT;
    if (balance->held < amount)
        return LEDGER_INSUFFICIENT;
    ledger_change(ledger, balance, balance->available + amount, balance->held - amount);
    return LEDGER_OK;
}

/* ---- trading ---- */

ledger_refusal ledger_buy_hold(const ledger_pair *pair, int64_t price, uint64_t size,
                               uint64_t *ret_amount)
{
    if (price < 0)
        return LEDGER_OVERFLOW;
    unsigned __int128 amount = (unsigned __int128)(uint64_t)price * size / pair->size_unit;
    if (amount > UINT64_MAX)
        return LEDGER_OVERFLOW;
    *ret_amount = (uint64_t)amount;
    return LEDGER_OK;
}

/* What a trade moves, worked out before anything moves. */
typedef struct {
    uint64_t cost;           /* quote, buyer's held -> seller's available */
    uint64_t buyer_released; /* quote, buyer's held -> buyer's available */
} trade_amounts;

static ledger_refusal amounts_of(const ledger_pair *pair, const ledger_trade *trade,
                                 trade_amounts *ret_amounts)
{
    if (pair->size_unit == 0 || pair->base_asset_id == pair->quote_asset_id)
        return LEDGER_BAD_TRADE;
    if (trade->size == 0 || trade->buyer_limit < trade->price ||
        trade->buyer_remaining > UINT64_MAX - trade->size)
        return LEDGER_BAD_TRADE;

    uint64_t cost, held_before, held_after;
    uint64_t size_before = trade->buyer_remaining + trade->size;
    ledger_refusal refusal = ledger_buy_hold(pair, trade->price, trade->size, &cost);
    if (refusal == LEDGER_OK)
        refusal = ledger_buy_hold(pair, trade->buyer_limit, size_before, &held_before);
    if (refusal == LEDGER_OK)
        refusal = ledger_buy_hold(pair, trade->buyer_limit, trade->buyer_remaining, &held_after);
    if (refusal != LEDGER_OK)
        return refusal;

    /* floor(a + b) >= floor(a) + floor(b), and the price is no worse than the limit. */
    book_invariant(held_before - held_after >= cost);
    *ret_amounts = (trade_amounts){
        .cost = cost,
        .buyer_released = held_before - held_after - cost,
    };
    return LEDGER_OK;
}

/* Whether all four accounts can do their part. A client may trade with itself: what it gets then
 * is what it gave, so that nothing can overflow. */
static ledger_refusal may_settle(const account_ledger *ledger, const ledger_pair *pair,
                                 const ledger_trade *trade, const trade_amounts *amounts)
{
    ledger_account buyer_gets = {trade->buyer_id, pair->base_asset_id};
    ledger_account seller_gets = {trade->seller_id, pair->quote_asset_id};
    const ledger_balance *buyer_quote =
        ledger_lookup(ledger, (ledger_account){trade->buyer_id, pair->quote_asset_id});
    const ledger_balance *seller_base =
        ledger_lookup(ledger, (ledger_account){trade->seller_id, pair->base_asset_id});
    if (!buyer_quote || !seller_base)
        return LEDGER_UNKNOWN_ACCOUNT;
    if (buyer_quote->held < amounts->cost + amounts->buyer_released ||
        seller_base->held < trade->size)
        return LEDGER_INSUFFICIENT;

    const ledger_balance *buyer_base = ledger_lookup(ledger, buyer_gets);
    const ledger_balance *seller_quote = ledger_lookup(ledger, seller_gets);
    uint32_t missing = (uint32_t)!buyer_base + (uint32_t)!seller_quote;
    if (missing > ledger_room(ledger))
        return LEDGER_ACCOUNTS_FULL;
    bool same_client = trade->buyer_id == trade->seller_id;
    if (!same_client &&
        (!can_receive(buyer_base, trade->size) || !can_receive(seller_quote, amounts->cost)))
        return LEDGER_OVERFLOW;
    return LEDGER_OK;
}

ledger_refusal ledger_settle(account_ledger *ledger, const ledger_pair *pair,
                             const ledger_trade *trade)
{
    trade_amounts amounts;
    ledger_refusal refusal = amounts_of(pair, trade, &amounts);
    if (refusal == LEDGER_OK)
        refusal = may_settle(ledger, pair, trade, &amounts);
    if (refusal != LEDGER_OK)
        return refusal;

    /* First everything that is given, then everything that is got: so that an account on both
     * sides never exceeds its range in between. */
    ledger_balance *buyer_quote =
        ledger_lookup(ledger, (ledger_account){trade->buyer_id, pair->quote_asset_id});
    ledger_change(ledger, buyer_quote, buyer_quote->available + amounts.buyer_released,
                  buyer_quote->held - amounts.cost - amounts.buyer_released);
    ledger_balance *seller_base =
        ledger_lookup(ledger, (ledger_account){trade->seller_id, pair->base_asset_id});
    ledger_change(ledger, seller_base, seller_base->available, seller_base->held - trade->size);

    ledger_balance *buyer_base =
        ledger_open(ledger, (ledger_account){trade->buyer_id, pair->base_asset_id});
    ledger_change(ledger, buyer_base, buyer_base->available + trade->size, buyer_base->held);
    ledger_balance *seller_quote =
        ledger_open(ledger, (ledger_account){trade->seller_id, pair->quote_asset_id});
    ledger_change(ledger, seller_quote, seller_quote->available + amounts.cost, seller_quote->held);
    return LEDGER_OK;
}
