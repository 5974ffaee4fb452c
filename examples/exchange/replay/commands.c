/* Events, a row each, numbered by their command from 1:
 *   N,traded,MAKER,TAKER,PRICE,SIZE,MAKER_REMAINING,TAKER_REMAINING
 *   N,gone,ORDER,REMAINING             a resting order that self-trade prevention took out
 *   N,done,ORDER,FILLED,REMAINING,RESTS
 *   N,refused,ORDER,REASON */
#include "examples/exchange/replay/commands.h"

#include <inttypes.h>
#include <string.h>

#include "examples/exchange/replay/csv.h"
#include "examples/exchange/replay/output.h"

enum {
    COLUMN_COMMAND = 1,
    COLUMN_ORDER,
    COLUMN_SYMBOL,
    COLUMN_PRICE,
    COLUMN_SIZE,
    COLUMN_SIDE,
    COLUMN_TYPE,
    COLUMN_CLIENT,
    COLUMNS
};

typedef enum { DO_PLACE, DO_CANCEL, DO_REDUCE, DO_MOVE, DO_REPLACE } command_kind;

typedef struct {
    csv_reader input;
    output events, rows;
    order_book *book;
    uint64_t symbols[COMMANDS_SYMBOLS_MAX];
    uint32_t symbols_count;
    commands_summary counts;
} commands_run_state;

typedef struct {
    command_kind kind;
    book_order order;
} command;

/* ---- reading ---- */

static int one_of(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

/* Symbols by their place in the order in which they came up. */
static int read_symbol(commands_run_state *run, const char *text, uint32_t *ret_symbol,
                       baton_error *error)
{
    uint64_t name;
    uint32_t at = 0;
    if (!csv_u64(text, &name))
        return csv_refuse(&run->input, error, "'%.40s' is not a symbol's number", text);
    while (at < run->symbols_count && run->symbols[at] != name)
        at++;
    if (at == COMMANDS_SYMBOLS_MAX)
        return csv_refuse(&run->input, error, "more than %u symbols", COMMANDS_SYMBOLS_MAX);
    if (at == run->symbols_count)
        run->symbols[run->symbols_count++] = name;
    *ret_symbol = at;
    return 0;
}

static int read_type(const csv_reader *input, const char *text, book_order *order,
                     baton_error *error)
{
    static const char *const names[] = {"GTC",    "IOC",        "FOK",      "FOK_BUDGET",
                                        "MARKET", "MARKET_FOK", "POST_ONLY"};
    static const struct {
        book_time_in_force time_in_force;
        book_order_type type;
        uint32_t flags;
    } meanings[] = {
        {BOOK_GTC, BOOK_LIMIT, 0},
        {BOOK_IOC, BOOK_LIMIT, 0},
        {BOOK_FOK, BOOK_LIMIT, 0},
        {BOOK_FOK_BUDGET, BOOK_LIMIT, 0},
        {BOOK_IOC, BOOK_MARKET, 0},
        {BOOK_FOK, BOOK_MARKET, 0},
        {BOOK_GTC, BOOK_LIMIT, BOOK_POST_ONLY},
    };
    int found = one_of(text, names, sizeof(names) / sizeof(names[0]));
    if (found < 0)
        return csv_refuse(input, error, "the order type '%.40s' is unknown", text);
    order->time_in_force = meanings[found].time_in_force;
    order->type = meanings[found].type;
    order->flags = meanings[found].flags;
    return 0;
}

static int read_command(commands_run_state *run, char **fields, command *ret, baton_error *error)
{
    static const char *const kinds[] = {"PLACE_ORDER", "CANCEL_ORDER", "REDUCE_ORDER", "MOVE_ORDER",
                                        "REPLACE_ORDER"};
    static const char *const sides[] = {"BID", "ASK"};
    const csv_reader *input = &run->input;
    int kind = one_of(fields[COLUMN_COMMAND], kinds, sizeof(kinds) / sizeof(kinds[0]));
    int side = one_of(fields[COLUMN_SIDE], sides, 2);
    *ret = (command){.kind = (command_kind)kind, .order.side = (book_side)side};
    if (kind < 0)
        return csv_refuse(input, error, "the command '%.40s' is unknown", fields[COLUMN_COMMAND]);
    if (side < 0)
        return csv_refuse(input, error, "the action '%.40s' is neither BID nor ASK",
                          fields[COLUMN_SIDE]);
    if (!csv_u64(fields[COLUMN_ORDER], &ret->order.order_id) ||
        !csv_i64(fields[COLUMN_PRICE], &ret->order.price) ||
        !csv_u64(fields[COLUMN_SIZE], &ret->order.size) ||
        !csv_u64(fields[COLUMN_CLIENT], &ret->order.client_id))
        return csv_refuse(input, error, "order id, price, size and uid must be whole numbers");
    int r = read_symbol(run, fields[COLUMN_SYMBOL], &ret->order.symbol, error);
    if (r == 0 && ret->kind == DO_PLACE)
        r = read_type(input, fields[COLUMN_TYPE], &ret->order, error);
    return r;
}

/* ---- doing ---- */

static void on_fill(void *context, const book_fill *fill)
{
    commands_run_state *run = context;
    run->counts.trades++;
    if (run->events.file)
        fprintf(run->events.file,
                "%" PRIu64 ",traded,%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%" PRIu64 ",%" PRIu64
                ",%" PRIu64 "\n",
                run->counts.commands, fill->maker_order_id, fill->taker_order_id, fill->price,
                fill->size, fill->maker_remaining, fill->taker_remaining);
}

static void on_gone(void *context, const book_resting *order)
{
    commands_run_state *run = context;
    if (run->events.file)
        fprintf(run->events.file, "%" PRIu64 ",gone,%" PRIu64 ",%" PRIu64 "\n",
                run->counts.commands, order->order_id, order->remaining);
}

static book_refusal change(commands_run_state *run, const command *wish, book_placed *placed)
{
    const book_events events = {.on_fill = on_fill, .on_gone = on_gone, .context = run};
    const book_replacement replacement = {.price = wish->order.price, .size = wish->order.size};
    book_place place;
    book_resting before;
    if (!book_locate(run->book, wish->order.order_id, &place, &before) ||
        before.symbol != wish->order.symbol)
        return BOOK_UNKNOWN_ORDER;
    if (before.client_id != wish->order.client_id)
        return BOOK_NOT_OWNER;
    placed->remaining = before.remaining;
    switch (wish->kind) {
    case DO_CANCEL:
        book_cancel_at(run->book, place);
        return BOOK_OK;
    case DO_REDUCE:
        placed->rests = wish->order.size < before.remaining;
        if (placed->rests)
            placed->remaining -= wish->order.size;
        return book_reduce_at(run->book, place, wish->order.size);
    case DO_MOVE:
    case DO_REPLACE:
        return book_replace_at(run->book, place, &replacement, &events, placed);
    case DO_PLACE:
        break;
    }
    return BOOK_BAD_TYPE;
}

static void apply(commands_run_state *run, const command *wish)
{
    const book_events events = {.on_fill = on_fill, .on_gone = on_gone, .context = run};
    book_placed placed = {0};
    run->counts.commands++;
    book_refusal refusal = wish->kind == DO_PLACE
                               ? book_new_order(run->book, &wish->order, &events, &placed)
                               : change(run, wish, &placed);
    run->counts.done += refusal == BOOK_OK;
    run->counts.refused += refusal != BOOK_OK;
    if (!run->events.file)
        return;
    if (refusal == BOOK_OK)
        fprintf(run->events.file, "%" PRIu64 ",done,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d\n",
                run->counts.commands, wish->order.order_id, placed.filled, placed.remaining,
                placed.rests);
    else
        fprintf(run->events.file, "%" PRIu64 ",refused,%" PRIu64 ",%s\n", run->counts.commands,
                wish->order.order_id, book_refusal_name(refusal));
}

/* ---- the whole run ---- */

static int apply_all(commands_run_state *run, baton_error *error)
{
    char *fields[COLUMNS];
    uint32_t count;
    for (;;) {
        command wish;
        int r = csv_next(&run->input, fields, COLUMNS, &count, error);
        if (r <= 0)
            return r;
        r = read_command(run, fields, &wish, error);
        if (r < 0)
            return r;
        apply(run, &wish);
    }
}

static int write_order(void *context, const book_resting *order)
{
    commands_run_state *run = context;
    fprintf(run->rows.file,
            "%" PRIu64 ",%s,%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
            run->symbols[order->symbol], order->side == BOOK_BUY ? "BID" : "ASK", order->price,
            order->order_id, order->client_id, order->remaining, order->filled);
    return 0;
}

static int finish(commands_run_state *run, baton_error *error)
{
    const char *broken = book_check(run->book, true);
    if (broken)
        return baton_error_set(error, BATON_E_DAMAGED, "check the book at the end", broken,
                               "this is a bug: please report it");
    if (run->rows.file)
        (void)book_visit(run->book, write_order, run);
    int r = output_finish(&run->events, error);
    if (r == 0)
        r = output_finish(&run->rows, error);
    if (r == 0)
        r = output_publish(&run->events, error);
    if (r == 0)
        r = output_publish(&run->rows, error);
    run->counts.orders_resting = book_orders_count(run->book);
    run->counts.digest = book_digest(run->book);
    return r;
}

int commands_run(const commands_options *options, commands_summary *ret_summary, baton_error *error)
{
    const book_options book = {.orders_max = 1u << 16,
                               .levels_max = 1u << 14,
                               .symbols = COMMANDS_SYMBOLS_MAX,
                               .self_trade = options->self_trade};
    commands_run_state run = {0};
    int r = book_create(&book, &run.book);
    if (r < 0)
        return baton_error_set(error, r, "create the order book", baton_status_text(r),
                               "free some memory");
    r = csv_open(&run.input, options->commands_path, COLUMNS, error);
    if (r == 0 && options->events_path)
        r = output_open(&run.events, options->events_path, error);
    if (r == 0 && options->book_path)
        r = output_open(&run.rows, options->book_path, error);
    if (r == 0)
        r = apply_all(&run, error);
    if (r == 0)
        r = finish(&run, error);
    *ret_summary = run.counts;
    output_close(&run.events);
    output_close(&run.rows);
    csv_close(&run.input);
    book_destroy(run.book);
    return r;
}
