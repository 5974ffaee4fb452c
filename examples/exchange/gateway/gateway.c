#include "examples/exchange/gateway/gateway.h"

#include <errno.h>
#include <stdlib.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "examples/exchange/gateway/gateway_private.h"

enum { TICK_NS = 100000000 };

static const door_role roles[ROLES] = {
    [ROLE_CLIENTS] = {.name = "clients",
                      .out_bytes_max = CONNECTION_OUT_BYTES_MAX,
                      .take = gateway_take},
    [ROLE_OPERATORS] = {.name = "admin",
                        .out_bytes_max = CONNECTION_OUT_BYTES_MAX,
                        .take = gateway_take,
                        .operators = true},
};

static const struct {
    const char *name;
    const char *help;
} counts[COUNTS] = {
    [COUNT_COMMANDS] = {"exchange_gateway_commands_total", "Commands that clients sent."},
    [COUNT_RESENDS] = {"exchange_gateway_resends_total",
                       "Commands that clients sent again before there was an answer."},
    [COUNT_FORWARDED] = {"exchange_gateway_forwarded_total",
                         "Commands sent to the order service, each as often as it was."},
    [COUNT_GIVEN_UP] = {"exchange_gateway_given_up_total",
                        "Commands dropped before they were sent (again): their client was gone."},
    [COUNT_ACKS] = {"exchange_gateway_acks_total", "First answers."},
    [COUNT_ACKS_DROPPED] = {"exchange_gateway_acks_dropped_total",
                            "Answers that no client waits for."},
    [COUNT_FILLS] = {"exchange_gateway_fills_total", "Fills told to clients."},
    [COUNT_FILLS_DROPPED] = {"exchange_gateway_fills_dropped_total",
                             "Fills that a client has been told of."},
    [COUNT_QUERIES] = {"exchange_gateway_queries_total", "Questions for orders."},
    [COUNT_NOT_HERE] = {"exchange_gateway_not_here_total",
                        "Commands refused: an operator's among clients, or the other way round."},
};

static int register_metrics(gateway *own)
{
    baton_metrics *to = own->options.metrics;
    int r = 0;
    for (uint32_t i = 0; i < COUNTS && r == 0; i++)
        r = baton_metrics_counter(to, counts[i].name, NULL, counts[i].help, &own->counts[i]);
    if (r == 0)
        r = baton_metrics_gauge(to, "exchange_gateway_upstream_up", NULL,
                                "1: connected to the order service.", &own->upstream_up);
    if (r == 0)
        r = baton_metrics_gauge(to, "exchange_gateway_open", NULL, "Commands without an answer.",
                                &own->open);
    if (r == 0)
        r = baton_metrics_gauge(to, "exchange_gateway_clients", NULL, "Clients remembered.",
                                &own->clients);
    if (r == 0)
        r = baton_metrics_gauge(to, "exchange_gateway_connections", NULL, "Of clients.",
                                &own->connections);
    return r;
}

/* First what has no answer, in its old order: the order service sees the same sequence as if nothing had
 * happened. Then it learns which of the others are here. */
static void on_live(void *owner)
{
    gateway *own = owner;
    sessions_again(own->sessions);
    queries_again(&own->queries);
    own->telling_quiet = true;
    own->quiet_cursor = 0;
}

static bool is_here(const gateway *own, const session_command *command)
{
    return door_route(own->door, command->client_id) != NULL;
}

static void forward(gateway *own, const session_command *command)
{
    upstream_queue(&own->upstream, command->type, command->body, command->body_bytes);
    gateway_note(own, COUNT_FORWARDED);
}

static bool may_forward(const gateway *own)
{
    return upstream_has_room(&own->upstream);
}

/* A client that is gone may be with another gateway by now: what is sent in its name makes the order service
 * answer here. When it comes back it sends again. */
static void give_up(gateway *own, uint64_t client_id)
{
    baton_metric_add(own->counts[COUNT_GIVEN_UP], sessions_leave(own->sessions, client_id));
}

static void forward_commands(gateway *own)
{
    const session_command *command;
    while (may_forward(own) && (command = sessions_next(own->sessions)) != NULL) {
        if (is_here(own, command)) {
            forward(own, command);
            sessions_sent(own->sessions);
        } else {
            give_up(own, command->client_id);
        }
    }
}

static void forward_queries(gateway *own)
{
    const exchange_query *query;
    while (may_forward(own) && (query = queries_next(&own->queries)) != NULL) {
        upstream_queue(&own->upstream, EXCHANGE_QUERY, query, sizeof(*query));
        queries_sent(&own->queries);
    }
}

/* The order service tells where a client last spoke: one that has nothing to say repeats its last word, and what
 * it answers to that is dropped. */
static void tell_quiet(gateway *own)
{
    while (own->telling_quiet && may_forward(own)) {
        const session_command *last = sessions_quiet(own->sessions, &own->quiet_cursor);
        if (last == NULL)
            own->telling_quiet = false;
        else if (is_here(own, last))
            forward(own, last);
    }
}

/* Its answer may have gone to another gateway, or with a connection. */
static void ask_again(gateway *own, const session_command *command)
{
    if (is_here(own, command)) {
        forward(own, command);
    } else {
        give_up(own, command->client_id);
    }
}

static void forward_overdue(gateway *own, uint64_t now_ns)
{
    const session_command *command;
    if (now_ns >= own->round_at_ns) {
        own->round_at_ns = now_ns + own->options.ask_again_ns / SESSION_ROUNDS_PATIENT;
        sessions_round(own->sessions);
    }
    while (may_forward(own) && (command = sessions_overdue(own->sessions)) != NULL)
        ask_again(own, command);
}

void gateway_turn(gateway *own)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    if (now_ns >= own->tick_at_ns) {
        own->tick_at_ns = now_ns + TICK_NS;
        door_tick(own->door);
    }
    door_turn(own->door);
    forward_commands(own);
    forward_queries(own);
    tell_quiet(own);
    forward_overdue(own, now_ns);
    upstream_turn(&own->upstream);
    const gateway_view view = gateway_look(own);
    baton_metric_set(own->upstream_up, own->upstream.dialer.state == DIALER_LIVE);
    baton_metric_set(own->open, view.open);
    baton_metric_set(own->clients, view.clients);
    baton_metric_set(own->connections, view.connections);
}

void gateway_stop_intake(gateway *own)
{
    own->stopping = true;
    door_stop_intake(own->door);
}

bool gateway_all_answered(const gateway *own)
{
    return sessions_open(own->sessions) == 0 && own->queries.count == 0 && door_all_sent(own->door);
}

gateway_view gateway_look(const gateway *own)
{
    return (gateway_view){.upstream = upstream_state_name(&own->upstream),
                          .stopping = own->stopping,
                          .upstream_lives = own->upstream.dialer.lives,
                          .connections = door_connections(own->door),
                          .clients = sessions_count(own->sessions),
                          .open = sessions_open(own->sessions)};
}

const char *gateway_address(const gateway *own)
{
    return door_address(own->door, ROLE_CLIENTS);
}

const char *gateway_admin_address(const gateway *own)
{
    return door_address(own->door, ROLE_OPERATORS);
}

void gateway_close(gateway *own)
{
    if (!own)
        return;
    upstream_stop(&own->upstream);
    if (own->door)
        door_stop(own->door);
    door_destroy(own->door);
    sessions_destroy(own->sessions);
    free(own);
}

static int open_door(gateway *own, wire_loop loop, baton_error *error)
{
    const door_options doors = {
        .version = GATEWAY_VERSION, .roles = roles, .roles_count = ROLES, .owner = own};
    const char *const addresses[ROLES] = {own->options.listen, own->options.admin};
    const door_start_options start = {.loop = loop, .addresses = addresses, .port_file = ""};
    int r = door_create(&doors, &own->door);
    return r < 0 ? r : door_start(own->door, &start, error);
}

int gateway_open(const gateway_options *options, wire_loop loop, gateway **ret_gateway,
                 baton_error *error)
{
    const sessions_options bounds = {.clients_max = options->clients_max,
                                     .open_max = options->open_max};
    gateway *own = calloc(1, sizeof(*own));
    int r = own ? 0 : -ENOMEM;
    if (r < 0)
        goto fail;
    own->options = *options;
    upstream_start(
        &own->upstream,
        &(upstream_options){
            .address = options->orders, .live = on_live, .take = gateway_relay, .owner = own},
        loop);
    r = sessions_create(&bounds, &own->sessions);
    if (r == 0)
        r = register_metrics(own);
    if (r < 0)
        goto fail;
    r = open_door(own, loop, error);
    if (r < 0) {
        gateway_close(own);
        return r;
    }
    *ret_gateway = own;
    return 0;

fail:
    gateway_close(own);
    return baton_error_set(error, r, "start the gateway", NULL,
                           "free some memory, or give a lower --clients-max or --open-max");
}
