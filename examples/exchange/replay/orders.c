/* Placing and cancelling: the order's funds are held first, each fill is settled as it happens,
 * and what a cancelled order held is released. */
#include "examples/exchange/replay/orders.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "examples/exchange/replay/orders_state.h"

static const ledger_pair pair = {
    .base_asset_id = ORDERS_BASE_ASSET,
    .quote_asset_id = ORDERS_QUOTE_ASSET,
    .size_unit = 100000000, /* 10^ORDERS_SIZE_DECIMALS */
};

/* ---- events.csv: event_type,order_id,user_id,seq_id,filled_qty,remaining_qty,price,reason ---- */

static void event_accepted(orders_state *state, const orders_command *command)
{
    state->counts.accepted++;
    fprintf(state->events.file, "accepted,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",,,,\n",
            command->order_id, command->user_id, state->counts.commands);
}

static void event_rejected(orders_state *state, const orders_command *command, const char *reason)
{
    state->counts.rejected++;
    fprintf(state->events.file, "rejected,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",,,,%s\n",
            command->order_id, command->user_id, state->counts.commands, reason);
}

static void event_filled(orders_state *state, const orders_command *command, uint64_t average_price)
{
    state->counts.filled++;
    fprintf(state->events.file, "filled,%" PRIu64 ",%" PRIu64 ",,%" PRIu64 ",,%" PRIu64 ",\n",
            command->order_id, command->user_id, command->size, average_price);
}

static void event_partial(orders_state *state, const orders_command *command,
                          const book_placed *placed)
{
    state->counts.partially_filled++;
    fprintf(state->events.file,
            "partial_filled,%" PRIu64 ",%" PRIu64 ",,%" PRIu64 ",%" PRIu64 ",,\n",
            command->order_id, command->user_id, placed->filled, placed->remaining);
}

static void event_cancelled(orders_state *state, const book_resting *order)
{
    state->counts.cancelled++;
    fprintf(state->events.file, "cancelled,%" PRIu64 ",%" PRIu64 ",,%" PRIu64 ",%" PRIu64 ",,\n",
            order->order_id, order->client_id, order->filled, order->remaining);
}

/* ---- placing ---- */

typedef struct {
    orders_state *state;
    const orders_command *command;
    unsigned __int128 notional; /* sum of price * size */
    ledger_refusal refusal;     /* of a settlement; LEDGER_OK */
} fill_context;

static void settle_fill(void *context_pointer, const book_fill *fill)
{
    fill_context *context = context_pointer;
    bool taker_buys = fill->taker_side == BOOK_BUY;
    ledger_trade trade = {
        .buyer_id = taker_buys ? fill->taker_client_id : fill->maker_client_id,
        .seller_id = taker_buys ? fill->maker_client_id : fill->taker_client_id,
        .price = fill->price,
        .size = fill->size,
        .buyer_limit = taker_buys ? context->command->price : fill->price,
        .buyer_remaining = taker_buys ? fill->taker_remaining : fill->maker_remaining,
    };
    ledger_refusal refusal = ledger_settle(context->state->ledger, &pair, &trade);
    if (context->refusal == LEDGER_OK)
        context->refusal = refusal;
    context->notional += (unsigned __int128)(uint64_t)fill->price * fill->size;
    context->state->counts.trades++;
}

/* What the order must hold while it is open. */
static ledger_refusal hold_of(book_side side, uint64_t user_id, int64_t price, uint64_t size,
                              ledger_account *ret_account, uint64_t *ret_amount)
{
    ret_account->client_id = user_id;
    ret_account->asset_id = side == BOOK_BUY ? pair.quote_asset_id : pair.base_asset_id;
    *ret_amount = size;
    return side == BOOK_BUY ? ledger_buy_hold(&pair, price, size, ret_amount) : LEDGER_OK;
}

static const char *hold_reason(ledger_refusal refusal)
{
    switch (refusal) {
    case LEDGER_OK:
        return NULL;
    case LEDGER_UNKNOWN_ACCOUNT:
        return "account_not_found";
    case LEDGER_INSUFFICIENT:
        return "insufficient_balance";
    case LEDGER_OVERFLOW:
        return "amount_overflow";
    case LEDGER_ACCOUNTS_FULL:
    case LEDGER_BAD_TRADE:
        break;
    }
    return "refused";
}

/* Why the order can't be taken, NULL when it can: then its funds are held. */
static const char *admit(orders_state *state, const orders_command *command)
{
    if (command->price <= 0)
        return "invalid_price";
    if (command->size == 0 || command->size > BOOK_SIZE_MAX)
        return "invalid_quantity";
    if (id_map_get(&state->known, command->order_id) != 0)
        return "duplicate_order_id";

    ledger_account account;
    uint64_t amount;
    ledger_refusal refusal =
        hold_of(command->side, command->user_id, command->price, command->size, &account, &amount);
    if (refusal == LEDGER_OK)
        refusal = ledger_hold(state->ledger, account, amount);
    return hold_reason(refusal);
}

/* A level whose sizes would overflow is the only refusal left once an order has been admitted. */
static int reject_held(orders_state *state, const orders_command *command, book_refusal refusal)
{
    ledger_account account;
    uint64_t amount;
    (void)hold_of(command->side, command->user_id, command->price, command->size, &account,
                  &amount);
    (void)ledger_release(state->ledger, account, amount);
    event_rejected(state, command, book_refusal_name(refusal));
    return 0;
}

static int place(orders_state *state, const orders_command *command, baton_error *error)
{
    const char *reason = admit(state, command);
    if (reason) {
        event_rejected(state, command, reason);
        return 0;
    }

    book_order order = {
        .order_id = command->order_id,
        .client_id = command->user_id,
        .price = command->price,
        .size = command->size,
        .side = command->side,
    };
    fill_context context = {.state = state, .command = command};
    book_placed placed;
    book_refusal refusal;
    const book_events events = {.on_fill = settle_fill, .context = &context};
    int r =
        replay_book_place(&state->replay, REPLAY_MATCH, &order, &events, &placed, &refusal, error);
    if (r < 0)
        return r;
    if (refusal != BOOK_OK)
        return reject_held(state, command, refusal);
    if (context.refusal != LEDGER_OK)
        return baton_error_set(error, BATON_E_REFUSED, "settle a trade",
                               ledger_refusal_text(context.refusal),
                               "check the opening balances for amounts near 2^64");

    orders_arrival arrival =
        placed.rests && placed.filled > 0 ? ORDERS_ARRIVED_FILLED_IN_PART : ORDERS_ARRIVED;
    r = id_map_set(&state->known, command->order_id, (uint32_t)arrival);
    if (r < 0)
        return baton_error_set(error, r, "remember an order", baton_status_text(r),
                               "free some memory");
    event_accepted(state, command);
    if (placed.remaining == 0)
        event_filled(state, command, (uint64_t)(context.notional / placed.filled));
    else if (placed.filled > 0)
        event_partial(state, command, &placed);
    return 0;
}

/* ---- cancelling ---- */

static int cancel(orders_state *state, const orders_command *command)
{
    book_resting order;
    if (!book_find(state->replay.book, command->order_id, &order)) {
        event_rejected(state, command, "order_not_found");
        return 0;
    }
    if (order.client_id != command->user_id) {
        event_rejected(state, command, "not_owner");
        return 0;
    }
    ledger_account account;
    uint64_t amount;
    ledger_refusal refusal =
        hold_of(order.side, order.client_id, order.price, order.remaining, &account, &amount);
    if (refusal == LEDGER_OK)
        refusal = ledger_release(state->ledger, account, amount);
    book_invariant(refusal == LEDGER_OK);
    (void)book_cancel(state->replay.book, command->order_id, NULL);
    event_cancelled(state, &order);
    return 0;
}

int orders_apply(orders_state *state, const orders_command *command, baton_error *error)
{
    state->counts.commands++;
    switch (command->action) {
    case ORDERS_PLACE:
        return place(state, command, error);
    case ORDERS_CANCEL:
        return cancel(state, command);
    }
    return baton_error_set(error, BATON_E_UNKNOWN_TYPE, "apply a command", "unknown action", "");
}
