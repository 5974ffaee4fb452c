/* examples/exchange/ledger/ledger.h: who owns how much of what, and how much of it is held.
 *
 * An account is one asset of one client: an available and a held amount, unsigned integers in the
 * asset's smallest unit. Every call either does all it says or refuses and changes nothing. Money
 * is made by ledger_deposit() only and leaves by ledger_withdraw() only: everything else moves it,
 * so that per asset the sum over all accounts stays what was paid in (ledger_total()).
 *
 * Products of price and size are computed in 128 bits; a result over 2^64 - 1 is a refusal.
 * Deterministic. Memory: allocated by ledger_create() only, in an arena or on the heap. Threads: one at a
 * time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <baton/arena.h>
#include <baton/digest.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct account_ledger account_ledger;

#define LEDGER_ACCOUNTS_MAX (1u << 28)

/* The numbers may be stored and sent: append only. X(name, text) */
#define LEDGER_REFUSAL_LIST(X)                                                                     \
    X(OK, "done")                                                                                  \
    X(UNKNOWN_ACCOUNT, "the client has no account in this asset")                                  \
    X(INSUFFICIENT, "the account holds less than that")                                            \
    X(OVERFLOW, "the amount would exceed 2^64 - 1")                                                \
    X(ACCOUNTS_FULL, "the ledger holds as many accounts as it may")                                \
    X(BAD_TRADE, "the trade's numbers do not fit together")
typedef enum {
#define LEDGER_REFUSAL_ENUM(name, text) LEDGER_##name,
    LEDGER_REFUSAL_LIST(LEDGER_REFUSAL_ENUM)
#undef LEDGER_REFUSAL_ENUM
} ledger_refusal;
const char *ledger_refusal_name(ledger_refusal refusal); /* "INSUFFICIENT"; static storage */
const char *ledger_refusal_text(ledger_refusal refusal);

typedef struct {
    uint32_t accounts_max; /* 1..LEDGER_ACCOUNTS_MAX */
    /* Assets whose totals are kept while they change, for ledger_kept_total(): few, and different. Copied. */
    const uint32_t *kept_assets;
    uint32_t kept_assets_count;
    /* All of the ledger is in it; its layout must have LEDGER_LAYOUT_TYPES. NULL: on the heap. */
    baton_arena *arena;
} ledger_options;

/* For the table of types of a baton_layout. */
#define LEDGER_LAYOUT_TYPES &account_ledger_layout, &ledger_balance_layout, &ledger_asset_layout
extern const baton_layout_type account_ledger_layout;
extern const baton_layout_type ledger_balance_layout;
extern const baton_layout_type ledger_asset_layout;

/* -ENOMEM, BATON_E_INVALID. About 80 bytes an account. */
BATON_MUST_USE int ledger_create(const ledger_options *options, account_ledger **ret_ledger);
void ledger_destroy(account_ledger *ledger); /* NULL is fine */

typedef struct {
    uint64_t client_id;
    uint32_t asset_id;
} ledger_account;

typedef struct {
    ledger_account account;
    uint64_t available;
    uint64_t held;    /* reserved for open orders; available + held never exceeds 2^64 - 1 */
    uint64_t version; /* how many times a call changed this account; from 1 */
} ledger_balance;

/* Opens the account if there is none, so a deposit of 0 does just that. */
ledger_refusal ledger_deposit(account_ledger *ledger, ledger_account account, uint64_t amount);
ledger_refusal ledger_withdraw(account_ledger *ledger, ledger_account account, uint64_t amount);
ledger_refusal ledger_hold(account_ledger *ledger, ledger_account account, uint64_t amount);
ledger_refusal ledger_release(account_ledger *ledger, ledger_account account, uint64_t amount);

/* ---- trading ---- */

/* Two different assets. Amounts of base are sizes; a price is quote units for size_unit of base. */
typedef struct {
    uint32_t base_asset_id;
    uint32_t quote_asset_id;
    uint64_t size_unit; /* 1 or more: quote = floor(price * size / size_unit) */
} ledger_pair;

/* What an open order must hold: a seller its size, a buyer floor(price * size / size_unit).
 * Rounding down is enough for any series of partial fills: floors never add up to more than the
 * floor of the sum. LEDGER_OVERFLOW when the product does not fit, or the price is negative. */
ledger_refusal ledger_buy_hold(const ledger_pair *pair, int64_t price, uint64_t size,
                               uint64_t *ret_amount);

/* One fill. Both clients have held what ledger_buy_hold() and the size say. */
typedef struct {
    uint64_t buyer_id;
    uint64_t seller_id;
    int64_t price; /* of the trade */
    uint64_t size;
    int64_t buyer_limit;      /* the buyer's own price, which its hold was computed with */
    uint64_t buyer_remaining; /* of its order after this fill: its hold goes on for that much */
} ledger_trade;

/* Move the size from the seller's held base to the buyer, the cost from the buyer's held quote to
 * the seller, and give the buyer back what its order no longer needs (a better price than its
 * limit, rounding). Opens the receiving accounts if need be. All or nothing.
 * LEDGER_BAD_TRADE: a limit below the price, a size of 0, or a pair that is none. */
ledger_refusal ledger_settle(account_ledger *ledger, const ledger_pair *pair,
                             const ledger_trade *trade);

/* ---- looking, digest, snapshot ---- */

bool ledger_find(const account_ledger *ledger, ledger_account account, ledger_balance *ret_balance);
uint32_t ledger_accounts_count(const account_ledger *ledger);

/* available + held over all accounts of an asset. O(accounts). */
unsigned __int128 ledger_total(const account_ledger *ledger, uint32_t asset_id);
/* The same as the changes themselves add it up, for one of kept_assets; of another asset 0. O(assets). */
unsigned __int128 ledger_kept_total(const account_ledger *ledger, uint32_t asset_id);

/* Over every field of every account; O(1), independent of layout and history. */
baton_digest ledger_digest(const account_ledger *ledger);
baton_digest ledger_digest_recomputed(const account_ledger *ledger); /* the same from scratch */

/* By client, then asset. A visit that returns nonzero ends it, and is returned; -ENOMEM. Allocates
 * one pointer an account while it runs. */
typedef int (*ledger_visit_balance)(void *context, const ledger_balance *balance);
int ledger_visit(const account_ledger *ledger, ledger_visit_balance visit, void *context);

/* Put a visited balance into a ledger that lacks it. BATON_E_INVALID: present already, version 0,
 * or a sum over 2^64 - 1. BATON_E_FULL. */
BATON_MUST_USE int ledger_restore(account_ledger *ledger, const ledger_balance *balance);

#ifdef __cplusplus
}
#endif
