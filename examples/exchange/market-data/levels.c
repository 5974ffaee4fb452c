#include "examples/exchange/market-data/levels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t price;
    uint64_t size;
    uint32_t orders_count;
} level;

/* From the worst price to the best: most changes are near the end. */
typedef struct {
    level *levels;
    uint32_t count;
    uint32_t capacity;
} book_half;

typedef struct {
    book_half sides[2];
    market_top told;
} symbol_levels;

struct levels {
    symbol_levels *symbols;
    uint32_t symbols_count;
};

int levels_create(levels **ret_levels)
{
    *ret_levels = calloc(1, sizeof(**ret_levels));
    return *ret_levels ? 0 : -ENOMEM;
}

void levels_destroy(levels *own)
{
    if (!own)
        return;
    for (uint32_t i = 0; i < own->symbols_count; i++) {
        free(own->symbols[i].sides[BOOK_BUY].levels);
        free(own->symbols[i].sides[BOOK_SELL].levels);
    }
    free(own->symbols);
    free(own);
}

/* The higher the better. */
static int64_t rank(uint8_t side, int64_t price)
{
    return side == BOOK_BUY ? price : ~price;
}

/* Where this price is, or would be. */
static uint32_t find(const book_half *half, uint8_t side, int64_t price)
{
    uint32_t begin = 0, end = half->count;
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        if (rank(side, half->levels[middle].price) < rank(side, price))
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static bool is_at(const book_half *half, uint32_t at, int64_t price)
{
    return at < half->count && half->levels[at].price == price;
}

static int make_symbol(levels *own, uint32_t symbol)
{
    if (symbol < own->symbols_count)
        return 0;
    uint32_t count = own->symbols_count != 0 ? own->symbols_count : 4;
    while (count <= symbol)
        count *= 2;
    symbol_levels *grown = realloc(own->symbols, count * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    memset(grown + own->symbols_count, 0, (count - own->symbols_count) * sizeof(*grown));
    own->symbols = grown;
    own->symbols_count = count;
    return 0;
}

static int make_room(book_half *half)
{
    if (half->count < half->capacity)
        return 0;
    uint32_t capacity = half->capacity != 0 ? half->capacity * 2 : 64;
    level *grown = realloc(half->levels, capacity * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    half->levels = grown;
    half->capacity = capacity;
    return 0;
}

/* The level of this price, a new and empty one if need be. */
static int reach(levels *own, uint32_t symbol, uint8_t side, int64_t price, level **ret_level)
{
    if (symbol >= BOOK_SYMBOLS_MAX || side > BOOK_SELL)
        return BATON_E_INVALID;
    int r = make_symbol(own, symbol);
    if (r < 0)
        return r;
    book_half *half = &own->symbols[symbol].sides[side];
    uint32_t at = find(half, side, price);
    if (!is_at(half, at, price)) {
        r = make_room(half);
        if (r < 0)
            return r;
        memmove(half->levels + at + 1, half->levels + at,
                (half->count - at) * sizeof(*half->levels));
        half->levels[at] = (level){.price = price};
        half->count++;
    }
    *ret_level = &half->levels[at];
    return 0;
}

static void drop_if_empty(levels *own, uint32_t symbol, uint8_t side, int64_t price)
{
    book_half *half = &own->symbols[symbol].sides[side];
    uint32_t at = find(half, side, price);
    if (!is_at(half, at, price) || half->levels[at].orders_count != 0)
        return;
    half->count--;
    memmove(half->levels + at, half->levels + at + 1, (half->count - at) * sizeof(*half->levels));
}

int levels_set(levels *own, const market_level *now)
{
    const uint32_t symbol = baton_le32_get(now->symbol);
    const int64_t price = (int64_t)baton_le64_get(now->price);
    level *place;
    int r = reach(own, symbol, now->side, price, &place);
    if (r < 0)
        return r;
    place->size = baton_le64_get(now->size);
    place->orders_count = baton_le32_get(now->orders_count);
    drop_if_empty(own, symbol, now->side, price);
    return 0;
}

int levels_add(levels *own, uint32_t symbol, uint8_t side, int64_t price, uint64_t size)
{
    level *place;
    int r = reach(own, symbol, side, price, &place);
    if (r < 0)
        return r;
    place->size += size; /* as the book itself sums */
    place->orders_count++;
    return 0;
}

int levels_take(levels *own, uint32_t symbol, uint8_t side, int64_t price, uint64_t size,
                bool order_goes)
{
    if (symbol >= own->symbols_count || side > BOOK_SELL)
        return BATON_E_INVALID;
    book_half *half = &own->symbols[symbol].sides[side];
    uint32_t at = find(half, side, price);
    if (!is_at(half, at, price))
        return BATON_E_INVALID;
    level *place = &half->levels[at];
    place->size -= size;
    place->orders_count -= order_goes;
    if ((place->orders_count == 0) != (place->size == 0))
        return BATON_E_INVALID;
    drop_if_empty(own, symbol, side, price);
    return 0;
}

static market_level as_message(uint32_t symbol, uint8_t side, const level *place)
{
    return (market_level){.symbol = baton_le32_put(symbol),
                          .orders_count = baton_le32_put(place->orders_count),
                          .price = baton_le64_put((uint64_t)place->price),
                          .size = baton_le64_put(place->size),
                          .side = side};
}

market_level levels_get(const levels *own, uint32_t symbol, uint8_t side, int64_t price)
{
    const level none = {.price = price};
    if (symbol >= own->symbols_count)
        return as_message(symbol, side, &none);
    const book_half *half = &own->symbols[symbol].sides[side];
    uint32_t at = find(half, side, price);
    return as_message(symbol, side, is_at(half, at, price) ? &half->levels[at] : &none);
}

static level best(const book_half *half)
{
    return half->count > 0 ? half->levels[half->count - 1] : (level){0};
}

market_top levels_top(const levels *own, uint32_t symbol)
{
    level bid = {0}, ask = {0};
    if (symbol < own->symbols_count) {
        bid = best(&own->symbols[symbol].sides[BOOK_BUY]);
        ask = best(&own->symbols[symbol].sides[BOOK_SELL]);
    }
    return (market_top){.symbol = baton_le32_put(symbol),
                        .bid_price = baton_le64_put((uint64_t)bid.price),
                        .bid_size = baton_le64_put(bid.size),
                        .ask_price = baton_le64_put((uint64_t)ask.price),
                        .ask_size = baton_le64_put(ask.size)};
}

market_top *levels_told(levels *own, uint32_t symbol)
{
    return symbol < own->symbols_count ? &own->symbols[symbol].told : NULL;
}

uint64_t levels_list(const levels *own, market_level *out)
{
    uint64_t count = 0;
    for (uint32_t symbol = 0; symbol < own->symbols_count; symbol++)
        for (uint8_t side = BOOK_BUY; side <= BOOK_SELL; side++) {
            const book_half *half = &own->symbols[symbol].sides[side];
            for (uint32_t i = 0; i < half->count; i++, count++)
                if (out)
                    out[count] = as_message(symbol, side, &half->levels[i]);
        }
    return count;
}
