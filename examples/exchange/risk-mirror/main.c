/* risk-mirror: exposures, PnL and kill switches of the risk engine in Redis, each change exactly once. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <baton/log.h>
#include <baton/standard_fds.h>

#include "examples/exchange/risk-mirror/mirror.h"
#include "examples/exchange/risk-mirror/store.h"

static const char usage[] =
    "Usage: risk-mirror --redis ADDRESS --from ADDRESS [--key-version V] [--resync] [--check]\n"
    "       risk-mirror flush --redis ADDRESS --key-version V\n"
    "\n"
    "Takes what the risk engine tells of exposures, PnL and kill switches and keeps it in Redis, "
    "each\n"
    "change exactly once: the increments and how far they reach are one script, and only then the "
    "risk\n"
    "engine is told. So kill -9 at any moment loses nothing and doubles nothing, on either side.\n"
    "\n"
    "  --redis ADDRESS   unix:PATH or tcp:HOST:PORT\n"
    "  --from ADDRESS    the risk engine's --feed, as above\n"
    "  --key-version V   the first part of every key, letters, digits and .-_ (default: v1)\n"
    "  --resync          a key version that is empty, or has missed something, is flushed and "
    "fetched\n"
    "                    anew from the risk engine; without it that is an error\n"
    "  --check           compare all that is there with the risk engine, at the start and whenever "
    "Redis\n"
    "                    comes back\n"
    "\n"
    "  flush             remove the keys of one version, no others, without holding up Redis. End "
    "the\n"
    "                    mirror of that version first.\n"
    "\n"
    "Keys, all numbers whole: V:exposure:CLIENT (hash; SYMBOL:position, SYMBOL:open_buy, "
    "SYMBOL:open_sell),\n"
    "V:pnl:CLIENT (hash; SYMBOL: quote got less paid), V:kill_switch and V:kill_switch:CLIENT (1 "
    "or 0),\n"
    "V:position (hash; how far all that reaches).\n"
    "\n"
    "The risk engine runs with --outbox risk-mirror, and keeps what is not confirmed. While Redis "
    "is away\n"
    "the mirror waits, says so, and goes on by itself. SIGTERM ends it; exit code 0 then, 1 when "
    "it had to\n"
    "stop.\n"
    "\n"
    "Examples:\n"
    "  risk-mirror --redis unix:/run/redis.sock --from unix:/run/risk.feed\n"
    "  redis-cli -s /run/redis.sock HGET v1:exposure:7 0:position\n"
    "  redis-cli -s /run/redis.sock GET v1:kill_switch\n"
    "  risk-mirror --redis unix:/run/redis.sock --from unix:/run/risk.feed --key-version v2 "
    "--resync\n"
    "  risk-mirror flush --redis unix:/run/redis.sock --key-version v2\n";

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = 1;
}

static bool parse_options(int argc, char **argv, mirror_options *ret_options)
{
    static const struct option known[] = {{"redis", required_argument, NULL, 'd'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"key-version", required_argument, NULL, 'v'},
                                          {"resync", no_argument, NULL, 'r'},
                                          {"check", no_argument, NULL, 'c'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'd':
            ret_options->redis = optarg;
            break;
        case 'f':
            ret_options->from = optarg;
            break;
        case 'v':
            ret_options->version = optarg;
            break;
        case 'r':
            ret_options->resync = true;
            break;
        case 'c':
            ret_options->check = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            return false;
        }
    }
    return true;
}

/* What is given fits what is to be done. */
static bool check_options(const mirror_options *options, bool flushes, const char *rest)
{
    const char *missing = NULL;
    if (!options->redis)
        missing = "--redis";
    else if (!flushes && !options->from)
        missing = "--from";
    else if (!options->version)
        missing = "--key-version";
    if (missing)
        fprintf(stderr, "baton: %s: missing: see --help\n", missing);
    else if (rest)
        fprintf(stderr, "baton: '%s': not known here: see --help\n", rest);
    else if (!store_is_version(options->version))
        fprintf(stderr, "baton: --key-version: '%s' is none: up to %d letters, digits and .-_\n",
                options->version, STORE_VERSION_BYTES_MAX);
    else if (flushes && (options->from || options->resync || options->check))
        fprintf(stderr, "baton: flush: takes --redis and --key-version only: see --help\n");
    else
        return true;
    return false;
}

static int flush(const mirror_options *options, baton_error *error)
{
    const store_options wish = {
        .address = options->redis, .version = options->version, .stop = &stop_requested};
    uint64_t keys;
    store *own;
    int r = store_create(&wish, &own);
    if (r < 0)
        return baton_error_set(error, r, "start", NULL, "free some memory");
    if (store_flush(own, &keys) == STORE_DONE)
        printf("flushed %" PRIu64 " keys of %s\n", keys, options->version);
    else
        r = baton_error_set(error, BATON_E_REFUSED, options->redis, store_why(own),
                            "mend that, then flush again");
    store_destroy(own);
    return r;
}

int main(int argc, char **argv)
{
    baton_standard_fds_keep();
    mirror_options options = {.version = NULL};
    if (!parse_options(argc, argv, &options))
        return 1;
    const bool flushes = optind < argc && strcmp(argv[optind], "flush") == 0;
    optind += flushes;
    if (!flushes && !options.version)
        options.version = "v1";
    if (!check_options(&options, flushes, optind < argc ? argv[optind] : NULL))
        return 1;
    const struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);
    int log_fd = STDERR_FILENO;
    baton_log_set_sink(baton_log_to_fd, &log_fd, BATON_LOG_INFO);

    baton_error error = {0};
    char text[1200];
    int r = flushes ? flush(&options, &error) : mirror_run(&options, &stop_requested, &error);
    if (r < 0)
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    return r < 0 ? 1 : 0;
}
