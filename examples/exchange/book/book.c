/* The book as an object, and the ways to look at it. */
#include "examples/exchange/book/book.h"

#include <errno.h>
#include "examples/exchange/book/book_internal.h"
#include "examples/exchange/book/memory.h"

static const baton_layout_field counters_fields[] = {
    BATON_FIELD(book_counters, next_priority),
    BATON_FIELD(book_counters, trades_count),
    BATON_FIELD(book_counters, now_ns),
};
static const baton_layout_type counters_layout = BATON_LAYOUT_TYPE(book_counters, counters_fields);

static const baton_layout_field sum_fields[] = {
    BATON_FIELD(order_sum, high),
    BATON_FIELD(order_sum, low),
};
static const baton_layout_type sum_layout = BATON_LAYOUT_TYPE(order_sum, sum_fields);

static const baton_layout_field slot_fields[] = {
    BATON_FIELD(book_slot, order_id),
    BATON_FIELD(book_slot, client_id),
    BATON_FIELD(book_slot, remaining),
    BATON_FIELD(book_slot, filled),
    BATON_FIELD(book_slot, priority),
    BATON_FIELD(book_slot, expire_ns),
    BATON_STRUCT(book_slot, item, sum_layout),
    BATON_FIELD(book_slot, level),
    BATON_FIELD(book_slot, older),
    BATON_FIELD(book_slot, newer),
    BATON_FIELD(book_slot, expiry_index),
    BATON_FIELD(book_slot, time_in_force),
};
const baton_layout_type book_slot_layout = BATON_LAYOUT_TYPE(book_slot, slot_fields);

static const baton_layout_field book_fields[] = {
    BATON_POINTER(order_book, arena, baton_arena),
    BATON_POINTER(order_book, slots, book_slot),
    BATON_FIELD(order_book, slots_max),
    BATON_FIELD(order_book, free_slot),
    BATON_STRUCT(order_book, by_id, order_table_layout),
    BATON_STRUCT(order_book, levels, price_levels_layout),
    BATON_POINTER(order_book, expiry, uint32_t),
    BATON_FIELD(order_book, expiry_count),
    BATON_STRUCT(order_book, counters, counters_layout),
    BATON_FIELD(order_book, self_trade),
    BATON_STRUCT(order_book, orders_sum, sum_layout),
};
const baton_layout_type order_book_layout = BATON_LAYOUT_TYPE(order_book, book_fields);

static bool pool_size_fits(uint32_t count)
{
    return count >= 1 && count <= BOOK_ORDERS_MAX;
}

int book_create(const book_options *options, order_book **ret_book)
{
    uint32_t symbols = options->symbols ? options->symbols : 1;
    if (!pool_size_fits(options->orders_max) || !pool_size_fits(options->levels_max) ||
        symbols > BOOK_SYMBOLS_MAX || (uint32_t)options->self_trade > BOOK_SELF_TRADE_CANCEL_TAKING)
        return BATON_E_INVALID;

    int r = -ENOMEM;
    order_book *made = memory_new(options->arena, &order_book_layout, 1);
    if (!made)
        goto fail;
    made->arena = options->arena;
    made->slots_max = options->orders_max;
    made->self_trade = options->self_trade;
    made->counters.next_priority = 1;
    made->slots = memory_new(made->arena, &book_slot_layout, options->orders_max);
    made->expiry = memory_numbers(made->arena, options->orders_max);
    if (!made->slots || !made->expiry)
        goto fail;
    for (uint32_t i = 0; i < options->orders_max; i++)
        made->slots[i].newer = i + 1 < options->orders_max ? i + 1 : BOOK_NONE;

    r = order_table_init(&made->by_id, made->arena, options->orders_max);
    if (r < 0)
        goto fail;
    r = price_levels_init(&made->levels, &(price_levels_options){.levels_max = options->levels_max,
                                                                 .symbols = symbols,
                                                                 .arena = options->arena});
    if (r < 0)
        goto fail;
    *ret_book = made;
    return 0;

fail:
    book_destroy(made);
    return r;
}

void book_destroy(order_book *book)
{
    if (!book)
        return;
    baton_arena *arena = book->arena;
    price_levels_fini(&book->levels, arena);
    order_table_fini(&book->by_id, arena);
    memory_free(arena, book->expiry);
    memory_free(arena, book->slots);
    memory_free(arena, book);
}

uint32_t book_symbols(const order_book *book)
{
    return book->levels.lists_count / 2;
}

book_self_trade book_self_trade_of(const order_book *book)
{
    return (book_self_trade)book->self_trade;
}

/* NULL: no such symbol. */
static const price_list *list_at(const order_book *book, uint32_t symbol, book_side side)
{
    return symbol < book_symbols(book) ? &book->levels.lists[price_list_of(symbol, side)] : NULL;
}

uint32_t book_levels(const order_book *book, uint32_t symbol, book_side side, book_level *levels,
                     uint32_t levels_max)
{
    const price_list *list = list_at(book, symbol, side);
    uint32_t count = 0;
    for (uint32_t at = list ? list->best : BOOK_NONE; at != BOOK_NONE && count < levels_max;
         at = price_levels_worse(&book->levels, at)) {
        const price_level *level = &book->levels.levels[at];
        levels[count++] = (book_level){
            .price = level->price,
            .size = level->size,
            .orders_count = level->orders_count,
        };
    }
    return count;
}

bool book_find(const order_book *book, uint64_t order_id, book_resting *ret_order)
{
    uint32_t slot = order_table_find(&book->by_id, book->slots, order_id);
    if (slot == BOOK_NONE)
        return false;
    if (ret_order)
        *ret_order = slot_resting(book, slot);
    return true;
}

bool book_front(const order_book *book, uint32_t symbol, book_side side, int64_t price,
                book_resting *ret_order)
{
    if (!list_at(book, symbol, side))
        return false;
    uint32_t level = price_levels_find(&book->levels, price_list_of(symbol, side), price);
    if (level == BOOK_NONE)
        return false;
    *ret_order = slot_resting(book, book->levels.levels[level].oldest);
    return true;
}

uint32_t book_orders_count(const order_book *book)
{
    return book->by_id.count;
}

uint32_t book_levels_count(const order_book *book, uint32_t symbol, book_side side)
{
    const price_list *list = list_at(book, symbol, side);
    return list ? list->count : 0;
}

book_counters book_get_counters(const order_book *book)
{
    return book->counters;
}

static int visit_list(const order_book *book, const price_list *list, book_visit_order visit,
                      void *context)
{
    for (uint32_t at = list->best; at != BOOK_NONE; at = price_levels_worse(&book->levels, at)) {
        for (uint32_t slot = book->levels.levels[at].oldest; slot != BOOK_NONE;
             slot = book->slots[slot].newer) {
            book_resting order = slot_resting(book, slot);
            int r = visit(context, &order);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

int book_visit_side(const order_book *book, uint32_t symbol, book_side side, book_visit_order visit,
                    void *context)
{
    const price_list *list = list_at(book, symbol, side);
    return list ? visit_list(book, list, visit, context) : 0;
}

int book_visit(const order_book *book, book_visit_order visit, void *context)
{
    int r = 0;
    for (uint32_t at = 0; at < book->levels.lists_count && r == 0; at++)
        r = visit_list(book, &book->levels.lists[at], visit, context);
    return r;
}

const char *book_refusal_name(book_refusal refusal)
{
    switch (refusal) {
#define BOOK_REFUSAL_NAME(name, text)                                                              \
    case BOOK_##name:                                                                              \
        return #name;
        BOOK_REFUSAL_LIST(BOOK_REFUSAL_NAME)
#undef BOOK_REFUSAL_NAME
    }
    return "UNKNOWN_REFUSAL";
}

const char *book_refusal_text(book_refusal refusal)
{
    switch (refusal) {
#define BOOK_REFUSAL_TEXT(name, text)                                                              \
    case BOOK_##name:                                                                              \
        return text;
        BOOK_REFUSAL_LIST(BOOK_REFUSAL_TEXT)
#undef BOOK_REFUSAL_TEXT
    }
    return "a refusal this build does not know";
}
