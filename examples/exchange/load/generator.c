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
};

/* Shares of all commands, in percent. */
enum { CANCEL_PERCENT = 34, REDUCE_PERCENT = 6, IOC_PERCENT = 9, GTD_PERCENT = 8 };

typedef struct {
    uint64_t client_id;
    uint64_t client_seq;
    uint64_t size;
} recent_order;

typedef struct {
    const stream_options *options;
    stream_builder builder;
    uint64_t random;
    double now_ns;
    bool burst;
    int64_t mid;
    uint32_t recent_count;
    recent_order recent[RECENT_ORDERS];
} generator;

/* splitmix64: public domain, Sebastiano Vigna. */
static uint64_t next_random(generator *own)
{
    uint64_t z = own->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t below(generator *own, uint32_t bound)
{
    return (uint32_t)(next_random(own) % bound);
}

static double unit_interval(generator *own) /* (0, 1] */
{
    return ((double)(next_random(own) >> 11) + 1) / 9007199254740992.0;
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
        own->mid += ((int64_t)below(own, 3) - 1) * PRICE_TICK;
}

static bool append_order(generator *own)
{
    uint64_t client_id = own->options->clients_before + 1 + below(own, own->options->clients);
    uint32_t kind = below(own, 100 - CANCEL_PERCENT - REDUCE_PERCENT);
    bool buy = below(own, 2) == 0;
    uint64_t size = 1 + below(own, 20) * 5;
    /* Mostly behind the middle, geometrically fewer far away; some cross it. */
    int64_t distance = (int64_t)(-log(unit_interval(own)) * 6) - 2;
    int64_t price = own->mid + (buy ? -distance : distance) * PRICE_TICK;
    uint64_t lifetime_ns = (1 + below(own, 200)) * UINT64_C(10000000);

    load_command *command =
        stream_append(&own->builder, (uint64_t)own->now_ns, EXCHANGE_NEW_ORDER, client_id);
    if (!command)
        return false;
    exchange_new_order *order = &command->body.new_order;
    order->price = baton_le64_put((uint64_t)price);
    order->size = baton_le64_put(size);
    order->side = buy ? BOOK_BUY : BOOK_SELL;
    order->time_in_force = BOOK_GTC;
    if (kind < IOC_PERCENT) {
        order->time_in_force = BOOK_IOC;
        return true;
    }
    /* Without the stream's own time line an expire time would make two runs differ. */
    if (kind < IOC_PERCENT + GTD_PERCENT && own->options->virtual_time) {
        order->time_in_force = BOOK_GTD;
        order->expire_ns = baton_le64_put((uint64_t)own->now_ns + lifetime_ns);
    }
    uint32_t place =
        own->recent_count < RECENT_ORDERS ? own->recent_count++ : below(own, RECENT_ORDERS);
    own->recent[place] =
        (recent_order){.client_id = client_id, .client_seq = own->builder.count, .size = size};
    return true;
}

static bool append_change(generator *own, bool cancel)
{
    recent_order *order = &own->recent[below(own, own->recent_count)];
    load_command *command =
        stream_append(&own->builder, (uint64_t)own->now_ns,
                      cancel ? EXCHANGE_CANCEL : EXCHANGE_REDUCE, order->client_id);
    if (!command)
        return false;
    if (!cancel) {
        command->body.reduce.order_seq = baton_le64_put(order->client_seq);
        command->body.reduce.by_size = baton_le64_put(1 + below(own, (uint32_t)order->size));
        return true;
    }
    command->body.cancel.order_seq = baton_le64_put(order->client_seq);
    *order = own->recent[--own->recent_count];
    return true;
}

int stream_generate(const stream_options *options, load_command **ret_commands, uint32_t *ret_count,
                    baton_error *error)
{
    generator *own = calloc(1, sizeof(*own));
    bool fits = own != NULL;
    if (own) {
        own->options = options;
        own->builder.virtual_time = options->virtual_time;
        own->random = options->seed;
        own->mid = PRICE_FIRST;
    }
    for (uint32_t i = 0; fits && i < options->commands; i++) {
        advance(own);
        uint32_t kind = below(own, 100);
        if (kind < CANCEL_PERCENT + REDUCE_PERCENT && own->recent_count > 0)
            fits = append_change(own, kind < CANCEL_PERCENT);
        else
            fits = append_order(own);
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
