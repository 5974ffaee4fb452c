#include "bench/exchange_flow.h"

#include <stdlib.h>
#include <string.h>

#include "examples/exchange/book/book.h"

enum { LIVE_MAX = 1 << 16, MIDDLE = 34300 };

typedef struct {
    uint64_t random;
    order_book *book; /* knows what rests */
    uint64_t live[LIVE_MAX];
    uint32_t live_count;
    uint64_t client_seq[FLOW_CLIENTS + 1];
} flow;

static uint64_t below(flow *own, uint64_t bound)
{
    own->random ^= own->random << 13;
    own->random ^= own->random >> 7;
    own->random ^= own->random << 17;
    return (own->random >> 11) % bound;
}

/* Near the middle most of the time, seldom across it. */
static int64_t price_for(flow *own, book_side side)
{
    int64_t far = (int64_t)(below(own, 40) + below(own, 40) + below(own, 120)) - 4;
    return side == BOOK_BUY ? MIDDLE - far : MIDDLE + 1 + far;
}

static exchange_command next_name(flow *own, uint64_t client)
{
    return (exchange_command){.client_id = baton_le64_put(client),
                              .client_seq = baton_le64_put(++own->client_seq[client])};
}

static void make_order(flow *own, book_time_in_force time_in_force, flow_command *out)
{
    book_side side = below(own, 2) ? BOOK_BUY : BOOK_SELL;
    uint64_t client = 1 + below(own, FLOW_CLIENTS);
    int64_t price = price_for(own, side);
    if (time_in_force == BOOK_IOC)
        price = side == BOOK_BUY ? MIDDLE * 5 / 4 : MIDDLE * 3 / 4;
    out->type = EXCHANGE_NEW_ORDER;
    out->bytes = sizeof(out->body.order);
    out->body.order =
        (exchange_new_order){.command = next_name(own, client),
                             .price = baton_le64_put((uint64_t)price),
                             .size = baton_le64_put(1 + below(own, 1 + below(own, 30))),
                             .side = (uint8_t)side,
                             .time_in_force = (uint8_t)time_in_force};
    const book_order order = {
        .order_id = exchange_order_id(client, own->client_seq[client]),
        .client_id = client,
        .price = price,
        .size = baton_le64_get(out->body.order.size),
        .side = side,
        .time_in_force = time_in_force,
    };
    book_placed placed = {0};
    if (book_new_order(own->book, &order, NULL, &placed) == BOOK_OK && placed.rests &&
        own->live_count < LIVE_MAX)
        own->live[own->live_count++] = order.order_id;
}

/* An order that rests; false: none. */
static bool pick(flow *own, book_resting *ret_order)
{
    while (own->live_count > 0) {
        uint32_t at = (uint32_t)below(own, own->live_count);
        if (book_find(own->book, own->live[at], ret_order))
            return true;
        own->live[at] = own->live[--own->live_count];
    }
    return false;
}

static void make_change(flow *own, uint64_t kind, const book_resting *order, flow_command *out)
{
    const exchange_cancel about = {.command = next_name(own, order->client_id),
                                   .order_seq =
                                       baton_le64_put(order->order_id & EXCHANGE_CLIENT_SEQ_MAX)};
    if (kind < 70) {
        int64_t price = price_for(own, order->side);
        book_placed placed;
        out->type = EXCHANGE_REPLACE;
        out->bytes = sizeof(out->body.replace);
        out->body.replace = (exchange_replace){.command = about.command,
                                               .order_seq = about.order_seq,
                                               .price = baton_le64_put((uint64_t)price)};
        (void)book_replace(own->book, order->order_id, &(book_replacement){.price = price}, NULL,
                           NULL, &placed);
    } else if (kind < 77) {
        uint64_t by_size = 1 + below(own, order->remaining);
        out->type = EXCHANGE_REDUCE;
        out->bytes = sizeof(out->body.reduce);
        out->body.reduce = (exchange_reduce){.command = about.command,
                                             .order_seq = about.order_seq,
                                             .by_size = baton_le64_put(by_size)};
        (void)book_reduce(own->book, order->order_id, by_size, NULL);
    } else {
        out->type = EXCHANGE_CANCEL;
        out->bytes = sizeof(out->body.cancel);
        out->body.cancel = about;
        (void)book_cancel(own->book, order->order_id, NULL);
    }
}

flow_command *flow_make(uint64_t seed, uint64_t count)
{
    flow *own = calloc(1, sizeof(*own));
    flow_command *commands = calloc(count, sizeof(*commands));
    const book_options options = {.orders_max = LIVE_MAX, .levels_max = LIVE_MAX};
    if (!own || !commands || book_create(&options, &own->book) < 0) {
        free(own);
        free(commands);
        return NULL;
    }
    own->random = seed * 0x9e3779b97f4a7c15u | 1;
    for (uint64_t i = 0; i < count; i++) {
        book_resting order;
        uint64_t kind = below(own, 100);
        /* The book keeps its size: below it new orders come instead of cancels. */
        bool few = book_orders_count(own->book) < FLOW_FILL;
        if (i < FLOW_FILL || (kind >= 77 && kind < 92 && few) || !pick(own, &order))
            make_order(own, BOOK_GTC, &commands[i]);
        else if (kind < 92)
            make_change(own, kind, &order, &commands[i]);
        else
            make_order(own, kind < 94 ? BOOK_IOC : BOOK_GTC, &commands[i]);
    }
    book_destroy(own->book);
    free(own);
    return commands;
}

uint32_t flow_link(const flow_command *command, uint64_t nth, flow_linked *ret_linked)
{
    ret_linked->head =
        (exchange_linked){.key = {.epoch = baton_le64_put(1), .seq = baton_le64_put(nth)},
                          .source = baton_le16_put(EXCHANGE_RISK_ENGINE),
                          .effect_type = baton_le16_put(command->type)};
    memcpy(ret_linked->body, &command->body, sizeof(ret_linked->body));
    return (uint32_t)sizeof(ret_linked->head) + command->bytes;
}
