#include "examples/exchange/matching-engine/matching_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/book/memory.h"
#include "examples/exchange/matching-engine/apply.h"
#include "examples/exchange/matching-engine/image.h"

enum { OPTION_ORDERS_MAX, OPTION_LEVELS_MAX, OPTION_CLIENTS_MAX, OPTION_OUTBOX, OPTIONS };

static const baton_service_option options[OPTIONS] = {
    [OPTION_ORDERS_MAX] = {"orders-max", "262144",
                           "resting orders, both sides; a full book refuses"},
    [OPTION_LEVELS_MAX] = {"levels-max", "65536", "distinct resting prices, both sides"},
    [OPTION_CLIENTS_MAX] = {"clients-max", "4096", "clients remembered for resends"},
    [OPTION_OUTBOX] = {"outbox", "none",
                       "trades: keep trades until the feed confirms them; or none"},
};

static const baton_layout_field engine_fields[] = {
    BATON_POINTER(matching_engine, arena, baton_arena),
    BATON_POINTER(matching_engine, book, order_book),
    BATON_POINTER(matching_engine, clients, clients),
    BATON_FIELD(matching_engine, features),
    BATON_FIELD(matching_engine, feed_consumer),
};
static const baton_layout_type engine_layout = BATON_LAYOUT_TYPE(matching_engine, engine_fields);

static const baton_layout_type *const layout_types[] = {&engine_layout, &clients_layout,
                                                        &client_layout, BOOK_LAYOUT_TYPES};

/* revision: raise it when one of the two hash functions (order_table.c, clients.c) or the order in
 * the expiry heap changes: the bytes mean something else then. */
static const baton_layout layout = {
    .name = "matching-engine",
    .revision = 1,
    .types = layout_types,
    .types_count = sizeof(layout_types) / sizeof(layout_types[0]),
};

static int parse_count(const char *text, const char *name, uint32_t max, uint32_t *ret_count,
                       baton_error *error)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value == 0 || value > max)
        return baton_error_setf(error, BATON_E_INVALID, name, "give a whole number",
                                "'%s' is not in 1..%u", text, max);
    *ret_count = (uint32_t)value;
    return 0;
}

static void destroy(void *state)
{
    matching_engine *engine = state;
    if (!engine)
        return;
    book_destroy(engine->book);
    clients_destroy(engine->clients);
    memory_free(engine->arena, engine);
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    book_options book = {.arena = config->arena};
    clients_options known = {.arena = config->arena};
    const char *outbox = config->values[OPTION_OUTBOX];
    int r = parse_count(config->values[OPTION_ORDERS_MAX], "--orders-max",
                        MATCHING_ENGINE_ORDERS_MAX, &book.orders_max, error);
    if (r == 0)
        r = parse_count(config->values[OPTION_LEVELS_MAX], "--levels-max",
                        MATCHING_ENGINE_ORDERS_MAX, &book.levels_max, error);
    if (r == 0)
        r = parse_count(config->values[OPTION_CLIENTS_MAX], "--clients-max", 1u << 22,
                        &known.clients_max, error);
    if (r == 0 && strcmp(outbox, "trades") != 0 && strcmp(outbox, "none") != 0)
        r = baton_error_setf(error, BATON_E_INVALID, "--outbox", "choose trades or none",
                             "'%s' is unknown", outbox);
    if (r < 0)
        return r;

    matching_engine *engine = memory_new(config->arena, &engine_layout, 1);
    if (!engine)
        return -ENOMEM;
    engine->arena = config->arena;
    engine->feed_consumer =
        strcmp(outbox, "trades") == 0 ? MATCHING_ENGINE_FEED : BATON_CONSUMER_NONE;
    r = book_create(&book, &engine->book);
    if (r == 0)
        r = clients_create(&known, &engine->clients);
    if (r < 0) {
        destroy(engine);
        return r;
    }
    *ret_state = engine;
    return 0;
}

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    const matching_engine *engine = state;
    struct {
        baton_digest book;
        baton_digest clients;
        baton_digest volumes;
        baton_le32 features;
        uint8_t zero[4];
    } parts = {.book = book_digest(engine->book), .clients = clients_digest(engine->clients)};

    if (schema == 1) {
        *ret_digest = baton_digest_of(&parts, sizeof(parts.book) + sizeof(parts.clients));
        return 0;
    }
    parts.volumes = clients_volumes_digest(engine->clients);
    parts.features = baton_le32_put(engine->features);
    *ret_digest = baton_digest_of(&parts, sizeof(parts));
    return 0;
}

static const baton_entry_type entry_types[] = {
    {ENTRY_NEW_ORDER, 1}, {ENTRY_CANCEL, 1}, {ENTRY_REDUCE, 1}, {ENTRY_CLOCK, 1}, {ENTRY_TICK, 1},
#if MATCHING_ENGINE_SCHEMA >= 2
    {ENTRY_SWITCH, 2},
#endif
};

const baton_service matching_engine_service = {
    .name = "matching-engine",
    .version = MATCHING_ENGINE_VERSION,
    .schema = {.write = MATCHING_ENGINE_SCHEMA, .read_min = 1},
    .entry_types = entry_types,
    .entry_types_count = sizeof(entry_types) / sizeof(entry_types[0]),
    .options = options,
    .options_count = OPTIONS,
    .layout = &layout,
    .sections = matching_engine_sections,
    .sections_count =
        MATCHING_ENGINE_SCHEMA >= 2 ? MATCHING_ENGINE_SECTIONS_2 : MATCHING_ENGINE_SECTIONS_1,
    .create = create,
    .destroy = destroy,
    .apply = matching_engine_apply,
    .digest = digest,
    .snapshot = matching_engine_snapshot,
    .restore = matching_engine_restore,
};
