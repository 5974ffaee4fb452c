/* bench/peers/peer.h: what others use for the same job, driven the way they ask to be: one durable
 * put of 256 B at a time from each of so many threads or clients. */
#pragma once

#include <stdatomic.h>

#include "bench/common.h"

enum { PEER_KEYS = 1 << 16, PEER_KEY_BYTES = 16 };

typedef struct {
    const char *name; /* in a row's reference: with the primitive that makes it durable */
    /* directory exists and is its own. in_flight: threads or clients that will be used. 0; -ENOENT:
     * it is not installed; or a failure. */
    int (*open)(const char *directory, uint32_t in_flight, void **ret_self);
    /* Closed loop for ns. latency may be NULL. */
    int (*block)(void *self, uint32_t in_flight, int64_t ns, bench_total *total,
                 baton_histogram *latency);
    void (*close)(void *self);
} bench_peer;

extern const bench_peer bench_peer_rocksdb;
extern const bench_peer bench_peer_lmdb;
extern const bench_peer bench_peer_sqlite;
extern const bench_peer bench_peer_redis;

/* For a library: `put` again and again from in_flight threads, until the time is over. `number` is
 * new in each call. latency is filled with one thread only. */
typedef int (*peer_put)(void *self, uint64_t number);
int peer_threads_block(void *self, peer_put put, uint32_t in_flight, int64_t ns, bench_total *total,
                       baton_histogram *latency);
/* PEER_KEY_BYTES characters, one of PEER_KEYS keys. */
void peer_key(uint64_t number, char key[PEER_KEY_BYTES + 1]);
