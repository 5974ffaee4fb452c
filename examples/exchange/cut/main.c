/* exchange-cut: the program. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>
#include <baton/standard_fds.h>

#include "examples/exchange/cut/cut.h"

static const char usage[] =
    "Usage: exchange-cut take --orders ADDRESS --out CUT PROGRAM DIR [OPTIONS] -- PROGRAM DIR ... "
    "-- "
    "PROGRAM DIR ...\n"
    "       exchange-cut verify CUT [--load]\n"
    "       exchange-cut restore CUT --to DIR\n"
    "       exchange-cut reconcile --accounts ADDRESS\n"
    "\n"
    "A consistent cut of the exchange: the states of order service, risk engine and matching "
    "engine at one "
    "point.\n"
    "take sends a barrier through all three, and writes each one's state at the entry that the "
    "barrier is "
    "there,\n"
    "out of its journal, beside the running service. The three are named in that order, each with "
    "its program, "
    "the\n"
    "directory that it runs in, and the options that its data needs (--outbox, --pairs, ...). CUT "
    "is complete "
    "or\n"
    "absent. restore makes DIR/order-service, DIR/risk-engine and DIR/matching-engine, and says "
    "how to start "
    "them.\n"
    "reconcile asks the risk engine to add up everything; exit code 1 when a unit is not where it "
    "must be.\n"
    "\n"
    "  --orders ADDRESS    the order service's --listen: unix:PATH or tcp:HOST:PORT\n"
    "  --accounts ADDRESS  the risk engine's --listen\n"
    "  --out CUT           a new directory\n"
    "  --id N              of the barrier, above all before (default: the clock)\n"
    "  --wait S            for an answer (default 60)\n"
    "  --to DIR            restore: made when missing\n"
    "  --load              verify: the programs read their states, too, and compare the digests\n"
    "  --output FORMAT     -o: text or json (default text)\n"
    "  --help\n"
    "\n"
    "Examples:\n"
    "  exchange-cut take --orders unix:/run/orders --out cuts/monday order-service /var/lib/orders "
    "\\\n"
    "      -- risk-engine /var/lib/risk --pairs 1/2/100 \\\n"
    "      -- matching-engine-1.1.0 /var/lib/matching --outbox order-service,risk-engine\n"
    "  exchange-cut verify cuts/monday --load\n"
    "  exchange-cut restore cuts/monday --to /var/lib/restored\n"
    "  exchange-cut reconcile --accounts unix:/run/accounts\n";

typedef struct {
    take_options take;
    const char *accounts;
    const char *to;
    bool load;
    bool json;
} options;

static const struct option known[] = {
    {"orders", required_argument, NULL, 'r'}, {"accounts", required_argument, NULL, 'a'},
    {"out", required_argument, NULL, 'u'},    {"id", required_argument, NULL, 'i'},
    {"wait", required_argument, NULL, 'w'},   {"to", required_argument, NULL, 't'},
    {"load", no_argument, NULL, 'l'},         {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(text, &end, 10);
    const bool good =
        text[0] >= '0' && text[0] <= '9' && *end == '\0' && *ret_number > 0 && *ret_number <= max;
    if (!good)
        fprintf(stderr, "baton: '%s': out of its range: see --help\n", text);
    return good;
}

static bool take_option(options *own, int option)
{
    uint64_t number = 0;
    switch (option) {
    case 'r':
        own->take.orders = optarg;
        return true;
    case 'a':
        own->accounts = optarg;
        return true;
    case 'u':
        own->take.directory = optarg;
        return true;
    case 'i':
        return parse_number(optarg, INT64_MAX, &own->take.id);
    case 'w':
        if (!parse_number(optarg, 86400, &number))
            return false;
        own->take.wait_s = (unsigned)number;
        return true;
    case 't':
        own->to = optarg;
        return true;
    case 'l':
        own->load = true;
        return true;
    case 'o':
        own->json = strcmp(optarg, "json") == 0;
        if (!own->json && strcmp(optarg, "text") != 0)
            fprintf(stderr, "baton: '%s': text or json\n", optarg);
        return own->json || strcmp(optarg, "text") == 0;
    default:
        return false;
    }
}

/* ---- take ---- */

/* PROGRAM DIR OPTIONS..., as far as the next "--". The number of arguments that it was, or 0: it is none. */
static int parse_part(char **arguments, int count, cut_part *part)
{
    int used = 2;
    if (count < 2 || strcmp(arguments[0], "--") == 0 || strcmp(arguments[1], "--") == 0)
        return 0;
    part->program = arguments[0];
    part->directory = arguments[1];
    for (; used < count && strcmp(arguments[used], "--") != 0; used++) {
        if (part->options_count == CUT_OPTIONS_MAX)
            return 0;
        part->options[part->options_count++] = arguments[used];
    }
    return used;
}

static bool parse_parts(char **arguments, int count, cut *own)
{
    for (int i = 0; i < CUT_PARTS; i++) {
        const int used = parse_part(arguments, count, &own->parts[i]);
        if (used == 0 || (i + 1 < CUT_PARTS) != (used < count))
            return false;
        arguments += used + 1;
        count -= used + 1;
    }
    return true;
}

/* ---- answers ---- */

static int print_json(json_t *text)
{
    const bool good = text != NULL && json_dumpf(text, stdout, JSON_INDENT(2)) == 0 &&
                      fputc('\n', stdout) != EOF && fflush(stdout) == 0;
    json_decref(text);
    return good ? 0 : -1;
}

static int print_cut(const options *own, const cut *done, const char *what)
{
    if (own->json)
        return print_json(cut_describe(done));
    printf("%s, barrier %" PRIu64 "\n", what, done->id);
    for (uint32_t i = 0; i < CUT_PARTS; i++) {
        const baton_snapshot_info *info = &done->parts[i].info;
        char state[BATON_DIGEST_TEXT_BYTES], root[BATON_DIGEST_TEXT_BYTES];
        printf("%-16s seq %-12" PRIu64 " state %s  root %s\n", cut_names[i], info->seq,
               baton_digest_text(info->state_digest, state), baton_digest_text(info->root, root));
    }
    return fflush(stdout) == 0 ? 0 : -1;
}

static int print_starts(const options *own, const cut *done)
{
    if (print_cut(own, done, own->to) < 0 || own->json)
        return own->json ? 0 : -1;
    puts("start them with their sockets, in any order:");
    for (uint32_t i = 0; i < CUT_PARTS; i++) {
        const cut_part *part = &done->parts[i];
        char root[BATON_DIGEST_TEXT_BYTES];
        printf("  %s run --dir %s/%s --trust-root %s", part->program, own->to, cut_names[i],
               baton_digest_text(part->info.root, root));
        for (uint32_t k = 0; k < part->options_count; k++)
            printf(" %s", part->options[k]);
        puts(" ...");
    }
    return fflush(stdout) == 0 ? 0 : -1;
}

static int reconcile(const options *own, baton_error *error)
{
    exchange_reconciled told;
    int r = ask_reconcile(own->accounts, own->take.wait_s, &told, error);
    if (r < 0)
        return r;
    const uint64_t anomalies = baton_le64_get(told.anomalies);
    if (own->json)
        r = print_json(json_pack(
            "{s:I, s:I, s:I, s:I}", "seq", (json_int_t)baton_le64_get(told.seq), "anomalies",
            (json_int_t)anomalies, "accounts", (json_int_t)baton_le64_get(told.accounts_count),
            "orders", (json_int_t)baton_le64_get(told.orders_count)));
    else
        printf("%" PRIu64 " accounts, %" PRIu64 " open orders, %" PRIu64
               " anomalies at seq %" PRIu64 "\n",
               baton_le64_get(told.accounts_count), baton_le64_get(told.orders_count), anomalies,
               baton_le64_get(told.seq));
    if (r == 0 && anomalies > 0)
        r = baton_error_set(error, BATON_E_DIVERGED, "reconcile",
                            "units are not where they must be",
                            "see the risk engine's log: risk_engine.reconciliation_anomaly");
    return r;
}

/* ---- dispatch ---- */

static int missing(const char *what)
{
    fprintf(stderr, "baton: %s: missing, or too much of it: see --help\n", what);
    return 1;
}

static int act(const options *own, const char *verb, char **arguments, int count, cut *done,
               baton_error *error)
{
    if (strcmp(verb, "take") == 0) {
        if (own->take.orders == NULL || own->take.directory == NULL ||
            !parse_parts(arguments, count, done))
            return missing("--orders, --out, or PROGRAM DIR of three services");
        int r = cut_take(&own->take, done, error);
        return r < 0 ? r : print_cut(own, done, own->take.directory);
    }
    if (strcmp(verb, "reconcile") == 0) {
        if (own->accounts == NULL || count != 0)
            return missing("--accounts");
        return reconcile(own, error);
    }
    if (count != 1)
        return missing("CUT");
    if (strcmp(verb, "verify") == 0) {
        int r = cut_verify(arguments[0], own->load, done, error);
        return r < 0 ? r : print_cut(own, done, arguments[0]);
    }
    if (own->to == NULL)
        return missing("--to");
    int r = cut_restore(arguments[0], own->to, done, error);
    return r < 0 ? r : print_starts(own, done);
}

static bool is_verb(const char *text)
{
    return strcmp(text, "take") == 0 || strcmp(text, "verify") == 0 ||
           strcmp(text, "restore") == 0 || strcmp(text, "reconcile") == 0;
}

/* -1: no such option; 0: all are read; 1: --help. take has programs' options behind its own: its words begin at
 * the first that is no option. The others have one word at most, before or between them. */
static int parse(int argc, char **argv, options *own, char **ret_word)
{
    const bool takes = strcmp(argv[1], "take") == 0;
    optind = 2;
    for (;;) {
        const int option = getopt_long(argc, argv, "+o:", known, NULL);
        if (option == 'h')
            return 1;
        if (option == -1 && (takes || optind == argc))
            return 0;
        if (option == -1 && *ret_word != NULL)
            return -missing("CUT");
        if (option == -1)
            *ret_word = argv[optind++];
        else if (!take_option(own, option))
            return -1;
    }
}

static int run(int argc, char **argv)
{
    options own = {.take = {.wait_s = 60}};
    cut done = {0};
    baton_error error = {.offset = UINT64_MAX};
    char text[1200];
    char *word = NULL;
    int r = parse(argc, argv, &own, &word);
    if (r == 1)
        fputs(usage, stdout);
    if (r != 0)
        return r == 1 && fflush(stdout) == 0 ? 0 : 1;
    const bool takes = strcmp(argv[1], "take") == 0;
    r = act(&own, argv[1], takes ? argv + optind : &word, takes ? argc - optind : word != NULL,
            &done, &error);
    if (r < 0 && error.status != 0)
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    cut_close(&done);
    return r == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    baton_standard_fds_keep();
    if (argc >= 2 && is_verb(argv[1]))
        return run(argc, argv);
    const bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fputs(usage, asked ? stdout : stderr);
    return asked && fflush(stdout) == 0 ? 0 : 1;
}
