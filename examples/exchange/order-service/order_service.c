#include "examples/exchange/order-service/order_service.h"

#include <errno.h>
#include <stdlib.h>

#include "examples/exchange/book/memory.h"
#include "examples/exchange/clients/option_count.h"
#include "examples/exchange/clients/rows.h"
#include "examples/exchange/order-service/apply.h"

enum { OPTION_ORDERS_MAX, OPTION_FINISHED_MAX, OPTION_CLIENTS_MAX, OPTIONS };

static const baton_service_option options[OPTIONS] = {
    [OPTION_ORDERS_MAX] = {"orders-max", "262144", "open orders; more are refused"},
    [OPTION_FINISHED_MAX] = {"finished-max", "65536",
                             "finished orders that can still be asked for, the newest"},
    [OPTION_CLIENTS_MAX] = {"clients-max", "4096", "clients remembered for resends"},
};

static const baton_layout_field state_fields[] = {
    BATON_POINTER(order_service_state, arena, baton_arena),
    BATON_POINTER(order_service_state, orders, orders),
    BATON_POINTER(order_service_state, clients, clients),
    BATON_STRUCT(order_service_state, sources, sources_layout),
    BATON_FIELD(order_service_state, barrier_id),
    BATON_FIELD(order_service_state, barrier_seq),
    BATON_FIELD(order_service_state, barrier_risk_seq),
    BATON_FIELD(order_service_state, barrier_matching_seq),
    BATON_FIELD(order_service_state, barrier_under_way),
};
static const baton_layout_type state_layout = BATON_LAYOUT_TYPE(order_service_state, state_fields);

static const baton_layout_type *const layout_types[] = {&state_layout, &clients_layout,
                                                        &client_layout, ORDERS_LAYOUT_TYPES};

/* revision: raise it when one of the two hash functions (orders.c, clients.c) changes: the bytes mean
 * something else then. */
static const baton_layout layout = {
    .name = "order-service",
    .revision = 1,
    .types = layout_types,
    .types_count = sizeof(layout_types) / sizeof(layout_types[0]),
};

static void destroy(void *state)
{
    order_service_state *own = state;
    if (!own)
        return;
    orders_destroy(own->orders);
    clients_destroy(own->clients);
    memory_free(own->arena, own);
}

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    orders_options book = {.arena = config->arena};
    clients_options known = {.arena = config->arena};
    int r = option_count(config->values[OPTION_ORDERS_MAX], "--orders-max", 1u << 26,
                         &book.orders_max, error);
    if (r == 0)
        r = option_count(config->values[OPTION_FINISHED_MAX], "--finished-max", 1u << 26,
                         &book.finished_max, error);
    if (r == 0)
        r = option_count(config->values[OPTION_CLIENTS_MAX], "--clients-max", 1u << 22,
                         &known.clients_max, error);
    if (r < 0)
        return r;

    order_service_state *own = memory_new(config->arena, &state_layout, 1);
    if (!own)
        return -ENOMEM;
    own->arena = config->arena;
    book.clients_max = known.clients_max;
    r = orders_create(&book, &own->orders);
    if (r == 0)
        r = clients_create(&known, &own->clients);
    if (r < 0) {
        destroy(own);
        return r;
    }
    *ret_state = own;
    return 0;
}

static int check_options(const void *state, const baton_service_config *config, baton_error *error)
{
    const order_service_state *own = state;
    const uint32_t made_with = orders_finished_max(own->orders);
    uint32_t finished_max;
    int r = option_count(config->values[OPTION_FINISHED_MAX], "--finished-max", 1u << 26,
                         &finished_max, error);
    if (r < 0 || finished_max == made_with)
        return r;
    return baton_error_setf(error, BATON_E_INVALID, "--finished-max",
                            "give the number that its data was made with", "it was made with %u",
                            made_with);
}

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    const order_service_state *own = state;
    (void)schema; /* there is one */
    const struct {
        baton_digest orders;
        baton_digest clients;
        baton_digest sources;
        baton_le64 barrier_id;
        baton_le64 barrier_seq;
        baton_le64 barrier_risk_seq;
        baton_le64 barrier_matching_seq;
        baton_le64 barrier_under_way;
    } parts = {.orders = orders_digest(own->orders),
               .clients = clients_digest(own->clients),
               .sources = sources_digest(&own->sources),
               .barrier_id = baton_le64_put(own->barrier_id),
               .barrier_seq = baton_le64_put(own->barrier_seq),
               .barrier_risk_seq = baton_le64_put(own->barrier_risk_seq),
               .barrier_matching_seq = baton_le64_put(own->barrier_matching_seq),
               .barrier_under_way = baton_le64_put(own->barrier_under_way)};
    *ret_digest = baton_digest_of(&parts, sizeof(parts));
    return 0;
}

/* ---- snapshots ---- */

enum { ORDER_FIELDS = 12, ORDER_PRICE = 1, BARRIER_FIELDS = 5 };

static const baton_section sections[] = {
    {.name = "outcomes",
     .since_schema = 1,
     .fields_required = OUTCOME_FIELDS,
     .fields_known = OUTCOME_FIELDS},
    {.name = "orders",
     .since_schema = 1,
     .fields_required = ORDER_FIELDS,
     .fields_known = ORDER_FIELDS},
    {.name = "sources",
     .since_schema = 1,
     .fields_required = SOURCES_FIELDS,
     .fields_known = SOURCES_FIELDS},
    {.name = "barrier",
     .since_schema = 1,
     .fields_required = BARRIER_FIELDS,
     .fields_known = BARRIER_FIELDS},
};

static int pack_order(void *context, const order_facts *order)
{
    const uint64_t fields[ORDER_FIELDS] = {
        order->order_id, (uint64_t)order->price, order->size,
        order->filled,   order->remaining,       order->expire_ns,
        order->finished, order->symbol,          order->status,
        order->side,     order->time_in_force,   (uint64_t)order->order_type << 8 | order->flags};
    rows_pack(context, fields, ORDER_FIELDS, ORDER_PRICE);
    return 0;
}

static int snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    const order_service_state *own = state;
    const uint64_t barrier[BARRIER_FIELDS] = {own->barrier_id, own->barrier_seq,
                                              own->barrier_risk_seq, own->barrier_matching_seq,
                                              own->barrier_under_way};
    (void)schema;
    rows_pack_outcomes(writer, own->clients);
    baton_pack_section(writer, "orders");
    (void)orders_visit(own->orders, clients_count(own->clients), pack_order, writer);
    rows_pack_sources(writer, &own->sources);
    baton_pack_section(writer, "barrier");
    rows_pack(writer, barrier, BARRIER_FIELDS, ROWS_ALL_UNSIGNED);
    return baton_pack_error(writer);
}

/* After the outcomes: they make the clients known. */
static int restore_orders(order_service_state *own, baton_snapshot_reader *reader)
{
    uint64_t fields[ORDER_FIELDS];
    int r = baton_unpack_section(reader, "orders");
    while (r >= 0 && (r = rows_next(reader, fields, ORDER_FIELDS, ORDER_PRICE)) == 1) {
        if (fields[7] > UINT32_MAX || fields[8] > EXCHANGE_ORDER_EXPIRED || fields[9] > UINT8_MAX ||
            fields[10] > UINT8_MAX || fields[11] > UINT16_MAX)
            return BATON_E_SCHEMA;
        const order_facts order = {.order_id = fields[0],
                                   .price = (int64_t)fields[1],
                                   .size = fields[2],
                                   .filled = fields[3],
                                   .remaining = fields[4],
                                   .expire_ns = fields[5],
                                   .finished = fields[6],
                                   .symbol = (uint32_t)fields[7],
                                   .status = (uint8_t)fields[8],
                                   .side = (uint8_t)fields[9],
                                   .time_in_force = (uint8_t)fields[10],
                                   .order_type = (uint8_t)(fields[11] >> 8),
                                   .flags = (uint8_t)fields[11]};
        if (!orders_restore(own->orders, clients_index(own->clients, order.order_id >> 40), &order))
            return BATON_E_SCHEMA;
    }
    return r;
}

static int restore(void *state, uint32_t schema, baton_snapshot_reader *reader)
{
    order_service_state *own = state;
    uint64_t barrier[BARRIER_FIELDS];
    (void)schema;
    int r = rows_restore_outcomes(reader, own->clients);
    if (r == 0)
        r = restore_orders(own, reader);
    if (r == 0)
        r = rows_restore_sources(reader, &own->sources);
    if (r == 0)
        r = rows_only(reader, "barrier", barrier, BARRIER_FIELDS);
    if (r < 0)
        return r;
    own->barrier_id = barrier[0];
    own->barrier_seq = barrier[1];
    own->barrier_risk_seq = barrier[2];
    own->barrier_matching_seq = barrier[3];
    own->barrier_under_way = barrier[4] != 0;
    return 0;
}

static const baton_entry_type entry_types[] = {
    {ENTRY_NEW_ORDER, 1}, {ENTRY_CANCEL, 1}, {ENTRY_REDUCE, 1},  {ENTRY_REPLACE, 1},
    {ENTRY_BARRIER, 1},   {ENTRY_LINKED, 1}, {ENTRY_DEPOSIT, 1}, {ENTRY_WITHDRAW, 1},
    {ENTRY_KILL, 1},      {ENTRY_LIMIT, 1},
};

const baton_service order_service = {
    .name = "order-service",
    .version = "1.0.0",
    .schema = {.write = 1, .read_min = 1},
    .entry_types = entry_types,
    .entry_types_count = sizeof(entry_types) / sizeof(entry_types[0]),
    .options = options,
    .options_count = OPTIONS,
    .layout = &layout,
    .sections = sections,
    .sections_count = sizeof(sections) / sizeof(sections[0]),
    .create = create,
    .destroy = destroy,
    .apply = order_service_apply,
    .digest = digest,
    .snapshot = snapshot,
    .restore = restore,
    .check_options = check_options,
};
