#include "examples/exchange/risk-engine/exposures.h"

#include <errno.h>
#include <string.h>

#include "examples/exchange/book/memory.h"

struct exposures {
    baton_arena *arena; /* NULL: on the heap */
    uint32_t count;
    uint32_t max;
    uint32_t slots_mask;
    uint32_t *slots; /* open addressing: index into list plus 1; 0 is empty; at most half full */
    exposure *list;
    baton_digest digest;
};

static const baton_layout_field exposure_fields[] = {
    BATON_FIELD(exposure, client_id),    BATON_FIELD(exposure, position),
    BATON_FIELD(exposure, cash),         BATON_FIELD_ARRAY(exposure, open),
    BATON_FIELD(exposure, position_max), BATON_FIELD(exposure, size_max),
    BATON_FIELD(exposure, symbol),       BATON_FIELD(exposure, killed),
};
const baton_layout_type exposure_layout = BATON_LAYOUT_TYPE(exposure, exposure_fields);

static const baton_layout_field exposures_fields[] = {
    BATON_POINTER(exposures, arena, baton_arena),
    BATON_FIELD(exposures, count),
    BATON_FIELD(exposures, max),
    BATON_FIELD(exposures, slots_mask),
    BATON_POINTER(exposures, slots, uint32_t),
    BATON_POINTER(exposures, list, exposure),
    BATON_OPAQUE(exposures, digest),
};
const baton_layout_type exposures_layout = BATON_LAYOUT_TYPE(exposures, exposures_fields);

int exposures_create(uint32_t exposures_max, baton_arena *arena, exposures **ret_exposures)
{
    if (exposures_max == 0 || exposures_max > UINT32_C(1) << 28)
        return BATON_E_INVALID;
    uint32_t slots = 2;
    while (slots < 2 * exposures_max)
        slots *= 2;
    exposures *own = memory_new(arena, &exposures_layout, 1);
    if (!own)
        return -ENOMEM;
    own->arena = arena;
    own->max = exposures_max;
    own->slots_mask = slots - 1;
    own->slots = memory_numbers(arena, slots);
    own->list = memory_new(arena, &exposure_layout, exposures_max);
    if (!own->slots || !own->list) {
        exposures_destroy(own);
        return -ENOMEM;
    }
    *ret_exposures = own;
    return 0;
}

void exposures_destroy(exposures *own)
{
    if (!own)
        return;
    baton_arena *arena = own->arena;
    memory_free(arena, own->slots);
    memory_free(arena, own->list);
    memory_free(arena, own);
}

uint32_t exposures_count(const exposures *own)
{
    return own->count;
}

uint32_t exposures_room(const exposures *own)
{
    return own->max - own->count;
}

const exposure *exposures_at(const exposures *own, uint32_t index)
{
    return &own->list[index];
}

/* The slot that holds it, or the empty one where it belongs. */
static uint32_t *slot_of(const exposures *own, uint64_t client_id, uint32_t symbol)
{
    const uint64_t hash = (client_id << 32 ^ symbol) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(hash >> 32) & own->slots_mask;
    while (own->slots[at] != 0) {
        const exposure *one = &own->list[own->slots[at] - 1];
        if (one->client_id == client_id && one->symbol == symbol)
            break;
        at = (at + 1) & own->slots_mask;
    }
    return &own->slots[at];
}

const exposure *exposures_find(const exposures *own, uint64_t client_id, uint32_t symbol)
{
    const uint32_t name = *slot_of(own, client_id, symbol);
    return name != 0 ? &own->list[name - 1] : NULL;
}

/* What goes into the digest, in one layout for ever. */
typedef struct {
    baton_le64 words[8];
} digest_item;

static digest_item item_of(const exposure *one)
{
    return (digest_item){
        .words = {baton_le64_put(one->client_id), baton_le64_put((uint64_t)one->position),
                  baton_le64_put((uint64_t)one->cash), baton_le64_put(one->open[BOOK_BUY]),
                  baton_le64_put(one->open[BOOK_SELL]), baton_le64_put(one->position_max),
                  baton_le64_put(one->size_max),
                  baton_le64_put((uint64_t)one->symbol << 32 | one->killed)}};
}

static const exposure *add(exposures *own, const exposure *one)
{
    uint32_t *slot = slot_of(own, one->client_id, one->symbol);
    const digest_item item = item_of(one);
    own->list[own->count] = *one;
    *slot = ++own->count;
    baton_digest_add(&own->digest, &item, sizeof(item));
    return &own->list[own->count - 1];
}

const exposure *exposures_open(exposures *own, uint64_t client_id, uint32_t symbol)
{
    const exposure *found = exposures_find(own, client_id, symbol);
    if (found != NULL || own->count == own->max)
        return found;
    return add(own, &(exposure){.client_id = client_id, .symbol = symbol});
}

void exposures_change(exposures *own, const exposure *was, const exposure *now)
{
    const digest_item before = item_of(was), after = item_of(now);
    baton_digest_remove(&own->digest, &before, sizeof(before));
    baton_digest_add(&own->digest, &after, sizeof(after));
    own->list[was - own->list] = *now;
}

baton_digest exposures_digest(const exposures *own)
{
    return own->digest;
}

baton_digest exposures_digest_recomputed(const exposures *own)
{
    baton_digest digest = {{0}};
    for (uint32_t i = 0; i < own->count; i++) {
        const digest_item item = item_of(&own->list[i]);
        baton_digest_add(&digest, &item, sizeof(item));
    }
    return digest;
}

bool exposures_restore(exposures *own, const exposure *one)
{
    if (own->count == own->max || one->client_id == 0 ||
        exposures_find(own, one->client_id, one->symbol) != NULL)
        return false;
    (void)add(own, one);
    return true;
}

bool exposure_allows(const exposure *of, uint8_t side, uint64_t size)
{
    if (size > UINT64_MAX - of->open[side] || (of->size_max != 0 && size > of->size_max))
        return false;
    const __int128 towards = side == BOOK_BUY ? of->position : -(__int128)of->position;
    return of->position_max == 0 || towards + of->open[side] + size <= (__int128)of->position_max;
}

static int64_t bounded_add(int64_t a, __int128 b)
{
    const __int128 sum = a + b;
    return sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
}

void exposure_trade(exposure *of, uint8_t side, uint64_t size, uint64_t cost)
{
    const int sign = side == BOOK_BUY ? 1 : -1;
    of->position = bounded_add(of->position, (__int128)size * sign);
    of->cash = bounded_add(of->cash, -(__int128)cost * sign);
}
