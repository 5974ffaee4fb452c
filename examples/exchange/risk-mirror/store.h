/* examples/exchange/risk-mirror/store.h: exposures, PnL and kill switches in Redis, each change once. What the risk engine's
 * effects say and how far they reach is changed by one script, which looks at how far it reaches first.
 *
 *   V:position            hash   epoch, seq, index, number (of the last effect), whole, next
 *   V:exposure:CLIENT     hash   SYMBOL:position, SYMBOL:open_buy, SYMBOL:open_sell
 *   V:pnl:CLIENT          hash   SYMBOL: cash
 *   V:kill_switch         string 1 or 0: nobody may place an order
 *   V:kill_switch:CLIENT  string 1 or 0
 *
 * V is the key version. All numbers are whole. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "examples/exchange/clients/sources.h"

enum { STORE_VERSION_BYTES_MAX = 31 };

typedef struct store store;

typedef enum {
    STORE_DONE,
    STORE_AWAY, /* Redis does not answer: load again, later */
    STORE_HELD, /* the position has been moved by somebody else, or by a script whose answer was lost: load again */
    STORE_DIVERGED, /* what is there is not what the risk engine had: nothing is changed */
    STORE_WRONG,    /* time does not heal it */
} store_verdict;

/* How far it reaches. */
typedef struct {
    bool there;       /* else nothing else has a meaning: no such position */
    bool whole;       /* all that the risk engine has is here */
    uint32_t next;    /* not whole: in the risk engine's list, what stands before this is here */
    uint64_t number;  /* of the last effect */
    exchange_key key; /* its key */
} store_position;

typedef struct {
    const char *address; /* of Redis, as in wire/address.h */
    const char *version; /* 1..STORE_VERSION_BYTES_MAX letters, digits, '.', '-', '_' */
    const volatile sig_atomic_t *stop;
} store_options;

bool store_is_version(const char *text);
/* Connects later. -ENOMEM. */
BATON_MUST_USE int store_create(const store_options *options, store **ret_store);
void store_destroy(store *own); /* NULL is fine */

/* Connects where need be. */
store_verdict store_load(store *own, store_position *ret_position);

/* The changes of an effect, checked, behind those that wait. False: it is none. There is room. */
BATON_MUST_USE bool store_add(store *own, const void *effect, uint32_t effect_bytes);
bool store_has_room(const store *own); /* for one effect more */
void store_forget(store *own);         /* what waits */
typedef enum {
    STORE_ADD, /* what is there must be what it was; it becomes more or less */
    STORE_SET, /* while it is not whole: what is there may be old, or missing */
} store_mode;
/* What waits, and `to`, if the position there is `from`. */
store_verdict store_put(store *own, const store_position *from, const store_position *to,
                        store_mode mode);

/* Removes every key of this version, the position first, without holding up others. */
store_verdict store_flush(store *own, uint64_t *ret_keys);
const char *store_why(const store *own); /* of the last verdict but DONE */
