#include "examples/exchange/matching-engine/server.h"

#include <errno.h>
#include <string.h>

#include <baton/log.h>

#include "examples/exchange/matching-engine/server_private.h"
#include "examples/exchange/wire/engine_loop.h"

enum { OPTION_LISTEN, OPTION_FEED, OPTION_RISK, OPTION_PORT_FILE, OPTION_TICKS, OPTIONS };
enum { TICK_INTERVAL_NS = 10000000 };

static const baton_service_option options[OPTIONS] = {
    [OPTION_LISTEN] = {"listen", "tcp:127.0.0.1:7450",
                       "orders: unix:PATH or tcp:HOST:PORT, port 0 picks one"},
    [OPTION_FEED] = {"feed", "", "reports, as --listen; empty: none (see --outbox)"},
    [OPTION_RISK] = {"risk", "", "the risk engine's feed: its commands come in, too; empty: none"},
    [OPTION_PORT_FILE] = {"port-file", "",
                          "write the actual addresses here, one a line: orders, feed"},
    [OPTION_TICKS] = {"ticks", "wall",
                      "who tells the time for GTD orders: wall, or client (CLOCK commands)"},
};

static const door_role roles[ROLES] = {
    [ROLE_ORDERS] = {.name = "orders",
                     .out_bytes_max = CONNECTION_OUT_BYTES_MAX,
                     .take = server_take_command},
    [ROLE_FEED] = {.name = "feed",
                   .out_bytes_max = FEED_OUT_BYTES_MAX,
                   .take = wire_take_feed,
                   .has_room = wire_feed_has_room},
};

/* E5: the state learns the time from an entry, and only when an order waits for it. The tick
 * also makes a turn come soon, whatever the sockets do: held back clients and a paused listener
 * need it. */
static void on_tick(void *context)
{
    server *own = context;
    const matching_engine *state = baton_engine_state(own->engine);
    uint64_t seq;
    door_tick(own->wire.door);
    if (own->client_time || book_next_expiry_ns(state->book) > baton_engine_time_ns(own->engine))
        return;
    int r = baton_engine_submit(own->engine, ENTRY_TICK, "", 0, &seq);
    (void)r; /* no room now: the next tick does it */
}

static inlet_verdict judge(const void *state, uint16_t source, const exchange_key *key)
{
    return inlet_judge(&((const matching_engine *)state)->sources, source, key);
}

static int start_inlet(server *own, const char *address)
{
    const inlet_options wish = {.name = "risk-engine",
                                .address = address,
                                .source = EXCHANGE_RISK_ENGINE,
                                .consumer = EXCHANGE_MATCHING_ENGINE,
                                .judge = judge,
                                .check = matching_engine_linked,
                                .owner = own};
    return wire_start_inlet(&own->wire, &own->risk, &wish, own->engine);
}

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    server *own = context;
    const char *ticks = values[OPTION_TICKS];
    own->engine = engine;
    own->client_time = strcmp(ticks, "client") == 0;
    if (!own->client_time && strcmp(ticks, "wall") != 0)
        return baton_error_setf(error, BATON_E_INVALID, "--ticks", "choose wall or client",
                                "'%s' is unknown", ticks);
    const char *const addresses[ROLES] = {values[OPTION_LISTEN], values[OPTION_FEED]};
    const door_start_options doors = {.loop = engine_loop(engine),
                                      .epoch = baton_engine_epoch(engine),
                                      .addresses = addresses,
                                      .port_file = values[OPTION_PORT_FILE]};
    int r = start_inlet(own, values[OPTION_RISK]);
    if (r == 0)
        r = door_start(own->wire.door, &doors, error);
    if (r < 0)
        return r;
    const matching_engine *state = baton_engine_state(engine);
    feed_start(&own->wire.feed, own->wire.door, engine, state->consumers);
    baton_engine_tick_every(engine, TICK_INTERVAL_NS, on_tick, own);
    baton_log(INFO, "matching_engine.listening",
              BATON_LOG_TEXT("orders", door_address(own->wire.door, ROLE_ORDERS)),
              BATON_LOG_TEXT("feed", door_address(own->wire.door, ROLE_FEED)));
    return 0;
}

int server_create(server **ret_server)
{
    door_options doors = {
        .version = matching_engine_service.version, .roles = roles, .roles_count = ROLES};
    *ret_server = wire_service_create(sizeof(server), &doors);
    return *ret_server == NULL ? -ENOMEM : 0;
}

void server_destroy(server *own)
{
    wire_service_destroy(own);
}

const baton_program server_program = {
    .options = options,
    .options_count = OPTIONS,
    .start = start,
    .release = server_release,
    WIRE_PROGRAM,
};
