/* A handover to a living successor: sockets that listen, and sockets of clients with the bytes that stand
 * between them and the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#include "examples/exchange/wire/door_handover.h"
#include "examples/exchange/wire/door_private.h"

#define NOTES_VERSION 1u

/* What a successor is told of a connection besides its bytes; the ids of its clients follow, each a
 * baton_le32. */
typedef struct {
    uint8_t version;
    uint8_t greeted;
    uint8_t ended;
    uint8_t consumer; /* of a subscriber; 0: it is none */
    baton_le32 clients_count;
    baton_le64 told_seq;
    baton_le32 told_index;
    uint8_t zero[4];
} passed_notes;

static_assert(sizeof(passed_notes) == 24, "notes version 1");

/* As stop_intake, but what listens goes on listening: whoever connects waits. */
void door_pause_intake(door *own)
{
    own->taking = false;
    door_unwatch_listeners(own);
}

/* What was read before stands in the connections' buffers, and no event tells of it again. */
static void go_on(door *own)
{
    for (uint32_t i = 1; i < own->places_end; i++) {
        if (own->places[i].stream.fd < 0)
            continue;
        door_intake(own, &own->places[i]);
        door_settle(own, &own->places[i]);
    }
}

void door_resume_intake(door *own)
{
    own->taking = true;
    own->given = false;
    door_listen_again(own);
    go_on(own);
}

/* A listener and, of a Unix socket, the lock of its path: NAME and NAME.lock. */
static int *passed_place(door *own, const char *name)
{
    for (uint32_t i = 0; i < own->options.roles_count; i++) {
        const char *role = own->options.roles[i].name;
        const size_t length = strlen(role);
        if (strncmp(name, role, length) != 0)
            continue;
        if (name[length] == '\0')
            return &own->listeners[i].fd;
        if (strcmp(name + length, ".lock") == 0)
            return &own->listeners[i].lock_fd;
    }
    return NULL;
}

static uint32_t pass(baton_passed_fd *to, int fd, const char *role, const char *suffix)
{
    if (fd < 0)
        return 0;
    to->fd = fd;
    snprintf(to->name, sizeof(to->name), "%.10s%s", role, suffix);
    return 1;
}

uint32_t door_give_fds(const door *own, baton_passed_fd fds[BATON_PASSED_FDS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->options.roles_count; i++) {
        count += pass(&fds[count], own->listeners[i].fd, own->options.roles[i].name, "");
        count += pass(&fds[count], own->listeners[i].lock_fd, own->options.roles[i].name, ".lock");
    }
    return count;
}

void door_take_fds(door *own, const baton_passed_fd *fds, uint32_t fds_count)
{
    for (uint32_t i = 0; i < fds_count; i++) {
        int *place = passed_place(own, fds[i].name);
        if (place != NULL && *place < 0)
            *place = fds[i].fd;
        else
            close(fds[i].fd);
    }
    for (uint32_t i = 0; i < own->options.roles_count; i++)
        listener_adopt(&own->listeners[i]);
}

/* ---- connected sockets ---- */

static void note(const door *own, const door_place *place, uint8_t *to)
{
    const connection *stream = &place->stream;
    const passed_notes notes = {.version = NOTES_VERSION,
                                .greeted = stream->greeted,
                                .ended = stream->ended,
                                .consumer = (uint8_t)place->consumer,
                                .clients_count = baton_le32_put(place->clients_count),
                                .told_seq = baton_le64_put(place->told_seq),
                                .told_index = baton_le32_put(place->told_index)};
    memcpy(to, &notes, sizeof(notes));
    to += sizeof(notes);
    for (uint32_t id = place->first_client; id != 0; id = own->routes[id].next) {
        const baton_le32 client = baton_le32_put(id);
        memcpy(to, &client, sizeof(client));
        to += sizeof(client);
    }
}

static uint32_t notes_bytes(const door_place *place)
{
    return (uint32_t)(sizeof(passed_notes) + place->clients_count * sizeof(baton_le32));
}

/* A connection that is about to end ends here. */
static bool is_passed(const door_place *place)
{
    const connection *stream = &place->stream;
    return stream->fd >= 0 && !stream->failed && !stream->closing;
}

/* One piece of memory for the notes of all. */
static uint8_t *notes_of_all(door *own)
{
    size_t bytes = 1;
    for (uint32_t i = 1; i < own->places_end; i++)
        bytes += own->places[i].stream.fd >= 0 ? notes_bytes(&own->places[i]) : 0;
    free(own->notes);
    own->notes = malloc(bytes);
    return own->notes;
}

uint32_t door_give_connections(door *own, baton_connection *connections, uint32_t connections_max)
{
    uint32_t count = 0;
    own->given = true;
    uint8_t *notes = notes_of_all(own);
    for (uint32_t i = 1; i < own->places_end; i++) {
        door_place *place = &own->places[i];
        connection *stream = &place->stream;
        if (stream->fd < 0)
            continue;
        connection_send(stream); /* what this turn released: for the last time */
        loop_unwatch(&own->loop, stream->fd);
        stream->watched = 0;
        place->shared = true;
        if (notes == NULL || count == connections_max || !is_passed(place))
            continue;
        connections[count] = (baton_connection){
            .fd = stream->fd,
            .received = stream->in + stream->in_begin,
            .unsent = stream->out + stream->out_begin,
            .notes = notes,
            .received_bytes = stream->in_end - stream->in_begin,
            .unsent_bytes = (uint32_t)(stream->out_end - stream->out_begin),
            .notes_bytes = notes_bytes(place),
        };
        snprintf(connections[count].name, sizeof(connections[count].name), "%s",
                 own->options.roles[place->role].name);
        note(own, place, notes);
        notes += notes_bytes(place);
        count++;
    }
    return count;
}

/* Another version may have written it: what is not understood is not used. */
static bool read_notes(const baton_connection *from, passed_notes *ret_notes)
{
    if (from->notes_bytes < sizeof(*ret_notes))
        return false;
    memcpy(ret_notes, from->notes, sizeof(*ret_notes));
    return ret_notes->version == NOTES_VERSION &&
           from->notes_bytes ==
               sizeof(*ret_notes) +
                   (uint64_t)baton_le32_get(ret_notes->clients_count) * sizeof(baton_le32);
}

static void take_clients(door *own, door_place *place, const baton_connection *from)
{
    const uint8_t *ids = (const uint8_t *)from->notes + sizeof(passed_notes);
    for (size_t at = 0; at < from->notes_bytes - sizeof(passed_notes); at += sizeof(baton_le32)) {
        baton_le32 id;
        memcpy(&id, ids + at, sizeof(id));
        if (baton_le32_get(id) >= 1 && baton_le32_get(id) <= EXCHANGE_CLIENT_ID_MAX)
            door_route_to(own, baton_le32_get(id), place);
    }
}

/* False: it is not the server's. */
static bool take_one(door *own, const baton_connection *from)
{
    passed_notes notes;
    uint32_t role = 0;
    while (role < own->options.roles_count &&
           strcmp(from->name, own->options.roles[role].name) != 0)
        role++;
    if (!read_notes(from, &notes) || role == own->options.roles_count)
        return false;
    door_place *place = door_place_new(own, from->fd, role);
    if (place == NULL)
        return false;
    place->shared = true;
    place->stream.greeted = notes.greeted != 0;
    place->stream.ended = notes.ended != 0;
    place->stream.failed = !connection_restore(&place->stream, from->received, from->received_bytes,
                                               from->unsent, from->unsent_bytes);
    take_clients(own, place, from);
    if (notes.consumer != 0 && own->options.roles[role].has_room != NULL) {
        place->consumer = notes.consumer;
        place->behind = true;
        place->told_seq = baton_le64_get(notes.told_seq);
        place->told_index = baton_le32_get(notes.told_index);
    }
    return true;
}

void door_take_connections(door *own, const baton_connection *connections,
                           uint32_t connections_count)
{
    uint32_t closed = 0;
    for (uint32_t i = 0; i < connections_count; i++) {
        if (take_one(own, &connections[i]))
            continue;
        shutdown(connections[i].fd, SHUT_RDWR);
        close(connections[i].fd);
        closed++;
    }
    if (closed > 0)
        baton_log(WARN, "client.not_taken_over", BATON_LOG_NUMBER("connections", closed));
    go_on(own);
}

void door_let_go(door *own)
{
    for (uint32_t i = 0; i < own->options.roles_count; i++)
        own->listeners[i].unix_path[0] = '\0';
}
