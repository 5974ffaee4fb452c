/* examples/exchange/replay/lobster_apply.h: one LOBSTER message against the order book.
 *
 * A seeded order stands for everything that rested at a price before the first message. An id that
 * was never added therefore means the seeded order of its price, if there is one; if there is none,
 * the order came into the recorded window from outside it, and the message is ignored. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <baton/status.h>
#include "examples/exchange/replay/id_map.h"
#include "examples/exchange/replay/replay_book.h"

/* Ids from here on are the replay's own: seeded orders, and the takers of --match. */
#define LOBSTER_SEED_ID  1000000000000000000u
#define LOBSTER_TAKER_ID 2000000000000000000u

typedef enum {
    LOBSTER_NEW = 1,
    LOBSTER_REDUCE = 2,
    LOBSTER_DELETE = 3,
    LOBSTER_EXECUTE = 4,
    LOBSTER_EXECUTE_HIDDEN = 5, /* the visible book is unchanged */
    LOBSTER_CROSS = 6,          /* an auction's trade: likewise */
    LOBSTER_HALT = 7,
} lobster_type;

typedef struct {
    lobster_type type;
    uint64_t order_id;
    uint64_t size;
    int64_t price;
    book_side side; /* of the resting order */
} lobster_message;

typedef struct {
    uint64_t messages;
    uint64_t added;
    uint64_t reduced;
    uint64_t deleted;
    uint64_t executed;
    uint64_t hidden; /* types 5 and 6 */
    uint64_t halts;
    uint64_t ignored; /* about an order that is not there */
    uint64_t fills;
    uint64_t executed_exactly; /* one fill, of the order named, at its price, of its size */
} lobster_counts;

typedef enum { LOBSTER_AS_RECORDED, LOBSTER_MATCH } lobster_mode;

typedef struct {
    replay_book replay;
    lobster_mode mode;
    id_map added; /* every id that a message added */
    FILE *fills;  /* a row per fill, or NULL */
    lobster_counts counts;
} lobster_engine;

BATON_MUST_USE int lobster_engine_open(lobster_engine *engine, lobster_mode mode,
                                       replay_memory memory, baton_error *error);
void lobster_engine_close(lobster_engine *engine);

/* All errors of these two are about the message: why is in *error, its what and todo are for the
 * caller to complete with the line. */
BATON_MUST_USE int lobster_seed(lobster_engine *engine, uint64_t number, book_side side,
                                int64_t price, uint64_t size, baton_error *error);
BATON_MUST_USE int lobster_apply(lobster_engine *engine, const lobster_message *message,
                                 baton_error *error);

/* The first message of a seeded replay: the seed is the book after it, so it has happened. The
 * order it added is taken out of its seeded level and put behind. */
BATON_MUST_USE int lobster_apply_seeded(lobster_engine *engine, const lobster_message *message,
                                        baton_error *error);
