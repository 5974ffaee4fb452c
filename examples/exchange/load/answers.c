#include "examples/exchange/load/answers.h"

static bool is_applied(uint16_t outcome)
{
    return outcome != EXCHANGE_TOO_OLD && outcome != EXCHANGE_CLIENTS_FULL &&
           outcome != EXCHANGE_BAD_COMMAND && outcome != EXCHANGE_NOT_HERE &&
           outcome != EXCHANGE_NO_ROOM;
}

/* LANE_END: there is no such command, or it was not sent. */
static uint32_t find(const answers *own, const exchange_command *name)
{
    const uint64_t index = baton_le64_get(name->client_seq) - 1;
    if (index >= own->lanes->count || own->results[index].intended_ns == 0 ||
        baton_le64_get(own->lanes->commands[index].body.command.client_id) !=
            baton_le64_get(name->client_id))
        return LANE_END;
    return (uint32_t)index;
}

static bool is_same(const command_result *known, const command_result *answer)
{
    return answer->seq == known->seq && answer->filled == known->filled &&
           answer->remaining == known->remaining && answer->outcome == known->outcome;
}

/* What traded counts for the order: a replacement takes in the name of what it replaces. */
static void note_filled(answers *own, uint32_t index, uint64_t filled)
{
    const load_command *command = &own->lanes->commands[index];
    uint64_t order = index;
    if (command->type == EXCHANGE_REPLACE)
        order = baton_le64_get(command->body.replace.order_seq) - 1;
    else if (command->type != EXCHANGE_NEW_ORDER)
        return;
    own->results[order].told_filled += filled;
}

answer_verdict answers_ack(answers *own, const exchange_ack *ack, uint64_t now_ns,
                           uint32_t connection, uint32_t *ret_index)
{
    const uint32_t index = *ret_index = find(own, &ack->command);
    if (index == LANE_END || own->lanes->commands[index].type != baton_le16_get(ack->of_type)) {
        own->counts.conflicts++; /* an answer to what was never asked */
        return ANSWER_CONFLICT;
    }
    command_result *known = &own->results[index];
    command_result answer = *known;
    answer.seq = baton_le64_get(ack->seq);
    answer.filled = baton_le64_get(ack->filled);
    answer.remaining = baton_le64_get(ack->remaining);
    answer.outcome = baton_le16_get(ack->outcome);
    if (known->acked_ns != 0) {
        const bool same = is_same(known, &answer);
        own->counts.conflicts += !same;
        return same ? ANSWER_AGAIN : ANSWER_CONFLICT;
    }
    answer.acked_ns = now_ns;
    answer.connection = connection;
    *known = answer;
    lanes_answered(own->lanes, index);
    note_filled(own, index, answer.filled);
    own->counts.acked++;
    own->counts.no_room += answer.outcome == EXCHANGE_NO_ROOM;
    own->counts.refused += !is_applied(answer.outcome);
    return ANSWER_FIRST;
}

/* A client hears of trades in their order, the maker of one before its taker: so one number says what it has heard. */
void answers_fill(answers *own, const exchange_fill *fill)
{
    const uint32_t index = find(own, &fill->order);
    if (index == LANE_END || own->lanes->commands[index].type != EXCHANGE_NEW_ORDER) {
        own->counts.conflicts++;
        return;
    }
    lane_client *client = lanes_client(own->lanes, baton_le64_get(fill->order.client_id));
    const uint64_t number = baton_le64_get(fill->trade_id) * 2 + (fill->is_taker != 0);
    if (number <= client->told_fill) {
        own->counts.fills_again++;
        return;
    }
    client->told_fill = number;
    own->counts.fills++;
    if (fill->is_taker)
        own->results[index].taken += baton_le64_get(fill->size);
    else
        own->results[index].made += baton_le64_get(fill->size);
}

answers_sums answers_add_up(const answers *own)
{
    answers_sums sums = {0};
    for (uint32_t i = 0; i < own->lanes->count; i++) {
        const command_result *order = &own->results[i];
        sums.fills_short += order->taken < order->told_filled;
        sums.fills_over += order->taken > order->told_filled;
    }
    return sums;
}
