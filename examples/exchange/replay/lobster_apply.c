#include "examples/exchange/replay/lobster_apply.h"

#include <inttypes.h>

int lobster_engine_open(lobster_engine *engine, lobster_mode mode, replay_memory memory,
                        baton_error *error)
{
    *engine = (lobster_engine){.mode = mode};
    return replay_book_open(&engine->replay, memory, error);
}

void lobster_engine_close(lobster_engine *engine)
{
    replay_book_close(&engine->replay);
    id_map_fini(&engine->added);
}

static int refuse(baton_error *error, const char *why)
{
    return baton_error_set(error, BATON_E_INVALID, "", why, "");
}

/* ---- adding ---- */

static int place(lobster_engine *engine, replay_entry entry, const book_order *order,
                 const book_events *events, baton_error *error)
{
    book_placed placed;
    book_refusal refusal;
    int r = replay_book_place(&engine->replay, entry, order, events, &placed, &refusal, error);
    if (r < 0)
        return r;
    return refusal == BOOK_OK ? 0 : refuse(error, book_refusal_text(refusal));
}

int lobster_seed(lobster_engine *engine, uint64_t number, book_side side, int64_t price,
                 uint64_t size, baton_error *error)
{
    book_order order = {
        .order_id = LOBSTER_SEED_ID + number,
        .price = price,
        .size = size,
        .side = side,
    };
    return place(engine, REPLAY_REST, &order, NULL, error);
}

static int add(lobster_engine *engine, const lobster_message *message, replay_entry entry,
               const book_events *events, baton_error *error)
{
    book_order order = {
        .order_id = message->order_id,
        .price = message->price,
        .size = message->size,
        .side = message->side,
    };
    int r = place(engine, entry, &order, events, error);
    if (r < 0)
        return r;
    r = id_map_set(&engine->added, message->order_id, 1);
    if (r < 0)
        return baton_error_set(error, r, "", baton_status_text(r), "free some memory");
    engine->counts.added++;
    return 0;
}

/* ---- the order a message is about ---- */

/* false: there is none. */
static bool find_named(const lobster_engine *engine, const lobster_message *message,
                       book_place *ret_place, book_resting *ret_order)
{
    const order_book *book = engine->replay.book;
    /* What rests under its own id was added: no need to ask. */
    if (book_locate(book, message->order_id, ret_place, ret_order))
        return true;
    return id_map_get(&engine->added, message->order_id) == 0 &&
           book_front(book, 0, message->side, message->price, ret_order) &&
           ret_order->order_id >= LOBSTER_SEED_ID &&
           book_locate(book, ret_order->order_id, ret_place, NULL);
}

static void write_fill(lobster_engine *engine, uint64_t order_id, int64_t price, uint64_t size)
{
    engine->counts.fills++;
    if (engine->fills)
        fprintf(engine->fills, "%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%" PRIu64 "\n",
                engine->counts.messages, order_id, price, size);
}

/* Take `size` off the order named, all of it if that is more. Returns what was taken. */
static uint64_t take(lobster_engine *engine, const lobster_message *message, uint64_t size,
                     book_resting *ret_order)
{
    book_place at;
    if (!find_named(engine, message, &at, ret_order)) {
        engine->counts.ignored++;
        return 0;
    }
    uint64_t taken = size < ret_order->remaining ? size : ret_order->remaining;
    (void)book_reduce_at(engine->replay.book, at, taken);
    return taken;
}

static void reduce(lobster_engine *engine, const lobster_message *message)
{
    book_resting order;
    if (take(engine, message, message->size, &order) > 0)
        engine->counts.reduced++;
}

static void delete_order(lobster_engine *engine, const lobster_message *message)
{
    /* Of a seeded order, which stands for several, only the recorded size goes. */
    bool own = id_map_get(&engine->added, message->order_id) != 0;
    book_resting order;
    if (take(engine, message, own ? UINT64_MAX : message->size, &order) > 0)
        engine->counts.deleted++;
}

/* ---- executions ---- */

static void execute_as_recorded(lobster_engine *engine, const lobster_message *message)
{
    book_resting order;
    uint64_t taken = take(engine, message, message->size, &order);
    if (taken == 0)
        return;
    engine->counts.executed++;
    if (taken == message->size && order.price == message->price)
        engine->counts.executed_exactly++;
    write_fill(engine, order.order_id, order.price, taken);
}

typedef struct {
    lobster_engine *engine;
    uint32_t count;
    book_fill last;
} fill_watch;

static void on_fill(void *context, const book_fill *fill)
{
    fill_watch *watch = context;
    watch->count++;
    watch->last = *fill;
    write_fill(watch->engine, fill->maker_order_id, fill->price, fill->size);
}

/* Let the book choose: the recorded trade comes in as the opposite IOC it once was. */
static int execute_by_matching(lobster_engine *engine, const lobster_message *message,
                               baton_error *error)
{
    book_resting named = {0};
    book_place at;
    bool expected = find_named(engine, message, &at, &named);
    fill_watch watch = {.engine = engine};
    book_order taker = {
        .order_id = LOBSTER_TAKER_ID + engine->counts.messages,
        .price = message->price,
        .size = message->size,
        .side = message->side == BOOK_BUY ? BOOK_SELL : BOOK_BUY,
        .time_in_force = BOOK_IOC,
    };
    const book_events events = {.on_fill = on_fill, .context = &watch};
    int r = place(engine, REPLAY_MATCH, &taker, &events, error);
    if (r < 0)
        return r;

    engine->counts.executed++;
    if (watch.count == 0)
        engine->counts.ignored++;
    if (watch.count == 1 && expected && watch.last.maker_order_id == named.order_id &&
        watch.last.price == message->price && watch.last.size == message->size)
        engine->counts.executed_exactly++;
    return 0;
}

/* ---- one message ---- */

static bool about_an_order(lobster_type type)
{
    return type == LOBSTER_NEW || type == LOBSTER_REDUCE || type == LOBSTER_DELETE ||
           type == LOBSTER_EXECUTE;
}

static int check(const lobster_engine *engine, const lobster_message *message, baton_error *error)
{
    if (!about_an_order(message->type))
        return 0;
    if (message->order_id >= LOBSTER_SEED_ID)
        return refuse(error, "order ids from 10^18 on are used by the replay itself");
    if (message->size == 0 || message->size > BOOK_SIZE_MAX)
        return refuse(error, book_refusal_text(BOOK_BAD_SIZE));
    if (message->type == LOBSTER_NEW && id_map_get(&engine->added, message->order_id) != 0)
        return refuse(error, "an order of this id was added before");
    return 0;
}

int lobster_apply(lobster_engine *engine, const lobster_message *message, baton_error *error)
{
    engine->counts.messages++;
    int r = check(engine, message, error);
    if (r < 0)
        return r;

    fill_watch watch = {.engine = engine};
    const book_events events = {.on_fill = on_fill, .context = &watch};
    bool match = engine->mode == LOBSTER_MATCH;
    switch (message->type) {
    case LOBSTER_NEW:
        return add(engine, message, match ? REPLAY_MATCH : REPLAY_REST, &events, error);
    case LOBSTER_REDUCE:
        reduce(engine, message);
        return 0;
    case LOBSTER_DELETE:
        delete_order(engine, message);
        return 0;
    case LOBSTER_EXECUTE:
        if (match)
            return execute_by_matching(engine, message, error);
        execute_as_recorded(engine, message);
        return 0;
    case LOBSTER_EXECUTE_HIDDEN:
    case LOBSTER_CROSS:
        engine->counts.hidden++;
        return 0;
    case LOBSTER_HALT:
        engine->counts.halts++;
        return 0;
    }
    return refuse(error, "the type is none of 1 to 7");
}

int lobster_apply_seeded(lobster_engine *engine, const lobster_message *message, baton_error *error)
{
    if (message->type == LOBSTER_NEW) {
        book_resting seeded;
        if (book_front(engine->replay.book, 0, message->side, message->price, &seeded)) {
            if (seeded.remaining < message->size)
                return refuse(error, "the seed book, which is the book after this message, holds "
                                     "less at its price");
            (void)book_reduce(engine->replay.book, seeded.order_id, message->size, NULL);
        }
        engine->counts.messages++;
        int r = check(engine, message, error);
        return r < 0 ? r : add(engine, message, REPLAY_REST, NULL, error);
    }
    engine->counts.messages++;
    return check(engine, message, error);
}
