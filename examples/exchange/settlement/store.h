/* examples/exchange/settlement/store.h: trades in SQLite, each once. What a report says and its key become so in
 * one transaction, so that what is there always says how far it reaches. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

#include "examples/exchange/clients/sources.h"

typedef struct store store;

typedef enum {
    STORE_DONE,
    STORE_KNOWN, /* nothing to do */
    STORE_WAITS, /* no room, or somebody else holds the file: begin again behind store_reached, later */
    STORE_WRONG, /* time does not heal it */
} store_verdict;

/* Made when it is not there. BATON_E_REFUSED: the file is not ours. */
BATON_MUST_USE int store_open(const char *path, store **ret_store, baton_error *error);
void store_close(store *own); /* what was not committed was never there; NULL is fine */

/* A report of the matching engine: into the transaction that is open, or a new one. After STORE_WAITS
 * nothing of that transaction is there. */
store_verdict store_take(store *own, const exchange_key *key, const void *report,
                         uint32_t report_bytes);
/* Durable with STORE_DONE, up to store_reached. STORE_KNOWN: nothing was open. */
store_verdict store_commit(store *own);

exchange_key store_reached(const store *own); /* committed; seq 0: nothing yet */
uint64_t store_trades(const store *own);      /* committed since the start */
const char *store_why(const store *own);      /* of the last STORE_WAITS or STORE_WRONG */
