/* examples/exchange/market-data/messages.h: what one report of the matching engine is to everybody: its trades,
 * then each price that it has changed, then the top of the book if that has. The same books and the same report
 * give the same messages. */
#pragma once

#include "examples/exchange/market-data/levels.h"

typedef struct {
    uint16_t type; /* market_type */
    union {
        market_level level;
        market_trade trade;
        market_top top;
        uint8_t bytes[MARKET_BODY_BYTES_MAX];
    };
} market_message;

enum { MESSAGES_MAX = 512 }; /* of one report: it has 4096 bytes at most */

typedef struct {
    uint32_t count;
    market_message list[MESSAGES_MAX];
} message_group;

/* Changes the books. payload: exchange_report_check. BATON_E_INVALID: the report is not about these books.
 * -ENOMEM. After a failure the books are of no use. */
BATON_MUST_USE int messages_of_report(levels *books, const void *payload, uint32_t payload_bytes,
                                      message_group *ret_messages);
/* What a message says becomes so: for who reads the stream. */
BATON_MUST_USE int messages_follow(levels *books, const market_message *message);
