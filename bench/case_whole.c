/* Case `whole_exchange`: an order's way through the real processes, from when its client sent it until the ACK is back,
 * every service's entry durable on the way; beside bare processes that pass a token and make one raw durable write
 * each (whole_chain.h). Open loop, in alternating blocks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/common.h"
#include "bench/whole_chain.h"
#include "bench/whole_exchange.h"

#define REFERENCE "raw (3 bare processes)"

enum {
    CHAIN_DEPTH = 8, /* as many as a journal has */
    OPEN_MAX = 32768,
};

/* A rate is held when half of the answers of a block come within HELD_P50_NS and nine of ten within HELD_P90_NS: a
 * backlog that grows by a hundredth is more than that within the block's second. */
#define HELD_P50_NS UINT64_C(5000000)
#define HELD_P90_NS UINT64_C(20000000)
enum { HELD_TRIES = 3 }; /* for the machine's neighbours */

typedef struct {
    const exchange_run *run;
    whole_exchange exchange;
    whole_chain chain;
    uint64_t blocks_count; /* so far: each has gaps of its own */
} whole;

typedef enum { SIDE_EXCHANGE, SIDE_RAW, SIDE_RAW_AGAIN, SIDES } whole_side_name;

static double block_seconds(const exchange_run *run)
{
    return run->choice->smoke ? 0.05 : run->choice->quick ? 0.5 : 1.5;
}

/* False: no commands are left. */
static bool run_block(whole *own, bool raw, double rate, double seconds, baton_histogram *latency)
{
    const whole_schedule schedule = {.rate = rate,
                                     .count = (uint64_t)(rate * seconds),
                                     .seed = ++own->blocks_count,
                                     .open_max = OPEN_MAX};
    whole_outcome outcome;
    if (!raw && !whole_exchange_block(&own->exchange, schedule.count))
        return false;
    int r =
        whole_load_run(raw ? &own->chain.side : &own->exchange.side, &schedule, latency, &outcome);
    if (r < 0)
        exchange_die(raw ? "pass tokens" : "send orders", r);
    return true;
}

static baton_histogram *histogram(void)
{
    baton_histogram *one;
    if (baton_histogram_create(&one) < 0)
        exchange_die("measure", -ENOMEM);
    return one;
}

static void print_rate(const whole *own, double rate, baton_histogram *const sides[SIDES])
{
    static const struct {
        const char *metric;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    char name[64];
    snprintf(name, sizeof(name), "whole_exchange_%.0fk", rate / 1000);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double us[SIDES];
        for (int side = 0; side < SIDES; side++)
            us[side] = (double)baton_histogram_quantile(sides[side], quantiles[i].fraction) / 1e3;
        exchange_compare(own->run, &(exchange_comparison){.bench_case = name,
                                                          .metric = quantiles[i].metric,
                                                          .unit = "us",
                                                          .reference = REFERENCE,
                                                          .value = us[SIDE_EXCHANGE],
                                                          .raw = us[SIDE_RAW],
                                                          .raw_again = us[SIDE_RAW_AGAIN]});
    }
}

static void run_rate(whole *own, double rate)
{
    const int rounds = exchange_rounds(own->run, 4, 12);
    const double seconds = block_seconds(own->run);
    baton_histogram *sides[SIDES], *warm_up = histogram();
    for (int i = 0; i < SIDES; i++)
        sides[i] = histogram();
    for (int round = -1; round < rounds; round++) {
        const whole_side_name first = round % 2 == 0 ? SIDE_RAW : SIDE_RAW_AGAIN;
        const whole_side_name last = first == SIDE_RAW ? SIDE_RAW_AGAIN : SIDE_RAW;
        (void)run_block(own, true, rate, seconds, round < 0 ? warm_up : sides[first]);
        if (!run_block(own, false, rate, seconds, round < 0 ? warm_up : sides[SIDE_EXCHANGE]))
            exchange_die("send orders", BATON_E_FULL);
        (void)run_block(own, true, rate, seconds, round < 0 ? warm_up : sides[last]);
        bench_progress(round + 2, rounds + 1);
    }
    print_rate(own, rate, sides);
    for (int i = 0; i < SIDES; i++)
        baton_histogram_destroy(sides[i]);
    baton_histogram_destroy(warm_up);
}

/* ---- the highest rate ---- */

static bool holds(whole *own, bool raw, double rate, double seconds)
{
    baton_histogram *latency = histogram();
    const bool could = run_block(own, raw, rate, seconds, latency);
    const bool held = could && baton_histogram_quantile(latency, 0.5) <= HELD_P50_NS &&
                      baton_histogram_quantile(latency, 0.9) <= HELD_P90_NS;
    baton_histogram_destroy(latency);
    return held;
}

static double highest(whole *own, bool raw)
{
    const double seconds = own->run->choice->smoke ? 0.02 : own->run->choice->quick ? 0.25 : 1;
    const double from = own->run->choice->smoke ? 1000 : 10000;
    const double to = own->run->choice->smoke ? 2000 : 2000000;
    double held = 0;
    for (double rate = from; rate <= to; rate *= 1.2) {
        bool holding = false;
        for (int i = 0; i < HELD_TRIES && !holding; i++)
            holding = holds(own, raw, rate, seconds);
        if (!holding)
            break;
        held = rate;
    }
    return held;
}

static void run_highest(whole *own)
{
    const double raw = highest(own, true);
    const double exchange = highest(own, false);
    const double again = highest(own, true);
    exchange_compare(own->run, &(exchange_comparison){.bench_case = "whole_exchange",
                                                      .metric = "entries_per_s",
                                                      .unit = "1/s",
                                                      .reference = REFERENCE,
                                                      .value = exchange,
                                                      .raw = raw,
                                                      .raw_again = again});
}

void exchange_case_whole(const exchange_run *run)
{
    static const double full[] = {5000, 10000, 50000};
    const whole_chain_options raw = {.directory = run->choice->directory,
                                     .threads = run->backend[0] == 't',
                                     .depth = CHAIN_DEPTH};
    whole own = {.run = run};
    int r = whole_chain_open(&raw, &own.chain);
    if (r < 0)
        exchange_die("start the bare processes", r);
    whole_exchange_open(run, run->commands, run->commands_count, &own.exchange);
    for (size_t i = 0; run->choice->rate <= 0 && i < sizeof(full) / sizeof(full[0]); i++)
        run_rate(&own, full[i]);
    if (run->choice->rate > 0)
        run_rate(&own, run->choice->rate);
    else
        run_highest(&own);
    if (own.exchange.refused > 0)
        bench_note(run->output, "whole_exchange: %llu orders were refused",
                   (unsigned long long)own.exchange.refused);
    whole_exchange_close(&own.exchange);
    r = whole_chain_close(&own.chain);
    if (r < 0)
        exchange_die("end the bare processes", r);
}
