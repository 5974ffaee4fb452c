/* Suite `exchange`: what the reference exchange's own code costs, without journal and sockets: the matching
 * engine's apply, one command after the other, and its book alone. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/histogram.h>

#include "bench/exchange_flow.h"
#include "bench/rows.h"
#include "engine/machine.h"
#include "examples/exchange/matching-engine/matching_engine.h"
#include "examples/exchange/replay/lobster.h"

static const char usage[] =
    "Usage: exchange-bench [--data DIR] [--quick] [--smoke] [--json FILE] [--case NAME] [--list]\n"
    "                      [--dir DIR] [--io uring|threads]\n"
    "\n"
    "The matching engine's apply, without a journal, on a mix of commands like that of "
    "exchange-core's\n"
    "recorded stream: from clients of its own (apply), and from the risk engine with reports kept "
    "for\n"
    "market data (apply_linked).\n"
    "  --quick      a tenth of the commands\n"
    "  --smoke      fewer still: whether it works, not how fast\n"
    "  --json FILE  rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --data DIR   recorded order flow: a folder with lobster-aapl-hour/, for replay_hour\n"
    "  --dir, --io  taken as all suites take them; no disk is used\n"
    "  --case NAME  only this one; --list, or the name `list`, prints the names\n"
    "\n"
    "Example: exchange-bench --quick --json -\n";

#define REPLAY_CASE "replay_hour"
enum { BLOCK = 10000 }; /* commands, measured as one */

typedef struct {
    bool quick, smoke;
    const char *json, *only, *data;
} bench_choice;

typedef struct {
    const bench_choice *choice;
    const bench_output *output;
    const flow_command *commands;
    uint64_t count;
} exchange_run;

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

static _Noreturn void die(const char *what, int status)
{
    fprintf(stderr, "baton: %s: %s: see --help\n", what, baton_status_text(status));
    exit(1);
}

static void row(const exchange_run *run, const char *bench_case, const char *metric,
                const char *unit, double value)
{
    bench_print_row(run->output, &(bench_row){.suite = "exchange",
                                              .bench_case = bench_case,
                                              .metric = metric,
                                              .unit = unit,
                                              .value = value,
                                              .lower_is_better = strcmp(unit, "1/s") != 0});
}

/* ---- the engines ---- */

typedef struct {
    const char *name;
    const char *outbox;
    bool linked; /* commands come from the risk engine, not from clients of its own */
} engine_kind;

static const engine_kind kinds[] = {
    {"apply", "none", false},
    {"apply_linked", "market-data", true},
};

static void engine_make(baton_machine *machine, const engine_kind *kind)
{
    const char *const values[] = {"65536", "65536", "1024", kind->outbox, "1", "allow"};
    const baton_service_config config = {.values = values};
    baton_error error = {0};
    int r = baton_machine_init(machine, &matching_engine_service, &config, &error);
    if (r < 0)
        die("make the engine", r);
}

static void apply_one(baton_machine *machine, const engine_kind *kind, const flow_command *command)
{
    struct {
        exchange_linked head;
        uint8_t body[sizeof(command->body)];
    } linked;
    baton_entry entry = {.seq = machine->seq + 1,
                         .epoch = 1,
                         .time_ns = machine->seq + 1,
                         .type = command->type,
                         .payload = &command->body,
                         .payload_bytes = command->bytes};
    if (kind->linked) {
        linked.head =
            (exchange_linked){.key = {.epoch = baton_le64_put(1), .seq = baton_le64_put(entry.seq)},
                              .source = baton_le16_put(EXCHANGE_RISK_ENGINE),
                              .effect_type = baton_le16_put(command->type)};
        memcpy(linked.body, &command->body, sizeof(linked.body));
        entry.type = EXCHANGE_LINKED;
        entry.payload = &linked;
        entry.payload_bytes = (uint32_t)sizeof(linked.head) + command->bytes;
    }
    int r = baton_machine_apply(machine, &entry);
    if (r < 0)
        die("apply a command", r);
    if (machine->seq % 1024 == 0) /* as a consumer does: or all reports would pile up */
        baton_outbox_confirm(&machine->outbox, EXCHANGE_MARKET_DATA,
                             (baton_effect_key){.epoch = 1, .seq = machine->seq});
}

static baton_digest digest_of(const baton_machine *machine)
{
    baton_digest digest;
    int r = baton_machine_digest(machine, 1, &digest);
    if (r < 0)
        die("digest the state", r);
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
    for (uint64_t i = FLOW_FILL; i < run->count;) {
        uint64_t end = i + BLOCK < run->count ? i + BLOCK : run->count, commands = end - i;
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
        die("measure", -ENOMEM);
    engine_make(&machine, kind);
    for (uint64_t i = 0; i < run->count; i++) {
        uint64_t one_ns = now_ns();
        apply_one(&machine, kind, &run->commands[i]);
        if (i >= FLOW_FILL)
            baton_histogram_record(histogram, now_ns() - one_ns);
    }
    timed = digest_of(&machine);
    baton_machine_fini(&machine);
    if (!baton_digest_equal(untimed, timed))
        die("apply the same commands twice", BATON_E_DIVERGED);

    double commands = (double)(run->count - FLOW_FILL);
    row(run, kind->name, "entries_per_s", "1/s", commands * 1e9 / took_ns);
    /* Of the block that the machine's neighbours disturbed least. */
    row(run, kind->name, "cpu_ns_per_entry", "ns", best_ns);
    row(run, kind->name, "p50", "ns", (double)baton_histogram_quantile(histogram, 0.5));
    row(run, kind->name, "p99", "ns", (double)baton_histogram_quantile(histogram, 0.99));
    row(run, kind->name, "p99.9", "ns", (double)baton_histogram_quantile(histogram, 0.999));
    row(run, kind->name, "max", "ns", (double)baton_histogram_max(histogram));
    baton_histogram_destroy(histogram);
}

/* ---- recorded messages ---- */

/* A whole replay of the recorded hour: files read, every message checked and applied, the book checked. */
static void run_replay(const exchange_run *run)
{
    char messages[4096], seed[4096];
    const char *data = run->choice->data;
    if (!data) {
        bench_note(run->output, "replay_hour: left out: no --data with lobster-aapl-hour/");
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
            die("replay the recorded hour", r);
        messages_count += (double)summary.counts.messages;
    }
    row(run, REPLAY_CASE, "entries_per_s", "1/s", messages_count * 1e9 / took_ns);
}

/* ---- the program ---- */

static void list(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        puts(kinds[i].name);
    puts(REPLAY_CASE);
}

static bool parse(int argc, char **argv, bench_choice *choice)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},  {"io", required_argument, NULL, 'i'},
        {"json", required_argument, NULL, 'j'}, {"case", required_argument, NULL, 'c'},
        {"data", required_argument, NULL, 'D'}, {"quick", no_argument, NULL, 'q'},
        {"smoke", no_argument, NULL, 's'},      {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},       {0}};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'q')
            choice->quick = true;
        else if (option == 's')
            choice->smoke = true;
        else if (option == 'j')
            choice->json = optarg;
        else if (option == 'D')
            choice->data = optarg;
        else if (option == 'c')
            choice->only = optarg;
        else if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else if (option == 'l') {
            choice->only = "list";
        } else if (option != 'd' && option != 'i') {
            return false;
        }
    }
    return optind == argc;
}

static bool known(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return true;
    return strcmp(name, REPLAY_CASE) == 0;
}

int main(int argc, char **argv)
{
    bench_choice choice = {0};
    if (!parse(argc, argv, &choice)) {
        fputs(usage, stderr);
        return 1;
    }
    if (choice.only && strcmp(choice.only, "list") == 0) {
        list();
        return 0;
    }
    if (choice.only && !known(choice.only)) {
        fprintf(stderr, "baton: --case %s: no such case: see --list\n", choice.only);
        return 1;
    }
    bool to_stdout = choice.json && strcmp(choice.json, "-") == 0;
    FILE *json = to_stdout ? stdout : choice.json ? fopen(choice.json, "we") : NULL;
    if (choice.json && !json)
        die(choice.json, -errno);
    const bench_output output = {.json = json, .human = to_stdout ? NULL : stdout};
    const uint64_t count = choice.smoke ? 20000 : choice.quick ? 400000 : 4000000;
    bool needs_flow = !choice.only || strcmp(choice.only, REPLAY_CASE) != 0;
    flow_command *commands = needs_flow ? flow_make(1, count) : NULL;
    if (needs_flow && !commands)
        die("make the commands", -ENOMEM);
    const exchange_run run = {
        .choice = &choice, .output = &output, .commands = commands, .count = count};
    bench_print_header(&output, &(bench_header){.suite = "exchange",
                                                .commit_primitive = "none: no journal",
                                                .device_write_cache = "not used"});
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (!choice.only || strcmp(choice.only, kinds[i].name) == 0)
            run_apply(&run, &kinds[i]);
    if (!choice.only || strcmp(choice.only, REPLAY_CASE) == 0)
        run_replay(&run);
    free(commands);
    if (json && json != stdout && fclose(json) != 0)
        die(choice.json, -errno);
    return 0;
}
