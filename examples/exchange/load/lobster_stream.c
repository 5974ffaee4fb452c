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
    uint64_t at_ns;
    uint64_t id;
    uint64_t size;
    int64_t price;
    uint8_t type;
    uint8_t side; /* book_side */
} recorded_message;

/* The recording, once more. */
typedef struct {
    uint32_t number;
    id_map orders;    /* recorded order id -> its client seq */
    id_map seed_bids; /* price -> client seq of the seeded order there */
    id_map seed_asks;
    uint32_t next; /* message */
} symbol_copy;

typedef struct {
    const stream_options *options;
    stream_builder builder;
    recorded_message *messages;
    uint32_t messages_count;
    uint32_t messages_capacity;
    uint32_t symbols;
    symbol_copy copies[SYMBOLS_MAX];
    uint64_t seed_client; /* sends the seeded orders; those before it the recorded ones */
    uint64_t taker_client;
} lobster_stream;

/* Each symbol's orders go to the clients in another way. */
static uint64_t client_of(const lobster_stream *own, const symbol_copy *copy, uint64_t id)
{
    return own->options->clients_before + 1 + (id + copy->number) % own->options->clients;
}

static int append_order(lobster_stream *own, const symbol_copy *copy, uint64_t at_ns,
                        uint64_t client_id, book_side side, int64_t price, uint64_t size,
                        book_time_in_force time_in_force)
{
    load_command *command = stream_append(&own->builder, at_ns, EXCHANGE_NEW_ORDER, client_id);
    if (!command)
        return -ENOMEM;
    exchange_new_order *order = &command->body.new_order;
    order->price = baton_le64_put((uint64_t)price);
    order->size = baton_le64_put(size);
    order->side = (uint8_t)side;
    order->time_in_force = (uint8_t)time_in_force;
    order->symbol = baton_le32_put(copy->number);
    return 0;
}

static int append_change(lobster_stream *own, const symbol_copy *copy, uint64_t at_ns,
                         uint64_t client_id, uint64_t order_seq, uint64_t by_size)
{
    load_command *command = stream_append(
        &own->builder, at_ns, by_size == 0 ? EXCHANGE_CANCEL : EXCHANGE_REDUCE, client_id);
    if (!command)
        return -ENOMEM;
    command->body.cancel.order_seq = baton_le64_put(order_seq);
    command->body.cancel.symbol = baton_le32_put(copy->number);
    if (by_size != 0)
        command->body.reduce.by_size = baton_le64_put(by_size);
    return 0;
}

/* A deletion, reduction or execution of a resting order: its own, or the seeded one of its
 * price, or nobody's. */
static int append_of_resting(lobster_stream *own, const symbol_copy *copy, uint64_t at_ns,
                             const recorded_message *message)
{
    if (message->type == TYPE_EXECUTE && own->options->match)
        return append_order(own, copy, at_ns, own->taker_client,
                            message->side == BOOK_BUY ? BOOK_SELL : BOOK_BUY, message->price,
                            message->size, BOOK_IOC);
    uint64_t client_id = client_of(own, copy, message->id);
    uint32_t order_seq = id_map_get(&copy->orders, message->id);
    bool whole = message->type == TYPE_DELETE;
    if (order_seq == 0) {
        client_id = own->seed_client;
        order_seq = id_map_get(message->side == BOOK_BUY ? &copy->seed_bids : &copy->seed_asks,
                               (uint64_t)message->price);
        whole = false; /* the others that rest there stay */
    }
    if (order_seq == 0)
        return 0;
    return append_change(own, copy, at_ns, client_id, order_seq, whole ? 0 : message->size);
}

/* Recorded time, from the first message on. */
static uint64_t time_of(const lobster_stream *own, const symbol_copy *copy)
{
    return own->messages[copy->next].at_ns - own->messages[0].at_ns +
           (uint64_t)(copy->number * own->options->symbol_shift_s * 1e9);
}

static int append_message(lobster_stream *own, symbol_copy *copy)
{
    const uint64_t at_ns = (uint64_t)((double)time_of(own, copy) / own->options->compression);
    const recorded_message *message = &own->messages[copy->next++];
    if (message->type > TYPE_EXECUTE)
        return 0; /* hidden executions and halts leave the visible book as it is */
    if (message->type != TYPE_NEW)
        return append_of_resting(own, copy, at_ns, message);
    int r = append_order(own, copy, at_ns, client_of(own, copy, message->id),
                         (book_side)message->side, message->price, message->size, BOOK_GTC);
    return r < 0 ? r : id_map_set(&copy->orders, message->id, own->builder.count);
}

/* Whichever symbol's next message is due first. */
static int append_messages(lobster_stream *own)
{
    for (;;) {
        symbol_copy *first = NULL;
        for (uint32_t i = 0; i < own->symbols; i++) {
            symbol_copy *copy = &own->copies[i];
            if (copy->next < own->messages_count &&
                (!first || time_of(own, copy) < time_of(own, first)))
                first = copy;
        }
        if (!first)
            return 0;
        int r = append_message(own, first);
        if (r < 0)
            return r;
    }
}

static int parse_message(const csv_reader *reader, char **fields, recorded_message *ret,
                         baton_error *error)
{
    int64_t direction;
    uint64_t type;
    if (!csv_decimal(fields[FIELD_TIME], TIME_DECIMALS, &ret->at_ns) ||
        !csv_u64(fields[FIELD_TYPE], &type) || type < TYPE_NEW || type > TYPE_LAST ||
        !csv_u64(fields[FIELD_ID], &ret->id) || !csv_u64(fields[FIELD_SIZE], &ret->size) ||
        !csv_i64(fields[FIELD_PRICE], &ret->price) || !csv_i64(fields[FIELD_DIRECTION], &direction))
        return csv_refuse(reader, error,
                          "not a LOBSTER message (time,type,order id,size,price,direction)");
    if (type <= TYPE_EXECUTE && (ret->size == 0 || (direction != 1 && direction != -1)))
        return csv_refuse(reader, error, "size 0, or a direction that is neither 1 nor -1");
    ret->at_ns /= PS_PER_NS;
    ret->type = (uint8_t)type;
    ret->side = direction == 1 ? BOOK_BUY : BOOK_SELL;
    return 0;
}

/* Room for one more; NULL: no memory. */
static recorded_message *next_message(lobster_stream *own)
{
    if (own->messages_count == own->messages_capacity) {
        const uint32_t capacity = own->messages_capacity ? own->messages_capacity * 2 : 4096;
        recorded_message *grown = own->messages_count < LOAD_COMMANDS_MAX
                                      ? realloc(own->messages, capacity * sizeof(*grown))
                                      : NULL;
        if (!grown)
            return NULL;
        own->messages = grown;
        own->messages_capacity = capacity;
    }
    return &own->messages[own->messages_count];
}

static int read_messages(lobster_stream *own, baton_error *error)
{
    csv_reader reader;
    char *fields[FIELDS];
    uint32_t count;
    uint64_t last_ns = 0;
    int r = csv_open(&reader, own->options->lobster, FIELDS, error);
    if (r < 0)
        return r;
    while ((own->options->messages_max == 0 || own->messages_count < own->options->messages_max) &&
           (r = csv_next(&reader, fields, FIELDS, &count, error)) == 1) {
        recorded_message *message = next_message(own);
        r = message ? parse_message(&reader, fields, message, error) : -ENOMEM;
        if (r < 0)
            break;
        if (message->at_ns < last_ns) {
            r = csv_refuse(&reader, error, "time goes back");
            break;
        }
        last_ns = message->at_ns;
        own->messages_count++;
    }
    csv_close(&reader);
    return r < 0 ? r : 0;
}

static int seed_side(lobster_stream *own, symbol_copy *copy, const csv_reader *reader,
                     char *const fields[2], book_side side, baton_error *error)
{
    int64_t price;
    uint64_t size;
    if (!csv_i64(fields[0], &price) || !csv_u64(fields[1], &size))
        return csv_refuse(reader, error, "not a LOBSTER book row");
    if (price == SEED_LEVEL_EMPTY || price == -SEED_LEVEL_EMPTY || size == 0)
        return 0;
    int r = append_order(own, copy, 0, own->seed_client, side, price, size, BOOK_GTC);
    if (r < 0)
        return r;
    return id_map_set(side == BOOK_BUY ? &copy->seed_bids : &copy->seed_asks, (uint64_t)price,
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
    for (uint32_t symbol = 0; symbol < own->symbols; symbol++) {
        symbol_copy *copy = &own->copies[symbol];
        for (uint32_t i = 0; r >= 0 && i + SEED_FIELDS_OF_LEVEL <= count;
             i += SEED_FIELDS_OF_LEVEL) {
            r = seed_side(own, copy, &reader, &fields[i], BOOK_SELL, error);
            if (r >= 0)
                r = seed_side(own, copy, &reader, &fields[i + 2], BOOK_BUY, error);
        }
    }
    csv_close(&reader);
    return r < 0 ? r : 0;
}

static void end(lobster_stream *own)
{
    for (uint32_t i = 0; i < own->symbols; i++) {
        id_map_fini(&own->copies[i].orders);
        id_map_fini(&own->copies[i].seed_bids);
        id_map_fini(&own->copies[i].seed_asks);
    }
    free(own->messages);
    free(own);
}

static int read_all(lobster_stream *own, baton_error *error)
{
    int r = stream_append_deposits(&own->builder, own->options) ? 0 : -ENOMEM;
    if (r == 0 && own->options->seed_book)
        r = read_seed_book(own, error);
    if (r == 0)
        r = read_messages(own, error);
    return r == 0 ? append_messages(own) : r;
}

int stream_read_lobster(const stream_options *options, load_command **ret_commands,
                        uint32_t *ret_count, baton_error *error)
{
    lobster_stream *own = calloc(1, sizeof(*own));
    int r = own ? 0 : -ENOMEM;
    if (r == 0) {
        own->options = options;
        own->builder.virtual_time = options->virtual_time;
        own->symbols = options->symbols > 1 ? options->symbols : 1;
        own->seed_client = options->clients_before + options->clients + 1u;
        own->taker_client = own->seed_client + 1;
        for (uint32_t i = 0; i < own->symbols; i++)
            own->copies[i].number = i;
        r = read_all(own, error);
    }
    if (r == 0) {
        *ret_commands = own->builder.commands;
        *ret_count = own->builder.count;
    } else if (own) {
        free(own->builder.commands);
    }
    if (own)
        end(own);
    if (r == -ENOMEM)
        baton_error_set(error, r, "read the recorded flow", "not enough memory",
                        "use --messages-max");
    return r;
}
