/* bench/peers/sqlite.c: SQLite, WAL, synchronous=FULL, one insert a transaction. One connection
 * behind a mutex: kinder to it than N connections that poll for its one write lock. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "bench/peers/peer.h"

typedef struct {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *insert;
} sqlite;

static void sqlite_close(void *context)
{
    sqlite *self = context;
    sqlite3_finalize(self->insert);
    sqlite3_close(self->db);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static int sqlite_put(void *context, uint64_t number)
{
    static const char value[BENCH_ENTRY_BYTES];
    sqlite *self = context;
    pthread_mutex_lock(&self->lock);
    sqlite3_bind_int64(self->insert, 1, (sqlite3_int64)(number % PEER_KEYS));
    sqlite3_bind_blob(self->insert, 2, value, sizeof(value), SQLITE_STATIC);
    int r = sqlite3_step(self->insert);
    sqlite3_reset(self->insert);
    pthread_mutex_unlock(&self->lock);
    return r == SQLITE_DONE ? 0 : -EIO;
}

static int sqlite_open(const char *directory, uint32_t in_flight, void **ret_self)
{
    (void)in_flight;
    char path[BENCH_PATH_BYTES + 16];
    sqlite *self = calloc(1, sizeof(*self));
    if (!self)
        return -ENOMEM;
    pthread_mutex_init(&self->lock, NULL);
    snprintf(path, sizeof(path), "%s/db", directory);
    int r = sqlite3_open(path, &self->db);
    if (r == SQLITE_OK)
        r = sqlite3_exec(self->db,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                         "CREATE TABLE entries (key INTEGER PRIMARY KEY, value BLOB)",
                         NULL, NULL, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(self->db, "INSERT OR REPLACE INTO entries VALUES (?, ?)", -1,
                               &self->insert, NULL);
    if (r != SQLITE_OK) {
        fprintf(stderr, "baton: sqlite: %s: see its message\n", sqlite3_errmsg(self->db));
        sqlite_close(self);
        return -EIO;
    }
    *ret_self = self;
    return 0;
}

static int sqlite_block(void *self, uint32_t in_flight, int64_t ns, bench_total *total,
                        baton_histogram *latency)
{
    return peer_threads_block(self, sqlite_put, in_flight, ns, total, latency);
}

const bench_peer bench_peer_sqlite = {.name = "sqlite (WAL, fdatasync)",
                                      .open = sqlite_open,
                                      .block = sqlite_block,
                                      .close = sqlite_close};
