#include "examples/exchange/order-service/server.h"

#include <errno.h>

#include <baton/log.h>

#include "examples/exchange/clients/option_count.h"
#include "examples/exchange/order-service/server_private.h"
#include "examples/exchange/wire/engine_loop.h"

enum {
    OPTION_LISTEN,
    OPTION_FEED,
    OPTION_RISK,
    OPTION_MATCHING,
    OPTION_PENDING,
    OPTION_PATIENCE,
    OPTION_PORT_FILE,
    OPTIONS
};
enum { TICK_INTERVAL_NS = 10000000 };

static const baton_service_option options[OPTIONS] = {
    [OPTION_LISTEN] = {"listen", "tcp:127.0.0.1:7451",
                       "orders: unix:PATH or tcp:HOST:PORT, port 0 picks one"},
    [OPTION_FEED] = {"feed", "tcp:127.0.0.1:7452", "commands for the risk engine, as --listen"},
    [OPTION_RISK] = {"risk", "", "the risk engine's feed; empty: none"},
    [OPTION_MATCHING] = {"matching", "", "the matching engine's feed; empty: none"},
    [OPTION_PENDING] = {"pending-max", "65536",
                        "commands on their way through the other services; then clients wait"},
    [OPTION_PATIENCE] = {"patience", "4",
                         "seconds that clients wait for room before they are refused"},
    [OPTION_PORT_FILE] = {"port-file", "",
                          "write the actual addresses here, one a line: orders, feed"},
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

/* Makes a turn come soon, whatever the sockets do: what is held back, and a link that is down, need it. */
static void on_tick(void *context)
{
    server *own = context;
    server_count_waiting(own);
    door_tick(own->wire.door);
}

static inlet_verdict judge(const void *state, uint16_t source, const exchange_key *key)
{
    return inlet_judge(&((const order_service_state *)state)->sources, source, key);
}

/* What is under way at a cut must be found in its producer's outbox. */
static bool holds(const void *state, uint16_t source)
{
    (void)source;
    return ((const order_service_state *)state)->barrier_under_way != 0;
}

static int start_inlet(server *own, server_inlet which, const char *name, uint16_t source,
                       const char *address)
{
    const inlet_options wish = {.name = name,
                                .address = address,
                                .source = source,
                                .consumer = EXCHANGE_ORDER_SERVICE,
                                .judge = judge,
                                .check = order_service_linked,
                                .submitted = server_relay,
                                .unhurried = true,
                                .holds = holds,
                                .owner = own};
    return wire_start_inlet(&own->wire, &own->inlets[which], &wish, own->engine);
}

static int parse_bounds(server *own, const char *const *values, baton_error *error)
{
    uint32_t patience_s = 0;
    int r =
        option_count(values[OPTION_PENDING], "--pending-max", UINT32_MAX, &own->pending_max, error);
    if (r == 0)
        r = option_count(values[OPTION_PATIENCE], "--patience", 1000000, &patience_s, error);
    own->patience = patience_s * (UINT64_C(1000000000) / TICK_INTERVAL_NS);
    if (r == 0)
        r = baton_metrics_counter(baton_engine_metrics(own->engine), "exchange_no_room_total", NULL,
                                  "Commands refused because there was no room for so long.",
                                  &own->no_room);
    return r;
}

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    server *own = context;
    const char *const addresses[ROLES] = {values[OPTION_LISTEN], values[OPTION_FEED]};
    const door_start_options doors = {.loop = engine_loop(engine),
                                      .epoch = baton_engine_epoch(engine),
                                      .addresses = addresses,
                                      .port_file = values[OPTION_PORT_FILE]};
    own->engine = engine;
    own->held_ticks = own->old_left = 0; /* it may have stood by since it served last */
    int r = parse_bounds(own, values, error);
    if (r == 0)
        r = start_inlet(own, INLET_RISK, "risk-engine", EXCHANGE_RISK_ENGINE, values[OPTION_RISK]);
    if (r == 0)
        r = start_inlet(own, INLET_MATCHING, "matching-engine", EXCHANGE_MATCHING_ENGINE,
                        values[OPTION_MATCHING]);
    if (r == 0)
        r = door_start(own->wire.door, &doors, error);
    if (r < 0)
        return r;
    feed_start(&own->wire.feed, own->wire.door, engine, UINT32_C(1) << EXCHANGE_RISK_ENGINE);
    baton_engine_tick_every(engine, TICK_INTERVAL_NS, on_tick, own);
    baton_log(INFO, "order_service.listening",
              BATON_LOG_TEXT("orders", door_address(own->wire.door, ROLE_ORDERS)),
              BATON_LOG_TEXT("feed", door_address(own->wire.door, ROLE_FEED)));
    return 0;
}

int server_create(server **ret_server)
{
    door_options doors = {.version = order_service.version, .roles = roles, .roles_count = ROLES};
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
