#include "examples/exchange/matching-engine/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#include "examples/exchange/matching-engine/server_private.h"

enum { OPTION_LISTEN, OPTION_FEED, OPTION_PORT_FILE, OPTION_TICKS, OPTIONS };
enum {
    TICK_INTERVAL_NS = 10000000,
    DESCRIPTORS_KEPT = 64, /* for the journal, snapshots and the control socket */
    CONNECTIONS_MIN = 16,
};

static const baton_service_option options[OPTIONS] = {
    [OPTION_LISTEN] = {"listen", "tcp:127.0.0.1:7450",
                       "orders: unix:PATH or tcp:HOST:PORT, port 0 picks one"},
    [OPTION_FEED] = {"feed", "", "trade feed, as --listen; empty: none (see --outbox)"},
    [OPTION_PORT_FILE] = {"port-file", "",
                          "write the actual addresses here, one a line: orders, feed"},
    [OPTION_TICKS] = {"ticks", "wall",
                      "who tells the time for GTD orders: wall, or client (CLOCK commands)"},
};

static client_place *place_of(server *own, const client_route *route)
{
    client_place *place = &own->places[route->connection % SERVER_CONNECTIONS_MAX];
    return route->connection != 0 && place->stream.id == route->connection ? place : NULL;
}

connection *server_route(server *own, uint64_t client_id)
{
    client_place *place = place_of(own, &own->routes[client_id & EXCHANGE_CLIENT_ID_MAX]);
    return place != NULL ? &place->stream : NULL;
}

void server_route_to(server *own, uint64_t client_id, client_place *place)
{
    client_route *route = &own->routes[client_id];
    client_place *before = place_of(own, route);
    if (before == place)
        return;
    if (before != NULL) {
        if (route->next != 0)
            own->routes[route->next].previous = route->previous;
        if (route->previous != 0)
            own->routes[route->previous].next = route->next;
        else
            before->first_client = route->next;
        before->clients_count--;
    }
    *route = (client_route){.connection = place->stream.id, .next = place->first_client};
    if (route->next != 0)
        own->routes[route->next].previous = (uint32_t)client_id;
    place->first_client = (uint32_t)client_id;
    place->clients_count++;
}

void server_refuse(client_place *place, int status, const char *text)
{
    exchange_error error = {.status = baton_le32_put((uint32_t)-status)};
    snprintf((char *)error.text, sizeof(error.text), "%s", text);
    connection_queue(&place->stream, EXCHANGE_ERROR, &error, sizeof(error), NULL, 0);
    place->stream.closing = true;
    baton_log(WARN, "client.refused", BATON_LOG_NUMBER("connection", place->stream.id),
              BATON_LOG_TEXT("why", text));
}

/* The end of a connection is the end for copies of its socket as well, which another process may hold
 * for a while; but not when they may be the successor's. */
static void close_place(server *own, client_place *place)
{
    if (place->shared && !own->given)
        shutdown(place->stream.fd, SHUT_RDWR);
    if (place->stream.held_back)
        own->held_back_count--;
    if (own->feed_id == place->stream.id)
        own->feed_id = 0;
    baton_engine_unwatch(own->engine, place->stream.fd);
    connection_close(&place->stream);
    place->subscribed = false;
    place->behind = false;
    if (own->listening_paused)
        server_listen_again(own);
}

static void on_stream(void *context, int fd, uint32_t events);

/* Ask for exactly the events that can be used now. */
static void watch_stream(server *own, client_place *place)
{
    connection *stream = &place->stream;
    uint32_t wanted = connection_all_sent(stream) ? 0 : EPOLLOUT;
    if (own->taking && !stream->held_back && !stream->closing)
        wanted |= EPOLLIN;
    if (wanted == stream->watched)
        return;
    if (baton_engine_watch(own->engine, stream->fd, wanted, on_stream, place) < 0)
        stream->failed = true;
    stream->watched = wanted;
}

/* What a turn leaves behind: sent as far as possible, watched, or closed. */
void server_settle(server *own, client_place *place)
{
    connection *stream = &place->stream;
    connection_send(stream);
    if (stream->failed || (stream->closing && connection_all_sent(stream)))
        close_place(own, place);
    else
        watch_stream(own, place);
}

static void on_stream(void *context, int fd, uint32_t events)
{
    client_place *place = context;
    server *own = place->owner;
    (void)fd;
    if (events & EPOLLIN && own->taking && !place->stream.held_back)
        connection_receive(&place->stream);
    else if (events & (EPOLLHUP | EPOLLERR))
        place->stream.failed = true;
    server_intake(own, place);
    server_settle(own, place);
}

/* A free place, if need be that of the oldest connection that has never said HELLO, or that was
 * refused and does not read why. */
static client_place *find_place(server *own)
{
    client_place *oldest = NULL;
    for (uint32_t i = 1; i < own->places_max; i++) {
        client_place *place = &own->places[i];
        if (place->stream.fd < 0)
            return place;
        bool idle = !place->stream.greeted || place->stream.closing;
        if (idle && (!oldest || place->stream.accepted < oldest->stream.accepted))
            oldest = place;
    }
    if (oldest)
        close_place(own, oldest);
    return oldest;
}

/* No place for it: it is told so, if its socket takes that at once. */
static void turn_away(int fd)
{
    connection stream;
    client_place nowhere = {0};
    if (connection_open(&stream, fd, CONNECTION_OUT_BYTES_MAX) < 0) {
        close(fd);
        return;
    }
    nowhere.stream = stream;
    server_refuse(&nowhere, BATON_E_FULL, "as many connections as there may be: come again later");
    connection_send(&nowhere.stream);
    connection_close(&nowhere.stream);
}

/* Small answers leave at once, and a client whose machine is gone gives its place back within a
 * minute. On a Unix socket neither means anything: it says no. */
static void set_options(int fd)
{
    const int on = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

client_place *server_place(server *own, int fd, server_role role)
{
    client_place *place = find_place(own);
    uint64_t out_max = role == ROLE_FEED ? FEED_OUT_BYTES_MAX : CONNECTION_OUT_BYTES_MAX;
    if (!place || connection_open(&place->stream, fd, out_max) < 0)
        return NULL;
    own->accepts_count++;
    uint32_t index = (uint32_t)(place - own->places);
    if (index >= own->places_end)
        own->places_end = index + 1;
    *place = (client_place){.stream = place->stream, .owner = own, .role = role};
    place->stream.accepted = own->accepts_count;
    place->stream.id = own->accepts_count * SERVER_CONNECTIONS_MAX + index;
    return place;
}

static void take_connection(server *own, int fd, server_role role)
{
    client_place *place = server_place(own, fd, role);
    if (!place) {
        turn_away(fd);
        return;
    }
    set_options(fd);
    watch_stream(own, place);
    if (place->stream.failed)
        close_place(own, place);
}

static void on_listener(void *context, int fd, uint32_t events)
{
    server *own = context;
    (void)events;
    server_role role = fd == own->feed.fd ? ROLE_FEED : ROLE_ORDERS;
    while (own->taking) {
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            take_connection(own, accepted, role);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            baton_log(WARN, "client.accept_failed", BATON_LOG_TEXT("why", strerror(errno)));
            baton_engine_unwatch(own->engine, own->orders.fd);
            if (own->feed.fd >= 0)
                baton_engine_unwatch(own->engine, own->feed.fd);
            own->listening_paused = true;
        }
        return;
    }
}

static int watch_listeners(server *own)
{
    int r = baton_engine_watch(own->engine, own->orders.fd, EPOLLIN, on_listener, own);
    if (r == 0 && own->feed.fd >= 0)
        r = baton_engine_watch(own->engine, own->feed.fd, EPOLLIN, on_listener, own);
    return r;
}

void server_listen_again(server *own)
{
    own->listening_paused = false;
    if (own->taking && watch_listeners(own) < 0)
        own->listening_paused = true;
}

/* E5: the state learns the time from an entry, and only when an order waits for it. The tick
 * also makes a turn come soon, whatever the sockets do: held back clients and a paused listener
 * need it. */
static void on_tick(void *context)
{
    server *own = context;
    const matching_engine *state = baton_engine_state(own->engine);
    uint64_t seq;
    if (own->listening_paused)
        server_listen_again(own);
    if (own->client_time || book_next_expiry_ns(state->book) > baton_engine_time_ns(own->engine))
        return;
    int r = baton_engine_submit(own->engine, ENTRY_TICK, "", 0, &seq);
    (void)r; /* no room now: the next tick does it */
}

/* Complete or absent, so that a reader never sees half an address. */
static int write_port_file(const server *own, const char *path, baton_error *error)
{
    char partial[512];
    int length = snprintf(partial, sizeof(partial), "%s.partial", path);
    errno = ENAMETOOLONG;
    FILE *file = length < (int)sizeof(partial) ? fopen(partial, "we") : NULL;
    if (file) {
        errno = EIO;
        int printed = fprintf(file, "%s\n%s\n", own->orders.text, own->feed.text);
        if (fclose(file) == 0 && printed > 0 && rename(partial, path) == 0)
            return 0;
    }
    return baton_error_setf(error, -errno, "write the port file",
                            "choose a directory that can be written", "%s: %s", path,
                            strerror(errno));
}

/* Clients must not use up the descriptors that the next segment or snapshot needs. */
static uint32_t places_that_fit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return CONNECTIONS_MIN;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    if (limit.rlim_cur >= SERVER_CONNECTIONS_MAX + DESCRIPTORS_KEPT)
        return SERVER_CONNECTIONS_MAX;
    return limit.rlim_cur > CONNECTIONS_MIN + DESCRIPTORS_KEPT
               ? (uint32_t)limit.rlim_cur - DESCRIPTORS_KEPT
               : CONNECTIONS_MIN;
}

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    server *own = context;
    const char *ticks = values[OPTION_TICKS];
    own->engine = engine;
    own->places_max = places_that_fit();
    own->client_time = strcmp(ticks, "client") == 0;
    if (!own->client_time && strcmp(ticks, "wall") != 0)
        return baton_error_setf(error, BATON_E_INVALID, "--ticks", "choose wall or client",
                                "'%s' is unknown", ticks);
    int r = own->orders.fd >= 0 ? 0 : listener_open(values[OPTION_LISTEN], &own->orders, error);
    if (r == 0 && own->feed.fd < 0 && values[OPTION_FEED][0])
        r = listener_open(values[OPTION_FEED], &own->feed, error);
    if (r == 0 && values[OPTION_PORT_FILE][0])
        r = write_port_file(own, values[OPTION_PORT_FILE], error);
    if (r == 0) {
        own->taking = true;
        r = watch_listeners(own);
    }
    if (r < 0) {
        own->taking = false;
        listener_close(&own->orders);
        listener_close(&own->feed);
        return r;
    }
    baton_engine_tick_every(engine, TICK_INTERVAL_NS, on_tick, own);
    baton_log(INFO, "matching_engine.listening", BATON_LOG_TEXT("orders", own->orders.text),
              BATON_LOG_TEXT("feed", own->feed.text));
    return 0;
}

static void turn(void *context)
{
    server *own = context;
    uint64_t out_bytes = 0;
    client_place *largest = NULL;
    if (own->given)
        return;
    /* Each time from another place on: where room is short, it goes round. */
    own->turn_first++;
    for (uint32_t i = 0; i < own->places_end; i++) {
        client_place *place = &own->places[(own->turn_first + i) % own->places_end];
        if (place->stream.fd < 0)
            continue;
        if (place->stream.held_back)
            server_intake(own, place);
        if (place->behind && !place->stream.closing && connection_all_sent(&place->stream))
            server_feed_on(own, place);
        server_settle(own, place);
        out_bytes += place->stream.out_capacity;
        if (!largest || place->stream.out_capacity > largest->stream.out_capacity)
            largest = place;
    }
    if (out_bytes > SERVER_OUT_BYTES_MAX)
        close_place(own, largest);
}

static void stop_intake(void *context)
{
    server *own = context;
    own->taking = false;
    baton_engine_unwatch(own->engine, own->orders.fd);
    if (own->feed.fd >= 0)
        baton_engine_unwatch(own->engine, own->feed.fd);
    listener_close(&own->orders);
    listener_close(&own->feed);
}

static bool all_sent(void *context)
{
    const server *own = context;
    for (uint32_t i = 1; i < own->places_end; i++)
        if (own->places[i].stream.fd >= 0 && !connection_all_sent(&own->places[i].stream))
            return false;
    return true;
}

static void stop(void *context)
{
    server *own = context;
    own->taking = false;
    for (uint32_t i = 1; i < own->places_end; i++)
        if (own->places[i].stream.fd >= 0)
            close_place(own, &own->places[i]);
    listener_close(&own->orders);
    listener_close(&own->feed);
    free(own->notes);
    own->notes = NULL;
    own->given = false;
}

int server_create(server **ret_server)
{
    server *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->routes = calloc(EXCHANGE_CLIENT_ID_MAX + 1, sizeof(*own->routes));
    if (!own->routes) {
        free(own);
        return -ENOMEM;
    }
    own->orders = LISTENER_NONE;
    own->feed = LISTENER_NONE;
    for (uint32_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        own->places[i].stream.fd = -1;
    *ret_server = own;
    return 0;
}

void server_destroy(server *own)
{
    if (!own)
        return;
    free(own->routes);
    free(own);
}

const baton_program server_program = {
    .options = options,
    .options_count = OPTIONS,
    .start = start,
    .release = server_release,
    .turn = turn,
    .stop_intake = stop_intake,
    .all_sent = all_sent,
    .pause_intake = server_pause_intake,
    .resume_intake = server_resume_intake,
    .give_fds = server_give_fds,
    .take_fds = server_take_fds,
    .give_connections = server_give_connections,
    .take_connections = server_take_connections,
    .let_go = server_let_go,
    .stop = stop,
};
