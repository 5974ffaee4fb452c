#include "examples/exchange/order-service/report.h"

#include <string.h>

static uint64_t id_of(const exchange_command *order)
{
    return exchange_order_id(baton_le64_get(order->client_id), baton_le64_get(order->client_seq));
}

/* Open, and ours; else NULL. */
static const order_facts *find_open(const order_service_state *state, const exchange_command *order)
{
    const order_facts *found = orders_find(state->orders, id_of(order));
    return found != NULL && !order_is_over(found) ? found : NULL;
}

static void change(order_service_state *state, const order_facts *order, order_facts now)
{
    const uint64_t client_id = order->order_id >> 40;
    orders_change(state->orders, clients_index(state->clients, client_id), order, now);
}

/* One side of a trade. It is over when nothing remains; what else ends a taker is said with the last piece. */
static void trade_one(order_service_state *state, const exchange_command *name, uint64_t size,
                      uint64_t remaining)
{
    const order_facts *order = find_open(state, name);
    if (order == NULL)
        return;
    order_facts now = *order;
    now.filled += size;
    now.remaining = remaining;
    now.status = remaining == 0 ? EXCHANGE_ORDER_FILLED : EXCHANGE_ORDER_PARTLY_FILLED;
    change(state, order, now);
}

static void apply_trades(order_service_state *state, const uint8_t *items, uint32_t count)
{
    exchange_trade trade;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&trade, items + i * sizeof(trade), sizeof(trade));
        trade_one(state, &trade.maker, baton_le64_get(trade.size),
                  baton_le64_get(trade.maker_remaining));
        trade_one(state, &trade.taker, baton_le64_get(trade.size),
                  baton_le64_get(trade.taker_remaining));
    }
}

/* Orders that left the book without a trade: time has passed, or their owner met himself. */
static void apply_gone(order_service_state *state, const uint8_t *items, uint32_t count,
                       uint8_t status)
{
    exchange_gone gone;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&gone, items + i * sizeof(gone), sizeof(gone));
        const order_facts *order = find_open(state, &gone.order);
        if (order == NULL)
            continue;
        order_facts now = *order;
        now.status = status;
        change(state, order, now);
    }
}

/* Where the order stands after a command about it that was done. */
static void settle_order(order_service_state *state, const exchange_report *report)
{
    const exchange_command name = {.client_id = report->command.client_id,
                                   .client_seq = report->order_seq};
    const order_facts *order = find_open(state, &name);
    if (order == NULL)
        return; /* filled by its own trades */
    order_facts now = *order;
    now.price = (int64_t)baton_le64_get(report->price);
    now.size = baton_le64_get(report->size);
    now.remaining = baton_le64_get(report->remaining);
    if (!(report->flags & EXCHANGE_REPORT_RESTS))
        now.status = EXCHANGE_ORDER_CANCELLED;
    else
        now.status = now.filled > 0 ? EXCHANGE_ORDER_PARTLY_FILLED : EXCHANGE_ORDER_ACKNOWLEDGED;
    change(state, order, now);
}

static void reject_order(order_service_state *state, const exchange_report *report)
{
    const order_facts *order = find_open(state, &report->command);
    if (order == NULL)
        return;
    order_facts now = *order;
    now.status = EXCHANGE_ORDER_REJECTED;
    change(state, order, now);
}

/* The last piece: the command is answered. */
static void finish(order_service_state *state, const exchange_report *report)
{
    const uint16_t of_type = baton_le16_get(report->of_type);
    const client_outcome answer = {.filled = baton_le64_get(report->filled),
                                   .remaining = baton_le64_get(report->remaining),
                                   .outcome = baton_le16_get(report->outcome)};
    if (!clients_answer(state->clients, baton_le64_get(report->command.client_id),
                        baton_le64_get(report->command.client_seq), &answer))
        return; /* a command of somebody who does not come through here */
    const bool is_about_an_order = of_type == EXCHANGE_NEW_ORDER || of_type == EXCHANGE_CANCEL ||
                                   of_type == EXCHANGE_REDUCE || of_type == EXCHANGE_REPLACE;
    if (is_about_an_order && answer.outcome == EXCHANGE_DONE)
        settle_order(state, report);
    else if (of_type == EXCHANGE_NEW_ORDER)
        reject_order(state, report);
}

void report_apply(order_service_state *state, const void *payload)
{
    exchange_report report;
    memcpy(&report, payload, sizeof(report));
    const uint8_t *items = (const uint8_t *)payload + sizeof(report);
    const uint32_t count = baton_le32_get(report.items_count);
    const uint16_t of_type = baton_le16_get(report.of_type);
    if (report.items == EXCHANGE_REPORT_TRADES)
        apply_trades(state, items, count);
    else if (report.items == EXCHANGE_REPORT_GONE)
        apply_gone(state, items, count,
                   of_type == EXCHANGE_CLOCK || of_type == EXCHANGE_TICK
                       ? EXCHANGE_ORDER_EXPIRED
                       : EXCHANGE_ORDER_CANCELLED);
    if (report.flags & EXCHANGE_REPORT_LAST)
        finish(state, &report);
}

void report_barrier(order_service_state *state, uint16_t source, const void *payload,
                    baton_effects *effects)
{
    exchange_barrier barrier;
    memcpy(&barrier, payload, sizeof(barrier));
    if (source != EXCHANGE_MATCHING_ENGINE || !state->barrier_under_way ||
        baton_le64_get(barrier.id) != state->barrier_id)
        return;
    state->barrier_under_way = 0;
    state->barrier_risk_seq = baton_le64_get(barrier.risk_engine_seq);
    state->barrier_matching_seq = baton_le64_get(barrier.matching_engine_seq);
    baton_effect_emit(effects, BATON_CONSUMER_NONE, EFFECT_BARRIER_DONE, &barrier, sizeof(barrier));
}
