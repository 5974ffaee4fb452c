/* What clients send: refused here if the order service would end the connection for it, which is that of all
 * clients; else on its way. */
#include <string.h>

#include "examples/exchange/clients/commands.h"
#include "examples/exchange/gateway/gateway_private.h"

static void answer_refused(door_place *place, const exchange_command *command, uint16_t of_type,
                           exchange_outcome why)
{
    const exchange_ack ack = {.command = *command,
                              .outcome = baton_le16_put((uint16_t)why),
                              .of_type = baton_le16_put(of_type)};
    connection_queue(&place->stream, EXCHANGE_ACK, &ack, sizeof(ack), NULL, 0);
}

static bool take_query(gateway *own, door_place *place, const void *body, uint32_t body_bytes)
{
    exchange_query query;
    if (body_bytes != sizeof(query)) {
        door_refuse(place, BATON_E_INVALID, "malformed QUERY");
        return true;
    }
    memcpy(&query, body, sizeof(query));
    if (!queries_take(&own->queries, place->stream.id, &query))
        return false;
    gateway_note(own, COUNT_QUERIES);
    return true;
}

static bool take_command(gateway *own, door_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes, const exchange_command *command)
{
    const uint64_t client_id = baton_le64_get(command->client_id);
    switch (sessions_take(own->sessions, type, body, body_bytes)) {
    case SESSION_TAKEN:
        door_route_to(own->door, client_id, place);
        gateway_note(own, COUNT_COMMANDS);
        return true;
    case SESSION_OPEN:
        door_route_to(own->door, client_id, place);
        gateway_note(own, COUNT_RESENDS);
        return true;
    case SESSION_NO_ROOM: /* nor has it spoken: its client may do so elsewhere meanwhile */
        return false;
    case SESSION_CLIENTS_FULL:
        answer_refused(place, command, type, EXCHANGE_CLIENTS_FULL);
        return true;
    }
    return true;
}

/* Nobody proves who it is: so what moves money or stops trading does not come in where clients do, nor orders where
 * operators are. */
static bool belongs_here(const door_place *place, uint16_t type)
{
    return exchange_command_is_operators(type) == (place->role == ROLE_OPERATORS);
}

static const char *why_unknown(uint16_t type)
{
    return type == EXCHANGE_BARRIER ? "barriers go to the order service itself"
                                    : "unknown frame type";
}

bool gateway_take(void *owner, door_place *place, uint16_t type, const void *body,
                  uint32_t body_bytes)
{
    gateway *own = owner;
    exchange_command command;
    if (type == EXCHANGE_QUERY)
        return take_query(own, place, body, body_bytes);
    const int r = exchange_command_check(type, body, body_bytes, &command);
    if (r == 0 && !belongs_here(place, type)) {
        answer_refused(place, &command, type, EXCHANGE_NOT_HERE);
        gateway_note(own, COUNT_NOT_HERE);
        return true;
    }
    if (r == 0 && body_bytes <= SESSION_COMMAND_BYTES_MAX)
        return take_command(own, place, type, body, body_bytes, &command);
    if (r == BATON_E_TOO_LARGE)
        answer_refused(place, &command, type, EXCHANGE_BAD_COMMAND);
    else if (r == BATON_E_UNKNOWN_TYPE)
        door_refuse(place, r, why_unknown(type));
    else
        door_refuse(place, BATON_E_INVALID,
                    "malformed command: wrong size, or non-zero padding or unknown flags");
    return true;
}
