/* What clients send: judged, journaled, or answered at once. */
#include <string.h>

#include "examples/exchange/clients/commands.h"
#include "examples/exchange/order-service/server_private.h"

enum {
    PAGE_MAX = (EXCHANGE_BODY_BYTES_MAX - sizeof(exchange_orders)) / sizeof(exchange_order_state)
};

static void answer_refused(door_place *place, const exchange_command *command, uint16_t of_type,
                           exchange_outcome why)
{
    server_answer(&place->stream, command,
                  &(client_outcome){.outcome = (uint16_t)why, .of_type = of_type});
}

void server_count_waiting(server *own)
{
    const order_service_state *state = baton_engine_state(own->engine);
    const uint64_t pending = clients_pending(state->clients);
    own->held_ticks = own->held ? own->held_ticks + 1 : 0;
    own->held = false;
    own->old_ticks++;
    if (own->old_left > 0 && pending > 0)
        return;
    own->old_seq = baton_engine_applied_seq(own->engine);
    own->old_left = pending;
    own->old_ticks = 0;
}

static bool refuse_for_room(server *own, door_place *place, const exchange_command *command,
                            uint16_t of_type)
{
    answer_refused(place, command, of_type, EXCHANGE_NO_ROOM);
    baton_metric_add(own->no_room, 1);
    return true;
}

/* False: it waits for room, be it in the journal, or because so much is under way that has no answer yet: that bounds
 * what waits between the services, of one client and of all. Who has waited for too long is refused. */
static bool submit(server *own, door_place *place, uint16_t type, const void *body,
                   uint32_t body_bytes, const exchange_command *command)
{
    const order_service_state *state = baton_engine_state(own->engine);
    if (own->old_left > 0 && own->old_ticks > own->patience)
        return refuse_for_room(own, place, command, type);
    if (!clients_have_room(state->clients, baton_le64_get(command->client_id)))
        return false;
    int r = BATON_E_LAGGING;
    if (clients_pending(state->clients) < own->pending_max)
        r = baton_engine_submit(own->engine, type, body, body_bytes, NULL);
    if (r == BATON_E_SCHEMA || r == BATON_E_UNKNOWN_TYPE) {
        answer_refused(place, command, type, EXCHANGE_NOT_HERE);
        return true;
    }
    if (r == 0) {
        own->held_ticks = 0;
        return true;
    }
    own->held = true;
    return own->held_ticks > own->patience && refuse_for_room(own, place, command, type);
}

/* Of a command that was sent before. Its answer may be on its way: then it comes with the report, or with the
 * release of its own entry. */
static void answer_again(server *own, door_place *place, const exchange_command *command,
                         const client_outcome *outcome)
{
    if (outcome->outcome != EXCHANGE_PENDING &&
        outcome->seq <= baton_engine_released_seq(own->engine))
        server_answer(&place->stream, command, outcome);
}

static bool take_order_command(server *own, door_place *place, uint16_t type, const void *body,
                               uint32_t body_bytes)
{
    exchange_command command;
    int r = exchange_command_check(type, body, body_bytes, &command);
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
    const order_service_state *state = baton_engine_state(own->engine);
    const uint64_t client_id = baton_le64_get(command.client_id);
    client_outcome outcome;
    door_route_first(own->wire.door, client_id, place);
    switch (
        clients_judge(state->clients, client_id, baton_le64_get(command.client_seq), &outcome)) {
    case CLIENT_NEW_COMMAND:
        return submit(own, place, type, body, body_bytes, &command);
    case CLIENT_SENT_BEFORE:
        answer_again(own, place, &command, &outcome);
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

static exchange_order_state wire_of(const order_facts *order)
{
    return (exchange_order_state){.order = exchange_order_name(order->order_id),
                                  .price = baton_le64_put((uint64_t)order->price),
                                  .size = baton_le64_put(order->size),
                                  .filled = baton_le64_put(order->filled),
                                  .remaining = baton_le64_put(order->remaining),
                                  .expire_ns = baton_le64_put(order->expire_ns),
                                  .symbol = baton_le32_put(order->symbol),
                                  .status = order->status,
                                  .side = order->side,
                                  .time_in_force = order->time_in_force,
                                  .order_type = order->order_type,
                                  .flags = order->flags};
}

static void take_query(server *own, door_place *place, const void *body, uint32_t body_bytes)
{
    const order_service_state *state = baton_engine_state(own->engine);
    const order_facts *found[PAGE_MAX + 1];
    exchange_order_state items[PAGE_MAX];
    exchange_orders head = {0};
    uint32_t count = 0;
    if (body_bytes != sizeof(head.query)) {
        door_refuse(place, BATON_E_INVALID, "malformed QUERY");
        return;
    }
    memcpy(&head.query, body, sizeof(head.query));
    const uint64_t client_id = baton_le64_get(head.query.client_id);
    const uint64_t order_seq = baton_le64_get(head.query.order_seq);
    const uint32_t index = clients_index(state->clients, client_id);
    if (order_seq == 0 && index != CLIENTS_NONE)
        count = orders_page(state->orders, index, baton_le64_get(head.query.after_seq), found,
                            PAGE_MAX + 1);
    else if (index != CLIENTS_NONE && order_seq <= EXCHANGE_CLIENT_SEQ_MAX)
        count = (found[0] = orders_find(state->orders, exchange_order_id(client_id, order_seq))) !=
                NULL;
    head.more = baton_le32_put(count > PAGE_MAX);
    if (count > PAGE_MAX)
        count = PAGE_MAX;
    head.orders_count = baton_le32_put(count);
    for (uint32_t i = 0; i < count; i++)
        items[i] = wire_of(found[i]);
    connection_queue(&place->stream, EXCHANGE_ORDERS, &head, sizeof(head), items,
                     count * (uint32_t)sizeof(items[0]));
}

static bool take_barrier(server *own, door_place *place, const void *body, uint32_t body_bytes)
{
    const order_service_state *state = baton_engine_state(own->engine);
    exchange_barrier barrier;
    if (body_bytes == sizeof(barrier))
        memcpy(&barrier, body, sizeof(barrier));
    if (body_bytes != sizeof(barrier) || baton_le64_get(barrier.order_service_seq) != 0 ||
        baton_le64_get(barrier.risk_engine_seq) != 0 ||
        baton_le64_get(barrier.matching_engine_seq) != 0) {
        door_refuse(place, BATON_E_INVALID, "malformed BARRIER");
        return true;
    }
    if (state->barrier_under_way) {
        own->barrier_asker = place->stream.id;
        return true;
    }
    if (baton_le64_get(barrier.id) <= state->barrier_id) {
        const exchange_barrier done = {.id = baton_le64_put(state->barrier_id),
                                       .order_service_seq = baton_le64_put(state->barrier_seq),
                                       .risk_engine_seq = baton_le64_put(state->barrier_risk_seq),
                                       .matching_engine_seq =
                                           baton_le64_put(state->barrier_matching_seq)};
        connection_queue(&place->stream, EXCHANGE_BARRIER_DONE, &done, sizeof(done), NULL, 0);
        return true;
    }
    int r = baton_engine_submit(own->engine, ENTRY_BARRIER, &barrier, sizeof(barrier), NULL);
    if (r == 0)
        own->barrier_asker = place->stream.id;
    return r == 0;
}

bool server_take_command(void *owner, door_place *place, uint16_t type, const void *body,
                         uint32_t body_bytes)
{
    server *own = owner;
    if (type == EXCHANGE_BARRIER)
        return take_barrier(own, place, body, body_bytes);
    if (type != EXCHANGE_QUERY)
        return take_order_command(own, place, type, body, body_bytes);
    take_query(own, place, body, body_bytes);
    return true;
}
