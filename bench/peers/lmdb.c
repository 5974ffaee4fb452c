/* bench/peers/lmdb.c: LMDB, one write transaction a put, synced. Its writers take turns. */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>

#include "bench/peers/peer.h"

typedef struct {
    MDB_env *env;
    MDB_dbi dbi;
} lmdb;

static void lmdb_close(void *context)
{
    lmdb *self = context;
    if (self->env)
        mdb_env_close(self->env);
    free(self);
}

static int lmdb_put(void *context, uint64_t number)
{
    static char bytes[BENCH_ENTRY_BYTES];
    lmdb *self = context;
    MDB_txn *txn;
    char key[PEER_KEY_BYTES + 1];
    peer_key(number, key);
    int r = mdb_txn_begin(self->env, NULL, 0, &txn);
    if (r != 0)
        return -EIO;
    MDB_val name = {.mv_size = PEER_KEY_BYTES, .mv_data = key};
    MDB_val value = {.mv_size = sizeof(bytes), .mv_data = bytes};
    r = mdb_put(txn, self->dbi, &name, &value, 0);
    if (r != 0) {
        mdb_txn_abort(txn);
        return -EIO;
    }
    return mdb_txn_commit(txn) == 0 ? 0 : -EIO;
}

static int lmdb_open(const char *directory, uint32_t in_flight, void **ret_self)
{
    (void)in_flight;
    lmdb *self = calloc(1, sizeof(*self));
    MDB_txn *txn;
    if (!self)
        return -ENOMEM;
    int r = mdb_env_create(&self->env);
    if (r == 0)
        r = mdb_env_set_mapsize(self->env, (size_t)1 << 30);
    if (r == 0)
        r = mdb_env_open(self->env, directory, 0, 0600);
    if (r == 0)
        r = mdb_txn_begin(self->env, NULL, 0, &txn);
    if (r == 0)
        r = mdb_dbi_open(txn, NULL, 0, &self->dbi);
    if (r == 0)
        r = mdb_txn_commit(txn);
    if (r != 0) {
        fprintf(stderr, "baton: lmdb: %s: see its message\n", mdb_strerror(r));
        lmdb_close(self);
        return -EIO;
    }
    *ret_self = self;
    return 0;
}

static int lmdb_block(void *self, uint32_t in_flight, int64_t ns, bench_total *total,
                      baton_histogram *latency)
{
    return peer_threads_block(self, lmdb_put, in_flight, ns, total, latency);
}

const bench_peer bench_peer_lmdb = {
    .name = "lmdb (fdatasync)", .open = lmdb_open, .block = lmdb_block, .close = lmdb_close};
