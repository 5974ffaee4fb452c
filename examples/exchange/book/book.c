/* The book as an object, and the ways to look at it. */
#include "examples/exchange/book/book.h"

#include <errno.h>
#include <stdlib.h>
#include "examples/exchange/book/book_internal.h"

static bool pool_size_fits(uint32_t count)
{
    return count >= 1 && count <= BOOK_ORDERS_MAX;
}

int book_create(const book_options *options, order_book **ret_book)
{
    if (!pool_size_fits(options->orders_max) || !pool_size_fits(options->levels_max))
        return BATON_E_INVALID;

    int r = -ENOMEM;
    order_book *made = calloc(1, sizeof(*made));
    if (!made)
        goto fail;
    made->slots_max = options->orders_max;
    made->counters.next_priority = 1;
    made->slots = calloc(options->orders_max, sizeof(*made->slots));
    made->expiry = calloc(options->orders_max, sizeof(*made->expiry));
    if (!made->slots || !made->expiry)
        goto fail;
    for (uint32_t i = 0; i < options->orders_max; i++)
        made->slots[i].newer = i + 1 < options->orders_max ? i + 1 : BOOK_NONE;

    r = order_table_init(&made->by_id, options->orders_max);
    if (r < 0)
        goto fail;
    r = price_levels_init(&made->levels, options->levels_max);
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
    price_levels_fini(&book->levels);
    order_table_fini(&book->by_id);
    free(book->expiry);
    free(book->slots);
    free(book);
}

uint32_t book_levels(const order_book *book, book_side side, book_level *levels,
                     uint32_t levels_max)
{
    uint32_t count = 0;
    for (uint32_t at = book->levels.best[side]; at != BOOK_NONE && count < levels_max;
         at = price_levels_worse(&book->levels, side, at)) {
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
    uint32_t slot = order_table_find(&book->by_id, order_id);
    if (slot == BOOK_NONE)
        return false;
    if (ret_order)
        *ret_order = slot_resting(book, slot);
    return true;
}

bool book_front(const order_book *book, book_side side, int64_t price, book_resting *ret_order)
{
    uint32_t level = price_levels_find(&book->levels, side, price);
    if (level == BOOK_NONE)
        return false;
    *ret_order = slot_resting(book, book->levels.levels[level].oldest);
    return true;
}

uint32_t book_orders_count(const order_book *book)
{
    return book->by_id.count;
}

uint32_t book_levels_count(const order_book *book, book_side side)
{
    return book->levels.count[side];
}

book_counters book_get_counters(const order_book *book)
{
    return book->counters;
}

int book_visit(const order_book *book, book_side side, book_visit_order visit, void *context)
{
    for (uint32_t at = book->levels.best[side]; at != BOOK_NONE;
         at = price_levels_worse(&book->levels, side, at)) {
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
