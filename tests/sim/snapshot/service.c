/* tests/sim/snapshot/service.c: counters under keys, each with a value made from its count: so a
 * snapshot is as large as the run wants it, changes everywhere, and a wrong byte in it is seen. On
 * the heap the values are made when they are asked for; in an arena they stand there, and move. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/service.h>
#include <baton/wire.h>

#include "base/assert.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define KEYS            160u
#define VALUE_BYTES_MAX 8192u

enum { ENTRY_ADD = 1, EFFECT_ADDED = 1 };

typedef struct {
    uint64_t counts[KEYS];
    baton_digest values[KEYS]; /* of the value that stands there */
    baton_digest all;
    uint8_t *bytes[KEYS]; /* the values themselves, in an arena */
    baton_arena *arena;   /* NULL: on the heap */
} ledger;

static const baton_layout_field ledger_fields[] = {
    BATON_FIELD_ARRAY(ledger, counts),
    BATON_OPAQUE(ledger, values),
    BATON_OPAQUE(ledger, all),
    BATON_POINTER_ARRAY(ledger, bytes, uint8_t),
    BATON_POINTER(ledger, arena, baton_arena),
};
static const baton_layout_type ledger_type = BATON_LAYOUT_TYPE(ledger, ledger_fields);
static const baton_layout_type *const layout_types[] = {&ledger_type};
static const baton_layout layout = {"simulated", 1, layout_types, 1};

typedef struct {
    baton_le64 key;
    baton_le64 count;
    baton_digest value;
} ledger_item;

static uint32_t value_bytes;

void run_service_size(uint32_t bytes)
{
    baton_assert(bytes <= VALUE_BYTES_MAX);
    value_bytes = bytes;
}

static void value_of(uint64_t key, uint64_t count, uint8_t value[VALUE_BYTES_MAX])
{
    sim_random random = {.state = key << 40 ^ count};
    for (uint32_t i = 0; i < value_bytes; i += 8) {
        const uint64_t word =
            i % 128 < 64 ? sim_random_next(&random) : count; /* half of it packs */
        memcpy(value + i, &word, sizeof(word));
    }
}

/* The count of a key and the digest of its value, in and out of the digest of all. */
static void set(ledger *state, uint32_t key, uint64_t count, baton_digest value)
{
    ledger_item item = {baton_le64_put(key), baton_le64_put(state->counts[key]),
                        state->values[key]};
    if (state->counts[key] != 0)
        baton_digest_remove(&state->all, &item, sizeof(item));
    state->counts[key] = count;
    state->values[key] = value;
    item.count = baton_le64_put(count);
    item.value = value;
    baton_digest_add(&state->all, &item, sizeof(item));
}

/* Each time in another place: an image has pages of all ages then. */
static int store(ledger *state, uint32_t key, const uint8_t *value)
{
    if (state->arena == NULL)
        return 0;
    const size_t room = value_bytes + state->counts[key] % 3 * (value_bytes / 4);
    uint8_t *bytes = baton_arena_bytes_unset(state->arena, room, 8);
    if (bytes == NULL)
        return -ENOMEM;
    memcpy(bytes, value, value_bytes);
    baton_arena_free(state->arena, state->bytes[key]);
    state->bytes[key] = bytes;
    return 0;
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    ledger *state = config->arena != NULL ? baton_arena_new(config->arena, &ledger_type, 1)
                                          : calloc(1, sizeof(ledger));
    (void)error;
    if (state == NULL)
        return -ENOMEM;
    state->arena = config->arena;
    *ret_state = state;
    return 0;
}

static void destroy(void *opaque)
{
    ledger *state = opaque;
    if (state->arena == NULL)
        free(state);
}

static int apply(void *opaque, const baton_entry *entry, baton_effects *effects)
{
    static uint8_t value[VALUE_BYTES_MAX];
    ledger *state = opaque;
    run_entry add;
    if (entry->payload_bytes != sizeof(add))
        return BATON_E_INVALID;
    memcpy(&add, entry->payload, sizeof(add));
    const uint32_t key = baton_le32_get(add.key) % KEYS;
    const uint64_t count = state->counts[key] + baton_le32_get(add.amount);
    value_of(key, count, value);
    set(state, key, count, baton_digest_of(value, value_bytes));
    if (store(state, key, value) < 0)
        return -ENOMEM;
    const baton_le64 shown = baton_le64_put(count);
    baton_effect_emit(effects, BATON_CONSUMER_NONE, EFFECT_ADDED, &shown, sizeof(shown));
    return 0;
}

static int digest(const void *opaque, uint32_t schema, baton_digest *ret_digest)
{
    (void)schema;
    *ret_digest = ((const ledger *)opaque)->all;
    return 0;
}

static int snapshot(const void *opaque, uint32_t schema, baton_snapshot_writer *writer)
{
    static uint8_t value[VALUE_BYTES_MAX];
    const ledger *state = opaque;
    (void)schema;
    baton_pack_section(writer, "counters");
    for (uint32_t key = 0; key < KEYS; key++) {
        if (state->counts[key] == 0)
            continue;
        value_of(key, state->counts[key], value);
        baton_pack_row(writer, 3);
        baton_pack_uint(writer, key);
        baton_pack_uint(writer, state->counts[key]);
        baton_pack_bytes(writer, value, value_bytes);
    }
    return 0;
}

/* Whatever stands there is taken: the digest then says whether it is right. */
static int restore(void *opaque, uint32_t schema, baton_snapshot_reader *reader)
{
    ledger *state = opaque;
    uint32_t fields_count, bytes;
    uint64_t key, count;
    const void *value;
    (void)schema;
    int r = baton_unpack_section(reader, "counters");
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        r = fields_count == 3 ? baton_unpack_uint(reader, &key) : BATON_E_SCHEMA;
        if (r == 0)
            r = baton_unpack_uint(reader, &count);
        if (r == 0)
            r = baton_unpack_bytes(reader, &value, &bytes);
        if (r != 0)
            break;
        set(state, (uint32_t)(key % KEYS), count, baton_digest_of(value, bytes));
        r = state->arena == NULL || bytes == value_bytes
                ? store(state, (uint32_t)(key % KEYS), value)
                : BATON_E_SCHEMA;
    }
    return r;
}

/* The digest is kept from entry to entry, as services do it: a page that was lost is not in it. */
const char *run_service_check(const void *opaque)
{
    static uint8_t value[VALUE_BYTES_MAX];
    const ledger *state = opaque;
    baton_digest all = {{0}};
    for (uint32_t key = 0; key < KEYS; key++) {
        const ledger_item item = {baton_le64_put(key), baton_le64_put(state->counts[key]),
                                  state->values[key]};
        if (state->counts[key] == 0)
            continue;
        baton_digest_add(&all, &item, sizeof(item));
        value_of(key, state->counts[key], value);
        if (!baton_digest_equal(state->values[key], baton_digest_of(value, value_bytes)))
            return "a value's digest is not that of its count";
        if (state->arena != NULL && memcmp(state->bytes[key], value, value_bytes) != 0)
            return "a value's bytes are not those of its count";
    }
    if (!baton_digest_equal(all, state->all))
        return "the digest of all is not that of its values";
    return state->arena != NULL ? baton_arena_check(state->arena) : NULL;
}

static const baton_entry_type types[] = {{ENTRY_ADD, 1}};

#define SIMULATED_SERVICE(in_layout)                                                               \
    {                                                                                              \
        .name = "simulated", .version = "1.0.0", .schema = {.write = 1, .read_min = 1},            \
        .entry_types = types, .entry_types_count = 1, .create = create, .destroy = destroy,        \
        .apply = apply, .digest = digest, .snapshot = snapshot, .restore = restore,                \
        .layout = (in_layout),                                                                     \
    }

const baton_service run_service = SIMULATED_SERVICE(NULL);
const baton_service run_service_arena = SIMULATED_SERVICE(&layout);

/* ---- the uninterrupted run ---- */

run_entry run_entry_of(const snapshot_run *run, uint64_t seq)
{
    sim_random random = {.state = run->options.seed << 32 ^ seq};
    const uint64_t word = sim_random_next(&random);
    return (run_entry){baton_le32_put((uint32_t)(word % KEYS)),
                       baton_le32_put((uint32_t)(word >> 40) % 1000 + 1)};
}

const run_digests *run_expected(snapshot_run *run, uint64_t seq)
{
    if (seq >= run->expected_room) {
        run->expected_room = 2 * seq + 256;
        run->expected = realloc(run->expected, run->expected_room * sizeof(*run->expected));
        baton_assert(run->expected != NULL);
        if (run->mirror.seq == 0)
            run->expected[0] = (run_digests){{{0}}, {{0}}};
    }
    while (run->mirror.seq < seq) {
        const run_entry add = run_entry_of(run, run->mirror.seq + 1);
        const baton_entry entry = {.seq = run->mirror.seq + 1,
                                   .epoch = 1,
                                   .type = ENTRY_ADD,
                                   .payload = &add,
                                   .payload_bytes = sizeof(add)};
        int r = baton_machine_apply(&run->mirror, &entry);
        baton_assert(r == 0);
        run_digests *now = &run->expected[run->mirror.seq];
        r = baton_machine_digest(&run->mirror, 1, &now->state);
        baton_assert(r == 0);
        now->effects = run->mirror.effect_digest;
    }
    return &run->expected[seq];
}
