#include "examples/exchange/matching-engine/image.h"

#include <assert.h>
#include <stddef.h>

#include "examples/exchange/clients/rows.h"

enum {
    COUNTERS_FIELDS = 3,
    ORDER_FIELDS = 10,
    ORDER_PRICE = 2, /* of those: the one that is signed */
    BARRIER_FIELDS = 2,
    FEATURES_FIELDS = 1,
    VOLUME_FIELDS = 2
};

const baton_section matching_engine_sections[] = {
    {.name = "book",
     .since_schema = 1,
     .fields_required = COUNTERS_FIELDS,
     .fields_known = COUNTERS_FIELDS},
    {.name = "orders",
     .since_schema = 1,
     .fields_required = ORDER_FIELDS,
     .fields_known = ORDER_FIELDS},
    {.name = "outcomes",
     .since_schema = 1,
     .fields_required = OUTCOME_FIELDS,
     .fields_known = OUTCOME_FIELDS},
    {.name = "sources",
     .since_schema = 1,
     .fields_required = SOURCES_FIELDS,
     .fields_known = SOURCES_FIELDS},
    {.name = "barrier",
     .since_schema = 1,
     .fields_required = BARRIER_FIELDS,
     .fields_known = BARRIER_FIELDS},
#if MATCHING_ENGINE_SCHEMA >= 2
    {.name = "features",
     .since_schema = 2,
     .fields_required = FEATURES_FIELDS,
     .fields_known = FEATURES_FIELDS},
    {.name = "volumes",
     .since_schema = 2,
     .fields_required = VOLUME_FIELDS,
     .fields_known = VOLUME_FIELDS},
#endif
};
static_assert(sizeof(matching_engine_sections) / sizeof(matching_engine_sections[0]) ==
                  (MATCHING_ENGINE_SCHEMA >= 2 ? MATCHING_ENGINE_SECTIONS_2
                                               : MATCHING_ENGINE_SECTIONS_1),
              "all of them are declared");

static int pack_order(void *context, const book_resting *order)
{
    const uint64_t fields[ORDER_FIELDS] = {
        order->order_id,      order->client_id, (uint64_t)order->price, order->remaining,
        order->filled,        order->priority,  order->expire_ns,       order->side,
        order->time_in_force, order->symbol};
    rows_pack(context, fields, ORDER_FIELDS, ORDER_PRICE);
    return 0;
}

static void pack_schema_2(const matching_engine *engine, baton_snapshot_writer *writer)
{
    const uint64_t features[FEATURES_FIELDS] = {engine->features};
    baton_pack_section(writer, "features");
    rows_pack(writer, features, FEATURES_FIELDS, ROWS_ALL_UNSIGNED);
    baton_pack_section(writer, "volumes");
    for (uint32_t i = 0; i < clients_count(engine->clients); i++) {
        const uint64_t client_id = clients_id_at(engine->clients, i);
        const uint64_t fields[VOLUME_FIELDS] = {client_id,
                                                clients_volume(engine->clients, client_id)};
        if (fields[1] != 0)
            rows_pack(writer, fields, VOLUME_FIELDS, ROWS_ALL_UNSIGNED);
    }
}

int matching_engine_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    const matching_engine *engine = state;
    (void)schema; /* Baton leaves out the sections that it does not have */
    const book_counters of_book = book_get_counters(engine->book);
    const uint64_t counters[COUNTERS_FIELDS] = {of_book.next_priority, of_book.trades_count,
                                                of_book.now_ns};
    const uint64_t barrier[BARRIER_FIELDS] = {engine->barrier_id, engine->barrier_seq};

    baton_pack_section(writer, "book");
    rows_pack(writer, counters, COUNTERS_FIELDS, ROWS_ALL_UNSIGNED);
    baton_pack_section(writer, "orders");
    book_visit(engine->book, pack_order, writer);
    rows_pack_outcomes(writer, engine->clients);
    rows_pack_sources(writer, &engine->sources);
    baton_pack_section(writer, "barrier");
    rows_pack(writer, barrier, BARRIER_FIELDS, ROWS_ALL_UNSIGNED);
    if (MATCHING_ENGINE_SCHEMA >= 2)
        pack_schema_2(engine, writer);
    return baton_pack_error(writer);
}

static int restore_orders(order_book *book, baton_snapshot_reader *reader)
{
    uint64_t fields[ORDER_FIELDS];
    int r = baton_unpack_section(reader, "orders");
    while (r >= 0 && (r = rows_next(reader, fields, ORDER_FIELDS, ORDER_PRICE)) == 1) {
        if (fields[7] > BOOK_SELL || fields[8] > BOOK_GTD || fields[9] > UINT32_MAX)
            return BATON_E_SCHEMA;
        book_resting order = {.order_id = fields[0],
                              .client_id = fields[1],
                              .price = (int64_t)fields[2],
                              .remaining = fields[3],
                              .filled = fields[4],
                              .priority = fields[5],
                              .expire_ns = fields[6],
                              .symbol = (uint32_t)fields[9],
                              .side = (book_side)fields[7],
                              .time_in_force = (book_time_in_force)fields[8]};
        r = book_restore_order(book, &order);
    }
    return r;
}

static int restore_counters(order_book *book, baton_snapshot_reader *reader)
{
    uint64_t fields[COUNTERS_FIELDS];
    int r = rows_only(reader, "book", fields, COUNTERS_FIELDS);
    if (r < 0)
        return r;
    return book_restore_counters(book, &(book_counters){.next_priority = fields[0],
                                                        .trades_count = fields[1],
                                                        .now_ns = fields[2]});
}

static int restore_links(matching_engine *engine, baton_snapshot_reader *reader)
{
    uint64_t fields[BARRIER_FIELDS];
    int r = rows_restore_sources(reader, &engine->sources);
    if (r == 0)
        r = rows_only(reader, "barrier", fields, BARRIER_FIELDS);
    if (r < 0)
        return r;
    engine->barrier_id = fields[0];
    engine->barrier_seq = fields[1];
    return 0;
}

static int restore_schema_2(matching_engine *engine, baton_snapshot_reader *reader)
{
    uint64_t fields[VOLUME_FIELDS];
    int r = rows_only(reader, "features", fields, FEATURES_FIELDS);
    if (r < 0)
        return r;
    if (fields[0] & ~(uint64_t)EXCHANGE_FEATURES_KNOWN)
        return BATON_E_SCHEMA;
    engine->features = (uint32_t)fields[0];

    r = baton_unpack_section(reader, "volumes");
    while (r >= 0 && (r = rows_next(reader, fields, VOLUME_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        if (clients_highest_seq(engine->clients, fields[0]) == 0 || fields[1] == 0 ||
            clients_volume(engine->clients, fields[0]) != 0)
            return BATON_E_SCHEMA; /* of nobody, of nothing, or twice */
        clients_add_volume(engine->clients, fields[0], fields[1]);
    }
    return r;
}

int matching_engine_restore(void *state, uint32_t schema, baton_snapshot_reader *reader)
{
    matching_engine *engine = state;
    int r = restore_orders(engine->book, reader);
    if (r == 0)
        r = restore_counters(engine->book, reader);
    if (r == 0)
        r = rows_restore_outcomes(reader, engine->clients);
    if (r == 0)
        r = restore_links(engine, reader);
    if (r == 0 && schema >= 2)
        r = restore_schema_2(engine, reader);
    return r;
}
