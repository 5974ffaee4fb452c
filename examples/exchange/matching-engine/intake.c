/* Commands of clients: judged, journaled, or answered again. */
#include <string.h>

#include "examples/exchange/matching-engine/server_private.h"

/* An answer that needs no entry: nothing was applied now. */
static void answer_now(door_place *place, const exchange_command *command, uint16_t of_type,
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

static void answer_refused(door_place *place, const exchange_command *command, uint16_t of_type,
                           exchange_outcome why)
{
    answer_now(place, command, of_type, &(client_outcome){.outcome = (uint16_t)why});
}

/* True: the frame is dealt with. False: the journal has no room now, show it again later. */
static bool submit(server *own, door_place *place, uint16_t type, const void *body,
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

bool server_take_command(void *owner, door_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes)
{
    server *own = owner;
    exchange_command command;
    int r = matching_engine_command(type, body, body_bytes, &command);
    if (r == BATON_E_TOO_LARGE) {
        answer_refused(place, &command, type, EXCHANGE_BAD_COMMAND);
        return true;
    }
    if (r < 0) {
        door_refuse(place, r,
                    r == BATON_E_UNKNOWN_TYPE
                        ? "unknown frame type"
                        : "malformed command: wrong size, or non-zero padding or unknown flags");
        return true;
    }
    uint64_t client_id = baton_le64_get(command.client_id);
    door_route_first(own->wire.door, client_id, place);
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
