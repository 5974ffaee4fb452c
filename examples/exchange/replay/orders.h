/* examples/exchange/replay/orders.h: `exchange-replay orders`: limit orders of funded accounts
 * through ledger and book, as an exchange takes them: hold, match, settle. */
#pragma once

#include <stdint.h>
#include <baton/digest.h>
#include <baton/status.h>
#include "examples/exchange/replay/replay_book.h"

/* Amounts are whole numbers: prices in 1/100 of the quote asset, sizes in 1/10^8 of the base. */
#define ORDERS_PRICE_DECIMALS 2
#define ORDERS_SIZE_DECIMALS  8
#define ORDERS_BASE_ASSET     1
#define ORDERS_QUOTE_ASSET    2

typedef struct {
    const char *orders_path;   /* order_id,user_id,[place|cancel,]side,price,qty */
    const char *balances_path; /* user_id,asset_id,avail,frozen,version */
    const char *out_path;      /* a directory, made if it is not there */
    replay_memory memory;      /* of the book; accounts are on the heap */
} orders_options;

typedef struct {
    uint64_t commands;
    uint64_t accepted;
    uint64_t rejected;
    uint64_t cancelled;
    uint64_t trades;
    uint64_t filled;           /* orders filled on arrival */
    uint64_t partially_filled; /* orders filled in part on arrival */
    uint32_t orders_resting;
    uint32_t accounts;
    baton_digest book_digest;
    baton_digest ledger_digest;
} orders_summary;

/* Writes events.csv, orderbook.csv and balances.csv into out_path, each complete or not at all. */
BATON_MUST_USE int orders_run(const orders_options *options, orders_summary *ret_summary,
                              baton_error *error);
