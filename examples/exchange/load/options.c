#include "examples/exchange/load/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: exchange-load --connect ADDRESS [options]\n"
    "\n"
    "Sends orders to an exchange (its gateways), or to a matching engine alone, each when it is "
    "due, and measures\n"
    "from that moment to its ack. When a connection ends it connects again and resends what has "
    "no ack yet.\n"
    "\n"
    "Where to:\n"
    "  --connect ADDRESS     unix:PATH or tcp:HOST:PORT; again for each further gateway: "
    "connections begin spread\n"
    "                        over all, and go to the next when nobody answers\n"
    "  --connections N       so many, clients spread over them (default 1)\n"
    "  --deposit AMOUNT[:ASSET,...]  first pay in so much of each asset (default 1,2) for every "
    "client\n"
    "  --admin ADDRESS       deposits go there: a gateway's --admin, or the order service's "
    "--listen\n"
    "What:\n"
    "  --orders N            commands of the built-in generator (default 100000)\n"
    "  --rate R              of them a second, on average (default 10000)\n"
    "  --clients N           so many client ids (default 64)\n"
    "  --first-client ID     the first of them (default 1); a second load on one engine needs "
    "others\n"
    "  --seed S              of all that is random (default 1)\n"
    "  --mix NAME=PERCENT,...  shares of cancel, reduce, replace, ioc, gtd, market, fok, "
    "post-only;\n"
    "                        the rest are plain limit orders (default cancel=34,reduce=6,ioc=9,"
    "gtd=8)\n"
    "  --symbols N           several, interleaved (default 1)\n"
    "  --virtual-time        the stream tells the time (CLOCK commands; engine: --ticks client); "
    "one connection\n"
    "  --lobster FILE        recorded order flow instead of the generator\n"
    "  --seed-book FILE      with --lobster: the book to begin with\n"
    "  --messages-max N      with --lobster: only the first N messages\n"
    "  --time-compression X  with --lobster: X recorded seconds in one (default 1)\n"
    "  --symbol-shift S      with --lobster: the recording begins S recorded seconds later on "
    "each symbol\n"
    "                        (default 1)\n"
    "  --match               with --lobster: executions become opposite IOC orders\n"
    "How unkindly:\n"
    "  --storm SECONDS[:N]   about so often N connections (default all) end at once and come "
    "back at once,\n"
    "                        and N more that say nothing useful\n"
    "  --resend PERMILLE     send so many commands twice: the second answer must be the first\n"
    "  --slow-readers N      of the connections: they read a little now and then, and rest "
    "(told apart)\n"
    "  --ask-again SECONDS   send again what has no answer for so long (default 5 with --storm, "
    "else never)\n"
    "What is told:\n"
    "  --acks-out FILE       one CSV row a command: what it was, when due, when acked, how it "
    "ended\n"
    "  --clients-out FILE    one CSV row a client: commands, and what it traded by ACKs and by "
    "FILLs\n"
    "  --hgrm FILE           the latencies as HdrHistogram prints them, in microseconds\n"
    "  --timeline FILE       CSV: in each window how many were due, sent and acked, and p50, p99 "
    "and max of\n"
    "                        those that were due; connections lost and made, storms, marks\n"
    "  --timeline-svg FILE   the same as a picture\n"
    "  --timeline-window SECONDS  (default 0.1)\n"
    "  --mark-file FILE      each line that somebody appends to it is a mark; so is SIGUSR1\n"
    "  --json FILE           the summary as one JSON object; - for standard output\n"
    "  --progress            a line a second, also when standard error is no terminal\n"
    "  --give-up SECONDS     end when there is no answer for so long (default 60)\n"
    "\n"
    "Exit code: 0 when every command was acked exactly once and applied, 1 otherwise. Ended by a "
    "signal:\n"
    "the same of every command sent until then.\n"
    "\n"
    "Examples:\n"
    "  exchange-load --connect unix:/run/me.sock --orders 50000 --rate 20000\n"
    "  exchange-load --connect tcp:127.0.0.1:7450 --lobster messages.csv --time-compression 600 "
    "--match\n"
    "  exchange-load --connect tcp:127.0.0.1:7441 --connect tcp:127.0.0.1:7443 --connections 50 "
    "\\\n"
    "      --admin unix:/run/orders.sock --deposit 1000000000000 --storm 10 --resend 20 "
    "--slow-readers 2\n"
    "  exchange-load --connect unix:/run/me.sock --hgrm load.hgrm --timeline-svg load.svg "
    "--mark-file marks\n";

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

/* From 1 on. */
static bool parse_count(const char *text, uint32_t max, uint32_t *ret_value)
{
    uint64_t value;
    if (!parse_uint(text, max, &value) || value == 0)
        return false;
    *ret_value = (uint32_t)value;
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

static bool parse_seconds(const char *text, uint64_t *ret_ns)
{
    double seconds;
    if (!parse_positive(text, &seconds))
        return false;
    *ret_ns = (uint64_t)(seconds * 1e9);
    return *ret_ns > 0;
}

/* AMOUNT[:ASSET,...] */
static bool parse_deposit(const char *text, stream_deposits *ret_deposits)
{
    char copy[512], *at = copy;
    uint64_t asset;
    if (strlen(text) >= sizeof(copy))
        return false;
    memcpy(copy, text, strlen(text) + 1);
    const char *amount = strsep(&at, ":");
    *ret_deposits = (stream_deposits){.assets = {1, 2}, .assets_count = at ? 0 : 2};
    for (char *one; (one = strsep(&at, ",")) != NULL;) {
        if (ret_deposits->assets_count == DEPOSIT_ASSETS_MAX ||
            !parse_uint(one, UINT32_MAX, &asset))
            return false;
        ret_deposits->assets[ret_deposits->assets_count++] = (uint32_t)asset;
    }
    return parse_uint(amount, INT64_MAX, &ret_deposits->amount) && ret_deposits->amount > 0;
}

/* SECONDS[:N] */
static bool parse_storm(const char *text, run_options *run)
{
    char copy[64], *at = copy;
    if (strlen(text) >= sizeof(copy))
        return false;
    memcpy(copy, text, strlen(text) + 1);
    const char *every = strsep(&at, ":");
    run->storm_count = 0; /* as many as there are connections */
    return parse_seconds(every, &run->storm_every_ns) &&
           (!at || parse_count(at, RUN_CONNECTIONS_MAX, &run->storm_count));
}

static bool add_address(load_options *options, const char *address)
{
    if (options->run.addresses_count == RUN_ADDRESSES_MAX)
        return false;
    options->addresses[options->run.addresses_count++] = address;
    return true;
}

#define CLIENTS_MAX 4000000u /* and twice that is a client id, too */

enum {
    OPTION_CONNECT = 256,
    OPTION_CONNECTIONS,
    OPTION_DEPOSIT,
    OPTION_ADMIN,
    OPTION_ORDERS,
    OPTION_RATE,
    OPTION_CLIENTS,
    OPTION_FIRST_CLIENT,
    OPTION_SEED,
    OPTION_MIX,
    OPTION_SYMBOLS,
    OPTION_VIRTUAL_TIME,
    OPTION_LOBSTER,
    OPTION_SEED_BOOK,
    OPTION_MESSAGES_MAX,
    OPTION_TIME_COMPRESSION,
    OPTION_SYMBOL_SHIFT,
    OPTION_MATCH,
    OPTION_STORM,
    OPTION_RESEND,
    OPTION_SLOW_READERS,
    OPTION_ASK_AGAIN,
    OPTION_ACKS_OUT,
    OPTION_CLIENTS_OUT,
    OPTION_JSON,
    OPTION_HGRM,
    OPTION_TIMELINE,
    OPTION_TIMELINE_SVG,
    OPTION_TIMELINE_WINDOW,
    OPTION_MARK_FILE,
    OPTION_PROGRESS,
    OPTION_GIVE_UP,
    OPTION_HELP,
};

static const struct option known[] = {
    {"connect", required_argument, NULL, OPTION_CONNECT},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"deposit", required_argument, NULL, OPTION_DEPOSIT},
    {"admin", required_argument, NULL, OPTION_ADMIN},
    {"orders", required_argument, NULL, OPTION_ORDERS},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"clients", required_argument, NULL, OPTION_CLIENTS},
    {"first-client", required_argument, NULL, OPTION_FIRST_CLIENT},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"mix", required_argument, NULL, OPTION_MIX},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"virtual-time", no_argument, NULL, OPTION_VIRTUAL_TIME},
    {"lobster", required_argument, NULL, OPTION_LOBSTER},
    {"seed-book", required_argument, NULL, OPTION_SEED_BOOK},
    {"messages-max", required_argument, NULL, OPTION_MESSAGES_MAX},
    {"time-compression", required_argument, NULL, OPTION_TIME_COMPRESSION},
    {"symbol-shift", required_argument, NULL, OPTION_SYMBOL_SHIFT},
    {"match", no_argument, NULL, OPTION_MATCH},
    {"storm", required_argument, NULL, OPTION_STORM},
    {"resend", required_argument, NULL, OPTION_RESEND},
    {"slow-readers", required_argument, NULL, OPTION_SLOW_READERS},
    {"ask-again", required_argument, NULL, OPTION_ASK_AGAIN},
    {"acks-out", required_argument, NULL, OPTION_ACKS_OUT},
    {"clients-out", required_argument, NULL, OPTION_CLIENTS_OUT},
    {"json", required_argument, NULL, OPTION_JSON},
    {"hgrm", required_argument, NULL, OPTION_HGRM},
    {"timeline", required_argument, NULL, OPTION_TIMELINE},
    {"timeline-svg", required_argument, NULL, OPTION_TIMELINE_SVG},
    {"timeline-window", required_argument, NULL, OPTION_TIMELINE_WINDOW},
    {"mark-file", required_argument, NULL, OPTION_MARK_FILE},
    {"progress", no_argument, NULL, OPTION_PROGRESS},
    {"give-up", required_argument, NULL, OPTION_GIVE_UP},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

/* The switch is four functions, so that each fits a screen: *ret_known says whether it was one of these. */
static bool take_stream_option(int option, const char *value, load_options *options,
                               bool *ret_known)
{
    stream_options *stream = &options->stream;
    uint64_t number = 0;
    bool good = true;
    *ret_known = true;
    switch (option) {
    case OPTION_DEPOSIT:
        return parse_deposit(value, &stream->deposits);
    case OPTION_ORDERS:
        good = parse_uint(value, LOAD_COMMANDS_MAX / 2, &number);
        stream->commands = (uint32_t)number;
        return good;
    case OPTION_RATE:
        return parse_positive(value, &stream->rate);
    case OPTION_CLIENTS:
        return parse_count(value, CLIENTS_MAX, &stream->clients);
    case OPTION_FIRST_CLIENT:
        good = parse_uint(value, CLIENTS_MAX, &number) && number > 0;
        stream->clients_before = (uint32_t)number - 1;
        return good;
    case OPTION_SEED:
        good = parse_uint(value, UINT64_MAX, &stream->seed);
        options->run.seed = stream->seed;
        return good;
    case OPTION_MIX:
        stream->mix = &options->mix;
        return stream_mix_parse(value, &options->mix);
    case OPTION_SYMBOLS:
        return parse_count(value, SYMBOLS_MAX, &stream->symbols);
    case OPTION_VIRTUAL_TIME:
        return stream->virtual_time = true;
    default:
        *ret_known = false;
        return true;
    }
}

static bool take_recorded_option(int option, const char *value, stream_options *stream,
                                 bool *ret_known)
{
    *ret_known = true;
    switch (option) {
    case OPTION_LOBSTER:
        stream->lobster = value;
        return true;
    case OPTION_SEED_BOOK:
        stream->seed_book = value;
        return true;
    case OPTION_MESSAGES_MAX: {
        uint64_t number = 0;
        const bool good = parse_uint(value, UINT32_MAX, &number);
        stream->messages_max = (uint32_t)number;
        return good;
    }
    case OPTION_TIME_COMPRESSION:
        return parse_positive(value, &stream->compression);
    case OPTION_SYMBOL_SHIFT:
        return parse_positive(value, &stream->symbol_shift_s);
    case OPTION_MATCH:
        return stream->match = true;
    default:
        *ret_known = false;
        return true;
    }
}

static bool take_run_option(int option, const char *value, load_options *options, bool *ret_known)
{
    run_options *run = &options->run;
    uint64_t number = 0;
    bool good;
    *ret_known = true;
    switch (option) {
    case OPTION_CONNECT:
        return add_address(options, value);
    case OPTION_CONNECTIONS:
        return parse_count(value, RUN_CONNECTIONS_MAX, &run->connections);
    case OPTION_ADMIN:
        run->admin = value;
        return true;
    case OPTION_STORM:
        return parse_storm(value, run);
    case OPTION_RESEND:
        good = parse_uint(value, 1000, &number);
        run->resend_permille = (uint32_t)number;
        return good;
    case OPTION_SLOW_READERS:
        good = parse_uint(value, RUN_CONNECTIONS_MAX, &number);
        run->slow_readers = (uint32_t)number;
        return good;
    case OPTION_ASK_AGAIN:
        return parse_seconds(value, &run->ask_again_ns);
    case OPTION_GIVE_UP:
        return parse_seconds(value, &run->give_up_ns);
    default:
        *ret_known = false;
        return true;
    }
}

static bool take_report_option(int option, const char *value, load_options *options)
{
    switch (option) {
    case OPTION_ACKS_OUT:
        options->acks_out = value;
        return true;
    case OPTION_CLIENTS_OUT:
        options->clients_out = value;
        return true;
    case OPTION_JSON:
        options->json = value;
        return true;
    case OPTION_HGRM:
        options->hgrm = value;
        return true;
    case OPTION_TIMELINE:
        options->timeline_csv = value;
        return true;
    case OPTION_TIMELINE_SVG:
        options->timeline_svg = value;
        return true;
    case OPTION_TIMELINE_WINDOW:
        return parse_seconds(value, &options->timeline_window_ns);
    case OPTION_MARK_FILE:
        options->run.mark_file = value;
        return true;
    case OPTION_PROGRESS:
        options->run.progress = PROGRESS_LINES;
        return true;
    default: /* getopt has said what is wrong */
        return false;
    }
}

static bool take_option(int option, const char *value, load_options *options)
{
    bool is_known;
    bool good = take_stream_option(option, value, options, &is_known);
    if (!is_known)
        good = take_recorded_option(option, value, &options->stream, &is_known);
    if (!is_known)
        good = take_run_option(option, value, options, &is_known);
    if (!is_known)
        good = take_report_option(option, value, options);
    if (!good && value)
        fprintf(stderr, "baton: '%s': out of its range: see --help\n", value);
    return good;
}

/* What does not go together. NULL: all is well. */
static const char *contradiction(const load_options *options)
{
    if (options->run.addresses_count == 0)
        return "--connect: missing";
    if (options->stream.virtual_time && options->run.connections > 1)
        return "--virtual-time: needs one connection, or the time comes out of order";
    if (options->run.slow_readers > options->run.connections)
        return "--slow-readers: more than --connections";
    return NULL;
}

int options_parse(int argc, char **argv, load_options *ret_options)
{
    *ret_options = (load_options){
        .stream = {.commands = 100000,
                   .rate = 10000,
                   .clients = 64,
                   .seed = 1,
                   .compression = 1,
                   .symbol_shift_s = 1},
        .run = {.connections = 1,
                .seed = 1,
                .give_up_ns = UINT64_C(60000000000),
                .progress = isatty(STDERR_FILENO) == 1 ? PROGRESS_TERMINAL : PROGRESS_NONE}};
    ret_options->timeline_window_ns = 100000000;
    ret_options->run.addresses = ret_options->addresses;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            fputs(usage, stdout);
            return 1;
        }
        if (!take_option(option, optarg, ret_options))
            return BATON_E_INVALID;
    }
    const char *wrong = contradiction(ret_options);
    if (wrong)
        fprintf(stderr, "baton: %s: see --help\n", wrong);
    else if (optind != argc)
        fprintf(stderr, "baton: '%s': unexpected: see --help\n", argv[optind]);
    if (wrong || optind != argc)
        return BATON_E_INVALID;
    run_options *run = &ret_options->run;
    if (run->storm_every_ns != 0 && run->storm_count == 0)
        run->storm_count = run->connections;
    if (run->storm_every_ns != 0 && run->ask_again_ns == 0)
        run->ask_again_ns = UINT64_C(5000000000);
    return 0;
}
