/* settlement: the matching engine's trades in SQLite, each exactly once. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>
#include <baton/standard_fds.h>

#include "examples/exchange/settlement/store.h"
#include "examples/exchange/wire/link.h"
#include "examples/exchange/wire/plain_loop.h"

static const char usage[] =
    "Usage: settlement --db FILE --from ADDRESS\n"
    "\n"
    "Takes what the matching engine reports and keeps its trades in an SQLite file, each exactly "
    "once: the\n"
    "trades and how far they reach are one transaction, and only then the matching engine is told. "
    "So kill -9\n"
    "at any moment loses nothing and doubles nothing, on either side.\n"
    "\n"
    "  --db FILE        made when it is not there; tables trades and reached, view fills\n"
    "  --from ADDRESS   the matching engine's --feed: unix:PATH or tcp:HOST:PORT\n"
    "\n"
    "The matching engine runs with --outbox settlement, and keeps what is not confirmed. While the "
    "disk is full\n"
    "settlement waits, says so, and goes on when there is room. SIGTERM ends it; exit code 0 then, "
    "1 when it had\n"
    "to stop.\n"
    "\n"
    "Examples:\n"
    "  settlement --db settlement.db --from unix:/run/me.feed\n"
    "  sqlite3 -readonly settlement.db 'SELECT client, sum(size) FROM fills GROUP BY client'\n";

enum {
    TURN_MS = 10,
    ROUNDS_MAX = 32, /* of taking, for one commit */
};
#define WAIT_NS UINT64_C(500000000)

typedef struct {
    store *store;
    plain_loop *loop;
    wire_link link;
    bool took;  /* since the last round */
    bool known; /* something came again: it is confirmed again */
    bool waits; /* a transaction failed: what was in it is asked for again */
    bool said;  /* that it waits */
    uint64_t again_at_ns;
} settlement;

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = 1;
}

static link_verdict judge(settlement *own, store_verdict verdict)
{
    switch (verdict) {
    case STORE_KNOWN:
        own->known = true;
        return LINK_TAKEN;
    case STORE_DONE:
        own->took = true;
        return LINK_TAKEN;
    case STORE_WAITS:
        own->waits = true;
        return LINK_NO_ROOM;
    case STORE_WRONG:
        break;
    }
    baton_log(ERROR, "settlement.wrong", BATON_LOG_TEXT("why", store_why(own->store)));
    return LINK_STOP;
}

static link_verdict take(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes)
{
    settlement *own = owner;
    const bool is_report = baton_le16_get(effect->effect_type) == EXCHANGE_REPORT;
    if (own->waits)
        return LINK_NO_ROOM;
    return judge(own,
                 store_take(own->store, &effect->key, is_report ? payload : NULL, payload_bytes));
}

/* The transaction is gone, and with it what the link had taken: all that is not confirmed comes again with
 * the next subscription. */
static void wait_for_room(settlement *own, uint64_t now_ns)
{
    if (!own->said)
        baton_log(WARN, "settlement.waits", BATON_LOG_TEXT("why", store_why(own->store)),
                  BATON_LOG_TEXT("todo", "make room for the file; nothing is lost meanwhile, and "
                                         "it goes on by itself"));
    own->said = true;
    own->waits = false;
    link_stop(&own->link);
    own->again_at_ns = now_ns + WAIT_NS;
}

static int commit(settlement *own, uint64_t now_ns)
{
    const store_verdict verdict = own->waits ? STORE_WAITS : store_commit(own->store);
    if (verdict == STORE_WAITS) {
        wait_for_room(own, now_ns);
        return 0;
    }
    if (verdict == STORE_WRONG) {
        baton_log(ERROR, "settlement.wrong", BATON_LOG_TEXT("why", store_why(own->store)));
        return BATON_E_BROKEN;
    }
    if (verdict == STORE_DONE || own->known) {
        const exchange_key reached = store_reached(own->store);
        link_confirm(&own->link, &reached);
        own->known = false;
    }
    if (verdict == STORE_DONE && own->said) {
        baton_log(INFO, "settlement.goes_on", BATON_LOG_NUMBER("trades", store_trades(own->store)));
        own->said = false;
    }
    return 0;
}

static int turn(settlement *own)
{
    int r = plain_loop_turn(own->loop, TURN_MS);
    for (uint32_t i = 0; i < ROUNDS_MAX && r == 0 && own->took && !own->waits; i++) {
        own->took = false;
        r = plain_loop_turn(own->loop, 0);
    }
    own->took = false;
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    if (r == 0)
        r = commit(own, now_ns);
    if (r == 0 && now_ns >= own->again_at_ns)
        link_turn(&own->link);
    return r == 0 && link_is_stopped(&own->link) ? BATON_E_REFUSED : r;
}

static int run(const char *db, const char *from, baton_error *error)
{
    settlement own = {0};
    int r = store_open(db, &own.store, error);
    if (r < 0)
        return r;
    r = plain_loop_create(&own.loop);
    if (r < 0) {
        store_close(own.store);
        return baton_error_set(error, r, "start", NULL, "free some memory");
    }
    const link_options link = {.name = "matching-engine",
                               .address = from,
                               .consumer = EXCHANGE_SETTLEMENT,
                               .take = take,
                               .owner = &own};
    link_start(&own.link, &link, plain_loop_of(own.loop));
    const exchange_key reached = store_reached(own.store);
    baton_log(INFO, "settlement.ready", BATON_LOG_TEXT("db", db),
              BATON_LOG_NUMBER("seq", baton_le64_get(reached.seq)));
    while (!stop_requested && r == 0)
        r = turn(&own);
    if (r < 0)
        baton_error_set(error, r, db, "see the line before", "mend that, then start again");
    link_stop(&own.link);
    store_close(own.store);
    plain_loop_destroy(own.loop);
    return r;
}

static bool parse_options(int argc, char **argv, const char **ret_db, const char **ret_from)
{
    static const struct option known[] = {{"db", required_argument, NULL, 'd'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option != 'd' && option != 'f')
            return false;
        *(option == 'd' ? ret_db : ret_from) = optarg;
    }
    if (!*ret_db || !*ret_from)
        fprintf(stderr, "baton: %s: missing: see --help\n", *ret_db ? "--from" : "--db");
    else if (optind < argc)
        fprintf(stderr, "baton: '%s': not known here: see --help\n", argv[optind]);
    return *ret_db && *ret_from && optind == argc;
}

int main(int argc, char **argv)
{
    baton_standard_fds_keep();
    const char *db = NULL, *from = NULL;
    if (!parse_options(argc, argv, &db, &from))
        return 1;
    const struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);
    int log_fd = STDERR_FILENO;
    baton_log_set_sink(baton_log_to_fd, &log_fd, BATON_LOG_INFO);

    baton_error error = {0};
    char text[1200];
    int r = run(db, from, &error);
    if (r < 0)
        fprintf(stderr, "baton: %s\n", baton_error_text(&error, text, sizeof(text)));
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    return r < 0 ? 1 : 0;
}
