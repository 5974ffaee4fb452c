/* exchange-replay: recorded order flow through the reference exchange's own book and ledger. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "examples/exchange/replay/csv.h"
#include "examples/exchange/replay/summary.h"

static const char help_text[] =
    "exchange-replay: recorded order flow through the reference exchange's book and ledger\n"
    "\n"
    "  exchange-replay lobster --messages FILE [--seed-book FILE] [--levels N] [--match]\n"
    "                          [--book-out FILE] [--fills-out FILE] [--arena] [-o json]\n"
    "  exchange-replay orders --orders FILE --balances FILE --out DIR [--arena] [-o json]\n"
    "  exchange-replay commands --commands FILE [--events-out FILE] [--book-out FILE]\n"
    "                           [--self-trade CHOICE] [-o json]\n"
    "\n"
    "lobster: order-by-order messages as LOBSTER publishes them, a line each:\n"
    "  time, type, order id, size, price, direction (1 buy, -1 sell: of the resting order)\n"
    "  --messages FILE   the messages; each is applied to the order id it names\n"
    "  --seed-book FILE  the book after the first message: ask price, ask size, bid price, bid\n"
    "                    size, and so on; its first row counts\n"
    "  --match           send each execution (type 4) as an opposite immediate-or-cancel order\n"
    "                    instead, and let the book choose the order that fills it\n"
    "  --book-out FILE   one row per message, the book after it, in the layout of the seed book\n"
    "  --levels N        levels in a row of --book-out (1 to 10000, default 10); the book itself\n"
    "                    always keeps all\n"
    "  --fills-out FILE  one row per fill: message number from 1, resting order id, price, size;\n"
    "                    ids from 1000000000000000000 on are the seed book's\n"
    "\n"
    "orders: limit orders of accounts with balances\n"
    "  --orders FILE     order_id,user_id,side,price,qty, or with place or cancel before side\n"
    "  --balances FILE   user_id,asset_id,avail,frozen,version: asset 1 is bought with asset 2\n"
    "  --out DIR         orderbook.csv, events.csv and balances.csv go there\n"
    "\n"
    "commands: orders and what becomes of them, in the columns of exchange-core's streams\n"
    "  --commands FILE   phase,command,order_id,symbol,price,size,action,order_type,uid; command "
    "is\n"
    "                    PLACE_ORDER, CANCEL_ORDER, REDUCE_ORDER, MOVE_ORDER or REPLACE_ORDER,\n"
    "                    order_type GTC, IOC, FOK, FOK_BUDGET, MARKET, MARKET_FOK or POST_ONLY\n"
    "  --events-out FILE what each did: number from 1, then traded, gone, done or refused\n"
    "  --book-out FILE   symbol,side,price,order id,uid,remaining,filled of what rests at the end\n"
    "  --self-trade CHOICE  allow (default), cancel-resting or cancel-taking\n"
    "\n"
    "--arena keeps the book in a Baton arena, as the matching engine does; the results are the "
    "same.\n"
    "A header line is optional, FILE may be a pipe or - for standard input. -o json prints the\n"
    "summary as one JSON object, -o text (the default) as lines.\n"
    "\n"
    "Exit codes: 0 done, 1 an error, named on standard error; then no result file was changed.\n"
    "\n"
    "Examples:\n"
    "  exchange-replay lobster --messages messages.csv --seed-book seed.csv --book-out book.csv\n"
    "  zcat messages.csv.gz | exchange-replay lobster --messages - --match --fills-out fills.csv\n"
    "  exchange-replay orders --orders orders.csv --balances balances_init.csv --out results\n";

enum {
    OPTION_MESSAGES = 256,
    OPTION_SEED_BOOK,
    OPTION_LEVELS,
    OPTION_MATCH,
    OPTION_BOOK_OUT,
    OPTION_FILLS_OUT,
    OPTION_ORDERS,
    OPTION_BALANCES,
    OPTION_OUT,
    OPTION_COMMANDS,
    OPTION_EVENTS_OUT,
    OPTION_SELF_TRADE,
    OPTION_ARENA,
    OPTION_HELP = 'h',
    OPTION_FORM = 'o',
};

static const struct option lobster_flags[] = {
    {"messages", required_argument, NULL, OPTION_MESSAGES},
    {"seed-book", required_argument, NULL, OPTION_SEED_BOOK},
    {"levels", required_argument, NULL, OPTION_LEVELS},
    {"match", no_argument, NULL, OPTION_MATCH},
    {"book-out", required_argument, NULL, OPTION_BOOK_OUT},
    {"fills-out", required_argument, NULL, OPTION_FILLS_OUT},
    {"arena", no_argument, NULL, OPTION_ARENA},
    {"output", required_argument, NULL, OPTION_FORM},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static const struct option orders_flags[] = {
    {"orders", required_argument, NULL, OPTION_ORDERS},
    {"balances", required_argument, NULL, OPTION_BALANCES},
    {"out", required_argument, NULL, OPTION_OUT},
    {"arena", no_argument, NULL, OPTION_ARENA},
    {"output", required_argument, NULL, OPTION_FORM},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static const struct option commands_flags[] = {
    {"commands", required_argument, NULL, OPTION_COMMANDS},
    {"events-out", required_argument, NULL, OPTION_EVENTS_OUT},
    {"book-out", required_argument, NULL, OPTION_BOOK_OUT},
    {"self-trade", required_argument, NULL, OPTION_SELF_TRADE},
    {"output", required_argument, NULL, OPTION_FORM},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

typedef struct {
    lobster_options lobster;
    orders_options orders;
    commands_options commands;
    summary_form form;
    bool help;
} arguments;

static int report(const baton_error *error)
{
    char text[1200];
    fprintf(stderr, "baton: %s\n", baton_error_text(error, text, sizeof(text)));
    return 1;
}

static int usage(baton_error *error, const char *what, const char *why)
{
    return baton_error_set(error, BATON_E_INVALID, what, why, "see exchange-replay --help");
}

static int read_form(const char *text, summary_form *ret_form, baton_error *error)
{
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "text") != 0)
        return usage(error, "read -o", "it takes json or text");
    *ret_form = json ? SUMMARY_JSON : SUMMARY_TEXT;
    return 0;
}

static int read_levels(const char *text, uint32_t *ret_levels, baton_error *error)
{
    uint64_t value;
    if (!csv_u64(text, &value) || value < 1 || value > LOBSTER_LEVELS_MAX)
        return usage(error, "read --levels", "it takes a number from 1 to 10000");
    *ret_levels = (uint32_t)value;
    return 0;
}

static int read_self_trade(const char *text, book_self_trade *ret_choice, baton_error *error)
{
    static const char *const names[] = {"allow", "cancel-resting", "cancel-taking"};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_choice = (book_self_trade)i; /* in the order of the numbers */
            return 0;
        }
    }
    return usage(error, "read --self-trade", "it takes allow, cancel-resting or cancel-taking");
}

static int take_option(arguments *taken, int option, baton_error *error)
{
    switch (option) {
    case OPTION_MESSAGES:
        taken->lobster.messages_path = optarg;
        return 0;
    case OPTION_SEED_BOOK:
        taken->lobster.seed_path = optarg;
        return 0;
    case OPTION_LEVELS:
        return read_levels(optarg, &taken->lobster.levels, error);
    case OPTION_MATCH:
        taken->lobster.mode = LOBSTER_MATCH;
        return 0;
    case OPTION_BOOK_OUT:
        taken->lobster.book_path = optarg;
        taken->commands.book_path = optarg;
        return 0;
    case OPTION_FILLS_OUT:
        taken->lobster.fills_path = optarg;
        return 0;
    case OPTION_ORDERS:
        taken->orders.orders_path = optarg;
        return 0;
    case OPTION_BALANCES:
        taken->orders.balances_path = optarg;
        return 0;
    case OPTION_OUT:
        taken->orders.out_path = optarg;
        return 0;
    case OPTION_COMMANDS:
        taken->commands.commands_path = optarg;
        return 0;
    case OPTION_EVENTS_OUT:
        taken->commands.events_path = optarg;
        return 0;
    case OPTION_SELF_TRADE:
        return read_self_trade(optarg, &taken->commands.self_trade, error);
    case OPTION_ARENA:
        taken->lobster.memory = REPLAY_ARENA;
        taken->orders.memory = REPLAY_ARENA;
        return 0;
    case OPTION_FORM:
        return read_form(optarg, &taken->form, error);
    case OPTION_HELP:
        taken->help = true;
        return 0;
    }
    return BATON_E_INVALID;
}

static int read_options(int argc, char **argv, const struct option *flags, arguments *taken,
                        baton_error *error)
{
    opterr = 0; /* errors are worded here */
    for (;;) {
        int at = optind;
        int option = getopt_long(argc, argv, ":ho:", flags, NULL);
        if (option == -1)
            break;
        if (option == '?' || option == ':')
            return usage(error, argv[at < argc ? at : argc - 1],
                         option == ':' ? "the option needs a value" : "no such option");
        int r = take_option(taken, option, error);
        if (r < 0)
            return r;
    }
    return optind < argc ? usage(error, argv[optind], "not expected here") : 0;
}

static int print_help(void)
{
    fputs(help_text, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int printed(int r, baton_error *error)
{
    if (r == 0)
        return 0;
    baton_error_set(error, r, "print the summary", baton_status_text(r),
                    "the result files are complete; check standard output");
    return report(error);
}

static int run_lobster(const arguments *taken, baton_error *error)
{
    if (!taken->lobster.messages_path) {
        usage(error, "replay LOBSTER messages", "--messages is missing");
        return report(error);
    }
    lobster_summary summary;
    if (lobster_run(&taken->lobster, &summary, error) < 0)
        return report(error);
    return printed(summary_lobster(&summary, taken->form), error);
}

static int run_orders(const arguments *taken, baton_error *error)
{
    if (!taken->orders.orders_path || !taken->orders.balances_path || !taken->orders.out_path) {
        usage(error, "replay orders", "one of --orders, --balances and --out is missing");
        return report(error);
    }
    orders_summary summary;
    if (orders_run(&taken->orders, &summary, error) < 0)
        return report(error);
    return printed(summary_orders(&summary, taken->form), error);
}

static int run_commands(const arguments *taken, baton_error *error)
{
    if (!taken->commands.commands_path) {
        usage(error, "replay commands", "--commands is missing");
        return report(error);
    }
    commands_summary summary;
    if (commands_run(&taken->commands, &summary, error) < 0)
        return report(error);
    return printed(summary_commands(&summary, taken->form), error);
}

/* The first argument. */
static const struct {
    const char *name;
    const struct option *flags;
    int (*run)(const arguments *taken, baton_error *error);
} ways[] = {
    {"lobster", lobster_flags, run_lobster},
    {"orders", orders_flags, run_orders},
    {"commands", commands_flags, run_commands},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    baton_error error = {0};
    arguments taken = {.lobster = {.levels = 10}};

    const char *command = argc > 1 ? argv[1] : "";
    size_t way = 0;
    while (way < WAYS && strcmp(command, ways[way].name) != 0)
        way++;
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
        return print_help();
    if (way == WAYS) {
        usage(&error, argc > 1 ? command : "exchange-replay",
              "the first argument must be lobster, orders or commands");
        return report(&error);
    }
    if (read_options(argc - 1, argv + 1, ways[way].flags, &taken, &error) < 0)
        return report(&error);
    if (taken.help)
        return print_help();
    return ways[way].run(&taken, &error);
}
