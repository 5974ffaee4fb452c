#include "examples/exchange/risk-engine/settle.h"

#include <string.h>

#include "examples/exchange/risk-engine/cover.h"
#include "examples/exchange/risk-engine/mirror.h"

static const held_order *find(const risk_engine *engine, const exchange_command *name)
{
    return holds_find(engine->holds, exchange_order_id(baton_le64_get(name->client_id),
                                                       baton_le64_get(name->client_seq)));
}

/* One side of a trade that is paid: what its order was and held becomes less. */
static void trade_one(risk_engine *engine, const exchange_command *name, uint64_t size,
                      uint64_t cost, uint64_t remaining)
{
    const held_order *order = find(engine, name);
    held_order now = *order;
    const uint64_t paid = order->side == BOOK_BUY ? cost : size;
    now.filled += size;
    now.remaining = remaining;
    now.size_max -= size < now.size_max ? size : now.size_max;
    if (paid > now.held)
        engine->strays++;
    now.held -= paid < now.held ? paid : now.held;

    const exposure *was = exposures_find(engine->exposures, order->order_id >> 40, order->symbol);
    exposure traded = *was;
    exposure_trade(&traded, order->side, size, cost);
    mirror_change(engine, was, &traded);
    cover_update(engine, order, now);
}

static bool settle(risk_engine *engine, const exchange_trade *trade, uint64_t *ret_cost)
{
    const held_order *maker = find(engine, &trade->maker);
    const held_order *taker = find(engine, &trade->taker);
    const int64_t price = (int64_t)baton_le64_get(trade->price);
    const uint64_t size = baton_le64_get(trade->size);
    if (maker == NULL || taker == NULL || maker->symbol != taker->symbol ||
        maker->side == taker->side)
        return false;
    const held_order *buyer = maker->side == BOOK_BUY ? maker : taker;
    const held_order *seller = maker->side == BOOK_BUY ? taker : maker;
    const ledger_pair *pair = cover_pair(engine, maker);
    /* With the trade's own price as the buyer's: exactly the cost moves. What its hold has beyond that is
     * released by cover_update, which knows what else is under way. */
    const ledger_trade moved = {.buyer_id = buyer->order_id >> 40,
                                .seller_id = seller->order_id >> 40,
                                .price = price,
                                .size = size,
                                .buyer_limit = price};
    return ledger_buy_hold(pair, price, size, ret_cost) == LEDGER_OK &&
           ledger_settle(engine->ledger, pair, &moved) == LEDGER_OK;
}

static void settle_trades(risk_engine *engine, const uint8_t *items, uint32_t count)
{
    exchange_trade trade;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&trade, items + i * sizeof(trade), sizeof(trade));
        const uint64_t size = baton_le64_get(trade.size);
        uint64_t cost;
        if (!settle(engine, &trade, &cost)) {
            engine->strays++;
            continue;
        }
        trade_one(engine, &trade.maker, size, cost, baton_le64_get(trade.maker_remaining));
        trade_one(engine, &trade.taker, size, cost, baton_le64_get(trade.taker_remaining));
    }
}

static void end_order(risk_engine *engine, const held_order *order)
{
    held_order now = *order;
    now.remaining = 0;
    cover_update(engine, order, now);
}

/* Orders that left the book without a trade: time has passed, or their owner met himself. */
static void release_gone(risk_engine *engine, const uint8_t *items, uint32_t count)
{
    exchange_gone gone;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&gone, items + i * sizeof(gone), sizeof(gone));
        const held_order *order = find(engine, &gone.order);
        if (order != NULL)
            end_order(engine, order);
    }
}

/* The last piece: where the order that the command was about stands now. */
static void finish(risk_engine *engine, const exchange_report *report)
{
    const uint16_t of_type = baton_le16_get(report->of_type);
    const bool done = baton_le16_get(report->outcome) == EXCHANGE_DONE;
    const exchange_command name = {.client_id = report->command.client_id,
                                   .client_seq = of_type == EXCHANGE_NEW_ORDER
                                                     ? report->command.client_seq
                                                     : report->order_seq};
    const held_order *order = find(engine, &name);
    if (order == NULL) /* it has traded in full, or nobody placed it here */
        return;
    held_order now = *order;
    const uint64_t price = baton_le64_get(report->price);
    if (of_type == EXCHANGE_REPLACE && now.replaces > 0)
        now.replaces--;
    if (done)
        now.remaining =
            report->flags & EXCHANGE_REPORT_RESTS ? baton_le64_get(report->remaining) : 0;
    else if (of_type == EXCHANGE_NEW_ORDER)
        now.remaining = 0;
    if (done && of_type == EXCHANGE_REPLACE && price <= now.price_max)
        now.price = price;
    else if (done && of_type == EXCHANGE_REPLACE)
        engine->strays++; /* dearer than anything that was asked for */
    cover_update(engine, order, now);
}

void settle_report(risk_engine *engine, const void *payload)
{
    exchange_report report;
    memcpy(&report, payload, sizeof(report));
    const uint8_t *items = (const uint8_t *)payload + sizeof(report);
    const uint32_t count = baton_le32_get(report.items_count);
    const uint16_t of_type = baton_le16_get(report.of_type);
    if (report.items == EXCHANGE_REPORT_TRADES)
        settle_trades(engine, items, count);
    else if (report.items == EXCHANGE_REPORT_GONE)
        release_gone(engine, items, count);
    if ((report.flags & EXCHANGE_REPORT_LAST) &&
        (of_type == EXCHANGE_NEW_ORDER || of_type == EXCHANGE_CANCEL ||
         of_type == EXCHANGE_REDUCE || of_type == EXCHANGE_REPLACE))
        finish(engine, &report);
}
