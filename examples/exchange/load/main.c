/* exchange-load: open-loop load for the matching engine. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/exchange/load/run.h"

static const char usage[] =
    "Usage: exchange-load --connect ADDRESS [options]\n"
    "\n"
    "Sends orders to a matching engine, each when it is due, and measures from that moment to its "
    "ack.\n"
    "When the connection ends it connects again and resends what has no ack yet.\n"
    "\n"
    "  --connect ADDRESS     unix:PATH or tcp:HOST:PORT\n"
    "  --orders N            commands of the built-in generator (default 100000)\n"
    "  --rate R              of them a second, on average (default 10000)\n"
    "  --clients N           so many client ids (default 64)\n"
    "  --first-client ID     the first of them (default 1); a second load on one engine needs "
    "others\n"
    "  --seed S              of the generator (default 1)\n"
    "  --virtual-time        the stream tells the time (CLOCK commands; engine: --ticks client)\n"
    "  --lobster FILE        recorded order flow instead of the generator\n"
    "  --seed-book FILE      with --lobster: the book to begin with\n"
    "  --messages-max N      with --lobster: only the first N messages\n"
    "  --time-compression X  with --lobster: X recorded seconds in one (default 1)\n"
    "  --match               with --lobster: executions become opposite IOC orders\n"
    "  --acks-out FILE       one CSV row a command: what it was, when due, when acked, how it "
    "ended\n"
    "  --json FILE           the summary as one JSON object; - for standard output\n"
    "  --give-up SECONDS     end when the engine gives no answer for so long (default 60)\n"
    "\n"
    "Exit code: 0 when every command was acked exactly once and applied, 1 otherwise. Ended by a "
    "signal:\n"
    "the same of every command sent until then.\n"
    "\n"
    "Examples:\n"
    "  exchange-load --connect unix:/run/me.sock --orders 50000 --rate 20000\n"
    "  exchange-load --connect tcp:127.0.0.1:7450 --lobster messages.csv --time-compression 600 "
    "--match\n";

typedef struct {
    stream_options stream;
    const char *address;
    const char *acks_out;
    const char *json;
    double give_up_s;
} load_options;

static volatile bool stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = true;
}

static bool parse_uint(const char *text, uint64_t max, uint64_t *ret_value)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value > max)
        return false;
    *ret_value = value;
    return true;
}

static bool parse_positive(const char *text, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0) || value > 1e9)
        return false;
    *ret_value = value;
    return true;
}

#define CLIENTS_MAX 4000000u /* and twice that is a client id, too */

enum {
    OPTION_CONNECT = 256,
    OPTION_ORDERS,
    OPTION_RATE,
    OPTION_CLIENTS,
    OPTION_FIRST_CLIENT,
    OPTION_SEED,
    OPTION_VIRTUAL_TIME,
    OPTION_LOBSTER,
    OPTION_SEED_BOOK,
    OPTION_MESSAGES_MAX,
    OPTION_TIME_COMPRESSION,
    OPTION_MATCH,
    OPTION_ACKS_OUT,
    OPTION_JSON,
    OPTION_GIVE_UP,
    OPTION_HELP,
};

static bool take_option(int option, const char *value, load_options *options)
{
    stream_options *stream = &options->stream;
    uint64_t number = 0;
    bool good = true;
    switch (option) {
    case OPTION_CONNECT:
        options->address = value;
        break;
    case OPTION_ORDERS:
        good = parse_uint(value, LOAD_COMMANDS_MAX / 2, &number);
        stream->commands = (uint32_t)number;
        break;
    case OPTION_RATE:
        good = parse_positive(value, &stream->rate);
        break;
    case OPTION_CLIENTS:
        good = parse_uint(value, CLIENTS_MAX, &number) && number > 0;
        stream->clients = (uint32_t)number;
        break;
    case OPTION_FIRST_CLIENT:
        good = parse_uint(value, CLIENTS_MAX, &number) && number > 0;
        stream->clients_before = (uint32_t)number - 1;
        break;
    case OPTION_SEED:
        good = parse_uint(value, UINT64_MAX, &stream->seed);
        break;
    case OPTION_VIRTUAL_TIME:
        stream->virtual_time = true;
        break;
    case OPTION_LOBSTER:
        stream->lobster = value;
        break;
    case OPTION_SEED_BOOK:
        stream->seed_book = value;
        break;
    case OPTION_MESSAGES_MAX:
        good = parse_uint(value, UINT32_MAX, &number);
        stream->messages_max = (uint32_t)number;
        break;
    case OPTION_TIME_COMPRESSION:
        good = parse_positive(value, &stream->compression);
        break;
    case OPTION_MATCH:
        stream->match = true;
        break;
    case OPTION_ACKS_OUT:
        options->acks_out = value;
        break;
    case OPTION_JSON:
        options->json = value;
        break;
    case OPTION_GIVE_UP:
        good = parse_positive(value, &options->give_up_s);
        break;
    default:
        good = false;
    }
    if (!good && value)
        fprintf(stderr, "baton: '%s': out of its range: see --help\n", value);
    return good;
}

static bool parse_options(int argc, char **argv, load_options *options)
{
    static const struct option known[] = {
        {"connect", required_argument, NULL, OPTION_CONNECT},
        {"orders", required_argument, NULL, OPTION_ORDERS},
        {"rate", required_argument, NULL, OPTION_RATE},
        {"clients", required_argument, NULL, OPTION_CLIENTS},
        {"first-client", required_argument, NULL, OPTION_FIRST_CLIENT},
        {"seed", required_argument, NULL, OPTION_SEED},
        {"virtual-time", no_argument, NULL, OPTION_VIRTUAL_TIME},
        {"lobster", required_argument, NULL, OPTION_LOBSTER},
        {"seed-book", required_argument, NULL, OPTION_SEED_BOOK},
        {"messages-max", required_argument, NULL, OPTION_MESSAGES_MAX},
        {"time-compression", required_argument, NULL, OPTION_TIME_COMPRESSION},
        {"match", no_argument, NULL, OPTION_MATCH},
        {"acks-out", required_argument, NULL, OPTION_ACKS_OUT},
        {"json", required_argument, NULL, OPTION_JSON},
        {"give-up", required_argument, NULL, OPTION_GIVE_UP},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        if (!take_option(option, optarg, options))
            return false;
    }
    if (!options->address)
        fprintf(stderr, "baton: --connect: missing: see --help\n");
    return options->address && optind == argc;
}

static int write_acks(const char *path, const load_command *commands, const run_result *result)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(
        file,
        "client,client_seq,type,intended_ns,acked_ns,connection,outcome,seq,filled,remaining\n");
    for (uint32_t i = 0; i < result->sent; i++) {
        const command_result *row = &result->results[i];
        fprintf(file, "%llu,%u,%u,%llu,%llu,%u,%u,%llu,%llu,%llu\n",
                (unsigned long long)baton_le64_get(commands[i].body.command.client_id), i + 1,
                commands[i].type, (unsigned long long)row->intended_ns,
                (unsigned long long)row->acked_ns, row->connection, row->outcome,
                (unsigned long long)row->seq, (unsigned long long)row->filled,
                (unsigned long long)row->remaining);
    }
    int bad = ferror(file);
    return fclose(file) != 0 || bad ? -EIO : 0;
}

static int write_summary(FILE *file, uint32_t count, const run_result *result)
{
    const baton_histogram *latency = result->latency;
    fprintf(
        file,
        "{\"commands\":%u,\"sent\":%u,\"acked\":%u,\"unacked\":%u,\"resent\":%u,\"conflicts\":%u,"
        "\"refused\":%u,\"connections\":%u,\"fills\":%llu,\"gap_ms\":%.3f,\"seconds\":%.3f,"
        "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p99_9_us\":%.1f,\"max_us\":%.1f}\n",
        count, result->sent, result->acked, result->sent - result->acked, result->resent,
        result->conflicts, result->refused, result->connections, (unsigned long long)result->fills,
        (double)result->gap_ns / 1e6, (double)result->elapsed_ns / 1e9,
        (double)baton_histogram_quantile(latency, 0.5) / 1e3,
        (double)baton_histogram_quantile(latency, 0.99) / 1e3,
        (double)baton_histogram_quantile(latency, 0.999) / 1e3,
        (double)baton_histogram_max(latency) / 1e3);
    return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}

static int write_results(const load_options *options, const load_command *commands, uint32_t count,
                         const run_result *result)
{
    int r = options->acks_out ? write_acks(options->acks_out, commands, result) : 0;
    if (r < 0)
        fprintf(stderr, "baton: write %s: %s: choose another place\n", options->acks_out,
                baton_status_text(r));
    bool to_stdout = !options->json || strcmp(options->json, "-") == 0;
    FILE *json = to_stdout ? stdout : fopen(options->json, "we");
    int summary = json ? write_summary(json, count, result) : -errno;
    if (json && !to_stdout && fclose(json) != 0)
        summary = -EIO;
    if (summary < 0)
        fprintf(stderr, "baton: write the summary: %s: choose another place\n",
                baton_status_text(summary));
    return r < 0 ? r : summary;
}

static void fail(const baton_error *error)
{
    char text[1200];
    fprintf(stderr, "baton: %s\n", baton_error_text(error, text, sizeof(text)));
}

int main(int argc, char **argv)
{
    load_options options = {
        .stream = {.commands = 100000, .rate = 10000, .clients = 64, .seed = 1, .compression = 1},
        .give_up_s = 60};
    if (!parse_options(argc, argv, &options))
        return 1;
    struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);

    baton_error error = {0};
    load_command *commands = NULL;
    uint32_t count = 0;
    int r = options.stream.lobster ? stream_read_lobster(&options.stream, &commands, &count, &error)
                                   : stream_generate(&options.stream, &commands, &count, &error);
    if (r < 0) {
        fail(&error);
        return 1;
    }
    run_options run = {.address = options.address,
                       .commands = commands,
                       .count = count,
                       .give_up_ns = (uint64_t)(options.give_up_s * 1e9),
                       .progress = isatty(STDERR_FILENO) == 1,
                       .stop = &stop_requested};
    run_result result;
    r = load_run(&run, &result, &error);
    if (r < 0)
        fail(&error);
    int written =
        result.latency && result.results ? write_results(&options, commands, count, &result) : r;
    bool clean = r == 0 && written == 0 && result.acked == result.sent && result.conflicts == 0 &&
                 result.refused == 0;
    baton_histogram_destroy(result.latency);
    free(result.results);
    free(commands);
    return clean ? 0 : 1;
}
