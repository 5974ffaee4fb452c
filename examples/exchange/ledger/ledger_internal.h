/* examples/exchange/ledger/ledger_internal.h: what the ledger's files share. */
#pragma once

#include "examples/exchange/ledger/ledger.h"

typedef struct {
    uint64_t total_high, total_low; /* 128 bits */
    uint32_t asset_id;
} ledger_asset;

struct account_ledger {
    baton_arena *arena;       /* NULL: on the heap */
    ledger_balance *balances; /* dense, in order of opening; an account is never closed */
    uint32_t accounts_count;
    uint32_t accounts_max;
    uint32_t *table; /* open addressing: balance number + 1, 0 is empty; at most half full */
    uint32_t table_mask;
    uint32_t assets_count;
    ledger_asset *assets; /* whose totals are kept */
    baton_digest digest;  /* sum over all balances, always current */
};

/* NULL when absent. */
ledger_balance *ledger_lookup(const account_ledger *ledger, ledger_account account);
/* Existing or newly opened; NULL when there is no room. Opening it does not count as a change:
 * its version is 0 and it is outside the digest until ledger_change() has been called. */
ledger_balance *ledger_open(account_ledger *ledger, ledger_account account);
/* How many accounts could still be opened. */
uint32_t ledger_room(const account_ledger *ledger);
/* The only way an amount changes: keeps version, digest and totals in step. The sum must fit 64 bits. */
void ledger_change(account_ledger *ledger, ledger_balance *balance, uint64_t available,
                   uint64_t held);
