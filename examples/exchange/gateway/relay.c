/* What the order service says, to whom it is for. After a crash it says some of it twice; a client hears it once. */
#include <string.h>

#include "examples/exchange/gateway/gateway_private.h"

/* To where the client speaks; nowhere, if it is gone. */
static void tell(gateway *own, const exchange_command *whose, uint16_t type, const void *body,
                 uint32_t body_bytes)
{
    connection *to = door_route(own->door, baton_le64_get(whose->client_id));
    if (to != NULL)
        connection_queue(to, type, body, body_bytes, NULL, 0);
}

static void relay_ack(gateway *own, const void *body)
{
    exchange_ack ack;
    memcpy(&ack, body, sizeof(ack));
    if (!sessions_ack(own->sessions, baton_le64_get(ack.command.client_id),
                      baton_le64_get(ack.command.client_seq), baton_le64_get(ack.seq) != 0)) {
        gateway_note(own, COUNT_ACKS_DROPPED);
        return;
    }
    gateway_note(own, COUNT_ACKS);
    tell(own, &ack.command, EXCHANGE_ACK, body, sizeof(ack));
}

static void relay_fill(gateway *own, const void *body)
{
    exchange_fill fill;
    memcpy(&fill, body, sizeof(fill));
    if (!sessions_fill(own->sessions, baton_le64_get(fill.order.client_id),
                       baton_le64_get(fill.trade_id), fill.is_taker != 0)) {
        gateway_note(own, COUNT_FILLS_DROPPED);
        return;
    }
    gateway_note(own, COUNT_FILLS);
    tell(own, &fill.order, EXCHANGE_FILL, body, sizeof(fill));
}

static void relay_expired(gateway *own, const void *body)
{
    exchange_expired expired;
    memcpy(&expired, body, sizeof(expired));
    tell(own, &expired.order, EXCHANGE_EXPIRED, body, sizeof(expired));
}

static bool relay_orders(gateway *own, const void *body, uint32_t body_bytes)
{
    exchange_query query;
    uint64_t asker;
    if (body_bytes < sizeof(exchange_orders))
        return false;
    memcpy(&query, body, sizeof(query)); /* it begins with what was asked */
    if (!queries_answered(&own->queries, &query, &asker))
        return false;
    door_place *place = door_named(own->door, asker);
    if (place != NULL)
        connection_queue(&place->stream, EXCHANGE_ORDERS, body, body_bytes, NULL, 0);
    return true;
}

bool gateway_relay(void *owner, uint16_t type, const void *body, uint32_t body_bytes)
{
    gateway *own = owner;
    if (type == EXCHANGE_ORDERS)
        return relay_orders(own, body, body_bytes);
    if (type == EXCHANGE_ACK && body_bytes == sizeof(exchange_ack))
        relay_ack(own, body);
    else if (type == EXCHANGE_FILL && body_bytes == sizeof(exchange_fill))
        relay_fill(own, body);
    else if (type == EXCHANGE_EXPIRED && body_bytes == sizeof(exchange_expired))
        relay_expired(own, body);
    else
        return false;
    return true;
}
