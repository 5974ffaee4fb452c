#include "examples/exchange/matching-engine/image.h"

#include <assert.h>
#include <stddef.h>

enum {
    COUNTERS_FIELDS = 3,
    ORDER_FIELDS = 10,
    BARRIER_FIELDS = 2,
    OUTCOME_FIELDS = 7,
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
    baton_snapshot_writer *writer = context;
    baton_pack_row(writer, ORDER_FIELDS);
    baton_pack_uint(writer, order->order_id);
    baton_pack_uint(writer, order->client_id);
    baton_pack_int(writer, order->price);
    baton_pack_uint(writer, order->remaining);
    baton_pack_uint(writer, order->filled);
    baton_pack_uint(writer, order->priority);
    baton_pack_uint(writer, order->expire_ns);
    baton_pack_uint(writer, order->side);
    baton_pack_uint(writer, order->time_in_force);
    baton_pack_uint(writer, order->symbol);
    return 0;
}

static void pack_outcomes(const clients *table, baton_snapshot_writer *writer)
{
    for (uint32_t i = 0; i < clients_count(table); i++) {
        client_outcome outcomes[EXCHANGE_OUTCOMES_KEPT];
        uint32_t count = clients_outcomes(table, i, outcomes);
        for (uint32_t k = 0; k < count; k++) {
            baton_pack_row(writer, OUTCOME_FIELDS);
            baton_pack_uint(writer, clients_id_at(table, i));
            baton_pack_uint(writer, outcomes[k].client_seq);
            baton_pack_uint(writer, outcomes[k].seq);
            baton_pack_uint(writer, outcomes[k].filled);
            baton_pack_uint(writer, outcomes[k].remaining);
            baton_pack_uint(writer, outcomes[k].outcome);
            baton_pack_uint(writer, outcomes[k].of_type);
        }
    }
}

static void pack_links(const matching_engine *engine, baton_snapshot_writer *writer)
{
    uint64_t fields[SOURCES_FIELDS];
    baton_pack_section(writer, "sources");
    for (uint32_t source = 1; source <= SOURCES_MAX; source++) {
        if (!sources_row(&engine->sources, source, fields))
            continue;
        baton_pack_row(writer, SOURCES_FIELDS);
        for (uint32_t i = 0; i < SOURCES_FIELDS; i++)
            baton_pack_uint(writer, fields[i]);
    }
    baton_pack_section(writer, "barrier");
    baton_pack_row(writer, BARRIER_FIELDS);
    baton_pack_uint(writer, engine->barrier_id);
    baton_pack_uint(writer, engine->barrier_seq);
}

static void pack_schema_2(const matching_engine *engine, baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "features");
    baton_pack_row(writer, FEATURES_FIELDS);
    baton_pack_uint(writer, engine->features);
    baton_pack_section(writer, "volumes");
    for (uint32_t i = 0; i < clients_count(engine->clients); i++) {
        uint64_t client_id = clients_id_at(engine->clients, i);
        uint64_t volume = clients_volume(engine->clients, client_id);
        if (volume == 0)
            continue;
        baton_pack_row(writer, VOLUME_FIELDS);
        baton_pack_uint(writer, client_id);
        baton_pack_uint(writer, volume);
    }
}

int matching_engine_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    const matching_engine *engine = state;
    (void)schema; /* Baton leaves out the sections that it does not have */
    book_counters counters = book_get_counters(engine->book);

    baton_pack_section(writer, "book");
    baton_pack_row(writer, COUNTERS_FIELDS);
    baton_pack_uint(writer, counters.next_priority);
    baton_pack_uint(writer, counters.trades_count);
    baton_pack_uint(writer, counters.now_ns);
    baton_pack_section(writer, "orders");
    book_visit(engine->book, pack_order, writer);
    baton_pack_section(writer, "outcomes");
    pack_outcomes(engine->clients, writer);
    pack_links(engine, writer);
    if (MATCHING_ENGINE_SCHEMA >= 2)
        pack_schema_2(engine, writer);
    return baton_pack_error(writer);
}

/* The next row, which must have fields_count unsigned fields, except that the field at
 * signed_index is signed. */
#define NO_SIGNED_FIELD UINT32_MAX
static int unpack_fields(baton_snapshot_reader *reader, uint64_t *fields, uint32_t fields_count,
                         uint32_t signed_index)
{
    uint32_t count;
    int r = baton_unpack_row(reader, &count);
    if (r <= 0)
        return r;
    if (count != fields_count)
        return BATON_E_SCHEMA;
    for (uint32_t i = 0; i < fields_count; i++) {
        int64_t value;
        r = i == signed_index ? baton_unpack_int(reader, &value)
                              : baton_unpack_uint(reader, &fields[i]);
        if (r < 0)
            return r;
        if (i == signed_index)
            fields[i] = (uint64_t)value;
    }
    return 1;
}

/* For a section that has one row and no more. */
static int unpack_only_row(baton_snapshot_reader *reader, const char *section, uint64_t *fields,
                           uint32_t fields_count)
{
    uint32_t count;
    int r = baton_unpack_section(reader, section);
    if (r == 0)
        r = unpack_fields(reader, fields, fields_count, NO_SIGNED_FIELD);
    if (r <= 0)
        return r < 0 ? r : BATON_E_SCHEMA;
    r = baton_unpack_row(reader, &count);
    return r > 0 ? BATON_E_SCHEMA : r;
}

static int restore_orders(order_book *book, baton_snapshot_reader *reader)
{
    uint64_t fields[ORDER_FIELDS];
    int r = baton_unpack_section(reader, "orders");
    while (r >= 0 && (r = unpack_fields(reader, fields, ORDER_FIELDS, 2)) == 1) {
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
    int r = unpack_only_row(reader, "book", fields, COUNTERS_FIELDS);
    if (r < 0)
        return r;
    return book_restore_counters(book, &(book_counters){.next_priority = fields[0],
                                                        .trades_count = fields[1],
                                                        .now_ns = fields[2]});
}

static int restore_outcomes(clients *table, baton_snapshot_reader *reader)
{
    uint64_t fields[OUTCOME_FIELDS];
    int r = baton_unpack_section(reader, "outcomes");
    while (r >= 0 && (r = unpack_fields(reader, fields, OUTCOME_FIELDS, NO_SIGNED_FIELD)) == 1) {
        if (fields[0] == 0 || fields[0] > EXCHANGE_CLIENT_ID_MAX ||
            fields[1] <= clients_highest_seq(table, fields[0]) ||
            fields[1] > EXCHANGE_CLIENT_SEQ_MAX || fields[5] > UINT16_MAX || fields[6] > UINT16_MAX)
            return BATON_E_SCHEMA;
        client_outcome outcome = {.client_seq = fields[1],
                                  .seq = fields[2],
                                  .filled = fields[3],
                                  .remaining = fields[4],
                                  .outcome = (uint16_t)fields[5],
                                  .of_type = (uint16_t)fields[6]};
        if (!clients_remember(table, fields[0], &outcome))
            return BATON_E_FULL; /* more clients than --clients-max */
    }
    return r;
}

static int restore_links(matching_engine *engine, baton_snapshot_reader *reader)
{
    uint64_t fields[SOURCES_FIELDS];
    int r = baton_unpack_section(reader, "sources");
    while (r >= 0 && (r = unpack_fields(reader, fields, SOURCES_FIELDS, NO_SIGNED_FIELD)) == 1)
        if (!sources_restore(&engine->sources, fields))
            return BATON_E_SCHEMA;
    if (r == 0)
        r = unpack_only_row(reader, "barrier", fields, BARRIER_FIELDS);
    if (r < 0)
        return r;
    engine->barrier_id = fields[0];
    engine->barrier_seq = fields[1];
    return 0;
}

static int restore_schema_2(matching_engine *engine, baton_snapshot_reader *reader)
{
    uint64_t fields[VOLUME_FIELDS];
    int r = unpack_only_row(reader, "features", fields, FEATURES_FIELDS);
    if (r < 0)
        return r;
    if (fields[0] & ~(uint64_t)EXCHANGE_FEATURES_KNOWN)
        return BATON_E_SCHEMA;
    engine->features = (uint32_t)fields[0];

    r = baton_unpack_section(reader, "volumes");
    while (r >= 0 && (r = unpack_fields(reader, fields, VOLUME_FIELDS, NO_SIGNED_FIELD)) == 1) {
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
        r = restore_outcomes(engine->clients, reader);
    if (r == 0)
        r = restore_links(engine, reader);
    if (r == 0 && schema >= 2)
        r = restore_schema_2(engine, reader);
    return r;
}
