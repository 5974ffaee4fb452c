#include "examples/exchange/wire/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#include "examples/exchange/wire/door_private.h"

enum {
    DESCRIPTORS_KEPT = 64, /* for the journal, snapshots and the control socket */
    CONNECTIONS_MIN = 16,
};

/* The end of a connection is the end for copies of its socket as well, which another process may hold
 * for a while; but not when they may be the successor's. */
static void close_place(door *own, door_place *place)
{
    if (place->shared && !own->given)
        shutdown(place->stream.fd, SHUT_RDWR);
    loop_unwatch(&own->loop, place->stream.fd);
    connection_close(&place->stream);
    place->consumer = 0;
    place->behind = false;
    if (own->listening_paused)
        door_listen_again(own);
}

static void on_stream(void *context, int fd, uint32_t events);

/* Ask for exactly the events that can be used now. */
static void watch_stream(door *own, door_place *place)
{
    connection *stream = &place->stream;
    uint32_t wanted = connection_all_sent(stream) ? 0 : EPOLLOUT;
    if (own->taking && !stream->held_back && !stream->closing)
        wanted |= EPOLLIN;
    if (wanted == stream->watched)
        return;
    if (loop_watch(&own->loop, stream->fd, wanted, on_stream, place) < 0)
        stream->failed = true;
    stream->watched = wanted;
}

/* What a turn leaves behind: sent as far as possible, watched, or closed. */
void door_settle(door *own, door_place *place)
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
    door_place *place = context;
    door *own = place->owner;
    (void)fd;
    if (events & EPOLLIN && own->taking && !place->stream.held_back)
        connection_receive(&place->stream);
    else if (events & (EPOLLHUP | EPOLLERR))
        place->stream.failed = true;
    door_intake(own, place);
    door_settle(own, place);
}

/* A free place, if need be that of the oldest connection that has never said HELLO, or that was
 * refused and does not read why. */
static door_place *find_place(door *own, uint32_t role)
{
    door_place *oldest = NULL;
    const uint32_t end =
        own->places_max - (own->options.roles[role].operators ? 0 : own->places_kept);
    for (uint32_t i = 1; i < end; i++) {
        door_place *place = &own->places[i];
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

/* It is told so, if its socket takes that at once. */
static void turn_away(int fd, int status, const char *why)
{
    connection stream;
    door_place nowhere = {0};
    if (connection_open(&stream, fd, CONNECTION_OUT_BYTES_MAX) < 0) {
        close(fd);
        return;
    }
    nowhere.stream = stream;
    door_refuse(&nowhere, status, why);
    connection_send(&nowhere.stream);
    connection_close(&nowhere.stream);
}

door_place *door_place_new(door *own, int fd, uint32_t role)
{
    door_place *place = find_place(own, role);
    if (!place || connection_open(&place->stream, fd, own->options.roles[role].out_bytes_max) < 0)
        return NULL;
    own->accepts_count++;
    uint32_t index = (uint32_t)(place - own->places);
    if (index >= own->places_end)
        own->places_end = index + 1;
    *place = (door_place){.stream = place->stream, .owner = own, .role = role};
    place->stream.accepted = own->accepts_count;
    place->stream.id = own->accepts_count * DOOR_CONNECTIONS_MAX + index;
    return place;
}

static void take_connection(door *own, int fd, uint32_t role)
{
    if (own->options.roles[role].operators && !address_peer_may_operate(fd)) {
        turn_away(fd, BATON_E_REFUSED, "not a user that may operate this process");
        return;
    }
    door_place *place = door_place_new(own, fd, role);
    if (!place) {
        turn_away(fd, BATON_E_FULL, "as many connections as there may be: come again later");
        return;
    }
    address_set_options(fd);
    watch_stream(own, place);
    if (place->stream.failed)
        close_place(own, place);
}

static uint32_t role_of(const door *own, int fd)
{
    uint32_t role = 0;
    while (role + 1 < own->options.roles_count && own->listeners[role].fd != fd)
        role++;
    return role;
}

void door_unwatch_listeners(door *own)
{
    for (uint32_t i = 0; i < own->options.roles_count; i++)
        if (own->listeners[i].fd >= 0)
            loop_unwatch(&own->loop, own->listeners[i].fd);
}

static void on_listener(void *context, int fd, uint32_t events)
{
    door *own = context;
    (void)events;
    uint32_t role = role_of(own, fd);
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
            door_unwatch_listeners(own);
            own->listening_paused = true;
        }
        return;
    }
}

static int watch_listeners(door *own)
{
    int r = 0;
    for (uint32_t i = 0; i < own->options.roles_count && r == 0; i++)
        if (own->listeners[i].fd >= 0)
            r = loop_watch(&own->loop, own->listeners[i].fd, EPOLLIN, on_listener, own);
    return r;
}

void door_listen_again(door *own)
{
    own->listening_paused = false;
    if (own->taking && watch_listeners(own) < 0)
        own->listening_paused = true;
}

void door_tick(door *own)
{
    if (own->listening_paused)
        door_listen_again(own);
}

const char *door_address(const door *own, uint32_t role)
{
    return own->listeners[role].text;
}

static int write_port_file(const door *own, const char *path, baton_error *error)
{
    const char *texts[DOOR_ROLES_MAX];
    for (uint32_t i = 0; i < own->options.roles_count; i++)
        texts[i] = own->listeners[i].text;
    return address_write_file(path, texts, own->options.roles_count, error);
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
    if (limit.rlim_cur >= DOOR_CONNECTIONS_MAX + DESCRIPTORS_KEPT)
        return DOOR_CONNECTIONS_MAX;
    return limit.rlim_cur > CONNECTIONS_MIN + DESCRIPTORS_KEPT
               ? (uint32_t)limit.rlim_cur - DESCRIPTORS_KEPT
               : CONNECTIONS_MIN;
}

/* Of sockets that a predecessor has passed, too. */
static int check_listener(const door *own, uint32_t role, baton_error *error)
{
    const listener *one = &own->listeners[role];
    if (!own->options.roles[role].operators || one->fd < 0 || listener_is_local(one))
        return 0;
    return baton_error_setf(error, BATON_E_INVALID, "listen for operators",
                            "give unix:PATH, or tcp:127.0.0.1:PORT", "others would reach %s, too",
                            one->text);
}

static int open_listeners(door *own, const char *const *addresses, baton_error *error)
{
    int r = 0;
    own->places_kept = 0;
    for (uint32_t i = 0; i < own->options.roles_count && r == 0; i++) {
        if (own->listeners[i].fd < 0 && addresses[i][0] != '\0')
            r = listener_open(addresses[i], &own->listeners[i], error);
        if (r == 0)
            r = check_listener(own, i, error);
        if (own->options.roles[i].operators && own->listeners[i].fd >= 0)
            own->places_kept = DOOR_OPERATORS_MIN;
    }
    return r;
}

static void close_listeners(door *own)
{
    for (uint32_t i = 0; i < own->options.roles_count; i++)
        listener_close(&own->listeners[i]);
}

int door_start(door *own, const door_start_options *options, baton_error *error)
{
    own->loop = options->loop;
    own->epoch = options->epoch;
    own->places_max = places_that_fit();
    int r = open_listeners(own, options->addresses, error);
    if (r == 0 && options->port_file[0] != '\0')
        r = write_port_file(own, options->port_file, error);
    if (r == 0) {
        own->taking = true;
        r = watch_listeners(own);
    }
    if (r < 0) {
        own->taking = false;
        close_listeners(own);
    }
    return r;
}

uint32_t door_connections(const door *own)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < own->places_end; i++)
        count += own->places[i].stream.fd >= 0;
    return count;
}

void door_send(door *own, uint64_t connection_id)
{
    door_place *place = own->given ? NULL : door_named(own, connection_id);
    if (place != NULL)
        connection_send(&place->stream);
}

void door_turn(door *own)
{
    uint64_t out_bytes = 0;
    door_place *largest = NULL;
    if (own->given)
        return;
    /* Each time from another place on: where room is short, it goes round. */
    own->turn_first++;
    for (uint32_t i = 0; i < own->places_end; i++) {
        door_place *place = &own->places[(own->turn_first + i) % own->places_end];
        if (place->stream.fd < 0)
            continue;
        if (place->stream.held_back)
            door_intake(own, place);
        if (place->behind && !place->stream.closing && connection_all_sent(&place->stream))
            own->options.roles[place->role].has_room(own->options.owner, place);
        door_settle(own, place);
        out_bytes += place->stream.out_capacity;
        if (!largest || place->stream.out_capacity > largest->stream.out_capacity)
            largest = place;
    }
    if (out_bytes > DOOR_OUT_BYTES_MAX)
        close_place(own, largest);
}

void door_stop_intake(door *own)
{
    own->taking = false;
    door_unwatch_listeners(own);
    close_listeners(own);
}

bool door_all_sent(const door *own)
{
    for (uint32_t i = 1; i < own->places_end; i++)
        if (own->places[i].stream.fd >= 0 && !connection_all_sent(&own->places[i].stream))
            return false;
    return true;
}

void door_stop(door *own)
{
    own->taking = false;
    for (uint32_t i = 1; i < own->places_end; i++)
        if (own->places[i].stream.fd >= 0)
            close_place(own, &own->places[i]);
    close_listeners(own);
    free(own->notes);
    own->notes = NULL;
    own->given = false;
}

int door_create(const door_options *options, door **ret_door)
{
    door *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->routes = calloc(EXCHANGE_CLIENT_ID_MAX + 1, sizeof(*own->routes));
    if (!own->routes) {
        free(own);
        return -ENOMEM;
    }
    own->options = *options;
    for (uint32_t i = 0; i < DOOR_ROLES_MAX; i++)
        own->listeners[i] = LISTENER_NONE;
    for (uint32_t i = 0; i < DOOR_CONNECTIONS_MAX; i++)
        own->places[i].stream.fd = -1;
    *ret_door = own;
    return 0;
}

void door_destroy(door *own)
{
    if (!own)
        return;
    free(own->routes);
    free(own);
}
