/* Recorded order flow as a load: LOBSTER's messages, with their own spacing. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/load/stream.h"
#include "examples/exchange/replay/csv.h"
#include "examples/exchange/replay/id_map.h"

enum {
    FIELD_TIME,
    FIELD_TYPE,
    FIELD_ID,
    FIELD_SIZE,
    FIELD_PRICE,
    FIELD_DIRECTION,
    FIELDS,
    SEED_FIELDS_MAX = 4000,
    SEED_FIELDS_OF_LEVEL = 4,
    TIME_DECIMALS = 12, /* recordings have nanoseconds; some lines more */
    PS_PER_NS = 1000,
    TYPE_NEW = 1,
    TYPE_REDUCE = 2,
    TYPE_DELETE = 3,
    TYPE_EXECUTE = 4,
    TYPE_LAST = 7,
};
#define SEED_LEVEL_EMPTY INT64_C(9999999999)

typedef struct {
    const stream_options *options;
    stream_builder builder;
    id_map orders;    /* recorded order id -> its client seq */
    id_map seed_bids; /* price -> client seq of the seeded order there */
    id_map seed_asks;
    uint64_t first_ns;    /* recorded time of the first message */
    uint64_t seed_client; /* sends the seeded orders; 1..clients send the recorded ones */
    uint64_t taker_client;
} lobster_stream;

typedef struct {
    uint64_t at_ns;
    uint64_t type;
    uint64_t id;
    uint64_t size;
    int64_t price;
    int64_t direction;
} recorded_message;

static uint64_t client_of(const lobster_stream *own, uint64_t id)
{
    return 1 + id % own->options->clients;
}

static int append_order(lobster_stream *own, uint64_t at_ns, uint64_t client_id, book_side side,
                        int64_t price, uint64_t size, book_time_in_force time_in_force)
{
    load_command *command = stream_append(&own->builder, at_ns, EXCHANGE_NEW_ORDER, client_id);
    if (!command)
        return -ENOMEM;
    exchange_new_order *order = &command->body.new_order;
    order->price = baton_le64_put((uint64_t)price);
    order->size = baton_le64_put(size);
    order->side = (uint8_t)side;
    order->time_in_force = (uint8_t)time_in_force;
    return 0;
}

static int append_change(lobster_stream *own, uint64_t at_ns, uint64_t client_id,
                         uint64_t order_seq, uint64_t by_size)
{
    load_command *command = stream_append(
        &own->builder, at_ns, by_size == 0 ? EXCHANGE_CANCEL : EXCHANGE_REDUCE, client_id);
    if (!command)
        return -ENOMEM;
    if (by_size == 0) {
        command->body.cancel.order_seq = baton_le64_put(order_seq);
        return 0;
    }
    command->body.reduce.order_seq = baton_le64_put(order_seq);
    command->body.reduce.by_size = baton_le64_put(by_size);
    return 0;
}

/* A deletion, reduction or execution of a resting order: its own, or the seeded one of its
 * price, or nobody's. */
static int append_of_resting(lobster_stream *own, uint64_t at_ns, const recorded_message *message)
{
    book_side side = message->direction == 1 ? BOOK_BUY : BOOK_SELL;
    if (message->type == TYPE_EXECUTE && own->options->match)
        return append_order(own, at_ns, own->taker_client, side == BOOK_BUY ? BOOK_SELL : BOOK_BUY,
                            message->price, message->size, BOOK_IOC);
    uint64_t client_id = client_of(own, message->id);
    uint32_t order_seq = id_map_get(&own->orders, message->id);
    bool whole = message->type == TYPE_DELETE;
    if (order_seq == 0) {
        client_id = own->seed_client;
        order_seq = id_map_get(side == BOOK_BUY ? &own->seed_bids : &own->seed_asks,
                               (uint64_t)message->price);
        whole = false; /* the others that rest there stay */
    }
    if (order_seq == 0)
        return 0;
    return append_change(own, at_ns, client_id, order_seq, whole ? 0 : message->size);
}

static int append_message(lobster_stream *own, const recorded_message *message)
{
    uint64_t at_ns =
        (uint64_t)((double)(message->at_ns - own->first_ns) / own->options->compression);
    if (message->type > TYPE_EXECUTE)
        return 0; /* hidden executions and halts leave the visible book as it is */
    if (message->type != TYPE_NEW)
        return append_of_resting(own, at_ns, message);
    book_side side = message->direction == 1 ? BOOK_BUY : BOOK_SELL;
    int r = append_order(own, at_ns, client_of(own, message->id), side, message->price,
                         message->size, BOOK_GTC);
    return r < 0 ? r : id_map_set(&own->orders, message->id, own->builder.count);
}

static int parse_message(const csv_reader *reader, char **fields, recorded_message *ret,
                         baton_error *error)
{
    int64_t direction;
    if (!csv_decimal(fields[FIELD_TIME], TIME_DECIMALS, &ret->at_ns) ||
        !csv_u64(fields[FIELD_TYPE], &ret->type) || ret->type < TYPE_NEW || ret->type > TYPE_LAST ||
        !csv_u64(fields[FIELD_ID], &ret->id) || !csv_u64(fields[FIELD_SIZE], &ret->size) ||
        !csv_i64(fields[FIELD_PRICE], &ret->price) || !csv_i64(fields[FIELD_DIRECTION], &direction))
        return csv_refuse(reader, error,
                          "not a LOBSTER message (time,type,order id,size,price,direction)");
    if (ret->type <= TYPE_EXECUTE && (ret->size == 0 || (direction != 1 && direction != -1)))
        return csv_refuse(reader, error, "size 0, or a direction that is neither 1 nor -1");
    ret->at_ns /= PS_PER_NS;
    ret->direction = direction;
    return 0;
}

static int read_messages(lobster_stream *own, baton_error *error)
{
    csv_reader reader;
    char *fields[FIELDS];
    uint32_t count;
    uint32_t messages = 0;
    uint64_t last_ns = 0;
    int r = csv_open(&reader, own->options->lobster, FIELDS, error);
    if (r < 0)
        return r;
    while ((own->options->messages_max == 0 || messages < own->options->messages_max) &&
           (r = csv_next(&reader, fields, FIELDS, &count, error)) == 1) {
        recorded_message message;
        r = parse_message(&reader, fields, &message, error);
        if (r < 0)
            break;
        if (messages++ == 0)
            own->first_ns = last_ns = message.at_ns;
        if (message.at_ns < last_ns) {
            r = csv_refuse(&reader, error, "time goes back");
            break;
        }
        last_ns = message.at_ns;
        r = append_message(own, &message);
        if (r < 0)
            break;
    }
    csv_close(&reader);
    return r < 0 ? r : 0;
}

static int seed_side(lobster_stream *own, const csv_reader *reader, const char *price_text,
                     const char *size_text, book_side side, baton_error *error)
{
    int64_t price;
    uint64_t size;
    if (!csv_i64(price_text, &price) || !csv_u64(size_text, &size))
        return csv_refuse(reader, error, "not a LOBSTER book row");
    if (price == SEED_LEVEL_EMPTY || price == -SEED_LEVEL_EMPTY || size == 0)
        return 0;
    int r = append_order(own, 0, own->seed_client, side, price, size, BOOK_GTC);
    if (r < 0)
        return r;
    return id_map_set(side == BOOK_BUY ? &own->seed_bids : &own->seed_asks, (uint64_t)price,
                      own->builder.count);
}

/* One row: ask price, ask size, bid price, bid size, for each level. One order stands for a
 * level. */
static int read_seed_book(lobster_stream *own, baton_error *error)
{
    csv_reader reader;
    char *fields[SEED_FIELDS_MAX];
    uint32_t count = 0;
    int r = csv_open(&reader, own->options->seed_book, SEED_FIELDS_OF_LEVEL, error);
    if (r < 0)
        return r;
    r = csv_next(&reader, fields, SEED_FIELDS_MAX, &count, error);
    for (uint32_t i = 0; r >= 0 && i + SEED_FIELDS_OF_LEVEL <= count; i += SEED_FIELDS_OF_LEVEL) {
        r = seed_side(own, &reader, fields[i], fields[i + 1], BOOK_SELL, error);
        if (r >= 0)
            r = seed_side(own, &reader, fields[i + 2], fields[i + 3], BOOK_BUY, error);
    }
    csv_close(&reader);
    return r < 0 ? r : 0;
}

int stream_read_lobster(const stream_options *options, load_command **ret_commands,
                        uint32_t *ret_count, baton_error *error)
{
    lobster_stream own = {.options = options,
                          .builder.virtual_time = options->virtual_time,
                          .seed_client = options->clients + 1,
                          .taker_client = options->clients + 2};
    int r = options->seed_book ? read_seed_book(&own, error) : 0;
    if (r == 0)
        r = read_messages(&own, error);
    if (r == -ENOMEM)
        baton_error_set(error, r, "read the recorded flow", "not enough memory",
                        "use --messages-max");
    id_map_fini(&own.orders);
    id_map_fini(&own.seed_bids);
    id_map_fini(&own.seed_asks);
    if (r < 0) {
        free(own.builder.commands);
        return r;
    }
    *ret_commands = own.builder.commands;
    *ret_count = own.builder.count;
    return 0;
}
