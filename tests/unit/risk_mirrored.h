/* tests/unit/risk_mirrored.h: what the risk engine tells risk-mirror, added up as that does. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/risk-engine/risk_engine.h"

enum { RISK_MIRRORED_MAX = 512 };

typedef struct {
    uint64_t number; /* of the last effect */
    uint64_t pages;
    uint32_t first, next; /* of the last page */
    uint8_t flags;        /* of the last effect */
    uint32_t count;
    exchange_exposure_change all[RISK_MIRRORED_MAX];
} risk_mirrored;

static inline exchange_exposure_change *risk_mirrored_find(risk_mirrored *own,
                                                           const exchange_exposure_change *of)
{
    for (uint32_t i = 0; i < own->count; i++)
        if (memcmp(&own->all[i], of, 12) == 0) /* client and symbol */
            return &own->all[i];
    assert_true(own->count < RISK_MIRRORED_MAX);
    own->all[own->count] =
        (exchange_exposure_change){.client_id = of->client_id, .symbol = of->symbol};
    return &own->all[own->count++];
}

/* Each effect by its number; what an item says it was, it was; in a page it is that, too. */
static inline void risk_mirrored_take(risk_mirrored *own, const baton_effect *effect)
{
    exchange_exposures head;
    exchange_exposure_change item;
    assert_int_equal(effect->type, EXCHANGE_EXPOSURES);
    memcpy(&head, effect->payload, sizeof(head));
    const uint32_t count = baton_le32_get(head.items_count);
    assert_int_equal(effect->payload_bytes, sizeof(head) + count * sizeof(item));
    assert_int_equal(baton_le64_get(head.number), ++own->number);
    assert_true(count > 0);
    own->flags = head.flags;
    own->first = baton_le32_get(head.first);
    own->next = baton_le32_get(head.next);
    own->pages += head.flags & EXCHANGE_EXPOSURES_PAGE ? 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&item, (const uint8_t *)effect->payload + sizeof(head) + i * sizeof(item),
               sizeof(item));
        exchange_exposure_change *known = risk_mirrored_find(own, &item);
        if (head.flags & EXCHANGE_EXPOSURES_PAGE) /* it may be the first that is heard of it */
            *known = item;
        assert_int_equal(item.killed_was, known->killed);
        assert_memory_equal(&item.position_was, &known->position, 8);
        assert_memory_equal(&item.cash_was, &known->cash, 8);
        assert_memory_equal(&item.open_buy_was, &known->open_buy, 8);
        assert_memory_equal(&item.open_sell_was, &known->open_sell, 8);
        *known = item;
    }
}

/* Nothing is missing, and nothing is left over. */
static inline void risk_mirrored_expect(risk_mirrored *own, const risk_engine *engine)
{
    const exchange_exposure_change all = {.symbol = baton_le32_put(EXCHANGE_NO_SYMBOL)};
    assert_int_equal(risk_mirrored_find(own, &all)->killed, engine->killed);
    for (uint32_t i = 0; i < exposures_count(engine->exposures); i++) {
        const exposure *one = exposures_at(engine->exposures, i);
        const exchange_exposure_change name = {.client_id = baton_le64_put(one->client_id),
                                               .symbol = baton_le32_put(one->symbol)};
        const exchange_exposure_change *told = risk_mirrored_find(own, &name);
        assert_int_equal(told->killed, one->killed);
        assert_int_equal((int64_t)baton_le64_get(told->position), one->position);
        assert_int_equal((int64_t)baton_le64_get(told->cash), one->cash);
        assert_int_equal(baton_le64_get(told->open_buy), one->open[BOOK_BUY]);
        assert_int_equal(baton_le64_get(told->open_sell), one->open[BOOK_SELL]);
    }
    assert_true(own->count <= exposures_count(engine->exposures) + 1);
}
