/* The account ledger: nothing is made or lost but by deposit and withdrawal, and a refusal changes
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include "examples/exchange/ledger/ledger.h"

enum { BASE = 1, QUOTE = 2, BUYER = 10, SELLER = 20 };

static const ledger_pair pair = {
    .base_asset_id = BASE,
    .quote_asset_id = QUOTE,
    .size_unit = 100,
};

static int open_ledger(void **state)
{
    account_ledger *ledger = NULL;
    int r = ledger_create(&(ledger_options){.accounts_max = 8}, &ledger);
    *state = ledger;
    return r;
}

static int close_ledger(void **state)
{
    ledger_destroy(*state);
    return 0;
}

static ledger_account account(uint64_t client_id, uint32_t asset_id)
{
    return (ledger_account){.client_id = client_id, .asset_id = asset_id};
}

static void assert_balance(const account_ledger *ledger, ledger_account of, uint64_t available,
                           uint64_t held)
{
    ledger_balance balance;
    assert_true(ledger_find(ledger, of, &balance));
    assert_int_equal(balance.available, available);
    assert_int_equal(balance.held, held);
}

static void assert_sound(const account_ledger *ledger)
{
    assert_true(baton_digest_equal(ledger_digest(ledger), ledger_digest_recomputed(ledger)));
}

/* A buyer with an open order of 10 units at 300, a seller with 10 units on offer. */
static void fund(account_ledger *ledger)
{
    assert_int_equal(ledger_deposit(ledger, account(BUYER, QUOTE), 1000), LEDGER_OK);
    assert_int_equal(ledger_deposit(ledger, account(SELLER, BASE), 1000), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(BUYER, QUOTE), 30), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(SELLER, BASE), 10), LEDGER_OK);
}

static void deposits_holds_and_releases_move_what_they_say(void **state)
{
    account_ledger *ledger = *state;
    assert_int_equal(ledger_deposit(ledger, account(1, BASE), 50), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(1, BASE), 30), LEDGER_OK);
    assert_balance(ledger, account(1, BASE), 20, 30);
    assert_int_equal(ledger_release(ledger, account(1, BASE), 10), LEDGER_OK);
    assert_balance(ledger, account(1, BASE), 30, 20);
    assert_int_equal(ledger_withdraw(ledger, account(1, BASE), 30), LEDGER_OK);
    assert_balance(ledger, account(1, BASE), 0, 20);
    ledger_balance balance;
    assert_true(ledger_find(ledger, account(1, BASE), &balance));
    assert_int_equal(balance.version, 4);
    assert_sound(ledger);
}

static void what_is_held_can_be_neither_withdrawn_nor_held_again(void **state)
{
    account_ledger *ledger = *state;
    assert_int_equal(ledger_deposit(ledger, account(1, BASE), 50), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(1, BASE), 40), LEDGER_OK);
    baton_digest before = ledger_digest(ledger);
    assert_int_equal(ledger_withdraw(ledger, account(1, BASE), 11), LEDGER_INSUFFICIENT);
    assert_int_equal(ledger_hold(ledger, account(1, BASE), 11), LEDGER_INSUFFICIENT);
    assert_int_equal(ledger_release(ledger, account(1, BASE), 41), LEDGER_INSUFFICIENT);
    assert_int_equal(ledger_hold(ledger, account(1, QUOTE), 1), LEDGER_UNKNOWN_ACCOUNT);
    assert_int_equal(ledger_withdraw(ledger, account(2, BASE), 0), LEDGER_UNKNOWN_ACCOUNT);
    assert_int_equal(ledger_release(ledger, account(2, BASE), 0), LEDGER_UNKNOWN_ACCOUNT);
    assert_true(baton_digest_equal(before, ledger_digest(ledger)));
}

static void a_trade_at_the_limit_moves_cost_and_size(void **state)
{
    account_ledger *ledger = *state;
    fund(ledger);
    ledger_trade trade = {
        .buyer_id = BUYER, .seller_id = SELLER, .price = 300, .size = 10, .buyer_limit = 300};
    assert_int_equal(ledger_settle(ledger, &pair, &trade), LEDGER_OK);
    assert_balance(ledger, account(BUYER, QUOTE), 970, 0);
    assert_balance(ledger, account(BUYER, BASE), 10, 0);
    assert_balance(ledger, account(SELLER, QUOTE), 30, 0);
    assert_balance(ledger, account(SELLER, BASE), 990, 0);
    assert_sound(ledger);
}

static void a_better_price_gives_the_difference_back(void **state)
{
    account_ledger *ledger = *state;
    fund(ledger);
    ledger_trade trade = {.buyer_id = BUYER,
                          .seller_id = SELLER,
                          .price = 200,
                          .size = 4,
                          .buyer_limit = 300,
                          .buyer_remaining = 6};
    assert_int_equal(ledger_settle(ledger, &pair, &trade), LEDGER_OK);
    /* 18 of the 30 go on being held for the 6 that remain, 8 were paid, 4 came back. */
    assert_balance(ledger, account(BUYER, QUOTE), 974, 18);
    assert_balance(ledger, account(SELLER, QUOTE), 8, 0);
    assert_sound(ledger);
}

static void rounding_never_leaves_anything_held(void **state)
{
    account_ledger *ledger = *state;
    assert_int_equal(ledger_deposit(ledger, account(BUYER, QUOTE), 1000), LEDGER_OK);
    assert_int_equal(ledger_deposit(ledger, account(SELLER, BASE), 1000), LEDGER_OK);
    uint64_t hold;
    assert_int_equal(ledger_buy_hold(&pair, 33, 10, &hold), LEDGER_OK);
    assert_int_equal(hold, 3); /* floor(3.3) */
    assert_int_equal(ledger_hold(ledger, account(BUYER, QUOTE), hold), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(SELLER, BASE), 10), LEDGER_OK);
    for (uint64_t remaining = 9;; remaining--) {
        ledger_trade trade = {.buyer_id = BUYER,
                              .seller_id = SELLER,
                              .price = 33,
                              .size = 1,
                              .buyer_limit = 33,
                              .buyer_remaining = remaining};
        assert_int_equal(ledger_settle(ledger, &pair, &trade), LEDGER_OK);
        if (remaining == 0)
            break;
    }
    assert_balance(ledger, account(BUYER, QUOTE), 1000, 0); /* each unit cost floor(0.33) */
    assert_balance(ledger, account(BUYER, BASE), 10, 0);
}

static void a_client_may_trade_with_itself(void **state)
{
    account_ledger *ledger = *state;
    assert_int_equal(ledger_deposit(ledger, account(7, QUOTE), UINT64_MAX), LEDGER_OK);
    assert_int_equal(ledger_deposit(ledger, account(7, BASE), UINT64_MAX), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(7, QUOTE), 30), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(7, BASE), 10), LEDGER_OK);
    ledger_trade trade = {
        .buyer_id = 7, .seller_id = 7, .price = 300, .size = 10, .buyer_limit = 300};
    assert_int_equal(ledger_settle(ledger, &pair, &trade), LEDGER_OK);
    assert_balance(ledger, account(7, QUOTE), UINT64_MAX, 0);
    assert_balance(ledger, account(7, BASE), UINT64_MAX, 0);
    assert_sound(ledger);
}

static void a_trade_that_cannot_be_settled_moves_nothing(void **state)
{
    account_ledger *ledger = *state;
    fund(ledger);
    assert_int_equal(ledger_deposit(ledger, account(SELLER, QUOTE), UINT64_MAX), LEDGER_OK);
    baton_digest before = ledger_digest(ledger);
    const ledger_trade good = {
        .buyer_id = BUYER, .seller_id = SELLER, .price = 300, .size = 10, .buyer_limit = 300};
    assert_int_equal(ledger_settle(ledger, &pair, &good), LEDGER_OVERFLOW); /* the seller is full */

    ledger_trade bad = good;
    bad.size = 0;
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_BAD_TRADE);
    bad = good;
    bad.buyer_limit = 299;
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_BAD_TRADE);
    bad = good;
    bad.buyer_remaining = UINT64_MAX;
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_BAD_TRADE);
    bad = good;
    bad.seller_id = 99;
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_UNKNOWN_ACCOUNT);
    bad = good;
    bad.size = 11; /* more than the seller offers */
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_INSUFFICIENT);
    bad = good;
    bad.buyer_limit = 400; /* more than the buyer holds */
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_INSUFFICIENT);
    bad = good;
    bad.price = -300;
    assert_int_equal(ledger_settle(ledger, &pair, &bad), LEDGER_OVERFLOW);

    ledger_pair none = pair;
    none.quote_asset_id = BASE;
    assert_int_equal(ledger_settle(ledger, &none, &good), LEDGER_BAD_TRADE);
    none = pair;
    none.size_unit = 0;
    assert_int_equal(ledger_settle(ledger, &none, &good), LEDGER_BAD_TRADE);
    assert_true(baton_digest_equal(before, ledger_digest(ledger)));
}

static void a_trade_needs_room_for_the_accounts_it_opens(void **state)
{
    account_ledger *ledger = *state;
    fund(ledger);
    for (uint32_t asset = 100; asset < 105; asset++)
        assert_int_equal(ledger_deposit(ledger, account(1, asset), 0), LEDGER_OK);
    assert_int_equal(ledger_accounts_count(ledger), 7);
    baton_digest before = ledger_digest(ledger);
    ledger_trade trade = {
        .buyer_id = BUYER, .seller_id = SELLER, .price = 300, .size = 10, .buyer_limit = 300};
    assert_int_equal(ledger_settle(ledger, &pair, &trade), LEDGER_ACCOUNTS_FULL);
    assert_true(baton_digest_equal(before, ledger_digest(ledger)));
    assert_int_equal(ledger_deposit(ledger, account(BUYER, BASE), 0), LEDGER_OK);
    assert_int_equal(ledger_deposit(ledger, account(2, BASE), 0), LEDGER_ACCOUNTS_FULL);
}

static void products_beyond_64_bits_are_refused_not_wrapped(void **state)
{
    account_ledger *ledger = *state;
    uint64_t amount = 42;
    assert_int_equal(ledger_buy_hold(&pair, INT64_MAX, UINT64_MAX, &amount), LEDGER_OVERFLOW);
    assert_int_equal(amount, 42);
    assert_int_equal(ledger_buy_hold(&pair, -1, 1, &amount), LEDGER_OVERFLOW);
    /* The product takes 128 bits, the quotient fits. */
    assert_int_equal(ledger_buy_hold(&pair, 100, UINT64_MAX, &amount), LEDGER_OK);
    assert_true(amount == UINT64_MAX);

    assert_int_equal(ledger_deposit(ledger, account(1, BASE), UINT64_MAX), LEDGER_OK);
    assert_int_equal(ledger_hold(ledger, account(1, BASE), 5), LEDGER_OK);
    assert_int_equal(ledger_deposit(ledger, account(1, BASE), 1), LEDGER_OVERFLOW);
    assert_int_equal(ledger_deposit(ledger, account(2, BASE), UINT64_MAX), LEDGER_OK);
    assert_true(ledger_total(ledger, BASE) == (unsigned __int128)UINT64_MAX * 2);
}

static int copy_balance(void *context, const ledger_balance *balance)
{
    return ledger_restore(context, balance);
}

static int check_sorted(void *context, const ledger_balance *balance)
{
    ledger_account *last = context;
    assert_true(balance->account.client_id > last->client_id ||
                (balance->account.client_id == last->client_id &&
                 balance->account.asset_id > last->asset_id));
    *last = balance->account;
    return 0;
}

static void a_visit_is_sorted_and_restores_the_same_ledger(void **state)
{
    account_ledger *ledger = *state;
    fund(ledger);
    assert_int_equal(ledger_deposit(ledger, account(BUYER, BASE), 3), LEDGER_OK);
    ledger_account last = {0};
    assert_int_equal(ledger_visit(ledger, check_sorted, &last), 0);

    account_ledger *other = NULL;
    assert_int_equal(ledger_create(&(ledger_options){.accounts_max = 3}, &other), 0);
    assert_int_equal(ledger_visit(ledger, copy_balance, other), 0);
    assert_true(baton_digest_equal(ledger_digest(ledger), ledger_digest(other)));
    assert_sound(other);

    ledger_balance bad = {.account = account(BUYER, BASE), .version = 1};
    assert_int_equal(ledger_restore(other, &bad), BATON_E_INVALID); /* present */
    bad.account.client_id = 9;
    assert_int_equal(ledger_restore(other, &bad), BATON_E_FULL);
    bad.version = 0;
    assert_int_equal(ledger_restore(other, &bad), BATON_E_INVALID);
    bad = (ledger_balance){
        .account = account(9, 9), .available = UINT64_MAX, .held = 1, .version = 1};
    assert_int_equal(ledger_restore(other, &bad), BATON_E_INVALID);
    ledger_destroy(other);
}

/* ---- random ---- */

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

static void random_calls_neither_make_nor_lose_money(void **state)
{
    (void)state;
    const char *given = getenv("BATON_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)seed);
    uint64_t random = seed * 0x9e3779b97f4a7c15u | 1;

    account_ledger *ledger = NULL;
    static const uint32_t kept[] = {BASE, QUOTE};
    const ledger_options options = {
        .accounts_max = 64, .kept_assets = kept, .kept_assets_count = 2};
    assert_int_equal(ledger_create(&options, &ledger), 0);
    unsigned __int128 paid_in[3] = {0};
    uint64_t settled = 0;
    for (int i = 0; i < 50000; i++) {
        uint32_t asset = 1 + (uint32_t)(next_random(&random) % 2);
        ledger_account of = account(next_random(&random) % 8, asset);
        uint64_t amount = next_random(&random) % 1000;
        uint64_t kind = next_random(&random) % 8;
        baton_digest before = ledger_digest(ledger);
        ledger_refusal refusal = LEDGER_OK;
        if (kind == 0) {
            refusal = ledger_deposit(ledger, of, amount);
            paid_in[asset] += refusal == LEDGER_OK ? amount : 0;
        } else if (kind == 1) {
            refusal = ledger_withdraw(ledger, of, amount);
            paid_in[asset] -= refusal == LEDGER_OK ? amount : 0;
        } else if (kind < 5) {
            refusal = ledger_hold(ledger, of, amount);
        } else if (kind == 5) {
            refusal = ledger_release(ledger, of, amount);
        } else {
            int64_t price = (int64_t)(next_random(&random) % 300);
            ledger_trade trade = {
                .buyer_id = next_random(&random) % 8,
                .seller_id = next_random(&random) % 8,
                .price = price,
                .size = next_random(&random) % 100,
                .buyer_limit = price + (int64_t)(next_random(&random) % 20) - 1,
                .buyer_remaining = next_random(&random) % 50,
            };
            refusal = ledger_settle(ledger, &pair, &trade);
            settled += refusal == LEDGER_OK;
        }
        if (refusal != LEDGER_OK)
            assert_true(baton_digest_equal(before, ledger_digest(ledger)));
        assert_true(ledger_total(ledger, BASE) == paid_in[BASE]);
        assert_true(ledger_total(ledger, QUOTE) == paid_in[QUOTE]);
        assert_true(ledger_kept_total(ledger, BASE) == paid_in[BASE]);
        assert_true(ledger_kept_total(ledger, QUOTE) == paid_in[QUOTE]);
        if (i % 64 == 0)
            assert_sound(ledger);
    }
    assert_true(settled > 1000);
    ledger_destroy(ledger);
}

#define LEDGER_TEST(claim) cmocka_unit_test_setup_teardown(claim, open_ledger, close_ledger)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(deposits_holds_and_releases_move_what_they_say),
        LEDGER_TEST(what_is_held_can_be_neither_withdrawn_nor_held_again),
        LEDGER_TEST(a_trade_at_the_limit_moves_cost_and_size),
        LEDGER_TEST(a_better_price_gives_the_difference_back),
        LEDGER_TEST(rounding_never_leaves_anything_held),
        LEDGER_TEST(a_client_may_trade_with_itself),
        LEDGER_TEST(a_trade_that_cannot_be_settled_moves_nothing),
        LEDGER_TEST(a_trade_needs_room_for_the_accounts_it_opens),
        LEDGER_TEST(products_beyond_64_bits_are_refused_not_wrapped),
        LEDGER_TEST(a_visit_is_sorted_and_restores_the_same_ledger),
        cmocka_unit_test(random_calls_neither_make_nor_lose_money),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
