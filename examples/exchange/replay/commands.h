/* examples/exchange/replay/commands.h: a stream of commands on one book of several symbols, in the columns of
 * exchange-core's recorded streams. */
#pragma once

#include <baton/digest.h>

#include "examples/exchange/book/book.h"

/* phase,command,order_id,symbol,price,size,action,order_type,uid
 *   command     PLACE_ORDER, CANCEL_ORDER, REDUCE_ORDER (size: by how much), MOVE_ORDER (to this price; size 0),
 *               or REPLACE_ORDER (price, whole size)
 *   symbol      any number; the first COMMANDS_SYMBOLS_MAX different ones
 *   action      BID or ASK
 *   order_type  GTC, IOC, FOK, FOK_BUDGET, MARKET, MARKET_FOK or POST_ONLY; of PLACE_ORDER only
 * price is a whole number, size too, uid names the client; a command on another's order is refused. */
#define COMMANDS_SYMBOLS_MAX 64u

typedef struct {
    const char *commands_path;
    const char
        *events_path; /* NULL: none. number,event,order_id,... of each command: see commands.c */
    const char *book_path; /* NULL: none. symbol,side,price,order_id,uid,remaining,filled */
    book_self_trade self_trade;
} commands_options;

typedef struct {
    uint64_t commands;
    uint64_t done;
    uint64_t refused;
    uint64_t trades;
    uint32_t orders_resting;
    baton_digest digest;
} commands_summary;

/* Files are written complete or not at all. */
BATON_MUST_USE int commands_run(const commands_options *options, commands_summary *ret_summary,
                                baton_error *error);
