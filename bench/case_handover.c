/* Case `handover_gap`: authority to and fro between two warm instances, every 20th time to one that has just
 * hydrated into an empty directory, under a load of 50,000 orders a second. The gap is the clients': from
 * the last answer of the old one to the first of the new one, by their clock. Beside it, before and after
 * each: so many durable writes one after the other on the same device under the same load as no handover can
 * do without. And what clients notice of it, how long a way back takes, and whether their record is whole. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "bench/handover_bench.h"

#define ROUNDS_MAX 400
#define RATE       50000.0
#define LEG        20 /* handovers of one pair; the first is to a fresh instance */
/* Handovers under one load. It makes its orders before it sends, 10 million at most: 50,000 a second for 200 s. */
#define UNDER_LOAD 10
#define EACH_S     5.0
#define FRESH_S    110 /* to copy a state, to load it, and to catch up */
#define APART_NS                                                                                   \
    INT64_C(2200000000) /* the second before one is not disturbed by the one before that */
#define BESIDE_NS INT64_C(1000000000)
#define AROUND_NS UINT64_C(500000000) /* on either side of the cutover */
#define BACK      "warm_rollback"
/* The tail at the successor, the record, the record at the successor, its header, its first batch. */
#define CHAIN_WRITES 5

typedef struct {
    uint64_t seq;
    int64_t asked_ns; /* when */
    bool fresh;
    bool back; /* to the older version */
} cutover;

typedef struct {
    const hand_run *run;
    hand_pair pair;
    raw_device *raw;
    cutover cutovers[UNDER_LOAD];
    uint32_t count;
    baton_histogram *gaps, *fresh, *back, *before, *around, *chain, *chain_again;
} gap_case;

static void sleep_until(int64_t when_ns)
{
    for (int64_t left; (left = when_ns - bench_now_ns()) > 0;)
        (void)poll(NULL, 0, (int)(left / 1000000) + 1);
}

static void time_chain(gap_case *self, baton_histogram *into)
{
    const int64_t began = bench_now_ns();
    for (int i = 0; i < CHAIN_WRITES; i++)
        if (raw_write(self->raw, BENCH_UNIT_BYTES) < 0)
            hand_die("write beside", "the device refused");
    baton_histogram_record(into, (uint64_t)(bench_now_ns() - began));
}

static void one_handover(gap_case *self, bool fresh)
{
    cutover *one = &self->cutovers[self->count++];
    if (fresh)
        hand_start_fresh_standby(&self->pair);
    sleep_until(bench_now_ns() + APART_NS - BESIDE_NS);
    time_chain(self, self->chain);
    sleep_until(bench_now_ns() + BESIDE_NS);
    *one = (cutover){.fresh = fresh, .back = self->pair.active == 1};
    hand_over(&self->pair, &one->seq, &one->asked_ns);
    hand_wait_followed(&self->pair);
    sleep_until(one->asked_ns + BESIDE_NS);
    time_chain(self, self->chain_again);
}

static void take_one(gap_case *self, const hand_record *record, const cutover *one)
{
    uint64_t last_ns, first_ns;
    if (!hand_record_gap(record, one->seq, &last_ns, &first_ns))
        hand_die("the gap", "the clients have no answer of one side");
    const uint64_t gap = first_ns > last_ns ? first_ns - last_ns : 0;
    baton_histogram_record(self->gaps, gap);
    if (one->fresh)
        baton_histogram_record(self->fresh, gap);
    if (one->back)
        baton_histogram_record(self->back, first_ns - (uint64_t)one->asked_ns);
    hand_record_latencies(record, last_ns - 3 * AROUND_NS, last_ns - AROUND_NS, self->before);
    hand_record_latencies(record, last_ns - AROUND_NS, last_ns + AROUND_NS, self->around);
}

/* Under one load, which is compared with the journals at its end. */
static void under_load(gap_case *self, int handovers, bool fresh)
{
    hand_load load;
    hand_record record;
    self->count = 0;
    hand_load_begin(&self->pair, RATE, (fresh ? FRESH_S : 10) + EACH_S * handovers, HAND_CLIENTS,
                    &load);
    for (int i = 0; i < handovers; i++)
        one_handover(self, fresh && i == 0);
    sleep_until(bench_now_ns() + BESIDE_NS);
    hand_load_end(&load, true);
    hand_record_read(&load, &record);
    for (uint32_t i = 0; i < self->count; i++)
        take_one(self, &record, &self->cutovers[i]);
    hand_record_judge(&self->pair, &record);
    hand_record_free(&record);
}

/* A pair of its own: else its journals, of some gigabytes, would add up, and a fresh instance would have to
 * replay all of them. */
static void leg(gap_case *self, int handovers)
{
    hand_pair_open(self->run, true, &self->pair);
    for (int done = 0; done < handovers; done += UNDER_LOAD)
        under_load(self, handovers - done < UNDER_LOAD ? handovers - done : UNDER_LOAD, done == 0);
    hand_pair_close(&self->pair);
}

/* ---- rows ---- */

static void print_value(const gap_case *self, const char *name, const char *metric, double value,
                        const char *reference, double reference_value)
{
    const bench_row row = {.bench_case = name,
                           .metric = metric,
                           .unit = "ms",
                           .value = value,
                           .lower_is_better = true,
                           .reference = reference,
                           .reference_value = reference_value};
    hand_print(self->run, &row);
}

static void print_gaps(const gap_case *self)
{
    static const struct {
        const char *metric;
        double q;
    } points[] = {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}};
    for (uint32_t i = 0; i < 3; i++)
        print_value(self, "handover_gap", points[i].metric, hand_ms(self->gaps, points[i].q), NULL,
                    0);
    for (uint32_t i = 0; i < 2; i++) {
        print_value(self, "handover_gap", points[i].metric, hand_ms(self->gaps, points[i].q),
                    "raw (5 durable writes)", hand_ms(self->chain, points[i].q));
        print_value(self, "handover_gap", points[i].metric, hand_ms(self->chain, points[i].q),
                    "raw again", hand_ms(self->chain_again, points[i].q));
    }
    print_value(self, "handover_fresh", "max", hand_ms(self->fresh, 1), NULL, 0);
    if (baton_histogram_count(self->back) > 0) {
        print_value(self, BACK, "p50", hand_ms(self->back, 0.5), NULL, 0);
        print_value(self, BACK, "max", hand_ms(self->back, 1), NULL, 0);
    }
}

static void print_orders(const gap_case *self)
{
    const double before = hand_ms(self->before, 0.99), around = hand_ms(self->around, 0.99);
    const double allowed = 2 * before + hand_ms(self->gaps, 0.5);
    print_value(self, "cutover_orders", "p99", around, "the second before", before);
    const bench_row row = {.bench_case = "cutover_orders",
                           .metric = "p99_over_allowed",
                           .unit = "none",
                           .value = around / allowed,
                           .lower_is_better = true};
    hand_print(self->run, &row);
}

static int rounds(const hand_run *run)
{
    const hand_options *options = run->options;
    if (options->smoke)
        return 3;
    if (options->quick)
        return LEG;
    return run->bytes == UINT64_C(1) << 30 || options->sizes.count == 1 ? 10 * LEG : 3 * LEG;
}

void hand_case_gap(const hand_run *run)
{
    gap_case self = {.run = run};
    char path[HAND_PATH_BYTES + 16];
    baton_histogram **const all[] = {&self.gaps,   &self.fresh, &self.back,       &self.before,
                                     &self.around, &self.chain, &self.chain_again};
    for (uint32_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        *all[i] = hand_histogram();
    snprintf(path, sizeof(path), "%s/raw", run->options->directory);
    const raw_options options = {.path = path,
                                 .file_bytes = 4 * BENCH_MIB,
                                 .write_bytes_max = BENCH_UNIT_BYTES,
                                 .depth_max = 1,
                                 .threads = run->options->backend[0] == 't'};
    if (raw_open(&options, &self.raw) < 0)
        hand_die(path, "it can not be made");
    for (int left = rounds(run); left > 0; left -= LEG)
        leg(&self, left < LEG ? left : LEG);
    print_gaps(&self);
    print_orders(&self);
    const double p50 = hand_ms(self.gaps, 0.5);
    if (*run->gap_p50_min == 0 || p50 < *run->gap_p50_min)
        *run->gap_p50_min = p50;
    if (p50 > *run->gap_p50_max)
        *run->gap_p50_max = p50;
    raw_close(self.raw);
    for (uint32_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        baton_histogram_destroy(*all[i]);
}

/* ---- cold_start ---- */

#define COLD_ENTRIES 1000000u

void hand_case_cold(const hand_run *run)
{
    hand_pair pair;
    hand_load load;
    hand_record record;
    uint64_t replayed;
    bool from_image;
    const double entries = run->options->smoke   ? 2000
                           : run->options->quick ? COLD_ENTRIES / 5
                                                 : COLD_ENTRIES;
    hand_pair_open(run, false, &pair);
    hand_load_begin(&pair, 200000, entries / 200000, HAND_CLIENTS, &load);
    hand_load_end(&load, false);
    hand_stop(&pair, pair.active, SIGKILL);
    const double took_ms = (double)hand_cold_start(&pair, &replayed, &from_image) / 1e6;
    bench_note(run->output, "cold_start: %llu entries replayed after %s",
               (unsigned long long)replayed,
               from_image ? "an image" : "a portable snapshot, or none");
    const bench_row row = {.bench_case = "cold_start",
                           .metric = "value",
                           .unit = "ms",
                           .value = took_ms,
                           .lower_is_better = true};
    hand_print(run, &row);
    hand_record_read(&load, &record);
    hand_record_judge(&pair, &record);
    hand_record_free(&record);
    hand_pair_close(&pair);
}
