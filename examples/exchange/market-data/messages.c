#include "examples/exchange/market-data/messages.h"

#include <string.h>

/* One report under way. */
typedef struct {
    levels *books;
    message_group *out;
    uint32_t touched_count;
    market_level touched[MESSAGES_MAX / 2]; /* symbol, side and price of each */
} step;

static market_message *next_message(step *own, market_type type)
{
    market_message *message = &own->out->list[own->out->count++];
    *message = (market_message){.type = (uint16_t)type};
    return message;
}

static void touch(step *own, uint32_t symbol, uint8_t side, int64_t price)
{
    for (uint32_t i = 0; i < own->touched_count; i++) {
        const market_level *known = &own->touched[i];
        if (baton_le32_get(known->symbol) == symbol && known->side == side &&
            (int64_t)baton_le64_get(known->price) == price)
            return;
    }
    own->touched[own->touched_count++] = (market_level){
        .symbol = baton_le32_put(symbol), .side = side, .price = baton_le64_put((uint64_t)price)};
}

static int add(step *own, uint32_t symbol, uint8_t side, int64_t price, uint64_t size)
{
    touch(own, symbol, side, price);
    return levels_add(own->books, symbol, side, price, size);
}

static int take(step *own, uint32_t symbol, uint8_t side, int64_t price, uint64_t size,
                bool order_goes)
{
    touch(own, symbol, side, price);
    return levels_take(own->books, symbol, side, price, size, order_goes);
}

static int trade(step *own, uint32_t symbol, const exchange_trade *said)
{
    next_message(own, MARKET_TRADE)->trade = (market_trade){.trade_id = said->trade_id,
                                                            .price = said->price,
                                                            .size = said->size,
                                                            .symbol = baton_le32_put(symbol),
                                                            .taker_side = said->taker_side};
    const uint8_t side = said->taker_side == BOOK_BUY ? BOOK_SELL : BOOK_BUY;
    return take(own, symbol, side, (int64_t)baton_le64_get(said->price), baton_le64_get(said->size),
                baton_le64_get(said->maker_remaining) == 0);
}

static int items(step *own, const exchange_report *head, const uint8_t *at)
{
    int r = 0;
    for (uint32_t left = baton_le32_get(head->items_count); left > 0 && r == 0; left--) {
        exchange_trade one;
        exchange_gone gone;
        if (head->items == EXCHANGE_REPORT_TRADES) {
            memcpy(&one, at, sizeof(one));
            at += sizeof(one);
            r = trade(own, baton_le32_get(head->symbol), &one);
        } else {
            memcpy(&gone, at, sizeof(gone));
            at += sizeof(gone);
            r = take(own, baton_le32_get(gone.symbol), gone.side,
                     (int64_t)baton_le64_get(gone.price), baton_le64_get(gone.remaining), true);
        }
    }
    return r;
}

/* What the command made of its order, known with the last piece. */
static int order(step *own, const exchange_report *head)
{
    const bool last = head->flags & EXCHANGE_REPORT_LAST;
    const bool rests = head->flags & EXCHANGE_REPORT_RESTS;
    const uint32_t symbol = baton_le32_get(head->symbol);
    const uint64_t before = baton_le64_get(head->remaining_before);
    int r = 0;
    if (!last || baton_le16_get(head->outcome) != EXCHANGE_DONE)
        return 0;
    if (before != 0)
        r = take(own, symbol, head->side, (int64_t)baton_le64_get(head->price_before), before,
                 true);
    if (r == 0 && rests)
        r = add(own, symbol, head->side, (int64_t)baton_le64_get(head->price),
                baton_le64_get(head->remaining));
    return r;
}

/* Tell how things are at the prices that were touched, and at the top where that is not what was told. */
static void tell(step *own)
{
    for (uint32_t i = 0; i < own->touched_count; i++) {
        const market_level *at = &own->touched[i];
        next_message(own, MARKET_LEVEL)->level = levels_get(
            own->books, baton_le32_get(at->symbol), at->side, (int64_t)baton_le64_get(at->price));
    }
    for (uint32_t i = 0; i < own->touched_count; i++) {
        const uint32_t symbol = baton_le32_get(own->touched[i].symbol);
        const market_top now = levels_top(own->books, symbol);
        market_top *told = levels_told(own->books, symbol);
        if (memcmp(&now, told, sizeof(now)) == 0)
            continue;
        *told = now;
        next_message(own, MARKET_TOP)->top = now;
    }
}

int messages_of_report(levels *books, const void *payload, uint32_t payload_bytes,
                       message_group *ret_messages)
{
    step own = {.books = books, .out = ret_messages};
    exchange_report head;
    (void)payload_bytes; /* checked */
    ret_messages->count = 0;
    memcpy(&head, payload, sizeof(head));
    int r = items(&own, &head, (const uint8_t *)payload + sizeof(head));
    if (r == 0)
        r = order(&own, &head);
    if (r == 0)
        tell(&own);
    return r;
}

int messages_follow(levels *books, const market_message *message)
{
    market_top *told;
    switch ((market_type)message->type) {
    case MARKET_LEVEL:
        return levels_set(books, &message->level);
    case MARKET_TOP:
        told = levels_told(books, baton_le32_get(message->top.symbol));
        if (!told)
            return BATON_E_INVALID;
        *told = message->top;
        return 0;
    case MARKET_TRADE:
        return 0;
    }
    return BATON_E_UNKNOWN_TYPE;
}
