/* bench/pages_service.c: see pages_service.h. */
#include "bench/pages_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES      4096u
#define PAGES_AN_ENTRY  4u
#define COUNTER_AT      64u /* in a page */
#define PAGES_A_MIB     256u
#define SCHEMA_FIELDS   3u
#define RANDOM_CONSTANT UINT64_C(0x9e3779b97f4a7c15)

static const baton_layout_field state_fields[] = {
    BATON_POINTER(pages_state, pages, bytes),
    BATON_FIELD(pages_state, pages_count),
    BATON_FIELD(pages_state, applied_count),
    BATON_FIELD(pages_state, sum),
};
static const baton_layout_type state_type = BATON_LAYOUT_TYPE(pages_state, state_fields);
static const baton_layout_type *const types[] = {&state_type};
static const baton_layout layout = {"bench_pages", 1, types, 1};

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

void pages_entry(uint64_t index, uint8_t *payload)
{
    const uint64_t seed = (index + 1) * RANDOM_CONSTANT;
    memset(payload, 0, PAGES_ENTRY_BYTES);
    memcpy(payload, &seed, sizeof(seed));
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    (void)error;
    if (config->arena == NULL)
        return BATON_E_INVALID;
    const uint64_t mib = strtoull(config->values[0], NULL, 10);
    pages_state *state = baton_arena_new(config->arena, &state_type, 1);
    if (state == NULL)
        return baton_arena_refusal(config->arena);
    state->pages_count = mib * PAGES_A_MIB;
    state->pages = baton_arena_bytes(config->arena, mib << 20, PAGE_BYTES);
    if (state->pages == NULL)
        return baton_arena_refusal(config->arena);
    *ret_state = state;
    return 0;
}

static void destroy(void *state)
{
    (void)state; /* goes with its arena */
}

static void fill(pages_state *state)
{
    uint64_t random = RANDOM_CONSTANT;
    for (uint64_t i = 0; i < state->pages_count * PAGE_BYTES; i += sizeof(uint64_t)) {
        const uint64_t value = next_random(&random);
        memcpy(state->pages + i, &value, sizeof(value));
    }
}

static int touch(pages_state *state, const baton_entry *entry)
{
    uint64_t random;
    if (entry->payload_bytes != PAGES_ENTRY_BYTES)
        return BATON_E_INVALID;
    memcpy(&random, entry->payload, sizeof(random));
    for (uint32_t i = 0; i < PAGES_AN_ENTRY; i++) {
        uint8_t *page = state->pages + next_random(&random) % state->pages_count * PAGE_BYTES;
        uint64_t value;
        memcpy(&value, page + COUNTER_AT, sizeof(value));
        value += random;
        memcpy(page + COUNTER_AT, &value, sizeof(value));
        state->sum += value;
    }
    return 0;
}

static int apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    pages_state *self = state;
    (void)effects;
    self->applied_count++;
    if (entry->type == PAGES_ENTRY_TOUCH)
        return touch(self, entry);
    fill(self);
    return 0;
}

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    const pages_state *self = state;
    const uint64_t numbers[] = {self->pages_count, self->applied_count, self->sum};
    (void)schema;
    *ret_digest = baton_digest_of(numbers, sizeof(numbers));
    return 0;
}

static int snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    const pages_state *self = state;
    (void)schema;
    baton_pack_section(writer, "numbers");
    baton_pack_row(writer, SCHEMA_FIELDS);
    baton_pack_uint(writer, self->pages_count);
    baton_pack_uint(writer, self->applied_count);
    baton_pack_uint(writer, self->sum);
    baton_pack_section(writer, "pages");
    for (uint64_t i = 0; i < self->pages_count; i++) {
        baton_pack_row(writer, 1);
        baton_pack_bytes(writer, self->pages + i * PAGE_BYTES, PAGE_BYTES);
    }
    return baton_pack_error(writer);
}

static int restore_numbers(pages_state *self, baton_snapshot_reader *reader)
{
    uint32_t fields = 0;
    uint64_t pages_count = 0;
    int r = baton_unpack_section(reader, "numbers");
    if (r == 0)
        r = baton_unpack_row(reader, &fields);
    if (r < 0)
        return r;
    if (r != 1 || fields != SCHEMA_FIELDS)
        return BATON_E_SCHEMA;
    r = baton_unpack_uint(reader, &pages_count);
    if (r == 0 && pages_count != self->pages_count)
        r = BATON_E_SCHEMA;
    if (r == 0)
        r = baton_unpack_uint(reader, &self->applied_count);
    return r == 0 ? baton_unpack_uint(reader, &self->sum) : r;
}

static int restore(void *state, uint32_t schema, baton_snapshot_reader *reader)
{
    pages_state *self = state;
    (void)schema;
    int r = restore_numbers(self, reader);
    if (r == 0)
        r = baton_unpack_section(reader, "pages");
    for (uint64_t i = 0; r == 0 && i < self->pages_count; i++) {
        uint32_t fields = 0;
        uint32_t bytes_count = 0;
        const void *bytes = NULL;
        r = baton_unpack_row(reader, &fields);
        if (r >= 0 && (r != 1 || fields != 1))
            r = BATON_E_SCHEMA;
        if (r == 1)
            r = baton_unpack_bytes(reader, &bytes, &bytes_count);
        if (r == 0 && bytes_count != PAGE_BYTES)
            r = BATON_E_SCHEMA;
        if (r == 0)
            memcpy(self->pages + i * PAGE_BYTES, bytes, PAGE_BYTES);
    }
    return r;
}

static const baton_entry_type entry_types[] = {{.type = PAGES_ENTRY_FILL, .schema_min = 1},
                                               {.type = PAGES_ENTRY_TOUCH, .schema_min = 1}};
static const baton_service_option options[] = {
    {.name = "mib", .default_value = "1", .help = "of pages"}};

const baton_service pages_service = {
    .name = "bench-pages",
    .version = "1",
    .schema = {.write = 1, .read_min = 1},
    .entry_types = entry_types,
    .entry_types_count = 2,
    .options = options,
    .options_count = 1,
    .create = create,
    .destroy = destroy,
    .apply = apply,
    .digest = digest,
    .snapshot = snapshot,
    .restore = restore,
    .layout = &layout,
};
