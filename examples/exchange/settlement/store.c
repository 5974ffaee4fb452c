#include "examples/exchange/settlement/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "examples/exchange/clients/commands.h"

enum { BUSY_MS = 2000 };

/* `fills` is each trade from its two sides, as clients see it. */
static const char schema[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;" /* a commit is durable */
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS trades("
    " trade_id INTEGER PRIMARY KEY, symbol INTEGER NOT NULL, price INTEGER NOT NULL,"
    " size INTEGER NOT NULL, taker_side INTEGER NOT NULL,"
    " maker_client INTEGER NOT NULL, maker_seq INTEGER NOT NULL,"
    " taker_client INTEGER NOT NULL, taker_seq INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS reached("
    " source TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " part INTEGER NOT NULL) STRICT;"
    "CREATE VIEW IF NOT EXISTS fills(trade_id, symbol, client, order_seq, side, price, size) AS"
    " SELECT trade_id, symbol, maker_client, maker_seq, 1 - taker_side, price, size FROM trades"
    " UNION ALL"
    " SELECT trade_id, symbol, taker_client, taker_seq, taker_side, price, size FROM trades;"
    "INSERT OR IGNORE INTO reached VALUES('matching-engine', 0, 0, 0);"
    "COMMIT;";

struct store {
    sqlite3 *file;
    sqlite3_stmt *insert;
    sqlite3_stmt *reach;
    bool open;         /* a transaction */
    sources committed; /* of the one source that there is */
    sources taken;     /* with the open transaction */
    uint64_t trades_committed;
    uint64_t trades_taken;
    char why[256];
};

static exchange_key highest(const sources *of)
{
    const source_key *key = &of->highest[EXCHANGE_MATCHING_ENGINE - 1];
    return (exchange_key){.epoch = baton_le64_put(key->epoch),
                          .seq = baton_le64_put(key->seq),
                          .index = baton_le32_put(key->index)};
}

/* ---- verdicts ---- */

/* What a disk or a neighbour may do and undo. Everything else is a file or a program that is wrong. */
static store_verdict failed(store *own, const char *what)
{
    const int code = sqlite3_errcode(own->file) & 0xff;
    const int error = sqlite3_system_errno(own->file);
    const bool passes = code == SQLITE_FULL || code == SQLITE_BUSY || code == SQLITE_LOCKED ||
                        code == SQLITE_IOERR || code == SQLITE_NOMEM || code == SQLITE_CANTOPEN;
    snprintf(own->why, sizeof(own->why), "%s: %s%s%s", what, sqlite3_errmsg(own->file),
             code == SQLITE_IOERR && error != 0 ? ": " : "",
             code == SQLITE_IOERR && error != 0 ? strerror(error) : "");
    if (own->open && !sqlite3_get_autocommit(own->file))
        (void)sqlite3_exec(own->file, "ROLLBACK", NULL, NULL, NULL);
    own->open = false;
    own->taken = own->committed;
    own->trades_taken = own->trades_committed;
    return passes ? STORE_WAITS : STORE_WRONG;
}

static store_verdict wrong(store *own, const char *why)
{
    snprintf(own->why, sizeof(own->why), "%s", why);
    return STORE_WRONG;
}

/* ---- opening ---- */

static int read_reached(store *own)
{
    sqlite3_stmt *ask;
    if (sqlite3_prepare_v2(own->file,
                           "SELECT epoch, seq, part FROM reached WHERE source = 'matching-engine'",
                           -1, &ask, NULL) != SQLITE_OK)
        return BATON_E_REFUSED;
    const bool found = sqlite3_step(ask) == SQLITE_ROW;
    const exchange_key key = {.epoch = baton_le64_put((uint64_t)sqlite3_column_int64(ask, 0)),
                              .seq = baton_le64_put((uint64_t)sqlite3_column_int64(ask, 1)),
                              .index = baton_le32_put((uint32_t)sqlite3_column_int64(ask, 2))};
    sqlite3_finalize(ask);
    if (!found)
        return BATON_E_REFUSED;
    if (baton_le64_get(key.seq) != 0)
        sources_take(&own->committed, EXCHANGE_MATCHING_ENGINE, &key);
    own->taken = own->committed;
    return 0;
}

static int prepare(store *own)
{
    static const char insert[] = "INSERT INTO trades VALUES(?,?,?,?,?,?,?,?,?,?)";
    static const char reach[] =
        "UPDATE reached SET epoch = ?, seq = ?, part = ? WHERE source = 'matching-engine'";
    if (sqlite3_exec(own->file, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(own->file, insert, -1, &own->insert, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(own->file, reach, -1, &own->reach, NULL) != SQLITE_OK)
        return BATON_E_REFUSED;
    return read_reached(own);
}

int store_open(const char *path, store **ret_store, baton_error *error)
{
    store *own = calloc(1, sizeof(*own));
    if (!own)
        return baton_error_set(error, -ENOMEM, path, NULL, "free some memory");
    int r = sqlite3_open_v2(path, &own->file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (r == SQLITE_OK) {
        sqlite3_busy_timeout(own->file, BUSY_MS);
        r = prepare(own) < 0 ? SQLITE_ERROR : SQLITE_OK;
    }
    if (r != SQLITE_OK) {
        char what[192];
        snprintf(what, sizeof(what), "open %s", path);
        baton_error_set(error, BATON_E_REFUSED, what,
                        own->file ? sqlite3_errmsg(own->file) : "not enough memory",
                        "give a file that settlement made, or a new one, on a disk with room");
        store_close(own);
        return BATON_E_REFUSED;
    }
    *ret_store = own;
    return 0;
}

void store_close(store *own)
{
    if (!own)
        return;
    sqlite3_finalize(own->insert);
    sqlite3_finalize(own->reach);
    sqlite3_close(own->file);
    free(own);
}

/* ---- reports ---- */

static bool run(sqlite3_stmt *statement, const uint64_t *values, int count)
{
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64(statement, i + 1, (sqlite3_int64)values[i]);
    const int r = sqlite3_step(statement);
    sqlite3_reset(statement);
    return r == SQLITE_DONE;
}

static bool insert_trade(store *own, const exchange_key *key, baton_le32 symbol,
                         const exchange_trade *trade)
{
    const uint64_t values[] = {
        baton_le64_get(trade->trade_id),
        baton_le32_get(symbol),
        baton_le64_get(trade->price),
        baton_le64_get(trade->size),
        trade->taker_side,
        baton_le64_get(trade->maker.client_id),
        baton_le64_get(trade->maker.client_seq),
        baton_le64_get(trade->taker.client_id),
        baton_le64_get(trade->taker.client_seq),
        baton_le64_get(key->seq),
    };
    own->trades_taken++;
    return run(own->insert, values, sizeof(values) / sizeof(values[0]));
}

static bool begin(store *own)
{
    if (!own->open)
        own->open = sqlite3_exec(own->file, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    return own->open;
}

static store_verdict take_trades(store *own, const exchange_key *key, const void *report)
{
    exchange_report head;
    exchange_trade trade;
    memcpy(&head, report, sizeof(head));
    const uint8_t *at = (const uint8_t *)report + sizeof(head);
    const uint32_t count =
        head.items == EXCHANGE_REPORT_TRADES ? baton_le32_get(head.items_count) : 0;
    if (!begin(own))
        return failed(own, "begin");
    for (uint32_t i = 0; i < count; i++, at += sizeof(trade)) {
        memcpy(&trade, at, sizeof(trade));
        if (!insert_trade(own, key, head.symbol, &trade))
            return failed(own, "insert a trade");
    }
    sources_take(&own->taken, EXCHANGE_MATCHING_ENGINE, key);
    return STORE_DONE;
}

store_verdict store_take(store *own, const exchange_key *key, const void *report,
                         uint32_t report_bytes)
{
    switch (sources_judge(&own->taken, EXCHANGE_MATCHING_ENGINE, key)) {
    case SOURCE_NEW:
        break;
    case SOURCE_KNOWN:
        return STORE_KNOWN;
    case SOURCE_WENT_BACK:
        return wrong(own, "the matching engine has gone back behind what it had released");
    case SOURCE_UNKNOWN:
        return wrong(own, "a key that none can have");
    }
    if (report && exchange_report_check(report, report_bytes) < 0)
        return wrong(own, "not a report");
    if (report)
        return take_trades(own, key, report);
    if (!begin(own))
        return failed(own, "begin");
    sources_take(&own->taken, EXCHANGE_MATCHING_ENGINE, key);
    return STORE_DONE;
}

store_verdict store_commit(store *own)
{
    if (!own->open)
        return STORE_KNOWN;
    const exchange_key key = highest(&own->taken);
    const uint64_t values[] = {baton_le64_get(key.epoch), baton_le64_get(key.seq),
                               baton_le32_get(key.index)};
    if (!run(own->reach, values, 3))
        return failed(own, "write how far it reaches");
    if (sqlite3_exec(own->file, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return failed(own, "commit");
    own->open = false;
    own->committed = own->taken;
    own->trades_committed = own->trades_taken;
    return STORE_DONE;
}

exchange_key store_reached(const store *own)
{
    return highest(&own->committed);
}

uint64_t store_trades(const store *own)
{
    return own->trades_committed;
}

const char *store_why(const store *own)
{
    return own->why;
}
