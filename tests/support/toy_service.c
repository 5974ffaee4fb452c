/* tests/support/toy_service.c */
#include "tests/support/toy_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In an arena each counter has a page of its own, so that an image has something to choose from. */
#define COUNTER_STRIDE 512u

typedef struct {
    uint64_t *counters; /* of key k at k * stride */
    uint64_t stride;
    uint64_t total;
    uint64_t ticks;
    uint64_t last_tick_ns;
    uint64_t extra;       /* schema 2 */
    baton_digest counted; /* sum over (key, counter) of every counter that is not 0 */
} toy_state;

static const baton_layout_field state_fields[] = {
    BATON_POINTER(toy_state, counters, uint64_t),
    BATON_FIELD(toy_state, stride),
    BATON_FIELD(toy_state, total),
    BATON_FIELD(toy_state, ticks),
    BATON_FIELD(toy_state, last_tick_ns),
    BATON_FIELD(toy_state, extra),
    BATON_OPAQUE(toy_state, counted),
};
static const baton_layout_type state_type = BATON_LAYOUT_TYPE(toy_state, state_fields);
static const baton_layout_type *const layout_types[] = {&state_type};
static const baton_layout layout = {"toy", 1, layout_types, 1};
static const baton_layout other_layout = {"toy", 2, layout_types, 1};

static uint64_t *counter_of(const toy_state *state, uint32_t key)
{
    return state->counters + key * state->stride;
}

static toy_skew skew;
static uint64_t skew_seq;

void toy_set_skew(toy_skew kind, uint64_t seq)
{
    skew = kind;
    skew_seq = seq;
}

uint64_t toy_counter(const void *state, uint32_t key)
{
    return *counter_of(state, key);
}

uint64_t toy_extra_sum(const void *state)
{
    return ((const toy_state *)state)->extra;
}

uint64_t toy_ticks(const void *state)
{
    return ((const toy_state *)state)->ticks;
}

/* ---- the table's functions ---- */

static toy_state *create_on_heap(void)
{
    toy_state *state = calloc(1, sizeof(*state));
    uint64_t *counters = calloc(TOY_KEYS, sizeof(*counters));
    if (state == NULL || counters == NULL) {
        free(state);
        free(counters);
        return NULL;
    }
    *state = (toy_state){.counters = counters, .stride = 1};
    return state;
}

static toy_state *create_in(baton_arena *arena)
{
    toy_state *state = baton_arena_new(arena, &state_type, 1);
    uint64_t *counters =
        baton_arena_bytes(arena, TOY_KEYS * COUNTER_STRIDE * sizeof(*counters), 4096);
    if (state == NULL || counters == NULL)
        return NULL;
    *state = (toy_state){.counters = counters, .stride = COUNTER_STRIDE};
    return state;
}

static int toy_create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    const char *start = config->values[0];
    char *end;
    unsigned long value = strtoul(start, &end, 10);
    if (*start == '\0' || *end != '\0' || value > 1000)
        return baton_error_setf(error, BATON_E_INVALID, "read --start",
                                "give a number from 0 to 1000", "\"%s\" is none", start);
    toy_state *state = config->arena != NULL ? create_in(config->arena) : create_on_heap();
    if (state == NULL)
        return -ENOMEM;
    state->total = value;
    *ret_state = state;
    return 0;
}

static void toy_destroy(void *opaque)
{
    toy_state *state = opaque;
    if (state->stride != 1)
        return; /* it goes with its arena */
    free(state->counters);
    free(state);
}

typedef struct {
    baton_le64 key;
    baton_le64 value;
} counter_item;

static void count(toy_state *state, uint32_t key, uint64_t amount)
{
    uint64_t *counter = counter_of(state, key);
    counter_item item = {baton_le64_put(key), baton_le64_put(*counter)};
    if (*counter != 0)
        baton_digest_remove(&state->counted, &item, sizeof(item));
    *counter += amount;
    item.value = baton_le64_put(*counter);
    if (*counter != 0)
        baton_digest_add(&state->counted, &item, sizeof(item));
    state->total += amount;
}

static int apply_add(toy_state *state, const baton_entry *entry, baton_effects *effects)
{
    toy_add add;
    if (entry->payload_bytes != sizeof(add))
        return BATON_E_INVALID;
    memcpy(&add, entry->payload, sizeof(add));
    const uint32_t key = baton_le32_get(add.key);
    if (key >= TOY_KEYS)
        return BATON_E_INVALID;
    const bool skewed = skew != TOY_WELL && entry->seq == skew_seq;
    count(state, key, baton_le32_get(add.amount));
    if (skewed && skew == TOY_SKEW_STATE)
        state->ticks++;

    const uint64_t shown = *counter_of(state, key) + (skewed && skew == TOY_SKEW_EFFECT ? 1 : 0);
    counter_item item = {baton_le64_put(key), baton_le64_put(shown)};
    baton_effect_emit(effects, BATON_CONSUMER_NONE, TOY_EFFECT_ADDED, &item, sizeof(item));
    if (key % 2 == 1)
        baton_effect_emit(effects, 1, TOY_EFFECT_ADDED, &item, sizeof(item));
    if (key % 3 == 0)
        baton_effect_emit(effects, 2, TOY_EFFECT_ADDED, &item, sizeof(item));
    return 0;
}

static int apply_burst(const baton_entry *entry, baton_effects *effects)
{
    static const uint8_t zeros[BATON_EFFECT_BYTES_MAX + 1];
    toy_burst burst;
    if (entry->payload_bytes != sizeof(burst))
        return BATON_E_INVALID;
    memcpy(&burst, entry->payload, sizeof(burst));
    const uint32_t bytes = baton_le32_get(burst.bytes);
    for (uint32_t i = 0; i < baton_le32_get(burst.count); i++)
        baton_effect_emit(effects, baton_le32_get(burst.consumer), TOY_EFFECT_BURST, zeros,
                          bytes < sizeof(zeros) ? bytes : (uint32_t)sizeof(zeros));
    return 0;
}

static int toy_apply(void *opaque, const baton_entry *entry, baton_effects *effects)
{
    toy_state *state = opaque;
    switch (entry->type) {
    case TOY_ADD:
        return apply_add(state, entry, effects);
    case TOY_BURST:
        return apply_burst(entry, effects);
    case TOY_TICK: {
        toy_tick tick;
        if (entry->payload_bytes != sizeof(tick))
            return BATON_E_INVALID;
        memcpy(&tick, entry->payload, sizeof(tick));
        state->ticks++;
        state->last_tick_ns = baton_le64_get(tick.time_ns);
        return 0;
    }
    case TOY_EXTRA: {
        toy_extra extra;
        if (entry->payload_bytes != sizeof(extra))
            return BATON_E_INVALID;
        memcpy(&extra, entry->payload, sizeof(extra));
        state->extra += baton_le32_get(extra.amount);
        baton_effect_emit(effects, BATON_CONSUMER_NONE, TOY_EFFECT_EXTRA, &extra, sizeof(extra));
        return 0;
    }
    default:
        return BATON_E_REFUSED;
    }
}

static int toy_digest(const void *opaque, uint32_t schema, baton_digest *ret_digest)
{
    const toy_state *state = opaque;
    struct {
        uint8_t counted[16];
        baton_le64 total;
        baton_le64 ticks;
        baton_le64 last_tick_ns;
        baton_le64 extra;
    } fields = {
        .total = baton_le64_put(state->total),
        .ticks = baton_le64_put(state->ticks),
        .last_tick_ns = baton_le64_put(state->last_tick_ns),
        .extra = baton_le64_put(schema >= 2 ? state->extra : 0),
    };
    memcpy(fields.counted, state->counted.bytes, sizeof(fields.counted));
    *ret_digest = baton_digest_of(&fields, sizeof(fields));
    return 0;
}

static int toy_snapshot(const void *opaque, uint32_t schema, baton_snapshot_writer *writer)
{
    const toy_state *state = opaque;
    baton_pack_section(writer, "totals");
    baton_pack_row(writer, schema >= 2 ? 4 : 3);
    baton_pack_uint(writer, state->total);
    baton_pack_uint(writer, state->ticks);
    baton_pack_uint(writer, state->last_tick_ns);
    if (schema >= 2)
        baton_pack_uint(writer, state->extra);
    baton_pack_section(writer, "counters");
    for (uint32_t key = 0; key < TOY_KEYS; key++) {
        if (*counter_of(state, key) == 0)
            continue;
        baton_pack_row(writer, 2);
        baton_pack_uint(writer, key);
        baton_pack_uint(writer, *counter_of(state, key));
    }
    return 0;
}

static int restore_totals(toy_state *state, uint32_t schema, baton_snapshot_reader *reader)
{
    uint32_t fields_count;
    int r = baton_unpack_section(reader, "totals");
    if (r == 0)
        r = baton_unpack_row(reader, &fields_count);
    if (r < 0)
        return r;
    if (r == 0 || fields_count != (schema >= 2 ? 4u : 3u))
        return BATON_E_SCHEMA;
    uint64_t *const into[] = {&state->total, &state->ticks, &state->last_tick_ns, &state->extra};
    for (uint32_t i = 0; i < fields_count; i++) {
        r = baton_unpack_uint(reader, into[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int toy_restore(void *opaque, uint32_t schema, baton_snapshot_reader *reader)
{
    toy_state *state = opaque;
    int r = restore_totals(state, schema, reader);
    const uint64_t total = state->total;
    uint32_t fields_count;
    if (r == 0)
        r = baton_unpack_section(reader, "counters");
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        uint64_t key;
        uint64_t value;
        if (fields_count != 2)
            return BATON_E_SCHEMA;
        r = baton_unpack_uint(reader, &key);
        if (r == 0)
            r = baton_unpack_uint(reader, &value);
        if (r == 0 && key >= TOY_KEYS)
            return BATON_E_SCHEMA;
        if (r == 0)
            count(state, (uint32_t)key, value);
    }
    state->total = total;
    return r;
}

/* ---- sections by schema: rows of the newest one only ---- */

static int upgrade_totals(uint32_t from_schema, baton_row *row)
{
    if (from_schema != 1 || row->fields_count != 3)
        return BATON_E_SCHEMA;
    row->fields[row->fields_count++] = (baton_value){.kind = BATON_VALUE_UINT};
    return 0;
}

static int downgrade_totals(uint32_t to_schema, baton_row *row)
{
    if (to_schema != 1)
        return BATON_E_SCHEMA;
    row->fields_count--;
    return 0;
}

static const baton_section sections_v2[] = {
    {.name = "totals",
     .since_schema = 1,
     .fields_required = 4,
     .fields_known = 4,
     .upgrade = upgrade_totals,
     .downgrade = downgrade_totals},
    {.name = "counters", .since_schema = 1, .fields_required = 2, .fields_known = 2},
};

static int toy_snapshot_newest(const void *opaque, uint32_t schema, baton_snapshot_writer *writer)
{
    (void)schema;
    return toy_snapshot(opaque, 2, writer);
}

static int toy_restore_newest(void *opaque, uint32_t schema, baton_snapshot_reader *reader)
{
    (void)schema;
    return toy_restore(opaque, 2, reader);
}

/* ---- the tables ---- */

static const baton_entry_type types_v1[] = {
    {TOY_ADD, 1}, {TOY_BURST, 1}, {TOY_POISON, 1}, {TOY_TICK, 1}};
static const baton_entry_type types_v2[] = {
    {TOY_ADD, 1}, {TOY_BURST, 1}, {TOY_POISON, 1}, {TOY_TICK, 1}, {TOY_EXTRA, 2}};
static const baton_service_option options[] = {{"start", "0", "what the total begins with"}};

#define TOY_SERVICE(service_name, service_version, schema_min, schema_write, types, in_layout)     \
    {                                                                                              \
        .name = (service_name), .version = (service_version),                                      \
        .schema = {.write = (schema_write), .read_min = (schema_min)}, .entry_types = (types),     \
        .entry_types_count = sizeof(types) / sizeof((types)[0]), .options = options,               \
        .options_count = 1, .create = toy_create, .destroy = toy_destroy, .apply = toy_apply,      \
        .digest = toy_digest, .snapshot = toy_snapshot, .restore = toy_restore,                    \
        .layout = (in_layout),                                                                     \
    }

const baton_service toy_service_v1 = TOY_SERVICE("toy", "1.0.0", 1, 1, types_v1, NULL);
const baton_service toy_service_v2 = TOY_SERVICE("toy", "2.0.0", 1, 2, types_v2, NULL);
const baton_service toy_service_v2_declared = {
    .name = "toy",
    .version = "2.0.1",
    .schema = {.write = 2, .read_min = 1},
    .entry_types = types_v2,
    .entry_types_count = sizeof(types_v2) / sizeof(types_v2[0]),
    .options = options,
    .options_count = 1,
    .create = toy_create,
    .destroy = toy_destroy,
    .apply = toy_apply,
    .digest = toy_digest,
    .snapshot = toy_snapshot_newest,
    .restore = toy_restore_newest,
    .sections = sections_v2,
    .sections_count = sizeof(sections_v2) / sizeof(sections_v2[0]),
};
const baton_service toy_service_v3 = TOY_SERVICE("toy", "3.0.0", 2, 2, types_v2, NULL);
const baton_service toy_service_other = TOY_SERVICE("other", "1.0.0", 1, 1, types_v1, NULL);
const baton_service toy_service_arena = TOY_SERVICE("toy", "1.0.0", 1, 1, types_v1, &layout);
const baton_service toy_service_arena_v2 = TOY_SERVICE("toy", "2.0.0", 1, 2, types_v2, &layout);
const baton_service toy_service_arena_other =
    TOY_SERVICE("toy", "1.0.1", 1, 1, types_v1, &other_layout);
