/* bench/raw_threads.c: the bare thread pool that the thread backend is compared with. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

#include "bench/raw.h"
#include "bench/raw_private.h"

typedef struct {
    uint32_t slot;
    int64_t result;
} pool_done;

struct raw_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t done;
    pthread_t threads[RAW_DEPTH_MAX];
    uint32_t threads_count;
    bool stop;
    raw_job queue[RAW_DEPTH_MAX]; /* both are rings, and never hold more than the depth */
    uint32_t queue_first;
    uint32_t queue_count;
    pool_done finished[RAW_DEPTH_MAX];
    uint32_t finished_first;
    uint32_t finished_count;
};

static void *pool_thread(void *context)
{
    raw_pool *pool = context;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->queue_count == 0 && !pool->stop)
            pthread_cond_wait(&pool->work, &pool->lock);
        if (pool->stop)
            break;
        raw_job job = pool->queue[pool->queue_first];
        pool->queue_first = (pool->queue_first + 1) % RAW_DEPTH_MAX;
        pool->queue_count--;
        pthread_mutex_unlock(&pool->lock);

        struct iovec vector = {.iov_base = job.buffer, .iov_len = job.bytes};
        int64_t result = pwritev2(job.fd, &vector, 1, (off_t)job.offset, RWF_DSYNC);
        if (result < 0)
            result = -errno;

        pthread_mutex_lock(&pool->lock);
        uint32_t at = (pool->finished_first + pool->finished_count) % RAW_DEPTH_MAX;
        pool->finished[at] = (pool_done){.slot = job.slot, .result = result};
        pool->finished_count++;
        pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int raw_pool_open(uint32_t threads_count, raw_pool **ret_pool)
{
    raw_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return -ENOMEM;
    pthread_condattr_t attributes;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->done, &attributes);
    pthread_condattr_destroy(&attributes);
    for (; pool->threads_count < threads_count; pool->threads_count++) {
        int r = pthread_create(&pool->threads[pool->threads_count], NULL, pool_thread, pool);
        if (r != 0) {
            raw_pool_close(pool);
            return -r;
        }
    }
    *ret_pool = pool;
    return 0;
}

void raw_pool_close(raw_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->threads_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void raw_pool_submit(raw_pool *pool, const raw_job *job)
{
    pthread_mutex_lock(&pool->lock);
    pool->queue[(pool->queue_first + pool->queue_count) % RAW_DEPTH_MAX] = *job;
    pool->queue_count++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

int raw_pool_reap(raw_pool *pool, uint32_t *ret_slot, int64_t *ret_result)
{
    int found = 0;
    pthread_mutex_lock(&pool->lock);
    if (pool->finished_count > 0) {
        *ret_slot = pool->finished[pool->finished_first].slot;
        *ret_result = pool->finished[pool->finished_first].result;
        pool->finished_first = (pool->finished_first + 1) % RAW_DEPTH_MAX;
        pool->finished_count--;
        found = 1;
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}

void raw_pool_wait(raw_pool *pool, uint64_t timeout_ns)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t nanoseconds = (uint64_t)end.tv_nsec + timeout_ns % UINT64_C(1000000000);
    bool limited = timeout_ns != UINT64_MAX;
    if (limited) {
        end.tv_sec +=
            (time_t)(timeout_ns / UINT64_C(1000000000) + nanoseconds / UINT64_C(1000000000));
        end.tv_nsec = (long)(nanoseconds % UINT64_C(1000000000));
    }
    int r = 0;
    pthread_mutex_lock(&pool->lock);
    while (pool->finished_count == 0 && r == 0)
        r = limited ? pthread_cond_timedwait(&pool->done, &pool->lock, &end)
                    : pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
