/* examples/exchange/protocol.h: the bytes between all processes of the exchange, version 1: from clients to a
 * gateway, from there to the order service, and between the services behind it. (Market data's packets:
 * market-data/market_data.h.)
 *
 * A connection is a stream of frames in both directions: exchange_frame, then body_bytes of body. Who dials says
 * HELLO first, and is answered WELCOME. Numbers are little-endian; unknown types and non-zero padding are refused
 * with an ERROR frame, after which the server closes that connection and no other. A connection carries any number
 * of clients; what concerns a client goes to the connection that last sent something in its name.
 *
 * Commands begin with exchange_command, client id and client seq, whichever process they are sent to: a gateway,
 * the order service, or a matching engine that stands alone. The answer is one ACK, sent when the command is
 * durable in every service that it goes through. A command sent again (same client id and seq) is answered with
 * the original ACK and applied once, as long as it is among the client's last EXCHANGE_OUTCOMES_KEPT commands; an
 * older one is answered EXCHANGE_TOO_OLD and never applied. Seqs of a client go up; gaps are allowed.
 *
 * Services are linked by effects (E6): SUBSCRIBE, EFFECT and CONFIRM, on the producer's feed socket. A command
 * goes on as an effect with its own body, and comes back as REPORTs.
 *
 * A client that ends its side of a connection ends all of it: what has no ACK yet may or may not have been taken
 * in, and is to be sent again. So is what a drain or a crash cuts off. */
#pragma once

#include <assert.h>
#include <baton/wire.h>

#include "examples/exchange/book/book.h"

#define EXCHANGE_PROTOCOL_VERSION 1u
#define EXCHANGE_BODY_BYTES_MAX   8192u
#define EXCHANGE_CLIENT_ID_MAX    ((UINT64_C(1) << 24) - 1) /* client ids: 1..this */
#define EXCHANGE_CLIENT_SEQ_MAX   ((UINT64_C(1) << 40) - 1) /* client seqs: 1..this */
#define EXCHANGE_OUTCOMES_KEPT    64u
#define EXCHANGE_TICK             32u /* the of_type of what time did by itself: no frame has it */

typedef struct {
    baton_le32 body_bytes; /* 0..EXCHANGE_BODY_BYTES_MAX */
    baton_le16 type;       /* exchange_frame_type */
    uint8_t zero[2];
} exchange_frame;

typedef enum {
    /* from a client */
    EXCHANGE_HELLO = 1,     /* exchange_hello */
    EXCHANGE_NEW_ORDER = 2, /* exchange_new_order */
    EXCHANGE_CANCEL = 3,    /* exchange_cancel */
    EXCHANGE_REDUCE = 4,    /* exchange_reduce */
    EXCHANGE_CLOCK =
        5, /* exchange_clock; refused unless the matching engine runs with --ticks client */
    EXCHANGE_SUBSCRIBE = 6, /* exchange_subscribe; on a feed socket, after HELLO */
    EXCHANGE_CONFIRM = 7,   /* exchange_key: the consumer has everything up to here, durably */
    EXCHANGE_SWITCH = 8,    /* exchange_switch: turn on what a version shipped dark */
    EXCHANGE_REPLACE = 9,   /* exchange_replace */
    EXCHANGE_QUERY = 10,    /* exchange_query; to the order service */
    EXCHANGE_BARRIER = 11,  /* exchange_barrier: between services, and to the order service */
    EXCHANGE_DEPOSIT =
        12, /* exchange_transfer; these four to the risk engine, by way of the order service */
    EXCHANGE_WITHDRAW = 13,  /* exchange_transfer */
    EXCHANGE_KILL = 14,      /* exchange_kill */
    EXCHANGE_LIMIT = 15,     /* exchange_limit */
    EXCHANGE_RECONCILE = 16, /* no body; to the risk engine itself */
    EXCHANGE_ACCOUNT = 17,   /* exchange_account; to the risk engine itself */
    EXCHANGE_RESYNC = 18,    /* exchange_resync: of risk-mirror, on the risk engine's feed */
    /* from a server */
    EXCHANGE_WELCOME = 64, /* exchange_welcome */
    EXCHANGE_ACK = 65,     /* exchange_ack */
    EXCHANGE_FILL = 66,    /* exchange_fill: to each side of a trade */
    EXCHANGE_EXPIRED = 67, /* exchange_expired */
    EXCHANGE_ERROR = 68,   /* exchange_error, then the connection ends */
    EXCHANGE_REPORT = 70,  /* exchange_report, then its items: an effect of the matching engine */
    EXCHANGE_EFFECT = 71,  /* exchange_effect, then the effect's payload: on a feed socket */
    EXCHANGE_ORDERS = 72,  /* exchange_orders, then its orders: to QUERY */
    EXCHANGE_BARRIER_DONE = 73,  /* exchange_barrier: to BARRIER */
    EXCHANGE_ACCOUNT_STATE = 74, /* exchange_account_state, then what it counts: to ACCOUNT */
    EXCHANGE_RECONCILED = 75,    /* exchange_reconciled: to RECONCILE */
    EXCHANGE_EXPOSURES =
        76, /* exchange_exposures, then its items: an effect of the risk engine, for risk-mirror */
} exchange_frame_type;

typedef struct {
    baton_le32 version;
    uint8_t zero[4];
} exchange_hello;

typedef struct {
    baton_le32 version;
    uint8_t zero[4];
    baton_le64 epoch;            /* of the server's journal; 0: it has none */
    uint8_t service_version[32]; /* text, zero-filled */
} exchange_welcome;

/* The beginning of every command. The order that a NEW_ORDER makes is named by the same pair
 * afterwards. */
typedef struct {
    baton_le64 client_id;
    baton_le64 client_seq;
} exchange_command;

/* Symbols count from 0. An order is LIMIT or MARKET (book_order_type); a MARKET order is IOC or FOK.
 * Its price is the worst that it accepts; 0 with a sell: none. */
enum {                                      /* exchange_new_order.flags, exchange_replace.flags */
       EXCHANGE_POST_ONLY = BOOK_POST_ONLY, /* refused rather than trade at once */
       EXCHANGE_ORDER_FLAGS_KNOWN = BOOK_POST_ONLY,
};

typedef struct {
    exchange_command command;
    baton_le64 price; /* two's complement; FOK_BUDGET: the worst sum of price times size */
    baton_le64 size;
    baton_le64 expire_ns; /* BOOK_GTD: since 1970 UTC; with --ticks client on their own time line */
    uint8_t side;         /* book_side */
    uint8_t time_in_force; /* book_time_in_force */
    uint8_t order_type;    /* book_order_type */
    uint8_t flags;         /* EXCHANGE_POST_ONLY */
    baton_le32 symbol;
} exchange_new_order;

/* The order that a command is about, in one layout. An order of that name in another symbol is not
 * meant. */
typedef struct {
    exchange_command command;
    baton_le64 order_seq; /* the client seq of its NEW_ORDER, same client */
    baton_le32 symbol;
    uint8_t zero[4];
} exchange_cancel;

typedef struct {
    exchange_command command;
    baton_le64 order_seq;
    baton_le32 symbol;
    uint8_t zero[4];
    baton_le64 by_size;
} exchange_reduce;

/* New price and size for a resting order, which keeps its name. It keeps its place if it is nothing but
 * a reduction at the same price; otherwise it comes in as if new, and may trade. All or nothing: a
 * replacement that is refused leaves the order as it was. */
typedef struct {
    exchange_command command;
    baton_le64 order_seq;
    baton_le32 symbol;
    uint8_t flags; /* EXCHANGE_POST_ONLY */
    uint8_t zero[3];
    baton_le64 price;
    baton_le64 size; /* the whole size, what has traded included; 0: as it was */
} exchange_replace;

typedef struct {
    exchange_command command;
    baton_le64 now_ns;
} exchange_clock;

enum { /* exchange_switch.features */
       EXCHANGE_FEATURE_TOO_LATE =
           1, /* a cancel or reduce of an order that has left the book answers TOO_LATE */
       EXCHANGE_FEATURE_VOLUMES = 2, /* count what each client trades from here on */
       EXCHANGE_FEATURES_KNOWN = 3,
};

typedef struct {
    exchange_command command;
    baton_le32 features; /* these are on from now on */
    uint8_t zero[4];
} exchange_switch;

/* ---- commands to the risk engine ---- */

/* Money comes in and goes out. Whose command it is, is one thing; whose account, another. These four are
 * operators' commands: a gateway takes them at its --admin only. */
typedef struct {
    exchange_command command;
    baton_le64 client_id; /* the account's */
    baton_le64 amount;    /* in the asset's smallest unit */
    baton_le32 asset;
    uint8_t zero[4];
} exchange_transfer;

/* On: no new orders and no replacements; what cancels or reduces goes through. */
typedef struct {
    exchange_command command;
    baton_le64 client_id; /* 0: all */
    uint8_t on;           /* 1, or 0 */
    uint8_t zero[7];
} exchange_kill;

/* 0: no limit. */
typedef struct {
    exchange_command command;
    baton_le64 client_id;
    baton_le32 symbol;
    uint8_t zero[4];
    baton_le64 position_max; /* either way, when all that is open on one side trades */
    baton_le64 size_max;     /* of one order */
} exchange_limit;

/* Outcomes below 64 are book_refusal's numbers. */
typedef enum {
    EXCHANGE_DONE = BOOK_OK,
    EXCHANGE_TOO_LATE =
        64, /* the order was there and has left the book (version 1.1.0, when switched on) */
    EXCHANGE_TOO_OLD = 65,      /* older than what is kept for resends: not applied */
    EXCHANGE_CLIENTS_FULL = 66, /* it knows as many clients as it may: not applied */
    EXCHANGE_BAD_COMMAND = 67,  /* client id or client seq out of range: not applied */
    EXCHANGE_NOT_HERE =
        68, /* no such commands here (CLOCK, SWITCH while pinned; operators' at a door for clients): not applied */
    EXCHANGE_PENDING =
        69, /* in a state only: the command is on its way through the other services */
    /* The order service, or one behind it, has taken nothing for --patience: a full disk, or it is down. This
     * frame was not taken in; what became of an earlier one of the same seq is not said here. Sent again it may
     * be taken, as long as nothing newer of the client was. */
    EXCHANGE_NO_ROOM = 70,
    /* of the risk engine: nothing has changed */
    EXCHANGE_INSUFFICIENT = 80,     /* the account has less available than that needs */
    EXCHANGE_UNKNOWN_ACCOUNT = 81,  /* the client has no account in this asset */
    EXCHANGE_AMOUNT_TOO_LARGE = 82, /* price times size, or the sum of all that is paid in */
    EXCHANGE_ACCOUNTS_FULL = 83,    /* it knows as many accounts, or positions, as it may */
    EXCHANGE_KILLED = 84,           /* the kill switch is on, for this client or for all */
    EXCHANGE_OVER_LIMIT = 85,       /* the position could exceed its limit, or the order does */
    EXCHANGE_UNKNOWN_ASSET = 86,    /* no symbol trades it */
    EXCHANGE_NEGATIVE_PRICE = 87,
} exchange_outcome;

typedef struct {
    exchange_command command;
    baton_le64 seq;       /* the entry's number in the journal of who answers; 0: not applied */
    baton_le64 filled;    /* NEW_ORDER: traded at once */
    baton_le64 remaining; /* NEW_ORDER: rests, or an IOC's cancelled rest. Else: rested before */
    baton_le16 outcome;   /* exchange_outcome */
    baton_le16 of_type;   /* the command's exchange_frame_type */
    uint8_t zero[4];
} exchange_ack;

typedef struct {
    exchange_command order; /* the client's own order */
    baton_le64 trade_id;
    baton_le64 price;
    baton_le64 size;
    baton_le64 remaining;
    uint8_t is_taker;
    uint8_t side;
    uint8_t zero[6];
} exchange_fill;

typedef struct {
    exchange_command order;
    baton_le64 remaining;
} exchange_expired;

typedef struct {
    baton_le32 status; /* 0, or -BATON_E_* */
    uint8_t text[124]; /* zero-filled */
} exchange_error;

/* Services feed each other by effects (E6). These are the numbers of all that produce or consume; a
 * producer's outbox keeps its effects by the consumer's number. */
typedef enum {
    EXCHANGE_ORDER_SERVICE = 1,
    EXCHANGE_RISK_ENGINE = 2,
    EXCHANGE_MATCHING_ENGINE = 3,
    EXCHANGE_SETTLEMENT = 4,
    EXCHANGE_MARKET_DATA = 5,
    EXCHANGE_RISK_MIRROR = 6,
} exchange_member;

/* Who wants effects says so once. What it has not confirmed comes first, word for word, in order; then
 * what is new. The newest subscriber of a number is the one. */
typedef struct {
    baton_le16 consumer; /* exchange_member */
    uint8_t zero[6];
} exchange_subscribe;

/* The key of an effect: what its consumer stores with what it took in, and confirms. */
typedef struct {
    baton_le64 epoch;
    baton_le64 seq;
    baton_le32 index;
    uint8_t zero[4];
} exchange_key;

typedef struct {
    exchange_key key;
    baton_le16 effect_type; /* the producer's; says what the payload is */
    baton_le16 consumer;
    uint8_t zero[4];
} exchange_effect;

/* An entry of a consumer: what it took in, the effect's payload behind it. */
#define EXCHANGE_LINKED 33u
typedef struct {
    exchange_key key;
    baton_le16 source; /* exchange_member */
    baton_le16 effect_type;
    uint8_t zero[4];
} exchange_linked;

typedef struct {
    baton_le64 trade_id;
    exchange_command maker; /* the maker's order */
    exchange_command taker;
    baton_le64 price;
    baton_le64 size;
    baton_le64 maker_remaining;
    baton_le64 taker_remaining;
    uint8_t taker_side;
    uint8_t zero[7];
} exchange_trade;

/* The effect of a command that goes on to the next service has the command's frame type, and its body
 * word for word. A barrier goes the same way, and comes back with the reports: whatever the order service
 * had sent before it has then been dealt with. On its way each service writes down which of its entries it
 * is: the states after these entries are a consistent cut. Whoever asked the order service for one (without
 * those numbers) is told when it has come back (with them). With the id of the last one, or a lower one,
 * nothing begins again: that is answered now, or with the one under way. */
typedef struct {
    baton_le64 id;
    baton_le64 order_service_seq; /* 0: not there yet */
    baton_le64 risk_engine_seq;
    baton_le64 matching_engine_seq;
} exchange_barrier;

/* ---- the matching engine's effects ---- */

/* What became of a command that the matching engine applied: the payload of its effects REPORT, to each of
 * its consumers. A command with many trades has several, in order; the last is flagged LAST, and only in
 * it do outcome, filled, remaining and RESTS say more than what has happened so far. A report of time that
 * passed has of_type EXCHANGE_CLOCK or EXCHANGE_TICK, no order, and what expired. */
enum { /* exchange_report.flags */
       EXCHANGE_REPORT_LAST = 1,
       EXCHANGE_REPORT_RESTS = 2,      /* the order rests, with `remaining`; else it is over */
       EXCHANGE_REPORT_SELF_TRADE = 4, /* the rest was cancelled rather than trade with itself */
};
typedef enum {
    EXCHANGE_REPORT_TRADES = 1, /* exchange_trade */
    EXCHANGE_REPORT_GONE = 2,   /* exchange_gone: orders that left the book otherwise */
} exchange_report_items;

typedef struct {
    exchange_command command;
    baton_le64 order_seq; /* the order it is about: the client seq of its NEW_ORDER */
    baton_le64 price;  /* the order's: the new one after a REPLACE that was done; MARKET: as sent */
    baton_le64 size;   /* the order's whole size, what has traded included */
    baton_le64 filled; /* traded by this command */
    baton_le64 remaining;    /* not traded: rests, or, when the order is over, was cancelled */
    baton_le64 price_before; /* of a resting order: before this command; else 0 */
    baton_le64 remaining_before;
    baton_le32 symbol;
    baton_le32 items_count;
    baton_le16 outcome; /* exchange_outcome; not DONE: nothing has changed */
    baton_le16 of_type; /* the command's exchange_frame_type */
    uint8_t side;
    uint8_t time_in_force;
    uint8_t flags;
    uint8_t items; /* exchange_report_items; 0: none */
} exchange_report;

typedef struct {
    exchange_command order;
    baton_le64 price;
    baton_le64 remaining; /* what was cancelled of it */
    baton_le32 symbol;
    uint8_t side;
    uint8_t zero[3];
} exchange_gone;

/* ---- the order service's answers to QUERY ---- */

/* Not journaled; answered from the state at once, which may be ahead of what is durable. */
typedef struct {
    baton_le64 client_id;
    baton_le64
        order_seq; /* this order, open or one of the last finished; 0: a page of the open ones: */
    baton_le64 after_seq; /* those whose seq is above this one, lowest first */
} exchange_query;

typedef enum {
    EXCHANGE_ORDER_NEW = 1,          /* on its way to the book */
    EXCHANGE_ORDER_ACKNOWLEDGED = 2, /* rests, untouched */
    EXCHANGE_ORDER_PARTLY_FILLED = 3,
    EXCHANGE_ORDER_FILLED = 4, /* this one and those below are final */
    EXCHANGE_ORDER_CANCELLED = 5,
    EXCHANGE_ORDER_REJECTED = 6,
    EXCHANGE_ORDER_EXPIRED = 7,
} exchange_order_status;

typedef struct {
    exchange_command order;
    baton_le64 price;
    baton_le64 size;
    baton_le64 filled;
    baton_le64 remaining; /* in the book, or on the way there; 0 when it is over */
    baton_le64 expire_ns;
    baton_le32 symbol;
    uint8_t status; /* exchange_order_status */
    uint8_t side;
    uint8_t time_in_force;
    uint8_t order_type;
    uint8_t flags;
    uint8_t zero[7];
} exchange_order_state;

typedef struct {
    exchange_query query;    /* as asked */
    baton_le32 orders_count; /* 0: there is none */
    baton_le32 more;         /* 1: ask again after the last one's seq */
} exchange_orders;

/* ---- the risk engine's answers ---- */

/* Not journaled; answered from the state at once, which may be ahead of what is durable. */
typedef struct {
    baton_le64 client_id;
} exchange_account;

typedef struct {
    baton_le32 asset;
    uint8_t zero[4];
    baton_le64 available;
    baton_le64 held;
} exchange_balance;

typedef struct {
    baton_le32 symbol;
    uint8_t zero[4];
    baton_le64 position; /* bought less sold: two's complement */
    baton_le64 cash;     /* of the quote asset: got less paid for that; two's complement */
    baton_le64 open_buy; /* of open orders, and of replacements under way */
    baton_le64 open_sell;
    baton_le64 position_max;
    baton_le64 size_max;
} exchange_exposure;

/* Balances follow, by asset, then exposures, by symbol. */
typedef struct {
    baton_le64 client_id;
    baton_le32 balances_count;
    baton_le32 exposures_count;
    uint8_t killed; /* this client */
    uint8_t all_killed;
    uint8_t zero[6];
} exchange_account_state;

/* All accounts and orders have been added up. */
typedef struct {
    baton_le64 seq;       /* the state after this entry */
    baton_le64 anomalies; /* 0: every unit is where it must be */
    baton_le64 accounts_count;
    baton_le64 orders_count;
} exchange_reconciled;

/* ---- the risk engine's effects for risk-mirror ---- */

/* What an entry changed; or a page of all that there is. */
enum { /* exchange_exposures.flags */
       EXCHANGE_EXPOSURES_PAGE = 1,
       EXCHANGE_EXPOSURES_LAST = 2, /* nothing is behind this page */
};
typedef struct {
    baton_le64 number; /* of this effect, from 1, without gaps: none can be missed unnoticed */
    baton_le32 items_count;
    baton_le32 first; /* a page: it has what stands at first..next-1 in the risk engine's list */
    baton_le32 next;
    uint8_t flags;
    uint8_t zero[3];
} exchange_exposures;

#define EXCHANGE_NO_SYMBOL UINT32_MAX /* in place of a symbol: the client's kill switch */
typedef struct {
    baton_le64 client_id; /* 0: the kill switch of all */
    baton_le32 symbol;
    uint8_t killed_was;
    uint8_t killed;
    uint8_t zero[2];
    /* As in exchange_exposure; before the entry, and after it. In a page the same twice. */
    baton_le64 position_was;
    baton_le64 position;
    baton_le64 cash_was;
    baton_le64 cash;
    baton_le64 open_buy_was;
    baton_le64 open_buy;
    baton_le64 open_sell_was;
    baton_le64 open_sell;
} exchange_exposure_change;

/* A page, please: an entry of the risk engine, so that the page stands among the changes where it belongs. first
 * may be behind the end: then the page has the kill switch of all, and says how far effects are numbered. */
typedef struct {
    baton_le32 first;
    uint8_t zero[4];
} exchange_resync;

static_assert(sizeof(exchange_frame) == 8, "exchange protocol v1");
static_assert(sizeof(exchange_hello) == 8, "exchange protocol v1");
static_assert(sizeof(exchange_welcome) == 48, "exchange protocol v1");
static_assert(sizeof(exchange_new_order) == 48, "exchange protocol v1");
static_assert(sizeof(exchange_cancel) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_reduce) == 40, "exchange protocol v1");
static_assert(sizeof(exchange_replace) == 48, "exchange protocol v1");
static_assert(sizeof(exchange_clock) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_switch) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_ack) == 48, "exchange protocol v1");
static_assert(sizeof(exchange_fill) == 56, "exchange protocol v1");
static_assert(sizeof(exchange_expired) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_error) == 128, "exchange protocol v1");
static_assert(sizeof(exchange_key) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_trade) == 80, "exchange protocol v1");
static_assert(sizeof(exchange_subscribe) == 8, "exchange protocol v1");
static_assert(sizeof(exchange_effect) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_linked) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_barrier) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_report) == 88, "exchange protocol v1");
static_assert(sizeof(exchange_gone) == 40, "exchange protocol v1");
static_assert(sizeof(exchange_query) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_orders) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_order_state) == 72, "exchange protocol v1");
static_assert(sizeof(exchange_transfer) == 40, "exchange protocol v1");
static_assert(sizeof(exchange_kill) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_limit) == 48, "exchange protocol v1");
static_assert(sizeof(exchange_balance) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_exposure) == 56, "exchange protocol v1");
static_assert(sizeof(exchange_account_state) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_reconciled) == 32, "exchange protocol v1");
static_assert(sizeof(exchange_exposures) == 24, "exchange protocol v1");
static_assert(sizeof(exchange_exposure_change) == 80, "exchange protocol v1");
static_assert(sizeof(exchange_resync) == 8, "exchange protocol v1");

/* The order id in the book: the pair that made the order. */
static inline uint64_t exchange_order_id(uint64_t client_id, uint64_t client_seq)
{
    return client_id << 40 | client_seq;
}

static inline exchange_command exchange_order_name(uint64_t order_id)
{
    exchange_command name = {.client_id = baton_le64_put(order_id >> 40),
                             .client_seq = baton_le64_put(order_id & EXCHANGE_CLIENT_SEQ_MAX)};
    return name;
}
