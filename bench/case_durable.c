/* Cases `durable`, `durable_linked`: the matching engine in a real engine of Baton's, on a disk, many commands in flight:
 * how many a second are durable, applied and released. Beside it the same bytes, written raw, in alternating blocks. */
#include <string.h>

#include "bench/common.h"
#include "bench/exchange_bench.h"
#include "engine/outbox.h"
#include "engine/run.h"
#include "examples/exchange/matching-engine/matching_engine.h"

enum {
    TURN_COMMANDS = 2048, /* submitted between two turns, while there is room */
    RAW_WRITE_BYTES = 256 << 10,
};

typedef struct {
    const exchange_run *run;
    const engine_kind *kind;
    baton_engine *engine;
    uint64_t next;            /* command */
    baton_effect_key to_tell; /* released to the consumer, not confirmed yet */
} durable;

static void release(void *context, const baton_effect *effect)
{
    durable *own = context;
    if (effect->consumer == EXCHANGE_MARKET_DATA)
        own->to_tell = (baton_effect_key){effect->epoch, effect->seq, effect->index};
}

static const char *directory_of(const durable *own, char *path)
{
    snprintf(path, BENCH_PATH_BYTES, "%s/%s-%s", own->run->choice->directory, own->kind->name,
             own->run->backend);
    return path;
}

static bool threads(const exchange_run *run)
{
    return strcmp(run->backend, "threads") == 0;
}

static void open_engine(durable *own)
{
    char path[BENCH_PATH_BYTES], text[1200];
    const char *const values[] = ENGINE_OPTIONS(own->kind->outbox);
    const baton_engine_options options = {.mode = BATON_MODE_DURABLE,
                                          .backend = threads(own->run) ? BATON_BACKEND_THREADS
                                                                       : BATON_BACKEND_URING,
                                          .config = {.values = values}};
    const baton_engine_hooks hooks = {.release = release, .context = own};
    baton_hydrate_report report;
    baton_error error = {0};
    if (baton_engine_open(&matching_engine_service, directory_of(own, path), &options, &hooks,
                          &own->engine, &report, &error) == 0)
        return;
    fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    exchange_die("start the engine", error.status);
}

static void turn(durable *own, bool sleeps)
{
    baton_error error;
    int r = baton_engine_turn(own->engine, sleeps ? BENCH_WAIT_NS : 0, &error);
    if (r == 0 && own->to_tell.seq != 0)
        r = baton_engine_confirm(own->engine, EXCHANGE_MARKET_DATA, own->to_tell.epoch,
                                 own->to_tell.seq, own->to_tell.index);
    if (r == 0)
        own->to_tell.seq = 0;
    if (r < 0 && r != BATON_E_FULL)
        exchange_die("turn the engine", r);
}

static int submit(durable *own)
{
    const flow_command *command = &own->run->commands[own->next];
    flow_linked linked;
    if (!own->kind->linked)
        return baton_engine_submit(own->engine, command->type, &command->body, command->bytes,
                                   NULL);
    const uint32_t bytes = flow_link(command, own->next + 1, &linked);
    return baton_engine_submit(own->engine, EXCHANGE_LINKED, &linked, bytes, NULL);
}

/* Until all are released. */
static void engine_block(durable *own, uint64_t commands, bench_total *total)
{
    const uint64_t end = own->next + commands;
    const int64_t begin_ns = bench_now_ns();
    while (own->next < end) {
        int r = 0;
        for (uint32_t i = 0; i < TURN_COMMANDS && own->next < end && r == 0; i++)
            if ((r = submit(own)) == 0)
                own->next++;
        if (r < 0 && r != BATON_E_FULL && r != BATON_E_LAGGING)
            exchange_die("submit a command", r);
        turn(own, r < 0);
    }
    while (!baton_engine_all_released(own->engine))
        turn(own, true);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)commands;
}

static void raw_block(raw_device *raw, uint64_t bytes, bench_total *total)
{
    uint64_t left = bytes / RAW_WRITE_BYTES + 1, tag;
    const int64_t begin_ns = bench_now_ns();
    int r = 0;
    total->amount += (double)(left * RAW_WRITE_BYTES);
    while (r >= 0 && (left > 0 || raw_in_flight(raw) > 0)) {
        for (; r >= 0 && left > 0 && raw_in_flight(raw) < BENCH_DEPTH; left--)
            r = raw_submit(raw, RAW_WRITE_BYTES, 0);
        if (r >= 0)
            r = raw_turn(raw, UINT64_MAX);
        while (r >= 0 && (r = raw_reap(raw, &tag)) == 1)
            ;
    }
    if (r < 0)
        exchange_die("write raw", r);
    total->ns += (double)(bench_now_ns() - begin_ns);
}

typedef struct {
    bench_total commands, raw, raw_again;
    double bytes, cpu_ns;
} durable_totals;

static uint64_t bytes_so_far(const durable *own)
{
    const bench_journal journal = {.metrics = baton_engine_metrics(own->engine)};
    return bench_journal_count(&journal, "baton_journal_bytes_total");
}

static void run_blocks(durable *own, raw_device *raw, durable_totals *totals)
{
    const int blocks = exchange_rounds(own->run, 4, 12);
    const uint64_t commands = own->run->commands_count / (uint64_t)(blocks + 1);
    for (int block = -1; block < blocks; block++) {
        durable_totals warm_up = {0};
        durable_totals *sums = block < 0 ? &warm_up : totals;
        const uint64_t before = bytes_so_far(own);
        const int64_t cpu_ns = bench_cpu_ns();
        engine_block(own, commands, &sums->commands);
        sums->cpu_ns += (double)(bench_cpu_ns() - cpu_ns);
        const uint64_t bytes = bytes_so_far(own) - before;
        sums->bytes += (double)bytes;
        raw_block(raw, bytes, block % 2 == 0 ? &sums->raw : &sums->raw_again);
        raw_block(raw, bytes, block % 2 == 0 ? &sums->raw_again : &sums->raw);
        bench_progress(block + 2, blocks + 1);
    }
}

static void run_kind(const exchange_run *run, const engine_kind *kind)
{
    durable own = {.run = run, .kind = kind};
    durable_totals totals = {0};
    char path[BENCH_PATH_BYTES];
    raw_device *raw;
    open_engine(&own);
    snprintf(path, sizeof(path), "%s/raw-%s", run->choice->directory, kind->name);
    int r = raw_open(&(raw_options){.path = path,
                                    .file_bytes = 64 * BENCH_MIB,
                                    .write_bytes_max = RAW_WRITE_BYTES,
                                    .depth_max = BENCH_DEPTH,
                                    .threads = threads(run)},
                     &raw);
    if (r < 0)
        exchange_die(path, r);
    run_blocks(&own, raw, &totals);
    exchange_plain(run, kind->name, "entries_per_s", "1/s", bench_rate(totals.commands));
    exchange_compare(run, &(exchange_comparison){.bench_case = kind->name,
                                                 .metric = "bytes_per_s",
                                                 .unit = "B/s",
                                                 .reference = "raw",
                                                 .value = totals.bytes * 1e9 / totals.commands.ns,
                                                 .raw = bench_rate(totals.raw),
                                                 .raw_again = bench_rate(totals.raw_again)});
    exchange_plain(run, kind->name, "cpu_ns_per_entry", "ns",
                   totals.cpu_ns / totals.commands.amount);
    raw_close(raw);
    r = baton_engine_close(own.engine);
    if (r < 0)
        exchange_die("close the engine", r);
    bench_remove_tree(directory_of(&own, path));
}

void exchange_case_durable(const exchange_run *run)
{
    run_kind(run, &(engine_kind){.name = "durable", .outbox = "none"});
    run_kind(run,
             &(engine_kind){.name = "durable_linked", .outbox = "market-data", .linked = true});
}
