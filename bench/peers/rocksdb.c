/* bench/peers/rocksdb.c: RocksDB's write-ahead log with sync writes: its group commit joins what
 * its threads put at the same time. */
#include <errno.h>
#include <rocksdb/c.h>
#include <stdlib.h>

#include "bench/peers/peer.h"

typedef struct {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
} rocks;

static int failed(char *error)
{
    if (!error)
        return 0;
    fprintf(stderr, "baton: rocksdb: %s: see its message\n", error);
    rocksdb_free(error);
    return -EIO;
}

static void rocks_close(void *context)
{
    rocks *self = context;
    if (self->db)
        rocksdb_close(self->db);
    rocksdb_writeoptions_destroy(self->write);
    rocksdb_options_destroy(self->options);
    free(self);
}

static int rocks_open(const char *directory, uint32_t in_flight, void **ret_self)
{
    (void)in_flight;
    rocks *self = calloc(1, sizeof(*self));
    char *error = NULL;
    if (!self)
        return -ENOMEM;
    self->options = rocksdb_options_create();
    self->write = rocksdb_writeoptions_create();
    rocksdb_options_set_create_if_missing(self->options, 1);
    /* Kind to it: no flush of its table during a run, and logs are written over, not grown. */
    rocksdb_options_set_write_buffer_size(self->options, 512 << 20);
    rocksdb_options_set_recycle_log_file_num(self->options, 4);
    rocksdb_writeoptions_set_sync(self->write, 1);
    self->db = rocksdb_open(self->options, directory, &error);
    int r = failed(error);
    if (r < 0) {
        rocks_close(self);
        return r;
    }
    *ret_self = self;
    return 0;
}

static int rocks_put(void *context, uint64_t number)
{
    static const char value[BENCH_ENTRY_BYTES];
    rocks *self = context;
    char key[PEER_KEY_BYTES + 1];
    char *error = NULL;
    peer_key(number, key);
    rocksdb_put(self->db, self->write, key, PEER_KEY_BYTES, value, sizeof(value), &error);
    return failed(error);
}

static int rocks_block(void *self, uint32_t in_flight, int64_t ns, bench_total *total,
                       baton_histogram *latency)
{
    return peer_threads_block(self, rocks_put, in_flight, ns, total, latency);
}

const bench_peer bench_peer_rocksdb = {.name = "rocksdb (WAL fdatasync)",
                                       .open = rocks_open,
                                       .block = rocks_block,
                                       .close = rocks_close};
