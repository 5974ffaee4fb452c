/* Suite `exchange`: what the reference exchange costs: the matching engine's apply alone, with a journal under it,
 * and an order's way through all of its processes. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <baton/status.h>

#include "bench/common.h"
#include "bench/exchange_bench.h"
#include "bench/sizes.h"
#include "bench/spawn.h"

static const char usage[] =
    "Usage: exchange-bench [--dir DIR] [--io uring|threads|both] [--data DIR] [--quick] [--smoke]\n"
    "                      [--json FILE] [--case NAME] [--rate R] [--list]\n"
    "\n"
    "The reference exchange on a mix of commands like that of exchange-core's recorded stream: "
    "the\n"
    "matching engine's apply without a journal, from clients of its own (apply) and from the risk\n"
    "engine with reports kept for market data (apply_linked); the same with Baton under it, "
    "durable, many\n"
    "in flight (durable); and gateway, order service, risk engine and matching engine as "
    "processes,\n"
    "beside bare ones that make one raw durable write each (whole_exchange).\n"
    "  --dir DIR    an existing, empty directory on the device to measure; without it the cases "
    "that\n"
    "               need a disk are left out\n"
    "  --io WHICH   how they write; default: uring\n"
    "  --data DIR   recorded order flow: a folder with lobster-aapl-hour/, for replay_hour\n"
    "  --rate R     case whole_exchange: only so many orders a second, 1000 or more\n"
    "  --quick      a tenth of the commands\n"
    "  --smoke      fewer still: whether it works, not how fast\n"
    "  --json FILE  rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --case NAME  only this one; --list, or the name `list`, prints the names\n"
    "\n"
    "Example: exchange-bench --dir /var/lib/exchange/empty --quick --json -\n";

static const struct {
    const char *name;
    void (*run)(const exchange_run *run);
    bool on_disk;
} cases[] = {
    {"apply", exchange_case_apply, false},
    {"apply_linked", exchange_case_apply_linked, false},
    {"durable", exchange_case_durable, true},
    {"whole_exchange", exchange_case_whole, true},
    {"replay_hour", exchange_case_replay, false},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

_Noreturn void exchange_die(const char *what, int status)
{
    fprintf(stderr, "baton: %s: %s: see --help, and the logs in the directory\n", what,
            baton_status_text(status));
    exit(1);
}

/* ---- rows ---- */

void exchange_print(const exchange_run *run, const bench_row *row)
{
    bench_row all = *row;
    all.suite = "exchange";
    all.backend = run->backend;
    all.lower_is_better = strcmp(row->unit, "1/s") != 0 && strcmp(row->unit, "B/s") != 0;
    bench_print_row(run->output, &all);
    if (run->output->json)
        fflush(run->output->json);
}

void exchange_plain(const exchange_run *run, const char *bench_case, const char *metric,
                    const char *unit, double value)
{
    exchange_print(
        run,
        &(bench_row){.bench_case = bench_case, .metric = metric, .unit = unit, .value = value});
}

void exchange_compare(const exchange_run *run, const exchange_comparison *comparison)
{
    bench_row row = {.bench_case = comparison->bench_case,
                     .metric = comparison->metric,
                     .unit = comparison->unit,
                     .value = comparison->value,
                     .reference = comparison->reference,
                     .reference_value = comparison->raw};
    if (comparison->raw_again > 0)
        row.spread = comparison->raw / comparison->raw_again;
    exchange_print(run, &row);
    row.value = comparison->raw;
    row.reference = "raw again";
    row.reference_value = comparison->raw_again;
    exchange_print(run, &row);
}

void exchange_left_out(const exchange_run *run, const char *bench_case, const char *why)
{
    if (run->output->human)
        bench_note(run->output, "%s: left out: %s", bench_case, why);
    else
        fprintf(stderr, "bench: %s: left out: %s\n", bench_case, why);
}

/* ---- options ---- */

static _Noreturn void list(void)
{
    for (int c = 0; c < CASES; c++)
        puts(cases[c].name);
    exit(0);
}

static int parse_case(const char *text, exchange_choice *choice)
{
    if (strcmp(text, "list") == 0)
        list();
    choice->only = text;
    for (int c = 0; c < CASES; c++)
        if (strcmp(text, cases[c].name) == 0)
            return 0;
    fprintf(stderr, "baton: --case %s: no such case: see --list\n", text);
    exit(1);
}

static int parse_backends(const char *text, exchange_choice *choice)
{
    const bool both = strcmp(text, "both") == 0;
    choice->backends[0] = strcmp(text, "threads") == 0 ? "threads" : "uring";
    choice->backends[1] = "threads";
    choice->backends_count = both ? 2 : 1;
    return both || strcmp(text, choice->backends[0]) == 0 ? 0 : -EINVAL;
}

static int parse_one(int option, exchange_choice *choice)
{
    if (option == 'd')
        choice->directory = optarg;
    else if (option == 'q')
        choice->quick = true;
    else if (option == 's')
        choice->quick = choice->smoke = true;
    else if (option == 'j')
        choice->json = optarg;
    else if (option == 'r')
        return (choice->rate = strtod(optarg, NULL)) >= 1000 ? 0 : -EINVAL;
    else if (option == 'D')
        choice->data = realpath(optarg, NULL); /* of a missing folder: NULL, and it is said */
    else if (option == 'c')
        return parse_case(optarg, choice);
    else
        return option == 'i' ? parse_backends(optarg, choice) : -EINVAL;
    return 0;
}

static int parse(int argc, char **argv, exchange_choice *choice)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"io", required_argument, NULL, 'i'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"case", required_argument, NULL, 'c'},
                                            {"data", required_argument, NULL, 'D'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"smoke", no_argument, NULL, 's'},
                                            {"list", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int r = parse_backends("uring", choice);
    for (int option; r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            list();
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        r = parse_one(option, choice);
    }
    return r == 0 && optind == argc ? 0 : -EINVAL;
}

/* ---- running ---- */

static bool is_wanted(const exchange_choice *choice, int c)
{
    return !choice->only || strcmp(choice->only, cases[c].name) == 0;
}

static void run_case(exchange_run run, int c)
{
    if (!cases[c].on_disk) {
        cases[c].run(&run);
        return;
    }
    if (!run.choice->directory) {
        exchange_left_out(&run, cases[c].name, "no --dir");
        return;
    }
    for (uint32_t i = 0; i < run.choice->backends_count; i++) {
        run.backend = run.choice->backends[i];
        cases[c].run(&run);
    }
}

static void print_header(const exchange_choice *choice, const bench_output *output)
{
    if (!choice->directory) {
        bench_print_header(output, &(bench_header){.suite = "exchange",
                                                   .commit_primitive = "none: no journal",
                                                   .device_write_cache = "not used"});
        return;
    }
    const bench_header header = {.suite = "exchange",
                                 .commit_primitive = "O_DIRECT write, RWF_DSYNC"};
    if (bench_print_header_of(output, &header, choice->directory, BATON_IO_THREADS) < 0)
        exit(1);
}

/* Sockets have short names in the working directory, however deep it is. */
static void enter_directory(exchange_choice *choice)
{
    if (!choice->directory)
        return;
    if (bench_check_empty(choice->directory) < 0)
        exit(1);
    if (chdir(choice->directory) < 0)
        exchange_die(choice->directory, -errno);
    choice->directory = ".";
}

int main(int argc, char **argv)
{
    exchange_choice choice = {0};
    if (parse(argc, argv, &choice) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    int r = bench_own_folder(choice.programs, sizeof(choice.programs));
    if (r < 0)
        exchange_die("find the other programs", r);
    const bool to_stdout = choice.json && strcmp(choice.json, "-") == 0;
    FILE *json = to_stdout ? stdout : choice.json ? fopen(choice.json, "we") : NULL;
    if (choice.json && !json)
        exchange_die(choice.json, -errno);
    const bench_output output = {.json = json, .human = to_stdout ? NULL : stdout};
    enter_directory(&choice);
    print_header(&choice, &output);
    const uint64_t count = choice.smoke ? 50000 : choice.quick ? 800000 : 4000000;
    flow_command *commands = flow_make(1, count);
    if (!commands)
        exchange_die("make the commands", -ENOMEM);
    for (int c = 0; c < CASES; c++)
        if (is_wanted(&choice, c))
            run_case((exchange_run){.choice = &choice,
                                    .output = &output,
                                    .commands = commands,
                                    .commands_count = count},
                     c);
    free(commands);
    if (json && json != stdout && fclose(json) != 0)
        exchange_die(choice.json, -errno);
    return 0;
}
