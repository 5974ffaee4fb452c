#include "examples/exchange/risk-engine/mirror.h"

#include "examples/exchange/book/invariant.h"

enum {
    ITEMS_MAX =
        (BATON_EFFECT_BYTES_MAX - sizeof(exchange_exposures)) / sizeof(exchange_exposure_change),
};
/* An order that left changes one exposure, a trade two; and there is the order that the report is about. */
static_assert(
    (BATON_EFFECT_BYTES_MAX - sizeof(exchange_report)) / sizeof(exchange_gone) + 1 <=
            RISK_CHANGES_MAX &&
        2 * ((BATON_EFFECT_BYTES_MAX - sizeof(exchange_report)) / sizeof(exchange_trade)) + 1 <=
            RISK_CHANGES_MAX,
    "the exposures that a report can change");

/* An effect that is being made. */
typedef struct {
    exchange_exposures head;
    exchange_exposure_change items[ITEMS_MAX];
    uint32_t count;
} mirror_effect;
static_assert(offsetof(mirror_effect, items) == sizeof(exchange_exposures), "one payload");

static void emit(risk_engine *engine, mirror_effect *own, baton_effects *effects)
{
    own->head.number = baton_le64_put(++engine->mirror_number);
    own->head.items_count = baton_le32_put(own->count);
    baton_effect_emit(effects, EXCHANGE_RISK_MIRROR, EXCHANGE_EXPOSURES, own,
                      (uint32_t)(sizeof(own->head) + own->count * sizeof(own->items[0])));
    own->count = 0;
}

static void add(mirror_effect *own, const exposure *was, const exposure *now)
{
    own->items[own->count++] = (exchange_exposure_change){
        .client_id = baton_le64_put(now->client_id),
        .symbol = baton_le32_put(now->symbol),
        .killed_was = (uint8_t)was->killed,
        .killed = (uint8_t)now->killed,
        .position_was = baton_le64_put((uint64_t)was->position),
        .position = baton_le64_put((uint64_t)now->position),
        .cash_was = baton_le64_put((uint64_t)was->cash),
        .cash = baton_le64_put((uint64_t)now->cash),
        .open_buy_was = baton_le64_put(was->open[BOOK_BUY]),
        .open_buy = baton_le64_put(now->open[BOOK_BUY]),
        .open_sell_was = baton_le64_put(was->open[BOOK_SELL]),
        .open_sell = baton_le64_put(now->open[BOOK_SELL]),
    };
}

/* The kill switch of all, as if it were an exposure. */
static exposure all_switch(uint32_t killed)
{
    return (exposure){.symbol = EXPOSURE_CLIENT, .killed = killed};
}
static_assert(EXPOSURE_CLIENT == EXCHANGE_NO_SYMBOL, "a client's kill switch");

/* Limits are not told. */
static bool is_told(const exposure *was, const exposure *now)
{
    return was->position != now->position || was->cash != now->cash ||
           was->open[BOOK_BUY] != now->open[BOOK_BUY] ||
           was->open[BOOK_SELL] != now->open[BOOK_SELL] || was->killed != now->killed;
}

void mirror_begin(risk_engine *engine)
{
    engine->changes_count = 0;
    engine->killed_was = engine->killed;
}

void mirror_change(risk_engine *engine, const exposure *was, const exposure *now)
{
    uint32_t i = 0;
    while (i < engine->changes_count && (engine->changes[i].client_id != was->client_id ||
                                         engine->changes[i].symbol != was->symbol))
        i++;
    if (engine->mirrored && i == engine->changes_count) {
        book_invariant(i < RISK_CHANGES_MAX);
        engine->changes[engine->changes_count++] = *was;
    }
    exposures_change(engine->exposures, was, now);
}

void mirror_end(risk_engine *engine, baton_effects *effects)
{
    mirror_effect told;
    if (!engine->mirrored)
        return;
    told.head = (exchange_exposures){.flags = 0};
    told.count = 0;
    for (uint32_t i = 0; i < engine->changes_count; i++) {
        const exposure *was = &engine->changes[i];
        const exposure *now = exposures_find(engine->exposures, was->client_id, was->symbol);
        if (is_told(was, now))
            add(&told, was, now);
        if (told.count == ITEMS_MAX)
            emit(engine, &told, effects);
    }
    if (engine->killed != engine->killed_was) {
        const exposure was = all_switch(engine->killed_was), now = all_switch(engine->killed);
        add(&told, &was, &now);
    }
    if (told.count > 0)
        emit(engine, &told, effects);
}

void mirror_page(risk_engine *engine, uint32_t first, baton_effects *effects)
{
    const uint32_t count = exposures_count(engine->exposures);
    mirror_effect page = {.head = {.flags = EXCHANGE_EXPOSURES_PAGE}};
    uint32_t next = first;
    for (; next < count && page.count < ITEMS_MAX - 1; next++) {
        const exposure *one = exposures_at(engine->exposures, next);
        add(&page, one, one);
    }
    if (next >= count) {
        const exposure all = all_switch(engine->killed);
        add(&page, &all, &all);
        page.head.flags |= EXCHANGE_EXPOSURES_LAST;
    }
    page.head.first = baton_le32_put(first);
    page.head.next = baton_le32_put(next);
    emit(engine, &page, effects);
}
