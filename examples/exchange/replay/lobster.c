/* Reading the messages and the seed book, and writing a book row after each message. */
#include "examples/exchange/replay/lobster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "examples/exchange/replay/csv.h"
#include "examples/exchange/replay/output.h"

#define MESSAGE_FIELDS 6
#define LEVEL_FIELDS   4 /* ask price, ask size, bid price, bid size */

/* The prices of a level that is not there. */
#define EMPTY_ASK INT64_C(9999999999)
#define EMPTY_BID INT64_C(-9999999999)

typedef struct {
    lobster_engine engine;
    csv_reader messages;
    output book_rows;
    output fill_rows;
    book_level *levels[2]; /* by book_side; room for one row */
    uint32_t levels_max;
} lobster_run_state;

/* A refusal from below says why; here it gets the line. */
static int at_line(const csv_reader *reader, int status, baton_error *error)
{
    if (status != BATON_E_INVALID)
        return status;
    char why[sizeof(error->why)];
    memcpy(why, error->why, sizeof(why));
    return csv_refuse(reader, error, "%s", why);
}

/* ---- the seed book ---- */

static int seed_one(lobster_engine *engine, const csv_reader *seed, char **fields, uint64_t number,
                    book_side side, baton_error *error)
{
    int64_t price;
    uint64_t size;
    if (!csv_i64(fields[0], &price) || !csv_u64(fields[1], &size))
        return csv_refuse(seed, error, "'%.20s,%.20s' is not a price and a size", fields[0],
                          fields[1]);
    if (price == (side == BOOK_SELL ? EMPTY_ASK : EMPTY_BID))
        return 0;
    return at_line(seed, lobster_seed(engine, number, side, price, size, error), error);
}

static int seed_row(lobster_engine *engine, const csv_reader *seed, char **fields, uint32_t count,
                    baton_error *error)
{
    if (count % LEVEL_FIELDS != 0)
        return csv_refuse(seed, error, "%u fields are not a multiple of 4", count);
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i += LEVEL_FIELDS) {
        r = seed_one(engine, seed, &fields[i], i / 2, BOOK_SELL, error);
        if (r == 0)
            r = seed_one(engine, seed, &fields[i + 2], i / 2 + 1, BOOK_BUY, error);
    }
    const char *broken = r == 0 ? book_check(engine->replay.book, true) : NULL;
    if (broken)
        return csv_refuse(seed, error, "%s", broken);
    return r;
}

/* The first row counts: a whole order book file will do. */
static int read_seed(lobster_engine *engine, const char *path, baton_error *error)
{
    csv_reader seed = {0};
    uint32_t fields_max = LEVEL_FIELDS * LOBSTER_LEVELS_MAX, count;
    char **fields = calloc(fields_max, sizeof(*fields));
    if (!fields)
        return baton_error_set(error, -ENOMEM, "read the seed book", baton_status_text(-ENOMEM),
                               "free some memory");
    int r = csv_open(&seed, path, LEVEL_FIELDS, error);
    if (r == 0)
        r = csv_next(&seed, fields, fields_max, &count, error);
    if (r == 1)
        r = seed_row(engine, &seed, fields, count, error);
    else if (r == 0)
        r = csv_refuse(&seed, error, "the seed book is empty");
    csv_close(&seed);
    free(fields);
    return r;
}

/* ---- messages ---- */

static int parse(const csv_reader *reader, char **fields, lobster_message *ret_message,
                 baton_error *error)
{
    uint64_t time_ns, type;
    int64_t direction;
    if (!csv_decimal(fields[0], 12, &time_ns))
        return csv_refuse(reader, error, "'%.40s' is not a time in seconds", fields[0]);
    if (!csv_u64(fields[1], &type) || type < LOBSTER_NEW || type > LOBSTER_HALT)
        return csv_refuse(reader, error, "the type '%.40s' is none of 1 to 7", fields[1]);
    if (!csv_u64(fields[2], &ret_message->order_id))
        return csv_refuse(reader, error, "'%.40s' is not an order id", fields[2]);
    if (!csv_u64(fields[3], &ret_message->size))
        return csv_refuse(reader, error, "'%.40s' is not a size", fields[3]);
    if (!csv_i64(fields[4], &ret_message->price))
        return csv_refuse(reader, error, "'%.40s' is not a price in 1/10000 dollars", fields[4]);
    if (!csv_i64(fields[5], &direction) || (direction != 1 && direction != -1))
        return csv_refuse(reader, error, "the direction '%.40s' is neither 1 nor -1", fields[5]);
    ret_message->type = (lobster_type)type;
    ret_message->side = direction == 1 ? BOOK_BUY : BOOK_SELL;
    return 0;
}

static void write_level(FILE *file, const char *before, const book_level *level, int64_t empty)
{
    int64_t price = level ? level->price : empty;
    uint64_t size = level ? level->size : 0;
    fprintf(file, "%s%" PRId64 ",%" PRIu64, before, price, size);
}

static void write_book_row(lobster_run_state *run)
{
    const order_book *book = run->engine.replay.book;
    uint32_t asks = book_levels(book, 0, BOOK_SELL, run->levels[BOOK_SELL], run->levels_max);
    uint32_t bids = book_levels(book, 0, BOOK_BUY, run->levels[BOOK_BUY], run->levels_max);
    for (uint32_t i = 0; i < run->levels_max; i++) {
        const book_level *ask = i < asks ? &run->levels[BOOK_SELL][i] : NULL;
        const book_level *bid = i < bids ? &run->levels[BOOK_BUY][i] : NULL;
        write_level(run->book_rows.file, i ? "," : "", ask, EMPTY_ASK);
        write_level(run->book_rows.file, ",", bid, EMPTY_BID);
    }
    fputc('\n', run->book_rows.file);
}

static int replay_messages(lobster_run_state *run, bool seeded, baton_error *error)
{
    char *fields[MESSAGE_FIELDS];
    uint32_t count;
    for (;;) {
        int r = csv_next(&run->messages, fields, MESSAGE_FIELDS, &count, error);
        if (r <= 0)
            return r;
        lobster_message message;
        r = parse(&run->messages, fields, &message, error);
        if (r < 0)
            return r;
        r = seeded ? lobster_apply_seeded(&run->engine, &message, error)
                   : lobster_apply(&run->engine, &message, error);
        if (r < 0)
            return at_line(&run->messages, r, error);
        seeded = false;
        if (run->book_rows.file)
            write_book_row(run);
    }
}

/* ---- the whole run ---- */

static int open_outputs(lobster_run_state *run, const lobster_options *options, baton_error *error)
{
    int r = 0;
    if (options->book_path)
        r = output_open(&run->book_rows, options->book_path, error);
    if (r == 0 && options->fills_path)
        r = output_open(&run->fill_rows, options->fills_path, error);
    run->engine.fills = run->fill_rows.file;
    return r;
}

static int publish(lobster_run_state *run, baton_error *error)
{
    int r = output_finish(&run->book_rows, error);
    if (r == 0)
        r = output_finish(&run->fill_rows, error);
    if (r == 0)
        r = output_publish(&run->book_rows, error);
    if (r == 0)
        r = output_publish(&run->fill_rows, error);
    return r;
}

static int make_room(lobster_run_state *run, uint32_t levels, baton_error *error)
{
    run->levels_max = levels;
    for (int side = 0; side < 2; side++) {
        run->levels[side] = calloc(levels, sizeof(book_level));
        if (!run->levels[side])
            return baton_error_set(error, -ENOMEM, "make room for a book row",
                                   baton_status_text(-ENOMEM), "use fewer --levels");
    }
    return 0;
}

static void summarise(const lobster_run_state *run, lobster_summary *ret_summary)
{
    const order_book *book = run->engine.replay.book;
    *ret_summary = (lobster_summary){
        .counts = run->engine.counts,
        .orders_resting = book_orders_count(book),
        .digest = book_digest(book),
    };
    (void)book_levels(book, 0, BOOK_BUY, &ret_summary->bid, 1);
    (void)book_levels(book, 0, BOOK_SELL, &ret_summary->ask, 1);
}

int lobster_run(const lobster_options *options, lobster_summary *ret_summary, baton_error *error)
{
    lobster_run_state run = {0};
    int r = lobster_engine_open(&run.engine, options->mode, options->memory, error);
    if (r == 0)
        r = make_room(&run, options->levels, error);
    if (r == 0 && options->seed_path)
        r = read_seed(&run.engine, options->seed_path, error);
    if (r == 0)
        r = csv_open(&run.messages, options->messages_path, MESSAGE_FIELDS, error);
    if (r == 0)
        r = open_outputs(&run, options, error);
    if (r == 0)
        r = replay_messages(&run, options->seed_path != NULL, error);
    if (r == 0)
        r = replay_book_check(&run.engine.replay, error);
    if (r == 0)
        r = publish(&run, error);
    if (r == 0)
        summarise(&run, ret_summary);

    output_close(&run.fill_rows);
    output_close(&run.book_rows);
    csv_close(&run.messages);
    free(run.levels[BOOK_BUY]);
    free(run.levels[BOOK_SELL]);
    lobster_engine_close(&run.engine);
    return r;
}
