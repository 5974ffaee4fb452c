/* tests/unit/plain_exchange.h: a second matching engine, as simple as one can be: all resting orders in one
 * array, sorted, searched from end to end. It shares nothing with examples/exchange/book but the numbers of
 * the protocol, and judges it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "examples/exchange/protocol.h"

enum { PLAIN_ORDERS_MAX = 4096, PLAIN_TOLD_MAX = 4096 };

typedef struct {
    uint64_t client, seq; /* its name */
    uint32_t symbol;
    bool buys;
    int64_t price;
    uint64_t remaining, filled;
    uint64_t arrival; /* smaller is older */
    uint64_t expire_ns;
    uint8_t time_in_force;
} plain_order;

typedef struct {
    uint64_t id;
    uint64_t maker_client, maker_seq, taker_client, taker_seq;
    int64_t price;
    uint64_t size, maker_remaining, taker_remaining;
    bool taker_buys;
} plain_trade;

/* What became of one command. */
typedef struct {
    uint16_t outcome;
    uint64_t filled, remaining;
    bool rests, self_trade;
    bool found; /* a command on a resting order: this is it, before */
    plain_order before;
    uint32_t trades_count, gone_count;
    plain_trade trades[PLAIN_TOLD_MAX];
    plain_order gone[PLAIN_TOLD_MAX]; /* expired, or taken out by self-trade prevention */
} plain_told;

typedef struct {
    uint32_t orders_max, levels_max, symbols;
    book_self_trade self_trade;
    /* By symbol, buys before sells, better price first, older first. */
    plain_order orders[PLAIN_ORDERS_MAX];
    uint32_t count;
    uint64_t arrivals, trades, now_ns;
} plain_exchange;

/* type and body: a command that is well-formed. */
void plain_apply(plain_exchange *own, uint16_t type, const void *body, plain_told *told);
void plain_time(plain_exchange *own, uint64_t now_ns, plain_told *told);
