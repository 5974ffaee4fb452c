/* Commands of clients: judged, journaled, or answered again. */
#include <stdio.h>
#include <string.h>

#include "examples/exchange/matching-engine/server_private.h"

/* An answer that needs no entry: nothing was applied now. */
static void answer_now(client_place *place, const exchange_command *command, uint16_t of_type,
                       const client_outcome *outcome)
{
    exchange_ack ack = {.command = *command,
                        .seq = baton_le64_put(outcome->seq),
                        .filled = baton_le64_put(outcome->filled),
                        .remaining = baton_le64_put(outcome->remaining),
                        .outcome = baton_le16_put(outcome->outcome),
                        .of_type = baton_le16_put(of_type)};
    connection_queue(&place->stream, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static void answer_refused(client_place *place, const exchange_command *command, uint16_t of_type,
                           exchange_outcome why)
{
    answer_now(place, command, of_type, &(client_outcome){.outcome = (uint16_t)why});
}

/* True: the frame is dealt with. False: the journal has no room now, show it again later. */
static bool submit(server *own, client_place *place, uint16_t type, const void *body,
                   uint32_t body_bytes, const exchange_command *command)
{
    uint64_t seq;
    int r = baton_engine_submit(own->engine, type, body, body_bytes, &seq);
    if (r == 0)
        return true; /* the ACK comes with its release */
    if (r == BATON_E_SCHEMA || r == BATON_E_UNKNOWN_TYPE) {
        answer_refused(place, command, type, EXCHANGE_NOT_HERE);
        return true;
    }
    /* FULL, NO_SPACE, LAGGING, SEALED, BROKEN: nothing happened, and the client is not told that
     * anything did. */
    return false;
}

static bool take_command(server *own, client_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes)
{
    exchange_command command;
    int r = matching_engine_command(type, body, body_bytes, &command);
    if (r == BATON_E_TOO_LARGE) {
        answer_refused(place, &command, type, EXCHANGE_BAD_COMMAND);
        return true;
    }
    if (r < 0) {
        server_refuse(place, r,
                      r == BATON_E_UNKNOWN_TYPE
                          ? "unknown frame type"
                          : "malformed command: wrong size, or non-zero padding or unknown flags");
        return true;
    }
    uint64_t client_id = baton_le64_get(command.client_id);
    server_route_to(own, client_id, place);
    if (type == EXCHANGE_CLOCK && !own->client_time) {
        answer_refused(place, &command, type, EXCHANGE_NOT_HERE);
        return true;
    }

    const matching_engine *state = baton_engine_state(own->engine);
    client_outcome outcome;
    switch (
        clients_judge(state->clients, client_id, baton_le64_get(command.client_seq), &outcome)) {
    case CLIENT_NEW_COMMAND:
        return submit(own, place, type, body, body_bytes, &command);
    case CLIENT_SENT_BEFORE:
        /* Applied, but perhaps not durable yet: then the ACK comes with its release. */
        if (outcome.seq <= baton_engine_released_seq(own->engine))
            answer_now(place, &command, outcome.of_type, &outcome);
        return true;
    case CLIENT_TOO_OLD:
        answer_refused(place, &command, type, EXCHANGE_TOO_OLD);
        return true;
    case CLIENT_NO_ROOM:
        answer_refused(place, &command, type, EXCHANGE_CLIENTS_FULL);
        return true;
    }
    return true;
}

static void take_hello(server *own, client_place *place, const void *body, uint32_t body_bytes)
{
    exchange_hello hello;
    if (body_bytes != sizeof(hello)) {
        server_refuse(place, BATON_E_INVALID, "the first frame must be HELLO");
        return;
    }
    memcpy(&hello, body, sizeof(hello));
    if (baton_le32_get(hello.version) != EXCHANGE_PROTOCOL_VERSION) {
        server_refuse(place, BATON_E_NEWER_FORMAT, "this engine speaks protocol version 1");
        return;
    }
    exchange_welcome welcome = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION),
                                .epoch = baton_le64_put(baton_engine_epoch(own->engine))};
    snprintf((char *)welcome.service_version, sizeof(welcome.service_version), "%s",
             matching_engine_service.version);
    place->stream.greeted = true;
    connection_queue(&place->stream, EXCHANGE_WELCOME, &welcome, sizeof(welcome), NULL, 0);
}

static bool take_confirm(server *own, client_place *place, const void *body, uint32_t body_bytes)
{
    exchange_key key;
    if (body_bytes != sizeof(key) || !place->subscribed) {
        server_refuse(place, BATON_E_INVALID, "CONFIRM needs a key, after SUBSCRIBE");
        return true;
    }
    memcpy(&key, body, sizeof(key));
    int r = baton_engine_confirm(own->engine, MATCHING_ENGINE_FEED, baton_le64_get(key.epoch),
                                 baton_le64_get(key.seq), baton_le32_get(key.index));
    if (r == BATON_E_INVALID)
        server_refuse(place, r, "confirmed a trade that was never sent");
    return r == 0 || r == BATON_E_INVALID;
}

static bool take_frame(server *own, client_place *place, uint16_t type, const void *body,
                       uint32_t body_bytes)
{
    if (!place->stream.greeted && type != EXCHANGE_HELLO) {
        server_refuse(place, BATON_E_INVALID, "the first frame must be HELLO");
        return true;
    }
    if (type == EXCHANGE_HELLO) {
        if (place->stream.greeted)
            server_refuse(place, BATON_E_INVALID, "HELLO twice");
        else
            take_hello(own, place, body, body_bytes);
        return true;
    }
    if (place->role == ROLE_ORDERS)
        return take_command(own, place, type, body, body_bytes);
    if (type == EXCHANGE_CONFIRM)
        return take_confirm(own, place, body, body_bytes);
    if (type == EXCHANGE_SUBSCRIBE && body_bytes == 0 && !place->subscribed)
        server_subscribe(own, place);
    else
        server_refuse(place, BATON_E_UNKNOWN_TYPE, "the feed takes SUBSCRIBE once, then CONFIRM");
    return true;
}

static void hold_back(server *own, client_place *place, bool hold)
{
    if (place->stream.held_back == hold)
        return;
    place->stream.held_back = hold;
    own->held_back_count += hold ? 1 : -1u;
}

void server_intake(server *own, client_place *place)
{
    bool room = true;
    while (room && own->taking && !place->stream.closing && !place->stream.failed) {
        uint16_t type;
        const void *body;
        uint32_t body_bytes;
        frame_verdict verdict = connection_frame(&place->stream, &type, &body, &body_bytes);
        if (verdict == FRAME_NONE)
            break;
        if (verdict != FRAME_READY) {
            server_refuse(place, verdict == FRAME_TOO_LARGE ? BATON_E_TOO_LARGE : BATON_E_INVALID,
                          verdict == FRAME_TOO_LARGE ? "frame larger than 8192 bytes"
                                                     : "malformed frame header");
            break;
        }
        room = take_frame(own, place, type, body, body_bytes);
        if (room)
            connection_take(&place->stream);
    }
    hold_back(own, place, !room);
    if (room && place->stream.ended && !place->stream.closing)
        place->stream.failed = true;
}
