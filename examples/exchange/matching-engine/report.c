#include "examples/exchange/matching-engine/report.h"

#include <assert.h>

static_assert(sizeof(((report *)0)->trades) <= BATON_EFFECT_BYTES_MAX, "a piece is one effect");
static_assert(sizeof(((report *)0)->gone) <= BATON_EFFECT_BYTES_MAX, "a piece is one effect");

void report_begin(report *own, matching_engine *engine, baton_effects *effects,
                  const exchange_report *head)
{
    own->engine = engine;
    own->effects = effects;
    own->head = *head;
    own->trades_count = 0;
    own->gone_count = 0;
}

/* To each consumer, in the order of their numbers; without any, to the engine's own clients alone. */
static void emit(const report *own, const void *bytes, uint32_t bytes_count)
{
    uint32_t left = own->engine->consumers;
    if (left == 0)
        baton_effect_emit(own->effects, BATON_CONSUMER_NONE, EFFECT_REPORT, bytes, bytes_count);
    for (; left != 0; left &= left - 1)
        baton_effect_emit(own->effects, (uint32_t)__builtin_ctz(left), EFFECT_REPORT, bytes,
                          bytes_count);
}

static void emit_trades(report *own)
{
    own->trades.head = own->head;
    own->trades.head.items = EXCHANGE_REPORT_TRADES;
    own->trades.head.items_count = baton_le32_put(own->trades_count);
    emit(own, &own->trades,
         (uint32_t)(sizeof(own->trades.head) + own->trades_count * sizeof(exchange_trade)));
    own->trades_count = 0;
}

static void emit_gone(report *own)
{
    own->gone.head = own->head;
    own->gone.head.items = EXCHANGE_REPORT_GONE;
    own->gone.head.items_count = baton_le32_put(own->gone_count);
    emit(own, &own->gone,
         (uint32_t)(sizeof(own->gone.head) + own->gone_count * sizeof(exchange_gone)));
    own->gone_count = 0;
}

void report_trade(report *own, const book_fill *fill)
{
    matching_engine *engine = own->engine;
    if (own->trades_count == TRADES_PER_REPORT)
        emit_trades(own);
    own->trades.items[own->trades_count++] =
        (exchange_trade){.trade_id = baton_le64_put(fill->trade_id),
                         .maker = exchange_order_name(fill->maker_order_id),
                         .taker = exchange_order_name(fill->taker_order_id),
                         .price = baton_le64_put((uint64_t)fill->price),
                         .size = baton_le64_put(fill->size),
                         .maker_remaining = baton_le64_put(fill->maker_remaining),
                         .taker_remaining = baton_le64_put(fill->taker_remaining),
                         .taker_side = (uint8_t)fill->taker_side};
    if (engine->features & EXCHANGE_FEATURE_VOLUMES)
        clients_add_volume(engine->clients, fill->maker_client_id, fill->size);
}

void report_gone(report *own, const book_resting *order)
{
    if (own->gone_count == GONE_PER_REPORT)
        emit_gone(own);
    own->gone.items[own->gone_count++] =
        (exchange_gone){.order = exchange_order_name(order->order_id),
                        .price = baton_le64_put((uint64_t)order->price),
                        .remaining = baton_le64_put(order->remaining),
                        .symbol = baton_le32_put(order->symbol),
                        .side = (uint8_t)order->side};
}

static void on_fill(void *context, const book_fill *fill)
{
    report_trade(context, fill);
}

static void on_gone(void *context, const book_resting *order)
{
    report_gone(context, order);
}

book_events report_events(report *own)
{
    return (book_events){.on_fill = on_fill, .on_gone = on_gone, .context = own};
}

void report_end(report *own)
{
    if (own->trades_count > 0) {
        if (own->gone_count == 0)
            own->head.flags |= EXCHANGE_REPORT_LAST;
        emit_trades(own);
    }
    if (own->gone_count > 0) {
        own->head.flags |= EXCHANGE_REPORT_LAST;
        emit_gone(own);
    }
    /* Nothing traded, nothing went: only who follows all commands wants to know. */
    if (!(own->head.flags & EXCHANGE_REPORT_LAST) && own->engine->consumers != 0) {
        own->head.flags |= EXCHANGE_REPORT_LAST;
        emit(own, &own->head, sizeof(own->head));
    }
}
