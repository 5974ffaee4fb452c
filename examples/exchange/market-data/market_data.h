/* examples/exchange/market-data/market_data.h: the bytes of the market data stream, version 1. README.md has
 * the tables.
 *
 * A stream is messages numbered from 1 without a gap. They come in packets: over UDP one datagram each, over
 * TCP one frame MARKET_PACKET each, the same bytes. Numbers are little-endian. */
#pragma once

#include <assert.h>

#include "examples/exchange/protocol.h"

#define MARKET_VERSION          1u
#define MARKET_PACKET_BYTES_MAX 1400u /* of a datagram, so that none is cut into fragments */

/* After it `count` messages, the first of which has the number `first`. Without any it says that all below
 * `first` have been sent: a heartbeat. */
typedef struct {
    baton_le64 stream; /* names the numbering: another one begins again at 1 */
    baton_le64 first;
    baton_le16 count;
    baton_le16 version;
    uint8_t zero[4];
} market_packet;

typedef enum {
    MARKET_LEVEL = 1, /* market_level */
    MARKET_TRADE = 2, /* market_trade */
    MARKET_TOP = 3,   /* market_top */
} market_type;

/* Before each message. */
typedef struct {
    baton_le16 type;       /* market_type */
    baton_le16 body_bytes; /* so that an unknown type can be passed over */
    uint8_t zero[4];
} market_head;

/* All orders at one price, as they are now. */
typedef struct {
    baton_le32 symbol;
    baton_le32 orders_count; /* 0: nothing rests there any more */
    baton_le64 price;        /* two's complement */
    baton_le64 size;
    uint8_t side; /* book_side */
    uint8_t zero[7];
} market_level;

typedef struct {
    baton_le64 trade_id;
    baton_le64 price;
    baton_le64 size;
    baton_le32 symbol;
    uint8_t taker_side;
    uint8_t zero[3];
} market_trade;

/* The best prices, when they or their sizes have changed. A size of 0: nobody there. */
typedef struct {
    baton_le32 symbol;
    uint8_t zero[4];
    baton_le64 bid_price;
    baton_le64 bid_size;
    baton_le64 ask_price;
    baton_le64 ask_size;
} market_top;

#define MARKET_BODY_BYTES_MAX sizeof(market_top)

/* ---- over TCP: frames of ../protocol.h, after HELLO and WELCOME ---- */

typedef enum {
    /* from a client */
    MARKET_SNAPSHOT = 48, /* no body: MARKET_BOOKs come, then packets from behind them on */
    MARKET_REQUEST = 49,  /* market_request */
    /* to a client */
    MARKET_PACKET = 112, /* market_packet, then its messages */
    MARKET_BOOK = 113,   /* market_book, then its levels */
} market_frame;

/* A newer one takes the place of the one before. */
typedef struct {
    baton_le64 from; /* 1 and up */
    baton_le64 to;   /* the last one wanted; 0: and all that come */
} market_request;

typedef struct {
    baton_le64 stream;
    baton_le64 seq; /* the books after this message */
    baton_le32 levels_count;
    baton_le32 more; /* 1: another MARKET_BOOK of the same seq follows */
} market_book;

/* ---- in the journal: an entry is a message, its type the message's, its seq the message's number ---- */

typedef struct {
    exchange_key key; /* of the effect that it was made of */
    baton_le16 part;  /* which of the effect's messages, from 0 */
    uint8_t is_last;  /* of the effect */
    uint8_t zero[5];
} market_entry;

static_assert(sizeof(market_packet) == 24, "market data v1");
static_assert(sizeof(market_head) == 8, "market data v1");
static_assert(sizeof(market_level) == 32, "market data v1");
static_assert(sizeof(market_trade) == 32, "market data v1");
static_assert(sizeof(market_top) == 40, "market data v1");
static_assert(sizeof(market_request) == 16, "market data v1");
static_assert(sizeof(market_book) == 24, "market data v1");
static_assert(sizeof(market_entry) == 32, "market data v1");

/* 0: no such message. */
static inline uint32_t market_body_bytes(uint16_t type)
{
    switch (type) {
    case MARKET_LEVEL:
        return sizeof(market_level);
    case MARKET_TRADE:
        return sizeof(market_trade);
    case MARKET_TOP:
        return sizeof(market_top);
    default:
        return 0;
    }
}
