/* market-data: what everybody may know of the matching engine's books, as a numbered stream. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <baton/log.h>
#include <baton/standard_fds.h>

#include "examples/exchange/market-data/multicast.h"
#include "examples/exchange/market-data/subscribers.h"
#include "examples/exchange/wire/plain_loop.h"

static const char usage[] =
    "Usage: market-data --dir DIR --from ADDRESS --listen ADDRESS [options]\n"
    "\n"
    "Takes what the matching engine reports, once each, and tells everybody the trades, the prices "
    "at which\n"
    "orders rest, and the best of them: messages numbered from 1, kept in DIR (a Baton journal), "
    "by "
    "UDP and TCP.\n"
    "A number stands for one message for good, whoever is killed or replaced.\n"
    "\n"
    "  --dir DIR             the stream so far; made when it is not there\n"
    "  --from ADDRESS        the matching engine's --feed: unix:PATH or tcp:HOST:PORT\n"
    "  --listen ADDRESS      for clients: snapshots, the stream, gaps\n"
    "  --multicast HOST:PORT also by UDP multicast over loopback (default: no)\n"
    "  --port-file FILE      where clients connect is written there\n"
    "\n"
    "The matching engine runs with --outbox market-data, and keeps what is not confirmed: begin "
    "with an empty\n"
    "DIR only when it begins, too. SIGTERM ends it; exit code 0 then, 1 when it had to stop.\n"
    "\n"
    "Examples:\n"
    "  market-data --dir md --from unix:/run/me.feed --listen tcp:127.0.0.1:7460 --multicast "
    "239.7.7.7:7461\n"
    "  baton journal verify md\n";

enum { TURN_MS = 10 };

typedef struct {
    const char *directory;
    const char *from;
    const char *listen;
    const char *multicast;
    const char *port_file;
} market_options;

typedef struct {
    stream *stream;
    plain_loop *loop;
    wire_link link;
    multicast multicast;
    subscribers *subscribers;
} market;

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = 1;
}

static void on_journal(void *context, int fd, uint32_t events)
{
    (void)context; /* the turn looks */
    (void)fd;
    (void)events;
}

static int start(market *own, const market_options *options, baton_error *error)
{
    int r = stream_open(options->directory, &own->stream, error);
    if (r < 0)
        return r;
    r = plain_loop_create(&own->loop);
    const wire_loop loop = r == 0 ? plain_loop_of(own->loop) : (wire_loop){0};
    if (r == 0)
        r = loop_watch(&loop, stream_fd(own->stream), EPOLLIN, on_journal, own);
    if (r < 0)
        return baton_error_set(error, r, "start", NULL, "free some memory");
    r = multicast_open(&own->multicast, options->multicast, own->stream, error);
    if (r < 0)
        return r;
    const subscribers_options doors = {.stream = own->stream,
                                       .loop = loop,
                                       .address = options->listen,
                                       .port_file = options->port_file};
    r = subscribers_open(&doors, &own->subscribers, error);
    if (r < 0)
        return r;
    const link_options link = {.name = "matching-engine",
                               .address = options->from,
                               .consumer = EXCHANGE_MARKET_DATA,
                               .take = stream_take,
                               .owner = own->stream};
    link_start(&own->link, &link, loop);
    return 0;
}

static int turn(market *own)
{
    exchange_key key;
    uint64_t within_ms = stream_within_ns(own->stream) / 1000000;
    int r = plain_loop_turn(own->loop, within_ms < TURN_MS ? (int)within_ms : TURN_MS);
    if (r == 0)
        r = stream_turn(own->stream);
    if (r < 0)
        return r;
    if (stream_confirmed(own->stream, &key))
        link_confirm(&own->link, &key);
    link_turn(&own->link);
    multicast_turn(&own->multicast, own->stream, baton_clock_monotonic_ns(baton_clock_system()));
    subscribers_turn(own->subscribers);
    return link_is_stopped(&own->link) ? BATON_E_REFUSED : 0;
}

static int serve(market *own, baton_error *error)
{
    int r = 0;
    baton_log(INFO, "market_data.ready",
              BATON_LOG_TEXT("listen", subscribers_address(own->subscribers)),
              BATON_LOG_NUMBER("messages", stream_durable(own->stream)));
    while (!stop_requested && r == 0)
        r = turn(own);
    link_stop(&own->link);
    if (r == BATON_E_REFUSED)
        return baton_error_set(error, r, "take what the matching engine reports",
                               "see the line before", "mend that, then start again");
    if (r < 0)
        return baton_error_set(error, r, "go on", NULL, "see to the disk, then start again");
    return 0;
}

static void end(market *own)
{
    subscribers_close(own->subscribers);
    if (own->stream)
        multicast_close(&own->multicast);
    stream_close(own->stream);
    plain_loop_destroy(own->loop);
}

static bool parse_options(int argc, char **argv, market_options *options)
{
    static const struct option known[] = {{"dir", required_argument, NULL, 'd'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"multicast", required_argument, NULL, 'm'},
                                          {"port-file", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        const char **place = option == 'd'   ? &options->directory
                             : option == 'f' ? &options->from
                             : option == 'l' ? &options->listen
                             : option == 'm' ? &options->multicast
                             : option == 'p' ? &options->port_file
                                             : NULL;
        if (!place)
            return false;
        *place = optarg;
    }
    const char *missing = !options->directory ? "--dir"
                          : !options->from    ? "--from"
                          : !options->listen  ? "--listen"
                                              : NULL;
    if (missing)
        fprintf(stderr, "baton: %s: missing: see --help\n", missing);
    else if (optind < argc)
        fprintf(stderr, "baton: '%s': not known here: see --help\n", argv[optind]);
    return !missing && optind == argc;
}

int main(int argc, char **argv)
{
    baton_standard_fds_keep();
    market_options options = {.multicast = "", .port_file = ""};
    if (!parse_options(argc, argv, &options))
        return 1;
    const struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);
    int log_fd = STDERR_FILENO;
    baton_log_set_sink(baton_log_to_fd, &log_fd, BATON_LOG_INFO);

    baton_error error = {0};
    char text[1200];
    market own = {.multicast = {.fd = -1}};
    int r = start(&own, &options, &error);
    if (r == 0)
        r = serve(&own, &error);
    end(&own);
    if (r < 0)
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    return r < 0 ? 1 : 0;
}
