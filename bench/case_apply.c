/* Cases `apply`, `apply_linked`, `replay_hour`: what the exchange's own code costs, without journal and sockets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/histogram.h>

#include "bench/exchange_bench.h"
#include "bench/exchange_flow.h"
#include "engine/machine.h"
#include "examples/exchange/matching-engine/matching_engine.h"
#include "examples/exchange/replay/lobster.h"

enum { BLOCK = 10000 }; /* commands, measured as one */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- the engines ---- */

static void engine_make(baton_machine *machine, const engine_kind *kind)
{
    const char *const values[] = ENGINE_OPTIONS(kind->outbox);
    const baton_service_config config = {.values = values};
    baton_error error = {0};
    int r = baton_machine_init(machine, &matching_engine_service, &config, &error);
    if (r < 0)
        exchange_die("make the engine", r);
}

static void apply_one(baton_machine *machine, const engine_kind *kind, const flow_command *command)
{
    flow_linked linked;
    baton_entry entry = {.seq = machine->seq + 1,
                         .epoch = 1,
                         .time_ns = machine->seq + 1,
                         .type = command->type,
                         .payload = &command->body,
                         .payload_bytes = command->bytes};
    if (kind->linked) {
        entry.type = EXCHANGE_LINKED;
        entry.payload = &linked;
        entry.payload_bytes = flow_link(command, entry.seq, &linked);
    }
    int r = baton_machine_apply(machine, &entry);
    if (r < 0)
        exchange_die("apply a command", r);
    if (machine->seq % 1024 == 0) /* as a consumer does: or all reports would pile up */
        baton_outbox_confirm(&machine->outbox, EXCHANGE_MARKET_DATA,
                             (baton_effect_key){.epoch = 1, .seq = machine->seq});
}

static baton_digest digest_of(const baton_machine *machine)
{
    baton_digest digest;
    int r = baton_machine_digest(machine, 1, &digest);
    if (r < 0)
        exchange_die("digest the state", r);
    return digest;
}

/* Throughput without a clock in the loop; then the same again with one around each command. */
static void run_apply(const exchange_run *run, const engine_kind *kind)
{
    baton_machine machine;
    baton_digest untimed, timed;
    engine_make(&machine, kind);
    for (uint64_t i = 0; i < FLOW_FILL; i++)
        apply_one(&machine, kind, &run->commands[i]);
    double took_ns = 0, best_ns = 0;
    for (uint64_t i = FLOW_FILL; i < run->commands_count;) {
        uint64_t end = i + BLOCK < run->commands_count ? i + BLOCK : run->commands_count,
                 commands = end - i;
        uint64_t begin_ns = now_ns(), begin_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (; i < end; i++)
            apply_one(&machine, kind, &run->commands[i]);
        took_ns += (double)(now_ns() - begin_ns);
        double each_ns =
            (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin_cpu_ns) / (double)commands;
        if (best_ns == 0 || each_ns < best_ns)
            best_ns = each_ns;
    }
    untimed = digest_of(&machine);
    baton_machine_fini(&machine);

    baton_histogram *histogram;
    if (baton_histogram_create(&histogram) < 0)
        exchange_die("measure", -ENOMEM);
    engine_make(&machine, kind);
    for (uint64_t i = 0; i < run->commands_count; i++) {
        uint64_t one_ns = now_ns();
        apply_one(&machine, kind, &run->commands[i]);
        if (i >= FLOW_FILL)
            baton_histogram_record(histogram, now_ns() - one_ns);
    }
    timed = digest_of(&machine);
    baton_machine_fini(&machine);
    if (!baton_digest_equal(untimed, timed))
        exchange_die("apply the same commands twice", BATON_E_DIVERGED);

    double commands = (double)(run->commands_count - FLOW_FILL);
    exchange_plain(run, kind->name, "entries_per_s", "1/s", commands * 1e9 / took_ns);
    /* Of the block that the machine's neighbours disturbed least. */
    exchange_plain(run, kind->name, "cpu_ns_per_entry", "ns", best_ns);
    exchange_plain(run, kind->name, "p50", "ns", (double)baton_histogram_quantile(histogram, 0.5));
    exchange_plain(run, kind->name, "p99", "ns", (double)baton_histogram_quantile(histogram, 0.99));
    exchange_plain(run, kind->name, "p99.9", "ns",
                   (double)baton_histogram_quantile(histogram, 0.999));
    exchange_plain(run, kind->name, "max", "ns", (double)baton_histogram_max(histogram));
    baton_histogram_destroy(histogram);
}

void exchange_case_apply(const exchange_run *run)
{
    run_apply(run, &(engine_kind){.name = "apply", .outbox = "none"});
}

void exchange_case_apply_linked(const exchange_run *run)
{
    run_apply(run, &(engine_kind){.name = "apply_linked", .outbox = "market-data", .linked = true});
}

/* ---- recorded messages ---- */

/* A whole replay of the recorded hour: files read, every message checked and applied, the book checked. */
void exchange_case_replay(const exchange_run *run)
{
    char messages[4096], seed[4096];
    const char *data = run->choice->data;
    if (!data) {
        exchange_left_out(run, "replay_hour", "no --data with lobster-aapl-hour/");
        return;
    }
    snprintf(messages, sizeof(messages), "%s/lobster-aapl-hour/messages.csv", data);
    snprintf(seed, sizeof(seed), "%s/lobster-aapl-hour/seed-book.csv", data);
    const lobster_options options = {
        .messages_path = messages, .seed_path = seed, .levels = 1, .mode = LOBSTER_MATCH};
    double messages_count = 0, took_ns = 0;
    const int runs = run->choice->smoke ? 1 : run->choice->quick ? 10 : 50;
    for (int i = 0; i < runs; i++) {
        lobster_summary summary;
        baton_error error = {0};
        uint64_t begin_ns = now_ns();
        int r = lobster_run(&options, &summary, &error);
        took_ns += (double)(now_ns() - begin_ns);
        if (r < 0)
            exchange_die("replay the recorded hour", r);
        messages_count += (double)summary.counts.messages;
    }
    exchange_plain(run, "replay_hour", "entries_per_s", "1/s", messages_count * 1e9 / took_ns);
}
