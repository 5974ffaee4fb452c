#include "examples/exchange/clients/rows.h"

int rows_next(baton_snapshot_reader *reader, uint64_t *fields, uint32_t fields_count,
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

int rows_only(baton_snapshot_reader *reader, const char *section, uint64_t *fields,
              uint32_t fields_count)
{
    uint32_t count;
    int r = baton_unpack_section(reader, section);
    if (r == 0)
        r = rows_next(reader, fields, fields_count, ROWS_ALL_UNSIGNED);
    if (r <= 0)
        return r < 0 ? r : BATON_E_SCHEMA;
    r = baton_unpack_row(reader, &count);
    return r > 0 ? BATON_E_SCHEMA : r;
}

void rows_pack(baton_snapshot_writer *writer, const uint64_t *fields, uint32_t fields_count,
               uint32_t signed_index)
{
    baton_pack_row(writer, fields_count);
    for (uint32_t i = 0; i < fields_count; i++) {
        if (i == signed_index)
            baton_pack_int(writer, (int64_t)fields[i]);
        else
            baton_pack_uint(writer, fields[i]);
    }
}

void rows_pack_outcomes(baton_snapshot_writer *writer, const clients *table)
{
    client_outcome outcomes[EXCHANGE_OUTCOMES_KEPT];
    baton_pack_section(writer, "outcomes");
    for (uint32_t i = 0; i < clients_count(table); i++) {
        const uint32_t count = clients_outcomes(table, i, outcomes);
        for (uint32_t n = 0; n < count; n++) {
            const uint64_t fields[OUTCOME_FIELDS] = {
                clients_id_at(table, i), outcomes[n].client_seq, outcomes[n].seq,
                outcomes[n].filled,      outcomes[n].remaining,  outcomes[n].outcome,
                outcomes[n].of_type};
            rows_pack(writer, fields, OUTCOME_FIELDS, ROWS_ALL_UNSIGNED);
        }
    }
}

int rows_restore_outcomes(baton_snapshot_reader *reader, clients *table)
{
    uint64_t fields[OUTCOME_FIELDS];
    int r = baton_unpack_section(reader, "outcomes");
    while (r >= 0 && (r = rows_next(reader, fields, OUTCOME_FIELDS, ROWS_ALL_UNSIGNED)) == 1) {
        if (fields[0] == 0 || fields[0] > EXCHANGE_CLIENT_ID_MAX ||
            fields[1] <= clients_highest_seq(table, fields[0]) ||
            fields[1] > EXCHANGE_CLIENT_SEQ_MAX || fields[5] > UINT16_MAX || fields[6] > UINT16_MAX)
            return BATON_E_SCHEMA;
        const client_outcome outcome = {.client_seq = fields[1],
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

void rows_pack_sources(baton_snapshot_writer *writer, const sources *own)
{
    uint64_t fields[SOURCES_FIELDS];
    baton_pack_section(writer, "sources");
    for (uint32_t source = 1; source <= SOURCES_MAX; source++)
        if (sources_row(own, source, fields))
            rows_pack(writer, fields, SOURCES_FIELDS, ROWS_ALL_UNSIGNED);
}

int rows_restore_sources(baton_snapshot_reader *reader, sources *own)
{
    uint64_t fields[SOURCES_FIELDS];
    int r = baton_unpack_section(reader, "sources");
    while (r >= 0 && (r = rows_next(reader, fields, SOURCES_FIELDS, ROWS_ALL_UNSIGNED)) == 1)
        if (!sources_restore(own, fields))
            return BATON_E_SCHEMA;
    return r;
}
