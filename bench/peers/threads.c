/* bench/peers/threads.c: a closed loop of N threads over one library. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "bench/peers/peer.h"

enum { STACK_BYTES = 256 << 10 };

typedef struct {
    void *self;
    peer_put put;
    pthread_barrier_t start;
    _Atomic int64_t last_ns;
    _Atomic uint64_t done;
    _Atomic int failed;
    int64_t ns;
    _Atomic int64_t begin_ns;
    baton_histogram *latency;
} peer_loop;

void peer_key(uint64_t number, char key[PEER_KEY_BYTES + 1])
{
    snprintf(key, PEER_KEY_BYTES + 1, "%016llx", (unsigned long long)(number % PEER_KEYS));
}

static void *loop_thread(void *context)
{
    static _Atomic uint64_t number;
    peer_loop *loop = context;
    uint64_t done = 0;
    if (pthread_barrier_wait(&loop->start) == PTHREAD_BARRIER_SERIAL_THREAD)
        atomic_store(&loop->begin_ns, bench_now_ns());
    int64_t now_ns = bench_now_ns();
    int64_t end_ns = now_ns + loop->ns;
    while (now_ns < end_ns && atomic_load_explicit(&loop->failed, memory_order_relaxed) == 0) {
        int r = loop->put(loop->self, atomic_fetch_add(&number, 1));
        int64_t after_ns = bench_now_ns();
        if (r < 0)
            atomic_store(&loop->failed, r);
        if (loop->latency)
            baton_histogram_record(loop->latency, (uint64_t)(after_ns - now_ns));
        now_ns = after_ns;
        done++;
    }
    atomic_fetch_add(&loop->done, done);
    int64_t last_ns = atomic_load(&loop->last_ns);
    while (last_ns < now_ns && !atomic_compare_exchange_weak(&loop->last_ns, &last_ns, now_ns))
        ;
    return NULL;
}

int peer_threads_block(void *self, peer_put put, uint32_t in_flight, int64_t ns, bench_total *total,
                       baton_histogram *latency)
{
    peer_loop loop = {
        .self = self, .put = put, .ns = ns, .latency = in_flight == 1 ? latency : NULL};
    pthread_t *threads = calloc(in_flight, sizeof(*threads));
    pthread_attr_t attributes;
    if (!threads)
        return -ENOMEM;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_barrier_init(&loop.start, NULL, in_flight);
    for (uint32_t i = 0; i < in_flight; i++) {
        int r = pthread_create(&threads[i], &attributes, loop_thread, &loop);
        if (r != 0) { /* those that wait at the barrier can not be called back */
            fprintf(stderr, "baton: start %u threads: %s: raise the limit of processes\n",
                    in_flight, baton_status_text(-r));
            exit(1);
        }
    }
    for (uint32_t i = 0; i < in_flight; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&loop.start);
    pthread_attr_destroy(&attributes);
    free(threads);
    total->amount += (double)atomic_load(&loop.done);
    total->ns += (double)(atomic_load(&loop.last_ns) - atomic_load(&loop.begin_ns));
    return atomic_load(&loop.failed);
}
