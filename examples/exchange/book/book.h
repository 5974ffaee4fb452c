/* examples/exchange/book/book.h: the price-time order book of one or more symbols, and its matching.
 *
 * Deterministic: the same calls give the same fills, in the same order, and the same digest. The
 * book has no clock: time comes in through book_expire(). Prices are any int64 (negative and zero
 * too), sizes 1..BOOK_SIZE_MAX. Symbols are numbered from 0; they share pools, order ids, priorities
 * and trade ids, and never trade with each other. Self-trades are allowed, unless the options say
 * otherwise: then it is plain price-time.
 *
 * Memory: everything is allocated by book_create(); no call after that allocates. A pool that is
 * full is a refusal, which changes nothing. Cost: cancel, reduce and one fill are O(1), plus O(log)
 * of the GTD orders for one of those; adding or emptying a price level takes at most 64 steps. An
 * order that is all or nothing (FOK) walks the levels that it would take, once more.
 * Threads: a book belongs to one thread at a time. */
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

typedef struct order_book order_book;

#define BOOK_SIZE_MAX    INT64_MAX
#define BOOK_ORDERS_MAX  (1u << 28) /* the largest orders_max and levels_max book_create takes */
#define BOOK_SYMBOLS_MAX (1u << 20)

/* The numbers are part of the exchange's wire format, journal and snapshots: append only. */
typedef enum { BOOK_BUY = 0, BOOK_SELL = 1 } book_side;
typedef enum {
    BOOK_GTC = 0,        /* good till cancelled */
    BOOK_GTD = 1,        /* good till a date: book_expire() removes it once now_ns >= expire_ns */
    BOOK_IOC = 2,        /* immediate or cancel: never rests */
    BOOK_FOK = 3,        /* fill or kill: at once and in full, or refused (CANT_FILL) */
    BOOK_FOK_BUDGET = 4, /* the same; its price is the sum of price times size that it may cost at
                          * most (buy) or must bring at least (sell), whatever the single prices */
} book_time_in_force;
typedef enum {
    BOOK_LIMIT = 0,
    BOOK_MARKET = 1, /* IOC or FOK. Its price, too, is the worst it accepts; 0 with a sell: any */
} book_order_type;
enum {
    BOOK_POST_ONLY = 1
}; /* book_order.flags: GTC or GTD that is refused rather than trade at once */

/* What becomes of an order that meets one of the same client. */
typedef enum {
    BOOK_SELF_TRADE_ALLOW = 0,
    BOOK_SELF_TRADE_CANCEL_RESTING = 1, /* the resting one leaves the book, and matching goes on */
    BOOK_SELF_TRADE_CANCEL_TAKING = 2,  /* what is left of the incoming one is cancelled */
} book_self_trade;

/* Why a command was refused: it has changed nothing, counters included. NOT_OWNER is given by the
 * services in front of the book, which itself does not look at client ids. X(name, text) */
#define BOOK_REFUSAL_LIST(X)                                                                       \
    X(OK, "done")                                                                                  \
    X(DUPLICATE_ID, "an order of this id is resting")                                              \
    X(UNKNOWN_ORDER, "no order of this id is resting")                                             \
    X(BAD_SIZE, "the size must be 1 to 2^63 - 1")                                                  \
    X(BAD_SIDE, "the side is neither buy nor sell")                                                \
    X(BAD_TIME_IN_FORCE, "unknown time in force, or an expire time without good-till-date")        \
    X(EXPIRED, "the expire time has already passed")                                               \
    X(ORDERS_FULL, "the book holds as many orders as it may")                                      \
    X(LEVELS_FULL, "the book holds as many price levels as it may")                                \
    X(LEVEL_OVERFLOW, "the sizes resting at this price would exceed 2^64 - 1")                     \
    X(NOT_OWNER, "the order belongs to another client")                                            \
    X(UNKNOWN_SYMBOL, "the book has no such symbol")                                               \
    X(BAD_TYPE, "unknown order type or flag, or one that its time in force does not go with")      \
    X(WOULD_TRADE, "the order is post-only and would trade at once")                               \
    X(CANT_FILL, "the order is fill-or-kill and can't be filled in full within its price")
typedef enum {
#define BOOK_REFUSAL_ENUM(name, text) BOOK_##name,
    BOOK_REFUSAL_LIST(BOOK_REFUSAL_ENUM)
#undef BOOK_REFUSAL_ENUM
} book_refusal;
const char *book_refusal_name(book_refusal refusal); /* "DUPLICATE_ID"; static storage */
const char *book_refusal_text(book_refusal refusal);

typedef struct {
    uint32_t orders_max; /* orders resting at once, both sides; 1..BOOK_ORDERS_MAX */
    uint32_t levels_max; /* distinct prices at once, both sides; 1..BOOK_ORDERS_MAX */
    uint32_t symbols;    /* 1..BOOK_SYMBOLS_MAX; 0: 1 */
    book_self_trade
        self_trade; /* part of the digest: the same calls match otherwise with another */
    /* All of the book is in it; its layout must have BOOK_LAYOUT_TYPES. NULL: on the heap. */
    baton_arena *arena;
} book_options;

/* For the table of types of a baton_layout. */
#define BOOK_LAYOUT_TYPES                                                                          \
    &order_book_layout, &book_slot_layout, &price_level_layout, &price_node_layout,                \
        &price_list_layout
enum { BOOK_LAYOUT_TYPES_COUNT = 5 };
extern const baton_layout_type order_book_layout;
extern const baton_layout_type book_slot_layout;
extern const baton_layout_type price_level_layout;
extern const baton_layout_type price_node_layout;
extern const baton_layout_type price_list_layout;

/* -ENOMEM, BATON_E_INVALID. About 110 bytes an order and 60 a level. */
BATON_MUST_USE int book_create(const book_options *options, order_book **ret_book);
void book_destroy(order_book *book); /* NULL is fine */

/* ---- commands ---- */

typedef struct {
    uint64_t order_id;  /* chosen by the caller; unique among the orders resting now */
    uint64_t client_id; /* carried, not interpreted */
    int64_t price;      /* the worst price it accepts */
    uint64_t size;
    uint64_t expire_ns; /* BOOK_GTD only, 0 otherwise; on the time line of book_expire() */
    uint32_t symbol;
    uint32_t flags; /* BOOK_POST_ONLY */
    book_side side;
    book_time_in_force time_in_force;
    book_order_type type;
} book_order;

typedef struct {
    uint64_t trade_id; /* 1, 2, 3... over the book's whole life */
    uint64_t maker_order_id;
    uint64_t maker_client_id;
    uint64_t taker_order_id;
    uint64_t taker_client_id;
    int64_t price; /* the maker's */
    uint64_t size;
    uint64_t maker_remaining; /* 0: the maker has left the book */
    uint64_t taker_remaining;
    book_side taker_side;
} book_fill;

typedef struct {
    uint64_t order_id;
    uint64_t client_id;
    int64_t price;
    uint64_t remaining;
    uint64_t filled;   /* traded so far */
    uint64_t priority; /* smaller is older; unique in the book's life */
    uint64_t expire_ns;
    uint32_t symbol;
    book_side side;
    book_time_in_force time_in_force;
} book_resting;

/* Called while an order comes in: fills best price first, then oldest first; on_gone for a resting order
 * that BOOK_SELF_TRADE_CANCEL_RESTING has taken out, as it was. Both may be NULL and must not call back
 * into the book. */
typedef void (*book_on_gone)(void *context, const book_resting *order);
typedef struct {
    void (*on_fill)(void *context, const book_fill *fill);
    book_on_gone on_gone;
    void *context;
} book_events;

typedef struct {
    uint64_t filled;    /* traded at once */
    uint64_t remaining; /* what rests now, or was cancelled (IOC, self-trade) */
    uint64_t priority;  /* its time priority when it rests, else 0 */
    bool rests;
    bool self_trade; /* it ended at an order of its own client */
} book_placed;

/* Match, then rest what is left (GTC, GTD). An order that may rest needs a free order slot, and
 * a free level if no level of its price exists, *before* it matches, even if it would trade in
 * full: so a refusal never follows a fill. events may be NULL. *ret_placed is set when the
 * result is BOOK_OK. */
book_refusal book_new_order(order_book *book, const book_order *order, const book_events *events,
                            book_placed *ret_placed);

/* Rest an order without matching it, even if that crosses the book: for feeds that record
 * resting orders and trades separately. Not for an engine. Only GTC and GTD. Same slots and
 * refusals as book_new_order. */
book_refusal book_rest_order(order_book *book, const book_order *order, book_placed *ret_placed);

/* ---- resting orders ---- */

/* Both set *ret_order (may be NULL) to the order as it was before. Reducing by the remaining
 * size or more removes the order, by less keeps its priority. by_size 0: BOOK_BAD_SIZE. */
book_refusal book_cancel(order_book *book, uint64_t order_id, book_resting *ret_order);
book_refusal book_reduce(order_book *book, uint64_t order_id, uint64_t by_size,
                         book_resting *ret_order);

typedef struct {
    int64_t price;
    uint64_t size;  /* the whole size, what has traded included; 0: as it was */
    uint32_t flags; /* BOOK_POST_ONLY */
} book_replacement;

/* New price and size for a resting order; client, side, symbol and expiry stay. At the same price and no larger it
 * keeps its priority. Otherwise it comes in as if new: it may trade, and what is left rests with a new priority.
 * Needs what book_new_order needs; a size that has traded already is BOOK_BAD_SIZE. A refusal leaves the order
 * as it was. *ret_before (may be NULL) is set whenever the order was found. */
book_refusal book_replace(order_book *book, uint64_t order_id, const book_replacement *replacement,
                          const book_events *events, book_resting *ret_before,
                          book_placed *ret_placed);

/* The same in two steps, for who looks at the order first: one search by id instead of two. A place is good
 * until the next call that changes the book. */
typedef struct {
    uint32_t slot;
} book_place;
/* False: no order of this id rests. */
bool book_locate(const order_book *book, uint64_t order_id, book_place *ret_place,
                 book_resting *ret_order);
void book_cancel_at(order_book *book, book_place place);
book_refusal book_reduce_at(order_book *book, book_place place, uint64_t by_size);
book_refusal book_replace_at(order_book *book, book_place place,
                             const book_replacement *replacement, const book_events *events,
                             book_placed *ret_placed);

/* Advance the book's time to now_ns and remove every GTD order whose expire_ns <= now_ns,
 * earliest expiry first, then oldest first. Time that does not advance changes nothing. Returns
 * the number removed. on_expired may be NULL and must not call back into the book. */
uint32_t book_expire(order_book *book, uint64_t now_ns, book_on_gone on_expired, void *context);

/* ---- looking ---- */

typedef struct {
    int64_t price;
    uint64_t size; /* sum over its orders */
    uint32_t orders_count;
} book_level;

/* Best first; returns how many were written, at most levels_max. */
uint32_t book_levels(const order_book *book, uint32_t symbol, book_side side, book_level *levels,
                     uint32_t levels_max);
uint32_t book_symbols(const order_book *book);
book_self_trade book_self_trade_of(const order_book *book); /* as chosen when it was made */
/* ret_order may be NULL. */
bool book_find(const order_book *book, uint64_t order_id, book_resting *ret_order);
/* The oldest order at this price; false when nothing rests there. */
bool book_front(const order_book *book, uint32_t symbol, book_side side, int64_t price,
                book_resting *ret_order);
uint32_t book_orders_count(const order_book *book); /* all symbols, both sides */
uint32_t book_levels_count(const order_book *book, uint32_t symbol, book_side side);
/* UINT64_MAX when no GTD order rests: no tick is needed. */
uint64_t book_next_expiry_ns(const order_book *book);

/* ---- state: digest, snapshot, restore ---- */

/* Everything but the orders. Part of the digest. */
typedef struct {
    uint64_t next_priority; /* the next resting order's; from 1 */
    uint64_t trades_count;  /* also the last trade_id */
    uint64_t now_ns;        /* as told by book_expire() */
} book_counters;
book_counters book_get_counters(const order_book *book);

/* Over all resting orders (every field of book_resting) and the counters. O(1); independent of
 * pools, hash tables and the order in which the state was reached. */
baton_digest book_digest(const order_book *book);
/* The same from scratch, O(orders): what book_digest() must equal. */
baton_digest book_digest_recomputed(const order_book *book);

/* All orders in canonical order: by symbol, buys before sells, best price first, then oldest first. A
 * visit that returns nonzero ends it, and is returned. It must not change the book. */
typedef int (*book_visit_order)(void *context, const book_resting *order);
int book_visit(const order_book *book, book_visit_order visit, void *context);
/* One side of one symbol. */
int book_visit_side(const order_book *book, uint32_t symbol, book_side side, book_visit_order visit,
                    void *context);

/* Fill an empty book: all orders of book_visit(), each side in its order, then the
 * counters. Orders keep their priority. BATON_E_INVALID for anything a visit can't have given (a
 * duplicate, an IOC, a priority that is zero or not above the one before it at its price, no
 * counters that fit), BATON_E_FULL when the pools are too small or
 * the symbols too few. After a failure the book can
 * only be destroyed. */
BATON_MUST_USE int book_restore_order(order_book *book, const book_resting *order);
BATON_MUST_USE int book_restore_counters(order_book *book, const book_counters *counters);

/* Every invariant of the structure, O(orders). For tests and for checking a restored book. Names
 * the broken one, NULL when all hold. A crossed book is reported only if check_crossed. */
const char *book_check(const order_book *book, bool check_crossed);

#ifdef __cplusplus
}
#endif
