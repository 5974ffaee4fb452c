/* What connections say: HELLO is the door's, the rest is the owner's. And whose answers go where. */
#include <stdio.h>
#include <string.h>

#include <baton/log.h>

#include "examples/exchange/wire/door_private.h"

door_place *door_named(door *own, uint64_t connection_id)
{
    door_place *place = &own->places[connection_id % DOOR_CONNECTIONS_MAX];
    return connection_id != 0 && place->stream.id == connection_id ? place : NULL;
}

connection *door_route(door *own, uint64_t client_id)
{
    door_place *place = door_named(own, own->routes[client_id & EXCHANGE_CLIENT_ID_MAX].connection);
    return place != NULL ? &place->stream : NULL;
}

void door_route_to(door *own, uint64_t client_id, door_place *place)
{
    client_route *route = &own->routes[client_id];
    door_place *before = door_named(own, route->connection);
    if (before == place || (before != NULL && place->stream.held_back))
        return; /* what was held back came before: its client may have come elsewhere since */
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

void door_refuse(door_place *place, int status, const char *text)
{
    exchange_error error = {.status = baton_le32_put((uint32_t)-status)};
    snprintf((char *)error.text, sizeof(error.text), "%s", text);
    connection_queue(&place->stream, EXCHANGE_ERROR, &error, sizeof(error), NULL, 0);
    place->stream.closing = true;
    baton_log(WARN, "client.refused", BATON_LOG_NUMBER("connection", place->stream.id),
              BATON_LOG_TEXT("why", text));
}

static void take_hello(door *own, door_place *place, const void *body, uint32_t body_bytes)
{
    exchange_hello hello;
    if (body_bytes != sizeof(hello)) {
        door_refuse(place, BATON_E_INVALID, "the first frame must be HELLO");
        return;
    }
    memcpy(&hello, body, sizeof(hello));
    if (baton_le32_get(hello.version) != EXCHANGE_PROTOCOL_VERSION) {
        door_refuse(place, BATON_E_NEWER_FORMAT, "protocol version 1 is spoken here");
        return;
    }
    exchange_welcome welcome = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION),
                                .epoch = baton_le64_put(own->epoch)};
    snprintf((char *)welcome.service_version, sizeof(welcome.service_version), "%s",
             own->options.version);
    place->stream.greeted = true;
    connection_queue(&place->stream, EXCHANGE_WELCOME, &welcome, sizeof(welcome), NULL, 0);
}

static bool take_frame(void *context, uint16_t type, const void *body, uint32_t body_bytes)
{
    door_place *place = context;
    door *own = place->owner;
    if (place->stream.greeted && type != EXCHANGE_HELLO)
        return own->options.roles[place->role].take(own->options.owner, place, type, body,
                                                    body_bytes);
    if (type != EXCHANGE_HELLO)
        door_refuse(place, BATON_E_INVALID, "the first frame must be HELLO");
    else if (place->stream.greeted)
        door_refuse(place, BATON_E_INVALID, "HELLO twice");
    else
        take_hello(own, place, body, body_bytes);
    return true;
}

void door_intake(door *own, door_place *place)
{
    connection *stream = &place->stream;
    if (!own->taking) {
        stream->failed |= stream->ended && !stream->closing;
        return;
    }
    const frame_verdict verdict = connection_each(stream, take_frame, place);
    if (verdict == FRAME_TOO_LARGE)
        door_refuse(place, BATON_E_TOO_LARGE, "frame larger than 8192 bytes");
    else if (verdict == FRAME_MALFORMED)
        door_refuse(place, BATON_E_INVALID, "malformed frame header");
}
