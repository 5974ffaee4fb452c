/* The gateway: the program. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>
#include <baton/standard_fds.h>

#include "examples/exchange/gateway/gateway.h"
#include "examples/exchange/gateway/http.h"
#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/plain_loop.h"

static const char usage[] =
    "Usage: gateway --orders ADDRESS [options]\n"
    "\n"
    "Between clients and the order service: keeps clients connected while the order service is "
    "away, "
    "sends\n"
    "again what has no answer, and tells each client each answer once. It remembers nothing that "
    "must "
    "survive:\n"
    "run as many as you like; a client whose gateway is gone goes to another and sends again.\n"
    "\n"
    "  --orders ADDRESS      the order service's --listen: unix:PATH or tcp:HOST:PORT\n"
    "  --listen ADDRESS      for clients, port 0 picks one (default tcp:127.0.0.1:7441)\n"
    "  --admin ADDRESS       for operators: money in and out, kill switch, limits; unix:PATH (this "
    "user "
    "and root)\n"
    "                        or tcp: on loopback (default none: refused everywhere)\n"
    "  --http ADDRESS        for GET /health and /metrics; none: no HTTP (default none)\n"
    "  --port-file FILE      write the addresses in use here, one a line: clients, then HTTP and "
    "admin\n"
    "                        if there are\n"
    "  --clients-max N       client ids remembered; then the one idle for longest is forgotten\n"
    "                        (default 65536)\n"
    "  --open-max N          commands without an answer, of all clients; then clients wait\n"
    "                        (default 65536)\n"
    "  --ask-again S         send again what has no answer for so many seconds (default 5)\n"
    "  --drain-deadline S    at SIGTERM wait so many seconds for open answers (default 5)\n"
    "  --version, --help\n"
    "\n"
    "SIGTERM or SIGINT takes nothing more in, waits for the answers to what is open, and exits "
    "with 0.\n"
    "\n"
    "Examples:\n"
    "  gateway --orders tcp:127.0.0.1:7451 --listen tcp:127.0.0.1:7441 --http tcp:127.0.0.1:7442\n"
    "  gateway --orders unix:/run/orders.sock --listen unix:/run/gateway.sock --admin "
    "unix:/run/admin.sock\n"
    "  exchange-load --connect tcp:127.0.0.1:7441 --orders 50000 --rate 5000\n"
    "  curl http://127.0.0.1:7442/health\n";

enum { TURN_MS = 10 };
#define SECOND_NS UINT64_C(1000000000)

typedef struct {
    gateway_options gateway;
    const char *http;
    const char *port_file;
    double ask_again_s;
    double drain_deadline_s;
} program_options;

typedef struct {
    plain_loop *loop;
    gateway *gateway;
    http *http;
    baton_metrics *metrics;
    uint64_t nonce; /* names this process, whoever had its pid before */
    uint64_t started_ns;
} program;

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = 1;
}

/* ---- options ---- */

enum {
    OPTION_ORDERS = 256,
    OPTION_LISTEN,
    OPTION_ADMIN,
    OPTION_HTTP,
    OPTION_PORT_FILE,
    OPTION_CLIENTS_MAX,
    OPTION_OPEN_MAX,
    OPTION_ASK_AGAIN,
    OPTION_DRAIN_DEADLINE,
    OPTION_VERSION,
    OPTION_HELP,
};

static bool parse_count(const char *text, uint32_t *ret_value)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value == 0 ||
        value > 4000000)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool parse_seconds(const char *text, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0) || value > 1e6)
        return false;
    *ret_value = value;
    return true;
}

static bool take_option(int option, const char *value, program_options *options)
{
    bool good = true;
    switch (option) {
    case OPTION_ORDERS:
        options->gateway.orders = value;
        break;
    case OPTION_LISTEN:
        options->gateway.listen = value;
        break;
    case OPTION_ADMIN:
        options->gateway.admin = value;
        break;
    case OPTION_HTTP:
        options->http = value;
        break;
    case OPTION_PORT_FILE:
        options->port_file = value;
        break;
    case OPTION_CLIENTS_MAX:
        good = parse_count(value, &options->gateway.clients_max);
        break;
    case OPTION_OPEN_MAX:
        good = parse_count(value, &options->gateway.open_max);
        break;
    case OPTION_ASK_AGAIN:
        good = parse_seconds(value, &options->ask_again_s) && options->ask_again_s > 0;
        break;
    case OPTION_DRAIN_DEADLINE:
        good = parse_seconds(value, &options->drain_deadline_s);
        break;
    default: /* getopt has said what is wrong */
        return false;
    }
    if (!good)
        fprintf(stderr, "baton: '%s': out of its range: see --help\n", value);
    return good;
}

/* 0: run; 1: nothing more to do; BATON_E_INVALID. */
static int parse_options(int argc, char **argv, program_options *options)
{
    static const struct option known[] = {
        {"orders", required_argument, NULL, OPTION_ORDERS},
        {"listen", required_argument, NULL, OPTION_LISTEN},
        {"admin", required_argument, NULL, OPTION_ADMIN},
        {"http", required_argument, NULL, OPTION_HTTP},
        {"port-file", required_argument, NULL, OPTION_PORT_FILE},
        {"clients-max", required_argument, NULL, OPTION_CLIENTS_MAX},
        {"open-max", required_argument, NULL, OPTION_OPEN_MAX},
        {"ask-again", required_argument, NULL, OPTION_ASK_AGAIN},
        {"drain-deadline", required_argument, NULL, OPTION_DRAIN_DEADLINE},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == OPTION_HELP || option == OPTION_VERSION) {
            fputs(option == OPTION_HELP ? usage : "gateway " GATEWAY_VERSION "\n", stdout);
            return 1;
        }
        if (!take_option(option, optarg, options))
            return BATON_E_INVALID;
    }
    if (optind != argc) {
        fprintf(stderr, "baton: '%s': unexpected: see --help\n", argv[optind]);
        return BATON_E_INVALID;
    }
    if (!options->gateway.orders) {
        fprintf(stderr, "baton: --orders: missing: see --help\n");
        return BATON_E_INVALID;
    }
    return 0;
}

/* ---- HTTP ---- */

static http_reply health(const program *own)
{
    const gateway_view view = gateway_look(own->gateway);
    http_reply reply = {.code = view.stopping ? 503 : 200, .type = "application/json"};
    char text[512];
    int length = snprintf(
        text, sizeof(text),
        "{\"service\":\"gateway\",\"version\":\"%s\",\"status\":\"%s\","
        "\"instance\":{\"pid\":%ld,\"nonce\":\"%016llx\",\"started_ns\":%llu},"
        "\"upstream\":{\"service\":\"order-service\",\"state\":\"%s\",\"connected_count\":%llu},"
        "\"connections\":%u,\"clients\":%u,\"open\":%u}\n",
        GATEWAY_VERSION, view.stopping ? "draining" : "serving", (long)getpid(),
        (unsigned long long)own->nonce, (unsigned long long)own->started_ns, view.upstream,
        (unsigned long long)view.upstream_lives, view.connections, view.clients, view.open);
    reply.body = strdup(text);
    reply.body_bytes = (size_t)length;
    return reply;
}

static http_reply reply(void *owner, const char *path)
{
    const program *own = owner;
    if (strcmp(path, "/health") == 0)
        return health(own);
    http_reply answer = {.code = 200, .type = "text/plain; version=0.0.4"};
    if (strcmp(path, "/metrics") != 0)
        answer.code = 404;
    else if (baton_metrics_print(own->metrics, &answer.body, &answer.body_bytes) < 0)
        answer.body = NULL;
    return answer;
}

/* ---- its life ---- */

static int write_port_file(const program *own, const char *path, const char *page,
                           baton_error *error)
{
    const char *const all[] = {gateway_address(own->gateway), page,
                               gateway_admin_address(own->gateway)};
    const char *texts[3];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 3; i++)
        if (all[i][0] != '\0')
            texts[count++] = all[i];
    return path ? address_write_file(path, texts, count, error) : 0;
}

static int start(program *own, const program_options *options, baton_error *error)
{
    int r = plain_loop_create(&own->loop);
    if (r == 0)
        r = baton_metrics_create(&own->metrics);
    if (r < 0)
        return baton_error_set(error, r, "start", NULL, "free some memory, or descriptors");
    gateway_options wish = options->gateway;
    wish.metrics = own->metrics;
    wish.ask_again_ns = (uint64_t)(options->ask_again_s * 1e9);
    r = gateway_open(&wish, plain_loop_of(own->loop), &own->gateway, error);
    if (r == 0 && options->http != NULL)
        r = http_open(&(http_options){.address = options->http, .reply = reply, .owner = own},
                      plain_loop_of(own->loop), &own->http, error);
    if (r < 0)
        return r;
    const char *page = own->http ? http_address(own->http) : "";
    r = write_port_file(own, options->port_file, page, error);
    baton_log(INFO, "gateway.listening", BATON_LOG_TEXT("clients", gateway_address(own->gateway)),
              BATON_LOG_TEXT("admin", gateway_admin_address(own->gateway)),
              BATON_LOG_TEXT("http", page), BATON_LOG_TEXT("orders", wish.orders));
    return r;
}

static int turn(program *own, baton_error *error)
{
    int r = plain_loop_turn(own->loop, TURN_MS);
    if (r < 0)
        return baton_error_set(error, r, "wait for sockets", NULL, "start it again");
    gateway_turn(own->gateway);
    if (own->http != NULL)
        http_turn(own->http);
    return 0;
}

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static int serve(program *own, const program_options *options, baton_error *error)
{
    int r = 0;
    while (r == 0 && !stop_requested)
        r = turn(own, error);
    if (r < 0)
        return r;
    const uint64_t until_ns = now_ns() + (uint64_t)(options->drain_deadline_s * 1e9);
    gateway_stop_intake(own->gateway);
    baton_log(INFO, "gateway.draining", BATON_LOG_NUMBER("open", gateway_look(own->gateway).open));
    while (r == 0 && !gateway_all_answered(own->gateway) && now_ns() < until_ns)
        r = turn(own, error);
    baton_log(INFO, "gateway.stopped", BATON_LOG_NUMBER("open", gateway_look(own->gateway).open));
    return r;
}

static void stop(program *own)
{
    http_close(own->http);
    gateway_close(own->gateway);
    baton_metrics_destroy(own->metrics);
    plain_loop_destroy(own->loop);
}

int main(int argc, char **argv)
{
    static int log_fd = STDERR_FILENO;
    program_options options = {.gateway = {.listen = "tcp:127.0.0.1:7441",
                                           .admin = "",
                                           .clients_max = 65536,
                                           .open_max = 65536},
                               .ask_again_s = 5,
                               .drain_deadline_s = 5};
    baton_standard_fds_keep();
    int r = parse_options(argc, argv, &options);
    if (r != 0)
        return r < 0 || fflush(stdout) != 0 ? 1 : 0;
    baton_log_set_sink(baton_log_to_fd, &log_fd, BATON_LOG_INFO);
    const struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);

    baton_error error = {.offset = UINT64_MAX};
    program own = {.started_ns = baton_clock_wall_ns(baton_clock_system())};
    if (getrandom(&own.nonce, sizeof(own.nonce), 0) != sizeof(own.nonce))
        own.nonce = own.started_ns;
    r = start(&own, &options, &error);
    if (r == 0)
        r = serve(&own, &options, &error);
    stop(&own);
    if (r < 0) {
        char text[1200];
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    }
    return r < 0 ? 1 : 0;
}
