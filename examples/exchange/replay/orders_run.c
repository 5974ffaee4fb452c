/* The files of `exchange-replay orders`: reading balances and commands, writing the results. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "examples/exchange/replay/csv.h"
#include "examples/exchange/replay/orders_state.h"

#define BALANCE_FIELDS   5
#define ORDER_FIELDS_MAX 6
#define ORDER_FIELDS_MIN 5
#define ACCOUNTS_MAX     (1u << 20)

/* ---- in ---- */

static int read_balance(orders_state *state, const csv_reader *reader, char **fields,
                        baton_error *error)
{
    ledger_account account;
    uint64_t asset_id, available, held, version;
    if (!csv_u64(fields[0], &account.client_id) || !csv_u64(fields[1], &asset_id) ||
        !csv_u64(fields[2], &available) || !csv_u64(fields[3], &held) ||
        !csv_u64(fields[4], &version))
        return csv_refuse(reader, error, "a balance is five whole numbers");
    if (asset_id > UINT32_MAX)
        return csv_refuse(reader, error, "the asset id is larger than 2^32 - 1");
    account.asset_id = (uint32_t)asset_id;
    if (held != 0)
        return csv_refuse(reader, error, "an opening balance has nothing frozen, this one has");

    ledger_balance present;
    if (ledger_find(state->ledger, account, &present))
        return csv_refuse(reader, error, "a second balance of this account");
    ledger_refusal refusal = ledger_deposit(state->ledger, account, available);
    if (refusal != LEDGER_OK)
        return csv_refuse(reader, error, "%s", ledger_refusal_text(refusal));
    return 0;
}

static int read_balances(orders_state *state, const char *path, baton_error *error)
{
    csv_reader reader = {0};
    char *fields[BALANCE_FIELDS];
    uint32_t count;
    int r = csv_open(&reader, path, BALANCE_FIELDS, error);
    while (r == 0) {
        r = csv_next(&reader, fields, BALANCE_FIELDS, &count, error);
        if (r <= 0)
            break;
        r = read_balance(state, &reader, fields, error);
    }
    csv_close(&reader);
    return r;
}

static bool parse_side(const char *text, book_side *ret_side)
{
    *ret_side = strcasecmp(text, "sell") == 0 ? BOOK_SELL : BOOK_BUY;
    return *ret_side == BOOK_SELL || strcasecmp(text, "buy") == 0;
}

static int parse_terms(const csv_reader *reader, char **fields, orders_command *ret_command,
                       baton_error *error)
{
    uint64_t price;
    if (!parse_side(fields[0], &ret_command->side))
        return csv_refuse(reader, error, "the side '%.40s' is neither buy nor sell", fields[0]);
    if (!csv_decimal(fields[1], ORDERS_PRICE_DECIMALS, &price) || price > INT64_MAX)
        return csv_refuse(reader, error, "'%.40s' is not a price with at most %d decimals",
                          fields[1], ORDERS_PRICE_DECIMALS);
    if (!csv_decimal(fields[2], ORDERS_SIZE_DECIMALS, &ret_command->size))
        return csv_refuse(reader, error, "'%.40s' is not a quantity with at most %d decimals",
                          fields[2], ORDERS_SIZE_DECIMALS);
    ret_command->price = (int64_t)price;
    return 0;
}

/* order_id,user_id,side,price,qty or order_id,user_id,place|cancel,side,price,qty. The last three
 * of a cancel may be left out or empty. */
static int parse(const csv_reader *reader, char **fields, uint32_t count,
                 orders_command *ret_command, baton_error *error)
{
    *ret_command = (orders_command){.action = ORDERS_PLACE};
    if (!csv_u64(fields[0], &ret_command->order_id))
        return csv_refuse(reader, error, "'%.40s' is not an order id", fields[0]);
    if (!csv_u64(fields[1], &ret_command->user_id))
        return csv_refuse(reader, error, "'%.40s' is not a user id", fields[1]);

    if (strcasecmp(fields[2], "cancel") == 0) {
        ret_command->action = ORDERS_CANCEL;
        return 0;
    }
    bool action_named = strcasecmp(fields[2], "place") == 0;
    if (count != (action_named ? 6u : 5u))
        return csv_refuse(reader, error,
                          "%u fields; expected order_id,user_id,[place,]side,price,qty", count);
    return parse_terms(reader, fields + (action_named ? 3 : 2), ret_command, error);
}

static int replay_orders(orders_state *state, const char *path, baton_error *error)
{
    csv_reader reader = {0};
    char *fields[ORDER_FIELDS_MAX];
    uint32_t count;
    int r = csv_open(&reader, path, 3, error);
    while (r == 0) {
        r = csv_next(&reader, fields, ORDER_FIELDS_MAX, &count, error);
        if (r <= 0)
            break;
        orders_command command;
        r = parse(&reader, fields, count, &command, error);
        if (r == 0)
            r = orders_apply(state, &command, error);
    }
    csv_close(&reader);
    return r;
}

/* ---- out ---- */

static int open_in(output *out, const char *directory, const char *name, const char *header,
                   baton_error *error)
{
    char path[OUTPUT_PATH_BYTES];
    int bytes = snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (bytes < 0 || bytes >= (int)sizeof(path))
        return baton_error_set(error, -ENAMETOOLONG, "write the results",
                               baton_status_text(-ENAMETOOLONG), "give a shorter --out");
    int r = output_open(out, path, error);
    if (r == 0)
        fprintf(out->file, "%s\n", header);
    return r;
}

typedef struct {
    FILE *file;
    const id_map *known;
} write_context;

static int write_order(void *context, const book_resting *order)
{
    const write_context *to = context;
    bool partial = id_map_get(to->known, order->order_id) == ORDERS_ARRIVED_FILLED_IN_PART;
    fprintf(to->file, "%" PRIu64 ",%" PRIu64 ",%s,limit,%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%s\n",
            order->order_id, order->client_id, order->side == BOOK_BUY ? "buy" : "sell",
            order->price, order->remaining + order->filled, order->filled,
            partial ? "PARTIALLY_FILLED" : "NEW");
    return 0;
}

static int write_balance(void *context, const ledger_balance *balance)
{
    fprintf(context, "%" PRIu64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
            balance->account.client_id, balance->account.asset_id, balance->available,
            balance->held, balance->version);
    return 0;
}

static int write_book(const orders_state *state, const char *directory, output *out,
                      baton_error *error)
{
    int r = open_in(out, directory, "orderbook.csv",
                    "order_id,user_id,side,order_type,price,qty,filled_qty,status", error);
    if (r < 0)
        return r;
    write_context context = {.file = out->file, .known = &state->known};
    (void)book_visit(state->replay.book, write_order, &context);
    return output_finish(out, error);
}

static int write_balances(const orders_state *state, const char *directory, output *out,
                          baton_error *error)
{
    int r = open_in(out, directory, "balances.csv", "user_id,asset_id,avail,frozen,version", error);
    if (r < 0)
        return r;
    r = ledger_visit(state->ledger, write_balance, out->file);
    if (r < 0)
        return baton_error_set(error, r, "write the balances", baton_status_text(r),
                               "free some memory");
    return output_finish(out, error);
}

/* All three are finished before the first takes its name. */
static int write_results(orders_state *state, const char *directory, baton_error *error)
{
    output book = {0}, balances = {0};
    int r = output_finish(&state->events, error);
    if (r == 0)
        r = write_book(state, directory, &book, error);
    if (r == 0)
        r = write_balances(state, directory, &balances, error);
    if (r == 0)
        r = output_publish(&state->events, error);
    if (r == 0)
        r = output_publish(&book, error);
    if (r == 0)
        r = output_publish(&balances, error);
    output_close(&book);
    output_close(&balances);
    return r;
}

static int make_directory(const char *path, baton_error *error)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return 0;
    int r = -errno;
    char what[192];
    snprintf(what, sizeof(what), "make the directory %.150s", path);
    return baton_error_set(error, r, what, baton_status_text(r), "give an --out that can be made");
}

/* ---- the whole run ---- */

static int open_state(orders_state *state, replay_memory memory, baton_error *error)
{
    int r = replay_book_open(&state->replay, memory, error);
    if (r < 0)
        return r;
    r = ledger_create(&(ledger_options){.accounts_max = ACCOUNTS_MAX}, &state->ledger);
    if (r < 0)
        return baton_error_set(error, r, "create the ledger", baton_status_text(r),
                               "free some memory");
    return 0;
}

int orders_run(const orders_options *options, orders_summary *ret_summary, baton_error *error)
{
    orders_state state = {0};
    int r = open_state(&state, options->memory, error);
    if (r == 0)
        r = read_balances(&state, options->balances_path, error);
    if (r == 0)
        r = make_directory(options->out_path, error);
    if (r == 0)
        r = open_in(&state.events, options->out_path, "events.csv",
                    "event_type,order_id,user_id,seq_id,filled_qty,remaining_qty,price,reason",
                    error);
    if (r == 0)
        r = replay_orders(&state, options->orders_path, error);
    if (r == 0)
        r = replay_book_check(&state.replay, error);
    if (r == 0)
        r = write_results(&state, options->out_path, error);
    if (r == 0) {
        state.counts.orders_resting = book_orders_count(state.replay.book);
        state.counts.accounts = ledger_accounts_count(state.ledger);
        state.counts.book_digest = book_digest(state.replay.book);
        state.counts.ledger_digest = ledger_digest(state.ledger);
        *ret_summary = state.counts;
    }
    output_close(&state.events);
    id_map_fini(&state.known);
    ledger_destroy(state.ledger);
    replay_book_close(&state.replay);
    return r;
}
