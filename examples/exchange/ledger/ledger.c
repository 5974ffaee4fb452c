/* Accounts: found, opened, changed, counted, visited. */
#include "examples/exchange/ledger/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <baton/wire.h>
#include "examples/exchange/book/invariant.h"
#include "examples/exchange/book/memory.h"
#include "examples/exchange/ledger/ledger_internal.h"

/* The canonical bytes of a balance, as they enter the digest. */
typedef struct {
    baton_le64 client_id;
    baton_le64 available;
    baton_le64 held;
    baton_le64 version;
    baton_le32 asset_id;
} canonical_balance;
static_assert(sizeof(canonical_balance) == 36, "canonical bytes have no padding");

static const baton_layout_field account_fields[] = {
    BATON_FIELD(ledger_account, client_id),
    BATON_FIELD(ledger_account, asset_id),
};
static const baton_layout_type account_layout = BATON_LAYOUT_TYPE(ledger_account, account_fields);

static const baton_layout_field balance_fields[] = {
    BATON_STRUCT(ledger_balance, account, account_layout),
    BATON_FIELD(ledger_balance, available),
    BATON_FIELD(ledger_balance, held),
    BATON_FIELD(ledger_balance, version),
};
const baton_layout_type ledger_balance_layout = BATON_LAYOUT_TYPE(ledger_balance, balance_fields);

static const baton_layout_field asset_fields[] = {
    BATON_FIELD(ledger_asset, total_high),
    BATON_FIELD(ledger_asset, total_low),
    BATON_FIELD(ledger_asset, asset_id),
};
const baton_layout_type ledger_asset_layout = BATON_LAYOUT_TYPE(ledger_asset, asset_fields);

static const baton_layout_field ledger_fields[] = {
    BATON_POINTER(account_ledger, arena, baton_arena),
    BATON_POINTER(account_ledger, balances, ledger_balance),
    BATON_FIELD(account_ledger, accounts_count),
    BATON_FIELD(account_ledger, accounts_max),
    BATON_POINTER(account_ledger, table, uint32_t),
    BATON_FIELD(account_ledger, table_mask),
    BATON_FIELD(account_ledger, assets_count),
    BATON_POINTER(account_ledger, assets, ledger_asset),
    BATON_OPAQUE(account_ledger, digest),
};
const baton_layout_type account_ledger_layout = BATON_LAYOUT_TYPE(account_ledger, ledger_fields);

static canonical_balance canonical(const ledger_balance *balance)
{
    return (canonical_balance){
        .client_id = baton_le64_put(balance->account.client_id),
        .available = baton_le64_put(balance->available),
        .held = baton_le64_put(balance->held),
        .version = baton_le64_put(balance->version),
        .asset_id = baton_le32_put(balance->account.asset_id),
    };
}

static uint64_t hash_of(ledger_account account)
{
    uint64_t mixed = account.client_id * 0x9e3779b97f4a7c15u + account.asset_id;
    mixed ^= mixed >> 30;
    mixed *= 0xbf58476d1ce4e5b9u;
    mixed ^= mixed >> 27;
    mixed *= 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

int ledger_create(const ledger_options *options, account_ledger **ret_ledger)
{
    const uint32_t accounts_max = options->accounts_max;
    if (accounts_max == 0 || accounts_max > LEDGER_ACCOUNTS_MAX)
        return BATON_E_INVALID;
    uint32_t capacity = 16;
    while (capacity < 2 * accounts_max)
        capacity *= 2;

    account_ledger *made = memory_new(options->arena, &account_ledger_layout, 1);
    if (!made)
        return -ENOMEM;
    made->arena = options->arena;
    made->accounts_max = accounts_max;
    made->table_mask = capacity - 1;
    made->assets_count = options->kept_assets_count;
    made->balances = memory_new(made->arena, &ledger_balance_layout, accounts_max);
    made->table = memory_numbers(made->arena, capacity);
    made->assets = memory_new(made->arena, &ledger_asset_layout, (size_t)made->assets_count + 1);
    if (!made->balances || !made->table || !made->assets) {
        ledger_destroy(made);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < made->assets_count; i++)
        made->assets[i].asset_id = options->kept_assets[i];
    *ret_ledger = made;
    return 0;
}

void ledger_destroy(account_ledger *ledger)
{
    if (!ledger)
        return;
    baton_arena *arena = ledger->arena;
    memory_free(arena, ledger->assets);
    memory_free(arena, ledger->table);
    memory_free(arena, ledger->balances);
    memory_free(arena, ledger);
}

static bool same_account(ledger_account a, ledger_account b)
{
    return a.client_id == b.client_id && a.asset_id == b.asset_id;
}

/* Where the account is in the table, or the empty place where it would go. */
static uint32_t *table_place(const account_ledger *ledger, ledger_account account)
{
    uint32_t at = (uint32_t)hash_of(account) & ledger->table_mask;
    while (ledger->table[at] != 0 &&
           !same_account(ledger->balances[ledger->table[at] - 1].account, account))
        at = (at + 1) & ledger->table_mask;
    return &ledger->table[at];
}

ledger_balance *ledger_lookup(const account_ledger *ledger, ledger_account account)
{
    uint32_t number = *table_place(ledger, account);
    return number == 0 ? NULL : &ledger->balances[number - 1];
}

uint32_t ledger_room(const account_ledger *ledger)
{
    return ledger->accounts_max - ledger->accounts_count;
}

ledger_balance *ledger_open(account_ledger *ledger, ledger_account account)
{
    uint32_t *place = table_place(ledger, account);
    if (*place == 0) {
        if (ledger_room(ledger) == 0)
            return NULL;
        ledger->balances[ledger->accounts_count] = (ledger_balance){.account = account};
        *place = ++ledger->accounts_count;
    }
    return &ledger->balances[*place - 1];
}

static unsigned __int128 kept_of(const ledger_asset *asset)
{
    return (unsigned __int128)asset->total_high << 64 | asset->total_low;
}

/* plus and minus are sums of accounts of this asset. */
static void keep_total(account_ledger *ledger, uint32_t asset_id, uint64_t plus, uint64_t minus)
{
    for (uint32_t i = 0; i < ledger->assets_count; i++) {
        ledger_asset *asset = &ledger->assets[i];
        if (asset->asset_id != asset_id)
            continue;
        const unsigned __int128 total = kept_of(asset) + plus - minus;
        asset->total_high = (uint64_t)(total >> 64);
        asset->total_low = (uint64_t)total;
        return;
    }
}

void ledger_change(account_ledger *ledger, ledger_balance *balance, uint64_t available,
                   uint64_t held)
{
    book_invariant(available <= UINT64_MAX - held);
    if (balance->version > 0) {
        canonical_balance before = canonical(balance);
        baton_digest_remove(&ledger->digest, &before, sizeof(before));
    }
    keep_total(ledger, balance->account.asset_id, available + held,
               balance->available + balance->held);
    balance->available = available;
    balance->held = held;
    balance->version++;
    canonical_balance after = canonical(balance);
    baton_digest_add(&ledger->digest, &after, sizeof(after));
}

bool ledger_find(const account_ledger *ledger, ledger_account account, ledger_balance *ret_balance)
{
    const ledger_balance *balance = ledger_lookup(ledger, account);
    if (!balance)
        return false;
    *ret_balance = *balance;
    return true;
}

uint32_t ledger_accounts_count(const account_ledger *ledger)
{
    return ledger->accounts_count;
}

unsigned __int128 ledger_total(const account_ledger *ledger, uint32_t asset_id)
{
    unsigned __int128 total = 0;
    for (uint32_t i = 0; i < ledger->accounts_count; i++) {
        const ledger_balance *balance = &ledger->balances[i];
        if (balance->account.asset_id == asset_id)
            total += balance->available + balance->held;
    }
    return total;
}

unsigned __int128 ledger_kept_total(const account_ledger *ledger, uint32_t asset_id)
{
    for (uint32_t i = 0; i < ledger->assets_count; i++)
        if (ledger->assets[i].asset_id == asset_id)
            return kept_of(&ledger->assets[i]);
    return 0;
}

/* ---- digest, snapshot ---- */

static baton_digest with_count(const account_ledger *ledger, baton_digest sum)
{
    baton_le64 count = baton_le64_put(ledger->accounts_count);
    return baton_digest_chain(sum, &count, sizeof(count));
}

baton_digest ledger_digest(const account_ledger *ledger)
{
    return with_count(ledger, ledger->digest);
}

baton_digest ledger_digest_recomputed(const account_ledger *ledger)
{
    baton_digest sum = {{0}};
    for (uint32_t i = 0; i < ledger->accounts_count; i++) {
        canonical_balance item = canonical(&ledger->balances[i]);
        baton_digest_add(&sum, &item, sizeof(item));
    }
    return with_count(ledger, sum);
}

static int compare_accounts(const void *left, const void *right)
{
    const ledger_account *a = &(*(const ledger_balance *const *)left)->account;
    const ledger_account *b = &(*(const ledger_balance *const *)right)->account;
    if (a->client_id != b->client_id)
        return a->client_id < b->client_id ? -1 : 1;
    if (a->asset_id != b->asset_id)
        return a->asset_id < b->asset_id ? -1 : 1;
    return 0;
}

int ledger_visit(const account_ledger *ledger, ledger_visit_balance visit, void *context)
{
    const ledger_balance **sorted = calloc((size_t)ledger->accounts_count + 1, sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;
    for (uint32_t i = 0; i < ledger->accounts_count; i++)
        sorted[i] = &ledger->balances[i];
    qsort(sorted, ledger->accounts_count, sizeof(*sorted), compare_accounts);

    int r = 0;
    for (uint32_t i = 0; i < ledger->accounts_count && r == 0; i++)
        r = visit(context, sorted[i]);
    free(sorted);
    return r;
}

int ledger_restore(account_ledger *ledger, const ledger_balance *balance)
{
    if (balance->version == 0 || balance->available > UINT64_MAX - balance->held ||
        ledger_lookup(ledger, balance->account))
        return BATON_E_INVALID;
    ledger_balance *made = ledger_open(ledger, balance->account);
    if (!made)
        return BATON_E_FULL;
    *made = *balance;
    keep_total(ledger, balance->account.asset_id, balance->available + balance->held, 0);
    canonical_balance item = canonical(balance);
    baton_digest_add(&ledger->digest, &item, sizeof(item));
    return 0;
}
