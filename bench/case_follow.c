/* Cases `follow_lag` and `follow_cost`: a standby behind an active that takes 100,000 entries a second, and
 * what it costs the active to have one. The lag is seen from outside: both journals publish in shared
 * memory what is durable, and a standby has applied what is durable there. Beside it: the one durable write
 * that no standby can do without, of 4 KiB, raw, every 4 ms at the same time. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/io.h"
#include "bench/handover_bench.h"
#include "journal/hint.h"

#define RATE        100000.0
#define SAMPLE_NS   100000L /* between two looks */
#define SAMPLES_MAX 400000u
#define BESIDE_NS   4000000L
#define PAIRS_MAX   8

typedef struct {
    uint64_t now_ns, active_seq, standby_seq;
} sample;

/* ---- beside it ---- */

typedef struct {
    const hand_options *options;
    baton_histogram *writes[2]; /* in turns: raw, and raw again */
    atomic_bool stop;
    pthread_t thread;
} beside;

static void *write_beside(void *context)
{
    beside *self = context;
    char path[HAND_PATH_BYTES + 16];
    raw_device *raw;
    snprintf(path, sizeof(path), "%s/raw", self->options->directory);
    const raw_options options = {.path = path,
                                 .file_bytes = 4 * BENCH_MIB,
                                 .write_bytes_max = BENCH_UNIT_BYTES,
                                 .depth_max = 1,
                                 .threads = self->options->backend[0] == 't'};
    if (raw_open(&options, &raw) < 0)
        hand_die(path, "it can not be made");
    for (uint32_t i = 0; !atomic_load(&self->stop); i++) {
        const int64_t took = raw_write(raw, BENCH_UNIT_BYTES);
        if (took < 0)
            hand_die("write beside", "the device refused");
        baton_histogram_record(self->writes[i % 2], (uint64_t)took);
        (void)nanosleep(&(struct timespec){.tv_nsec = BESIDE_NS}, NULL);
    }
    raw_close(raw);
    return NULL;
}

static void beside_begin(beside *self, const hand_options *options)
{
    *self = (beside){.options = options, .writes = {hand_histogram(), hand_histogram()}};
    if (pthread_create(&self->thread, NULL, write_beside, self) != 0)
        hand_die("write beside", "no thread");
}

static void beside_end(beside *self)
{
    atomic_store(&self->stop, true);
    pthread_join(self->thread, NULL);
}

/* ---- the lag ---- */

static baton_hint *attach(baton_io *io, const char *directory)
{
    char path[HAND_PATH_BYTES + 16];
    baton_hint *hint = NULL;
    snprintf(path, sizeof(path), "%s/journal", directory);
    if (baton_hint_attach(io, path, &hint) < 0)
        hand_die(path, "its shared page can not be had");
    return hint;
}

static uint64_t durable_seq(const baton_hint *hint)
{
    baton_hint_view view;
    return baton_hint_read(hint, &view) ? view.durable.seq : 0;
}

static uint32_t take_samples(const hand_pair *pair, double seconds, sample *samples)
{
    baton_io *io = NULL;
    baton_error error;
    if (baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS}, &io, &error) < 0)
        hand_die("open", error.why);
    baton_hint *active = attach(io, pair->directories[pair->active]);
    baton_hint *standby = attach(io, pair->directories[1 - pair->active]);
    const int64_t end = bench_now_ns() + (int64_t)(seconds * 1e9);
    uint32_t count = 0;
    while (bench_now_ns() < end && count < SAMPLES_MAX) {
        const uint64_t there = durable_seq(standby); /* first: what it says is not flattering */
        samples[count++] = (sample){(uint64_t)bench_now_ns(), durable_seq(active), there};
        (void)nanosleep(&(struct timespec){.tv_nsec = SAMPLE_NS}, NULL);
    }
    baton_hint_close(active);
    baton_hint_close(standby);
    baton_io_close(io);
    return count;
}

/* Of what the active had become durable between two looks, until the standby was seen to have it. */
static void lags(const sample *samples, uint32_t count, baton_histogram *into)
{
    uint32_t there = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (samples[i].active_seq == samples[i - 1].active_seq)
            continue;
        while (there < count && samples[there].standby_seq < samples[i].active_seq)
            there++;
        if (there == count)
            return;
        const uint64_t at = samples[i].now_ns;
        baton_histogram_record(into, samples[there].now_ns > at ? samples[there].now_ns - at : 0);
    }
}

static void judge(hand_pair *pair, hand_load *load)
{
    hand_record record;
    hand_load_end(load, true);
    hand_record_read(load, &record);
    hand_record_judge(pair, &record);
    hand_record_free(&record);
}

/* How many came, and how far apart the looks were: whoever looks may be kept waiting, too. */
static void note_samples(const hand_run *run, const sample *samples, uint32_t count)
{
    baton_histogram *apart = hand_histogram();
    for (uint32_t i = 1; i < count; i++)
        baton_histogram_record(apart, samples[i].now_ns - samples[i - 1].now_ns);
    bench_note(run->output,
               "follow_lag: %.0f entries a second; looked every %.2f ms (p99 %.2f, max %.1f)",
               (double)(samples[count - 1].active_seq - samples[0].active_seq) * 1e9 /
                   (double)(samples[count - 1].now_ns - samples[0].now_ns),
               hand_ms(apart, 0.5), hand_ms(apart, 0.99), hand_ms(apart, 1));
    baton_histogram_destroy(apart);
}

static void print_lag(const hand_run *run, const baton_histogram *lag, const beside *raw)
{
    static const double points[] = {0.5, 0.99, 1};
    static const char *const names[] = {"p50", "p99", "max"};
    for (uint32_t i = 0; i < 3; i++) {
        bench_row row = {.bench_case = "follow_lag",
                         .metric = names[i],
                         .unit = "ms",
                         .value = hand_ms(lag, points[i]),
                         .lower_is_better = true};
        hand_print(run, &row);
        row.reference = "raw (1 durable write)";
        row.reference_value = hand_ms(raw->writes[0], points[i]);
        hand_print(run, &row);
        row.reference = "raw again";
        row.value = row.reference_value;
        row.reference_value = hand_ms(raw->writes[1], points[i]);
        hand_print(run, &row);
    }
}

static void measure_lag(const hand_run *run, hand_pair *pair)
{
    const double seconds = run->options->smoke ? 1 : run->options->quick ? 5 : 30;
    sample *samples = malloc(SAMPLES_MAX * sizeof(*samples));
    baton_histogram *lag = hand_histogram();
    hand_load load;
    beside raw;
    if (samples == NULL)
        hand_die("samples", "no memory");
    hand_load_begin(pair, RATE, seconds + 10, HAND_CLIENTS, &load);
    beside_begin(&raw, run->options);
    const uint32_t count = take_samples(pair, seconds, samples);
    beside_end(&raw);
    judge(pair, &load);
    lags(samples, count, lag);
    note_samples(run, samples, count);
    print_lag(run, lag, &raw);
    for (uint32_t i = 0; i < 2; i++)
        baton_histogram_destroy(raw.writes[i]);
    baton_histogram_destroy(lag);
    free(samples);
}

/* What is taken in a second of a load that wants twice as much. */
static double throughput(hand_pair *pair, double seconds)
{
    hand_load load;
    hand_load_begin(pair, 2 * RATE, seconds + 3, HAND_CLIENTS, &load);
    json_t *first = hand_ask(pair->directories[pair->active], "status");
    const int64_t began = bench_now_ns();
    (void)poll(NULL, 0, (int)(seconds * 1000));
    json_t *last = hand_ask(pair->directories[pair->active], "status");
    const double took = (double)(bench_now_ns() - began);
    const uint64_t seqs = hand_number(last, "released_seq") - hand_number(first, "released_seq");
    json_decref(first);
    json_decref(last);
    judge(pair, &load);
    return (double)seqs * 1e9 / took;
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* In blocks that alternate; the standby that follows in every other one is level before it begins. */
static void measure_cost(const hand_run *run, hand_pair *pair)
{
    const int pairs = run->options->smoke ? 1 : run->options->quick ? 3 : PAIRS_MAX;
    const double seconds = run->options->smoke ? 0.5 : 3;
    double with[PAIRS_MAX], without[PAIRS_MAX], again[PAIRS_MAX];
    for (int i = 0; i < pairs; i++) {
        with[i] = throughput(pair, seconds);
        hand_stop(pair, 1 - pair->active, SIGTERM);
        without[i] = throughput(pair, seconds);
        again[i] = throughput(pair, seconds);
        hand_start_standby(pair);
    }
    const double alone = median(without, pairs), alone_again = median(again, pairs);
    bench_row row = {.bench_case = "follow_cost",
                     .metric = "entries_per_s",
                     .unit = "1/s",
                     .value = median(with, pairs),
                     .reference = "without a standby",
                     .reference_value = alone,
                     .spread = alone / alone_again};
    hand_print(run, &row);
    row.value = alone;
    row.reference = "without again";
    row.reference_value = alone_again;
    hand_print(run, &row);
}

void hand_case_follow(const hand_run *run)
{
    hand_pair pair;
    hand_pair_open(run, true, &pair);
    measure_lag(run, &pair);
    measure_cost(run, &pair);
    hand_pair_close(&pair);
}
