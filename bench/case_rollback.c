/* Case `portable_rollback`: from 1.1.0 back to 1.0.0 through a portable snapshot of the last entry (R13), with an
 * operator's `--path snapshot`, under the same load as `handover_gap`. From when it is asked for to the first
 * answer of 1.0.0, by its clients' clock; everything between is in it: the state is packed, checked and loaded. */
#include <poll.h>

#include "bench/handover_bench.h"

#define RATE      50000.0
#define ROUNDS    3
#define SECONDS   150
#define BESIDE_MS 1000

static void print(const hand_run *run, const char *metric, double ms)
{
    const bench_row row = {.bench_case = "portable_rollback",
                           .metric = metric,
                           .unit = "ms",
                           .value = ms,
                           .lower_is_better = true};
    hand_print(run, &row);
}

/* Until orders are taken, however busy the machine is; then a second more of them. */
static void wait_under_load(const hand_pair *pair)
{
    const char *directory = pair->directories[pair->active];
    const int64_t deadline = bench_now_ns() + HAND_WAIT_NS;
    uint64_t first = 0;
    for (bool moves = false; !moves;) {
        json_t *status = hand_ask(directory, "status");
        const uint64_t seq = hand_number(status, "durable_seq");
        moves = first != 0 && seq > first;
        first = first != 0 ? first : seq;
        json_decref(status);
        if (bench_now_ns() > deadline)
            hand_die("the load", "no order is taken; see the logs in the directory");
        (void)poll(NULL, 0, 10);
    }
    (void)poll(NULL, 0, BESIDE_MS);
}

static void go_back(hand_pair *pair, baton_histogram *back, baton_histogram *gaps)
{
    hand_load load;
    hand_record record;
    uint64_t seq, last_ns, first_ns;
    int64_t asked_ns;
    hand_load_begin(pair, RATE, SECONDS, HAND_CLIENTS, &load);
    wait_under_load(pair);
    hand_over(pair, &seq, &asked_ns);
    hand_wait_followed(pair);
    wait_under_load(pair);
    hand_over_by_snapshot(pair, &seq, &asked_ns);
    hand_wait_followed(pair);
    wait_under_load(pair);
    hand_load_end(&load, true);
    hand_record_read(&load, &record);
    if (!hand_record_gap(&record, seq, &last_ns, &first_ns))
        hand_die("the gap", "the clients have no answer of one side");
    baton_histogram_record(back, first_ns - (uint64_t)asked_ns);
    baton_histogram_record(gaps, first_ns > last_ns ? first_ns - last_ns : 0);
    hand_record_judge(pair, &record);
    hand_record_free(&record);
}

void hand_case_rollback(const hand_run *run)
{
    hand_pair pair;
    baton_histogram *back = hand_histogram(), *gaps = hand_histogram();
    hand_pair_open(run, true, &pair);
    for (int left = run->options->smoke ? 1 : ROUNDS; left > 0; left--)
        go_back(&pair, back, gaps);
    print(run, "p50", hand_ms(back, 0.5));
    print(run, "max", hand_ms(back, 1));
    print(run, "gap_max", hand_ms(gaps, 1));
    hand_pair_close(&pair);
    baton_histogram_destroy(back);
    baton_histogram_destroy(gaps);
}
