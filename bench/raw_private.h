/* bench/raw_private.h: what raw.c shares with the thread pool of raw_threads.c. */
#pragma once

#include <stdint.h>

typedef struct raw_pool raw_pool;

typedef struct {
    uint32_t slot;
    int fd;
    void *buffer;
    uint32_t bytes;
    uint64_t offset;
} raw_job;

/* `threads_count` threads, each doing one pwritev2 with RWF_DSYNC at a time. */
int raw_pool_open(uint32_t threads_count, raw_pool **ret_pool);
void raw_pool_close(raw_pool *pool); /* NULL is fine; nothing in flight */
void raw_pool_submit(raw_pool *pool, const raw_job *job);
/* 1: *ret_slot is done with *ret_result; 0: none. */
int raw_pool_reap(raw_pool *pool, uint32_t *ret_slot, int64_t *ret_result);
/* Until one is done or the time is over. */
void raw_pool_wait(raw_pool *pool, uint64_t timeout_ns);
