/* Seeded order flow that looks like an exchange's: arrivals in clusters and bursts, most orders
 * near a price that wanders, many of them cancelled before they trade. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "examples/exchange/load/stream.h"

enum {
    RECENT_ORDERS = 4096, /* what cancels and reductions choose from */
    PRICE_FIRST = 1000000,
    PRICE_TICK = 100,
    BURST_FACTOR = 8,
    MARKET_TICKS_MAX = 50, /* how far from the middle a market order still trades */
};

typedef struct {
    uint64_t client_id;
    uint64_t client_seq;
    uint64_t size;
    uint32_t symbol;
    bool buy;
} recent_order;

typedef struct {
    const stream_options *options;
    stream_mix mix;
    uint32_t symbols;
    stream_builder builder;
    uint64_t random;
    double now_ns;
    bool burst;
    int64_t mid[SYMBOLS_MAX];
    uint32_t recent_count;
    recent_order recent[RECENT_ORDERS];
} generator;

static uint32_t below(generator *own, uint32_t bound)
{
    return (uint32_t)(stream_random(&own->random) % bound);
}

/* One symbol takes no random number: the stream is what it was before there were several. */
static uint32_t some_symbol(generator *own)
{
    return own->symbols > 1 ? below(own, own->symbols) : 0;
}

static double unit_interval(generator *own) /* (0, 1] */
{
    return ((double)(stream_random(&own->random) >> 11) + 1) / 9007199254740992.0;
}

/* Arrivals: exponential gaps whose rate switches between calm and burst, the mean over both
 * being options->rate. */
static void advance(generator *own)
{
    /* A burst begins at 1 of 200 commands and ends at 1 of 100: two thirds of the commands are
     * calm, one third in bursts. */
    if (below(own, own->burst ? 100 : 200) == 0)
        own->burst = !own->burst;
    double calm_rate = own->options->rate * (2.0 / 3.0 + 1.0 / 3.0 / BURST_FACTOR);
    double rate = own->burst ? calm_rate * BURST_FACTOR : calm_rate;
    own->now_ns += -log(unit_interval(own)) / rate * 1e9;
    if (below(own, 50) == 0)
        own->mid[some_symbol(own)] += ((int64_t)below(own, 3) - 1) * PRICE_TICK;
}

/* Mostly behind the middle, geometrically fewer far away; some cross it. */
static int64_t some_price(generator *own, uint32_t symbol, bool buy)
{
    int64_t distance = (int64_t)(-log(unit_interval(own)) * 6) - 2;
    return own->mid[symbol] + (buy ? -distance : distance) * PRICE_TICK;
}

/* What an order is, by a number below the share of all orders. True: it may rest. */
static bool make_kind(generator *own, exchange_new_order *order, uint32_t kind, int64_t mid,
                      uint64_t lifetime_ns)
{
    const stream_mix *mix = &own->mix;
    const int64_t worst =
        mid + (order->side == BOOK_BUY ? MARKET_TICKS_MAX : -MARKET_TICKS_MAX) * PRICE_TICK;
    order->time_in_force = BOOK_IOC;
    if (kind < mix->ioc)
        return false;
    kind -= mix->ioc;
    if (kind < mix->market) {
        order->order_type = BOOK_MARKET;
        order->price = baton_le64_put((uint64_t)worst);
        return false;
    }
    kind -= mix->market;
    if (kind < mix->fok) {
        order->time_in_force = BOOK_FOK;
        return false;
    }
    kind -= mix->fok;
    order->time_in_force = BOOK_GTC;
    /* Without the stream's own time line an expire time would make two runs differ. */
    if (kind < mix->gtd && own->options->virtual_time) {
        order->time_in_force = BOOK_GTD;
        order->expire_ns = baton_le64_put((uint64_t)own->now_ns + lifetime_ns);
    } else if (kind >= mix->gtd && kind - mix->gtd < mix->post_only) {
        order->flags = EXCHANGE_POST_ONLY;
    }
    return true;
}

static bool append_order(generator *own)
{
    const stream_mix *mix = &own->mix;
    uint64_t client_id = own->options->clients_before + 1 + below(own, own->options->clients);
    uint32_t kind = below(own, 100u - mix->cancel - mix->reduce - mix->replace);
    uint32_t symbol = some_symbol(own);
    bool buy = below(own, 2) == 0;
    uint64_t size = 1 + below(own, 20) * 5;
    int64_t price = some_price(own, symbol, buy);
    uint64_t lifetime_ns = (1 + below(own, 200)) * UINT64_C(10000000);

    load_command *command =
        stream_append(&own->builder, (uint64_t)own->now_ns, EXCHANGE_NEW_ORDER, client_id);
    if (!command)
        return false;
    exchange_new_order *order = &command->body.new_order;
    order->price = baton_le64_put((uint64_t)price);
    order->size = baton_le64_put(size);
    order->symbol = baton_le32_put(symbol);
    order->side = buy ? BOOK_BUY : BOOK_SELL;
    if (!make_kind(own, order, kind, own->mid[symbol], lifetime_ns))
        return true;
    uint32_t place =
        own->recent_count < RECENT_ORDERS ? own->recent_count++ : below(own, RECENT_ORDERS);
    own->recent[place] = (recent_order){.client_id = client_id,
                                        .client_seq = own->builder.count,
                                        .size = size,
                                        .symbol = symbol,
                                        .buy = buy};
    return true;
}

/* The three begin alike; what follows is each one's own. */
static bool append_change(generator *own, exchange_frame_type type)
{
    recent_order *order = &own->recent[below(own, own->recent_count)];
    load_command *command =
        stream_append(&own->builder, (uint64_t)own->now_ns, (uint16_t)type, order->client_id);
    if (!command)
        return false;
    command->body.cancel.order_seq = baton_le64_put(order->client_seq);
    command->body.cancel.symbol = baton_le32_put(order->symbol);
    if (type == EXCHANGE_REDUCE) {
        command->body.reduce.by_size = baton_le64_put(1 + below(own, (uint32_t)order->size));
    } else if (type == EXCHANGE_REPLACE) {
        const int64_t price = some_price(own, order->symbol, order->buy);
        order->size = 1 + below(own, 20) * 5;
        command->body.replace.price = baton_le64_put((uint64_t)price);
        command->body.replace.size = baton_le64_put(order->size);
    } else {
        *order = own->recent[--own->recent_count];
    }
    return true;
}

static bool append_some(generator *own)
{
    const stream_mix *mix = &own->mix;
    uint32_t kind = below(own, 100);
    if (kind >= (uint32_t)mix->cancel + mix->reduce + mix->replace || own->recent_count == 0)
        return append_order(own);
    if (kind < mix->cancel)
        return append_change(own, EXCHANGE_CANCEL);
    return append_change(own, kind < (uint32_t)mix->cancel + mix->reduce ? EXCHANGE_REDUCE
                                                                         : EXCHANGE_REPLACE);
}

int stream_generate(const stream_options *options, load_command **ret_commands, uint32_t *ret_count,
                    baton_error *error)
{
    generator *own = calloc(1, sizeof(*own));
    bool fits = own != NULL;
    if (own) {
        own->options = options;
        own->mix = options->mix ? *options->mix : stream_mix_default;
        own->symbols = options->symbols > 1 ? options->symbols : 1;
        own->builder.virtual_time = options->virtual_time;
        own->random = options->seed;
        for (uint32_t i = 0; i < own->symbols; i++)
            own->mid[i] = PRICE_FIRST;
        fits = stream_append_deposits(&own->builder, options);
    }
    for (uint32_t i = 0; fits && i < options->commands; i++) {
        advance(own);
        fits = append_some(own);
    }
    if (!fits) {
        if (own)
            free(own->builder.commands);
        free(own);
        return baton_error_set(error, -ENOMEM, "make the load", "not enough memory",
                               "ask for fewer --orders");
    }
    *ret_commands = own->builder.commands;
    *ret_count = own->builder.count;
    free(own);
    return 0;
}
