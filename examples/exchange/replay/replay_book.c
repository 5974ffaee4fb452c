#include "examples/exchange/replay/replay_book.h"

/* Enough for an hour of one instrument, few enough to stay in the processor's caches. */
#define ORDERS_AT_START (1u << 13)
#define LEVELS_AT_START (1u << 12)

static const baton_layout_type *const layout_types[] = {BOOK_LAYOUT_TYPES};
static const baton_layout layout = {
    .name = "replay-book",
    .revision = 1,
    .types = layout_types,
    .types_count = BOOK_LAYOUT_TYPES_COUNT,
};

int replay_book_open(replay_book *replay, replay_memory memory, baton_error *error)
{
    *replay = (replay_book){
        .options = {.orders_max = ORDERS_AT_START, .levels_max = LEVELS_AT_START},
    };
    if (memory == REPLAY_ARENA) {
        int opened = baton_arena_create(NULL, &layout, &replay->options.arena, error);
        if (opened < 0)
            return opened;
    }
    int r = book_create(&replay->options, &replay->book);
    if (r < 0)
        return baton_error_set(error, r, "create the order book", baton_status_text(r),
                               "free some memory");
    return 0;
}

int replay_book_check(const replay_book *replay, baton_error *error)
{
    const baton_arena *arena = replay->options.arena;
    const char *wrong = book_check(replay->book, false);
    if (!wrong && arena)
        wrong = baton_arena_check(arena);
    if (wrong)
        return baton_error_set(error, BATON_E_DAMAGED, "check the book at the end", wrong,
                               "this is a bug: please report it");
    return arena ? baton_arena_scan(arena, error) : 0;
}

void replay_book_close(replay_book *replay)
{
    book_destroy(replay->book);
    baton_arena_destroy(replay->options.arena);
    *replay = (replay_book){0};
}

static int copy_order(void *larger, const book_resting *order)
{
    return book_restore_order(larger, order);
}

/* The state moves to a larger book the way it moves between processes: visit and restore. */
static int move_to(replay_book *replay, const book_options *options)
{
    order_book *larger = NULL;
    int r = book_create(options, &larger);
    if (r == 0)
        r = book_visit(replay->book, copy_order, larger);
    if (r == 0) {
        book_counters counters = book_get_counters(replay->book);
        r = book_restore_counters(larger, &counters);
    }
    if (r < 0) {
        book_destroy(larger);
        return r;
    }
    book_destroy(replay->book);
    replay->book = larger;
    replay->options = *options;
    return 0;
}

static int grow(replay_book *replay, book_refusal full, baton_error *error)
{
    book_options options = replay->options;
    uint32_t *pool = full == BOOK_ORDERS_FULL ? &options.orders_max : &options.levels_max;
    int r = BATON_E_FULL;
    if (*pool < BOOK_ORDERS_MAX) {
        *pool *= 2;
        r = move_to(replay, &options);
    }
    if (r < 0)
        return baton_error_set(error, r, "make the order book larger", baton_status_text(r),
                               "replay a shorter file or use a machine with more memory");
    return 0;
}

int replay_book_place(replay_book *replay, replay_entry entry, const book_order *order,
                      const book_events *events, book_placed *ret_placed, book_refusal *ret_refusal,
                      baton_error *error)
{
    for (;;) {
        book_refusal refusal = entry == REPLAY_REST
                                   ? book_rest_order(replay->book, order, ret_placed)
                                   : book_new_order(replay->book, order, events, ret_placed);
        *ret_refusal = refusal;
        if (refusal != BOOK_ORDERS_FULL && refusal != BOOK_LEVELS_FULL)
            return 0;
        int r = grow(replay, refusal, error);
        if (r < 0)
            return r;
    }
}
